"""What the forms have in common: a conversation that is written, one that was read, and what was left out.

Writers and readers are pure: they see values and lines, and no database, file or clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from convo.values import ConversationRecord, Example, Parameters, Preference, Turn


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation that is written; its iterables are read from the store as they are asked for, once."""

    record: ConversationRecord
    examples: Sequence[Example]
    """By position, erased ones too."""
    turns: Iterable[Turn]
    """By number, from the opening; all candidates, erased texts as None; the last turn may have no answer."""
    preferences: Iterable[Preference]
    """By turn: of which a person has chosen an answer here."""


@dataclass(slots=True)
class Tally:
    """What was written, and what could not be."""

    conversations: int = 0
    """Of which anything was written."""
    turns: int = 0
    """Of which anything was written; the opening counts."""
    texts: int = 0
    """Messages and candidates that were written; erased ones do not count."""
    left_out: Counter[str] = field(default_factory=Counter)
    """By reason, in plural words: "unanswered turns", "turns with erased texts"."""

    def add(self, other: Tally) -> None:
        """Count what another writer has written, too."""
        self.conversations += other.conversations
        self.turns += other.turns
        self.texts += other.texts
        self.left_out += other.left_out


class Writer(Protocol):
    """Writes conversations in one form; made anew for each file."""

    tally: Tally

    def begin(self, contents: Iterable[ConversationRecord]) -> Iterator[str]:
        """Yield what stands before the first conversation; `contents` are those that come, read as asked for."""

    def conversation(self, shown: Transcript) -> Iterator[str]:
        """Yield one conversation, in pieces."""

    def end(self) -> Iterator[str]:
        """Yield what stands behind the last one."""


class PlainWriter:
    """What writers have in common that write conversations one behind the other, and nothing around them."""

    def __init__(self) -> None:
        self.tally = Tally()

    def begin(self, contents: Iterable[ConversationRecord]) -> Iterator[str]:  # noqa: ARG002 - a Writer's signature
        """Yield nothing."""
        return iter(())

    def end(self) -> Iterator[str]:
        """Yield nothing."""
        return iter(())


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftReply:
    """An answer as a file tells of it."""

    content: str | None
    """None when the file tells that it was erased."""
    finish_reason: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftTurn:
    """A user's message and its answers, as a file tells of them."""

    message: str | None
    """None when the file tells that it was erased."""
    replies: Sequence[DraftReply]
    """Empty only in the last turn of a conversation: it is left unanswered."""
    chosen: int | None = 0
    """Which of the replies the conversation goes on from. None when it is none of them, as they broke off or came late:
    then, too, it is the last turn and left unanswered."""
    asked_at: datetime | None = None
    """Aware. None when the file does not tell, as below."""
    answered_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A conversation that was read from a file, before anything of it was checked but its shape."""

    line: int
    """Where it begins in the file, from 1."""
    turns: Sequence[DraftTurn] = ()
    id: str | None = None
    """A UUID's text; None lets it be made of the contents, so that the same ones have the same id."""
    owner: str | None = None
    name: str | None = None
    title: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    authors: tuple[str, str] | None = None
    model: str | None = None
    parameters: Parameters = Parameters()
    input_token_limit: int | None = None
    trim: str | None = None
    context: str | None = None
    examples: Sequence[tuple[str | None, str | None]] = ()
    opening: DraftReply | None = None
    """A message of the model's before the first turn."""
    created_at: datetime | None = None
    """Aware."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """What of it the store cannot hold: how many, by reason, in plural words ("tool messages")."""


class Unread(NamedTuple):
    """A conversation of a file that is none."""

    line: int
    """Where it begins in the file, from 1."""
    why: str
    """In words for its user, without any text of it."""


class Line(NamedTuple):
    """A line of a file."""

    number: int
    """From 1."""
    content: bytes
    """Without the newline (LF) that ends it, and with a carriage return before that; at most as long as the reader of
    the file allows."""


Lines = Iterator[Line]
Read = Iterator[Draft | Unread]
