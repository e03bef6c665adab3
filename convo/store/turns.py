"""The statements that change turns: begin, renew, finish, fail, choose, discard."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, delete, func, select, update

from convo import journal
from convo.errors import CandidateNotFound
from convo.store import rows
from convo.store.answering import (
    Answer,
    Attempt,
    Sifted,
    Stored,
    answer_body,
    as_message,
    attempt_body,
    attempt_columns,
    candidate_body,
    done_columns,
    finish_body,
    lease_ms,
    second_body,
)
from convo.store.columns import EpochMs, database_now_ms
from convo.store.given import message_columns
from convo.store.history import History, in_order
from convo.store.ledger import Stroke, inserted, inserting, stroke, utc_now
from convo.store.prepared import FOUND, Prepared, Write
from convo.store.rows import MESSAGE, MESSAGES, TURNS, LatestTurn
from convo.values import (
    BROKEN_OFF,
    DONE,
    FAILED,
    MODEL,
    USER,
    Candidate,
    ConversationRecord,
    Message,
    Turn,
)


class Turns(History):
    """Everything about the turns of a conversation."""

    def begin_turn(self, record: ConversationRecord, attempt: Attempt) -> ConversationRecord:
        """Store the user's message and the open turn of a locked conversation; the journal tells what will be sent."""
        opening = _opening(record, attempt, utc_now())
        return self._append(record, "begin", *opening, turn_count=attempt.turn, fence=attempt.fence)

    def begin_again(self, record: ConversationRecord, attempt: Attempt) -> ConversationRecord:
        """Take an unanswered turn over: a new fence shuts out whoever held it, and the prompt is made anew."""
        taken = {"error": None, "finished_at": None, **attempt_columns(attempt)}
        self._run(taking(tuple(taken)), {"of": record.id, "turn": attempt.turn, **taken})
        return self._append(record, "resume", attempt_body(attempt), utc_now(), fence=attempt.fence)

    def finish_turn(self, record: ConversationRecord, attempt: Attempt, answer: Answer) -> Stored | None:
        """Store an answer, the first candidate chosen; None, and nothing stored, when the fence is another's."""
        at = utc_now()
        closed = self._close(record, attempt.turn, attempt.fence, chosen=NEXT, **done_columns(attempt, answer, at))
        if closed is None:
            return None
        (first,) = closed
        messages = self._insert_candidates(record, attempt.turn, first, answer.candidates, at)
        told = finish_body(attempt, answer, messages)
        return Stored(self._append(record, "finish", told, at), first, messages[0])

    def renew_lease(self, record: ConversationRecord, attempt: Attempt) -> bool:
        """Let the lease of an attempt begin anew; False when its fence is another's. The journal has no word of it."""
        held = {"of": record.id, "turn": attempt.turn, "held": attempt.fence, "lease_ms": lease_ms(attempt)}
        return len(self._run(_RENEWING, held)) > 0

    def fail_turn(
        self,
        record: ConversationRecord,
        turn: LatestTurn,
        error: str,
        came: Sequence[Candidate] = (),
        attempt: Attempt | None = None,
    ) -> ConversationRecord | None:
        """Leave a turn unanswered for `error`, a type's name; None when the fence is another's.

        What `came` of the answer to `attempt` is kept, as candidates that nobody chose, and that no prompt will hold. A
        turn that was to be answered again keeps the answer that it has.
        """
        at = utc_now()
        left = {} if turn.state == DONE else {"state": FAILED, "error": error, "finished_at": at}
        if self._close(record, turn.number, turn.fence, **left) is None:
            return None
        body: dict[str, Any] = {"turn": turn.number, "fence": turn.fence, "error": error}
        if came and attempt is not None:
            body |= self._keep(record, attempt, came, at)
        return self._append(record, "fail", body | (second_body(attempt) if attempt else {}), at)

    def keep_late(self, record: ConversationRecord, attempt: Attempt, answer: Answer) -> ConversationRecord:
        """Keep an answer that came after its turn was taken over: paid for, but not the one that counts.

        It becomes candidates while its user message still stands, else the journal alone tells of it.
        """
        at = utc_now()
        body: dict[str, Any] = {"turn": attempt.turn, "fence": attempt.fence, "count": len(answer.candidates)}
        if self._stands(record, attempt):
            body |= self._keep(record, attempt, answer.candidates, at)
        return self._append(record, "late", body | answer_body(answer) | second_body(attempt), at)

    def discard_turn(self, record: ConversationRecord, turn: Turn) -> ConversationRecord:
        """Delete an unanswered last turn with its texts; the journal keeps the commitments to them."""
        gone = select(*MESSAGE).where(MESSAGES.c.conversation_id == record.id, MESSAGES.c.turn == turn.number)
        texts = [rows.message(row) for row in self._execute(in_order(gone))]
        self._execute(delete(TURNS).where(TURNS.c.conversation_id == record.id, TURNS.c.number == turn.number))
        body = {
            "turn": turn.number,
            "texts": [journal.sealed("content", each.content, each.salt) for each in texts],
        }
        return self._append(record, "discard", body, utc_now(), turn_count=turn.number - 1)

    def choose(self, record: ConversationRecord, turn: int, candidate: int) -> ConversationRecord:
        """Make another candidate of the last, settled turn the one that counts.

        Raises:
            CandidateNotFound: the turn has none of that index, or it broke off or was erased.
        """
        if candidate not in self._execute(self._whole_candidates(record, turn, MESSAGES.c.candidate)).scalars().all():
            raise CandidateNotFound(record.id, turn, candidate)
        self.release(record, turn, chosen=candidate)
        return self._append(record, "choose", {"turn": turn, "chosen": candidate, "by": "user"}, utc_now())

    def release(self, record: ConversationRecord, turn: int, **columns: Any) -> None:  # noqa: ANN401 - of several types
        """Take the lease of a settled turn from somebody who died while he asked for another answer."""
        of_it = update(TURNS).where(TURNS.c.conversation_id == record.id, TURNS.c.number == turn)
        self._execute(of_it.values(lease_owner=None, lease_expires=None, **columns))

    def _close(
        self,
        record: ConversationRecord,
        turn: int,
        fence: int,
        **columns: Any,  # noqa: ANN401 - of several types
    ) -> Sequence[Any] | None:
        """End an attempt that still holds its fence; return what is chosen then, or None when it does not."""
        columns |= {"lease_owner": None, "lease_expires": None}
        held = {"of": record.id, "turn": turn, "held": fence}
        if chooses := columns.get("chosen") is NEXT:
            del columns["chosen"]
        closed = self._run(_closing(tuple(columns), chooses=chooses), {**held, **columns})
        return closed[0] if closed else None

    def _whole_candidates(self, record: ConversationRecord, turn: int, *columns: ColumnElement[Any]) -> Select[Any]:
        """Return a query for `columns` of the candidates of a turn that can be chosen."""
        of_it = (MESSAGES.c.conversation_id == record.id, MESSAGES.c.turn == turn, MESSAGES.c.side == MODEL)
        is_whole = func.coalesce(MESSAGES.c.finish_reason, "").not_in(BROKEN_OFF)
        return select(*columns).where(*of_it, MESSAGES.c.content.is_not(None), is_whole)

    def _keep(
        self, record: ConversationRecord, attempt: Attempt, came: Sequence[Candidate], at: datetime
    ) -> dict[str, Any]:
        """Store what came of an answer behind the candidates that are there; return what the journal tells.

        Of an answer that was asked for again, only what is new.
        """
        sifted = self._sift(record, attempt.turn, came) if attempt.is_regeneration else Sifted(came, ())
        first = self._execute(_NEXT_CANDIDATE, {"of": record.id, "turn": attempt.turn}).scalar_one()
        new = (record, attempt.turn, first, sifted.fresh, at)
        messages = self._insert_candidates(*new, model=attempt.model)
        return {"candidates": [candidate_body(each) for each in messages]} | sifted.told

    def _sift(self, record: ConversationRecord, turn: int, candidates: Sequence[Candidate]) -> Sifted:
        """Tell the texts that no candidate of the turn has from those that one has."""
        rows = self._execute(self._whole_candidates(record, turn, MESSAGES.c.candidate, MESSAGES.c.content))
        known = {row.content: row.candidate for row in rows}
        fresh = [each for each in candidates if each.content not in known]
        repeats = [(place, known[each.content]) for place, each in enumerate(candidates) if each.content in known]
        return Sifted(fresh, repeats)

    def _insert_candidates(
        self,
        record: ConversationRecord,
        turn: int,
        first: int,
        candidates: Sequence[Candidate],
        at: datetime,
        *,
        model: str | None = None,
    ) -> list[Message]:
        """Store candidates from index `first`, of the turn's model or of `model`; return them as they are stored."""
        author = record.authors[MODEL]
        messages = [as_message(each, first + place, turn, author, at, model) for place, each in enumerate(candidates)]
        if messages:
            self._driver.write(*[inserted(MESSAGES, message_columns(record.id, turn, each, at)) for each in messages])
        return messages

    def _stands(self, record: ConversationRecord, attempt: Attempt) -> bool:
        """Return whether the user's message of `attempt` is still there, and not another one under its number."""
        same = select(MESSAGES.c.turn).where(
            MESSAGES.c.conversation_id == record.id,
            MESSAGES.c.turn == attempt.turn,
            MESSAGES.c.side == USER,
            MESSAGES.c.salt == attempt.message.salt,
        )
        return self._execute(same).first() is not None


