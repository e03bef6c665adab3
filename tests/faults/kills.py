"""Senders that are killed at any moment and started again at once: what they were told still stands.

Four senders, or more, share three conversations, in both shells, by send() and by stream(). Each one writes down what
it asks before it asks it, and what it heard before that counts; started again, it repeats what it did not hear. Half of
them die at a random moment, half at a random boundary; some are stopped for a moment before, so that others take over
from the living.
``python -m tests.faults kills --database sqlite --count 10000`` is the long form.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import convo
from convo.testing import Acknowledged, FaultPoints, HistoryClient, kill_at, violations
from convo.testing.checker import late_replies
from tests.faults.database import DATABASES, end_leases, expire_leases, open_database
from tests.faults.worker import Tell, Worker
from tests.shells import open_store

TALKS = 3
SENDERS = [("sync", "send"), ("sync", "stream"), ("asyncio", "send"), ("asyncio", "stream")]
"""By which shell each one sends, and with which method."""
DEADLINE_S = 0.3
LIFE_S = 0.12
"""How long a sender lives on average that dies at a random moment."""
POINTS = 150
"""The last boundary at which one dies that dies at a boundary: two to three turns."""
STALLS, STALL_S = 0.2, 0.03
"""How many of those that die at a random moment are stopped before, and for how long."""
SETTINGS = {"context": "c", "examples": [("i", "o"), ("j", "p")], "input_token_limit": 400}


class Log:
    """What one sender did, over all its lives: a file to which each line goes by one write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def write(self, *facts: str) -> None:
        os.write(self._file, json.dumps(facts).encode() + b"\n")

    def lines(self, kind: str) -> list[list[str]]:
        """Return the facts of one kind, oldest first; the process may have died within its last line."""
        lines = self._path.read_bytes().split(b"\n")[:-1]
        return [each[1:] for each in map(json.loads, lines) if each[0] == kind]

    def acknowledged(self) -> list[Acknowledged]:
        asked = dict(self.lines("ask"))
        return [Acknowledged(asked[text], text, text, reply) for text, reply in self.lines("heard")]


# ---- a sender


def send_until_killed(
    tell: Tell, url: str, ids: list[str], path: Path, way: tuple[str, str], seed: int, point: int = 0, new: bool = True
) -> None:
    """Send one text after the other; with `new` false, only what was not heard."""
    chance = random.Random(seed)
    log = Log(path)
    client = HistoryClient(delay_s=chance.uniform(0, 0.01), before_answer=lambda _: log.write("call"))
    shell, method = way
    with open_store(url, shell) as store, FaultPoints(store.engine, at=kill_at(point)) as points:
        store.client = points.client(client)
        for text, id in _requests(log, path.stem, ids, chance, new=new):
            reply = _insist(store.get(id), method, text, chance)
            log.write("heard", text, reply.text)
            if chance.random() < 0.2:
                _choose(store.get(id), chance)


def _requests(log: Log, name: str, ids: list[str], chance: random.Random, *, new: bool) -> Iterator[list[str]]:
    """Yield texts with the id of their conversation: first the one that was not heard, if there is."""
    asked, heard = log.lines("ask"), log.lines("heard")
    if len(heard) < len(asked):
        yield asked[-1]
    for number in itertools.count(len(asked)) if new else ():
        request = [f"{name} says {number}", chance.choice(ids)]
        log.write("ask", *request)
        yield request


def _insist(talk: convo.Conversation, method: str, text: str, chance: random.Random) -> convo.Reply:
    """Send a text until it is answered; the same key each time."""
    candidates = len(text) % 2 + 1  # the same each time: it is part of the request
    while True:
        unfinished = chance.choice(["raise", "resume", "discard"])
        try:
            return ASK[method](talk, text, on_unfinished=unfinished, candidate_count=candidates)
        except convo.TurnUnfinished:
            with contextlib.suppress(convo.NoOpenTurn, convo.TurnInFlight, convo.LeaseLost, convo.CallTimedOut):
                chance.choice([talk.discard, talk.resume])()
        except (convo.TurnInFlight, convo.LeaseLost, convo.CallTimedOut):
            time.sleep(chance.uniform(0.001, 0.01))


def _send(talk: convo.Conversation, text: str, **settings: Any) -> convo.Reply:
    return talk.send(text, request_key=text, deadline_s=DEADLINE_S, **settings)


def _stream(talk: convo.Conversation, text: str, **settings: Any) -> convo.Reply:
    for _ in talk.stream(text, request_key=text, deadline_s=DEADLINE_S, **settings):
        pass
    return talk.last_reply


ASK = {"send": _send, "stream": _stream}


def _choose(talk: convo.Conversation, chance: random.Random) -> None:
    """Choose again, if it is still possible."""
    with contextlib.suppress(convo.TurnError, convo.NotFound):
        talk.choose(chance.randrange(2))


