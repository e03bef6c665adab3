"""By which factor each model's count differs from the estimate: learnt from its answers, and kept in the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from convo.errors import StoreError
from convo.store.repository import ConversationRepository
from convo.tokens import TELLING, learned, ratio

WORTH_KEEPING = 0.02
"""How far a factor has to be from the stored one, as a share of it, to be stored in its place."""

SAME = 1e-4
"""How near two factors are that are one: PostgreSQL keeps six digits."""

UNKNOWN = 1.0
"""The factor of a model of which nothing is known."""

KEEPING_S = 1.0
"""How long a factor waits to be stored; it is learnt again when it is not."""


Result = TypeVar("Result")


class Transactions(Protocol):
    """Where the factors are stored."""

    def read(self, work: Callable[[ConversationRepository], Result]) -> Result:
        """Run `work` in a transaction that does not write."""
        ...

    def write(self, work: Callable[[ConversationRepository], Result], *, within_s: float | None = None) -> Result:
        """Run `work` in a transaction and commit it."""
        ...


@dataclass(slots=True)
class _Known:
    factor: float = UNKNOWN
    stored: float = UNKNOWN


class Calibration:
    """The factors of a store's models. Safe to share between threads: of two reports at once one may go unnoticed."""

    def __init__(self, transactions: Transactions) -> None:
        self._store = transactions
        self._known: dict[str, _Known] = {}

    def factor(self, model: str) -> float:
        """Return the factor of a model: as it was learnt here, or is stored; 1 when nothing is known.

        Raises:
            StoreError: the database failed.
        """
        if model not in self._known:
            stored = self._store.read(lambda repository: repository.factor(model)) or UNKNOWN
            self._known.setdefault(model, _Known(stored, stored))
        return self._known[model].factor

    def learn(self, model: str, reported: int | None, estimated: int) -> None:
        """Learn from what a model's service counted of a prompt that was `estimated`, unless that is of no use."""
        found = ratio(reported, estimated)
        if found is not None and estimated >= TELLING:
            known = self._known.setdefault(model, _Known())
            known.factor = learned(known.factor, found)
            self._keep(model, known)

    def raise_to(self, model: str, factor: float) -> None:
        """Take a model to count at least that much: it found a prompt too long."""
        known = self._known.setdefault(model, _Known())
        known.factor = max(known.factor, factor)
        self._keep(model, known)

    def _keep(self, model: str, known: _Known) -> None:
        """Store a factor that has moved; a store that is busy or gone is not told: nobody's turn depends on it."""
        factor, before = known.factor, known.stored
        if abs(factor - before) < WORTH_KEEPING * before:
            return
        known.stored = factor
        try:
            known.stored = self._store.write(
                partial(_kept, model=model, factor=factor, before=before), within_s=KEEPING_S
            )
        except StoreError:
            known.stored = before
        known.factor = max(known.factor, known.stored)


def _kept(repository: ConversationRepository, *, model: str, factor: float, before: float) -> float:
    """Store a factor, or the one that another process has stored meanwhile where that is higher; return it."""
    stored = repository.factor(model) or UNKNOWN
    wanted = factor if abs(stored - before) < SAME else max(stored, factor)
    if abs(wanted - stored) >= SAME:
        repository.keep_factor(model, wanted)
    return wanted
