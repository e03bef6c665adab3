"""Performs the steps of turns on an event loop, as `steps` itself does where it stands."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import RunVar, checkpoint

from convo.call import call_async
from convo.clients.base import Delta
from convo.models import resolve_async
from convo.steps import Await, Call, Close, Left, Listen, Next, Pause, Progress, Resolve, Show, Step, Steps, Work
from convo.streaming import END, stream_async
from convo.threads import Threads

Result = TypeVar("Result")

ENTERING = 500
"""How many turns begin in one pass of the event loop.

Of 1,000 that came at once (benchmarks.crowd) the longest pass took 41 to 65 ms without this, 36 to 40 ms with it. With
100 it took up to 270 ms now and then: later passes compute beside the busy threads of the database.
"""


class Performer:
    """Performs the steps of turns on an event loop."""

    def __init__(self) -> None:
        self.threads = Threads(1)
        self._under_way = 0
        self._is_quiet = anyio.Event()

    async def quiet(self, within_s: float) -> None:
        """Wait until nothing is under way, for at most `within_s` seconds: a cancelled turn has yet to be marked."""
        with anyio.move_on_after(within_s, shield=True):
            while self._under_way:
                await self._is_quiet.wait()

    async def run(self, work: Callable[[], Result]) -> Result:
        """Run a transaction in a thread."""
        return await self.threads.run(work)

    async def outcome(self, steps: Steps[Result]) -> Result:
        """Perform steps to their end, and return what comes of them."""
        progress = Progress(steps)
        with self._counted():
            await _enter()
            await self._advance(progress)
        return progress.result

    async def pieces(self, steps: Steps[Any]) -> AsyncGenerator[Delta, None]:
        """Perform steps, and yield the pieces that they show; closed early, they settle what they have begun."""
        progress = Progress(steps)
        with self._counted():
            await _enter()
            try:
                while (piece := await self._advance(progress)) is not None:
                    yield piece
            except BaseException:
                if not progress.is_over:
                    progress.failed(Left())
                    with contextlib.suppress(Left):
                        await self._advance(progress)
                raise

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._is_quiet.set()
                self._is_quiet = anyio.Event()

    async def _advance(self, progress: Progress[Any]) -> Delta | None:
        """Perform steps until there is a piece to show; None at the end. Whatever goes wrong, they are told."""
        while True:
            try:
                step = progress.next()
                if step is None:
                    return None
                if isinstance(step, Show):
                    progress.done(None)
                    return step.piece
                progress.done(await self._perform(step))
            except BaseException as error:
                if progress.is_over:
                    raise
                progress.failed(error)

    async def _perform(self, step: Step) -> Any:  # noqa: ANN401 - each step has an outcome of its own
        match step:
            case Work(run, must_run):
                return await self.threads.run(run, must_run=must_run)
            case Resolve(name, client):
                return await resolve_async(name, client, **step.wanted)
            case Call(client, request, deadline_s):
                return await call_async(client, request, deadline_s=deadline_s)
            case Listen(client, request, deadline_s):
                return stream_async(client, request, deadline_s=deadline_s)
            case Next(pieces):
                return await anext(pieces, END)
            case Close(pieces):
                await pieces.aclose()
            case Pause(seconds):
                await anyio.sleep(seconds)
            case Await(event, seconds):
                with anyio.move_on_after(seconds):
                    await event.wait()
        return None


async def _enter() -> None:
    """Wait for a place among those that begin in this pass of the event loop."""
    try:
        entrance = _ENTRANCE.get()
    except LookupError:
        _ENTRANCE.set(entrance := anyio.CapacityLimiter(ENTERING))
    async with entrance:
        await checkpoint()


_ENTRANCE: RunVar[anyio.CapacityLimiter] = RunVar("convo_entrance")