def beginning(record: ConversationRecord, attempt: Attempt) -> Stroke[ConversationRecord]:
    """Return the stroke that does what Turns.begin_turn() does."""
    opening = _opening(record, attempt, utc_now())
    return stroke(record, "begin", *opening, turn_count=attempt.turn, fence=attempt.fence)


def finishing(record: ConversationRecord, attempt: Attempt, answer: Answer) -> Stroke[Stored]:
    """Return the stroke that stores the answer to a first attempt, if nothing happened since that began."""
    at = utc_now()
    author = record.authors[MODEL]
    messages = [as_message(each, place, attempt.turn, author, at) for place, each in enumerate(answer.candidates)]
    done = done_columns(attempt, answer, at) | {"chosen": 0, "lease_owner": None, "lease_expires": None}
    settled = _settling(tuple(done)), {"of": record.id, "turn": attempt.turn, **done}
    said = [inserted(MESSAGES, message_columns(record.id, attempt.turn, each, at)) for each in messages]
    made = stroke(record, "finish", finish_body(attempt, answer, messages), at, settled, *said)
    return made.leading_to(Stored(made.outcome, 0, messages[0]))


def _opening(
    record: ConversationRecord, attempt: Attempt, at: datetime
) -> tuple[dict[str, Any], datetime, Write, Write]:
    """Return what the journal tells of a turn that is opened, when, and the writes of which it tells."""
    key = {"conversation_id": record.id, "number": attempt.turn, "created_at": at}
    asked = {name: getattr(attempt, name) for name in ("request_key", "request_hash", "prev_chosen")}
    row = {**key, **asked, **attempt_columns(attempt)}
    lease = {"lease_ms": row.pop("lease_ms")}  # no column, but the parameter of one
    opened = inserting(TURNS, tuple(row), lease_expires=_LEASE_END), row | lease
    body = attempt_body(attempt) | {
        "text": journal.sealed("content", attempt.message.content, attempt.message.salt),
        "tokens": attempt.message.tokens,
    }
    if attempt.request_key is not None and attempt.request_hash is not None:
        named = journal.sealed("request_key", attempt.request_key, attempt.message.salt)
        body["request"] = [named, journal.encode(attempt.request_hash)]
    return body, at, opened, inserted(MESSAGES, message_columns(record.id, attempt.turn, attempt.message, at))


