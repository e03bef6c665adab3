"""Where transactions begin and end: read(work) and write(work), each one transaction on one connection.

`work` is a function of a ConversationRepository. It may be run again from its beginning when the database asks for
that, so it must do nothing but read and write through the repository. Nothing is held between two calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from convo.audits import Quote, Remains
from convo.errors import CommitUnknown, ConvoError, InvalidInput, StoreBusy, StoreError, StoreUnavailable
from convo.store import backups, faults, files, forks, postgres, schema, scrubbing, sqlite
from convo.store.calibration import Calibration
from convo.store.ledger import Stroke, Trace
from convo.store.owners import Owner
from convo.store.prepared import Driver, OwnDriver
from convo.store.repository import ConversationRepository
from convo.store.retrying import patiently
from convo.store.scrubbing import Search, Sought
from convo.store.transactions import ALONE, READ, USE
from convo.store.urls import open_engine, shown_url
from convo.store.windows import Windows
from convo.store.writer_lock import WriterLock, lock_of_memory

Result = TypeVar("Result")
Work = Callable[[ConversationRepository], Result]

PATIENCE_S = 30.0
"""How long a writer waits for its place, and everybody for a server that is gone: a restart takes less."""

CLOSING_S = 2.0
"""How long a store that is closed waits for its place: somebody else will move the log, then."""

FORKING_S = 0.1
"""The same for each store of a process that forks."""

WRITES_A_LOOK = 8
"""How many writes are made, from the first on, for one look at how long SQLite's log is, if that one is a stroke."""

_NOTHING = contextlib.nullcontext()
"""Held where nobody has to be waited for."""

OPENING_S = 0.5
"""How long a server that is gone is waited for when a store is opened: a wrong URL is told soon."""


@dataclass(frozen=True, slots=True)
class _Unanswered(Generic[Result]):
    """A transaction whose COMMIT was sent, and not answered."""

    trace: Trace
    result: Result


