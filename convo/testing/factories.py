"""Factories (factory-boy) that fill a store, through the same doors as everybody."""

from __future__ import annotations

from typing import Any

import factory

from convo.conversation import Conversation
from convo.stores import Store


class ConversationFactory(factory.Factory):
    """Stores a conversation: ``ConversationFactory(store=store, turns=3)``.

    `turns` pairs of messages become its history; every argument of Store.create() may be given too.
    """

    class Meta:
        model = Conversation

    class Params:
        turns = 0

    model = "offline/echo"
    name = factory.Sequence(lambda number: f"conversation-{number}")
    messages = factory.LazyAttribute(lambda made: history(made.turns))

    @classmethod
    def _create(cls, model_class: type[Conversation], *args: Any, store: Store, **settings: Any) -> Conversation:  # noqa: ANN401, ARG003 - factory-boy's signature
        return store.create(**settings)


def history(turns: int, text: str = "message {}") -> list[str]:
    """Return the texts of `turns` turns; `text` is given each one's position, from 1."""
    return [text.format(position) for position in range(1, 2 * turns + 1)]
