"""How rows become values: which columns are read, and what each set of them makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Row, Table

from convo.errors import StoredDataError
from convo.store.tables import ConversationRow, EventRow, ExampleRow, MessageRow, ModelRow, TurnRow
from convo.values import (
    DONE,
    FAILED,
    USER,
    Candidate,
    ConversationRecord,
    Event,
    Example,
    Message,
    Parameters,
    PromptRecord,
    Turn,
    Usage,
)

CONVERSATIONS = cast(Table, ConversationRow.__table__)
TURNS = cast(Table, TurnRow.__table__)
MESSAGES = cast(Table, MessageRow.__table__)
EXAMPLES = cast(Table, ExampleRow.__table__)
EVENTS = cast(Table, EventRow.__table__)
MODELS = cast(Table, ModelRow.__table__)

AnyRow = Row[Any]


@dataclass(frozen=True, slots=True)
class LatestTurn:
    """What the next step needs to know of a turn: whether it is open, whose, and since when."""

    number: int
    state: str
    fence: int
    request_key: str | None
    request_hash: bytes | None
    error: str | None
    chosen: int | None
    lease_owner: str | None
    lease_left_ms: int | None
    """By the database's clock; 0 when its holder is known to be gone, None without a lease."""
    window_start: int | None
    first_example: int | None
    prompt_tokens: int | None
    prompt_limit: int | None
    model: str | None
    input_tokens: int | None
    output_tokens: int | None

    @property
    def is_settled(self) -> bool:
        """Whether the next turn may follow: answered, and not being answered again by somebody who lives."""
        return self.state == DONE and not self.is_alive

    @property
    def is_alive(self) -> bool:
        """Whether somebody may still be waiting for the model."""
        return self.state != FAILED and self.lease_left_ms is not None and self.lease_left_ms > 0


def conversation(row: AnyRow) -> ConversationRecord:
    """Make a conversation's record from all columns of its row."""
    of = row._mapping
    return ConversationRecord(
        id=of["id"],
        owner=of["owner"],
        name=of["name"],
        title=of["title"],
        metadata=of["metadata"],
        model=of["model"],
        context=of["context"],
        context_tokens=of["context_tokens"],
        parameters=parameters(of["parameters"], of["id"]),
        authors=(of["user_author"], of["model_author"]),
        input_token_limit=of["input_token_limit"],
        trim=of["trim"],
        first_position=of["first_position"],
        turn_count=of["turn_count"],
        fence=of["fence"],
        version=of["journal_length"],
        journal_head=of["journal_head"],
        created_at=of["created_at"],
        updated_at=of["updated_at"],
        context_salt=of["context_salt"],
        forked_from=of["forked_from"],
        forked_at=of["forked_at"],
    )


def message(row: AnyRow) -> Message:
    """Make a message from all columns of its row."""
    return Message(
        author=row.author,
        content=row.content,
        side=row.side,
        tokens=row.tokens,
        position=row.position,
        turn=row.turn,
        candidate=row.candidate,
        finish_reason=row.finish_reason,
        repaired=row.repaired,
        created_at=row.created_at,
        salt=row.salt,
        model=row.model,
    )


def example(row: AnyRow) -> Example:
    """Make an example from its row."""
    return Example(row.input, row.output, row.tokens, row.input_salt, row.output_salt, row.position)


def event(row: AnyRow) -> Event:
    """Make an event of the journal from its row."""
    return Event(row.number, row.kind, row.body, row.digest)


def turn(row: AnyRow, messages: Iterable[Message]) -> Turn:
    """Make a turn from its row and all messages of it."""
    of = row._mapping
    mine = [each for each in messages if each.turn == of["number"]]
    counted = (of["input_tokens"], of["output_tokens"])
    return Turn(
        number=of["number"],
        state=of["state"],
        message=next((each for each in mine if each.side == USER), None),
        candidates=tuple(_candidate(each, of["model"]) for each in mine if each.side != USER),
        chosen=of["chosen"],
        model=of["model"],
        served_by=of["served_by"],
        parameters=parameters(of["parameters"] or {}, of["conversation_id"]),
        prompt=_prompt(of),
        usage=None if counted == (None, None) else Usage(*counted),
        latency_ms=of["latency_ms"],
        error=of["error"],
        request_key=of["request_key"],
        created_at=of["created_at"],
        finished_at=of["finished_at"],
    )


def parameters(stored: Mapping[str, Any], id: str) -> Parameters:
    """Return parameters from the object that is stored of them; `id` is their conversation's.

    Raises:
        StoredDataError: this release has no such parameters.
    """
    try:
        made: Mapping[str, Any] = {
            name: tuple(each) if isinstance(each, list) else each for name, each in stored.items()
        }
        return Parameters(**made)
    except (TypeError, AttributeError):
        names = ", ".join(map(str, stored))
        raise StoredDataError(f"conversation {id} has parameters that this release cannot read: {names}") from None


def _candidate(message: Message, model: str | None) -> Candidate:
    return Candidate(
        message.candidate,
        message.content,
        message.finish_reason,
        message.tokens,
        message.repaired,
        message.author,
        model=message.model or model,
    )


def _prompt(of: Mapping[Any, Any]) -> PromptRecord | None:
    if of["prompt_digest"] is None:
        return None
    return PromptRecord(
        tokens=of["prompt_tokens"],
        limit=of["prompt_limit"],
        window_start=of["window_start"],
        first_example=of["first_example"],
        digest=of["prompt_digest"],
    )
