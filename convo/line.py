"""Lines of those who wait for a conversation, first come, first served; within one store."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol


class Event(Protocol):
    """What somebody in a line waits for."""

    def set(self) -> object:
        """Tell him that it is his turn."""
        ...


class Line:
    """A line for each conversation that somebody waits for. Safe to share between threads if its events are."""

    def __init__(self, event: Callable[[], Event]) -> None:
        """Let each one wait for what `event` makes."""
        self._event = event
        self._guard = threading.Lock()
        self._waiting: dict[str, deque[Event]] = {}

    def join(self, conversation: str) -> Event:
        """Return the event that is set when it is one's turn: at once when nobody else is there."""
        with self._guard:
            queue = self._waiting.setdefault(conversation, deque())
            queue.append(mine := self._event())
            if len(queue) == 1:
                mine.set()
            return mine

    def leave(self, conversation: str, mine: Event) -> None:
        """Let the next one have his turn, or be one less in the line."""
        with self._guard:
            queue = self._waiting[conversation]
            queue.remove(mine)
            if queue:
                queue[0].set()
            else:
                del self._waiting[conversation]
