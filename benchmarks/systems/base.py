"""What the benchmarks ask of a system: to be filled, opened, and taken turns with.

Light to import: it counts as part of what each system needs to start.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable
from typing import ClassVar


class Session(ABC):
    """An opened store, as an application keeps it; its conversations are resumed by id in a fresh object each time.

    Of an async system all methods are coroutines.
    """

    @abstractmethod
    def turn(self, id: str, question: str, answer: str) -> int | Awaitable[int]:
        """Take a turn, and return how many messages were in the prompt.

        Resume the conversation, append the user's message, build the prompt, append the model's answer.
        """

    @abstractmethod
    def resume(self, id: str) -> object:
        """Open the conversation, reading what that takes and no more."""

    @abstractmethod
    def export(self, id: str, file: str) -> int | Awaitable[int]:
        """Write all messages of the conversation as JSON lines; return how many there are."""

    @abstractmethod
    def close(self) -> object:
        """Give back connections and the like."""


class System(ABC):
    """A way to keep conversations in a database."""

    is_async: ClassVar[bool] = False
    is_shared: ClassVar[bool] = True
    """Whether threads may use one session at the same time."""

    @abstractmethod
    def seed(self, url: str, messages: int, conversations: int) -> list[str]:
        """Store so many conversations, each of so many messages; return their ids.

        The database is new. Its rows become those that the system itself would have written, however they get there.
        """

    @abstractmethod
    def open(self, url: str) -> Session:
        """Open the store; the conversations are there."""


def is_sqlite(url: str) -> bool:
    """Return whether a URL means a file."""
    return url.startswith("sqlite:")


def file_of(url: str) -> str:
    """Return the path of an SQLite database."""
    return url.removeprefix("sqlite:///")


def with_driver(url: str, sqlite: str, postgres: str) -> str:
    """Return the URL with the name of a driver, as SQLAlchemy wants it; "" for its own choice."""
    kind, rest = url.split(":", 1)
    driver = sqlite if is_sqlite(url) else postgres
    return f"{kind}+{driver}:{rest}" if driver else url


def write_lines(file: str, messages: Iterable[tuple[str, object]]) -> int:
    """Write the role and the text of each message as a line of JSON; return how many there were."""
    count = 0
    with open(file, "w", encoding="utf-8") as lines:  # noqa: PTH123 - pathlib is not light
        for role, content in messages:
            lines.write(json.dumps({"role": role, "content": content}, ensure_ascii=False) + "\n")
            count += 1
    return count


def newest_that_fit(costs: Iterable[int], limit: int) -> int:
    """Return how many of the newest messages fit, given what each costs, newest first."""
    count, left = 0, limit
    for cost in costs:
        left -= cost
        if left < 0:
            break
        count += 1
    return count
