"""SQLite opened right: what each connection is told, and when its log is moved into the database."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL, Engine, ExceptionContext, QueuePool, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from convo.errors import InvalidInput, StoreReadOnly, StoreUnavailable
from convo.store import files
from convo.store.prepared import begin
from convo.store.transactions import IS_BEGUN, READ, USE

BUSY_S = 5.0
"""How long SQLite itself waits for a lock: the last resort, behind the writer's lock."""

FULL_LOG_BYTES = 2**20
"""From here on the write-ahead log is moved into the database, and begun again in place.

To overwrite a log takes a third of the time that it takes to lengthen one: 0.18 ms a commit of 7 pages, against 0.49.
"""

LONG_LOG_BYTES = 4 * 2**20
"""A log that is longer, after a large transaction or because somebody read for a long time, is cut as well."""

_LOG_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
"""Of the log, and of each page in it: https://sqlite.org/fileformat2.html#walformat."""

_IS_SET_UP = "convo_is_set_up"


def file_of(url: URL) -> Path | None:
    """Return the file of the database, links followed; None when it lives in memory, and so on one connection."""
    name = url.database
    if name is not None and name.startswith("file:") and "uri" in url.query:  # https://sqlite.org/uri.html
        name = None if url.query.get("mode") == "memory" else unquote(urlsplit(name).path)
    return _resolved(name) if name and name != ":memory:" else None


def _resolved(name: str) -> Path:
    try:
        return Path(name).resolve()
    except (OSError, RuntimeError) as error:  # the folder is gone; links that lead in a circle, before Python 3.13
        raise StoreUnavailable(f"{name} leads nowhere: name another place") from error


def file_behind(engine: Engine) -> Path | None:
    """Return the file that an engine's connections open, wherever its URL says or a function of its own decides."""
    with engine.execution_options(**{USE: READ}).connect() as connection:
        (file,) = (row[2] for row in connection.exec_driver_sql("PRAGMA database_list") if row[1] == "main")
    return _resolved(file) if file else None


def make_engine(url: URL) -> Engine:
    """Return an engine on the file of `url`, which is created, for its user's eyes only, where it is missing.

    Raises:
        StoreUnavailable: the path is a folder or lies on a network, or the file cannot be created.
    """
    if url.query and "uri" not in url.query:
        raise InvalidInput("SQLite's own options need a file URI: sqlite:///file:chats.db?mode=ro&uri=true")
    arguments: dict[str, Any] = {"isolation_level": None, "timeout": BUSY_S}  # the driver must not begin by itself
    options: dict[str, Any] = {"hide_parameters": True, "pool_reset_on_return": None}  # _roll_back() does
    file = file_of(url)
    if file is None:
        # One connection is the database: it is handed from hand to hand, and never shared or thrown away.
        arguments["check_same_thread"] = False
        one = {"pool_size": 1, "max_overflow": 0, "pool_timeout": BUSY_S}
        engine = create_engine(url, connect_args=arguments, poolclass=QueuePool, **options, **one)
        attach(engine, None)
        return engine
    engine = create_engine(url, connect_args=arguments, **options)  # which refuses a URL that is none
    attach(engine, file)
    event.listen(engine, "connect", _leave_log_alone)
    if url.query.get("mode", "rwc") == "rwc":
        files.create(file)
    return engine


def attach(engine: Engine, file: Path | None) -> None:
    """Make `engine` on `file` follow convo's rules on every connection, those that it opened before included.

    Raises:
        StoreUnavailable: its file lies on a network.
    """
    if file is not None:
        files.refuse_network(file)
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "checkout", _set_up_older)
    event.listen(engine, "begin", begin)
    event.listen(engine, "reset", _roll_back)
    event.listen(engine, "invalidate", _roll_back)
    if file is None:
        event.listen(engine, "handle_error", _keep_connection)


def _roll_back(connection: sqlite3.Connection, record: ConnectionPoolEntry | None, why: object) -> None:  # noqa: ARG001 - of two hooks
    # SQLAlchemy takes a transaction for ended whose COMMIT was refused or interrupted, and a connection for closed
    # that Ctrl-C left with an unfinished statement: both would keep every other writer out.
    if connection.in_transaction:
        connection.rollback()
    if record is not None:
        record.info.pop(IS_BEGUN, None)


