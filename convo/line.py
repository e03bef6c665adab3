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
        self.new_place = event
        self.start_anew()

    def let_go(self) -> None:
        """Do nothing before a fork."""

    def start_anew(self) -> None:
        """Leave the lines to those who stand in them: after a fork, to the threads of the parent process."""
        # Entered again when the garbage collector closes, in the middle of it, a stream that stood in a line.
        self._guard = threading.RLock()
        self._waiting: dict[str, deque[Event]] = {}

    def join(self, conversation: str, mine: Event) -> None:
        """Stand in line with a new_place(), which is set when it is one's turn: at once when nobody else is there."""
        with self._guard:
            queue = self._waiting.setdefault(conversation, deque())
            queue.append(mine)
            self._waiting[conversation] = queue  # which may have been left by its last one just now
            queue[0].set()

    def leave(self, conversation: str, mine: Event) -> None:
        """Let the next one have his turn, or be one less in the line; nothing when one does not stand there."""
        with self._guard:
            queue = self._waiting.get(conversation, deque())
            if mine in queue:
                queue.remove(mine)
            if queue:
                queue[0].set()
            else:
                self._waiting.pop(conversation, None)
