"""What is measured, how often and how long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.places import DATABASES
from benchmarks.systems import ENTRIES

FLOOR, CONVO, COLD = "floor", "convo", "convo-cold"

FAR = 100_000
"""Conversations that are longer than this only convo and the floor have: peers would take hours."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured; by itself, everything."""

    systems: tuple[str, ...] = tuple(ENTRIES)
    databases: tuple[str, ...] = DATABASES
    sizes: tuple[int, ...] = (10, 1_000, 10_000, 100_000, 1_000_000)
    """How many messages the conversations have when turns are taken in them."""
    turns: int = 200
    """How many are timed of each system at each size, at most."""
    rounds: int = 10
    """By how many rounds: in each the systems take their share of turns one after the other."""
    least: int = 3
    """How many turns are timed even of those that take long."""
    budget_s: float = 10.0
    """How long the timed turns of one system at one size may take together, if these are not too few."""
    resume_sizes: tuple[int, ...] = (1_000, 100_000)
    crowds: tuple[int, ...] = (16, 64)
    """How many conversations take turns at the same time."""
    crowd_turns: int = 320
    """Of all of them together, in a round."""
    crowd_messages: int = 100
    crowd_rounds: int = 3
    starts: int = 5
    export_messages: int = 100_000
    exports: int = 3
    fork_messages: int = 10_000
    forks: int = 9
    storage_turns: tuple[int, ...] = (10, 100, 1_000, 10_000)
    stable_turns: int = 500
    told: Callable[[str], None] = field(default=lambda _: None, repr=False, compare=False)
    """Hears what is being done."""

    @property
    def unlimited(self) -> tuple[str, ...]:
        """The systems without those that are others with a limit, or cold, where this is of no account."""
        return tuple(each for each in self.systems if not each.endswith(("-limit", "-cold")))

    def systems_at(self, size: int) -> tuple[str, ...]:
        """Return the systems that are measured with conversations of that many messages."""
        return tuple(each for each in self.systems if size <= FAR or each in (FLOOR, CONVO, COLD))


QUICK = Plan(
    sizes=(10, 100),
    turns=6,
    rounds=2,
    budget_s=2.0,
    resume_sizes=(10, 100),
    crowds=(2, 4),
    crowd_turns=8,
    crowd_messages=10,
    crowd_rounds=1,
    starts=1,
    export_messages=100,
    exports=1,
    fork_messages=100,
    forks=1,
    storage_turns=(5, 20),
    stable_turns=120,
)
"""Small everything: to see that it works."""
