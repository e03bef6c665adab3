"""The repository: every statement that convo executes, over a Session or a Connection that its caller owns.

For those who want a conversation's rows in their own transaction. Reads return values, never rows; a write appends
its event to the conversation's journal; nothing is committed here. `Store` is the layer above, which does.
"""

from __future__ import annotations

from convo.store.erasing import Erasing
from convo.store.exporting import Exporting
from convo.store.factors import Factors
from convo.store.importing import Importing
from convo.store.regeneration import Regeneration


class ConversationRepository(Erasing, Regeneration, Exporting, Importing, Factors):
    """Conversations, their turns, forks and journals, in the transaction of the caller's session.

    The session's engine must follow convo's rules on SQLite (`BEGIN IMMEDIATE`, foreign keys): take it from
    `Store(engine).engine`.
    """
