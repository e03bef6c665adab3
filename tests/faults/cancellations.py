"""A task that is cancelled after the n-th step of its event loop, or at the n-th boundary, for every n.

A step of the loop ends where the task waits for something: then for a thread that is free, or for one that is not.
Its store must be as if it had ended by itself: the turn is done, marked as cancelled, or was never stored; others
write at once; no connection is held, and no coroutine, generator or connection is left for the collector to find.
``python -m tests.faults cancellations`` cancels each operation in each manner at each step and at each boundary.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import anyio
from anyio.lowlevel import checkpoint

import convo
from convo import exchange
from convo.testing import Acknowledged, FaultPoints, HistoryClient, violations
from tests.faults import boundaries, branches
from tests.faults.boundaries import LEFT, SETTINGS, Pick, Recover, family, go_on, prepare
from tests.faults.complaints import complaints, left_open, unclosed_generators
from tests.faults.database import DATABASES, open_database
from tests.faults.interrupts import can_write
from tests.faults.manners import MANNERS, How, Trigger, after_rounds, by_scope, soon_in, stepped

Run = Callable[[convo.AsyncStore, str], Awaitable[object]]

# ---- what is cancelled


@dataclass(frozen=True)
class Operation:
    """What is cancelled, and what a client does afterwards; `needs` as of a Operation of `boundaries`."""

    run: Run
    recover: Recover
    needs: str = "done"
    client: Callable[[], Any] = HistoryClient
    places: tuple[str, ...] = ("step", "queue", "boundary")


class SyncClient:
    """A HistoryClient that cannot be awaited."""

    def __init__(self) -> None:
        client = HistoryClient()
        self.get_model, self.chat, self.stream = client.get_model, client.chat, client.stream


async def send(store: convo.AsyncStore, name: str, **settings: Any) -> None:
    talk = await store.get(name)
    await talk.send("text", request_key="key", **settings)


async def stream(store: convo.AsyncStore, name: str, **settings: Any) -> None:
    talk = await store.get(name)
    async with contextlib.aclosing(talk.stream("text", request_key="key", **settings)) as pieces:
        async for _ in pieces:
            await checkpoint()


async def stream_renewing(store: convo.AsyncStore, name: str) -> None:
    """Stream as if ten seconds lay between two pieces."""
    with patch.object(exchange, "RENEW_S", 0.0):
        await stream(store, name)


async def open_and_send(store: convo.AsyncStore, name: str) -> None:
    async with convo.AsyncStore(store.engine.url, client=store.client) as new:
        await send(new, name)


async def send_and_close(store: convo.AsyncStore, name: str) -> None:
    """Let a store be opened by its first use."""
    new = convo.AsyncStore(store.engine.url, client=store.client)
    try:
        await send(new, name)
    finally:
        await new.close()


async def send_in_group(store: convo.AsyncStore, name: str) -> None:
    """Be cancelled while a task of one's own sends."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send, store, name)


async def create(store: convo.AsyncStore, name: str) -> None:
    await store.create(name=name, **SETTINGS)


async def resume(store: convo.AsyncStore, name: str) -> None:
    await (await store.get(name)).resume()


async def discard(store: convo.AsyncStore, name: str) -> None:
    await (await store.get(name)).discard()


async def regenerate(store: convo.AsyncStore, name: str) -> None:
    await (await store.get(name)).regenerate(candidate_count=branches.CANDIDATES)


async def fork(store: convo.AsyncStore, name: str) -> None:
    await (await store.get(name)).fork(name=name + branches.FORKED)


async def edit(store: convo.AsyncStore, name: str) -> None:
    await (await store.get(name)).edit(3, "text", name=name + branches.FORKED)


