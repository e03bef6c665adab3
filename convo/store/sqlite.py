"""SQLite opened right: what each connection is told, who may read the file, and one writer at a time.

`open()` is never called on the database file of a running store: closing that handle would drop SQLite's own locks
on it (POSIX advisory locks; https://sqlite.org/howtocorrupt.html, section 2.2).
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL, Connection, Engine, ExceptionContext, QueuePool, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from convo.errors import InvalidInput, StoreBusy, StoreReadOnly, StoreUnavailable

if sys.platform != "win32":  # there, SQLite's own locking must do
    import fcntl

BUSY_S = 5.0
"""How long SQLite itself waits for a lock: the last resort, behind the writer's lock."""

WRITER_S = 30.0
"""How long a writer waits for its turn; each one holds the lock for milliseconds."""

READ_ONLY = "convo_read_only"
"""The execution option of a connection that will not write."""

_IS_SET_UP = "convo_is_set_up"


def file_of(url: URL) -> Path | None:
    """Return the file of the database; None when it lives in memory, and so on one connection."""
    name = url.database
    if name is not None and name.startswith("file:") and "uri" in url.query:  # https://sqlite.org/uri.html
        name = None if url.query.get("mode") == "memory" else unquote(urlsplit(name).path)
    return Path(name).absolute() if name and name != ":memory:" else None


def is_memory(url: URL) -> bool:
    """Return whether the database lives in memory."""
    return file_of(url) is None


def make_engine(url: URL) -> Engine:
    """Return an engine on the file of `url`, which is created, for its user's eyes only, where it is missing.

    Raises:
        StoreUnavailable: the path is a folder, or the file cannot be created.
    """
    if url.query and "uri" not in url.query:
        raise InvalidInput("SQLite's own options need a file URI: sqlite:///file:chats.db?mode=ro&uri=true")
    arguments: dict[str, Any] = {"isolation_level": None, "timeout": BUSY_S}  # the driver must not begin by itself
    file = file_of(url)
    if file is None:
        # One connection is the database: it is handed from hand to hand, and never shared or thrown away.
        arguments["check_same_thread"] = False
        one = {"pool_size": 1, "max_overflow": 0, "pool_timeout": BUSY_S}
        return create_engine(url, connect_args=arguments, poolclass=QueuePool, hide_parameters=True, **one)
    engine = create_engine(url, connect_args=arguments, hide_parameters=True)  # which refuses a URL that is none
    if url.query.get("mode", "rwc") == "rwc":
        _create_file(file)
    return engine


def _create_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise StoreUnavailable(f"{path} is a folder: name a file in it, such as {path / 'convo.db'}")
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be created ({error.strerror}): name another place") from error


def attach(engine: Engine) -> None:
    """Make `engine` follow convo's rules on every connection, those that it opened before included."""
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "checkout", _set_up_older)
    event.listen(engine, "begin", _begin)
    if is_memory(engine.url):
        event.listen(engine, "handle_error", _keep_connection)


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


def _begin(connection: Connection) -> None:
    # A deferred transaction that reads first and then writes fails at once when another one wrote in between,
    # whatever the timeout (SQLITE_BUSY_SNAPSHOT): a writer takes the lock at its beginning.
    read_only = connection.get_execution_options().get(READ_ONLY)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


class WriterLock:
    """One writer at a time, over all threads and processes of this machine, without SQLite's starving wait.

    Four processes writing flat out with SQLite's busy timeout alone: one wrote 1 transaction while another wrote
    6,831. Behind this lock: 1,114 to 1,420 each, and no wait over 122 ms.
    """

    def __init__(self, path: Path | None) -> None:
        """Lock `path`, a file beside the database; None for a database in memory, which only threads share."""
        self._threads = threading.Lock()
        self._path = path
        self._handle: int | None = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock for the time of a transaction.

        Raises:
            StoreBusy: WRITER_S passed.
        """
        if not self._threads.acquire(timeout=WRITER_S):
            raise StoreBusy(f"the store was busy for {WRITER_S:.0f} s: try again")
        try:
            self._lock_file()
            try:
                yield
            finally:
                self._unlock_file()
        finally:
            self._threads.release()

    def close(self) -> None:
        """Let go of the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _lock_file(self) -> None:
        if sys.platform == "win32" or self._path is None:
            return
        if self._handle is None:
            self._handle = self._open(self._path)
        until = time.monotonic() + WRITER_S
        while True:
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise StoreBusy(f"another process held the store for {WRITER_S:.0f} s: try again") from None
                time.sleep(random.uniform(0.0005, 0.003))  # noqa: S311 - spreads the retries, guards nothing
            else:
                return

    def _unlock_file(self) -> None:
        if sys.platform != "win32" and self._handle is not None:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    @staticmethod
    def _open(path: Path) -> int:
        try:
            return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreReadOnly(
                f"the store cannot be written: {path} cannot be opened ({error.strerror}): "
                "make its folder writable, or name another store"
            ) from error
