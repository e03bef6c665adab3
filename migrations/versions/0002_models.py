"""What is known of the models: by which factor each one's count of tokens differs from the estimate."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True).with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "convo_models",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("factor", sa.REAL(), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_convo_models"),
        sa.CheckConstraint("factor > 0", name=op.f("ck_convo_models_factor")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop the table: every model's factor is learnt anew."""
    op.drop_table("convo_models")
