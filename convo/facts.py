"""What the shells, sync and async, know without waiting: a conversation's facts, and the replies they hand out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, Self, TypeVar

from convo.asking import Begun
from convo.copies import replace
from convo.store.answering import Answer, Stored
from convo.values import BROKEN_OFF, MODEL, Candidate, ConversationRecord, Fit, Parameters, PromptRecord, Turn, Usage

Talk = TypeVar("Talk", bound="ConversationFacts")


class Seen(Protocol):
    """What was last seen of a conversation."""

    record: ConversationRecord
    last_reply: Reply[Any] | None


class ConversationFacts:
    """What was last read or written of a conversation's own row."""

    def __init__(self, view: Seen) -> None:
        self._seen = view

    def __repr__(self) -> str:
        named = f" {self.name!r}" if self.name else ""
        return f"<{type(self).__name__} {self.id}{named}: {self.record.turn_count} turns>"

    @property
    def record(self) -> ConversationRecord:
        """The whole row."""
        return self._seen.record

    @property
    def last_reply(self) -> Reply[Self] | None:
        """The reply to the last message that was answered through this object; None before."""
        return self._seen.last_reply

    @property
    def id(self) -> str:
        """The conversation's UUID, as text."""
        return self.record.id

    @property
    def name(self) -> str | None:
        """What the conversation is called; unique among its owner's."""
        return self.record.name

    @property
    def owner(self) -> str:
        """Whose it is; "" when nobody's."""
        return self.record.owner

    @property
    def title(self) -> str | None:
        """What it is about, for people."""
        return self.record.title

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the application keeps with it."""
        return self.record.metadata

    @property
    def model(self) -> str:
        """The model that answers, by name."""
        return self.record.model

    @property
    def context(self) -> str | None:
        """What the model is told first."""
        return self.record.context

    @property
    def parameters(self) -> Parameters:
        """How the model is to answer, unless a turn says otherwise."""
        return self.record.parameters

    @property
    def version(self) -> int:
        """The length of the journal: it grows with every change, whoever makes it."""
        return self.record.version

    @property
    def forked_from(self) -> str | None:
        """The id of the conversation that this is a fork of, which may be gone; None when it is none."""
        return self.record.forked_from

    @property
    def forked_at(self) -> int | None:
        """The last turn that both have, 0 for none."""
        return self.record.forked_at

    @property
    def created_at(self) -> datetime:
        """When it was created."""
        return self.record.created_at

    @property
    def updated_at(self) -> datetime:
        """When it last changed."""
        return self.record.updated_at


@dataclass(frozen=True, slots=True)
class Reply(Generic[Talk]):
    """The model's answer to one message, as it is stored."""

    text: str
    """The chosen candidate's; "" once erased."""
    finish_reason: str | None
    """Why the chosen candidate ends, in the model's word; None when it does not say."""
    candidates: tuple[Candidate, ...]
    """All that may be chosen, in the order of their index."""
    usage: Usage | None
    turn: int
    prompt: Fit | PromptRecord | None
    """What was sent; of an answer that was stored by an earlier call, what the store remembers of it."""
    conversation: Talk


def reply_of_answer(begun: Begun, answer: Answer, stored: Stored, conversation: Talk) -> Reply[Talk]:
    """Return the reply for an answer that has just been stored; with all candidates, where there were some before."""
    if stored.turn is not None:
        return replace(reply_of_turn(stored.turn, conversation), usage=answer.usage, prompt=begun.fit)
    author = stored.record.authors[MODEL]
    numbered = tuple(
        replace(each, index=stored.first + place, author=author, model=begun.attempt.model)
        for place, each in enumerate(answer.candidates)
    )
    chosen = numbered[0]
    turn = begun.attempt.turn
    return Reply(str(chosen.content), chosen.finish_reason, numbered, answer.usage, turn, begun.fit, conversation)


def reply_of_turn(turn: Turn, conversation: Talk) -> Reply[Talk]:
    """Return the reply for a turn that was answered before."""
    chosen = turn.reply or Candidate(0, None)
    whole = tuple(each for each in turn.candidates if each.finish_reason not in BROKEN_OFF)
    ended, text = chosen.finish_reason, chosen.content or ""
    return Reply(text, ended, whole, turn.usage, turn.number, turn.prompt, conversation)
