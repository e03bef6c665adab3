"""Work that an event loop has done in threads: finished once it has begun, dropped or done when it had not."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import convo
from convo.performer import ENTERING, Performer
from convo.steps import Steps
from convo.threads import APART, Threads, run_apart

WHO = contextvars.ContextVar("who", default="nobody")


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads(1)
    yield made
    made.close()


class Slow:
    """Work that ends when it is told to."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.has_ended = False

    def __call__(self) -> str:
        self.begun.set()
        assert self.go.wait(60)
        self.has_ended = True
        return "done"

    async def has_begun(self) -> None:
        while not self.begun.is_set():  # noqa: ASYNC110 - a thread sets it
            await anyio.sleep(0.001)


def fail() -> None:
    raise ValueError("no")


@pytest.mark.parametrize("run", [Threads(1).run, run_apart], ids=["threads", "apart"])
def test_what_work_returns_or_raises_comes_back(backend: str, run: Callable[..., Awaitable[Any]]):
    async def both() -> int:
        with pytest.raises(ValueError, match="no"):
            await run(fail)
        return await run(lambda: 5)

    assert 5 == anyio.run(both, backend=backend)


@pytest.mark.parametrize("run", [Threads(1).run, run_apart], ids=["threads", "apart"])
def test_work_knows_the_context_of_its_caller(backend: str, run: Callable[..., Awaitable[Any]]):
    async def named() -> str:
        WHO.set("somebody")
        return await run(WHO.get)

    assert "somebody" == anyio.run(named, backend=backend)


def test_no_more_work_runs_at_once_than_there_are_threads(backend: str):
    running, most, guard = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
        time.sleep(0.002)
        with guard:
            running -= 1

    async def crowd() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(30):
                group.start_soon(threads.run, work)

    threads = Threads(3)
    anyio.run(crowd, backend=backend)
    threads.close()
    assert 3 == most


def test_work_that_has_begun_is_finished_before_its_caller_is_cancelled(backend: str, threads: Threads):
    slow = Slow()

    async def cancelled() -> bool:
        async with anyio.create_task_group() as group:
            group.start_soon(threads.run, slow)
            await slow.has_begun()
            group.cancel_scope.cancel()
            threading.Timer(0.01, slow.go.set).start()
        return slow.has_ended

    assert anyio.run(cancelled, backend=backend)


@pytest.mark.parametrize("times", [1, 2, 5])
def test_asyncios_own_cancellation_waits_too_however_often_it_comes(threads: Threads, times: int):
    slow = Slow()

    async def cancelled() -> tuple[bool, bool]:
        task = asyncio.create_task(threads.run(slow))
        await slow.has_begun()
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        is_waiting = not task.done()
        slow.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return is_waiting, slow.has_ended

    assert (True, True) == asyncio.run(cancelled())


@pytest.mark.parametrize(("must_run", "has_run"), [(False, []), (True, [True])])
def test_work_that_waits_for_a_thread_is_dropped_unless_it_must_run(
    backend: str, threads: Threads, must_run: bool, has_run: list[bool]
):
    slow, ran = Slow(), []

    async def late() -> None:
        await threads.run(lambda: ran.append(True), must_run=must_run)

    async def cancelled() -> None:
        async with anyio.create_task_group() as outer:
            outer.start_soon(threads.run, slow)
            await slow.has_begun()
            async with anyio.create_task_group() as inner:
                inner.start_soon(late)
                await anyio.wait_all_tasks_blocked()
                inner.cancel_scope.cancel()
                slow.go.set() if must_run else None
            slow.go.set()

    anyio.run(cancelled, backend=backend)
    assert has_run == ran


def test_who_is_cancelled_already_begins_nothing_unless_it_must_run(backend: str, threads: Threads):
    ran: list[str] = []

    async def cancelled() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                await threads.run(lambda: ran.append("droppable"))
            finally:
                await threads.run(lambda: ran.append("must run"), must_run=True)

    anyio.run(cancelled, backend=backend)
    assert ["must run"] == ran


def test_closing_waits_for_work_and_new_work_starts_new_threads(backend: str, threads: Threads):
    async def used_again() -> str:
        await threads.run(lambda: None)
        threads.close()
        return await threads.run(lambda: "again")

    assert "again" == anyio.run(used_again, backend=backend)


