"""The statements that change turns: begin, renew, finish, fail, choose, discard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, insert, select, update

from convo import journal
from convo.errors import CandidateNotFound
from convo.store import rows
from convo.store.columns import database_now_ms
from convo.store.given import message_columns
from convo.store.history import History, in_order
from convo.store.ledger import new_salt, utc_now
from convo.store.rows import MESSAGES, TURNS, LatestTurn
from convo.values import (
    BROKEN_OFF,
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
    refused: PromptRecord | None = None
    """The prompt that was sent first, and was too long; `prompt` is the shorter one that took its place."""
    is_regeneration: bool = False
    """Whether the turn has an answer, which stands while another one is asked for."""
    keeps_prompt: bool = False
    """Whether the turn remembers the prompt already: just that one is sent again, and none that is shorter."""
    is_streamed: bool = False
    """Whether the answer is asked for in pieces."""
    asked_as: str | None = None
    """The name that the model is asked by, where another one stands in for `model`."""
    overhead: int = 0
    """Tokens that the model's service adds to each text, as the prompt was counted."""
    is_user_first: bool = False
    """Whether the service wants the user to speak first."""


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
    turn: Turn | None = None
    """The turn as it is now, where it had other candidates before."""


@dataclass(frozen=True, slots=True)
class Sifted:
    """An answer, without what was said before."""

    fresh: Sequence[Candidate]
    repeats: Sequence[tuple[int, int]]
    """Of each text that was there: its place in the answer, and the index of the candidate that has it."""

    @property
    def told(self) -> dict[str, Any]:
        """What the journal tells of the texts that were there."""
        return {"repeats": self.repeats} if self.repeats else {}


class Turns(History):
    """Everything about the turns of a conversation."""

    def begin_turn(self, record: ConversationRecord, attempt: Attempt) -> ConversationRecord:
        """Store the user's message and the open turn of a locked conversation; the journal tells what will be sent."""
        at = utc_now()
        key = {"conversation_id": record.id, "number": attempt.turn, "created_at": at}
        asked = {name: getattr(attempt, name) for name in ("request_key", "request_hash", "prev_chosen")}
        self._execute(insert(TURNS).values(**key, **asked, **_attempt_columns(attempt)))
        self._execute(insert(MESSAGES), message_columns(record.id, attempt.turn, attempt.message, at))
        body = attempt_body(attempt) | {
            "text": journal.sealed("content", attempt.message.content, attempt.message.salt),
            "tokens": attempt.message.tokens,
        }
        if attempt.request_key is not None and attempt.request_hash is not None:
            named = journal.sealed("request_key", attempt.request_key, attempt.message.salt)
            body["request"] = [named, journal.encode(attempt.request_hash)]
        return self._append(record, "begin", body, at, turn_count=attempt.turn, fence=attempt.fence)

    def begin_again(self, record: ConversationRecord, attempt: Attempt) -> ConversationRecord:
        """Take an unanswered turn over: a new fence shuts out whoever held it, and the prompt is made anew."""
        open_turn = update(TURNS).where(TURNS.c.conversation_id == record.id, TURNS.c.number == attempt.turn)
        self._execute(open_turn.values(error=None, finished_at=None, **_attempt_columns(attempt)))
        return self._append(record, "resume", attempt_body(attempt), utc_now(), fence=attempt.fence)

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
            **(prompt_columns(attempt.prompt) if attempt.refused else {}),
        )
        if settled is None:
            return None
        body = {"turn": attempt.turn, "fence": attempt.fence, "chosen": settled.chosen, "by": "model"}
        body |= {"candidates": self._insert_candidates(record, attempt.turn, settled.chosen, answer.candidates, at)}
        body |= answer_body(answer) | second_body(attempt)
        return Stored(self._append(record, "finish", body, at), settled.chosen)

    def renew_lease(self, record: ConversationRecord, attempt: Attempt) -> bool:
        """Let the lease of an attempt begin anew; False when its fence is another's. The journal has no word of it."""
        mine = update(TURNS).where(*_is_held(record, attempt.turn, attempt.fence)).returning(TURNS.c.fence)
        return self._execute(mine.values(lease_expires=_lease_end(attempt))).first() is not None

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
        gone = select(MESSAGES).where(MESSAGES.c.conversation_id == record.id, MESSAGES.c.turn == turn.number)
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

    def _close(self, record: ConversationRecord, turn: int, fence: int, **columns: Any) -> Any:  # noqa: ANN401 - a row
        """End an attempt that still holds its fence; return the turn's row, or None."""
        mine = update(TURNS).where(*_is_held(record, turn, fence))
        closed = mine.values(lease_owner=None, lease_expires=None, **columns).returning(TURNS.c.chosen)
        return self._execute(closed).one_or_none()

    def _whole_candidates(self, record: ConversationRecord, turn: int, *columns: ColumnElement[Any]) -> Select[Any]:
        """Return a query for `columns` of the candidates of a turn that can be chosen."""
        of_it = (MESSAGES.c.conversation_id == record.id, MESSAGES.c.turn == turn, MESSAGES.c.side == MODEL)
        is_whole = func.coalesce(MESSAGES.c.finish_reason, "").not_in(BROKEN_OFF)
        return select(*columns).where(*of_it, MESSAGES.c.content.is_not(None), is_whole)

    def _next_candidate(self, record: ConversationRecord, turn: int) -> Any:  # noqa: ANN401 - an SQL expression
        """Return the index after the last candidate: one may stand there, of an attempt that broke off."""
        taken = select(func.coalesce(func.max(MESSAGES.c.candidate) + 1, 0)).where(
            MESSAGES.c.conversation_id == record.id, MESSAGES.c.turn == turn, MESSAGES.c.side == MODEL
        )
        return taken.scalar_subquery()

    def _keep(
        self, record: ConversationRecord, attempt: Attempt, came: Sequence[Candidate], at: datetime
    ) -> dict[str, Any]:
        """Store what came of an answer behind the candidates that are there; return what the journal tells.

        Of an answer that was asked for again, only what is new.
        """
        sifted = self._sift(record, attempt.turn, came) if attempt.is_regeneration else Sifted(came, ())
        first = self._execute(select(self._next_candidate(record, attempt.turn))).scalar_one()
        new = (record, attempt.turn, first, sifted.fresh, at)
        return {"candidates": self._insert_candidates(*new, model=attempt.model)} | sifted.told

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
    ) -> list[dict[str, Any]]:
        """Store candidates from index `first`, of the turn's model or of `model`; return what the journal tells."""
        author = record.authors[MODEL]
        messages = [_as_message(each, first + place, author, model) for place, each in enumerate(candidates)]
        if messages:
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


