"""What the next prompts of conversations can be made of, as far as it was read: kept for as long as nothing happens.

A conversation's journal stands where it stood only if nothing has happened to it, in whatever process: its head binds
all that ever did. So what was read before is what would be read again, and the next turn reads none of its history.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from convo.store.rows import LatestTurn
from convo.values import ConversationRecord, Example, Message

MOST_CHARACTERS = 16 * 2**20
"""Of the texts that a store keeps in memory, over all conversations; those that were used last are kept."""


@dataclass(frozen=True, slots=True)
class Window:
    """The newest messages of a conversation, oldest first, without turns of which a text was erased; its examples."""

    messages: Sequence[Message]
    first_turn: int
    """The oldest turn that was read."""
    examples: Sequence[Example] = ()
    """By position, erased ones too."""
    latest: LatestTurn | None = None
    """The last turn, which is settled."""

    def unread(self, record: ConversationRecord) -> int:
        """Return how many messages are older than what was read."""
        return max(2 * self.first_turn - 1 - record.first_position, 0)

    def newest(self, first_turn: int, budget: int, cost: Callable[[Message], int]) -> tuple[Window, int]:
        """Return as little of it as costs more than `budget` and goes back to turn `first_turn`; and what it costs."""
        tokens = 0
        for index in range(len(self.messages) - 1, -1, -1):
            message = self.messages[index]
            turn = message.turn or 0
            if tokens > budget and turn < first_turn and turn != self.messages[index + 1].turn:
                return replace(self, messages=self.messages[index + 1 :], first_turn=turn + 1), tokens
            tokens += cost(message)
        return self, tokens

    def followed_by(self, turn: LatestTurn, question: Message, reply: Message) -> Window:
        """Return it with a further turn."""
        return replace(self, messages=(*self.messages, question, reply), latest=turn)


class Windows:
    """The windows of a store's latest turns. Safe to share between threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._kept: OrderedDict[str, tuple[bytes, Window, int]] = OrderedDict()
        self._characters = 0

    def of(self, record: ConversationRecord) -> Window | None:
        """Return what can be said without reading; None when something happened since."""
        kept = self._kept.get(record.id)
        return kept[1] if kept is not None and kept[0] == record.journal_head else None

    def keep(self, record: ConversationRecord, window: Window) -> None:
        """Keep a window for the conversation as `record` has it."""
        characters = sum([len(each.content or "") for each in window.messages])
        with self._guard:
            self._drop(record.id)
            if characters > MOST_CHARACTERS:
                return
            self._kept[record.id] = record.journal_head, window, characters
            self._characters += characters
            while self._characters > MOST_CHARACTERS:
                self._drop(next(iter(self._kept)))

    def drop(self, id: str) -> None:
        """Keep nothing of a conversation: a text of it was erased, or all of it."""
        with self._guard:
            self._drop(id)

    def clear(self) -> None:
        """Keep nothing."""
        with self._guard:
            self._kept.clear()
            self._characters = 0

    def _drop(self, id: str) -> None:
        dropped = self._kept.pop(id, None)
        if dropped is not None:
            self._characters -= dropped[2]
