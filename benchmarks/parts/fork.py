"""A fork of a conversation beside the same INSERT … SELECT, typed by hand and given to the driver.

Both copy the turns, the messages and the journal in one transaction, by turns; each copy is deleted again. What is
typed is checked by the same foreign keys, and synced as convo's.
"""

from __future__ import annotations

import re
import sqlite3
import time
import uuid
from collections.abc import Callable
from typing import Any

import convo
from benchmarks import texts
from benchmarks.forking import COPIES
from benchmarks.parts.rounds import Figures, times
from benchmarks.places import Places
from benchmarks.plan import CONVO, FLOOR, Plan
from benchmarks.systems.base import file_of, is_sqlite
from benchmarks.systems.convo import Convo, Instant

ByHand = Callable[[str], str]


def measure(plan: Plan, places: Places) -> Figures:
    """Measure on all databases; of interest to convo alone."""
    return {database: _on(plan, places, database) for database in plan.databases}


def _on(plan: Plan, places: Places, database: str) -> Figures:
    plan.told(f"fork on {database}")
    wall_s: dict[str, list[list[float]]] = {FLOOR: [], CONVO: []}
    with places.fresh(database) as place:
        (id,) = Convo().seed(place.url, plan.fork_messages, 1)
        place.settle()
        with convo.Store(place.url, client=Instant()) as store:
            by_hand, close = _typed(place.url, plan.fork_messages // 2)
            ways: dict[str, ByHand] = {FLOOR: by_hand, CONVO: lambda id: store.get(id).fork().id}
            for number in range(plan.forks + 1):
                for name, way in ways.items():
                    started = time.perf_counter()
                    fork = way(id)
                    wall_s[name].append([time.perf_counter() - started])
                    if number == 0:
                        _check(store, fork, plan.fork_messages)
                        wall_s[name].clear()  # the first one is a warm-up
                    store.delete(fork)
            close()
    return {name: times(each, wall_s[FLOOR]) for name, each in wall_s.items()}


def _typed(url: str, turns: int) -> tuple[ByHand, Callable[[], None]]:
    """Return what copies a conversation of so many turns, and what closes its connection."""
    if is_sqlite(url):
        connection: Any = sqlite3.connect(file_of(url), isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        statements, begin = list(COPIES), "BEGIN IMMEDIATE"
    else:
        import psycopg

        connection, begin = psycopg.connect(url, autocommit=True), "BEGIN"
        statements = [re.sub(r":(\w+)", r"%(\1)s", each) for each in COPIES]

    def by_hand(id: str) -> str:
        fork = uuid.uuid4()
        given = {"turn": turns, "id": uuid.UUID(id), "fork": fork}
        if is_sqlite(url):
            given |= {"id": uuid.UUID(id).bytes, "fork": fork.bytes}
        connection.execute(begin)
        for each in statements:
            connection.execute(each, given)
        connection.execute("COMMIT")
        return str(fork)

    return by_hand, connection.close


def _check(store: convo.Store, fork: str, messages: int) -> None:
    """Raise unless the copy has the same messages."""
    if [each.content for each in store.get(fork).messages()] != list(texts.history(messages)):
        raise ValueError(fork)
