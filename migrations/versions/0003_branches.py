"""What branches need: which model gave a candidate, and the way from a conversation to its forks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

FORKS = "ix_convo_conversations_forked_from"
IS_FORK = sa.text("forked_from IS NOT NULL")


def upgrade() -> None:
    """Add the column and the index; no row is rewritten."""
    op.add_column("convo_messages", sa.Column("model", sa.Text()))
    columns = ["forked_from"]
    op.create_index(FORKS, "convo_conversations", columns, sqlite_where=IS_FORK, postgresql_where=IS_FORK)


def downgrade() -> None:
    """Forget which models gave other candidates than the turn's own."""
    op.drop_index(FORKS, "convo_conversations")
    op.drop_column("convo_messages", "model")
