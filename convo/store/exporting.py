"""The statements of an export: which conversations are meant, and what is read of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select, text

from convo.store import rows
from convo.store.auditing import LONG_ROWS, Auditing
from convo.store.preferences import Preferences
from convo.store.rows import CONVERSATIONS
from convo.values import ConversationRecord, Turn

TURNS_READ = 100
"""How many turns are read at once, with all their texts."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Some conversations."""

    ids: Sequence[str] | None = None
    """None for all."""
    owner: str | None = None
    """None for everyone's."""
    since: datetime | None = None
    """Something has happened in each of them since then; None for ever."""

    @property
    def is_everything(self) -> bool:
        """Whether all conversations of the store are meant."""
        return self == Selection()

    def of(self, wanted: Select[Any]) -> Select[Any]:
        """Return a statement on conversations that keeps to these."""
        if self.ids is not None:
            wanted = wanted.where(CONVERSATIONS.c.id.in_(self.ids))
        if self.owner is not None:
            wanted = wanted.where(CONVERSATIONS.c.owner == self.owner)
        return wanted if self.since is None else wanted.where(CONVERSATIONS.c.updated_at >= self.since)


class Exporting(Preferences, Auditing):
    """Everything that is read to write conversations down."""

    def wait_for_reader(self) -> None:
        """Let the transaction idle while whoever reads what is written takes his time: a pager, a slow disk."""
        if self._is_postgresql:
            self._execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))

    def selected(self, which: Selection) -> Iterator[ConversationRecord]:
        """Yield these conversations by id, to be read as they come."""
        wanted = which.of(select(CONVERSATIONS)).order_by(CONVERSATIONS.c.id)
        yield from map(rows.conversation, self._as_they_come(wanted))

    def selected_ids(self, which: Selection) -> Iterator[str]:
        """Yield their ids, in order."""
        wanted = which.of(select(CONVERSATIONS.c.id)).order_by(CONVERSATIONS.c.id)
        yield from (row.id for row in self._as_they_come(wanted))

    def count_selected(self, which: Selection) -> int:
        """Return how many turns they have."""
        counted = which.of(select(func.coalesce(func.sum(CONVERSATIONS.c.turn_count), 0)))
        return int(self._execute(counted).scalar_one())

    def all_turns(self, record: ConversationRecord) -> Iterator[Turn]:
        """Yield all turns of a conversation, from the opening, some read at a time."""
        for low in range(record.first_position, record.turn_count + 1, TURNS_READ):
            yield from self._turns(record, low, min(low + TURNS_READ - 1, record.turn_count))

    def _as_they_come(self, wanted: Select[Any]) -> Iterator[rows.AnyRow]:
        for some in self._partitions(wanted, LONG_ROWS):
            yield from some
