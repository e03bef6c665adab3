"""The statements of an audit: everything of some conversations, each table read once, in the order of its keys.

Of the events those that may change turns of long ago are read beforehand, too.

Values come as the database has them, since one that was forged may be none of its type.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import chain, compress, groupby
from operator import itemgetter
from typing import Any, NamedTuple, cast

from sqlalchemy import ColumnElement, CursorResult, Select, Table, Text, select, type_coerce
from sqlalchemy.types import NullType

from convo.afterthoughts import KINDS, Afterthoughts
from convo.audits import Head
from convo.evidence import OF_REQUEST, TEXT_FIELDS, TURN_FIELDS, Evidence, Row, StoredConversation, StoredRows
from convo.store.columns import ConversationId, Json, UtcTime, as_stored_time, microseconds, moment_of
from convo.store.ledger import Ledger
from convo.store.rows import CONVERSATIONS, EVENTS, EXAMPLES, MESSAGES, TURNS

PAGE = 200
"""How many conversations are read in one transaction."""

ROWS, LONG_ROWS = 500, 20
"""How many rows of a table are fetched at once; and where contexts are among them."""


class Span(NamedTuple):
    """Some conversations, in the order of their ids."""

    after: str | None = None
    last: str | None = None
    only: str | None = None

    def where(self, id: ColumnElement[str]) -> list[ColumnElement[bool]]:
        """Return what is true of their ids."""
        if self.only is not None:
            return [id == self.only]
        bounds = [] if self.after is None else [id > self.after]
        return bounds if self.last is None else [*bounds, id <= self.last]


_EXAMPLE = ("position", "tokens", "input", "input_salt", "output", "output_salt")


class Auditing(Ledger):
    """Everything that is read to verify conversations."""

    _being_read: Sequence[CursorResult[Any]] = ()
    """Statements of which not all rows were fetched, and some that were read to their end."""

    @contextlib.contextmanager
    def reading_anything(self) -> Iterator[None]:
        """Read what is no UTF-8, too: SQLite's driver refuses all of a page otherwise, and PostgreSQL stores none."""
        if self._is_on_postgresql:
            yield
            return
        driver: Any = self._driver.connection.connection.dbapi_connection
        usual, driver.text_factory = driver.text_factory, partial(str, encoding="utf-8", errors="surrogateescape")
        try:
            yield
        finally:
            driver.text_factory = usual

    def heads_after(self, after: str | None) -> list[Head]:
        """Return where the journals of the next conversations stand, at most PAGE, in the order of their ids."""
        columns = (_raw(CONVERSATIONS, "id"), CONVERSATIONS.c.journal_length, CONVERSATIONS.c.journal_head)
        wanted = select(*columns).order_by(CONVERSATIONS.c.id).limit(PAGE)
        if after is not None:
            wanted = wanted.where(CONVERSATIONS.c.id > after)
        return [Head(_as_text(row.id), row.journal_length, row.journal_head) for row in self._execute(wanted)]

    def evidence(self, span: Span) -> Iterator[Evidence | str]:
        """Yield all rows of some conversations, to be read as they come; for rows that belong to none, their id."""
        read = partial(self._rows, span)
        may_come_late = EVENTS.c.kind.in_(KINDS)
        told = _Groups(read(EVENTS, ("number", "kind", "body"), may_come_late))
        events, turns, messages, examples = rest = self._groups(span)
        tables = (told, *rest)
        for row in read(CONVERSATIONS, StoredConversation._fields):
            yield from _strays(tables, row[0])
            yield Evidence(
                conversation=_conversation(row),
                events=events.of(row[0]),
                turns=turns.of(row[0]),
                messages=messages.of(row[0]),
                examples=list(examples.of(row[0])),
                afterthoughts=Afterthoughts((number, kind, body) for _, number, kind, body in told.of(row[0])),
                moment=_as_postgresql_has_it if self._is_on_postgresql else _as_sqlite_has_it,
            )
            for table in tables:
                table.leave(row[0])
        yield from _strays(tables, None)

    def whole(self, span: Span) -> Iterator[StoredRows]:
        """Yield all rows of some conversations, to be read as they come; those that belong to none are left out."""
        events, turns, messages, examples = tables = self._groups(span)
        for row in self._rows(span, CONVERSATIONS, StoredConversation._fields):
            for _ in _strays(tables, row[0]):
                pass
            yield StoredRows(
                conversation=_conversation(row),
                events=events.of(row[0]),
                turns=turns.of(row[0]),
                messages=messages.of(row[0]),
                examples=examples.of(row[0]),
                instant=_time_of_postgresql if self._is_on_postgresql else _time_of_sqlite,
            )
            for table in tables:
                table.leave(row[0])

    def _groups(self, span: Span) -> tuple[_Groups, _Groups, _Groups, _Groups]:
        """Return the events, turns, messages and examples of some conversations."""
        read = partial(self._rows, span)
        return (
            _Groups(read(EVENTS, ("number", "kind", "digest", "body"))),
            _Groups(read(TURNS, ("number", *TURN_FIELDS, *OF_REQUEST))),
            _Groups(read(MESSAGES, ("turn", "side", "candidate", *TEXT_FIELDS, "salt", "content"))),
            _Groups(read(EXAMPLES, _EXAMPLE)),
        )

    @property
    def _is_on_postgresql(self) -> bool:
        return self._is_postgresql

    def _rows(self, span: Span, table: Table, names: Sequence[str], *which: ColumnElement[bool]) -> Iterator[Row]:
        id = table.c.id if table is CONVERSATIONS else table.c.conversation_id
        wanted: Select[Any] = select(*(_raw(table, name) for name in dict.fromkeys((id.name, *names))))
        wanted = wanted.where(*span.where(id), *which).order_by(*table.primary_key.columns)
        size = LONG_ROWS if table in (CONVERSATIONS, EXAMPLES) else ROWS
        return chain.from_iterable(self._partitions(wanted, size))

    def _partitions(self, wanted: Select[Any], size: int) -> Iterator[Sequence[Any]]:
        """Yield the rows of a statement as they are asked for, some at a time."""
        read = cast("CursorResult[Any]", self._driver.connection.execute(wanted, execution_options={"yield_per": size}))
        is_open = [each.cursor is not None for each in self._being_read]
        self._being_read = [*compress(self._being_read, is_open), read]
        return read.partitions()

    @contextlib.contextmanager
    def leaving_nothing_open(self) -> Iterator[None]:
        """Close in the end what the block did not read to its end: while nobody else has the connection."""
        try:
            yield
        finally:
            for each in self._being_read:
                each.close()
            self._being_read = []


