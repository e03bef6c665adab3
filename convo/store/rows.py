"""How rows become values: which columns are read, and what each set of them makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple, cast

from sqlalchemy import Row, Table, null

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
Columns = Sequence[Any]
"""A row of which the columns are taken by place."""

MESSAGE = [MESSAGES.c.get(each.name, null().label(each.name)) for each in fields(Message)]
"""The columns of which message() makes one: the fields of Message, in their order; citations are not stored."""


class LatestTurn(NamedTuple):
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


def conversation(row: Columns) -> ConversationRecord:
    """Make a conversation's record from all columns of its row."""
    id, owner, name, model, settings, user, other, limit, trim, first, *rest = row
    turn_count, fence, length, head, forked_from, forked_at, created_at, updated_at, *rest = rest
    context_tokens, context_salt, _, _, title, metadata, context = rest
    return ConversationRecord(
        id=id,
        owner=owner,
        name=name,
        title=title,
        metadata=metadata,
        model=model,
        context=context,
        context_tokens=context_tokens,
        parameters=parameters(settings, id),
        authors=(user, other),
        input_token_limit=limit,
        trim=trim,
        first_position=first,
        turn_count=turn_count,
        fence=fence,
        version=length,
        journal_head=head,
        created_at=created_at,
        updated_at=updated_at,
        context_salt=context_salt,
        forked_from=forked_from,
        forked_at=forked_at,
    )


def message(row: Columns) -> Message:
    """Make a message from a row of MESSAGE; by place, as this is done for each text of each prompt."""
    return Message(*row)


def example(row: Columns) -> Example:
    """Make an example from all columns of its row."""
    _, position, tokens, input_salt, output_salt, asked, answered = row
    return Example(asked, answered, tokens, input_salt, output_salt, position)


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
