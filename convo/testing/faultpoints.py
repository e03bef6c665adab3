"""Every point at which a program that uses a store may die, numbered: for tests that break it at each one in turn.

    with FaultPoints(store.engine) as points:                       # once, to learn what there is
        talk.send("hello")
    for number in range(1, len(points.names) + 1):                  # then, in a process of its own for each:
        with FaultPoints(store.engine, at=kill_at(number)):
            talk.send("hello")

A point is a boundary: before and after each statement (BEGIN on SQLite is one), at the beginning of a transaction,
before and after COMMIT and ROLLBACK; and around each call of a model, for a client that went through `client()`.
They are SQLAlchemy's own events: nothing of convo knows that it is watched.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, event

from convo.clients.base import ChatClient, ChatReply, ChatRequest
from convo.types import Model

At = Callable[[int, str], object]
"""What is called at each point, with its number, from 1, and its name; it may raise, wait, or end the process."""


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
        """What was passed so far, in order: "before COMMIT", "after INSERT INTO convo_turns", "before the model"."""

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

    def client(self, client: ChatClient) -> ChatClient:
        """Return `client` with a point before each call and one after each answer."""
        return _WatchedClient(client, self)

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
    """A client with a point on each side of its calls."""

    def __init__(self, client: ChatClient, points: FaultPoints) -> None:
        self._client = client
        self._points = points

    def get_model(self, name: str) -> Model:
        """Return the model as the client tells it."""
        return self._client.get_model(name)

    def chat(self, request: ChatRequest, *, deadline_s: float) -> ChatReply:
        """Let the client answer."""
        self._points.reach("before the model")
        reply = self._client.chat(request, deadline_s=deadline_s)
        self._points.reach("after the model")
        return reply


def _told(statement: str) -> str:
    """Return the verb of a statement, and the first table of convo's that it names."""
    words = statement.split()
    table = next((each.strip('"(),.') for each in words[1:] if each.startswith("convo_") and "." not in each), "")
    return f"{words[0]} {table}".strip() if words else "a statement"
