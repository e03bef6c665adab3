"""The database's errors, as convo's: told by the codes that SQLite and PostgreSQL give, never by their words."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError

from convo.errors import (
    StoreBusy,
    StoreCorrupt,
    StoredDataError,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)

# https://sqlite.org/rescode.html
_SQLITE: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_BUSY: (StoreBusy, "another writer holds the store: try again"),
    sqlite3.SQLITE_LOCKED: (StoreBusy, "another writer holds the store: try again"),
    sqlite3.SQLITE_PROTOCOL: (StoreBusy, "other processes held the store's log: try again"),
    sqlite3.SQLITE_READONLY: (StoreReadOnly, "the store cannot be written: make the file and its folder writable"),
    sqlite3.SQLITE_PERM: (StoreReadOnly, "the store cannot be written: make the file and its folder writable"),
    sqlite3.SQLITE_IOERR: (StoreUnavailable, "the disk failed while the store was read or written"),
    sqlite3.SQLITE_CORRUPT: (StoreCorrupt, "the store is damaged: restore it from a backup"),
    sqlite3.SQLITE_NOTADB: (StoreCorrupt, "the file is not an SQLite database: name another one"),
    sqlite3.SQLITE_FULL: (StoreFull, "no space is left for the store: free some and try again"),
    sqlite3.SQLITE_CANTOPEN: (StoreUnavailable, "the store cannot be opened: check its path and its permissions"),
    sqlite3.SQLITE_CONSTRAINT: (StoredDataError, "the store refused a row that breaks its rules"),
}

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRES: dict[str, tuple[type[StoreError], str]] = {
    "40001": (StoreBusy, "other writers were faster: try again"),
    "40P01": (StoreBusy, "other writers were faster: try again"),
    "55P03": (StoreBusy, "another writer holds the conversation: try again"),
    "57014": (StoreBusy, "the database took too long: try again"),
    "25P03": (StoreUnavailable, "the connection to the database was lost: try again"),
    "25006": (StoreReadOnly, "the database is read-only: connect to the primary"),
    "53100": (StoreFull, "the database's disk is full: free some space and try again"),
    "42501": (StoreReadOnly, "the database's user may not write convo's tables: grant it the right"),
    "XX001": (StoreCorrupt, "the database reports damaged data: restore it from a backup"),
    "XX002": (StoreCorrupt, "the database reports a damaged index: rebuild it, or restore it from a backup"),
    "42P01": (StoreUnavailable, "convo's tables are not there: run `convo db upgrade`"),
}
_POSTGRES_CLASSES: dict[str, tuple[type[StoreError], str]] = {
    "08": (StoreUnavailable, "the connection to the database was lost: try again"),
    "57": (StoreUnavailable, "the database is going down or starting: try again"),
    "53": (StoreUnavailable, "the database has no resources left: try again"),
    "28": (StoreUnavailable, "the database refused the user or password"),
    "3D": (StoreUnavailable, "the server has no such database: create it"),
    "23": (StoredDataError, "the store refused a row that breaks its rules"),
    "58": (StoreUnavailable, "the server's disk or system failed: see its log"),
}

UNIQUE_VIOLATION, TIMED_OUT = "23505", "57014"

_CUT = ("57P01", "57P02", "57P03", "25P03")
"""The server goes down, has crashed, is starting; or it ended a transaction that stood still."""


def translate(error: DBAPIError, where: str, *, is_full: bool = False) -> StoreError:
    """Return convo's error for one of the database's; `where` names the store, without a password.

    `is_full` tells that the disk has no room left, for which SQLite has several codes.
    """
    kind, text = _SQLITE[sqlite3.SQLITE_FULL] if is_full else _told(error)
    return kind(f"{where}: {text}")


def is_busy(error: DBAPIError) -> bool:
    """Return whether the same transaction, run again from its beginning, may succeed at once.

    A unique violation is one of these: another writer was between our look and our write. A statement that took too
    long is not: it would take as long again.
    """
    if _sqlstate(error.orig) == TIMED_OUT:
        return False
    return issubclass(_told(error)[0], StoreBusy) or _sqlstate(error.orig) == UNIQUE_VIOLATION


def is_lost(error: DBAPIError) -> bool:
    """Return whether the connection to the server was lost, or cannot be made: a COMMIT may have had its effect."""
    if isinstance(error.orig, sqlite3.Error):
        return False
    state = _sqlstate(error.orig)
    if state is None:  # the server did not answer
        return isinstance(error, OperationalError | InterfaceError)
    return error.connection_invalidated or state in _CUT or state[:2] == "08"


_UNREACHED = "the database cannot be reached, or has no connection left: check the URL, and that the server runs"
"""Which of the two, libpq tells in words alone; they may name users and places."""


def is_of_disk(error: DBAPIError) -> bool:
    """Return whether SQLite says no more than that a write or a read failed."""
    code = getattr(error.orig, "sqlite_errorcode", 0)
    return isinstance(error.orig, sqlite3.Error) and code & 0xFF == sqlite3.SQLITE_IOERR


def quotes_a_row(error: DBAPIError) -> bool:
    """Return whether the database's own text may quote what was to be stored, as PostgreSQL's DETAIL does."""
    has_context = bool(getattr(getattr(error.orig, "diag", None), "context", None))  # log_parameter_max_length_on_error
    return has_context or isinstance(error, DataError) or (_sqlstate(error.orig) or "")[:2] in ("22", "23")


def _told(error: DBAPIError) -> tuple[type[StoreError], str]:
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        if code == 0 and isinstance(cause, sqlite3.OperationalError):  # Python's own: SQLite had no complaint
            return StoredDataError, "a stored text is not UTF-8: restore the store from a backup"
        return _SQLITE.get(code, (StoreError, f"SQLite failed with code {code}"))
    state = _sqlstate(cause)
    if state is None and isinstance(error, DataError):  # it was not even sent
        return StoreError, "the database cannot hold a value that was given"
    if state is None and not isinstance(error, OperationalError | InterfaceError):
        return StoreError, "the database's driver refused a statement"
    if state is None:  # no answer from the server at all
        return StoreUnavailable, _UNREACHED
    known = _POSTGRES.get(state) or _POSTGRES_CLASSES.get(state[:2])
    return known or (StoreError, f"the database failed with SQLSTATE {state}")


def _sqlstate(cause: Any) -> str | None:  # noqa: ANN401 - the driver's own error, which convo does not import
    return getattr(cause, "sqlstate", None)
