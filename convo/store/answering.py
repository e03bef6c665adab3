"""A try at a turn and what comes of it: as values, as the columns of their rows, and as the journal tells of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from convo import journal
from convo.store.ledger import new_salt
from convo.values import (
    DONE,
    IN_FLIGHT,
    MODEL,
    Candidate,
    ConversationRecord,
    Message,
    Parameters,
    PromptRecord,
    Turn,
    Usage,
)


class Attempt(NamedTuple):
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
    is_first: bool = False
    """Whether it is the first one at its turn, which has no candidates yet."""
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


class Answer(NamedTuple):
    """What a model answered, ready to be stored."""

    candidates: Sequence[Candidate]
    served_by: str | None = None
    usage: Usage | None = None
    latency_ms: int | None = None


class Stored(NamedTuple):
    """A stored answer: the conversation after it, and the index of its first candidate."""

    record: ConversationRecord
    first: int
    reply: Message | None = None
    """That candidate, where the next prompt follows it and nothing else has changed."""
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


def lease_ms(attempt: Attempt) -> int:
    """Return for how long an attempt is taken to be alive, in milliseconds."""
    return int(attempt.lease_s * 1000)


def as_message(
    candidate: Candidate, index: int, turn: int, author: str, at: datetime, model: str | None = None
) -> Message:
    """Return a candidate as the message that it becomes, with a fresh salt; `model` gave it, if not the turn's."""
    return Message(
        author=author,
        turn=turn,
        position=2 * turn,
        created_at=at,
        content=candidate.content,
        side=MODEL,
        tokens=candidate.tokens,
        candidate=index,
        finish_reason=candidate.finish_reason,
        repaired=candidate.repaired,
        salt=new_salt(),
        model=model,
    )


def candidate_body(candidate: Message) -> dict[str, Any]:
    """Return what the journal tells of a candidate."""
    told: dict[str, Any] = {
        "text": journal.sealed("content", candidate.content, candidate.salt),
        "tokens": candidate.tokens,
    }
    if candidate.finish_reason:
        told["finish"] = candidate.finish_reason
    if candidate.repaired:
        told["repaired"] = candidate.repaired
    return told


def attempt_columns(attempt: Attempt) -> dict[str, Any]:
    """Return the columns of a turn that is being answered."""
    return {
        "state": IN_FLIGHT,
        "fence": attempt.fence,
        "model": attempt.model,
        "parameters": attempt.parameters.as_dict(),
        **lease_columns(attempt),
        **prompt_columns(attempt.prompt),
    }


def lease_columns(attempt: Attempt) -> dict[str, Any]:
    """Return who holds a turn, and for how long."""
    return {"lease_owner": attempt.lease_owner, "lease_ms": lease_ms(attempt)}


def prompt_columns(prompt: PromptRecord) -> dict[str, Any]:
    """Return what a turn's row remembers of its prompt."""
    return {
        "window_start": prompt.window_start,
        "first_example": prompt.first_example,
        "prompt_tokens": prompt.tokens,
        "prompt_limit": prompt.limit,
        "prompt_digest": prompt.digest,
    }


def done_columns(attempt: Attempt, answer: Answer, at: datetime) -> dict[str, Any]:
    """Return the columns of a turn that is answered."""
    columns = {
        "state": DONE,
        "served_by": answer.served_by,
        "input_tokens": answer.usage.input_tokens if answer.usage else None,
        "output_tokens": answer.usage.output_tokens if answer.usage else None,
        "latency_ms": answer.latency_ms,
        "finished_at": at,
    }
    return columns | prompt_columns(attempt.prompt) if attempt.refused else columns


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


def finish_body(attempt: Attempt, answer: Answer, messages: Sequence[Message]) -> dict[str, Any]:
    """Return what the journal tells of an answer; the first of the messages that it became is chosen."""
    body = {"turn": attempt.turn, "fence": attempt.fence, "chosen": messages[0].candidate, "by": "model"}
    told = {"candidates": [candidate_body(each) for each in messages]}
    return body | told | answer_body(answer) | second_body(attempt)


def answer_body(answer: Answer) -> dict[str, Any]:
    """Return what the journal tells of an answer beside its texts."""
    told: dict[str, Any] = {
        "served_by": answer.served_by,
        "latency_ms": answer.latency_ms,
        "usage": [answer.usage.input_tokens, answer.usage.output_tokens] if answer.usage else None,
    }
    return {name: value for name, value in told.items() if value is not None}
