"""A PostgreSQL server whose backends are terminated, and that is killed whole, while clients send.

    python -m tests.faults backends --terminate 1000 --server-kills 100 --crashes 100

Each client sends with a request key until it hears the answer; what it heard must stand, once and word for word.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from subprocess import Popen

import psycopg

import convo
from convo.testing import Acknowledged, violations
from tests.conftest import upgrade
from tests.faults.server import Server
from tests.processes import start

PROCESSES, THREADS, CONVERSATIONS = 2, 2, 3
LEASE_S = 1.0
"""Of each attempt: a turn whose owner is gone, as far as the others can tell, is taken over after this."""

CLIENT = """
import json, random, sys, threading, time
import convo, convo.store.database, convo.turn
from concurrent.futures import ThreadPoolExecutor
from convo.testing import HistoryClient

url, name, threads, lease_s, ids = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), sys.argv[5:]
convo.turn.LEASE_MARGIN_S = lease_s / 2
convo.store.database.PATIENCE_S = 1.0
client, over, errors, heard = HistoryClient(), threading.Event(), [], []

def settle(talk):
    try:
        talk.resume(deadline_s=lease_s / 2)
    except convo.ConvoError as error:
        errors.append(error)

def send(talk, key):
    while True:
        try:
            return talk.send(key, request_key=key, deadline_s=lease_s / 2).text
        except convo.TurnUnfinished as error:
            errors.append(error)
            settle(talk)
        except (convo.TurnInFlight, convo.LeaseLost, convo.StoreError) as error:
            if not error.retryable and not isinstance(error, convo.LeaseLost):
                raise
            errors.append(error)
            time.sleep(random.uniform(0, 0.02))

def sender(number):
    place = 0
    while not over.is_set():
        talk, key = convo.Conversation(store, random.choice(talks).record), f"{name}.{number}.{place}"
        heard.append((talk.id, key, key, send(talk, key)))
        place += 1

store = convo.Store(url, client=client)
talks = [store.get(id) for id in ids]
# go
with ThreadPoolExecutor(threads) as pool:
    senders = [pool.submit(sender, number) for number in range(threads)]
    sys.stdin.readline()
    over.set()
for each in senders:
    each.result()
store.close()
kinds = {}
for each in errors:
    kinds[type(each).__name__] = kinds.get(type(each).__name__, 0) + 1
print(json.dumps({"heard": heard, "calls": client.calls, "errors": kinds}))
"""


@dataclass
class Report:
    """What was done to the server, and what became of the clients' turns."""

    terminated: int = 0
    killed: int = 0
    crashed: int = 0
    heard: list[Acknowledged] = field(default_factory=list)
    calls: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    """Promises that were not kept, and clients that fell over."""

    def add(self, said: dict) -> None:
        self.heard += [Acknowledged(*each) for each in said["heard"]]
        self.calls += said["calls"]
        for name, count in said["errors"].items():
            self.errors[name] = self.errors.get(name, 0) + count

    def line(self) -> str:
        seen = ", ".join(f"{count} {name}" for name, count in sorted(self.errors.items())) or "none"
        done = f"{self.terminated} backends terminated, {self.killed} servers killed, {self.crashed} crashed"
        paid = self.calls - len(self.heard)
        return f"{done}: {len(self.heard)} turns heard, {paid} extra calls, {len(self.broken)} broken; errors: {seen}"


def torment(server: Server, terminate: int, kills: int, crashes: int, seed: int) -> Report:
    """Let clients send while backends are terminated, and servers killed or made to crash; return what came of it."""
    report, random_ = Report(), random.Random(seed)
    with convo.Store(server.url) as store:
        ids = [store.create().id for _ in range(CONVERSATIONS)]
    clients = [_client(server.url, str(number), ids) for number in range(PROCESSES)]
    _tell(clients)
    faults = [_terminate] * terminate + [_kill] * kills + [_crash] * crashes
    random_.shuffle(faults)
    for each in faults:
        time.sleep(random_.uniform(0, 0.1))
        each(server, random_, report)
    _tell(clients)
    for each in clients:
        _hear(each, report)
    with convo.Store(server.url) as store:
        report.broken += violations(store, ids, acknowledged=report.heard)
    return report


def _terminate(server: Server, random_: random.Random, report: Report) -> None:
    with _some_backend(server, random_) as (connection, pid):
        connection.execute("SELECT pg_terminate_backend(%s)", [pid])
    report.terminated += 1


def _crash(server: Server, random_: random.Random, report: Report) -> None:
    with _some_backend(server, random_) as (_, pid):
        server.crash(pid)
    report.crashed += 1


def _kill(server: Server, random_: random.Random, report: Report) -> None:
    server.kill()
    time.sleep(random_.uniform(0, 0.3))
    server.start()
    report.killed += 1


@contextmanager
def _some_backend(server: Server, random_: random.Random) -> Iterator[tuple[psycopg.Connection, int]]:
    """Yield the process id of a random backend that belongs to a client, and a connection; waits until there is one."""
    theirs = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    with server.connected() as connection:
        while not (pids := [pid for (pid,) in connection.execute(theirs)]):
            time.sleep(0.001)
        yield connection, random_.choice(pids)


def _client(url: str, name: str, ids: Sequence[str]) -> Popen[str]:
    return start(CLIENT, url, name, str(THREADS), str(LEASE_S), *ids)


def _tell(clients: Sequence[Popen[str]]) -> None:
    """Give each client the line that it waits for."""
    for each in clients:
        if each.poll() is None:
            each.stdin.write("\n")
            each.stdin.flush()


def _hear(client: Popen[str], report: Report) -> None:
    said, failure = client.communicate()
    if client.returncode == 0:
        report.add(json.loads(said.splitlines()[-1]))
    else:
        report.broken.append(f"a client ended with {client.returncode}: {failure}")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests.faults backends")
    parser.add_argument("--terminate", type=int, default=1000)
    parser.add_argument("--server-kills", type=int, default=100)
    parser.add_argument("--crashes", type=int, default=0)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    given = parser.parse_args(arguments)
    started = time.monotonic()
    with Server() as server:
        upgrade(server.url)
        report = torment(server, given.terminate, given.server_kills, given.crashes, given.seed)
    seconds = time.monotonic() - started
    print(f"{report.line()}; {seconds:.0f} s, seed {given.seed}", *report.broken, sep="\n")  # noqa: T201 - of a command
    return 1 if report.broken else 0