OPERATIONS: dict[str, Operation] = {
    "send": Operation(send, boundaries.repeat_send),
    "stream": Operation(stream, boundaries.repeat_stream),
    "resume": Operation(resume, boundaries.settle, "failed"),
    "discard": Operation(discard, boundaries.settle_discarded, "failed"),
    "create": Operation(create, boundaries.create_again, "nothing"),
    "send to a model that cannot be awaited": Operation(send, boundaries.repeat_send, client=SyncClient),
    "stream of a model that cannot be awaited": Operation(stream, boundaries.repeat_stream, client=SyncClient),
    "stream, renewing its lease": Operation(stream_renewing, boundaries.repeat_stream),
    "send, resuming a cut turn": Operation(
        functools.partial(send, on_unfinished="resume"), boundaries.repeat_send, "cut"
    ),
    "stream, discarding a cut turn": Operation(
        functools.partial(stream, on_unfinished="discard"), boundaries.repeat_stream, "cut"
    ),
    "regenerate": Operation(regenerate, branches.regenerate_again),
    "fork": Operation(fork, branches.fork_again),
    "edit": Operation(edit, branches.edit_again),
    "send in a task group": Operation(send_in_group, boundaries.repeat_send, places=("boundary",)),
    "opening and sending": Operation(open_and_send, boundaries.repeat_send, places=("step",)),
    "sending and closing": Operation(send_and_close, boundaries.repeat_send, places=("step",)),
}


# ---- where


async def at_step(operation: Operation, store: convo.AsyncStore, name: str, how: How, trigger: Trigger) -> bool:
    def after_step() -> None:
        if trigger():
            trigger.cancel()

    async def work() -> None:
        await stepped(operation.run(store, name), after_step)

    store.client = operation.client()
    return await how.manner(work, trigger)


async def at_step_in_queue(
    operation: Operation, store: convo.AsyncStore, name: str, how: How, trigger: Trigger
) -> bool:
    """Cancel at a step while all threads of the store are taken, and free them when the cancellation has arrived."""
    threads, gate, soon = store._performer.threads, threading.Event(), soon_in(how.loop)

    def after_step() -> None:
        if trigger.is_next:
            for _ in range(threads.size):
                threads._executor.submit(gate.wait, 60)
        if trigger():
            trigger.cancel()
            after_rounds(soon, gate.set)

    async def work() -> None:
        await stepped(operation.run(store, name), after_step)

    store.client = operation.client()
    try:
        return await how.manner(work, trigger)
    finally:
        gate.set()


async def at_boundary(operation: Operation, store: convo.AsyncStore, name: str, how: How, trigger: Trigger) -> bool:
    loop, soon = threading.get_ident(), soon_in(how.loop)

    def at(number: int, boundary: str) -> None:
        if not trigger(boundary):
            return
        if threading.get_ident() == loop:
            trigger.cancel()
            return
        arrived = threading.Event()
        soon(trigger.cancel)
        after_rounds(soon, arrived.set)
        arrived.wait(60)

    points = FaultPoints(store.engine, at=at)
    store.client = points.client(operation.client())
    with points:
        return await how.manner(lambda: operation.run(store, name), trigger)


PLACES = {"step": at_step, "queue": at_step_in_queue, "boundary": at_boundary}


# ---- the sweep


