"""How many statements a turn is, counted at the driver: what the database is asked, whoever writes the SQL.

Counted are statements (without those that begin and end transactions), commits of transactions that wrote something,
and rows that were fetched. Only sessions that are opened inside `counted` are seen, and they are slower for it.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from benchmarks.systems.base import is_sqlite

TRANSACTIONAL = re.compile(r"\s*(BEGIN|COMMIT|END|ROLLBACK|SAVEPOINT|RELEASE)\b", re.IGNORECASE)
ENDING = re.compile(r"\s*(COMMIT|END|ROLLBACK(?! TO))\b", re.IGNORECASE)
WRITING = re.compile(r"\s*(INSERT|UPDATE|DELETE|REPLACE|WITH)\b", re.IGNORECASE)


@dataclass
class Counts:
    """What was asked of the database."""

    statements: int = 0
    commits: int = 0
    rows: int = 0


@contextlib.contextmanager
def counted(url: str) -> Iterator[Counts]:
    """Count over all connections that are opened meanwhile, through sqlite3, psycopg, or SQLAlchemy's asyncpg."""
    counts = Counts()
    with contextlib.ExitStack() as stack:
        if is_sqlite(url):
            stack.enter_context(_sqlite(counts))
        else:
            stack.enter_context(_psycopg(counts))
            with contextlib.suppress(ImportError):
                stack.enter_context(_asyncpg(counts))
        yield counts


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: object) -> Iterator[None]:  # noqa: ANN401 - a module or a class
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextlib.contextmanager
def _sqlite(counts: Counts) -> Iterator[None]:
    connect = sqlite3.connect

    def counting(*given: Any, **named: Any) -> sqlite3.Connection:  # noqa: ANN401 - sqlite3's signature
        connection: sqlite3.Connection = connect(*given, **named)
        connection.set_trace_callback(_tracer(connection, counts))
        connection.row_factory = _row_counter(counts)
        return connection

    with _replaced(sqlite3, "connect", counting), _replaced(sqlite3.dbapi2, "connect", counting):
        yield


def _row_counter(counts: Counts) -> Callable[[sqlite3.Cursor, tuple[Any, ...]], tuple[Any, ...]]:
    def make(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> tuple[Any, ...]:  # noqa: ARG001 - sqlite3's signature
        counts.rows += 1
        return row

    return make


def _tracer(connection: sqlite3.Connection, counts: Counts) -> Callable[[str], None]:
    """Return what SQLite tells each statement to, before it is executed."""
    has_written = False

    def trace(statement: str) -> None:
        nonlocal has_written
        if TRANSACTIONAL.match(statement) is None:
            counts.statements += 1
            if WRITING.match(statement) is not None:
                counts.commits += not connection.in_transaction  # it is a transaction of its own
                has_written = connection.in_transaction
        elif ENDING.match(statement) is not None:
            counts.commits += has_written and not statement.upper().lstrip().startswith("ROLLBACK")
            has_written = False

    return trace


@contextlib.contextmanager
def _psycopg(counts: Counts) -> Iterator[None]:
    import psycopg

    execute, executemany, commit = psycopg.Cursor.execute, psycopg.Cursor.executemany, psycopg.Connection.commit
    written: WeakSet[Any] = WeakSet()

    def seen(cursor: Any, query: Any) -> None:  # noqa: ANN401 - the driver's
        if TRANSACTIONAL.match(str(query)) is not None:
            return
        counts.statements += 1
        if WRITING.match(str(query)) is not None:
            counts.commits += _is_alone(cursor)
            written.add(cursor.connection)

    def counting(cursor: Any, query: Any, *given: Any, **named: Any) -> Any:  # noqa: ANN401 - psycopg's signature
        done = execute(cursor, query, *given, **named)
        seen(cursor, query)
        counts.rows += cursor.rowcount if cursor.description is not None else 0
        return done

    def counting_many(cursor: Any, query: Any, *given: Any, **named: Any) -> Any:  # noqa: ANN401 - psycopg's signature
        done = executemany(cursor, query, *given, **named)
        seen(cursor, query)
        return done

    def committing(connection: Any) -> None:  # noqa: ANN401 - psycopg's
        counts.commits += connection in written
        written.discard(connection)
        commit(connection)

    with (
        _replaced(psycopg.Cursor, "execute", counting),
        _replaced(psycopg.Cursor, "executemany", counting_many),
        _replaced(psycopg.Connection, "commit", committing),
    ):
        yield


def _is_alone(cursor: Any) -> bool:  # noqa: ANN401 - psycopg's
    """Return whether a statement was a transaction of its own: no other was open behind it."""
    import psycopg

    return bool(cursor.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE)


@contextlib.contextmanager
def _asyncpg(counts: Counts) -> Iterator[None]:
    from sqlalchemy import Engine, event

    written: WeakSet[Any] = WeakSet()

    def executed(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:  # noqa: ANN401, ARG001 - the hook's
        if connection.dialect.driver != "asyncpg":
            return
        counts.statements += 1
        counts.rows += cursor.rowcount if cursor.description else 0
        if WRITING.match(statement) is not None:
            written.add(connection)

    def committed(connection: Any) -> None:  # noqa: ANN401 - the hook's signature
        counts.commits += connection in written
        written.discard(connection)

    hooks: dict[str, Callable[..., None]] = {"after_cursor_execute": executed, "commit": committed}
    for name, hook in hooks.items():
        event.listen(Engine, name, hook)
    try:
        yield
    finally:
        for name, hook in hooks.items():
            event.remove(Engine, name, hook)
