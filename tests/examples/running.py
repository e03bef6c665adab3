"""The examples as processes of their own: started by their command, or forked from one that is warm."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import httpx

from tests.examples.fakes import HANGS_S
from tests.examples.forks import Fork
from tests.processes import HERE, environment

Process = subprocess.Popen[bytes] | Fork
Start = Callable[[list[str], dict[str, str], int], Process]
"""Starts Python with these arguments, with these variables in its environment, and with this file to log to."""


def started(command: list[str], given: dict[str, str], log: int) -> subprocess.Popen[bytes]:
    """Start Python anew: it takes half a second of processor time."""
    python = [sys.executable, "-W", "error", *command]
    return subprocess.Popen(python, cwd=HERE, env=environment(HERE) | given, stdout=subprocess.DEVNULL, stderr=log)


class Program:
    """A program that runs; what it logs is read as it comes."""

    def __init__(self, command: list[str], given: dict[str, str], start: Start = started) -> None:
        self._ear, mouth = os.pipe()
        self.process = start(command, given, mouth)
        os.close(mouth)
        self.log: list[str] = []
        self._told = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def line(self, pattern: str) -> re.Match[str]:
        """Return the first line of the log that has `pattern`, as soon as there is one."""

        def found() -> re.Match[str] | None:
            return next(filter(None, (re.search(pattern, each) for each in self.log)), None)

        with self._told:
            self._told.wait_for(lambda: found() or not self._reader.is_alive(), HANGS_S)
            match = found()
            assert match, self.log
            return match

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return how the program ended."""
        self.process.send_signal(by)
        return self.wait()

    def wait(self) -> int:
        """Return how the program ended, when it has; one that does not is killed."""
        self._reader.join(HANGS_S)  # its log ends with it
        if self._reader.is_alive():
            self.process.kill()
            raise TimeoutError(self.log)
        return self.process.wait()

    def _read(self) -> None:
        with os.fdopen(self._ear) as log:
            for line in log:
                with self._told:
                    self.log.append(line.rstrip())
                    self._told.notify_all()
        with self._told:
            self._told.notify_all()


@contextmanager
def running(*command: str, start: Start = started, **given: str) -> Iterator[Program]:
    """Run a Python program with these variables in its environment; ended with the block, if it still runs."""
    program = Program(list(command), given, start)
    try:
        yield program
    finally:
        if program.process.poll() is None:
            program.end()


@contextmanager
def serving(app: str, *options: str, **given: str) -> Iterator[tuple[Program, httpx.Client]]:
    """Serve an ASGI application on a free port; yield it and a client of it."""
    command = ["-m", "uvicorn", "--lifespan", "on", "--port", "0", *options, app]
    with running(*command, start=Fork, **given) as program, client_of(program) as client:
        yield program, client
    is_cancelled = any("timeout graceful shutdown exceeded" in line for line in program.log)  # uvicorn's own words
    assert is_cancelled or not any("Traceback" in line for line in program.log), program.log


def client_of(program: Program) -> httpx.Client:
    """Return a client of an application that is served."""
    return httpx.Client(base_url=program.line(r"running on (http://\S+)")[1], timeout=HANGS_S)


def command_of(example: ModuleType) -> list[str]:
    """Return the command in an example's docstring, for Python."""
    (line,) = re.findall(r"^    ((?:uvicorn|python) .*)$", str(example.__doc__), re.MULTILINE)
    program, *arguments = shlex.split(line, comments=True)
    return arguments if program == "python" else ["-m", program, "--port", "0", *arguments]