@dataclass
class Sweep:
    """An operation that is cancelled at each of its places of some kinds."""

    url: str
    operation: str
    places: Sequence[str] = tuple(PLACES)
    manners: Sequence[str] = tuple(MANNERS)
    in_turn: Sequence[str] = ()
    """The kinds of places at each of which it is cancelled in one manner only: the manners take turns."""
    most: int | None = None
    """How often it is cancelled at most."""
    pick: Pick = boundaries.all_of
    """At which of its places of one kind it is."""
    count: int = 0
    """How often it was."""
    wrong: list[str] = field(default_factory=list)

    def run(self) -> Sweep:
        with left_open(self.wrong.append), complaints(self.wrong.append):
            for loop in dict.fromkeys(MANNERS[each].loop for each in self.manners):
                with convo.Store(self.url) as other:
                    anyio.run(self._run, other, loop, backend=loop)
        return self

    async def _run(self, other: convo.Store, loop: str) -> None:
        with unclosed_generators(self.wrong.append):
            async with convo.AsyncStore(self.url) as store:
                for place in self.places:
                    await self._sweep(store, other, loop, place)

    async def _sweep(self, store: convo.AsyncStore, other: convo.Store, loop: str, place: str) -> None:
        """Cancel the operation in the manners of one event loop, at each place of one kind."""
        manners = [each for each in self.manners if MANNERS[each].loop == loop]
        needs, title = OPERATIONS[self.operation].needs, f"{self.operation}, {place}"
        prepare(self.url, needs, [whole := f"{title}, {loop}"])
        trigger, _ = await self._try(store, place, manners[0], whole, 0)
        tries = [
            (number, manner)
            for index, number in enumerate(self.pick(trigger.names))
            for manner in manners
            if place not in self.in_turn or manner == self.manners[index % len(self.manners)]
        ]
        tries = tries[: None if self.most is None else self.most - self.count]
        names = [f"{title} {number}, {manner}" for number, manner in tries]
        said = prepare(self.url, needs, names)
        for index, ((number, manner), name) in enumerate(zip(tries, names, strict=True)):
            trigger, found = await self._try(store, place, manner, name, number)
            self.count += trigger.has_fired
            found += self._settled(store, other, name, number, said[index : index + 1], is_whole=not trigger.has_fired)
            self.wrong += [f"{name}: {each}" for each in found]
            if "others cannot write" in found:  # each further one would wait until the store is free again
                return

    async def _try(
        self, store: convo.AsyncStore, place: str, manner: str, name: str, number: int
    ) -> tuple[Trigger, list[str]]:
        """Cancel it once; return what is wrong with what its caller got."""
        how = MANNERS[manner]
        trigger = Trigger(number, how.times)
        try:
            is_cancelled = await PLACES[place](OPERATIONS[self.operation], store, name, how, trigger)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is wrong
            return trigger, [f"its caller got {error!r}"]
        # A scope may let what was finished under its shield return: the next thing that waits is cancelled.
        is_swallowed = trigger.has_fired and not is_cancelled and how.manner is not by_scope
        return trigger, ["the cancellation was swallowed"] if is_swallowed else []

    def _settled(
        self,
        store: convo.AsyncStore,
        other: convo.Store,
        name: str,
        number: int,
        heard: list[Acknowledged],
        *,
        is_whole: bool,
    ) -> Iterator[str]:
        """Yield what is wrong with the store right after a cancellation, and with how it goes on."""
        if store.engine.pool.checkedout():
            yield "a connection is held"
        if not can_write(other):
            yield "others cannot write"
            return
        other.client = HistoryClient()
        yield from _look(other, name, heard, is_whole=is_whole)
        yield from go_on(other, OPERATIONS[self.operation].recover, name, number, heard)


def _look(other: convo.Store, name: str, heard: list[Acknowledged], *, is_whole: bool) -> Iterator[str]:
    """Yield what is wrong with a conversation that another store sees right after a cancellation."""
    talk = other.find(name)
    if talk is None:
        return
    yield from violations(other, family(other, talk.id), acknowledged=heard)
    made = other.find(name + branches.FORKED)
    for turn in talk.turns() + (made.turns() if made else []):
        errors = (
            ("cancelled", "ModelError", "StreamCut", "stream_cut") if turn.message.content == LEFT else ("cancelled",)
        )
        if turn.state == "in_flight" or (turn.state == "failed" and turn.error not in errors):
            yield f"turn {turn.number} is {turn.state}: {turn.error}"
        if is_whole and turn.state != "done":
            yield f"nobody cancelled it, and turn {turn.number} is {turn.state}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults cancellations", description=__doc__.split("\n")[0])
    parser.add_argument("--database", choices=DATABASES, action="append", help="both without it")
    parser.add_argument("--operation", choices=OPERATIONS, action="append", help="all without it")
    parser.add_argument("--manner", choices=MANNERS, action="append", help="all without it")
    parser.add_argument("--count", type=int, default=20_000, help="of cancellations, at most")
    given = parser.parse_args(arguments)
    count, failed = 0, False
    for database, operation in itertools.product(given.database or DATABASES, given.operation or OPERATIONS):
        if count == given.count:
            break
        with open_database(database) as url:  # a new one, as SQLite looks through the whole of it each time
            manners = given.manner or tuple(MANNERS)
            swept = Sweep(url, operation, OPERATIONS[operation].places, manners, most=given.count - count).run()
        facts = f"{swept.count} cancellations, {len(swept.wrong)} wrong"
        _print(f"{database}, {operation}: {facts}", *swept.wrong[:10])
        count, failed = count + swept.count, failed or bool(swept.wrong)
    _print(f"{count} cancellations")
    return int(failed)


def _print(*lines: str) -> None:
    print(*lines, sep="\n  ", flush=True)  # noqa: T201 - the program's output
