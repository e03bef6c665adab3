"""A long conversation, written as JSON lines through each system's own way to read it.

Peers and the floor write role and text of each message; convo writes its own form, which has all that is stored: the
turns, the messages and the journal, to be read again and verified.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.parts.rounds import Cell, Cells, Figures, times
from benchmarks.places import DISK, Places
from benchmarks.plan import Plan
from benchmarks.workers import Failed


def measure(plan: Plan, places: Places) -> Figures:
    """Measure all systems on all databases."""
    return {database: _on(plan, places, database) for database in plan.databases}


def _on(plan: Plan, places: Places, database: str) -> Figures:
    with tempfile.TemporaryDirectory(prefix="convo-bench-", dir=DISK if DISK.is_dir() else None) as folder:

        def export(cell: Cell, number: int) -> None:
            file = Path(folder) / f"{cell.system}-{number}.jsonl"
            told = cell.worker.ask("export", id=cell.ids[0], file=str(file))
            if told["messages"] != plan.export_messages:
                raise Failed(f"it exported {told['messages']} messages")
            cell.told.append({**told, "bytes": file.stat().st_size})
            cell.wall_s.append([told["wall_s"]])
            file.unlink()

        with Cells(plan, places, database, title="export") as cells:
            cells.open(plan.unlimited, plan.export_messages)
            cells.rounds(plan.exports, export)
            return cells.figures(lambda cell: _figures(cell, cells))


def _figures(cell: Cell, cells: Cells) -> Figures:
    timed = times(cell.wall_s, cells.floor_s)
    return {
        "messages_per_s": 1000 * cell.told[0]["messages"] / timed["median_ms"],
        "bytes": cell.told[0]["bytes"],
        "megabytes": cell.worker.ask("memory")["megabytes"],
        **timed,
    }
