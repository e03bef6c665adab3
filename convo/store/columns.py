"""Column types that hold the same value on SQLite and on PostgreSQL.

SQLite's tables are STRICT, which knows only INTEGER, REAL, TEXT, BLOB and ANY (https://sqlite.org/stricttables.html).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, LargeBinary, Text, TypeDecorator, Uuid
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, TypeEngine

from convo.errors import StoredDataError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

EpochMs = BigInteger().with_variant(Integer(), "sqlite")
"""Milliseconds since 1970: what leases are compared in, by the database's clock."""


class Blob(LargeBinary):
    """Bytes, as the drivers take them at once: psycopg as they are, sqlite3 as a bytearray.

    What is neither a bytearray, a number nor a text, sqlite3 looks for an adapter of, which costs more than the rest.
    """

    def bind_processor(self, dialect: Dialect) -> Callable[[bytes | None], bytearray | None] | None:
        """Return what turns bytes into what the driver is given."""
        return _bytearray if dialect.name == "sqlite" else None


_EMPTY = bytearray()


def _bytearray(value: bytes | None) -> bytearray | None:
    return None if value is None else _EMPTY + value  # bytearray(5) would be five zeros


class ConversationId(TypeDecorator[str]):
    """A UUID, as its text in Python: 16 bytes on SQLite, a uuid on PostgreSQL."""

    impl = Blob
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the column on this database."""
        return dialect.type_descriptor(Blob(16) if dialect.name == "sqlite" else Uuid(as_uuid=False))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ANN401 - bytes or text, by database
        """Turn the id's text into the column's value."""
        return bytes.fromhex(value.replace("-", "")) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any | None, dialect: Dialect) -> str | None:  # noqa: ANN401 - bytes or text, by database
        """Turn the column's value into the id's text."""
        if value is None or dialect.name != "sqlite":
            return value
        digits = value.hex()
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def microseconds(at: datetime) -> int:
    """Return an aware time in microseconds since 1970: as SQLite has it."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def moment_of(microseconds: int) -> datetime:
    """Return the aware UTC time that microseconds() was given.

    Raises:
        OverflowError: it is none of the years 1 to 9999.
    """
    return _EPOCH + timedelta(0, 0, microseconds)


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC datetime: microseconds since 1970 on SQLite, timestamptz on PostgreSQL."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the column on this database."""
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:  # noqa: ANN401 - number or time, by database
        """Turn a time into the column's value; a naive one is refused, as its zone is unknown."""
        if value is None:
            return None
        if value.tzinfo is None:
            msg = f"{value} has no time zone"
            raise ValueError(msg)
        return microseconds(value) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ANN401 - number or time, by database
        """Turn the column's value into a UTC time."""
        if value is None:
            return None
        try:
            return moment_of(value) if dialect.name == "sqlite" else value.astimezone(UTC)
        except OverflowError:
            raise StoredDataError("a stored time is none: restore the store from a backup") from None


_JSON = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class Json(TypeDecorator[Mapping[str, Any]]):
    """A JSON object as text, with sorted keys: a database's own JSON type would change numbers and repeat keys."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Mapping[str, Any] | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Turn an object into its text."""
        if value is None:
            return None
        return _JSON.encode(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Mapping[str, Any] | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Turn the text back into the object."""
        if value is None:
            return None
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise StoredDataError("a stored JSON text cannot be read: restore the store from a backup")
        return found


class as_stored_time(FunctionElement[Any]):  # noqa: N801 - a function in SQL, written as one
    """A UtcTime as the database has it, whatever it is: microseconds on SQLite, its text with its era on PostgreSQL."""

    type = NullType()
    inherit_cache = True


@compiles(as_stored_time, "sqlite")
def _time_sqlite(element: as_stored_time, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - the hook's signature
    return str(compiler.process(element.clauses, **options))


@compiles(as_stored_time, "postgresql")
def _time_postgresql(element: as_stored_time, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - the hook's signature
    at = f"{compiler.process(element.clauses, **options)} AT TIME ZONE 'UTC'"
    return f"to_char({at}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US AD')"


class database_now_ms(FunctionElement[int]):  # noqa: N801 - a function in SQL, written as one
    """The database's clock in milliseconds since 1970, at this moment rather than at the transaction's start."""

    type = EpochMs
    inherit_cache = True


class event_turn(FunctionElement[int]):  # noqa: N801 - a function in SQL, written as one
    """The turn of which an event's body tells: its argument is that body, canonical JSON as bytes."""

    type = Integer()
    inherit_cache = True


@compiles(event_turn, "sqlite")
def _turn_sqlite(element: event_turn, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - the hook's signature
    # As text: json_extract() takes bytes for SQLite's own binary form.
    return f"json_extract(CAST({compiler.process(element.clauses, **options)} AS TEXT), '$.turn')"


@compiles(event_turn, "postgresql")
def _turn_postgresql(element: event_turn, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - the hook's signature
    return f"CAST(convert_from({compiler.process(element.clauses, **options)}, 'UTF8')::json ->> 'turn' AS INTEGER)"


@compiles(database_now_ms, "sqlite")
def _now_sqlite(element: database_now_ms, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401, ARG001 - the hook's signature
    # unixepoch('subsec') is NULL before SQLite 3.42; julianday is not.
    return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


@compiles(database_now_ms, "postgresql")
def _now_postgresql(element: database_now_ms, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401, ARG001 - the hook's signature
    # now() is the transaction's start: after waiting for a lock, a lease would be born short by the wait.
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"
