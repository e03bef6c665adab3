"""The statements that store turns which were given: a history, of which the texts are known, and no prompt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any

from convo.store import bodies
from convo.store.ledger import BATCH, Ledger, new_salt
from convo.store.rows import MESSAGES, TURNS
from convo.values import DONE, FAILED, UNANSWERED, ConversationRecord, Message


@dataclass(frozen=True, slots=True)
class GivenTurn:
    """A user's message, and the answers to it; texts are cleaned and counted already, as convo.prepare does."""

    question: Message
    answers: Sequence[Message]
    """By candidate."""
    chosen: int | None = 0
    """Which of them the next turn follows. Without any, or with None, the turn is left unanswered, and is the last."""
    asked_at: datetime | None = None
    """When it was said, in milliseconds; None when that is not known: both are, or none."""
    answered_at: datetime | None = None

    def __post_init__(self) -> None:
        if not self.answers:
            object.__setattr__(self, "chosen", None)

    def salted(self) -> GivenTurn:
        """Return it with a fresh salt for each text that it has."""
        return replace(self, question=salted(self.question), answers=[salted(each) for each in self.answers])


class Given(Ledger):
    """How a history enters the store."""

    def _insert_given(
        self, record: ConversationRecord, opening: Message | None, turns: Iterable[GivenTurn], at: datetime
    ) -> ConversationRecord:
        """Store the opening, and then turns, as they come; the journal tells of each of them at `at`."""
        if opening:
            self._insert_opening(record, opening)
        number, last, said_at = 0, 0 if opening else None, record.updated_at
        told = (each.salted() for each in turns)
        while some := list(islice(told, BATCH // 2)):
            numbered = list(enumerate(some, start=number + 1))
            follows = [last, *(each.chosen for each in some)]
            self._insert_many(TURNS, map(_turn_columns, _repeated(record), numbered, follows, _repeated(at)))
            self._insert_many(MESSAGES, _said(record, numbered, at))
            number, last = number + len(some), some[-1].chosen
            said_at = some[-1].answered_at or said_at
            record = self._link(record, "history", (_told(*each) for each in numbered), at)
        if not number:
            return record
        return self._advance(record, record.version, record.journal_head, said_at, turn_count=number, fence=1)

    def _insert_opening(self, record: ConversationRecord, opening: Message) -> None:
        done = {"state": DONE, "fence": 1, "chosen": 0, "prev_chosen": None}
        times = {"created_at": record.created_at, "finished_at": record.created_at}
        self._insert_many(TURNS, [{"conversation_id": record.id, "number": 0, **done, **times}])
        self._insert_many(MESSAGES, [message_columns(record.id, 0, opening, record.created_at)])


def _repeated(value: Any) -> Iterator[Any]:  # noqa: ANN401 - of any type
    while True:
        yield value


def _turn_columns(
    record: ConversationRecord, numbered: tuple[int, GivenTurn], follows: int | None, at: datetime
) -> dict[str, Any]:
    number, turn = numbered
    return {
        "conversation_id": record.id,
        "number": number,
        "state": FAILED if turn.chosen is None else DONE,
        "error": UNANSWERED if turn.chosen is None else None,
        "fence": 1,
        "chosen": turn.chosen,
        "prev_chosen": follows,
        "created_at": turn.asked_at or at,
        "finished_at": turn.answered_at or at,
    }


def _told(number: int, turn: GivenTurn) -> dict[str, Any]:
    return bodies.given(number, [turn.question, *turn.answers], turn.chosen, turn.asked_at, turn.answered_at)


def _said(
    record: ConversationRecord, numbered: Iterable[tuple[int, GivenTurn]], at: datetime
) -> Iterator[dict[str, Any]]:
    for number, turn in numbered:
        yield message_columns(record.id, number, turn.question, turn.asked_at or at)
        for each in turn.answers:
            yield message_columns(record.id, number, each, turn.answered_at or at)


def message_columns(id: str, turn: int, message: Message, at: datetime) -> dict[str, Any]:
    """Return the columns of a message's row."""
    return {
        "conversation_id": id,
        "turn": turn,
        "side": message.side,
        "candidate": message.candidate,
        "author": message.author,
        "content": message.content,
        "salt": message.salt,
        "tokens": message.tokens,
        "repaired": message.repaired,
        "finish_reason": message.finish_reason,
        "created_at": at,
        "model": message.model,
    }


def salted(message: Message) -> Message:
    """Return a message with a fresh salt; an erased one has none."""
    return message if message.content is None else replace(message, salt=new_salt())
