"""What is read of a conversation to verify it, and what is found: rows as the database has them, and faults."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from convo import journal
from convo.afterthoughts import Afterthoughts
from convo.audits import FAULTS_TOLD, Fault, Promise
from convo.told import Body
from convo.values import USER

_PLAIN = (
    *("state", "fence", "error", "chosen", "prev_chosen", "window_start", "first_example", "prompt_tokens"),
    *("prompt_limit", "model", "served_by", "input_tokens", "output_tokens", "latency_ms", "created_at", "finished_at"),
)
"""The columns of a turn that are compared as they are."""

TURN_FIELDS = (*_PLAIN, "prompt_digest", "parameters", "lease_owner")
"""All that are compared but for a request's, in the order in which they are read."""

TEXT_FIELDS = ("author", "tokens", "repaired", "finish_reason", "created_at", "model")
"""Those of a message."""

OF_REQUEST = ("request_key", "request_hash")

Row = Sequence[Any]


class TurnPlaces(NamedTuple):
    """Where a turn's row has what, behind its conversation and its number."""

    plain: slice = slice(2, 2 + len(_PLAIN))
    prompt_digest: int = 2 + len(_PLAIN)
    parameters: int = 3 + len(_PLAIN)
    """JSON, as text."""
    lease_owner: int = 4 + len(_PLAIN)
    request_key: int = 5 + len(_PLAIN)
    request_hash: int = 6 + len(_PLAIN)


class StoredConversation(NamedTuple):
    """A conversation's own row; times and JSON as the database has them."""

    id: str
    owner: str
    name: str | None
    metadata: str
    user_author: str
    model_author: str
    label_salt: bytes
    model: str
    parameters: str
    input_token_limit: int | None
    trim: str
    context: str | None
    context_salt: bytes | None
    context_tokens: int
    title: str | None
    title_salt: bytes | None
    first_position: int
    turn_count: int
    fence: int
    journal_length: int
    journal_head: bytes
    forked_from: str | None
    forked_at: int | None
    created_at: Any
    updated_at: Any

    @property
    def authors(self) -> tuple[str, str]:
        """The names of both sides."""
        return self.user_author, self.model_author


@dataclass(frozen=True, slots=True)
class Evidence:
    """All rows of a conversation, each table in the order of its keys, to be read once."""

    conversation: StoredConversation
    events: Iterable[Row]
    """Number, kind, digest and body, behind the conversation's id."""
    turns: Iterable[Row]
    """Number, TURN_FIELDS and OF_REQUEST, behind the conversation's id."""
    messages: Iterable[Row]
    """Turn, side, candidate, TEXT_FIELDS, salt and content, behind the conversation's id."""
    examples: Sequence[Row]
    """Position, tokens, input, its salt, output, its salt, behind the conversation's id."""
    afterthoughts: Afterthoughts
    moment: Callable[[str], Any]
    """Makes a time as events tell it the value that the database has for it."""


@dataclass(frozen=True, slots=True)
class StoredRows:
    """All rows of a conversation as Evidence has them, to be written down."""

    conversation: StoredConversation
    events: Iterable[Row]
    turns: Iterable[Row]
    messages: Iterable[Row]
    examples: Iterable[Row]
    instant: Callable[[Any], str]
    """Makes a time as the database has it a text: UTC, in milliseconds, or smaller where it is no whole one, and Z."""


AT = TurnPlaces()


class Cursor:
    """Rows of one table of a conversation, in the order of their turns."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = iter(rows)
        self._next = next(self._rows, None)

    def until(self, turn: int) -> list[Row]:
        """Return what is left up to and with a turn."""
        found = []
        while self._next is not None and self._next[1] <= turn:
            found.append(self._next)
            self._next = next(self._rows, None)
        return found

    def rest(self) -> Iterator[Row]:
        """Yield all that is left."""
        while self._next is not None:
            yield self._next
            self._next = next(self._rows, None)


class Findings:
    """What was found in a conversation."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.broken: set[Promise] = set()
        self.fault_count = self.texts = self.erased = 0

    def find(self, promise: Promise, what: str, **where: Any) -> None:  # noqa: ANN401 - of Fault's own types
        """Take notice of a fault; `where` are the turn, the field and the event of a Fault."""
        self.fault_count += 1
        if len(self.faults) < FAULTS_TOLD or promise not in self.broken:
            self.faults.append(Fault(promise, what, **where))
        self.broken.add(promise)

    def compare(self, names: Sequence[str], stored: Row, told: Row, turn: int | None = None, of: str = "") -> None:
        """Find the values that are not what was told."""
        if stored != told:
            for name, is_stored, is_told in zip(names, stored, told, strict=True):
                if is_stored != is_told:
                    self.find(Promise.CONTENT, "it is not what was told", turn=turn, field=f"{of}{name}")

    def compare_text(
        self, kind: str, text: str | None, salt: bytes | None, told: str | None, turn: int | None, field: str
    ) -> None:
        """Compare a text with the commitment to it; one that an event tells was erased must be gone, and no other."""
        if (text is None) != (salt is None):
            what = "its salt is there without it" if text is None else "it is there without its salt"
            self.find(Promise.CONTENT, what, turn=turn, field=field)
            return
        if text is None or salt is None:
            if told is None:
                self.erased += 1
            else:
                what = "it is gone, and no event tells that it was erased"
                self.find(Promise.COMPLETENESS, what, turn=turn, field=field)
            return
        self.texts += 1
        if told is None:
            self.find(Promise.CONTENT, "it is there, and was erased or never told", turn=turn, field=field)
        elif sealed(kind, text, salt) != told:
            self.find(Promise.CONTENT, "it is another text than was told", turn=turn, field=field)


def sealed(kind: str, text: str, salt: bytes) -> str | None:
    """Return the commitment to a text as it stands in events; None where nobody can have committed to it."""
    try:
        return journal.encode(journal.commit(kind, text, salt))
    except ValueError:
        return None


@lru_cache(maxsize=64)
def told_parameters(stored: str) -> Body | str:
    """Return parameters as events tell them; what are none, or are written otherwise, as it is."""
    values = parsed(stored)
    if values is None or any(isinstance(each, str | bool) for each in values.values()):
        return stored
    return {name: repr(each) if isinstance(each, float) else each for name, each in values.items()}


def sealed_labels(stored: StoredConversation) -> str | None:
    """Return the commitment to what a conversation is called, and by whom."""
    metadata = parsed(stored.metadata)
    if metadata is None:
        return None
    return sealed("labels", journal.labels(stored.authors, metadata, stored.name, stored.owner), stored.label_salt)


def parsed(stored: str) -> dict[str, Any] | None:
    """Return a stored JSON object; None for what is none, or is not written as it was stored.

    Else a name might stand there twice, and a database may read the other one.
    """
    try:
        value = json.loads(stored)
        is_same = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")) == stored
    except (ValueError, TypeError, RecursionError):
        return None
    return value if is_same and isinstance(value, dict) else None


@lru_cache(maxsize=64)
def place(side: int, candidate: int) -> str:
    """Return what a text of a turn is called."""
    return "message" if side == USER else f"candidate {candidate}"
