"""The statements of an import: rows as a file tells of them, and what the store knows of them already."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Table, insert, select

from convo.audits import Head
from convo.store.auditing import Auditing
from convo.store.ledger import Trace
from convo.store.rows import CONVERSATIONS, EVENTS

HOLDER = "[imported]"
"""Whose the lease of a turn is that was being answered when it was exported: nobody's who lives."""


class Importing(Auditing):
    """Everything that is written of conversations which a file has."""

    def journal_of(self, id: str) -> tuple[str, Head] | None:
        """Return whose a conversation is, and where its journal stands; None when there is none."""
        columns = (CONVERSATIONS.c.owner, CONVERSATIONS.c.journal_length, CONVERSATIONS.c.journal_head)
        row = self._execute(select(*columns).where(CONVERSATIONS.c.id == id)).one_or_none()
        return None if row is None else (row.owner, Head(id, row.journal_length, row.journal_head))

    def goes_through(self, head: Head) -> bool:
        """Return whether a journal has that digest at that length."""
        digest = select(EVENTS.c.digest).where(EVENTS.c.conversation_id == head.conversation)
        return bool(self._execute(digest.where(EVENTS.c.number == head.length)).scalar() == head.digest)

    def insert_whole(self, conversation: Mapping[str, Any]) -> bool:
        """Store a conversation's own row, as it is told; False, and nothing done, when its name is taken."""
        self.trace = Trace(conversation["id"], conversation["journal_length"], conversation["journal_head"])
        return self._insert_unless_taken(conversation)

    def insert_rows(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store rows of a table, as they are told."""
        if rows:
            self._execute(insert(table), rows)

    @contextlib.contextmanager
    def undone_unless_whole(self) -> Iterator[None]:
        """Undo what was written in the block when it raises, and nothing that was written before."""
        trace = self.trace
        try:
            with self._driver.connection.begin_nested():
                yield
        except BaseException:
            self.trace = trace
            raise
