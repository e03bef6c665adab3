"""Systems by turns, round after round, so that all of them see the same machine."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from benchmarks.places import Place, Places
from benchmarks.plan import FLOOR, Plan
from benchmarks.workers import Failed, Worker, seed

Figures = dict[str, Any]
"""What is written to JSON."""

Any_ = TypeVar("Any_")
Samples = Sequence[Sequence[float]]
"""What was timed, by round; nothing of one that was sat out."""


@dataclass
class Cell:
    """A system with its conversations, and what was timed of it."""

    place: Place
    worker: Worker
    ids: list[str]
    wall_s: list[list[float]] = field(default_factory=list)
    told: list[Figures] = field(default_factory=list)
    """What the worker told, each time that it was asked."""

    @property
    def system(self) -> str:
        """The system's name."""
        return self.worker.system

    @property
    def count(self) -> int:
        """How many times were taken."""
        return sum(map(len, self.wall_s))

    def take(self, plan: Plan, do: str, number: int) -> None:
        """Let the worker do its share of a round, unless it has had its time."""
        self.wall_s.append([])
        wanted = plan.turns * (number + 1) // plan.rounds - plan.turns * number // plan.rounds
        spent_s = sum(map(sum, self.wall_s))
        if wanted and (spent_s < plan.budget_s or self.count < plan.least):
            budget_s = plan.budget_s / plan.rounds
            self.told.append(self.worker.ask(do, id=self.ids[0], count=wanted, budget_s=budget_s))
            self.wall_s[-1] = self.told[-1]["wall_s"]


class Cells:
    """Those of all systems, for one database and one length of conversations; for a `with`."""

    def __init__(self, plan: Plan, places: Places, database: str, *, title: str) -> None:
        self._plan, self._places, self._database, self._title = plan, places, database, f"{title} on {database}"
        self._owned = contextlib.ExitStack()
        self._opened: list[str] = []
        self._cells: list[Cell] = []
        self.failed: Figures = {}
        """Why systems were left out, by name."""

    def __enter__(self) -> Cells:
        return self

    def __exit__(self, *_: object) -> None:
        self._owned.close()

    def open(self, systems: Sequence[str], messages: int, conversations: int = 1) -> None:
        """Fill a database for each system, and start its process."""
        for name in systems:
            self._plan.told(f"{self._title}, {messages:,} messages: {name}")
            self._opened.append(name)
            with self.telling(name):
                place = self._owned.enter_context(self._places.fresh(self._database))
                ids = seed(name, place, messages, conversations)
                worker = self._owned.enter_context(Worker(name, place.url))
                self._cells.append(Cell(place, worker, ids))

    def each(self, do: Callable[[Cell], object], number: int = 0) -> None:
        """Do something with those that have not failed; who comes first changes by number."""
        for cell in rotated(self._cells, number):
            if cell.system not in self.failed:
                with self.telling(cell.system):
                    do(cell)

    def rounds(self, count: int, do: Callable[..., object]) -> None:
        """Do something with each of them in each round, whose `number` is told."""
        for number in range(count):
            self._plan.told(f"{self._title}: round {number + 1} of {count}")
            self.each(partial(do, number=number), number)

    def figures(self, of: Callable[[Cell], Figures]) -> Figures:
        """Return the figures of each, or why it was left out, by system, in the order that they were opened."""
        found: Figures = {}
        self.each(lambda cell: found.update({cell.system: of(cell)}))
        return {name: {**found, **self.failed}[name] for name in self._opened}

    @contextlib.contextmanager
    def telling(self, name: str) -> Iterator[None]:
        """Tell of a system that fails, and leave it out from then on."""
        try:
            yield
        except Failed as error:
            self.failed[name] = {"failed": str(error)}
            self._plan.told(f"{name} failed: {error}")

    @property
    def floor(self) -> Cell | None:
        """The floor's, if it is measured."""
        return next((each for each in self._cells if each.system == FLOOR), None)

    @property
    def floor_s(self) -> Samples | None:
        """The floor's times."""
        return None if self.floor is None else self.floor.wall_s


def rotated(those: Sequence[Any_], number: int) -> list[Any_]:
    """Return them beginning with another one each round: nobody always comes after the same one."""
    first = number % len(those) if those else 0
    return [*those[first:], *those[:first]]


def times(those: Samples, floor: Samples | None) -> Figures:
    """Return the figures of what was timed, in milliseconds, and as a multiple of the floor."""
    ordered = sorted(chain.from_iterable(those))
    return {
        "median_ms": 1000 * statistics.median(ordered),
        "p99_ms": 1000 * quantile(ordered, 0.99),
        "ratio": None if floor is None else ratio(those, floor),
        "times": len(ordered),
        "wall_ms": [[round(1000 * each, 4) for each in some] for some in those],
    }


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return what this share of the values does not exceed; of few values the greatest."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ratio(those: Samples, floor: Samples) -> float | None:
    """Return how many times as long they took, round by round: the median of the rounds in which both took part."""
    pairs = [
        statistics.median(each) / statistics.median(least)
        for each, least in zip(those, floor, strict=False)
        if each and least
    ]
    return statistics.median(pairs) if pairs else None
