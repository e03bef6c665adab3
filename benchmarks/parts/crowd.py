"""Many conversations that take turns at the same time, in one process: as many turns a second as it can.

Systems that wait are called in threads, a connection each for the floor, and the others in tasks of one event loop;
each with the pool of connections that it has by itself. On SQLite, where one writer at a time can be, only convo and
the floor are asked, with the smaller crowd.
"""

from __future__ import annotations

import statistics

from benchmarks.parts.rounds import Cell, Cells, Figures, times
from benchmarks.places import SQLITE, Places
from benchmarks.plan import COLD, CONVO, FLOOR, Plan


def measure(plan: Plan, places: Places) -> Figures:
    """Measure crowds of all sizes on all databases."""
    return {
        database: {
            str(crowd): _of(plan, places, database, crowd)
            for crowd in (plan.crowds[:1] if database == SQLITE else plan.crowds)
        }
        for database in plan.databases
    }


def _of(plan: Plan, places: Places, database: str, crowd: int) -> Figures:
    turns = max(1, plan.crowd_turns // crowd)

    def take(cell: Cell, number: int) -> None:  # noqa: ARG001 - the same in each round
        cell.told.append(cell.worker.ask("crowd", ids=cell.ids, turns=turns))
        cell.wall_s.append(cell.told[-1]["wall_s"])

    with Cells(plan, places, database, title=f"a crowd of {crowd}") as cells:
        systems = [each for each in plan.systems if each != COLD and (database != SQLITE or each in (FLOOR, CONVO))]
        cells.open(systems, plan.crowd_messages, crowd)
        cells.each(lambda cell: cell.worker.ask("warm", id=cell.ids[0]))
        cells.rounds(plan.crowd_rounds, take)
        return cells.figures(lambda cell: {"turns_per_s": _turns_per_s(cell), **times(cell.wall_s, cells.floor_s)})


def _turns_per_s(cell: Cell) -> float:
    return statistics.median(float(len(each["wall_s"]) / each["elapsed_s"]) for each in cell.told)
