"""What it takes to open a conversation by its id alone, in a short one and in a long one.

Some systems read nothing then, and some everything.
"""

from __future__ import annotations

from benchmarks.parts.rounds import Cells, Figures, times
from benchmarks.places import Places
from benchmarks.plan import Plan
from benchmarks.worker import WARM_UP


def measure(plan: Plan, places: Places) -> Figures:
    """Measure all systems at both sizes on all databases."""
    return {
        database: {str(size): _at(plan, places, database, size) for size in plan.resume_sizes}
        for database in plan.databases
    }


def _at(plan: Plan, places: Places, database: str, size: int) -> Figures:
    with Cells(plan, places, database, title="resume") as cells:
        cells.open(plan.systems_at(size), size)
        cells.each(lambda cell: cell.worker.ask("resume", id=cell.ids[0], count=WARM_UP, budget_s=plan.budget_s))
        cells.rounds(plan.rounds, lambda cell, number: cell.take(plan, "resume", number))
        return cells.figures(lambda cell: times(cell.wall_s, cells.floor_s))