class _Groups:
    """The rows of a table by their conversations, in the order of ids; each group is read before the next is asked."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._groups = groupby(rows, itemgetter(0))
        self._next: tuple[Any, Iterator[Row]] | None = None
        self._advance()

    def _advance(self) -> None:
        self._next = next(self._groups, None)

    def leave(self, id: object) -> None:
        """Skip what was not read of one conversation."""
        if self._next is not None and self._next[0] == id:
            self._advance()

    def before(self, id: object) -> Iterator[object]:
        """Yield the ids of the groups before one, or of all that are left, and skip them."""
        while self._next is not None and (id is None or self._next[0] < id):
            yield self._next[0]
            self._advance()

    def of(self, id: object) -> Iterator[Row]:
        """Yield the rows of one conversation."""
        if self._next is not None and self._next[0] == id:
            yield from self._next[1]
            self._advance()


def _strays(tables: Sequence[_Groups], id: object) -> Iterator[str]:
    """Yield once the ids before one of which there are rows, and no conversation."""
    yield from sorted({_as_text(stray) for table in tables for stray in table.before(id)})


def _raw(table: Table, name: str) -> ColumnElement[Any]:
    """Return a column as the database has it; a time of PostgreSQL as its text, as it may be one beyond Python's."""
    column = table.c[name]
    if isinstance(column.type, UtcTime):
        return as_stored_time(column)
    if isinstance(column.type, Json):
        return type_coerce(column, Text())
    return type_coerce(column, NullType()) if isinstance(column.type, ConversationId) else column


def _conversation(row: Row) -> StoredConversation:
    stored = StoredConversation(*row)
    forked_from = None if stored.forked_from is None else _as_text(stored.forked_from)
    return stored._replace(id=_as_text(stored.id), forked_from=forked_from)


def _as_text(id: Any) -> str:  # noqa: ANN401 - bytes or a UUID, by database
    """Return an id as text, whatever somebody made of it."""
    if isinstance(id, bytes) and len(id) == 16:
        return str(uuid.UUID(bytes=id))
    return id.hex() if isinstance(id, bytes) else str(id)


def _as_postgresql_has_it(told: str) -> str:
    """Return a time of an event, milliseconds and Z, as as_stored_time() reads it there: microseconds, and the era."""
    return f"{told[:-1]}000 AD"


def _time_of_postgresql(stored: str) -> str:
    """Return a time that as_stored_time() has read there as text; one before our era, or after 9999, as it is."""
    at = stored.removesuffix(" AD")
    return f"{at.removesuffix('000')}Z"


def _time_of_sqlite(stored: int) -> str:
    """Return a time that as_stored_time() has read there as text.

    Raises:
        ValueError: it is none of the years 1 to 9999.
    """
    try:
        at = moment_of(stored)
    except OverflowError as error:
        raise ValueError(stored) from error
    return f"{at.replace(tzinfo=None).isoformat(timespec='microseconds').removesuffix('000')}Z"


def _as_sqlite_has_it(told: str) -> int | None:
    """Return a time of an event as as_stored_time() reads it there; None when it is none."""
    try:
        return microseconds(datetime.fromisoformat(told))
    except (ValueError, TypeError):
        return None
