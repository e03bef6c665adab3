"""Many conversations that send at the same moment, through one AsyncStore: python -m benchmarks.crowd.

The model is a scripted one that takes its time, as real ones do. Told are how many turns were stored, how many
connections that took, where the time went, and how late the event loop was for a task that sleeps 5 ms at a time:
so long would any other task of a bot have waited.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import resource
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from sqlalchemy import Engine, create_engine, event, func, make_url, select

import convo
from convo.clients.base import ChatReply, ChatRequest
from convo.store.database import Database
from convo.store.rows import TURNS
from convo.testing import HistoryClient, violations

TICK_S = 0.005
LATE_S = 0.05
"""How late the loop may be."""

PHASES = {
    "thread": "waiting for a thread",
    "place": "waiting for a connection, or for the place of SQLite's one writer",
    "begin": "the transaction that begins it",
    "model": "the model",
    "finish": "the transaction that stores the answer",
}
"""Where a turn spends its time."""

TOLD_BY = {"INSERT INTO convo_turns": "begin", "UPDATE convo_turns": "finish"}
"""Which statement tells what a transaction is for."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many send at once, to a model that takes how long."""

    conversations: int = 1000
    delay_s: float = 2.0
    is_streamed: bool = False
    is_frozen: bool = False
    """Whether Python's garbage collector leaves alone what is there before the crowd comes (gc.freeze)."""


@dataclass
class Result:
    """What was measured."""

    turns: int = 0
    """Those that are stored, each with its answer."""
    calls: int = 0
    """How often the model was asked."""
    faults: list[Any] = field(default_factory=list)
    """What is not as it is promised to be."""
    connections: int = 0
    """The most that were in use at once."""
    left: int = 0
    """Those in use afterwards."""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    late_s: list[float] = field(default_factory=list)
    """By how much each sleep of the ticker was too long, the greatest last."""
    busy_s: list[float] = field(default_factory=list)
    """As much of that as this process itself was computing: the rest is the machine's, if others use it as well."""
    spent_s: Counter[str] = field(default_factory=Counter)
    """The time of all turns together, by phase."""


def quantile(ordered: list[float], share: float) -> float:
    """Return what this share of the values does not exceed."""
    return ordered[int(share * (len(ordered) - 1))]


