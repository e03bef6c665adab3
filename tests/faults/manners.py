"""The manners in which a task can be cancelled, and the moments: counted by its steps, or told by somebody else."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

import anyio
import trio

ROUNDS = 4
"""How many rounds of the event loop a boundary waits after a cancellation: so that it is there while it lasts."""


class Trigger:
    """Cancels at the `number`-th step or boundary, and at those that follow, `times` in all."""

    def __init__(self, number: int, times: int = 1) -> None:
        self._number = number
        self._times = times
        self.cancel: Callable[[], object]
        self.names: list[str] = []
        """Of the boundaries that were reached; those of steps are empty."""

    @property
    def reached(self) -> int:
        return len(self.names)

    @property
    def has_fired(self) -> bool:
        return 0 < self._number <= self.reached

    @property
    def is_next(self) -> bool:
        return self.reached == self._number - 1

    def __call__(self, name: str = "") -> bool:
        """Count; return whether it is time."""
        self.names.append(name)
        return self.has_fired and self.reached < self._number + self._times


Manner = Callable[[Callable[[], Coroutine[Any, Any, None]], Trigger], Awaitable[bool]]
"""Runs what is cancelled, and tells the trigger how; returns whether it was cancelled."""


async def by_task(work: Callable[[], Coroutine[Any, Any, None]], trigger: Trigger) -> bool:
    task = asyncio.create_task(work())
    trigger.cancel = task.cancel
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return task.cancelled()


async def by_timeout(work: Callable[[], Coroutine[Any, Any, None]], trigger: Trigger) -> bool:
    try:
        async with asyncio.timeout(None) as limit:
            trigger.cancel = functools.partial(limit.reschedule, 0)
            await work()
    except TimeoutError:
        return True
    return False


async def by_scope(work: Callable[[], Coroutine[Any, Any, None]], trigger: Trigger) -> bool:
    with anyio.CancelScope() as scope:
        trigger.cancel = scope.cancel
        await work()
    return scope.cancelled_caught


@dataclass(frozen=True)
class How:
    """A manner of cancelling, in which kind of event loop, and how often."""

    manner: Manner
    loop: str = "asyncio"
    times: int = 1


MANNERS = {
    "once": How(by_task),
    "twice": How(by_task, times=2),
    "thrice": How(by_task, times=3),
    "timeout": How(by_timeout),
    "scope": How(by_scope),
    "trio": How(by_scope, "trio"),
}


@types.coroutine
def stepped(work: Coroutine[Any, Any, None], after_step: Callable[[], None]) -> Generator[Any, Any, None]:
    """Run `work`, and call `after_step` each time that it waits for something."""
    value, error = None, None
    while True:
        try:
            awaited = work.send(value) if error is None else work.throw(error)
        except StopIteration:
            return
        after_step()
        value, error = None, None
        try:
            value = yield awaited
        except BaseException as thrown:  # noqa: BLE001 - it is thrown on
            error = thrown


def soon_in(loop: str) -> Callable[[Callable[[], object]], object]:
    """Return what lets the running event loop call something, from any thread."""
    if loop == "trio":
        return trio.lowlevel.current_trio_token().run_sync_soon
    return asyncio.get_running_loop().call_soon_threadsafe


def after_rounds(
    soon: Callable[[Callable[[], object]], object], call: Callable[[], object], rounds: int = ROUNDS
) -> None:
    """Have `call` called after some rounds of the event loop."""
    soon(functools.partial(after_rounds, soon, call, rounds - 1) if rounds else call)
