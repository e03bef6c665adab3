"""Processes that write flat out into one SQLite file: everybody gets his turn, and nobody an error.

``python -m tests.faults writers --processes 16 --seconds 20`` is the long form.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

import convo
from tests.faults.database import open_database
from tests.processes import run_at_once

MOST_RATIO = 10
"""How many times as often as the slowest one the fastest one may write."""

WRITER = """
import json, os, sys, time
import convo

store = convo.Store(sys.argv[1])
talk, seconds = store.get(sys.argv[2]), float(sys.argv[3])
# go
count, worst, errors, until = 0, 0.0, [], time.monotonic() + seconds
while (began := time.monotonic()) < until:
    try:
        talk.update(title=f"{os.getpid()} {count}")
        count += 1
    except Exception as error:
        errors.append(repr(error))
    worst = max(worst, time.monotonic() - began)
print(json.dumps([count, worst, errors]))
store.close()
"""


@dataclass(frozen=True)
class Writing:
    """How often each process wrote, what its longest wait was in seconds, and what went wrong."""

    counts: list[int]
    worst_s: float
    errors: list[str]
    stored: int
    """How many writes the store knows of, of all."""

    @property
    def ratio(self) -> float:
        return max(self.counts) / max(min(self.counts), 1)

    @property
    def is_fair(self) -> bool:
        return min(self.counts) > 0 and self.ratio <= MOST_RATIO

    @property
    def is_complete(self) -> bool:
        """Return whether every write that returned is stored, once."""
        return self.stored == sum(self.counts)

    def __str__(self) -> str:
        least, most = min(self.counts), max(self.counts)
        waited = f"worst wait {self.worst_s * 1000:.0f} ms"
        return f"least {least}, most {most}, ratio {self.ratio:.2f}, {waited}, {len(self.errors)} errors"


def write_flat_out(url: str, processes: int, seconds: float, talks: int | None = None) -> Writing:
    """Let processes write as fast as they can, each into a conversation of its own or into `talks` shared ones."""
    with convo.Store(url) as store:
        ids = [store.create().id for _ in range(talks or processes)]
        given = [(url, ids[number % len(ids)], str(seconds)) for number in range(processes)]
        ended = run_at_once(WRITER, given)
        failed = [error for code, _, error in ended if code or error]
        told = [json.loads(said.split("\n")[-2]) for code, said, _ in ended if code == 0]
        return Writing(
            counts=[count for count, _, _ in told] or [0],
            worst_s=max((worst for _, worst, _ in told), default=0.0),
            errors=failed + [each for _, _, errors in told for each in errors],
            stored=sum(store.get(id).version - 1 for id in ids),
        )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults writers", description=__doc__.split("\n")[0])
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20)
    given = parser.parse_args(arguments)
    with open_database("sqlite") as url:
        ended = write_flat_out(url, given.processes, given.seconds)
    print(f"{given.processes} processes, {given.seconds:.0f} s: {ended}", *ended.errors[:10], sep="\n  ")  # noqa: T201 - its output
    return int(not (ended.is_fair and ended.is_complete and not ended.errors))