class Clock:
    """Adds up what the turns spend where, and the connections in use, over all threads."""

    def __init__(self) -> None:
        self.spent_s: Counter[str] = Counter()
        self.connections = 0
        self._lock = threading.Lock()
        self._held: dict[Any, tuple[float, str]] = {}

    def add(self, phase: str, started: float) -> None:
        """Add the time since `started`."""
        with self._lock:
            self.spent_s[phase] += time.perf_counter() - started

    def watch(self, engine: Engine) -> None:
        """Time how long connections are held, and for what."""
        event.listen(engine, "checkout", self._checkout)
        event.listen(engine, "before_cursor_execute", self._execute)
        event.listen(engine, "checkin", self._checkin)

    def timed(self, phase: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return `work` with its time added to a phase."""

        def run(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever `work` takes and returns
            started = time.perf_counter()
            try:
                return work(*given, **named)
            finally:
                self.add(phase, started)

        return run

    def phases(self) -> Counter[str]:
        """Return the time of all turns by phase; a wait is what is left of the time around it."""
        spent = self.spent_s
        held = spent["begin"] + spent["finish"] + spent["other"]
        return Counter(
            thread=spent["turn"] - spent["store"] - spent["model"],
            place=spent["store"] - held,
            **{name: spent[name] for name in ("begin", "model", "finish")},
        )

    def _checkout(self, connection: Any, record: Any, proxy: Any) -> None:  # noqa: ANN401, ARG002 - the hook's signature
        with self._lock:
            self._held[connection] = (time.perf_counter(), "other")
            self.connections = max(self.connections, len(self._held))

    def _execute(self, connection: Any, cursor: Any, statement: str, *rest: Any) -> None:  # noqa: ANN401, ARG002 - the hook's signature
        told = [phase for write, phase in TOLD_BY.items() if write in statement]
        if told:
            used = connection.connection.dbapi_connection
            self._held[used] = (self._held[used][0], told[0])

    def _checkin(self, connection: Any, record: Any) -> None:  # noqa: ANN401, ARG002 - the hook's signature
        with self._lock:
            started, phase = self._held.pop(connection)
        self.add(phase, started)


class Model(HistoryClient):
    """A model whose time is taken."""

    def __init__(self, clock: Clock, delay_s: float) -> None:
        super().__init__(delay_s=delay_s)
        self._clock = clock

    async def chat_async(self, request: ChatRequest, *, deadline_s: float) -> ChatReply:
        """Answer after the delay; stream_async() asks here as well."""
        started = time.perf_counter()
        try:
            return await super().chat_async(request, deadline_s=deadline_s)
        finally:
            self._clock.add("model", started)


async def measure(target: str | Engine, crowd: Crowd) -> Result:
    """Let a crowd send through one AsyncStore on `target`; return what it cost, and whether all is stored."""
    clock, result = Clock(), Result()
    client = Model(clock, crowd.delay_s)
    async with convo.AsyncStore(target, client=client) as store:
        talks = await created(store, crowd.conversations)
        if crowd.is_frozen:
            gc.collect()
            gc.freeze()
        clock.watch(store.engine)
        store.database.write = clock.timed("store", store.database.write)  # type: ignore[method-assign]  # to time it
        gate = anyio.Event()
        async with ticking(result), anyio.create_task_group() as group:
            for number, talk in enumerate(talks):
                group.start_soon(take_a_turn, talk, f"hello {number}", crowd.is_streamed, clock, gate)
            await anyio.wait_all_tasks_blocked()
            result.late_s.clear()
            result.busy_s.clear()
            started, cpu = time.perf_counter(), cpu_s()
            gate.set()
        result.wall_s, result.cpu_s = time.perf_counter() - started, cpu_s() - cpu
        result.left = store.engine.pool.checkedout()  # type: ignore[attr-defined]  # of a QueuePool
        result.spent_s, result.connections, result.calls = clock.phases(), clock.connections, client.calls
    result.late_s.sort()
    result.busy_s.sort()
    return result


async def created(store: convo.AsyncStore, count: int) -> list[convo.AsyncConversation]:
    """Return so many new conversations."""
    talks: list[convo.AsyncConversation] = []

    async def create() -> None:
        talks.append(await store.create(model="scripted"))

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(create)
    return talks


async def take_a_turn(
    talk: convo.AsyncConversation, text: str, is_streamed: bool, clock: Clock, gate: anyio.Event
) -> None:
    """Send, or stream, when the gate opens, and take the time."""
    await gate.wait()
    started = time.perf_counter()
    if is_streamed:
        async with aclosing(talk.stream(text)) as pieces:
            async for _ in pieces:
                pass
    else:
        await talk.send(text)
    clock.add("turn", started)


@contextlib.asynccontextmanager
async def ticking(result: Result) -> AsyncIterator[None]:
    """Sleep TICK_S again and again meanwhile, and note how late the loop was each time."""

    async def tick() -> None:
        while True:
            wanted, cpu = time.perf_counter() + TICK_S, cpu_s()
            await anyio.sleep(TICK_S)
            late_s = time.perf_counter() - wanted
            result.late_s.append(late_s)
            result.busy_s.append(min(late_s, cpu_s() - cpu))

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        yield
        group.cancel_scope.cancel()


def cpu_s() -> float:
    """Return the processor time that this process has used, in all its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run(target: str | Engine, crowd: Crowd) -> Result:
    """Measure, then look at what is stored."""
    result = anyio.run(measure, target, crowd)
    with convo.Store(target) as store:
        with store.engine.connect() as connection:
            result.turns = connection.execute(select(func.count()).where(TURNS.c.state == "done")).scalar_one()
        result.faults = list(violations(store))
    return result


def told(name: str, crowd: Crowd, result: Result) -> str:
    """Return the line of a result, with the time of the average turn, in milliseconds, by phase."""
    late = [1000 * quantile(result.late_s, share) for share in (0.5, 0.99, 1)]
    blocked = sum(each > LATE_S for each in result.late_s)
    spent = ", ".join(f"{phase} {1000 * result.spent_s[phase] / crowd.conversations:.0f}" for phase in PHASES)
    return (
        f"{name}: {crowd.conversations} {'streamed' if crowd.is_streamed else 'sent'}, model {crowd.delay_s} s: "
        f"{result.turns} stored, {result.calls} calls, {len(result.faults)} violations, "
        f"{result.connections} connections at most, {result.left} left; "
        f"{result.wall_s:.2f} s, of the processor {result.cpu_s:.2f} s; "
        f"loop late by {late[0]:.1f} ms, p99 {late[1]:.1f} ms, at most {late[2]:.1f} ms "
        f"({blocked} of {len(result.late_s)} above {1000 * LATE_S:.0f}), "
        f"at most {1000 * result.busy_s[-1]:.1f} ms of it computing; ms a turn: {spent}"
    )


@contextlib.contextmanager
def database(name: str, pool: int) -> Iterator[str | Engine]:
    """Yield a new SQLite file, an engine on a new PostgreSQL server, or an engine on the server of a URL."""
    if name == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{Path(folder) / 'convo.db'}"
        return
    with contextlib.ExitStack() as stack:
        yield engine_on(stack.enter_context(_server()) if name == "postgres" else name, pool)


@contextlib.contextmanager
def _server() -> Iterator[str]:
    from tests.faults.server import Server

    with Server() as server:
        yield server.url


def engine_on(url: str, pool: int) -> Engine:
    """Return an engine with a pool of that size on a database, which gets its tables if it has none."""
    owner = Database(url)
    owner.upgrade()
    owner.close()
    return create_engine(make_url(url).set(drivername="postgresql+psycopg"), pool_size=pool, max_overflow=0)


def main() -> None:
    """Run the benchmark on both databases, or on the one that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=1000)
    parser.add_argument("--delay", type=float, default=2.0, help="seconds that the model takes")
    parser.add_argument("--database", action="append", help="sqlite, postgres or a URL; both when none is named")
    parser.add_argument("--pool", type=int, default=10, help="connections to PostgreSQL")
    parser.add_argument("--stream", action="store_true", help="stream() instead of send()")
    parser.add_argument(
        "--freeze", action="store_true", help="gc.freeze() first, as a server may do when it has started"
    )
    given = parser.parse_args()
    crowd = Crowd(given.conversations, given.delay, given.stream, given.freeze)
    for name in given.database or ["sqlite", "postgres"]:
        with database(name, given.pool) as target:
            sys.stdout.write(told(name, crowd, run(target, crowd)) + "\n")
            if isinstance(target, Engine):
                target.dispose()


if __name__ == "__main__":
    main()
