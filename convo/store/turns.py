"""The statements on turns and their messages: read the window, begin, finish, fail, choose, discard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Select, delete, func, insert, select, update
from sqlalchemy.orm import Session

from convo import journal
from convo.errors import CandidateNotFound, TurnNotFound
from convo.store import rows
from convo.store.columns import database_now_ms
from convo.store.conversations import commitment, message_columns
from convo.store.ledger import BATCH, Ledger, new_salt, utc_now
from convo.store.rows import MESSAGES, TURNS, LatestTurn
from convo.types import (
    DONE,
    FAILED,
    IN_FLIGHT,
    MODEL,
    USER,
    Candidate,
    ConversationRecord,
    Message,
    Parameters,
    PromptRecord,
    Turn,
    Usage,
)

FIRST_PAGE = 32
"""How many turns of a window are read at once when nothing tells how long it was the last time."""

FIRST_TEXT = 200

_LATEST = [TURNS.c[name] for name in LatestTurn.__slots__ if name != "lease_left_ms"]
_IS_CHOSEN = (MESSAGES.c.side == USER) | (MESSAGES.c.candidate == TURNS.c.chosen)
_OF_TURN = (TURNS.c.conversation_id == MESSAGES.c.conversation_id) & (TURNS.c.number == MESSAGES.c.turn)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at answering a turn: what is asked, of which model, and who holds the lease until when."""

    turn: int
    fence: int
    message: Message
    """The user's, with its salt."""
    model: str
    parameters: Parameters
    prompt: PromptRecord
    lease_owner: str
    lease_s: float
    request_key: str | None = None
    request_hash: bytes | None = None
    prev_chosen: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered, ready to be stored."""

    candidates: Sequence[Candidate]
    served_by: str | None = None
    usage: Usage | None = None
    latency_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored answer: the conversation after it, and the index of its first candidate."""

    record: ConversationRecord
    first: int


def _nobody(holder: str) -> bool:  # noqa: ARG001 - the signature of Turns' is_gone
    return False


