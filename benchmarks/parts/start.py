"""What a process costs that is started for one turn, as a command's is: from its start to its end.

`python` is the same for a process that does nothing.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time

from benchmarks.parts.rounds import Figures, rotated, times
from benchmarks.places import Places
from benchmarks.plan import FLOOR, Plan
from benchmarks.workers import HERE, Failed, seed

NOTHING = "python"


def measure(plan: Plan, places: Places) -> Figures:
    """Measure all systems on all databases."""
    return {database: _on(plan, places, database) for database in plan.databases}


def _on(plan: Plan, places: Places, database: str) -> Figures:
    found: Figures = {}
    commands = {NOTHING: ["-c", ""]}
    wall_s: dict[str, list[list[float]]] = {}
    with contextlib.ExitStack() as stack:
        for name in plan.unlimited:
            plan.told(f"start on {database}: {name}")
            try:
                place = stack.enter_context(places.fresh(database))
                (id,) = seed(name, place, plan.crowd_messages)
                commands[name] = ["-m", "benchmarks.once", name, place.url, id]
                _timed(commands[name])  # what it imports is compiled and in the system's cache
                wall_s[name] = []
            except Failed as error:
                found[name] = {"failed": str(error)}
        wall_s[NOTHING] = []
        for number in range(plan.starts):
            plan.told(f"start on {database}: round {number + 1} of {plan.starts}")
            for name in rotated(list(wall_s), number):
                wall_s[name].append([_timed(commands[name])])
    found |= {name: times(each, wall_s.get(FLOOR)) for name, each in wall_s.items()}
    return {name: found[name] for name in (NOTHING, *plan.unlimited)}


def _timed(command: list[str]) -> float:
    """Return how long a process takes.

    Raises:
        Failed: it could not do its work.
    """
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *command], cwd=HERE, capture_output=True, text=True, check=False)  # noqa: S603 - this program
    if done.returncode != 0:
        raise Failed(done.stderr.strip().splitlines()[-1])
    return time.perf_counter() - started
