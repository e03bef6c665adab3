"""What a turn costs, at each length of a conversation.

Its time is compared with the floor's of the same round, so that a machine which others use as well slows both down.
"""

from __future__ import annotations

import statistics
from itertools import chain

from benchmarks.parts.rounds import Cell, Cells, Figures, Samples, ratio, times
from benchmarks.places import Places
from benchmarks.plan import Plan
from benchmarks.worker import COUNTING, WARM_UP


def measure(plan: Plan, places: Places) -> Figures:
    """Measure all systems at all sizes on all databases."""
    return {
        database: {str(size): _at(plan, places, database, size) for size in plan.sizes} for database in plan.databases
    }


def _at(plan: Plan, places: Places, database: str, size: int) -> Figures:
    with Cells(plan, places, database, title="turns") as cells:
        cells.open(plan.systems_at(size), size)
        cells.each(lambda cell: cell.worker.ask("warm", id=cell.ids[0]))
        cells.rounds(plan.rounds, lambda cell, number: cell.take(plan, "turns", number))
        return cells.figures(lambda cell: _figures(cell, size, cells))


def _figures(cell: Cell, size: int, cells: Cells) -> Figures:
    cpu_s = _cpu_s(cell)
    megabytes = cell.worker.ask("memory")["megabytes"]
    counts = cell.worker.ask("count", id=cell.ids[0])
    cell.worker.ask("close")
    stored = size + 2 * (WARM_UP + cell.count + 1 + COUNTING)
    return {
        **times(cell.wall_s, cells.floor_s),
        "cpu_ms": 1000 * statistics.median(chain.from_iterable(cpu_s)),
        "cpu_ratio": None if cells.floor is None else ratio(cpu_s, _cpu_s(cells.floor)),
        "prompt": statistics.median(chain.from_iterable(each["prompts"] for each in cell.told)),
        **counts,
        "bytes_per_message": cell.place.bytes() / stored,
        "megabytes": megabytes,
    }


def _cpu_s(cell: Cell) -> Samples:
    """Return the processor's time, by round."""
    told = iter(cell.told)
    return [next(told)["cpu_s"] if some else [] for some in cell.wall_s]
