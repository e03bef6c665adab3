"""The values of an audit: what was found when a store was verified."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from convo.errors import InvalidInput

_ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_HEAD = re.compile(f"(?P<id>{_ID}) (?P<length>[1-9][0-9]{{0,17}}) (?P<digest>[0-9a-f]{{64}})", re.ASCII)


class Promise(StrEnum):
    """What is verified of a conversation."""

    CHAIN = "chain"
    """Each event follows from the one before it, none is missing in between, and the last one is the head."""
    CONTENT = "content"
    """What is stored is what the events tell: texts, models, times, parameters, counts, choices, errors."""
    COMPLETENESS = "completeness"
    """Nothing that the events tell of is missing, but for what an event tells was erased."""
    ANCHORED = "anchored"
    """The journal goes on from a head that was kept elsewhere."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a conversation's journal stood once: kept elsewhere, it shows whether that was cut or written anew."""

    conversation: str
    """Its id."""
    length: int
    """How many events there were."""
    digest: bytes
    """Of the last one."""

    def __str__(self) -> str:
        """Return it as a line of a file of heads: id, length, and the digest in hexadecimal."""
        return f"{self.conversation} {self.length} {self.digest.hex()}"

    @classmethod
    def parse(cls, line: str) -> Head:
        """Return the head that a line tells.

        Raises:
            InvalidInput: it is no head.
        """
        found = _HEAD.fullmatch(line.strip())
        if found is None:
            raise InvalidInput("that is no head: a conversation's id, a length and 64 digits, as `convo heads` prints")
        return cls(found["id"], int(found["length"]), bytes.fromhex(found["digest"]))


@dataclass(frozen=True, slots=True)
class Fault:
    """What was found wrong."""

    promise: Promise
    """Which one is broken."""
    what: str
    """In words, without any text of the conversation."""
    turn: int | None = None
    field: str | None = None
    """Which value is not as it was told: a column, after the text that it belongs to where there are several."""
    event: int | None = None

    def __str__(self) -> str:
        places = (
            f"event {self.event}" if self.event is not None else "",
            f"turn {self.turn}" if self.turn is not None else "",
            self.field or "",
        )
        where = ", ".join(each for each in places if each)
        return f"{where}: {self.what}" if where else self.what


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found when a conversation was verified."""

    conversation: str
    """Its id."""
    events: int = 0
    turns: int = 0
    texts: int = 0
    """How many stand: messages, candidates, both texts of examples, context and title."""
    erased: int = 0
    """How many are gone, as events tell."""
    redacted: int = 0
    """How many were replaced by others, as events tell."""
    unanswered: int = 0
    """How many turns have no answer: the last one at most, in a sound conversation."""
    anchored_at: int | None = None
    """The length of the longest head that its journal goes on from; None when there was none for it."""
    faults: tuple[Fault, ...] = ()
    """The first FAULTS_TOLD, in the order in which they were found."""
    fault_count: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong: without heads, that it is self-consistent, and no more."""
        return not self.fault_count

    def keeps(self, promise: Promise) -> bool:
        """Return whether nothing was found that breaks a promise."""
        return all(each.promise != promise for each in self.faults)


FAULTS_TOLD = 20
