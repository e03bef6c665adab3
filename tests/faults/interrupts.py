"""Ctrl-C at the n-th boundary of an operation, for every n: the process lives on, and so must its store.

Nothing may be left behind that stops others from writing: no connection that is held, no transaction that is open.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.exc import OperationalError

import convo
from convo.store.rows import CONVERSATIONS
from convo.testing import Acknowledged, FaultPoints, HistoryClient, violations
from tests.faults.boundaries import OPERATIONS, go_on, prepare

INTERRUPTED = (
    "send with a key",
    "stream with a key",
    "resume of a failed turn",
    "choose",
    "regenerate",
    "fork",
    "edit",
)


def sweep(url: str, operation: str, every: int = 1) -> tuple[int, list[str]]:
    """Interrupt an operation at each of its boundaries; return how many there are, and the first that went wrong."""
    needs = OPERATIONS[operation].needs
    with convo.Store(url) as store, convo.Store(url) as other:
        prepare(url, needs, ["first", "whole"])
        run(store, operation, "first", 0)  # which alone reads what is known of the model
        boundaries = run(store, operation, "whole", 0)
        names = {number: f"interrupted {number}" for number in range(1, len(boundaries) + 1, every)}
        said = prepare(url, needs, list(names.values()))
        for index, (number, name) in enumerate(names.items()):
            wrong = list(_interrupt(store, other, operation, name, number, said[index : index + 1]))
            if wrong:  # each further one would wait until the store is free again
                return len(boundaries), [f"{boundaries[number - 1]} ({number}): {each}" for each in wrong]
    return len(boundaries), []


def run(store: convo.Store, operation: str, name: str, number: int) -> list[str]:
    """Run an operation with Ctrl-C at boundary `number`; return the boundaries that it reached."""

    def interrupt(reached: int, name: str) -> None:
        if reached == number:
            raise KeyboardInterrupt

    points = FaultPoints(store.engine, at=interrupt)
    store.client = points.client(HistoryClient())
    with points:
        OPERATIONS[operation].run(store, name)
    return points.names


def _interrupt(
    store: convo.Store, other: convo.Store, operation: str, name: str, number: int, heard: list[Acknowledged]
) -> Iterator[str]:
    try:
        run(store, operation, name, number)
        yield "nobody noticed"
    except KeyboardInterrupt:
        pass
    if store.engine.pool.checkedout():
        yield "a connection is held"
    if not can_write(other):
        yield "others cannot write"
        return
    store.client = HistoryClient()
    found = store.find(name)
    yield from violations(store, [found.id] if found else [], acknowledged=heard if found else ())
    yield from go_on(store, OPERATIONS[operation].recover, name, number, heard)


def can_write(other: convo.Store) -> bool:
    """Return whether another connection gets the locks that a writer needs."""
    try:
        with other.engine.connect() as connection:  # on SQLite this is BEGIN IMMEDIATE
            connection.execute(select(CONVERSATIONS.c.id).with_for_update()).all()
    except OperationalError:
        return False
    return True