class Turns(Ledger):
    """Everything about the turns of a conversation."""

    def __init__(self, session: Session, *, is_gone: Callable[[str], bool] = _nobody) -> None:
        """Write through `session`; `is_gone` tells of the holder of a lease whether he is known to have died."""
        super().__init__(session)
        self._is_gone = is_gone

    def latest_turns(self, record: ConversationRecord, request_key: str | None = None) -> list[LatestTurn]:
        """Return the last turn, and the one with `request_key`, as far as there are such."""
        lease_left = (TURNS.c.lease_expires - database_now_ms()).label("lease_left_ms")
        of_it = select(*_LATEST, lease_left).where(TURNS.c.conversation_id == record.id)
        wanted: Any = of_it.where(TURNS.c.number == record.turn_count, TURNS.c.number > 0)
        if request_key is not None:
            # Not `OR`: each half has an index of its own.
            by_key = of_it.where(TURNS.c.request_key == request_key, TURNS.c.number != record.turn_count)
            wanted = wanted.union_all(by_key)
        return [self._latest(LatestTurn(**row._mapping)) for row in self._execute(wanted)]

    def _latest(self, turn: LatestTurn) -> LatestTurn:
        """Return a turn whose lease is at an end when its holder is gone."""
        if turn.is_alive and turn.lease_owner is not None and self._is_gone(turn.lease_owner):
            return replace(turn, lease_left_ms=0)
        return turn

    def window(
        self,
        record: ConversationRecord,
        before: int,
        budget: int,
        cost: Callable[[Message], int],
        *,
        last_length: int | None = None,
    ) -> tuple[list[Message], int]:
        """Return the newest messages before turn `before`, oldest first, and how many older ones were left unread.

        Reads newest first, in pages, until the messages cost more than `budget`; `last_length`, in turns, is how long
        the window was for the turn before, so that one page is mostly enough. A turn of which a text was erased is
        left out whole.
        """
        read: list[Message] = []
        tokens = 0
        page = FIRST_PAGE if last_length is None else last_length + 2
        high = before - 1
        lowest = record.first_position  # the number of the first turn is the position of the first message
        while high >= lowest and tokens <= budget:
            low = max(high - page + 1, lowest)
            for message in self._chosen_messages(record, low, high):
                read.append(message)
                tokens += cost(message)
            high, page = low - 1, page * 2
        unread = 2 * high - record.first_position + 1 if high >= lowest else 0
        return read[::-1], unread

    def _chosen_messages(self, record: ConversationRecord, low: int, high: int) -> Iterator[Message]:
        """Yield the messages of settled turns from `low` to `high`, newest first, without turns that were erased."""
        wanted = (
            select(MESSAGES)
            .join(TURNS, _OF_TURN)
            .where(MESSAGES.c.conversation_id == record.id, MESSAGES.c.turn.between(low, high), _IS_CHOSEN)
            .where(TURNS.c.number.between(low, high))  # for PostgreSQL, which would read all turns and hash them
            .order_by(MESSAGES.c.turn.desc(), MESSAGES.c.side.desc())
        )
        found = map(rows.message, self._execute(wanted))
        for _, turn in groupby(found, key=lambda each: each.turn):
            texts = list(turn)
            if all(each.content is not None for each in texts):
                yield from texts

    def messages(self, record: ConversationRecord, last: int | None = None) -> list[Message]:
        """Return the conversation as it reads, oldest first: the newest `last` messages, or all."""
        wanted = select(MESSAGES).join(TURNS, _OF_TURN).where(MESSAGES.c.conversation_id == record.id, _IS_CHOSEN)
        if last is not None:
            lowest = max(record.turn_count - last // 2, 0)
            wanted = wanted.where(MESSAGES.c.turn >= lowest, TURNS.c.number >= lowest)
        found = [rows.message(row) for row in self._execute(wanted.order_by(MESSAGES.c.turn, MESSAGES.c.side))]
        return found if last is None else found[max(len(found) - last, 0) :]

    def first_texts(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the first FIRST_TEXT characters of each conversation's first user message, by id."""
        beginning = func.substr(MESSAGES.c.content, 1, FIRST_TEXT).label("beginning")
        first = (MESSAGES.c.turn == 1, MESSAGES.c.side == USER, MESSAGES.c.content.is_not(None))
        found: dict[str, str] = {}
        for place in range(0, len(ids), BATCH):
            some = MESSAGES.c.conversation_id.in_(ids[place : place + BATCH])
            rows_of_some = self._execute(select(MESSAGES.c.conversation_id, beginning).where(some, *first))
            found |= {row.conversation_id: row.beginning for row in rows_of_some}
        return found

    def turns(self, record: ConversationRecord, last: int | None = None) -> list[Turn]:
        """Return the turns from 1, oldest first: the newest `last`, or all."""
        lowest = 1 if last is None else max(record.turn_count - last + 1, 1)
        return self._turns(record, lowest, record.turn_count)

    def turn(self, record: ConversationRecord, number: int) -> Turn:
        """Return turn `number`; 0 is the opening.

        Raises:
            TurnNotFound: there is none of that number.
        """
        found = self._turns(record, number, number) if 0 <= number <= record.turn_count else []
        if not found:
            raise TurnNotFound(record.id, number)
        return found[0]

    def _turns(self, record: ConversationRecord, low: int, high: int) -> list[Turn]:
        of_it = select(TURNS).where(TURNS.c.conversation_id == record.id, TURNS.c.number.between(low, high))
        texts = select(MESSAGES).where(MESSAGES.c.conversation_id == record.id, MESSAGES.c.turn.between(low, high))
        found = self._execute(of_it.order_by(TURNS.c.number)).all()
        messages = [rows.message(row) for row in self._execute(_in_order(texts))]
        said = {turn: list(group) for turn, group in groupby(messages, key=lambda each: each.turn)}
        return [rows.turn(row, said.get(row.number, ())) for row in found]

    def user_message(self, record: ConversationRecord, turn: int) -> Message:
        """Return the user's message of a turn, with its salt."""
        wanted = select(MESSAGES).where(
            MESSAGES.c.conversation_id == record.id, MESSAGES.c.turn == turn, MESSAGES.c.side == USER
        )
        return rows.message(self._execute(wanted).one())

    def begin_turn(self, record: ConversationRecord, attempt: Attempt) -> ConversationRecord:
        """Store the user's message and the open turn of a locked conversation; the journal tells what will be sent."""
        at = utc_now()
        key = {"conversation_id": record.id, "number": attempt.turn, "created_at": at}
        asked = {name: getattr(attempt, name) for name in ("request_key", "request_hash", "prev_chosen")}
        self._execute(insert(TURNS).values(**key, **asked, **_attempt_columns(attempt)))
        self._execute(insert(MESSAGES), message_columns(record.id, attempt.turn, attempt.message, at))
        body = _attempt_body(attempt) | {
            "text": commitment("content", attempt.message.content, attempt.message.salt),
            "tokens": attempt.message.tokens,
        }
        return self._append(record, "begin", body, at, turn_count=attempt.turn, fence=attempt.fence)

    def begin_again(self, record: ConversationRecord, attempt: Attempt) -> ConversationRecord:
        """Take an unanswered turn over: a new fence shuts out whoever held it, and the prompt is made anew."""
        open_turn = update(TURNS).where(TURNS.c.conversation_id == record.id, TURNS.c.number == attempt.turn)
        self._execute(open_turn.values(error=None, finished_at=None, **_attempt_columns(attempt)))
        return self._append(record, "resume", _attempt_body(attempt), utc_now(), fence=attempt.fence)

    def finish_turn(self, record: ConversationRecord, attempt: Attempt, answer: Answer) -> Stored | None:
        """Store an answer, the first candidate chosen; None, and nothing stored, when the fence is another's."""
        at = utc_now()
        settled = self._close(
            record,
            attempt.turn,
            attempt.fence,
            state=DONE,
            chosen=self._next_candidate(record, attempt.turn),
            served_by=answer.served_by,
            input_tokens=answer.usage.input_tokens if answer.usage else None,
            output_tokens=answer.usage.output_tokens if answer.usage else None,
            latency_ms=answer.latency_ms,
            finished_at=at,
        )
        if settled is None:
            return None
        body = {"turn": attempt.turn, "fence": attempt.fence, "chosen": settled.chosen, "by": "model"}
        body |= {"candidates": self._insert_candidates(record, attempt.turn, settled.chosen, answer.candidates, at)}
        return Stored(self._append(record, "finish", body | _answer_body(answer), at), settled.chosen)

    def fail_turn(self, record: ConversationRecord, turn: int, fence: int, error: str) -> ConversationRecord | None:
        """Leave a turn unanswered for `error`, a type's name; None when the fence is another's."""
        at = utc_now()
        if self._close(record, turn, fence, state=FAILED, error=error, finished_at=at) is None:
            return None
        return self._append(record, "fail", {"turn": turn, "fence": fence, "error": error}, at)

    def keep_late(self, record: ConversationRecord, attempt: Attempt, answer: Answer) -> ConversationRecord:
        """Keep an answer that came after its turn was taken over: paid for, but not the one that counts.

        It becomes candidates while its user message still stands, else the journal alone tells of it.
        """
        at = utc_now()
        body: dict[str, Any] = {"turn": attempt.turn, "fence": attempt.fence, "count": len(answer.candidates)}
        if self._stands(record, attempt):
            body["candidates"] = self._add_candidates(record, attempt.turn, answer.candidates, at)
        return self._append(record, "late", body | _answer_body(answer), at)

    def discard_turn(self, record: ConversationRecord, turn: Turn) -> ConversationRecord:
        """Delete an unanswered last turn with its texts; the journal keeps the commitments to them."""
        gone = select(MESSAGES).where(MESSAGES.c.conversation_id == record.id, MESSAGES.c.turn == turn.number)
        texts = [rows.message(row) for row in self._execute(_in_order(gone))]
        self._execute(delete(TURNS).where(TURNS.c.conversation_id == record.id, TURNS.c.number == turn.number))
        body = {
            "turn": turn.number,
            "texts": [commitment("content", each.content, each.salt) for each in texts],
        }
        return self._append(record, "discard", body, utc_now(), turn_count=turn.number - 1)

    def choose(self, record: ConversationRecord, turn: int, candidate: int) -> ConversationRecord:
        """Make another candidate of the last, settled turn the one that counts.

        Raises:
            CandidateNotFound: the turn has none of that index.
        """
        replies = select(MESSAGES.c.candidate).where(
            MESSAGES.c.conversation_id == record.id, MESSAGES.c.turn == turn, MESSAGES.c.side == MODEL
        )
        if candidate not in self._execute(replies).scalars().all():
            raise CandidateNotFound(record.id, turn, candidate)
        of_it = update(TURNS).where(TURNS.c.conversation_id == record.id, TURNS.c.number == turn)
        self._execute(of_it.values(chosen=candidate))
        return self._append(record, "choose", {"turn": turn, "chosen": candidate, "by": "user"}, utc_now())

    def _close(self, record: ConversationRecord, turn: int, fence: int, **columns: Any) -> Any:  # noqa: ANN401 - a row
        """End an attempt that still holds its fence; return the turn's row, or None."""
        mine = update(TURNS).where(
            TURNS.c.conversation_id == record.id,
            TURNS.c.number == turn,
            TURNS.c.fence == fence,
            TURNS.c.state == IN_FLIGHT,
        )
        closed = mine.values(lease_owner=None, lease_expires=None, **columns).returning(TURNS.c.chosen)
        return self._execute(closed).one_or_none()

    def _next_candidate(self, record: ConversationRecord, turn: int) -> Any:  # noqa: ANN401 - an SQL expression
        """Return the index after the last candidate: one may stand there, of an attempt that broke off."""
        taken = select(func.coalesce(func.max(MESSAGES.c.candidate) + 1, 0)).where(
            MESSAGES.c.conversation_id == record.id, MESSAGES.c.turn == turn, MESSAGES.c.side == MODEL
        )
        return taken.scalar_subquery()

    def _add_candidates(
        self, record: ConversationRecord, turn: int, candidates: Sequence[Candidate], at: datetime
    ) -> list[dict[str, Any]]:
        first = self._execute(select(self._next_candidate(record, turn))).scalar_one()
        return self._insert_candidates(record, turn, first, candidates, at)

    def _insert_candidates(
        self, record: ConversationRecord, turn: int, first: int, candidates: Sequence[Candidate], at: datetime
    ) -> list[dict[str, Any]]:
        """Store candidates from index `first`; return what the journal tells of each."""
        messages = [_as_message(each, first + place, record.authors[MODEL]) for place, each in enumerate(candidates)]
        self._execute(insert(MESSAGES), [message_columns(record.id, turn, each, at) for each in messages])
        return [_told(each) for each in messages]

    def _stands(self, record: ConversationRecord, attempt: Attempt) -> bool:
        """Return whether the user's message of `attempt` is still there, and not another one under its number."""
        same = select(MESSAGES.c.turn).where(
            MESSAGES.c.conversation_id == record.id,
            MESSAGES.c.turn == attempt.turn,
            MESSAGES.c.side == USER,
            MESSAGES.c.salt == attempt.message.salt,
        )
        return self._execute(same).first() is not None


def _in_order(messages: Select[Any]) -> Select[Any]:
    return messages.order_by(MESSAGES.c.turn, MESSAGES.c.side, MESSAGES.c.candidate)


def _as_message(candidate: Candidate, index: int, author: str) -> Message:
    return Message(
        author=author,
        content=candidate.content,
        side=MODEL,
        tokens=candidate.tokens,
        candidate=index,
        finish_reason=candidate.finish_reason,
        repaired=candidate.repaired,
        salt=new_salt(),
    )


def _told(candidate: Message) -> dict[str, Any]:
    told = {"text": commitment("content", candidate.content, candidate.salt), "tokens": candidate.tokens}
    return told | ({"finish": candidate.finish_reason} if candidate.finish_reason else {})


def _attempt_columns(attempt: Attempt) -> dict[str, Any]:
    return {
        "state": IN_FLIGHT,
        "fence": attempt.fence,
        "lease_owner": attempt.lease_owner,
        "lease_expires": database_now_ms() + int(attempt.lease_s * 1000),
        "model": attempt.model,
        "parameters": attempt.parameters.as_dict(),
        "window_start": attempt.prompt.window_start,
        "first_example": attempt.prompt.first_example,
        "prompt_tokens": attempt.prompt.tokens,
        "prompt_limit": attempt.prompt.limit,
        "prompt_digest": attempt.prompt.digest,
    }


def _attempt_body(attempt: Attempt) -> dict[str, Any]:
    prompt = attempt.prompt
    body = {
        "turn": attempt.turn,
        "fence": attempt.fence,
        "model": attempt.model,
        "prompt": journal.encode(prompt.digest),
        "window": [prompt.window_start, prompt.first_example, prompt.tokens, prompt.limit],
    }
    chosen = journal.parameters(attempt.parameters)
    return body | ({"parameters": chosen} if chosen else {})


def _answer_body(answer: Answer) -> dict[str, Any]:
    told: dict[str, Any] = {
        "served_by": answer.served_by,
        "latency_ms": answer.latency_ms,
        "usage": [answer.usage.input_tokens, answer.usage.output_tokens] if answer.usage else None,
    }
    return {name: value for name, value in told.items() if value is not None}
