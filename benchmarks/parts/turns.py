"""What a turn costs, at each length of a conversation: the systems by turns, round after round, on one machine.

Its time is compared with the floor's of the same round, so that a machine which others use as well slows both down.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from benchmarks.places import Place, Places
from benchmarks.plan import FLOOR, Plan
from benchmarks.worker import COUNTING, WARM_UP
from benchmarks.workers import Failed, Worker, seed

Figures = dict[str, Any]


@dataclass
class Cell:
    """A system with a conversation of a certain length."""

    place: Place
    worker: Worker
    id: str
    size: int
    wall_s: list[list[float]] = field(default_factory=list)
    """By round; nothing of one that it sat out."""
    cpu_s: list[list[float]] = field(default_factory=list)
    prompt: int = 0
    """How many messages the last prompt had."""

    @property
    def system(self) -> str:
        """The system's name."""
        return self.worker.system

    @property
    def spent_s(self) -> float:
        """How long all its timed turns took."""
        return sum(map(sum, self.wall_s))

    @property
    def turns(self) -> int:
        """How many were timed."""
        return sum(map(len, self.wall_s))


def measure(plan: Plan, places: Places) -> Figures:
    """Measure all systems at all sizes on all databases."""
    return {
        database: {str(size): _at(plan, places, database, size) for size in plan.sizes} for database in plan.databases
    }


def _at(plan: Plan, places: Places, database: str, size: int) -> Figures:
    found: Figures = {}
    with contextlib.ExitStack() as stack:
        cells: list[Cell] = []
        for name in plan.systems_at(size):
            plan.told(f"turns on {database} at {size:,} messages: filling {name}")
            with told_failures(found, name, plan):
                cells.append(_opened(stack, places.fresh(database), name, size))
        for number in range(plan.rounds):
            plan.told(f"turns on {database} at {size:,} messages: round {number + 1} of {plan.rounds}")
            for cell in rotated(cells, number):
                if cell.system not in found:
                    with told_failures(found, cell.system, plan):
                        _take_turns(plan, cell, number)
        floor = next((each for each in cells if each.system == FLOOR), None)
        for cell in cells:
            if cell.system not in found:
                with told_failures(found, cell.system, plan):
                    found[cell.system] = _figures(cell, floor)
    return {name: found[name] for name in plan.systems if name in found}


@contextlib.contextmanager
def told_failures(found: Figures, name: str, plan: Plan) -> Iterator[None]:
    """Tell of a system that fails, instead of figures."""
    try:
        yield
    except Failed as error:
        found[name] = {"failed": str(error)}
        plan.told(f"{name} failed: {error}")


def _opened(stack: contextlib.ExitStack, fresh: Place, name: str, size: int) -> Cell:
    place = stack.enter_context(fresh)
    (id,) = seed(name, place, size)
    worker = stack.enter_context(Worker(name, place.url))
    worker.ask("warm", id=id)
    return Cell(place, worker, id, size)


def rotated(cells: Sequence[Any], number: int) -> list[Any]:
    """Return them beginning with another one each round: nobody always comes after the same one."""
    first = number % len(cells) if cells else 0
    return [*cells[first:], *cells[:first]]


def _take_turns(plan: Plan, cell: Cell, number: int) -> None:
    cell.wall_s.append([])
    cell.cpu_s.append([])
    wanted = plan.turns * (number + 1) // plan.rounds - plan.turns * number // plan.rounds
    if wanted and (cell.spent_s < plan.budget_s or cell.turns < plan.least):
        told = cell.worker.ask("turns", id=cell.id, count=wanted, budget_s=plan.budget_s / plan.rounds)
        cell.wall_s[-1], cell.cpu_s[-1], cell.prompt = told["wall_s"], told["cpu_s"], told["prompt"]


def _figures(cell: Cell, floor: Cell | None) -> Figures:
    wall_s, cpu_s = (sorted(chain.from_iterable(each)) for each in (cell.wall_s, cell.cpu_s))
    megabytes = cell.worker.ask("memory")["megabytes"]
    counts = cell.worker.ask("count", id=cell.id)
    cell.worker.ask("close")
    return {
        "median_ms": 1000 * statistics.median(wall_s),
        "p99_ms": 1000 * quantile(wall_s, 0.99),
        "cpu_ms": 1000 * statistics.median(cpu_s),
        "ratio": None if floor is None else ratio(cell.wall_s, floor.wall_s),
        "cpu_ratio": None if floor is None else ratio(cell.cpu_s, floor.cpu_s),
        "turns": cell.turns,
        "prompt": cell.prompt,
        **counts,
        "bytes_per_message": cell.place.bytes() / _messages(cell),
        "megabytes": megabytes,
        "wall_ms": [[round(1000 * each, 4) for each in some] for some in cell.wall_s],
        "cpu_ms_of_turns": [[round(1000 * each, 4) for each in some] for some in cell.cpu_s],
    }


def _messages(cell: Cell) -> int:
    """Return how many messages are stored by now."""
    return cell.size + 2 * (WARM_UP + cell.turns + 1 + COUNTING)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return what this share of the values does not exceed; of few values the greatest."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ratio(
    those: Sequence[Sequence[float]],
    floors: Sequence[Sequence[float]],
    middle: Callable[[Sequence[float]], float] = statistics.median,
) -> float | None:
    """Return how many times as long they took, round by round: the median of the rounds in which both took part."""
    pairs = [middle(each) / middle(floor) for each, floor in zip(those, floors, strict=True) if each and floor]
    return statistics.median(pairs) if pairs else None
