"""Conversations, turns, messages, examples and the journal."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.Uuid().with_variant(sa.LargeBinary(16), "sqlite")
TIME = sa.DateTime(timezone=True).with_variant(sa.Integer(), "sqlite")
MILLISECONDS = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NARROW: dict[str, Any] = {"sqlite_strict": True, "sqlite_with_rowid": False}
WIDE: dict[str, Any] = {"sqlite_strict": True}
DEFERRED: dict[str, Any] = {"deferrable": True, "initially": "DEFERRED"}

MESSAGE_KEY = ["conversation_id", "turn", "side", "candidate"]
CIRCULAR = {
    "fk_convo_turns_user_message": ["conversation_id", "number", "user_side", "user_candidate"],
    "fk_convo_turns_chosen_reply": ["conversation_id", "number", "reply_side", "chosen"],
}


def upgrade() -> None:
    """Create the tables."""
    _create_conversations()
    _create_turns()
    _index_request_keys()
    _create_messages()
    _create_examples()
    _create_events()
    if op.get_context().dialect.name != "sqlite":  # which has no ADD CONSTRAINT: there they stand inside the table
        for name, columns in CIRCULAR.items():
            op.create_foreign_key(name, "convo_turns", "convo_messages", columns, MESSAGE_KEY, **DEFERRED)


def downgrade() -> None:
    """Drop the tables, with everything in them."""
    if op.get_context().dialect.name != "sqlite":
        for name in CIRCULAR:
            op.drop_constraint(name, "convo_turns", type_="foreignkey")
    for table in ("convo_events", "convo_examples", "convo_messages", "convo_turns", "convo_conversations"):
        op.drop_table(table)


def _create_conversations() -> None:
    op.create_table(
        "convo_conversations",
        sa.Column("id", ID, nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("user_author", sa.Text(), nullable=False),
        sa.Column("model_author", sa.Text(), nullable=False),
        sa.Column("input_token_limit", sa.Integer()),
        sa.Column("trim", sa.Text(), nullable=False),
        sa.Column("first_position", sa.Integer(), nullable=False),
        sa.Column("turn_count", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("journal_length", sa.Integer(), nullable=False),
        sa.Column("journal_head", sa.LargeBinary(), nullable=False),
        sa.Column("forked_from", ID),
        sa.Column("forked_at", sa.Integer()),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("context_tokens", sa.Integer(), nullable=False),
        sa.Column("context_salt", sa.LargeBinary()),
        sa.Column("title_salt", sa.LargeBinary()),
        sa.Column("label_salt", sa.LargeBinary(), nullable=False),
        sa.Column("title", sa.Text()),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("context", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_convo_conversations"),
        sa.UniqueConstraint("owner", "name", name="uq_convo_conversations_owner_name"),
        sa.CheckConstraint("fence >= 0", name=op.f("ck_convo_conversations_fence")),
        sa.CheckConstraint(
            "(context IS NULL) = (context_salt IS NULL)", name=op.f("ck_convo_conversations_context_salt")
        ),
        sa.CheckConstraint("(title IS NULL) = (title_salt IS NULL)", name=op.f("ck_convo_conversations_title_salt")),
        **WIDE,
    )
    op.create_index("ix_convo_conversations_owner_updated_at_id", "convo_conversations", ["owner", "updated_at", "id"])


def _create_turns() -> None:
    op.create_table(
        "convo_turns",
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("request_key", sa.Text()),
        sa.Column("request_hash", sa.LargeBinary()),
        sa.Column("lease_owner", sa.Text()),
        sa.Column("lease_expires", MILLISECONDS),
        sa.Column("error", sa.Text()),
        sa.Column("chosen", sa.Integer()),
        sa.Column("prev_chosen", sa.Integer()),
        sa.Column("window_start", sa.Integer()),
        sa.Column("first_example", sa.Integer()),
        sa.Column("prompt_tokens", sa.Integer()),
        sa.Column("prompt_limit", sa.Integer()),
        sa.Column("prompt_digest", sa.LargeBinary()),
        sa.Column("model", sa.Text()),
        sa.Column("served_by", sa.Text()),
        sa.Column("parameters", sa.Text()),
        sa.Column("input_tokens", sa.Integer()),
        sa.Column("output_tokens", sa.Integer()),
        sa.Column("latency_ms", sa.Integer()),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("finished_at", TIME),
        *_computed_turn_columns(),
        sa.PrimaryKeyConstraint("conversation_id", "number", name="pk_convo_turns"),
        *_turn_keys(),
        *_turn_checks(),
        **NARROW,
    )


def _index_request_keys() -> None:
    op.create_index(
        "ix_convo_turns_conversation_id_request_key",
        "convo_turns",
        ["conversation_id", "request_key"],
        unique=True,
        sqlite_where=sa.text("request_key IS NOT NULL"),
        postgresql_where=sa.text("request_key IS NOT NULL"),
    )


def _computed_turn_columns() -> list[sa.Column[Any]]:
    formulas = {
        "user_side": "0",
        "user_candidate": "CASE WHEN number > 0 THEN 0 END",
        "reply_side": "1",
        "next_number": "number + 1",
        "settled": "CASE WHEN state = 'done' AND lease_owner IS NULL THEN chosen END",
    }
    return [sa.Column(name, sa.Integer(), sa.Computed(sql, persisted=True)) for name, sql in formulas.items()]


def _turn_keys() -> list[sa.Constraint]:
    keys: list[sa.Constraint] = [
        _of_conversation("convo_turns"),
        sa.ForeignKeyConstraint(
            ["conversation_id", "number", "prev_chosen"],
            ["convo_turns.conversation_id", "convo_turns.next_number", "convo_turns.settled"],
            name="fk_convo_turns_conversation_id_number_prev_chosen",
            **DEFERRED,
        ),
    ]
    if op.get_context().dialect.name == "sqlite":
        target = [f"convo_messages.{column}" for column in MESSAGE_KEY]
        keys += [sa.ForeignKeyConstraint(columns, target, name=name, **DEFERRED) for name, columns in CIRCULAR.items()]
    unique = ("next_number", "conversation_id", "settled")
    return [*keys, sa.UniqueConstraint(*unique, name="uq_convo_turns_next_number_conversation_id_settled")]


def _turn_checks() -> list[sa.Constraint]:
    checks = {
        "number": "number >= 0",
        "state": "state IN ('in_flight', 'failed', 'done')",
        "fence": "fence >= 1",
        "done_has_choice": "(state = 'done') = (chosen IS NOT NULL)",
        "failed_has_error": "(state = 'failed') = (error IS NOT NULL)",
        "lease": "(lease_owner IS NULL) = (lease_expires IS NULL)",
        "in_flight_has_lease": "state <> 'in_flight' OR lease_owner IS NOT NULL",
        "failed_has_no_lease": "state <> 'failed' OR lease_owner IS NULL",
        "follows": "number <= 1 OR prev_chosen IS NOT NULL",
        "opening": "number > 0 OR (state = 'done' AND chosen = 0 AND prev_chosen IS NULL AND lease_owner IS NULL)",
        "request": "(request_key IS NULL) = (request_hash IS NULL)",
    }
    return [sa.CheckConstraint(sql, name=op.f(f"ck_convo_turns_{name}")) for name, sql in checks.items()]


def _create_messages() -> None:
    op.create_table(
        "convo_messages",
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("turn", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("side", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("candidate", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), sa.Computed("2 * turn - 1 + side", persisted=True)),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("repaired", sa.Integer(), nullable=False),
        sa.Column("finish_reason", sa.Text()),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("salt", sa.LargeBinary()),
        sa.Column("content", sa.Text()),
        sa.PrimaryKeyConstraint(*MESSAGE_KEY, name="pk_convo_messages"),
        _of_conversation("convo_messages"),
        sa.ForeignKeyConstraint(
            ["conversation_id", "turn"],
            ["convo_turns.conversation_id", "convo_turns.number"],
            name="fk_convo_messages_conversation_id_turn",
            ondelete="CASCADE",
            **DEFERRED,
        ),
        sa.CheckConstraint("turn >= 0", name=op.f("ck_convo_messages_turn")),
        sa.CheckConstraint("side IN (0, 1)", name=op.f("ck_convo_messages_side")),
        sa.CheckConstraint("candidate >= 0", name=op.f("ck_convo_messages_candidate")),
        sa.CheckConstraint("(content IS NULL) = (salt IS NULL)", name=op.f("ck_convo_messages_salt")),
        sa.CheckConstraint(
            "(turn > 0 OR side = 1) AND (candidate = 0 OR (turn > 0 AND side = 1))",
            name=op.f("ck_convo_messages_alternatives_of_replies"),
        ),
        **WIDE,
    )


def _create_examples() -> None:
    op.create_table(
        "convo_examples",
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("input_salt", sa.LargeBinary()),
        sa.Column("output_salt", sa.LargeBinary()),
        sa.Column("input", sa.Text()),
        sa.Column("output", sa.Text()),
        sa.PrimaryKeyConstraint("conversation_id", "position", name="pk_convo_examples"),
        _of_conversation("convo_examples"),
        sa.CheckConstraint("position >= 0", name=op.f("ck_convo_examples_position")),
        sa.CheckConstraint("(input IS NULL) = (input_salt IS NULL)", name=op.f("ck_convo_examples_input_salt")),
        sa.CheckConstraint("(output IS NULL) = (output_salt IS NULL)", name=op.f("ck_convo_examples_output_salt")),
        **WIDE,
    )


def _create_events() -> None:
    op.create_table(
        "convo_events",
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", "number", name="pk_convo_events"),
        _of_conversation("convo_events"),
        **NARROW,
    )


def _of_conversation(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["conversation_id"], ["convo_conversations.id"], name=f"fk_{table}_conversation_id", ondelete="CASCADE"
    )
