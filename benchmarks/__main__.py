"""What a turn costs, and what else: convo beside its peers and the floor.

A turn is all but the model's own time: resume the conversation by its id, append the user's message, build a prompt of
4,096 tokens at most, append the answer. Each system runs in a process of its own; one that is not installed is told
and left out: pip install 'convo[bench]' has them all.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.about import about, missing
from benchmarks.parts import crowd, export, fork, resume, stable, start, storage, turns
from benchmarks.places import DATABASES, Places
from benchmarks.plan import QUICK, Plan
from benchmarks.systems import ENTRIES

PARTS: dict[str, Callable[[Plan, Places], dict[str, Any]]] = {
    "turns": turns.measure,
    "resume": resume.measure,
    "crowd": crowd.measure,
    "start": start.measure,
    "export": export.measure,
    "fork": fork.measure,
    "storage": storage.measure,
    "stable": stable.measure,
}

JSON, MARKDOWN, PLOT, PAGE = "performance.json", "performance-tables.md", "performance.png", "performance.md"
"""What is written; and the page that gets the tables, where it is there and says where they go."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and tell."""
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # servers, processes and folders are left tidily
    plan = _plan(given)
    absent = missing(plan.systems)
    for name, why in absent.items():
        sys.stderr.write(f"left out: {name}, as {why}\n")
    plan = replace(plan, systems=tuple(each for each in plan.systems if each not in absent))
    with Places(given.postgres) as places:
        for name in given.only or PARTS:
            figures = PARTS[name](plan, places)
            result = {"about": about(plan, places, absent), "figures": figures}
            for table in report.tables({name: result}):
                sys.stdout.write(table.plain() + "\n")
            if given.write is not None:
                write(given.write, {name: result})


def write(folder: Path, results: report.Results) -> None:
    """Write the figures, the tables and the plot; parts that are there from an earlier run stay, unless run again."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = folder / JSON
    before = json.loads(figures.read_text(encoding="utf-8")) if figures.exists() else {}
    merged = {**before, **results}
    whole = {name: merged[name] for name in PARTS if name in merged}
    figures.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    text = report.markdown(whole)
    (folder / MARKDOWN).write_text(text, encoding="utf-8")
    page = folder / PAGE
    if page.exists() and report.BEGINNING in page.read_text(encoding="utf-8"):
        report.replace_tables(page, text)
    if "turns" in whole:
        _draw(whole["turns"]["figures"], folder / PLOT)


def _draw(figures: dict[str, Any], file: Path) -> None:
    from benchmarks import plot

    try:
        plot.draw(figures, file)
    except ImportError:
        sys.stderr.write(f"{file} was not drawn: matplotlib is not installed\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--systems", nargs="+", choices=ENTRIES, metavar="SYSTEM", help=f"of {', '.join(ENTRIES)}")
    parser.add_argument("--databases", nargs="+", choices=DATABASES, help="where they store; else in both")
    parser.add_argument("--sizes", nargs="+", type=int, metavar="MESSAGES", help="of the conversations at their start")
    parser.add_argument("--turns", type=int, help="timed of each system at each size, at most")
    parser.add_argument("--rounds", type=int, help="over which the turns are spread")
    parser.add_argument("--quick", action="store_true", help="small everything, to see that it works")
    parser.add_argument("--postgres", metavar="URL", help="a server to use; else one is started")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help=f"write {JSON}, {MARKDOWN} and {PLOT} there")
    return parser


def _plan(given: argparse.Namespace) -> Plan:
    wanted: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name in ("systems", "databases", "sizes", "turns", "rounds")
        if (value := getattr(given, name)) is not None
    }
    return replace(QUICK if given.quick else Plan(), **wanted, told=_tell)


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    main()
