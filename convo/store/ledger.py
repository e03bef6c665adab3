"""The journal in the store: no write without its event, in the same transaction."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Executable, Result, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from convo import journal
from convo.store import rows
from convo.store.rows import CONVERSATIONS, EVENTS
from convo.values import ConversationRecord, Event

BATCH = 1000
"""How many rows go to the database at once when many are stored."""


def new_salt() -> bytes:
    """Return a fresh salt for one text."""
    return secrets.token_bytes(journal.SALT_BYTES)


def utc_now() -> datetime:
    """Return the time, in the milliseconds in which it stands in the journal."""
    return journal.in_milliseconds(datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Trace:
    """What a transaction leaves behind, by which it is known again when its COMMIT was not answered."""

    conversation: str
    version: int | None
    """Of the last event; None when the conversation was deleted."""
    head: bytes = b""


class Ledger:
    """A session in which every write appends its event. The caller owns the transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.trace: Trace | None = None
        """Of what was written so far; None while nothing was."""

    def finds(self, trace: Trace) -> bool:
        """Return whether the transaction that leaves `trace` was committed; waits for it if it still is under way."""
        of_it = select(CONVERSATIONS.c.id).where(CONVERSATIONS.c.id == trace.conversation)
        exists = self._execute(of_it.with_for_update()).first() is not None
        if trace.version is None or not exists:
            return not exists and trace.version is None
        digest = select(EVENTS.c.digest).where(
            EVENTS.c.conversation_id == trace.conversation, EVENTS.c.number == trace.version
        )
        return bool(self._execute(digest).scalar() == trace.head)

    def events(self, record: ConversationRecord) -> list[Event]:
        """Return the journal of the conversation, oldest first."""
        of_it = select(EVENTS).where(EVENTS.c.conversation_id == record.id).order_by(EVENTS.c.number)
        return [rows.event(row) for row in self._execute(of_it)]

    def _execute(
        self, statement: Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> Result[Any]:
        return self._session.execute(statement, values)

    def _insert_unless_taken(self, conversation: Mapping[str, Any]) -> bool:
        """Store a conversation's own row; False, and nothing done, when its owner has another one of that name."""
        dialect = postgresql if self._session.get_bind().dialect.name == "postgresql" else sqlite
        unless_taken = dialect.insert(CONVERSATIONS).on_conflict_do_nothing(index_elements=["owner", "name"])
        return self._execute(unless_taken.returning(CONVERSATIONS.c.id), conversation).scalar() is not None

    def _insert_many(self, table: Any, values: Iterable[Mapping[str, Any]]) -> None:  # noqa: ANN401 - SQLAlchemy's insert target
        batch: list[Mapping[str, Any]] = []
        for each in values:
            batch.append(each)
            if len(batch) == BATCH:
                self._execute(insert(table), batch)
                batch = []
        if batch:
            self._execute(insert(table), batch)

    def _append(
        self, record: ConversationRecord, kind: str, body: Mapping[str, Any], at: datetime, **changes: object
    ) -> ConversationRecord:
        """Append one event and bring the conversation's row up to date, with `changes` to its columns."""
        number, event = _event(record, kind, body, at)
        self._execute(insert(EVENTS), event)
        return self._advance(record, number, event["digest"], at, **changes)

    def _link(
        self, record: ConversationRecord, kind: str, bodies: Iterable[Mapping[str, Any]], at: datetime
    ) -> ConversationRecord:
        """Append events of one kind, in order; the conversation's row is yet to be brought up to date."""
        events = []
        for body in bodies:
            number, event = _event(record, kind, body, at)
            record = replace(record, version=number, journal_head=event["digest"])
            events.append(event)
        self._insert_many(EVENTS, events)
        return record

    def _advance(
        self, record: ConversationRecord, length: int, head: bytes, at: datetime, **changes: object
    ) -> ConversationRecord:
        values = {"journal_length": length, "journal_head": head, "updated_at": at, **changes}
        self._execute(update(CONVERSATIONS).where(CONVERSATIONS.c.id == record.id).values(values))
        self.trace = Trace(record.id, length, head)
        counters = {name: changes[name] for name in ("turn_count", "fence") if name in changes}
        return replace(record, version=length, journal_head=head, updated_at=values["updated_at"], **counters)  # type: ignore[arg-type]  # the two counters are integers


def _event(record: ConversationRecord, kind: str, body: Mapping[str, Any], at: datetime) -> tuple[int, dict[str, Any]]:
    number = record.version + 1
    content = journal.canonical({"at": journal.timestamp(at), **body})
    digest = journal.link(record.journal_head, number, kind, content)
    return number, {
        "conversation_id": record.id,
        "number": number,
        "kind": kind,
        "digest": digest,
        "body": content,
    }
