"""The values of an audit: what was found in a store, what was sent to models, and what was taken away."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from convo.errors import InvalidInput
from convo.values import Parameters

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
    """How often one was replaced by another, as events tell."""
    unanswered: int = 0
    """How many turns have no answer: the last one at most, in a sound conversation."""
    anchored_at: int | None = None
    """The length of the longest head that its journal goes on from; None when none of those given was its own."""
    faults: tuple[Fault, ...] = ()
    """The first FAULTS_TOLD, in the order in which they were found; of each broken promise one at least."""
    fault_count: int = 0
    broken: frozenset[Promise] = frozenset()
    """The promises that some fault breaks."""

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong: without heads, that it is self-consistent, and no more."""
        return not self.fault_count

    def keeps(self, promise: Promise) -> bool:
        """Return whether nothing was found that breaks a promise."""
        return promise not in self.broken


FAULTS_TOLD = 20


# ---- what was sent

Field = tuple[str | int, ...]
"""A reference to one stored text: ("content", turn, side, candidate), ("input", example), ("output", example),
("context",) or ("title",)."""

ERASED, REDACTED = "erased", "redacted"
"""What has become of a text since it was sent: it was taken away, or another one stands in its place."""

MISSING = "missing"
"""It is not there, and the journal tells of nobody who took it away."""

NOT_FIT, USER_FIRST = "did not fit", "the user speaks first"
"""Why something was left out of a prompt, beside ERASED."""

NEXT, BEGIN, RESUME, REGENERATE, SHORTENED = "next", "begin", "resume", "regenerate", "shortened"
"""How a prompt came about: it would be the next one; the first attempt at a turn, a further one at a turn without an
answer, one at another answer, or one after its service had found the prompt of the attempt before too long."""


@dataclass(frozen=True, slots=True)
class SentText:
    """The context, as it was sent."""

    content: str | None
    """None when it is gone."""
    tokens: int | None
    """The base estimate, with what the model's service adds to each text; None when nobody tells that any more."""
    gone: str | None = None
    """ERASED, REDACTED or MISSING when it is not the stored text that was sent; else None."""


@dataclass(frozen=True, slots=True)
class SentExample:
    """An example, as it was sent."""

    position: int
    """From 0, among all examples of the conversation."""
    input: str | None
    output: str | None
    """Each None when it is gone."""
    tokens: int | None
    """Of both texts, as those of SentText."""
    gone: str | None = None
    """What has become of one of its texts, as of SentText."""


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message of the window, as it was sent."""

    position: int
    turn: int
    side: int
    author: str
    candidate: int
    """Which of the model's alternatives it is; 0 for a user's message, and for one whose row is gone."""
    content: str | None
    """None when it is gone; and of the next message while there is none."""
    tokens: int | None
    """As those of SentText."""
    gone: str | None = None
    """As of SentText."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a prompt did not hold."""

    what: str
    """"context", "examples" or "messages"."""
    first: int
    last: int
    """The positions of the first and the last one; all between them were left out for the same reason."""
    why: str
    """NOT_FIT, ERASED before it was sent, or USER_FIRST of an opening that the service does not take."""


@dataclass(frozen=True, slots=True)
class SentRequest:
    """What a model was given at one attempt at a turn, or would be given next; rebuilt from references."""

    conversation: str
    """Its id."""
    turn: int
    attempt: int
    """From 1, in the journal's order; 0 of what has not been sent."""
    attempts: int
    """How many there are at this turn."""
    kind: str
    """NEXT, BEGIN, RESUME, REGENERATE or SHORTENED."""
    at: datetime | None
    """When the journal told of it: of a SHORTENED one with what came of it. None of what has not been sent."""
    model: str
    """As the conversation names it."""
    asked_as: str
    """The name that its service was asked for: that of another model, when one stood in."""
    parameters: Parameters
    streamed: bool
    """Whether the answer was asked for in pieces."""
    refused: bool
    """Whether the service found the prompt too long, and got a shorter one."""
    context: SentText | None
    examples: tuple[SentExample, ...]
    """Oldest first."""
    messages: tuple[SentMessage, ...]
    """Oldest first; the last one is the user's, to be answered."""
    left_out: tuple[LeftOut, ...]
    """Oldest first: of the context, of the examples, of the messages."""
    tokens: int
    """Of the model's own, as they were reckoned before it was sent."""
    limit: int
    digest: bytes | None = field(repr=False)
    """Of the prompt, as the journal tells it; None of what has not been sent."""
    proven: bool | None
    """Whether the rebuilt prompt has that digest: text by text, in order, with the model and the parameters. A text
    that is gone is vouched for by what the journal committed to. None of what has not been sent."""
    gone: tuple[Field, ...]
    """The texts of it that are gone."""
    paths: tuple[str, ...] = ()
    bodies: tuple[bytes, ...] = field(default=(), repr=False)
    """What is posted, to the byte, and where below the service's address: several where it gives one candidate a
    request. Empty when it cannot be told."""
    no_bodies: str | None = None
    """Why there are no bodies."""

    @property
    def margin(self) -> int:
        """Return how many tokens were left below the limit."""
        return self.limit - self.tokens


# ---- what was taken away


class Everyone:
    """The mark of a call that is about the conversations of all owners."""

    def __repr__(self) -> str:
        return "EVERYONE"


EVERYONE = Everyone()


@dataclass(frozen=True, slots=True)
class Quote:
    """Where words that were erased still stand, in another text."""

    conversation: str
    """Its id."""
    owner: str
    target: str
    """As erase() takes it: a position, "context", "title" or "example:2:input". "name" and "metadata" are changed by
    update()."""
    candidate: int | None = None
    """Of a reply: which one."""


@dataclass(frozen=True, slots=True)
class Remains:
    """What the search for texts that went has found."""

    files: tuple[str, ...] = ()
    """The paths of the files that were searched; none of a store in memory or on a server."""
    searched_bytes: int = 0
    """The size of these files."""
    texts: int = 0
    """How many texts were looked for, each with its salt."""
    too_short: int = 0
    """How many were not, as fewer than 8 bytes may stand anywhere."""
    left_out: int = 0
    """How many were not, as more went than are looked for at once."""
    found_bytes: int = 0
    """How many bytes of the files are words of theirs, those of the `quotes` included."""
    quotes: tuple[Quote, ...] | None = ()
    """Other texts that hold such words, the first 20: of the owner whose texts went, and of everyone after
    Store.scrub() and where everyone's went. None when the database took too long to tell."""
    not_compared: int = 0
    """How many of the texts that were looked for were not compared with other texts, as it would have taken more than
    10 s. None is counted when there are more than 20 `quotes`."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """What went."""

    texts: int
    """How many, copies in forks included."""
    conversations: int
    """In how many."""
    remains: Remains | None = None
    """What was found of them afterwards; None when nothing was looked for."""
