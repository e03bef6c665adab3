"""Rows with boring valid defaults (factory-boy): a test says what matters to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import factory
import uuid_utils.compat
from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy.orm import scoped_session, sessionmaker

from convo.store.tables import ConversationRow, EventRow, ExampleRow, MessageRow, ModelRow, TurnRow
from convo.values import DONE, FAILED, IN_FLIGHT, MODEL, USER

SESSION = scoped_session(sessionmaker(expire_on_commit=False))
"""The session of all factories; a test binds it to its engine: SESSION.configure(bind=engine)."""

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SALT = bytes(16)
DIGEST = bytes(32)

Place = tuple[int, int]
"""A side and a candidate: where in its turn a message stands."""

QUESTION: Place = (USER, 0)
REPLY: Place = (MODEL, 0)
ANOTHER_REPLY: Place = (MODEL, 1)


class RowFactory(SQLAlchemyModelFactory):
    """Stores a row by its own INSERT, at once, so that rows go in as the test writes them."""

    class Meta:
        abstract = True
        sqlalchemy_session = SESSION
        sqlalchemy_session_persistence = "flush"


class ConversationRowFactory(RowFactory):
    """A conversation without turns."""

    class Meta:
        model = ConversationRow

    id = factory.LazyFunction(lambda: str(uuid_utils.compat.uuid7()))
    owner = ""
    name = factory.Sequence(lambda number: f"conversation-{number}")
    model = "offline/echo"
    parameters = factory.LazyFunction(dict)
    user_author = "0"
    model_author = "1"
    trim = "minimal"
    first_position = 1
    turn_count = 0
    fence = 0
    journal_length = 0
    journal_head = DIGEST
    created_at = NOON
    updated_at = NOON
    context_tokens = 0
    label_salt = SALT
    metadata_ = factory.LazyFunction(dict)


class MessageRowFactory(RowFactory):
    """The user's message of a turn."""

    class Meta:
        model = MessageRow

    turn = 1
    side = USER
    candidate = 0
    author = factory.LazyAttribute(lambda row: str(row.side))
    tokens = 2
    repaired = 0
    created_at = NOON
    salt = SALT
    content = "message"


class TurnRowFactory(RowFactory):
    """A done turn with its messages; `texts` names which, where a test wants others."""

    class Meta:
        model = TurnRow

    class Params:
        in_flight = factory.Trait(state=IN_FLIGHT, chosen=None, lease_owner="somebody", lease_expires=1)
        failed = factory.Trait(state=FAILED, chosen=None, error="ModelError")

    number = 1
    state = DONE
    fence = 1
    chosen = 0
    prev_chosen = factory.LazyAttribute(lambda row: 0 if row.number > 1 else None)
    created_at = NOON

    @factory.post_generation
    def texts(self: TurnRow, _create: bool, texts: Sequence[Place] | None) -> None:
        for side, candidate in _texts_of(self) if texts is None else texts:
            MessageRowFactory(conversation_id=self.conversation_id, turn=self.number, side=side, candidate=candidate)


class ExampleRowFactory(RowFactory):
    """An example, the first one."""

    class Meta:
        model = ExampleRow

    position = 0
    tokens = 4
    input_salt = SALT
    output_salt = SALT
    input = "input"
    output = "output"


class EventRowFactory(RowFactory):
    """An event of the journal, the first one."""

    class Meta:
        model = EventRow

    number = 1
    kind = "create"
    digest = DIGEST
    body = b"{}"


def _texts_of(turn: TurnRow) -> Sequence[Place]:
    """Return where the messages of a turn stand, by its state; an opening has no question."""
    said = [QUESTION] if turn.number > 0 else []
    return [*said, REPLY] if turn.state == DONE else said


class ModelRowFactory(RowFactory):
    """What is known of a model."""

    class Meta:
        model = ModelRow

    name = "offline/echo"
    factor = 1.0
    updated_at = NOON
