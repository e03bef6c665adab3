"""Threads for what an event loop cannot wait for itself: transactions, and clients that cannot be awaited.

anyio's own threads would not do. asyncio's Task.cancel() passes through anyio's shields, so that a transaction would be
left alone in the middle, and its place given to the next one; and a process waits at its end for a client that hangs.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, Literal, TypeVar

import anyio
import anyio.lowlevel

from convo.errors import StoreBusy

Result = TypeVar("Result")

APART = 40
"""How many of a kind of work are waited for apart at once, in one event loop: as many as anyio's own default."""

Kind = Literal["call", "limits", "close"]
"""What a client is asked for: an answer, a model's limits, or to hang up, which waits for nobody."""

IDLE_S = 10.0
"""How long a thread waits for the next such client."""


class Threads:
    """At most `size` threads, started when they are needed; more work waits for its turn, in order."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._executor: ThreadPoolExecutor | None = None
        self._guard = threading.Lock()

    async def run(self, work: Callable[[], Result], *, must_run: bool = False) -> Result:
        """Run `work` to its end in a thread, and let others run meanwhile.

        Cancelled, work that waits for a thread is dropped, unless it `must_run`; what has begun is finished first.
        """
        if not must_run:
            await anyio.lowlevel.checkpoint_if_cancelled()
        job = _Job(work)
        try:
            with self._guard:  # or a store that is being closed would end the threads in between
                if self._executor is None:
                    self._executor = ThreadPoolExecutor(self.size, "convo")
                self._executor.submit(job.run)
        except RuntimeError as error:  # there can be no more threads, or the process is at its end
            if job.outcome.cancel():  # none of those that there are has taken it
                if must_run:
                    return work()
                raise StoreBusy("there is no thread for a transaction, as the process has too many") from error
        cancelled: BaseException | None = None
        while not job.ended.is_set():
            try:
                with anyio.CancelScope(shield=must_run or cancelled is not None):
                    await job.ended.wait()
            except GeneratorExit:  # nobody waits any more
                raise
            except BaseException as error:  # noqa: BLE001 - asyncio's own cancellations and trio's Ctrl-C see no shield
                cancelled = error
                if not must_run and job.outcome.cancel():
                    break
        if cancelled is not None:
            raise cancelled
        return job.outcome.result()

    def close(self) -> None:
        """Wait until all work is done, and end the threads; new work will start new ones."""
        with self._guard:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown()


def context_for_thread() -> contextvars.Context:
    """Return a copy of the caller's context variables, in which no event loop runs: clients may have their own."""
    context = contextvars.copy_context()
    with contextlib.suppress(ModuleNotFoundError):  # newer releases of anyio do without it
        from sniffio import current_async_library_cvar

        context.run(current_async_library_cvar.set, None)
    return context


async def run_apart(work: Callable[[], Result], kind: Kind = "call") -> Result:
    """Run `work` in a thread beside the stores'; whoever is cancelled leaves it to itself.

    It is for what may take for ever. A thread cannot be stopped, but neither the next ones nor the end of the process
    wait for one that was left. Of a kind at most APART run at once in one event loop. A crowd that comes at once so
    begins one by one, and does not keep the loop for as long as all its beginnings take together.
    """
    try:
        apart = _APART.get()
    except LookupError:
        _APART.set(apart := _Apart())
    async with apart.limiters.get(kind, contextlib.nullcontext()):
        job = _Job(work)
        apart.add(job)
        await job.ended.wait()
        return job.outcome.result()


class _Apart:
    """The threads of one event loop that no process waits for; one is used again until it was idle for IDLE_S.

    Thread.start() waits until the thread runs. Beside ten busy ones that held the loop for 150 ms at a time, when
    1,000 senders asked for a model's limits at once and each got a new thread.
    """

    def __init__(self) -> None:
        self.limiters = {kind: anyio.CapacityLimiter(APART) for kind in ("call", "limits")}
        self._jobs: deque[_Job[Any]] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._idle = 0
        self._is_one_coming = False

    def add(self, job: _Job[Any]) -> None:
        """Have `job` done: by a thread that is idle, else by a new one."""
        with self._changed:
            self._jobs.append(job)
            is_one_wanted = self._is_one_wanted()
        if is_one_wanted:
            self._start()

    def _is_one_wanted(self) -> bool:
        """Return whether a thread is to be started for the jobs that wait; nobody else starts one until it runs.

        It has the next one started before it begins with its job: so a crowd that comes at once has the loop start one
        thread, and a job that hangs keeps nobody waiting.
        """
        if len(self._jobs) <= self._idle:
            self._changed.notify(len(self._jobs))
            return False
        is_one_wanted, self._is_one_coming = not self._is_one_coming, True
        return is_one_wanted

    def _start(self) -> None:
        try:
            threading.Thread(target=self._serve, name="convo client", daemon=True).start()
        except BaseException as error:
            with self._changed:
                self._is_one_coming = False
                unserved = [self._jobs.pop() for _ in range(len(self._jobs) - self._idle)]
            if not isinstance(error, RuntimeError):
                raise
            for each in unserved:  # there can be no more threads: the callers hear it, and nobody does it later
                each.fail(error)

    def _serve(self) -> None:
        with self._changed:
            self._is_one_coming = False
        while (job := self._next()) is not None:
            job.run()
            del job  # or what it returned would be kept while we wait

    def _next(self) -> _Job[Any] | None:
        with self._changed:
            while not self._jobs:
                self._idle += 1
                is_wanted = self._changed.wait(IDLE_S)
                self._idle -= 1
                if not is_wanted and not self._jobs:
                    return None
            job = self._jobs.popleft()
            is_one_wanted = self._is_one_wanted()
        if is_one_wanted:
            self._start()
        return job


class _Job(Generic[Result]):
    """Work for a thread, and what an event loop needs to wait for it."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self.outcome: Future[Result] = Future()
        self.ended = anyio.Event()
        self._work = work
        self._context = context_for_thread()
        self._token = anyio.lowlevel.current_token()

    def run(self) -> None:
        if not self.outcome.set_running_or_notify_cancel():
            return
        try:
            self.outcome.set_result(self._context.run(self._work))
        except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
            self.outcome.set_exception(error)
        _wake(self._token, self.ended.set)

    def fail(self, error: Exception) -> None:
        """Let whoever waits hear that nobody does the work."""
        if self.outcome.set_running_or_notify_cancel():
            self.outcome.set_exception(error)
            _wake(self._token, self.ended.set)


def _wake(token: anyio.lowlevel.EventLoopToken, call: Callable[[], object]) -> None:
    """Have `call` called in an event loop, without waiting for it; a loop that is closed waits for nothing."""
    loop: Any = token.native_token
    wake = loop.call_soon_threadsafe if hasattr(loop, "call_soon_threadsafe") else loop.run_sync_soon
    with contextlib.suppress(RuntimeError):
        wake(call)


_APART: anyio.lowlevel.RunVar[_Apart] = anyio.lowlevel.RunVar("convo_apart")
