"""What a turn costs, and what else: convo beside its peers and the floor. python -m benchmarks --help.

A turn is all but the model's own time: resume the conversation by its id, append the user's message, build a prompt of
4,096 tokens at most, append the answer. Each system runs in a process of its own; one that is not installed is told
and left out: pip install 'convo[bench]' has them all.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

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


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and tell."""
    given = _parser().parse_args(arguments)
    plan = _plan(given)
    with Places(given.postgres) as places:
        for name in given.only or PARTS:
            sys.stdout.write(json.dumps(PARTS[name](plan, places), indent=1) + "\n")


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
    return parser


def _plan(given: argparse.Namespace) -> Plan:
    wanted = {
        name: tuple(value) if isinstance(value, list) else value
        for name in ("systems", "databases", "sizes", "turns", "rounds")
        if (value := getattr(given, name)) is not None
    }
    return replace(QUICK if given.quick else Plan(), **wanted, told=lambda text: sys.stderr.write(text + "\n"))


if __name__ == "__main__":
    main()
