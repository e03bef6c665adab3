"""For those who test a bot: models that say what the test wants, factories that fill a store, faults and a checker.

    client = ScriptedClient("Hello.", ModelError("down"), Streamed(["Better ", "now."]))
    with Store("sqlite://", client=client) as store: …

    with FaultPoints(store.engine, at=kill_at(7)): …        # in a process of its own: dies at the 7th point
    assert violations(store, acknowledged=heard) == []      # afterwards: nothing lost, doubled or changed

The factories need factory-boy: ``from convo.testing.factories import ConversationFactory``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from convo.testing.history import HistoryClient as HistoryClient
from convo.testing.history import expected_reply as expected_reply
from convo.testing.scripted import Script as Script
from convo.testing.scripted import ScriptedClient as ScriptedClient
from convo.testing.scripted import Streamed as Streamed

if TYPE_CHECKING:
    from convo.testing.checker import Acknowledged as Acknowledged
    from convo.testing.checker import violations as violations
    from convo.testing.faultpoints import FaultPoints as FaultPoints
    from convo.testing.faultpoints import kill_at as kill_at

__all__ = [
    "Acknowledged",
    "FaultPoints",
    "HistoryClient",
    "Script",
    "ScriptedClient",
    "Streamed",
    "expected_reply",
    "kill_at",
    "violations",
]

_HOMES = {
    "Acknowledged": "convo.testing.checker",
    "FaultPoints": "convo.testing.faultpoints",
    "kill_at": "convo.testing.faultpoints",
    "violations": "convo.testing.checker",
}
"""These look into the database: they are loaded when they are first used, as SQLAlchemy is not light."""


def __getattr__(name: str) -> object:
    """Load a name from its module (PEP 562)."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