# ---- their killer


@dataclass
class Figures:
    """What came of it."""

    kills: int
    acknowledged: int
    lost: int
    doubled: int
    changed: int
    violations: int
    extra_calls: int
    late: int
    seconds: float
    wrong: list[str]

    def __str__(self) -> str:
        broken = f"{self.lost} lost, {self.doubled} doubled, {self.changed} changed, {self.violations} violations"
        costs = f"{self.extra_calls} extra calls, {self.late} late replies, {self.seconds:.0f} s"
        return f"{self.kills} kills, {self.acknowledged} acknowledged turns, {broken}, {costs}"


class Killer:
    """Starts senders and kills them, `count` times over all."""

    def __init__(self, url: str, folder: Path, ids: list[str], count: int, seed: int, senders: int) -> None:
        self._url, self._ids, self._count, self._seed = url, ids, count, seed
        self._senders = [SENDERS[number % len(SENDERS)] for number in range(senders)]
        self.paths = [folder / f"sender {number}" for number in range(senders)]
        self._lock = threading.Lock()
        self.kills = 0

    def run(self) -> None:
        with ThreadPoolExecutor(len(self._senders)) as pool:
            list(pool.map(self._haunt, range(len(self._senders))))
        for number, path in enumerate(self.paths):
            with convo.Store(self._url) as store:
                expire_leases(store)
            Worker(send_until_killed, self._url, self._ids, path, self._senders[number], number, 0, False).end()

    def _haunt(self, number: int) -> None:
        """Kill one sender again and again."""
        chance = random.Random(f"{self._seed}.{number}")
        with convo.Store(self._url) as store:
            while self._take():
                self._live_and_die(store, number, chance)
                expire_leases(store, self._last_asked(self.paths[number]))

    def _take(self) -> bool:
        with self._lock:
            self.kills += 1
            return self.kills <= self._count

    def _live_and_die(self, store: convo.Store, number: int, chance: random.Random) -> None:
        path, point = self.paths[number], chance.choice([0, chance.randint(1, POINTS)])
        sender = self._senders[number]
        worker = Worker(send_until_killed, self._url, self._ids, path, sender, chance.getrandbits(64), point)
        if point == 0:
            time.sleep(chance.expovariate(1 / LIFE_S))
            if chance.random() < STALLS:
                self._stall(worker, store, path, chance)
            worker.kill()
        worker.end()
        assert worker.was_killed, worker.process.exitcode

    def _stall(self, worker: Worker, store: convo.Store, path: Path, chance: random.Random) -> None:
        """Stop a sender as a machine does that sleeps: its lease ends, others take over, and then it goes on."""
        worker.kill(signal.SIGSTOP)
        threading.Timer(STALL_S, worker.kill, [signal.SIGCONT]).start()
        end_leases(store, self._last_asked(path))
        time.sleep(STALL_S + chance.expovariate(1 / LIFE_S))

    @staticmethod
    def _last_asked(path: Path) -> str | None:
        asked = Log(path).lines("ask")
        return asked[-1][1] if asked else None


def kill_senders(url: str, count: int, seed: int = 0, senders: int = len(SENDERS)) -> Figures:
    """Let senders live and die, and count what is wrong afterwards."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, convo.Store(url, client=HistoryClient()) as store:
        trims = itertools.cycle(["minimal", "stable"])
        talks = [store.create(trim=trim, **SETTINGS) for trim, _ in zip(trims, range(TALKS), strict=False)]
        killer = Killer(url, Path(folder), [each.id for each in talks], count, seed, senders)
        killer.run()
        logs = [Log(each) for each in killer.paths]
        heard = [each for log in logs for each in log.acknowledged()]
        wrong = violations(store, [each.id for each in talks], acknowledged=heard)
        broken = {kind: sum(each.startswith(kind) for each in wrong) for kind in ("lost", "doubled", "changed")}
        return Figures(
            kills=count,
            acknowledged=len(heard),
            **broken,
            violations=len(wrong) - sum(broken.values()),
            extra_calls=sum(len(log.lines("call")) for log in logs) - sum(len(each.turns()) for each in talks),
            late=late_replies(store, [each.id for each in talks]),
            seconds=time.monotonic() - began,
            wrong=wrong,
        )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults kills", description=__doc__.split("\n")[0])
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--senders", type=int, default=len(SENDERS), help="how many processes send at once")
    given = parser.parse_args(arguments)
    with open_database(given.database) as url:
        figures = kill_senders(url, given.count, given.seed, given.senders)
    print(f"{given.database}: {figures}", *figures.wrong[:20], sep="\n  ", flush=True)  # noqa: T201 - its output
    return int(bool(figures.wrong))
