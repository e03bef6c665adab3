"""The processes that the systems run in, as the benchmarks see them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

from benchmarks.places import Place

HERE = Path(__file__).parents[1]
CLOSING_S = 60.0
"""How long a process may take to end."""


class Failed(Exception):
    """A system could not do what was asked of it; the text says why."""


def seed(system: str, place: Place, messages: int, conversations: int = 1) -> list[str]:
    """Fill a new database, in a process of its own; return the ids of the conversations.

    Raises:
        Failed: the system could not.
    """
    with Worker(system, place.url, "--seed", str(messages), "--conversations", str(conversations)) as worker:
        ids: list[str] = worker.told["ids"]
    place.settle()
    return ids


class Worker:
    """A process with one system, whose store is open; for a `with`."""

    def __init__(self, system: str, url: str, *options: str) -> None:
        """Start it, and wait until it can be asked.

        Raises:
            Failed: it ended before.
        """
        self.system = system
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - end() closes it
        self._process = subprocess.Popen(  # noqa: S603 - this program
            [sys.executable, "-m", "benchmarks.worker", system, url, *options],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        try:
            self.told = self._answer()
        except Failed:
            self.end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def ask(self, do: str, **given: object) -> dict[str, Any]:
        """Let it do something; return what it tells.

        Raises:
            Failed: it could not.
        """
        if self._process.stdin is None or self._process.poll() is not None:
            raise Failed(self._last_words())
        self._process.stdin.write(json.dumps({"do": do, **given}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Close its input, on which it ends; kill it if it does not."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(CLOSING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            self._process.wait()
            raise Failed(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1] if lines else f"the process of {self.system} ended"
