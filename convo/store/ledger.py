"""The journal in the store: no write without its event, in the same transaction."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Connection, Executable, Result, Table, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, SessionTransaction

from convo import journal
from convo.copies import replace
from convo.store import rows
from convo.store.prepared import FOUND, Driver, Prepared, Rows, Values, Write
from convo.store.rows import CONVERSATIONS, EVENTS
from convo.store.windows import Windows
from convo.values import ConversationRecord, Event

_OF_CONVO = {"clause": CONVERSATIONS}
"""Which engine is meant, where a session has several."""

Outcome_co = TypeVar("Outcome_co", covariant=True)
Other = TypeVar("Other")

BATCH = 1000
"""How many rows go to the database at once when many are stored."""


def new_salt() -> bytes:
    """Return a fresh salt for one text."""
    return secrets.token_bytes(journal.SALT_BYTES)


def utc_now() -> datetime:
    """Return the time, in the milliseconds in which it stands in the journal."""
    return journal.in_milliseconds(datetime.now(UTC))


@functools.cache
def inserting(table: Table, columns: tuple[str, ...], **expressions: ColumnElement[Any]) -> Prepared:
    """Return the statement that stores a row of a conversation, with these columns, and others by `expressions`.

    Where the conversation's own row was found first, it is a row of that one.
    """
    found = {"conversation_id": FOUND.c.id}
    given = [found.get(name, bindparam(name, type_=table.c[name].type)) for name in columns] + [*expressions.values()]
    if_found = insert(table).from_select([*columns, *expressions], select(*given).select_from(FOUND))
    return Prepared(insert(table).values(expressions), columns, if_found=if_found)


def inserted(table: Table, row: Values) -> Write:
    """Return the write that stores a row."""
    return inserting(table, tuple(row)), row


@functools.cache
def _changing(columns: tuple[str, ...]) -> Prepared:
    """Return the statement that sets these columns of a conversation's own row."""
    return Prepared(update(CONVERSATIONS).where(CONVERSATIONS.c.id == bindparam("of")), columns)


@functools.cache
def _changing_if_unchanged(columns: tuple[str, ...]) -> Prepared:
    """Return the statement that does the same if nothing happened to the conversation."""
    of = CONVERSATIONS.c
    is_same = (of.id == bindparam("of"), of.owner == bindparam("owned_by"), of.journal_head == bindparam("seen_head"))
    return Prepared(update(CONVERSATIONS).where(*is_same).returning(of.id), columns)


class Trace(NamedTuple):
    """What a transaction leaves behind, by which it is known again when its COMMIT was not answered."""

    conversation: str
    version: int | None
    """Of the last event; None when the conversation was deleted."""
    head: bytes = b""


class Stroke(NamedTuple, Generic[Outcome_co]):
    """A whole transaction that is known before it begins: it is made if its conversation is still as it was seen."""

    advance: Write
    """Brings the conversation's row up to date, if that is so."""
    writes: Sequence[Write]
    """Of that conversation alone."""
    trace: Trace
    outcome: Outcome_co
    """What is true after it."""

    def leading_to(self, outcome: Other) -> Stroke[Other]:
        """Return the same stroke, with more told of what is true after it."""
        return Stroke(self.advance, self.writes, self.trace, outcome)


class Ledger:
    """A session, or a connection, in which every write appends its event. The caller owns the transaction."""

    def __init__(self, session: Session | Connection | Driver, windows: Windows | None = None) -> None:
        self._found: Driver | None = None
        self._session = session
        self.windows = windows or Windows()
        self._of: SessionTransaction | None = None
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
        return self._driver.connection.execute(statement, values)

    def _run(self, statement: Prepared, values: Values) -> Rows:
        return self._driver.execute(statement, values)

    @property
    def _driver(self) -> Driver:
        """What drives the connection; a session is asked for that once in each transaction, as it takes 40 µs."""
        if isinstance(self._session, Driver):
            return self._session
        if isinstance(self._session, Connection):
            if self._found is None:
                self._found = Driver(self._session)
            return self._found
        transaction = self._session.get_transaction()
        if self._found is None or transaction is None or self._of is not transaction:
            self._found = Driver(self._session.connection(bind_arguments=_OF_CONVO))
            self._of = self._session.get_transaction()
        return self._found

    @property
    def _is_postgresql(self) -> bool:
        return self._driver.is_postgresql

    def _insert_unless_taken(self, conversation: Mapping[str, Any]) -> bool:
        """Store a conversation's own row; False, and nothing done, when its owner has another one of that name."""
        dialect = postgresql if self._is_postgresql else sqlite
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
        self,
        record: ConversationRecord,
        kind: str,
        body: Mapping[str, Any],
        at: datetime,
        *writes: Write,
        **changes: object,
    ) -> ConversationRecord:
        """Append one event and bring the conversation's row up to date, with `changes` to its columns.

        `writes` are what the event tells of.
        """
        number, event = made_event(record, kind, body, at)
        values, advanced = _advanced(record, number, event["digest"], at, changes)
        changed = _changing(tuple(values)), {"of": record.id, **values}
        self._driver.write(*writes, inserted(EVENTS, event), changed)
        self.trace = Trace(record.id, number, event["digest"])
        return advanced

    def _link(
        self, record: ConversationRecord, kind: str, bodies: Iterable[Mapping[str, Any]], at: datetime
    ) -> ConversationRecord:
        """Append events of one kind, in order; the conversation's row is yet to be brought up to date."""
        events = []
        for body in bodies:
            number, event = made_event(record, kind, body, at)
            record = replace(record, version=number, journal_head=event["digest"])
            events.append(event)
        self._insert_many(EVENTS, events)
        return record

    def _advance(
        self, record: ConversationRecord, length: int, head: bytes, at: datetime, **changes: object
    ) -> ConversationRecord:
        values, advanced = _advanced(record, length, head, at, changes)
        self._run(_changing(tuple(values)), {"of": record.id, **values})
        self.trace = Trace(record.id, length, head)
        return advanced


def _advanced(
    record: ConversationRecord, length: int, head: bytes, at: datetime, changes: Mapping[str, object]
) -> tuple[dict[str, object], ConversationRecord]:
    """Return the columns of a conversation's row that change, and the conversation after that."""
    values = {"journal_length": length, "journal_head": head, "updated_at": at, **changes}
    counters = {name: changes[name] for name in ("turn_count", "fence") if name in changes}
    kept: Any = {"updated_at": values["updated_at"], **counters}
    return values, replace(record, version=length, journal_head=head, **kept)


def stroke(
    record: ConversationRecord,
    kind: str,
    body: Mapping[str, Any],
    at: datetime,
    *writes: Write,
    **changes: object,
) -> Stroke[ConversationRecord]:
    """Return what Ledger._append() does, as a stroke; and the conversation after it."""
    number, event = made_event(record, kind, body, at)
    values, advanced = _advanced(record, number, event["digest"], at, changes)
    seen = {"of": record.id, "owned_by": record.owner, "seen_head": record.journal_head}
    advance = _changing_if_unchanged(tuple(values)), seen | values
    return Stroke(advance, (*writes, inserted(EVENTS, event)), Trace(record.id, number, event["digest"]), advanced)


def made_event(
    record: ConversationRecord, kind: str, body: Mapping[str, Any], at: datetime
) -> tuple[int, dict[str, Any]]:
    """Return the next event of a conversation's journal: its number, and the columns of its row."""
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
