"""What is left of erased texts in the files of an SQLite store: looked for, and written over.

A text may be split: where a row has not room enough in its page, its end stands in pages of its own. So each text is
cut into short pieces, and each of them is looked for in every byte of the files, free pages included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, Engine

from convo.audits import Quote
from convo.errors import StoreBusy, StoreUnavailable
from convo.store.transactions import ALONE, USE

PIECE_BYTES = 32

SHORTEST_BYTES = 8
"""Fewer may stand anywhere."""

MOST_TEXTS = 1000
"""How many texts are looked for at once, at most: those of a whole owner may not fit into memory."""

SAMPLE_CHARACTERS = 256
"""How much of each text is looked for when many went: its beginning."""

SEARCH_S, SLOWEST_BYTES_S = 60.0, 1e6
"""How long a search may take: so long, and the time that its bytes take. It takes 150 ms a megabyte at most."""

QUOTES = 20
"""How many other texts that hold the same words are named, at most."""

AT_ONCE, COMPARING_S = 20, 10.0
"""How many texts one statement compares with all others, and how long they are compared."""

_FILES = ("", "-wal", "-shm", "-journal")


@dataclass(slots=True)
class Sought:
    """Texts that went, with their salts."""

    texts: list[str] = field(default_factory=list)
    salts: list[bytes] = field(default_factory=list)
    left_out: int = 0
    """How many texts are not among them."""

    @property
    def room(self) -> int:
        """How many texts more are looked for."""
        return max(MOST_TEXTS - len(self.texts), 0)

    def add(self, other: Sought) -> None:
        """Look for those of `other` too, as far as there is room."""
        room = self.room
        self.left_out += other.left_out + max(len(other.texts) - room, 0)
        self.texts += other.texts[:room]
        self.salts += other.salts[:room]

    @property
    def long_texts(self) -> list[str]:
        """The texts that are long enough to be looked for."""
        return [each for each in self.texts if len(each.encode()) >= SHORTEST_BYTES]

    def pieces(self, encoding: str) -> list[bytes]:
        """Return what is looked for of the texts, each once, as it stands in a database of that encoding."""
        return list(dict.fromkeys(piece for each in self.long_texts for piece in _pieces(each.encode(encoding))))


@dataclass(frozen=True, slots=True)
class Search:
    """What a search of the files came to."""

    sizes: dict[str, int] = field(default_factory=dict)
    """Of the files that there are, by path."""
    found_bytes: int = 0
    words: list[str] = field(default_factory=list)
    """The pieces of text that are there."""


def compare(
    quoting: Callable[[Sequence[str]], Iterable[Quote]], texts: Sequence[str], pieces: Sequence[str]
) -> tuple[tuple[Quote, ...] | None, int]:
    """Return the first QUOTES other texts that hold some of these, some compared at a time.

    None when the database took too long. The second value tells how many texts were not compared when time was up.
    """
    words = list(dict.fromkeys([*pieces[:AT_ONCE], *texts, *pieces[AT_ONCE:]]))
    found: dict[Quote, None] = {}
    ends = time.monotonic() + COMPARING_S
    for place in range(0, len(words), AT_ONCE):
        if place and time.monotonic() > ends:
            return tuple(found), len({*words[place:]} & {*texts})
        try:
            found |= dict.fromkeys(quoting(words[place : place + AT_ONCE]))
        except StoreBusy:
            return (tuple(found), len({*words[place:]} & {*texts})) if place else (None, len({*texts}))
        if len(found) >= QUOTES:
            break
    return tuple(found)[:QUOTES], 0


def _pieces(text: bytes) -> Iterable[bytes]:
    """Yield consecutive pieces of PIECE_BYTES; the last one has half of that more at most, or less."""
    ends = list(range(PIECE_BYTES, len(text) - PIECE_BYTES // 2 + 1, PIECE_BYTES))
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        if end > start:
            yield text[start:end]


def write_out(engine: Engine) -> str:
    """Move the whole log into the database, and leave nothing of it; return the encoding of its texts.

    For the holder of the writer's lock only. Readers are waited for, for as long as SQLite waits for a lock; what one
    of them still has to see stays in the log, and is found there.
    """
    with outside_transactions(engine) as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()
        told = str(connection.exec_driver_sql("PRAGMA encoding").scalar())
        return {"UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}.get(told, "utf-8")


def rebuild(engine: Engine) -> None:
    """Write the database anew, without what is left of rows that went; for the holder of the writer's lock only.

    Raises:
        DBAPIError: there is no room for a second one, say.
    """
    with outside_transactions(engine) as connection:
        connection.exec_driver_sql("VACUUM")


def outside_transactions(engine: Engine) -> Connection:
    """Return a connection whose statements stand outside of any transaction, as VACUUM must."""
    return engine.execution_options(**{USE: ALONE}).connect()


def search(file: Path, sought: Sought, encoding: str) -> Search:
    """Look for what went in the files of a database; nobody needs to wait meanwhile, as it is not written anew.

    Raises:
        StoreUnavailable: the files cannot be searched.
    """
    words = sought.pieces(encoding)
    pieces = [*words, *set(sought.salts)]
    asked = {"files": [f"{file}{ending}" for ending in _FILES], "pieces": [each.hex() for each in pieces]}
    if getattr(sys, "frozen", False) or not sys.executable:  # a frozen one would start the whole program once more
        raise StoreUnavailable(f"{file} could not be searched for what was erased: it takes a Python interpreter")
    program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("remnants.py"))]
    try:
        ran = subprocess.run(  # noqa: S603 - ours
            program,
            input=json.dumps(asked),
            capture_output=True,
            check=True,
            encoding="ascii",
            timeout=SEARCH_S + file.stat().st_size / SLOWEST_BYTES_S,
        )
        told = json.loads(ran.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise StoreUnavailable(f"{file} could not be searched for what was erased: see that it can be read") from error
    found = {int(index): count for index, count in told["found"].items()}
    found_words = [words[index].decode(encoding, "ignore") for index in sorted(found) if index < len(words)]
    return Search(told["sizes"], sum(len(pieces[index]) * count for index, count in found.items()), found_words)
