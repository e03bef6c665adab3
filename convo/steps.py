"""What a turn waits for, as values: the turn's own logic asks for them, and each shell performs them in its own way.

`exchange` is written once, as generators that yield steps and are sent the outcomes. Conversation performs each step
where it stands, AsyncConversation awaits it; neither knows what comes next.
"""

from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from convo.call import call
from convo.clients.base import AnyClient, ChatRequest, Delta
from convo.models import resolve
from convo.streaming import END, stream
from convo.values import Parameters

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Work:
    """To wait for the store. Once it has begun it is finished, even if the caller is cancelled meanwhile."""

    run: Callable[[], Any]
    must_run: bool = False
    """Also when the caller was cancelled before it has begun: an answer was paid for, or a turn is to be settled."""


@dataclass(frozen=True, slots=True)
class Resolve:
    """To find out who answers for a model's name, and within which limits: a Service. Its client may have to ask."""

    name: str
    client: AnyClient | None
    deadline_s: float
    limit: int | None = None
    """Stands in for the model's own when nobody tells that."""
    parameters: Parameters = Parameters()
    """What the model is to be asked with, and has to have."""
    needs_key: bool = True
    """Whether the client is to answer, too, and not only to be looked at."""

    @property
    def wanted(self) -> dict[str, Any]:
        """The arguments of resolve() by name."""
        names = ("deadline_s", "limit", "parameters", "needs_key")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Call:
    """To ask a model for a whole answer: a ChatReply."""

    client: AnyClient
    request: ChatRequest
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Listen:
    """To ask a model for an answer in pieces: what Next and Close take."""

    client: AnyClient
    request: ChatRequest
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Next:
    """To wait for the next piece of an answer: a Delta, which is END after the last one."""

    pieces: Any


@dataclass(frozen=True, slots=True)
class Close:
    """To stop listening."""

    pieces: Any


@dataclass(frozen=True, slots=True)
class Show:
    """To hand a piece to the reader, and to go on when he asks for the next one."""

    piece: Delta


@dataclass(frozen=True, slots=True)
class Pause:
    """To wait for a time."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Await:
    """To wait until `event` is set, for at most some seconds."""

    event: Any
    seconds: float


Step = Work | Resolve | Call | Listen | Next | Close | Show | Pause | Await
Steps = Generator[Step, Any, Result]


class Left(BaseException):
    """Thrown into steps whose reader has closed his stream: not GeneratorExit, after which nothing could be settled."""


class Progress(Generic[Result]):
    """How far steps have come, and what they are to be told next."""

    def __init__(self, steps: Steps[Result]) -> None:
        self._steps = steps
        self._go_on: Callable[[], Step] = partial(next, steps)
        self._exit: GeneratorExit | None = None
        self.result: Result
        """What came of them, at their end."""

    @property
    def is_over(self) -> bool:
        """Whether there is no further step."""
        return inspect.getgeneratorstate(self._steps) == inspect.GEN_CLOSED

    def next(self) -> Step | None:
        """Return the next step; None at the end."""
        try:
            return self._go_on()
        except StopIteration as end:
            self.result = end.value
            return None
        except Left:
            if self._exit is not None:
                raise self._exit from None
            raise

    def done(self, outcome: object) -> None:
        """Let the steps go on with the outcome of the last one."""
        self._go_on = partial(self._steps.send, outcome)

    def failed(self, error: BaseException) -> None:
        """Let the steps go on with what went wrong."""
        if isinstance(error, GeneratorExit):
            self._exit, error = error, Left()
        self._go_on = partial(self._steps.throw, error)


def advance(progress: Progress[Any]) -> Delta | None:
    """Perform steps until there is a piece to show; None at the end. Whatever goes wrong, Ctrl-C too, they are told."""
    while True:
        try:
            step = progress.next()
            if step is None:
                return None
            if isinstance(step, Show):
                progress.done(None)
                return step.piece
            progress.done(perform(step))
        except BaseException as error:
            if progress.is_over:
                raise
            progress.failed(error)


def outcome(steps: Steps[Result]) -> Result:
    """Perform steps to their end, and return what comes of them."""
    progress = Progress(steps)
    advance(progress)
    return progress.result


def pieces(steps: Steps[Any]) -> Generator[Delta, None, None]:
    """Perform steps, and yield the pieces that they show; closed early, they settle what they have begun."""
    progress = Progress(steps)
    try:
        while (piece := advance(progress)) is not None:
            yield piece
    except BaseException:
        if not progress.is_over:
            progress.failed(Left())
            with contextlib.suppress(Left):
                advance(progress)
        raise


def perform(step: Step) -> Any:  # noqa: ANN401 - each step has an outcome of its own
    """Wait for a step where we stand."""
    match step:
        case Work(run):
            return run()
        case Resolve(name, client):
            return resolve(name, client, **step.wanted)
        case Call(client, request, deadline_s):
            return call(client, request, deadline_s=deadline_s)  # type: ignore[arg-type]  # a Store has no others
        case Listen(client, request, deadline_s):
            return stream(client, request, deadline_s=deadline_s)  # type: ignore[arg-type]
        case Next(pieces):
            return next(pieces, END)
        case Close(pieces):
            return pieces.close()
        case Pause(seconds):
            return time.sleep(seconds)
        case Await(event, seconds):
            return event.wait(seconds)
