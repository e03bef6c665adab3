"""The tables. What must never be stored cannot be: the constraints say so, not the code above them.

The idea: turn n + 1 names the candidate of turn n that it follows (`prev_chosen`), and its foreign key finds it only
in a `settled` turn: done, not being regenerated, with just that candidate chosen. So that turns alternate, that one
turn at most is open, that there is no gap and that an earlier turn never changes are facts of the schema.

Every primary key begins with the conversation's id and numbers come from the conversation's own row: no sequence, no
trigger, nothing that spans conversations, so that the tables can be distributed by conversation. The child columns
of every foreign key are a prefix of a primary key; else each turn would cost more than the one before it.

The unique key on `settled` begins with another column than the primary key: while a table is small, PostgreSQL takes
two indexes that begin alike for equally good, keeps the plans of its foreign keys for the session, and then reads all
of a conversation's turns at each check (8,000 messages at once: 16 million index entries, 12 thousand as it is).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    REAL,
    CheckConstraint,
    Computed,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from convo.store.columns import Blob, ConversationId, EpochMs, Json, UtcTime


class Base(DeclarativeBase):
    """The base of the rows; every constraint has a name, so that an error can be told by it."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {
        str: Text,
        int: Integer,
        bytes: Blob,
        datetime: UtcTime,
        Mapping[str, Any]: Json,
    }


def _of_conversation() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["conversation_id"], ["convo_conversations.id"], ondelete="CASCADE")