def _keep_connection(context: ExceptionContext) -> None:
    # Ctrl-C in a statement makes SQLAlchemy drop the connection, and with it a database that lives in memory.
    context.is_disconnect = False


def _set_up_older(connection: sqlite3.Connection, record: ConnectionPoolEntry, proxy: object) -> None:  # noqa: ARG001 - the hook's signature
    if _IS_SET_UP not in record.info:
        _set_up(connection, record)


def _set_up(connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")
    mode = _switch_to_wal(cursor) if _is_ours(cursor) else "another application's"
    if mode not in ("wal", "memory", "another application's"):
        raise StoreReadOnly(f"the store cannot be written: SQLite left its journal in {mode!r} mode instead of WAL")
    cursor.execute("PRAGMA synchronous = FULL")  # NORMAL may lose acknowledged turns when the power fails
    cursor.execute("PRAGMA fullfsync = 1")  # macOS: fsync alone does not reach the disk there
    cursor.execute("PRAGMA mmap_size = 0")
    cursor.execute("PRAGMA secure_delete = ON")  # what goes is overwritten; some builds of SQLite do so unasked
    cursor.execute("PRAGMA foreign_keys = ON")
    if cursor.execute("PRAGMA foreign_keys").fetchone() != (1,):
        raise StoreUnavailable("this SQLite was built without foreign keys, which convo relies on: use another build")
    cursor.close()
    record.info[_IS_SET_UP] = True


def _is_ours(cursor: sqlite3.Cursor) -> bool:
    """Return whether the file is new or holds convo's tables: looking at another one must not change it."""
    tables = {name for (name,) in cursor.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return not tables or any(name.startswith("convo_") for name in tables)


def _switch_to_wal(cursor: sqlite3.Cursor) -> str:
    """Switch the file to WAL; connections that open a new file at once may find it locked, whatever the timeout."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            return str(cursor.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if _primary(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() > until:
                raise
            time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - spreads the retries, guards nothing


def _primary(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code: the extended one's low byte."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _leave_log_alone(connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:  # noqa: ARG001 - the hook's signature
    # Two connections that move and write the log at the same moment may damage the file before SQLite 3.51.3
    # (https://sqlite.org/wal.html, "the WAL-reset bug"): only the holder of the writer's lock does, by checkpoint().
    connection.execute("PRAGMA wal_autocheckpoint = 0")


def checkpoint(engine: Engine, file: Path) -> None:
    """Move the write-ahead log into the database when it is full; for the holder of the writer's lock only."""
    mode = _due(f"{file}-wal")
    if mode is None:
        return
    try:
        connection = engine.raw_connection()
    except (sqlite3.Error, SQLAlchemyError):  # what was to be stored is stored: the next writer tells what is wrong
        return
    try:
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout = 0")  # readers are not waited for: the next writer tries again
        cursor.execute(f"PRAGMA wal_checkpoint({mode})")
        cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")
    except sqlite3.Error:
        connection.invalidate()  # what was committed stays in the log
    finally:
        connection.close()


def _due(log: str) -> str | None:
    """Return which checkpoint a log needs; None while it is short.

    How far it is in use, its size does not tell once it was begun again. Its header and each page have the salts of
    the round in which they were written.
    """
    try:
        descriptor = os.open(log, os.O_RDONLY)  # SQLite locks other files of the database, which must not be opened
    except OSError:
        return None
    try:
        if os.fstat(descriptor).st_size > LONG_LOG_BYTES:
            return "TRUNCATE"
        header = os.read(descriptor, _LOG_HEADER_BYTES)
        frame = _FRAME_HEADER_BYTES + int.from_bytes(header[8:12])
        last = _LOG_HEADER_BYTES + FULL_LOG_BYTES // frame * frame
        os.lseek(descriptor, last, os.SEEK_SET)
        is_full = os.read(descriptor, _FRAME_HEADER_BYTES)[8:16] == header[16:24]
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return "PASSIVE" if is_full else None
