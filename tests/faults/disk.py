"""The disk fails at every single system call: ``python -m tests.faults disk`` lets strace break three turns so.

At each call of pwrite64, fdatasync, fsync, ftruncate and unlink in turn the disk is full (ENOSPC), fails (EIO), or the
process dies (SIGKILL). Afterwards the store must hold what its sender was told, and go on. One more run shows that no
turn is acknowledged as long as there are bytes in the log that were not synced to the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import convo
from convo.testing import Acknowledged, HistoryClient, violations
from tests.conftest import upgrade
from tests.processes import HERE, environment

CALLS = ("pwrite64", "fdatasync", "fsync", "ftruncate", "unlink")
FAULTS = ("error=ENOSPC", "error=EIO", "signal=KILL")
TURNS = 3

SENDER = f"""
import json, os, sys
import convo
from convo.testing import HistoryClient

log = os.open(sys.argv[2], os.O_CREAT | os.O_APPEND | os.O_WRONLY)

def tell(*facts):
    os.write(log, json.dumps(facts).encode() + b"\\n")

try:
    with convo.Store(sys.argv[1], client=HistoryClient()) as store:
        talk = store.get("a")
        for number in range({TURNS}):
            for _ in range(2):
                try:
                    tell("heard", str(number), talk.send(str(number), request_key=str(number)).text)
                    break
                except convo.ConvoError as error:
                    tell("refused", type(error).__name__)
except convo.ConvoError as error:
    tell("refused", type(error).__name__)
except BaseException as error:
    tell("untyped", repr(error))
"""
"""Sends, a second time what failed; writes down what it heard."""


@dataclass
class Run:
    """What came of one run."""

    name: str
    acknowledged: int = 0
    refused: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Bench:
    """A folder with a store of one conversation, of which each run gets a copy."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._first = folder / "first.db"
        upgrade(f"sqlite:///{self._first}")
        with convo.Store(f"sqlite:///{self._first}") as store:
            self._id = store.create(name="a").id

    def count(self) -> dict[str, int]:
        """Return how often a sender makes each of CALLS when nothing fails."""
        trace = self._send("count", ["-e", f"trace={','.join(CALLS)}"])[1]
        return dict(Counter(re.findall(rf"^\d+ +({'|'.join(CALLS)})\(", trace, re.MULTILINE)))

    def unsynced(self) -> tuple[int, int]:
        """Return how many turns were acknowledged, and how many of them while the log had unsynced bytes."""
        trace = self._send("sync", ["-y", "-s", "5", "-e", "trace=pwrite64,fdatasync,fsync,write"])[1]
        return unsynced(trace)

    def run(self, call: str, fault: str, number: int) -> Run:
        """Let the `number`-th `call` of a sender fail; look what it left, and send again what it did not hear."""
        run = Run(f"{call}:{fault}:when={number}")
        folder, _ = self._send(run.name, ["-e", f"trace={call}", "-e", f"inject={run.name}"])
        lines = [json.loads(each) for each in (folder / "log").read_text().splitlines()]
        heard = [
            Acknowledged(self._id, key, key, reply) for kind, key, *rest in lines if kind == "heard" for reply in rest
        ]
        run.acknowledged = len(heard)
        run.refused = [each[1] for each in lines if each[0] == "refused"]
        run.wrong = [f"untyped: {each[1]}" for each in lines if each[0] == "untyped"]
        try:
            run.wrong += _look_and_go_on(folder / "chats.db", self._id, heard)
        except convo.ConvoError as error:
            run.wrong.append(f"afterwards: {error!r}")
        shutil.rmtree(folder)
        return run

    def _send(self, name: str, options: list[str]) -> tuple[Path, str]:
        """Run a sender under strace on a copy of the store; return its folder and what strace wrote."""
        folder = self._folder / name
        folder.mkdir()
        shutil.copy(self._first, folder / "chats.db")
        (folder / "log").touch()
        python = [sys.executable, "-W", "error", "-c", SENDER, f"sqlite:///{folder}/chats.db", str(folder / "log")]
        command = ["strace", "-f", "--seccomp-bpf", "-o", str(folder / "trace"), *options, *python]
        subprocess.run(command, cwd=HERE, env=environment(HERE), capture_output=True, check=False)
        return folder, (folder / "trace").read_text(errors="replace")


def _look_and_go_on(database: Path, id: str, heard: list[Acknowledged]) -> list[str]:
    """Return what is wrong with what was left, and after all that was not heard was sent again."""
    with convo.Store(f"sqlite:///{database}", client=HistoryClient()) as store:
        wrong = violations(store, [id], acknowledged=heard)
        talk = store.get(id)
        for number in map(str, range(TURNS)):
            reply = talk.send(number, request_key=number, on_unfinished="resume").text
            heard.append(Acknowledged(id, number, number, reply))
        return wrong + violations(store, [id], acknowledged=heard)


def unsynced(trace: str) -> tuple[int, int]:
    """Return how many acknowledgements a trace has, and how many of them came before the log was synced."""
    is_dirty, acknowledged, early = False, 0, 0
    for line in trace.splitlines():
        call = re.match(r"\d+ +(\w+)\(\d+<([^>]*)>(.*)", line)
        if call is None:
            continue
        name, path, rest = call.groups()
        if path.endswith("-wal"):
            is_dirty = name == "pwrite64" or (is_dirty and not rest.endswith("= 0"))
        elif path.endswith("/log") and '["hea' in rest.replace("\\", ""):
            acknowledged += 1
            early += is_dirty
    return acknowledged, early


def break_everything(folder: Path, calls: list[str]) -> tuple[list[Run], tuple[int, int]]:
    """Run a sender once for each call that can fail, and each way in which it can."""
    bench = Bench(folder)
    counts = bench.count()
    jobs = [(call, fault, n) for call in calls for fault in FAULTS for n in range(1, counts.get(call, 0) + 1)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda job: bench.run(*job), jobs)), bench.unsynced()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults disk", description=__doc__.split("\n")[0])
    parser.add_argument("--calls", nargs="*", choices=CALLS, default=CALLS)
    given = parser.parse_args(arguments)
    if shutil.which("strace") is None:
        print("strace is needed: install it", file=sys.stderr)  # noqa: T201 - its output
        return 2
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="convo-faults-") as folder:
        runs, (acknowledged, early) = break_everything(Path(folder), list(given.calls))
    wrong = [f"{run.name}: {each}" for run in runs for each in run.wrong]
    if not runs or acknowledged != TURNS:
        wrong.append(f"nothing was shown: {len(runs)} runs, {acknowledged} turns in the last one")
    told = sum(run.acknowledged for run in runs)
    refused = dict(Counter(each for run in runs for each in run.refused))
    print(  # noqa: T201 - its output
        f"{len(runs)} runs, {told} acknowledged turns, {len(wrong)} wrong, {early} of {acknowledged} turns "
        f"acknowledged before their log was synced, errors {refused}, {time.monotonic() - began:.0f} s",
        *wrong[:20],
        sep="\n  ",
    )
    return int(bool(wrong or early))
