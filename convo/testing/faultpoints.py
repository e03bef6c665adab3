"""Every point at which a program that uses a store may die, numbered: for tests that break it at each one in turn.

    with FaultPoints(store.engine) as points:                       # once, to learn what there is
        talk.send("hello")
    for number in range(1, len(points.names) + 1):                  # then, in a process of its own for each:
        with FaultPoints(store.engine, at=kill_at(number)):
            talk.send("hello")

A point is a boundary: before and after each statement (BEGIN on SQLite is one), at the beginning of a transaction,
before and after COMMIT and ROLLBACK; and around each call of a model, and each piece of its stream, for a client that
went through `client()`. Those of transactions are passed in the thread that runs them, also for an AsyncStore.
They are SQLAlchemy's own events: nothing of convo knows that it is watched.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from sqlalchemy import Connection, Engine, event

from convo.clients.base import AnyClient, ChatReply, ChatRequest, Delta
from convo.values import Model

Client = TypeVar("Client", bound=AnyClient)

At = Callable[[int, str], object]
"""What is called at each point, with its number, from 1, and its name; it may raise, wait, or end the process."""


_WRITES = re.compile(r"(INSERT|UPDATE)(?: INTO)? (convo_\w+)")
"""What a statement of PostgreSQL has in it that is several."""


def kill_at(number: int) -> At:
    """Return what ends this process at point `number` as `kill -9` does: nothing is cleaned up.

    Only where there is such a signal: not on Windows.
    """

    def at(reached: int, name: str) -> None:  # noqa: ARG001 - the hook's signature
        if reached == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return at


class FaultPoints:
    """Numbers the points that an engine, and the clients of `client()`, pass inside a `with`, over all threads."""

    def __init__(self, engine: Engine, at: At | None = None) -> None:
        """Watch `engine`, and the engines made of it by `execution_options()`; call `at` at each point."""
        self._engine = engine
        self._at = at
        self._lock = threading.Lock()
        self._thread = threading.local()
        self._is_on = False
        self._hooks: dict[str, Callable[..., None]] = {
            "begin": self._begin,
            "before_cursor_execute": self._before_statement,
            "after_cursor_execute": self._after_statement,
            "commit": self._commit,
            "rollback": self._rollback,
            "reset": self._reset,
        }
        self.names: list[str] = []
        """What was passed so far, in order: "before COMMIT", "after SELECT convo_turns", "before the model"."""

    def __enter__(self) -> Self:
        for name, hook in self._hooks.items():
            event.listen(self._engine, name, hook)
        self._is_on = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_on = False
        for name, hook in self._hooks.items():
            event.remove(self._engine, name, hook)

    def client(self, client: Client) -> Client:
        """Return `client`, as able as it is, with points before each call and after each answer.

        In a stream there are two more around each piece: before it is handed on, and when the next one is asked for.
        """
        return cast("Client", _WatchedClient(client, self))

    def reach(self, name: str) -> None:
        """Pass a point of one's own; nothing outside the `with`."""
        if not self._is_on:
            return
        with self._lock:
            self.names.append(name)
            number = len(self.names)
        if self._at is not None:
            self._at(number, name)

    def _begin(self, connection: Connection) -> None:  # noqa: ARG002 - the hook's signature
        self.reach("at the beginning of a transaction")

    def _before_statement(self, connection: Any, cursor: Any, statement: str, *rest: Any) -> None:  # noqa: ANN401, ARG002 - the hook's signature
        self.reach(f"before {_told(statement)}")

    def _after_statement(self, connection: Any, cursor: Any, statement: str, *rest: Any) -> None:  # noqa: ANN401, ARG002 - the hook's signature
        self.reach(f"after {_told(statement)}")

    def _commit(self, connection: Connection) -> None:  # noqa: ARG002 - the hook's signature
        self._thread.ending = "COMMIT"
        self.reach("before COMMIT")

    def _rollback(self, connection: Connection) -> None:  # noqa: ARG002 - the hook's signature
        self._thread.ending = "ROLLBACK"
        self.reach("before ROLLBACK")

    def _reset(self, *given: Any) -> None:  # noqa: ANN401, ARG002 - the hook's signature
        # There is no event after a COMMIT: the first thing that happens is that the connection goes back to the pool.
        ending = self._thread.__dict__.pop("ending", None)
        if ending is not None:
            self.reach(f"after {ending}")


class _WatchedClient:
    """A client with a point on each side of its calls; it has those ways to be called that the client has."""

    def __init__(self, client: Any, points: FaultPoints) -> None:  # noqa: ANN401 - it may lack some of the ways
        self._client = client
        self._points = points
        watched = {
            "chat": self._chat,
            "stream": self._stream,
            "chat_async": self._chat_async,
            "stream_async": self._stream_async,
        }
        self.__dict__.update({name: way for name, way in watched.items() if hasattr(client, name)})

    def get_model(self, name: str) -> Model:
        """Return the model as the client tells it."""
        return cast("Model", self._client.get_model(name))

    def _chat(self, request: ChatRequest, *, deadline_s: float) -> ChatReply:
        with self._call():
            return cast("ChatReply", self._client.chat(request, deadline_s=deadline_s))

    async def _chat_async(self, request: ChatRequest, *, deadline_s: float) -> ChatReply:
        with self._call():
            return cast("ChatReply", await self._client.chat_async(request, deadline_s=deadline_s))

    def _stream(self, request: ChatRequest, *, deadline_s: float) -> Iterator[Delta]:
        with self._call():
            pieces = self._client.stream(request, deadline_s=deadline_s)
            try:
                for number, each in enumerate(pieces, start=1):
                    with self._piece(number):
                        yield each
            finally:
                if hasattr(pieces, "close"):
                    pieces.close()

    async def _stream_async(self, request: ChatRequest, *, deadline_s: float) -> AsyncIterator[Delta]:
        with self._call():
            pieces, number = self._client.stream_async(request, deadline_s=deadline_s), 0
            try:
                async for each in pieces:
                    number += 1
                    with self._piece(number):
                        yield each
            finally:
                if hasattr(pieces, "aclose"):
                    await pieces.aclose()

    @contextlib.contextmanager
    def _call(self) -> Iterator[None]:
        self._points.reach("before the model")
        yield
        self._points.reach("after the model")

    @contextlib.contextmanager
    def _piece(self, number: int) -> Iterator[None]:
        self._points.reach(f"before piece {number}")
        yield
        self._points.reach(f"after piece {number}")


def _told(statement: str) -> str:
    """Return the verb of a statement, and the first table of convo's that it names; of each write that it has in it."""
    words = statement.split()
    if words and words[0] == "WITH":
        return ", ".join(f"{verb} {table}" for verb, table in _WRITES.findall(statement)) or "WITH"
    table = next((each.strip('"(),.') for each in words[1:] if each.startswith("convo_") and "." not in each), "")
    return f"{words[0]} {table}".strip() if words else "a statement"
