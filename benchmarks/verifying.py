"""`store.verify()` beside loops over sqlite3 and hashlib: python -m benchmarks.verifying.

Each runs in a process of its own, that nothing else is kept in: told are events a second, and the memory at its peak.

    chain      links the events anew, and compares the digests: what a few lines of Python do
    commits    as well makes the commitments to all texts anew, and looks whether an event tells of each
    verify     compares every value of every row with what the events tell, and finds what is missing

The store is one conversation of many turns, and forks of it; or, with --one, a single conversation with a history.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import re
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import convo

TURNS = 1000
"""Of the conversation that is forked: with two events each, and one at its beginning."""

TEXT = "What people say is about as long as this sentence, which is the question number "


def build(url: str, events: int, *, one: bool) -> None:
    """Fill a store with at least so many events."""
    with convo.Store(url) as store:
        if one:
            store.create(model="offline/echo", messages=[f"{TEXT}{number}" for number in range(2 * events)])
            return
        talk = store.create(model="offline/echo", temperature=0.5, input_token_limit=2000)
        for number in range(min(TURNS, events // 2)):
            talk.send(f"{TEXT}{number}")
        for _ in range(events // (2 * TURNS + 1)):
            talk.fork()


def chain(file: str) -> int:
    """Link all events anew; return how many there are."""
    return sum(1 for _ in linked(sqlite3.connect(file)))


def linked(connection: sqlite3.Connection) -> Iterator[tuple[str, bytes]]:
    """Yield the kind and the body of each event, once it is linked."""
    current, head, count = b"", bytes(32), 0
    events = "SELECT conversation_id, number, kind, digest, body FROM convo_events ORDER BY conversation_id, number"
    ends = dict(connection.execute("SELECT id, journal_head FROM convo_conversations"))
    for id, number, kind, digest, body in connection.execute(events):
        if id != current:
            current, head = id, bytes(32)
        head = hashlib.sha256(b"\0" + head + number.to_bytes(8, "big") + kind.encode() + b"\0" + body).digest()
        if head != digest:
            raise ValueError(number)
        ends[id] = b"" if ends[id] == head else ends[id]
        count += 1
        yield kind, body
    if any(ends.values()):
        raise ValueError(count)


def commits(file: str) -> int:
    """Link all events anew, and make all commitments to texts of turns; return how many events there are."""
    connection, told, count = sqlite3.connect(file), set(), 0
    for kind, body in linked(connection):
        event = json.loads(body)
        if kind == "begin":
            told.add(event["text"])
        elif kind == "finish":
            told.update(each["text"] for each in event["candidates"])
        elif kind == "history":
            told.update(event["texts"])
        count += 1
    for salt, content in connection.execute("SELECT salt, content FROM convo_messages"):
        sealed = hmac.digest(salt, b"convo/field/v1\0content\0" + content.encode(), "sha256")
        if base64.urlsafe_b64encode(sealed).rstrip(b"=").decode() not in told:
            raise ValueError(content)
    return count


def verify(file: str) -> int:
    """Verify the store; return how many events there are."""
    with convo.Store(f"sqlite:///{file}") as store:
        verdicts = [(each.events, each.is_sound) for each in store.verify()]
    if not all(is_sound for _, is_sound in verdicts):
        raise ValueError(verdicts)
    return sum(events for events, _ in verdicts)


WAYS: dict[str, Callable[[str], int]] = {"chain": chain, "commits": commits, "verify": verify}


def measured(way: str, file: str) -> tuple[int, float, float]:
    """Run one way in a process of its own: events, seconds, megabytes."""
    ran = subprocess.run(  # noqa: S603 - this program
        [sys.executable, "-m", "benchmarks.verifying", "--way", way, file], capture_output=True, text=True, check=True
    )
    events, seconds, megabytes = ran.stdout.split()
    return int(events), float(seconds), float(megabytes)


def main() -> None:
    """Run the benchmark, or one way of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--one", action="store_true", help="a single conversation")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("file", nargs="?", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        with convo.Store("sqlite://") as store:  # SQLAlchemy is imported, and the statements are compiled
            store.create(model="offline/echo")
            list(store.verify())
        started = time.perf_counter()
        events = WAYS[given.way](given.file)
        seconds = time.perf_counter() - started
        sys.stdout.write(f"{events} {seconds} {peak_megabytes()}\n")
        return
    for events in given.events:
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder) / "chats.db")
            build(f"sqlite:///{file}", events, one=given.one)
            sys.stdout.write(report({way: measured(way, file) for way in WAYS}))


def peak_megabytes() -> float:
    """Return how much memory this process has had at most; elsewhere than on Linux its parent's may count as well."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(found: dict[str, tuple[int, float, float]]) -> str:
    """Return what each way took, and verify() as a multiple of the others, in words."""
    speed = {way: events / seconds for way, (events, seconds, _) in found.items()}
    lines = [f"{found['verify'][0]:,} events"]
    for way, (_, seconds, megabytes) in found.items():
        lines.append(f"  {way:8} {seconds:8.2f} s  {speed[way]:9,.0f} events/s  {megabytes:6.0f} MB")
    ratios = (f"{speed['verify'] / speed[way]:.2f} × {way}" for way in WAYS if way != "verify")
    return "\n".join([*lines, f"  verify is {', '.join(ratios)}"]) + "\n"


if __name__ == "__main__":
    main()