def test_a_thread_that_is_left_keeps_nobody_from_going_on(backend: str):
    hung = [Slow() for _ in range(APART)]

    async def left() -> str:
        async with anyio.create_task_group() as group:
            for each in hung:
                group.start_soon(run_apart, each)
            for each in hung:
                await each.has_begun()
            group.cancel_scope.cancel()
        return await run_apart(lambda: "next")

    assert ("next", [False] * APART) == (anyio.run(left, backend=backend), [each.has_ended for each in hung])
    for each in hung:
        each.go.set()


# ---- when there can be no more threads


@pytest.fixture
def no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no further thread be started, as in a process that has too many."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


@pytest.mark.usefixtures("no_thread")
def test_work_for_which_there_is_no_thread_is_refused_and_never_done(backend: str, threads: Threads):
    ran: list[bool] = []

    async def refused() -> None:
        with pytest.raises(convo.StoreBusy, match="no thread for a transaction"):
            await threads.run(lambda: ran.append(True))

    anyio.run(refused, backend=backend)
    threads.close()
    assert [] == ran


@pytest.mark.usefixtures("no_thread")
def test_work_that_must_run_is_done_all_the_same(backend: str, threads: Threads):
    assert 5 == anyio.run(partial(threads.run, lambda: 5, must_run=True), backend=backend)


@pytest.mark.parametrize("run", [Threads(1).run, run_apart], ids=["threads", "apart"])
def test_work_may_have_an_event_loop_of_its_own(backend: str, run: Callable[..., Awaitable[Any]]):
    async def inner() -> int:
        await anyio.lowlevel.checkpoint()
        return 5

    assert 5 == anyio.run(run, partial(anyio.run, inner), backend=backend)


@pytest.mark.parametrize(("kind", "most"), [("call", APART), ("limits", APART), ("close", APART + 20)])
def test_a_crowd_begins_some_at_a_time_but_for_those_who_hang_up(backend: str, kind: str, most: int):
    works = [Slow() for _ in range(APART + 20)]

    async def begun() -> int:
        async with anyio.create_task_group() as group:
            for each in works:
                group.start_soon(run_apart, each, kind)
            while (count := sum(each.begun.is_set() for each in works)) < most:  # noqa: ASYNC110 - threads count
                await anyio.sleep(0.001)
            for each in works:
                each.go.set()
        return count

    assert most == anyio.run(begun, backend=backend)


# ---- a crowd that comes at once


def test_an_event_loop_starts_one_thread_for_a_crowd_and_that_one_the_next(
    backend: str, monkeypatch: pytest.MonkeyPatch
):
    starters: list[int] = []
    start, has_come, together = threading.Thread.start, threading.Event(), threading.Barrier(APART)

    def slowly(thread: threading.Thread) -> None:
        if not thread.name.startswith("convo client"):
            start(thread)
            return
        starters.append(threading.get_ident())
        start(threading.Thread(target=lambda: has_come.wait() and start(thread)))

    monkeypatch.setattr(threading.Thread, "start", slowly)

    async def crowd() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(APART):
                group.start_soon(run_apart, together.wait)
            await anyio.wait_all_tasks_blocked()
            has_come.set()

    anyio.run(crowd, backend=backend)
    assert (1, APART) == (starters.count(threading.get_ident()), len(starters))


def test_all_who_wait_hear_that_there_can_be_no_more_threads(backend: str, monkeypatch: pytest.MonkeyPatch):
    start, started, errors = threading.Thread.start, [], []
    slow = Slow()

    def once(thread: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", once)

    async def one() -> None:
        try:
            await run_apart(slow)
        except RuntimeError as error:
            errors.append(str(error))
            if len(errors) == 2:
                slow.go.set()

    async def crowd() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(one)

    anyio.run(crowd, backend=backend)
    assert ["can't start new thread"] * 2 == errors


def test_so_many_turns_begin_in_one_pass_of_the_loop_and_no_more():
    passes: Counter[int] = Counter()
    now = 0

    def steps() -> Steps[None]:
        passes[now] += 1
        return
        yield  # a generator

    async def crowd() -> None:
        nonlocal now
        performer = Performer()
        async with anyio.create_task_group() as group:
            for _ in range(2 * ENTERING):
                group.start_soon(performer.outcome, steps())
            while passes.total() < 2 * ENTERING:
                now += 1
                await anyio.lowlevel.checkpoint()

    anyio.run(crowd)
    assert ENTERING == max(passes.values())
