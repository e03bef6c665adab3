"""The statements of an audit: everything of some conversations, each table read once, in the order of its keys.

Values come as the database has them, since one that was forged may be none of its type.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, Table, Text, func, select, text, type_coerce
from sqlalchemy.types import NullType

from convo.audits import Head
from convo.evidence import OF_REQUEST, TEXT_FIELDS, TURN_FIELDS, Evidence, Row, StoredConversation
from convo.replay import AFTERTHOUGHTS
from convo.store.ledger import Ledger
from convo.store.rows import CONVERSATIONS, EVENTS, EXAMPLES, MESSAGES, TURNS
from convo.told import Afterthought

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


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXAMPLE = ("position", "tokens", "input", "input_salt", "output", "output_salt")
_AS_TEXT = ("parameters", "metadata")
_AS_IT_IS = ("id", "conversation_id", "forked_from", "created_at", "updated_at", "finished_at")


class Auditing(Ledger):
    """Everything that is read to verify conversations."""

    def take_snapshot(self) -> None:
        """Let all that is read in this transaction be as it is at one moment; first of all statements."""
        if self._is_on_postgresql:  # SQLite does so by itself
            self._execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))

    @contextlib.contextmanager
    def reading_anything(self) -> Iterator[None]:
        """Read what is no UTF-8, too: SQLite's driver refuses all of a page otherwise, and PostgreSQL stores none."""
        if self._is_on_postgresql:
            yield
            return
        driver: Any = self._session.connection().connection.dbapi_connection
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

    def count_events(self) -> int:
        """Return how many events all journals have, by what the conversations tell of them."""
        return int(self._execute(select(func.coalesce(func.sum(CONVERSATIONS.c.journal_length), 0))).scalar_one())

    def evidence(self, span: Span) -> Iterator[Evidence | str]:
        """Yield all rows of some conversations, to be read as they come; for rows that belong to none, their id."""
        read = partial(self._rows, span)
        kinds = EVENTS.c.kind.in_(AFTERTHOUGHTS)
        events = _Groups(read(EVENTS, ("number", "kind", "digest", "body")))
        told = _Groups(read(EVENTS, ("number", "kind", "body"), kinds))
        turns = _Groups(read(TURNS, ("number", *TURN_FIELDS, *OF_REQUEST)))
        messages = _Groups(read(MESSAGES, ("turn", "side", "candidate", *TEXT_FIELDS, "salt", "content")))
        examples = _Groups(read(EXAMPLES, _EXAMPLE))
        tables = (events, told, turns, messages, examples)
        for row in read(CONVERSATIONS, _CONVERSATION):
            yield from _strays(tables, row[0])
            yield Evidence(
                conversation=_conversation(row),
                events=events.of(row[0]),
                turns=turns.of(row[0]),
                messages=messages.of(row[0]),
                examples=list(examples.of(row[0])),
                afterthoughts=[_afterthought(*each[1:]) for each in told.of(row[0])],
                moment=self._moment,
            )
        yield from _strays(tables, None)

    @property
    def _is_on_postgresql(self) -> bool:
        return self._session.get_bind().dialect.name == "postgresql"

    @property
    def _moment(self) -> Callable[[str], Any]:
        return _time if self._is_on_postgresql else _microseconds

    def _rows(self, span: Span, table: Table, names: Sequence[str], *which: ColumnElement[bool]) -> Iterator[Row]:
        id = table.c.id if table is CONVERSATIONS else table.c.conversation_id
        wanted: Select[Any] = select(*(_raw(table, name) for name in dict.fromkeys((id.name, *names))))
        wanted = wanted.where(*span.where(id), *which).order_by(*table.primary_key.columns)
        size = LONG_ROWS if table in (CONVERSATIONS, EXAMPLES) else ROWS
        read = self._session.execute(wanted, execution_options={"yield_per": size})
        return chain.from_iterable(read.partitions())


class _Groups:
    """The rows of a table by their conversations, in the order of ids; each group is read before the next is asked."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._groups = groupby(rows, itemgetter(0))
        self._next: tuple[Any, Iterator[Row]] | None = None
        self._advance()

    def _advance(self) -> None:
        self._next = next(self._groups, None)

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
    """Return a column as the database has it."""
    if name in _AS_TEXT:
        return type_coerce(table.c[name], Text())
    return type_coerce(table.c[name], NullType()) if name in _AS_IT_IS else table.c[name]


_CONVERSATION = (
    *("id", "owner", "name", "metadata", "user_author", "model_author", "label_salt", "model", "parameters"),
    *("input_token_limit", "trim", "context", "context_salt", "context_tokens", "title", "title_salt"),
    *("first_position", "turn_count", "fence", "journal_length", "journal_head", "forked_from", "forked_at"),
    *("created_at", "updated_at"),
)


def _conversation(row: Row) -> StoredConversation:
    of = dict(zip(_CONVERSATION, row, strict=True))
    forked_from = of.pop("forked_from")
    return StoredConversation(
        id=_as_text(of.pop("id")),
        authors=(of.pop("user_author"), of.pop("model_author")),
        forked_from=None if forked_from is None else _as_text(forked_from),
        **of,
    )


def _as_text(id: Any) -> str:  # noqa: ANN401 - bytes or a UUID, by database
    """Return an id as text, whatever somebody made of it."""
    if isinstance(id, bytes) and len(id) == 16:
        return str(uuid.UUID(bytes=id))
    return id.hex() if isinstance(id, bytes) else str(id)


def _afterthought(number: int, kind: str, body: bytes) -> Afterthought:
    """Return an event that is read beforehand; one that is no JSON is found when its turn comes."""
    try:
        return Afterthought(number, kind, json.loads(body))
    except ValueError:
        return Afterthought(number, kind, {})


def _time(told: str) -> datetime | None:
    """Return the time that an event tells; None when it is none."""
    try:
        return datetime.fromisoformat(told)
    except (ValueError, TypeError):
        return None


def _microseconds(told: str) -> int | None:
    """Return that time as SQLite has it."""
    at = _time(told)
    return None if at is None or at.tzinfo is None else (at - _EPOCH) // timedelta(microseconds=1)
