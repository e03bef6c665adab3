"""What the next prompts of conversations can be made of, as far as it was read: kept for as long as nothing happens.

A conversation's journal stands where it stood only if nothing has happened to it, in whatever process: its head binds
all that ever did. So what was read before is what would be read again, and the next turn reads none of its history.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from convo.journal import sealed_message
from convo.store.rows import LatestTurn
from convo.values import ConversationRecord, Example, Message

MOST_CHARACTERS = 16 * 2**20
"""Of the texts that a store keeps in memory, over all conversations; those that were used last are kept."""


class Window(NamedTuple):
    """The newest messages of a conversation, oldest first, without turns of which a text was erased; its examples."""

    messages: Sequence[Message]
    first_turn: int
    """The oldest turn that was read."""
    examples: Sequence[Example] = ()
    """By position, erased ones too."""
    latest: LatestTurn | None = None
    """The last turn, which is settled."""
    sealed: Sequence[str] = ()
    """The newest messages, as they stand in the digest of a prompt: those that were sent."""
    tokens: int = 0
    """Of all messages, by the estimate. A turn changes it by what it adds and drops; so, too, the characters."""
    characters: int = 0

    def cost(self, overhead: int) -> int:
        """Return the estimate of all messages as sent, where a service adds `overhead` to each."""
        return self.tokens + overhead * len(self.messages)

    def newest(self, first_turn: int, budget: int, overhead: int) -> Window:
        """Return as little of it as costs more than `budget` and goes back to turn `first_turn`."""
        start, left = 0, self.cost(overhead)
        for index, (each, following) in enumerate(pairwise(self.messages), start=1):
            turn = each.turn or 0
            left -= each.tokens + overhead
            if left <= budget or turn >= first_turn:
                break
            if turn != following.turn:
                start = index
        if start == 0:
            return self
        dropped, kept = self.messages[:start], self.messages[start:]
        return self._replace(
            messages=kept,
            first_turn=(dropped[-1].turn or 0) + 1,
            sealed=self.sealed[max(len(self.sealed) - len(kept), 0) :],
            tokens=self.tokens - _tokens(dropped),
            characters=self.characters - _characters(dropped),
        )

    def preceded_by(self, older: Sequence[Message], first_turn: int) -> Window:
        """Return it with what was read before it, from turn `first_turn`."""
        return self._replace(
            messages=(*older, *self.messages),
            first_turn=first_turn,
            tokens=self.tokens + _tokens(older),
            characters=self.characters + _characters(older),
        )

    def sealing(self, count: int) -> Window:
        """Return it with the newest `count` messages sealed, and no others."""
        known = self.sealed[max(len(self.sealed) - count, 0) :]
        others = self.messages[len(self.messages) - count : len(self.messages) - len(known)]
        return self._replace(sealed=(*map(sealed_message, others), *known))

    def followed_by(self, turn: LatestTurn, *said: Message) -> Window:
        """Return it with a further turn, and what was said in it."""
        return self._replace(
            messages=(*self.messages, *said),
            latest=turn,
            sealed=(*self.sealed, *map(sealed_message, said)),
            tokens=self.tokens + _tokens(said),
            characters=self.characters + _characters(said),
        )


def _tokens(messages: Sequence[Message]) -> int:
    return sum([each.tokens for each in messages])


def _characters(messages: Sequence[Message]) -> int:
    return sum([len(each.content or "") for each in messages])


class Windows:
    """The windows of a store's latest turns. Safe to share between threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._kept: OrderedDict[str, tuple[bytes, Window]] = OrderedDict()
        self._characters = 0

    def of(self, record: ConversationRecord) -> Window | None:
        """Return what can be said without reading; None when something happened since."""
        kept = self._kept.get(record.id)
        return kept[1] if kept is not None and kept[0] == record.journal_head else None

    def keep(self, record: ConversationRecord, window: Window) -> None:
        """Keep a window for the conversation as `record` has it."""
        with self._guard:
            self._drop(record.id)
            if window.characters > MOST_CHARACTERS:
                return
            self._kept[record.id] = record.journal_head, window
            self._characters += window.characters
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
            self._characters -= dropped[1].characters
