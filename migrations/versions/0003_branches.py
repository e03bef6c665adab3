"""What branches need: which model gave a candidate, and the ways to the forks and to the choices of conversations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_convo_conversations_owner_forked_from": (
        "convo_conversations",
        ["owner", "forked_from"],
        "forked_from IS NOT NULL",
    ),
    "ix_convo_events_choices": ("convo_events", ["conversation_id"], "kind = 'choose'"),
}


def upgrade() -> None:
    """Add the column and the indexes; no row is rewritten."""
    op.add_column("convo_messages", sa.Column("model", sa.Text()))
    for name, (table, columns, which) in INDEXES.items():
        op.create_index(name, table, columns, sqlite_where=sa.text(which), postgresql_where=sa.text(which))


def downgrade() -> None:
    """Forget which models gave other candidates than the turn's own."""
    for name, (table, _, _) in INDEXES.items():
        op.drop_index(name, table)
    op.drop_column("convo_messages", "model")