class ConversationRow(Base):
    """A conversation: what it is, and the counters from which its turns and its journal take their numbers."""

    __tablename__ = "convo_conversations"
    __table_args__ = (
        UniqueConstraint("owner", "name"),
        Index(None, "owner", "updated_at", "id"),
        Index(
            None,
            "owner",
            "forked_from",
            sqlite_where=text("forked_from IS NOT NULL"),
            postgresql_where=text("forked_from IS NOT NULL"),
        ),
        CheckConstraint("fence >= 0", name="fence"),
        CheckConstraint("(context IS NULL) = (context_salt IS NULL)", name="context_salt"),
        CheckConstraint("(title IS NULL) = (title_salt IS NULL)", name="title_salt"),
        {"sqlite_strict": True},
    )

    id: Mapped[str] = mapped_column(ConversationId, primary_key=True)
    owner: Mapped[str]  # "" is nobody's: NULLs would let one name stand twice
    name: Mapped[str | None]
    model: Mapped[str]
    parameters: Mapped[Mapping[str, Any]]
    user_author: Mapped[str]
    model_author: Mapped[str]
    input_token_limit: Mapped[int | None]
    trim: Mapped[str]
    first_position: Mapped[int]  # 0 with an opening message, else 1
    turn_count: Mapped[int]
    fence: Mapped[int]
    journal_length: Mapped[int]
    journal_head: Mapped[bytes]
    forked_from: Mapped[str | None] = mapped_column(ConversationId)  # no foreign key: it may live on another shard
    forked_at: Mapped[int | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    context_tokens: Mapped[int]
    context_salt: Mapped[bytes | None]
    title_salt: Mapped[bytes | None]
    label_salt: Mapped[bytes]
    title: Mapped[str | None]
    metadata_: Mapped[Mapping[str, Any]] = mapped_column("metadata")
    context: Mapped[str | None]


class TurnRow(Base):
    """A user message and what became of it.

    `first_example`, `window_start` (both positions) and `prompt_digest` are what was sent, by reference; NULL in a
    history that was given. MATCH SIMPLE skips a foreign key that holds a NULL: hence the check on `prev_chosen`.
    """

    __tablename__ = "convo_turns"
    __table_args__ = (
        _of_conversation(),
        ForeignKeyConstraint(
            ["conversation_id", "number", "prev_chosen"],
            ["convo_turns.conversation_id", "convo_turns.next_number", "convo_turns.settled"],
            deferrable=True,
            initially="DEFERRED",
        ),
        ForeignKeyConstraint(
            ["conversation_id", "number", "user_side", "user_candidate"],
            [f"convo_messages.{column}" for column in ("conversation_id", "turn", "side", "candidate")],
            name="fk_convo_turns_user_message",
            deferrable=True,
            initially="DEFERRED",
            use_alter=True,
        ),
        ForeignKeyConstraint(
            ["conversation_id", "number", "reply_side", "chosen"],
            [f"convo_messages.{column}" for column in ("conversation_id", "turn", "side", "candidate")],
            name="fk_convo_turns_chosen_reply",
            deferrable=True,
            initially="DEFERRED",
            use_alter=True,
        ),
        UniqueConstraint("next_number", "conversation_id", "settled"),
        Index(
            None,
            "conversation_id",
            "request_key",
            unique=True,
            sqlite_where=text("request_key IS NOT NULL"),
            postgresql_where=text("request_key IS NOT NULL"),
        ),
        CheckConstraint("number >= 0", name="number"),
        CheckConstraint("state IN ('in_flight', 'failed', 'done')", name="state"),
        CheckConstraint("fence >= 1", name="fence"),
        CheckConstraint("(state = 'done') = (chosen IS NOT NULL)", name="done_has_choice"),
        CheckConstraint("(state = 'failed') = (error IS NOT NULL)", name="failed_has_error"),
        CheckConstraint("(lease_owner IS NULL) = (lease_expires IS NULL)", name="lease"),
        CheckConstraint("state <> 'in_flight' OR lease_owner IS NOT NULL", name="in_flight_has_lease"),
        CheckConstraint("state <> 'failed' OR lease_owner IS NULL", name="failed_has_no_lease"),
        CheckConstraint("number <= 1 OR prev_chosen IS NOT NULL", name="follows"),
        CheckConstraint(
            "number > 0 OR (state = 'done' AND chosen = 0 AND prev_chosen IS NULL AND lease_owner IS NULL)",
            name="opening",
        ),
        CheckConstraint("(request_key IS NULL) = (request_hash IS NULL)", name="request"),
        {"sqlite_strict": True, "sqlite_with_rowid": False},
    )

    conversation_id: Mapped[str] = mapped_column(ConversationId, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    state: Mapped[str]
    fence: Mapped[int]
    request_key: Mapped[str | None]
    request_hash: Mapped[bytes | None]
    lease_owner: Mapped[str | None]
    lease_expires: Mapped[int | None] = mapped_column(EpochMs)
    error: Mapped[str | None]
    chosen: Mapped[int | None]
    prev_chosen: Mapped[int | None]
    window_start: Mapped[int | None]
    first_example: Mapped[int | None]
    prompt_tokens: Mapped[int | None]
    prompt_limit: Mapped[int | None]
    prompt_digest: Mapped[bytes | None]
    model: Mapped[str | None]
    served_by: Mapped[str | None]
    parameters: Mapped[Mapping[str, Any] | None]
    input_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]
    latency_ms: Mapped[int | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    user_side: Mapped[int | None] = mapped_column(Computed("0", persisted=True))
    user_candidate: Mapped[int | None] = mapped_column(Computed("CASE WHEN number > 0 THEN 0 END", persisted=True))
    reply_side: Mapped[int | None] = mapped_column(Computed("1", persisted=True))
    next_number: Mapped[int | None] = mapped_column(Computed("number + 1", persisted=True))
    settled: Mapped[int | None] = mapped_column(
        Computed("CASE WHEN state = 'done' AND lease_owner IS NULL THEN chosen END", persisted=True)
    )


class MessageRow(Base):
    """One text of a turn: the only place where it lives. Erased text is `content` and `salt` both NULL."""

    __tablename__ = "convo_messages"
    __table_args__ = (
        _of_conversation(),
        ForeignKeyConstraint(
            ["conversation_id", "turn"],
            ["convo_turns.conversation_id", "convo_turns.number"],
            ondelete="CASCADE",
            deferrable=True,
            initially="DEFERRED",
        ),
        CheckConstraint("turn >= 0", name="turn"),
        CheckConstraint("side IN (0, 1)", name="side"),
        CheckConstraint("candidate >= 0", name="candidate"),
        CheckConstraint("(content IS NULL) = (salt IS NULL)", name="salt"),
        CheckConstraint(
            "(turn > 0 OR side = 1) AND (candidate = 0 OR (turn > 0 AND side = 1))", name="alternatives_of_replies"
        ),
        {"sqlite_strict": True},
    )

    conversation_id: Mapped[str] = mapped_column(ConversationId, primary_key=True)
    turn: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    side: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    candidate: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int | None] = mapped_column(Computed("2 * turn - 1 + side", persisted=True))
    author: Mapped[str]
    tokens: Mapped[int]
    repaired: Mapped[int]
    finish_reason: Mapped[str | None]
    created_at: Mapped[datetime]
    salt: Mapped[bytes | None]
    content: Mapped[str | None]  # after the others: SQLite reads the pages of a long text only when it is asked for
    model: Mapped[str | None]  # that gave this candidate; NULL when it is the turn's


class ExampleRow(Base):
    """An example of a conversation, numbered from 0."""

    __tablename__ = "convo_examples"
    __table_args__ = (
        _of_conversation(),
        CheckConstraint("position >= 0", name="position"),
        CheckConstraint("(input IS NULL) = (input_salt IS NULL)", name="input_salt"),
        CheckConstraint("(output IS NULL) = (output_salt IS NULL)", name="output_salt"),
        {"sqlite_strict": True},
    )

    conversation_id: Mapped[str] = mapped_column(ConversationId, primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tokens: Mapped[int]
    input_salt: Mapped[bytes | None]
    output_salt: Mapped[bytes | None]
    input: Mapped[str | None]
    output: Mapped[str | None]


class ModelRow(Base):
    """What is known of a model, of whatever conversation."""

    __tablename__ = "convo_models"
    __table_args__ = (
        CheckConstraint("factor > 0", name="factor"),
        {"sqlite_strict": True, "sqlite_with_rowid": False},
    )

    name: Mapped[str] = mapped_column(primary_key=True)
    factor: Mapped[float] = mapped_column(REAL)  # of its own tokens for one that is estimated
    updated_at: Mapped[datetime]


class EventRow(Base):
    """One event of a conversation's journal, numbered from 1; `body` is the canonical bytes that were hashed."""

    __tablename__ = "convo_events"
    __table_args__ = (
        _of_conversation(),
        Index(
            "ix_convo_events_choices",
            "conversation_id",
            sqlite_where=text("kind = 'choose'"),
            postgresql_where=text("kind = 'choose'"),
        ),
        {"sqlite_strict": True, "sqlite_with_rowid": False},
    )

    conversation_id: Mapped[str] = mapped_column(ConversationId, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str]
    digest: Mapped[bytes]
    body: Mapped[bytes]
