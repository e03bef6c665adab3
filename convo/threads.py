"""Threads of a store's own, in which an event loop has its transactions run.

anyio's own threads would not do: asyncio's Task.cancel() passes through anyio's shields, so that a transaction would
be left alone in the middle, and its place given to the next one.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

Result = TypeVar("Result")


class Threads:
    """At most `size` threads, started when they are needed; more work waits for its turn, in order."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._executor: ThreadPoolExecutor | None = None

    async def run(self, work: Callable[[], Result], *, must_run: bool = False) -> Result:
        """Run `work` to its end in a thread, and let others run meanwhile.

        Cancelled, work that waits for a thread is dropped, unless it `must_run`; what has begun is finished first.
        """
        if not must_run:
            await anyio.lowlevel.checkpoint_if_cancelled()
        outcome: Future[Result] = Future()
        ended = anyio.Event()
        context, token = contextvars.copy_context(), anyio.lowlevel.current_token()

        def whole() -> None:
            try:
                outcome.set_result(context.run(work))
            except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
                outcome.set_exception(error)
            _wake(token, ended.set)

        waiting = self._running().submit(whole)
        cancelled: BaseException | None = None
        while not ended.is_set():
            try:
                with anyio.CancelScope(shield=must_run or cancelled is not None):
                    await ended.wait()
            except anyio.get_cancelled_exc_class() as error:  # asyncio's own passes through the shield, every time
                cancelled = error
                if not must_run and waiting.cancel():
                    break
        if cancelled is not None:
            raise cancelled
        return outcome.result()

    def close(self) -> None:
        """Wait until all work is done, and end the threads; new work will start new ones."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown()

    def _running(self) -> ThreadPoolExecutor:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self.size, "convo")
        return self._executor


def _wake(token: anyio.lowlevel.EventLoopToken, call: Callable[[], object]) -> None:
    """Have `call` called in an event loop, without waiting for it; a loop that is closed waits for nothing."""
    loop: Any = token.native_token
    wake = loop.call_soon_threadsafe if hasattr(loop, "call_soon_threadsafe") else loop.run_sync_soon
    with contextlib.suppress(RuntimeError):
        wake(call)
