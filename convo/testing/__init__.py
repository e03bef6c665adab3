"""For those who test a bot: a model that says what the test wants, and factories that fill a store.

    client = ScriptedClient("Hello.", ModelError("down"), "Better now.")
    with Store("sqlite://", client=client) as store: …

The factories need factory-boy: ``from convo.testing.factories import ConversationFactory``.
"""

from __future__ import annotations

from convo.testing.scripted import Script as Script
from convo.testing.scripted import ScriptedClient as ScriptedClient

__all__ = ["Script", "ScriptedClient"]
