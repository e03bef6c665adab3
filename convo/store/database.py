"""Where transactions begin and end: read(work) and write(work), each one transaction on one connection.

`work` is a function of a ConversationRepository. It may be run again from its beginning when the database asks for
that, so it must do nothing but read and write through the repository. Nothing is held between two calls.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

import platformdirs
from sqlalchemy import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import sessionmaker

from convo.errors import ConvoError, InvalidInput, StoreBusy
from convo.store import faults, postgres, schema, sqlite
from convo.store.repository import ConversationRepository

Result = TypeVar("Result")
Work = Callable[[ConversationRepository], Result]

ATTEMPTS = 5
"""How often a transaction is run again when other writers were faster."""

_SQLITE = ("sqlite", "sqlite+pysqlite", "sqlite+aiosqlite")
"""Not pysqlcipher: the plain driver would store its users' texts unencrypted."""


def default_url() -> str | URL:
    """Return CONVO_DATABASE_URL, else the store in the user's own data folder."""
    given = os.environ.get("CONVO_DATABASE_URL")
    return given or URL.create("sqlite", database=str(platformdirs.user_data_path("convo") / "convo.db"))


def parsed_url(url: str | URL) -> URL:
    """Return the parts of a URL.

    Raises:
        InvalidInput: it is none; the error does not show it, as a password may stand anywhere in it.
    """
    with _unquoted():
        return make_url(url)


@contextlib.contextmanager
def _unquoted() -> Iterator[None]:
    """Refuse what is no URL with an error that quotes nothing of it, as SQLAlchemy's do."""
    try:
        yield
    except ConvoError:
        raise
    except (ArgumentError, ValueError):
        raise InvalidInput("that is no database URL: write sqlite:///chats.db or postgresql://user@host/name") from None


def shown_url(url: URL) -> str:
    """Return a URL for people: without its password, and readable."""
    return unquote(url.difference_update_query(["password", "sslpassword"]).render_as_string(hide_password=True))


def open_engine(url: str | URL) -> Engine:
    """Return an engine that follows convo's rules; `url` is sqlite:///path, sqlite:// or postgresql://….

    Raises:
        InvalidInput: no URL of SQLite or PostgreSQL.
        StoreUnavailable: the file cannot be created, or the driver is not installed.
    """
    with _unquoted():
        return _make_engine(make_url(url))


def _make_engine(url: URL) -> Engine:
    if url.drivername in _SQLITE:
        engine = sqlite.make_engine(url.set(drivername="sqlite"))
        sqlite.attach(engine)
        return engine
    if url.drivername.split("+")[0] in ("postgresql", "postgres"):
        return postgres.make_engine(url)
    raise InvalidInput(f"convo keeps its store in SQLite or PostgreSQL, not in {url.drivername}: see `convo --help`")


class Database:
    """A store's connections. Safe to share between threads."""

    def __init__(self, target: str | URL | Engine) -> None:
        """Open `target`; an Engine stays its owner's, and follows convo's rules from here on."""
        self._owned = not isinstance(target, Engine)
        self.engine = target if isinstance(target, Engine) else open_engine(target)
        self.engine.hide_parameters = True  # the parameters are people's conversations
        self._is_sqlite = self.engine.dialect.name == "sqlite"
        if self._is_sqlite and not self._owned:
            sqlite.attach(self.engine)
        self._is_memory = self._is_sqlite and sqlite.is_memory(self.engine.url)
        self._lock = sqlite.WriterLock(self._lock_path())
        self._writing = sessionmaker(self.engine, autoflush=False, expire_on_commit=False)
        # A read of several statements sees one moment: SQLite's transactions do so by themselves.
        snapshot = {} if self._is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._reader_engine = self.engine.execution_options(**{sqlite.READ_ONLY: True}, **snapshot)
        self._reading = sessionmaker(self._reader_engine, autoflush=False, expire_on_commit=False)

    @property
    def where(self) -> str:
        """The store's URL, without its password."""
        return shown_url(self.engine.url)

    def close(self) -> None:
        """Close the connections, unless they are an Engine's that was passed in."""
        if self._owned:
            self.engine.dispose()
        self._lock.close()

    def check_schema(self) -> None:
        """Raise SchemaOutOfDate unless the store has this release's schema; create it in a new SQLite file."""
        with self._looking() as connection:
            new = self._is_sqlite and schema.is_empty(connection)
            if not new:
                schema.check(connection)
        if new:
            self.upgrade()

    def upgrade(self) -> None:
        """Bring the store to this release's schema."""
        with self._translated(), self._writer():
            schema.upgrade(self.engine)

    def revision(self) -> str | None:
        """Return the revision of the store's schema; None when it has no tables of convo."""
        with self._looking() as connection:
            return schema.current(connection)

    def read(self, work: Work[Result]) -> Result:
        """Run `work` in a transaction that does not write."""
        with self._translated(), self._reader(), self._reading() as session:
            return work(ConversationRepository(session))

    def write(self, work: Work[Result]) -> Result:
        """Run `work` in a transaction and commit it; again from its beginning when other writers were faster.

        Raises:
            StoreError: the database failed; nothing of `work` was kept.
        """
        with self._translated():
            for attempt in range(1, ATTEMPTS):
                try:
                    return self._write_once(work)
                except DBAPIError as error:
                    if not faults.is_retryable(error):
                        raise
                time.sleep(random.uniform(0.005, 0.02) * 2**attempt)  # noqa: S311 - spreads the retries
            return self._write_once(work)

    def _write_once(self, work: Work[Result]) -> Result:
        with self._writer(), self._writing.begin() as session:
            return work(ConversationRepository(session))

    @contextlib.contextmanager
    def _looking(self) -> Iterator[Connection]:
        """Yield a connection that will not write."""
        with self._translated(), self._reader(), self._reader_engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def _writer(self) -> Iterator[None]:
        """Hold the place of the one writer that SQLite can have; PostgreSQL locks rows instead."""
        if not self._is_sqlite:
            yield
            return
        with self._lock.held():
            yield

    def _reader(self) -> contextlib.AbstractContextManager[None]:
        """Return what a reader has to hold: nothing, but in memory, where all threads share one connection."""
        return self._lock.held() if self._is_memory else contextlib.nullcontext()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise faults.translate(error, self.where) from (None if faults.quotes_a_row(error) else error)
        except PoolTimeout as error:
            raise StoreBusy(f"{self.where}: all connections to the store are in use: try again") from error

    def _lock_path(self) -> Path | None:
        file = sqlite.file_of(self.engine.url) if self._is_sqlite else None
        return file and Path(f"{file}.lock")