_OF_IT = (TURNS.c.conversation_id == bindparam("of"), TURNS.c.number == bindparam("turn"))
_IS_HELD = (*_OF_IT, TURNS.c.fence == bindparam("held"), TURNS.c.lease_owner.is_not(None))
"""What is true of a turn that is being answered under a fence, for the first time or again."""

_LEASE_END = database_now_ms() + bindparam("lease_ms", type_=EpochMs)

NEXT = object()
"""The candidate to be chosen that stands behind the last one: one may be there, of an attempt that broke off."""


def next_candidate(id: Any, turn: Any) -> Select[int]:  # noqa: ANN401 - values, or SQL expressions
    """Return a query for the index after the last candidate of a turn."""
    of_it = (MESSAGES.c.conversation_id == id, MESSAGES.c.turn == turn, MESSAGES.c.side == MODEL)
    return select(func.coalesce(func.max(MESSAGES.c.candidate) + 1, 0)).where(*of_it)


_NEXT_CANDIDATE = next_candidate(bindparam("of"), bindparam("turn"))
_RENEWING = Prepared(update(TURNS).where(*_IS_HELD).values(lease_expires=_LEASE_END).returning(TURNS.c.fence))


@functools.cache
def taking(columns: tuple[str, ...]) -> Prepared:
    """Return the statement that takes the lease of a turn, and sets these columns."""
    return Prepared(update(TURNS).where(*_OF_IT).values(lease_expires=_LEASE_END), columns)


@functools.cache
def _settling(columns: tuple[str, ...]) -> Prepared:
    """Return the statement that sets these columns of a turn that is known to be ours."""
    settled = update(TURNS).where(*_OF_IT)
    return Prepared(settled, columns, if_found=settled.where(TURNS.c.conversation_id == FOUND.c.id))


@functools.cache
def _closing(columns: tuple[str, ...], *, chooses: bool) -> Prepared:
    """Return the statement that ends an attempt, with the next candidate chosen or not, and sets these columns."""
    closed = update(TURNS).where(*_IS_HELD).returning(TURNS.c.chosen)
    return Prepared(closed.values(chosen=_NEXT_CANDIDATE.scalar_subquery()) if chooses else closed, columns)
