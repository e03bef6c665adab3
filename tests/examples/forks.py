"""Python programs that are forked from a warm process, tests.examples.warm; it is started for the first of them."""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
from typing import Any

from tests.examples.fakes import HANGS_S
from tests.processes import HERE, environment


class Warm:
    """The process that programs are forked from."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        self._channel.settimeout(HANGS_S)
        command = [sys.executable, "-W", "error", "-m", "tests.examples.warm"]
        self._process = subprocess.Popen(command, cwd=HERE, env=environment(HERE), stdin=theirs)
        theirs.close()
        self._answers = self._channel.makefile()

    def ask(self, *files: int, **request: Any) -> Any:
        """Ask for something by a line of JSON, with files beside it; return the answer."""
        line = json.dumps(request).encode() + b"\n"
        assert len(line) == socket.send_fds(self._channel, [line], files)
        answer = self._answers.readline()
        assert answer, f"the warm process has ended: {self._process.wait(HANGS_S)}"
        return json.loads(answer)

    def close(self) -> None:
        self._answers.close()
        self._channel.close()
        self._process.kill()  # it would end by itself, unless it hangs
        self._process.wait()


@functools.cache
def warm() -> Warm:
    """Return the one of this process."""
    started = Warm()
    atexit.register(started.close)
    return started


class Fork:
    """A program that was forked, with as much of a Popen as its tests need."""

    def __init__(self, command: list[str], given: dict[str, str], stderr: int) -> None:
        self.pid = warm().ask(stderr, command=command, environment=environment(HERE) | given)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self) -> int:
        return self._wait(0)

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            self.returncode = warm().ask(pid=self.pid, options=options)
        return self.returncode

    def send_signal(self, by: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, by)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
