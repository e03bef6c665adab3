"""The statements on what is known of the models: by which factor each one's count differs from the estimate.

It belongs to no conversation, and no event tells of it: it is a hint that may be lost, or a little old.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from convo.store.ledger import Ledger, utc_now
from convo.store.rows import MODELS


class Factors(Ledger):
    """The factors of models, by name."""

    def factor(self, model: str) -> float | None:
        """Return the factor of a model; None when none was stored yet."""
        return self._execute(select(MODELS.c.factor).where(MODELS.c.name == model)).scalar()

    def keep_factor(self, model: str, factor: float) -> None:
        """Store the factor of a model, in the place of the one before."""
        insert = postgresql.insert if self._is_postgresql else sqlite.insert
        values = {"factor": factor, "updated_at": utc_now()}
        kept = insert(MODELS).values(name=model, **values)
        self._execute(kept.on_conflict_do_update(index_elements=["name"], set_=values))
