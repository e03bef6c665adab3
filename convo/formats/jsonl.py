r"""convo's own form: everything of each conversation, to the byte, as JSON lines (https://jsonlines.org).

The first line tells of the form and its version. Then come the conversations by id, each as a line of its own, one for
each example, for each turn and behind it for each of its texts, and for each event of the journal. The last line
counts the lines before it and has the SHA-256 of their bytes.

The names are those of the tables' columns. Salts and digests are base64url without padding, as in events. Times are UTC
in milliseconds. What is computed from other columns is left out, and so is the lease of a turn but for that it was
`held`: whoever held it is not where the file is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

from convo import journal
from convo.errors import InvalidFile, StoredDataError
from convo.evidence import OF_REQUEST, TEXT_FIELDS, TURN_FIELDS, Cursor, Row, StoredRows
from convo.formats.base import Line, Tally
from convo.formats.json_text import written
from convo.formats.rows import parsed
from convo.values import ConversationRecord

VERSION = 1

CHUNK = 200
"""How many lines are yielded at once."""

_EXAMPLE = ("type", "position", "tokens", "input", "input_salt", "output", "output_salt")
_TURN = ("type", "number", *TURN_FIELDS[:-1], "held", *OF_REQUEST)
_TEXT = ("type", "turn", "side", "candidate", *TEXT_FIELDS, "salt", "content")
_EVENT = ("type", "number", "kind", "digest", "body")
_CREATED, _SALT = _TEXT.index("created_at"), _TEXT.index("salt")
_BEGAN, _ENDED, _DIGEST = (_TURN.index(name) for name in ("created_at", "finished_at", "prompt_digest"))
_PARAMETERS, _HELD, _REQUEST = (_TURN.index(name) for name in ("parameters", "held", "request_hash"))


class JsonLinesWriter:
    """Writes everything of conversations, from their rows."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._hash = hashlib.sha256()
        self._lines = 0

    def begin(self, contents: Iterable[ConversationRecord]) -> Iterator[str]:  # noqa: ARG002 - a Writer's signature
        """Yield the first line."""
        yield self._counted([_line({"type": "convo", "version": VERSION})])

    def whole(self, stored: StoredRows) -> Iterator[str]:
        """Yield one conversation, some lines at a time.

        Raises:
            StoredDataError: a row has what no JSON can tell.
        """
        self.tally.conversations += 1
        lines: list[str] = []
        try:
            for line in self._lines_of(stored):
                lines.append(line)
                if len(lines) >= CHUNK:
                    yield self._counted(lines)
                    lines = []
        except (TypeError, ValueError) as error:
            what = f"conversation {stored.conversation.id} has a row that cannot be read: `convo verify` tells more"
            raise StoredDataError(what) from error
        yield self._counted(lines)

    def end(self) -> Iterator[str]:
        """Yield the last line."""
        tally = self.tally
        counts = {"conversations": tally.conversations, "turns": tally.turns, "texts": tally.texts}
        yield _line({"type": "end", **counts, "lines": self._lines, "sha256": self._hash.hexdigest()})

    def _counted(self, lines: list[str]) -> str:
        text = "".join(lines)
        self._hash.update(text.encode())
        self._lines += len(lines)
        return text

    def _lines_of(self, stored: StoredRows) -> Iterator[str]:
        instant = lru_cache(maxsize=16)(stored.instant)
        yield _conversation(stored)
        for _, position, tokens, asked, asked_salt, answer, answer_salt in stored.examples:
            row = ("example", position, tokens, asked, _bytes(asked_salt), answer, _bytes(answer_salt))
            yield _line(dict(zip(_EXAMPLE, row, strict=True)))
        texts = Cursor(stored.messages)
        for turn in stored.turns:
            yield _turn(turn, instant)
            self.tally.turns += 1
            for text in texts.until(turn[1]):
                yield _text(text, instant)
                self.tally.texts += text[-1] is not None
        yield from _events(stored.events)


def _line(values: dict[str, Any]) -> str:
    return f"{written(values)}\n"


def _conversation(stored: StoredRows) -> str:
    of = stored.conversation._asdict()
    told = {"type": "conversation", **of}
    for name in ("metadata", "parameters"):
        told[name] = json.loads(of[name])
    for name in ("label_salt", "context_salt", "title_salt", "journal_head"):
        told[name] = _bytes(of[name])
    for name in ("created_at", "updated_at"):
        told[name] = stored.instant(of[name])
    return _line(told)


def _turn(row: Row, instant: Callable[[Any], str]) -> str:
    told = ["turn", *row[1:]]
    told[_BEGAN] = instant(told[_BEGAN])
    if told[_ENDED] is not None:
        told[_ENDED] = instant(told[_ENDED])
    told[_DIGEST], told[_REQUEST] = _bytes(told[_DIGEST]), _bytes(told[_REQUEST])
    told[_PARAMETERS] = _parsed(told[_PARAMETERS])
    told[_HELD] = told[_HELD] is not None
    return _line(dict(zip(_TURN, told, strict=True)))


def _text(row: Row, instant: Callable[[Any], str]) -> str:
    told = ["message", *row[1:]]
    told[_CREATED] = instant(told[_CREATED])
    told[_SALT] = _bytes(told[_SALT])
    return _line(dict(zip(_TEXT, told, strict=True)))


def _events(events: Iterable[Row]) -> Iterator[str]:
    """Yield the journal; a body that was linked is what was written, and so is JSON of one line."""
    head = journal.GENESIS
    for _, number, kind, digest, body in events:
        if journal.link(head, number, kind, body) == digest and b"\n" not in body:
            told = f'"number":{number},"kind":{written(kind)},"digest":"{journal.encode(digest)}"'
            yield f'{{"type":"event",{told},"body":{body.decode()}}}\n'
        else:
            row = ("unlinked", number, kind, _bytes(digest), _bytes(body))
            yield _line(dict(zip(_EVENT, row, strict=True)))
        head = digest


@lru_cache(maxsize=64)
def _parsed(parameters: str | None) -> Any:  # noqa: ANN401 - JSON
    return None if parameters is None else json.loads(parameters)


def _bytes(value: bytes | None) -> str | None:
    return None if value is None else journal.encode(value)


def read(line: Line) -> dict[str, Any]:
    """Return the values of a line.

    Raises:
        InvalidFile: it is none of this form, or of a version that this release does not know.
    """
    try:
        told = parsed(line.content)
    except ValueError as error:
        raise InvalidFile(f"line {line.number} is none of an export of convo: {error}") from None
    if told["type"] == "convo" and told["version"] != VERSION:
        raise InvalidFile(f"line {line.number} tells of version {told['version']}: this release reads {VERSION}")
    return told


def check_whole(lines: Iterator[Line]) -> None:
    """Read a file to its end, and find whether it is whole; several exports may stand in one behind each other.

    Raises:
        InvalidFile: it was cut, or something in it was changed.
    """
    digest, count, is_whole = hashlib.sha256(), 0, True
    for line in lines:
        if line.content.startswith(b'{"type":"end"'):
            last = read(line)
            if (last.get("lines"), last.get("sha256")) != (count, digest.hexdigest()):
                raise InvalidFile(f"what stands before line {line.number} is not what was exported: it was changed")
            digest, count, is_whole = hashlib.sha256(), 0, True
            continue
        digest.update(line.content)
        digest.update(b"\n")
        count, is_whole = count + 1, False
    if not is_whole:
        raise InvalidFile("it has no last line that counts the others: it was cut")
