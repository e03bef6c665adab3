"""Processes that may be killed: forked in milliseconds from one that has imported convo and opened nothing.

A store must not be shared across a fork; each process opens its own.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [f"tests.faults.{name}" for name in ("warm", "boundaries", "kills", "senders", "mutations", "test_imports")]
)

_CHILDREN = threading.Lock()
"""Starting a process looks after all others: two threads that read how one ended would tell it to one of them only."""

Tell = Callable[[Any], None]
"""How a process tells its parent something, at once: what was told before it is killed is heard."""


class Worker:
    """A process that runs `target(tell, *given)`."""

    def __init__(self, target: Callable[..., None], *given: Any) -> None:
        self._ear, mouth = CONTEXT.Pipe(duplex=False)
        self.process = CONTEXT.Process(target=_run, args=(mouth, target, given), daemon=True)
        with _CHILDREN:
            self.process.start()
        mouth.close()
        self.heard: list[Any] = []

    def kill(self, by: signal.Signals = signal.SIGKILL) -> None:
        os.kill(self.process.pid, by)

    def end(self) -> list[Any]:
        """Wait until it has ended; return what it told."""
        while True:
            try:
                self.heard.append(self._ear.recv())
            except (EOFError, OSError):  # a message that was cut off was not told
                break
        wait([self.process.sentinel])
        with _CHILDREN:
            self.process.join()
        self._ear.close()
        failed = [each for each in self.heard if isinstance(each, Failed)]
        assert not failed, failed[0].trace
        return self.heard

    @property
    def was_killed(self) -> bool:
        return self.process.exitcode == -signal.SIGKILL


class Failed:
    """An exception that ended a process."""

    def __init__(self, trace: str) -> None:
        self.trace = trace


def _run(mouth: Connection, target: Callable[..., None], given: tuple[Any, ...]) -> None:
    try:
        target(mouth.send, *given)
    except BaseException:  # noqa: BLE001 - the parent shows it
        mouth.send(Failed(traceback.format_exc(limit=-3)))