class Database:
    """A store's connections. Safe to share between threads; a child process that is forked gets its own."""

    def __init__(self, target: str | URL | Engine) -> None:
        """Open `target`; an Engine stays its owner's, and on SQLite follows convo's rules from here on.

        Raises:
            InvalidInput: no URL or Engine of SQLite or PostgreSQL.
            StoreUnavailable: the file cannot be created or lies on a network, or the driver is not installed.
        """
        self._owned = not isinstance(target, Engine)
        self.engine = target if isinstance(target, Engine) else open_engine(target)
        self._is_sqlite = self.engine.dialect.name == "sqlite"
        self._file = sqlite.file_of(self.engine.url) if self._is_sqlite else None
        self._is_inherited = False
        if isinstance(target, Engine):
            self._follow_rules()
        self.owner = Owner(self._file)
        self._is_memory = self._is_sqlite and self._file is None
        self._lock = lock_of_memory(self.engine.pool) if self._is_memory else WriterLock(self._file)
        self._looker_engine = self.engine.execution_options(**{USE: ALONE})
        self._reader_engine = self.engine.execution_options(**{USE: READ})
        self.calibration = Calibration(self)
        self.windows = Windows()
        self._writes = 0
        forks.watch(self)

    def _follow_rules(self) -> None:
        """Make an engine that was passed in follow convo's rules."""
        if not self._is_sqlite:
            self.engine = postgres.attached(self.engine)
            return
        self.engine.hide_parameters = True  # they are people's conversations
        if self._file is not None:
            files.refuse_network(self._file)  # before anything is opened there
        with self._translated():
            self._file = sqlite.file_behind(self.engine)
        sqlite.attach(self.engine, self._file)

    @property
    def where(self) -> str:
        """The store's URL, without its password."""
        return shown_url(self.engine.url)

    def close(self) -> None:
        """Close the connections, unless they are an Engine's that was passed in."""
        self.owner.close()
        if self._owned:
            with forks.using(), self._last_word():
                self.engine.dispose()
        self._lock.close()
        forks.forget(self)

    def let_go(self) -> None:
        """Have no file open, those of an engine that was passed in included; what is needed is opened again."""
        if self._file is not None:
            with self._last_word(FORKING_S):
                self.engine.dispose()
            self._lock.close()

    def start_anew(self) -> None:
        """Leave to the parent process what is its own; called in a child right after the fork."""
        self.owner.forget()
        self.owner = Owner(self._file)
        if self._is_memory:
            return  # of a database in memory the child has its own copy
        self._lock.close()
        self._lock = WriterLock(self._file)
        self._is_inherited = self._file is not None and files.is_inherited(self._file)
        forks.keep(self.engine.pool)
        self.engine.dispose(close=False)

    def check_schema(self) -> None:
        """Raise SchemaOutOfDate unless the store has this release's schema; create it in a new SQLite file."""

        def is_new(connection: Connection) -> bool:
            if self._is_sqlite and schema.is_empty(connection):
                return True
            schema.check(connection)
            return False

        if self._look(is_new):
            self.upgrade()

    def upgrade(self) -> None:
        """Bring the store to this release's schema."""
        with self._translated(), self._writer(PATIENCE_S):
            schema.upgrade(self.engine)

    def revision(self) -> str | None:
        """Return the revision of the store's schema; None when it has no tables of convo."""
        return self._look(schema.current)

    def read(self, work: Work[Result]) -> Result:
        """Run `work` in a transaction that does not write; again from its beginning when the connection was lost.

        Raises:
            StoreError: the database failed.
        """

        def once() -> Result:
            with self._reader(), self._reader_engine.connect() as connection:
                return work(self._repository(connection))

        with self._translated():
            return patiently(once, PATIENCE_S)

    def look(self, work: Work[Result]) -> Result:
        """Run `work`, which executes one statement or does not need to see one moment, in no transaction.

        Raises:
            StoreError: as read().
        """

        def once() -> Result:
            with self._reader(), OwnDriver(self._looker_engine) as driver:
                return work(self._repository(driver))

        with self._translated():
            return patiently(once, PATIENCE_S)

    def write(
        self,
        work: Work[Result],
        *,
        strike: Work[Stroke[Result] | None] | None = None,
        within_s: float | None = None,
    ) -> Result:
        """Run `work` in a transaction and commit it; again from its beginning when that may help.

        If `strike` returns a stroke, that is made instead, if the conversation still is as it was seen.

        It is run again when other writers were faster, and when the connection was lost. When it was lost at the
        COMMIT, the journal tells whether `work` is stored. For at most `within_s` seconds, PATIENCE_S when not given.

        Raises:
            CommitUnknown: the server did not come back to tell.
            StoreError: the database failed; nothing of `work` was kept.
        """
        patience_s = PATIENCE_S if within_s is None else within_s
        unanswered: list[_Unanswered[Result]] = []

        def once() -> Result:
            if arrived := self._arrived(unanswered, patience_s):
                return arrived.result
            try:
                return self._write_once(work, strike, unanswered, patience_s)
            except ConvoError:  # perhaps because of what arrived between our look and our write
                if arrived := self._arrived(unanswered, patience_s):
                    return arrived.result
                raise

        with self._translated(unanswered):
            return patiently(once, patience_s)

    def scrub(self, sought: Sought, owner: str | None, *, must_rebuild: bool = False) -> Remains:
        """Look for texts that went: in the files, which are rebuilt if there are any, and in other texts.

        The other texts are those of an owner, or with None of all.

        Raises:
            StoreError: the files cannot be searched or rebuilt.
        """
        search = Search()
        if self._file is not None:
            if not must_rebuild:
                search = self._search(self._file, sought)
            if must_rebuild or search.found_bytes:
                with self._translated(), self._writer(PATIENCE_S):
                    scrubbing.rebuild(self.engine)
                search = self._search(self._file, sought)

        def quoting(words: Sequence[str]) -> list[Quote]:
            return self.read(lambda repository: repository.quotes(words, scrubbing.QUOTES, owner))

        quotes, not_compared = scrubbing.compare(quoting, sought.long_texts, search.words)
        return Remains(
            files=tuple(search.sizes),
            searched_bytes=sum(search.sizes.values()),
            texts=len(sought.long_texts),
            too_short=len(sought.texts) - len(sought.long_texts),
            left_out=sought.left_out,
            found_bytes=search.found_bytes,
            quotes=quotes,
            not_compared=not_compared,
        )

    def backup(self, target: Path) -> int:
        """Copy an SQLite store, as it is at one moment, into a new file, for its user's eyes only; return its bytes.

        Nobody has to wait for it. What was erased is not copied.

        Raises:
            InvalidFile: there is a file of that name already, or none can be written there.
            InvalidInput: the store is in PostgreSQL, which has programs of its own for that.
            StoreError: the store cannot be read.
        """
        if not self._is_sqlite:
            raise InvalidInput(f"{self.where} is not in SQLite: use pg_dump, which is made for that")
        with self._translated(), self._reader():
            return backups.write(self.engine, target)

    def _search(self, file: Path, sought: Sought) -> Search:
        """Look for texts in the files, after the log was moved into the database."""
        with self._translated(), self._writer(PATIENCE_S):
            encoding = scrubbing.write_out(self.engine)
        return scrubbing.search(file, sought, encoding)

    def _write_once(
        self,
        work: Work[Result],
        strike: Work[Stroke[Result] | None] | None,
        unanswered: list[_Unanswered[Result]],
        within_s: float,
    ) -> Result:
        with self._writer(within_s):
            with OwnDriver(self.engine) as driver:
                repository = self._repository(driver)
                stroke = strike(repository) if strike else None
                if stroke is not None and self._strike(driver, stroke, unanswered):
                    result = stroke.outcome
                else:
                    driver.begin()
                    for each in unanswered:  # what arrives from here on waits for our lock, and then is too late
                        if repository.finds(each.trace):
                            return each.result
                    result = work(repository)
                    try:
                        driver.commit()
                    except DBAPIError as error:
                        if repository.trace is not None and faults.is_lost(error):
                            unanswered.append(_Unanswered(repository.trace, result))
                        raise
            if stroke is None or self._writes % WRITES_A_LOOK == 0:
                self._checkpoint()
            self._writes += 1
        return result

    def _strike(self, driver: OwnDriver, stroke: Stroke[Result], unanswered: list[_Unanswered[Result]]) -> bool:
        """Make a stroke and commit it; False, and nothing done, when its conversation is not as it was seen.

        What is remembered of that is forgotten then; not when it may have been committed, as it is made again.
        """
        is_alone = driver.begin_write()
        is_struck = is_remembered = False
        try:
            is_struck = driver.write_if(stroke.advance, *stroke.writes)
            if is_struck:
                driver.commit()
            is_remembered = is_struck
        except DBAPIError as error:
            if faults.is_lost(error):
                is_remembered = True
                if is_alone or is_struck:
                    unanswered.append(_Unanswered(stroke.trace, stroke.outcome))
            raise
        finally:
            if not is_remembered:
                self.windows.drop(stroke.trace.conversation)
        return is_struck

    def _checkpoint(self) -> None:
        if self._owned and self._file is not None:
            sqlite.checkpoint(self.engine, self._file)

    def _arrived(self, unanswered: Sequence[_Unanswered[Result]], within_s: float) -> _Unanswered[Result] | None:
        """Return the transaction that was committed after all."""
        for each in unanswered:
            with self._writer(within_s), self.engine.connect() as connection:
                if self._repository(connection).finds(each.trace):
                    return each
        return None

    def _repository(self, connection: Connection | Driver) -> ConversationRepository:
        return ConversationRepository(connection, is_gone=self.owner.is_gone, windows=self.windows)

    def _look(self, at: Callable[[Connection], Result]) -> Result:
        """Run `at` on a connection that will not write; a server that is gone is not waited for."""

        def once() -> Result:
            with self._reader(), self._reader_engine.connect() as connection:
                return at(connection)

        with self._translated():
            return patiently(once, OPENING_S)

    def _writer(self, within_s: float) -> AbstractContextManager[None]:
        """Hold the place of the one writer that SQLite can have; PostgreSQL locks rows instead."""
        return self._using(self._lock.held(within_s)) if self._is_sqlite else _NOTHING

    def _reader(self) -> AbstractContextManager[None]:
        """Hold what a reader has to: in memory, where all threads share one connection, the place of the writer."""
        if not self._is_sqlite:
            return _NOTHING
        return self._using(self._lock.held(PATIENCE_S) if self._is_memory else _NOTHING)

    @contextlib.contextmanager
    def _using(self, place: AbstractContextManager[None]) -> Iterator[None]:
        """Use SQLite's connections, with a place among those who do."""
        with forks.using(), place:
            self._check_ours()
            yield

    def _check_ours(self) -> None:
        """Raise StoreUnavailable in a child that has inherited a file: what it stored would be lost."""
        if self._is_inherited:
            raise StoreUnavailable(
                f"{self._file} was open, beside the store's own connections, when this process was forked: "
                "close it before the fork, or start the process with spawn"
            )

    @contextlib.contextmanager
    def _last_word(self, within_s: float = CLOSING_S) -> Iterator[None]:
        """Hold the writer's place, if it can be had, as the last connection to a file moves its log."""
        with contextlib.ExitStack() as stack:
            if self._file is not None and self._file.exists():
                with contextlib.suppress(StoreError):
                    stack.enter_context(self._lock.held(within_s))
            yield

    @contextlib.contextmanager
    def _translated(self, unanswered: Sequence[_Unanswered[Any]] = ()) -> Iterator[None]:
        """Let convo's own errors out, and no others of the database."""
        try:
            yield
        except DBAPIError as error:
            cause = None if faults.quotes_a_row(error) else error
            if unanswered:
                raise CommitUnknown(self.where) from cause
            is_full = self._file is not None and faults.is_of_disk(error) and files.is_full(self._file)
            raise faults.translate(error, self.where, is_full=is_full) from cause
        except PoolTimeout as error:
            if unanswered:
                raise CommitUnknown(self.where) from error
            raise StoreBusy(f"{self.where}: all connections to the store are in use: try again") from error