def _is_held(record: ConversationRecord, turn: int, fence: int) -> tuple[ColumnElement[bool], ...]:
    """Return what is true of a turn that is being answered under a fence, for the first time or again."""
    of_it = (TURNS.c.conversation_id == record.id, TURNS.c.number == turn)
    return (*of_it, TURNS.c.fence == fence, TURNS.c.lease_owner.is_not(None))


def _lease_end(attempt: Attempt) -> ColumnElement[int]:
    return database_now_ms() + int(attempt.lease_s * 1000)


def _as_message(candidate: Candidate, index: int, author: str, model: str | None) -> Message:
    return Message(
        author=author,
        content=candidate.content,
        side=MODEL,
        tokens=candidate.tokens,
        candidate=index,
        finish_reason=candidate.finish_reason,
        repaired=candidate.repaired,
        salt=new_salt(),
        model=model,
    )


def _told(candidate: Message) -> dict[str, Any]:
    told: dict[str, Any] = {
        "text": journal.sealed("content", candidate.content, candidate.salt),
        "tokens": candidate.tokens,
    }
    if candidate.finish_reason:
        told["finish"] = candidate.finish_reason
    if candidate.repaired:
        told["repaired"] = candidate.repaired
    return told


def _attempt_columns(attempt: Attempt) -> dict[str, Any]:
    return {
        "state": IN_FLIGHT,
        "fence": attempt.fence,
        "model": attempt.model,
        "parameters": attempt.parameters.as_dict(),
        **lease_columns(attempt),
        **prompt_columns(attempt.prompt),
    }


def lease_columns(attempt: Attempt) -> dict[str, Any]:
    """Return who holds a turn, and until when."""
    return {"lease_owner": attempt.lease_owner, "lease_expires": _lease_end(attempt)}


def prompt_columns(prompt: PromptRecord) -> dict[str, Any]:
    """Return what a turn's row remembers of its prompt."""
    return {
        "window_start": prompt.window_start,
        "first_example": prompt.first_example,
        "prompt_tokens": prompt.tokens,
        "prompt_limit": prompt.limit,
        "prompt_digest": prompt.digest,
    }


def attempt_body(attempt: Attempt) -> dict[str, Any]:
    """Return what the journal tells of an attempt that begins."""
    body = {"turn": attempt.turn, "fence": attempt.fence, "model": attempt.model, **_prompt_body(attempt.prompt)}
    told = {
        "parameters": journal.parameters(attempt.parameters),
        "stream": attempt.is_streamed,
        "as": attempt.asked_as,
        "overhead": attempt.overhead,
        "user_first": attempt.is_user_first,
    }
    return body | {name: value for name, value in told.items() if value}


def second_body(attempt: Attempt) -> dict[str, Any]:
    """Return what the journal tells of a prompt that was answered in the place of one that was too long."""
    if attempt.refused is None:
        return {}
    return {**_prompt_body(attempt.prompt), "refused": _prompt_body(attempt.refused)}


def _prompt_body(prompt: PromptRecord) -> dict[str, Any]:
    return {
        "prompt": journal.encode(prompt.digest),
        "window": [prompt.window_start, prompt.first_example, prompt.tokens, prompt.limit],
    }


def answer_body(answer: Answer) -> dict[str, Any]:
    """Return what the journal tells of an answer beside its texts."""
    told: dict[str, Any] = {
        "served_by": answer.served_by,
        "latency_ms": answer.latency_ms,
        "usage": [answer.usage.input_tokens, answer.usage.output_tokens] if answer.usage else None,
    }
    return {name: value for name, value in told.items() if value is not None}
