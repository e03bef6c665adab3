"""The database's errors, provoked for real: each becomes convo's own, in one line, and none tells what was stored."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, insert, make_url, select, text, update

import convo
from convo.errors import (
    StoreBusy,
    StoreCorrupt,
    StoredDataError,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)
from convo.store.database import Database
from convo.store.repository import ConversationRepository
from convo.store.retrying import ATTEMPTS
from convo.store.rows import CONVERSATIONS, EVENTS, TURNS
from tests import processes
from tests.conftest import upgrade

CANARY = "canary-b1946ac92492d2347c6235b4d2611184"
ID = "0198c0de-0000-7000-8000-000000000000"

FAIL_TO_WRITE = """
import resource, signal, sys
import convo

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with convo.Store(sys.argv[1]) as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 17, 1 << 17))
    try:
        store.create(metadata={"large": "x" * 60_000}, context="x" * 1_000_000)
    except convo.StoreError as error:
        print(type(error).__name__)
"""

Work = Callable[[ConversationRepository], object]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chats.db"


@pytest.fixture
def sqlite_database(path: Path) -> Iterator[Database]:
    """Return a store on an SQLite file of which the canary is the name of a conversation."""
    yield from filled(f"sqlite:///{path}")


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[Database]:
    """Return a store on PostgreSQL of which the canary is the name of a conversation."""
    yield from filled(postgres_url)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """Return a store of which the canary is the name of a conversation."""
    yield from filled(url)


def filled(url: str) -> Iterator[Database]:
    upgrade(url)
    with convo.Store(url) as store:
        store.create(name=CANARY)
        yield store.database


def failure(database: Database, work: Work) -> StoreError:
    """Run `work` in a transaction that fails; return convo's error."""
    with pytest.raises(StoreError) as failed:
        database.write(work)
    return failed.value


def create(repository: ConversationRepository) -> None:
    repository.create(convo.NewConversation(model="offline/echo", title=CANARY, metadata={"of": CANARY}))


def assert_told(kind: type[StoreError], error: StoreError) -> None:
    """Check the error's type, that it is one line, and that nothing tells what was to be stored."""
    told = "".join(traceback.format_exception(error)) + repr(error) + str(error.__cause__)
    assert (kind, False, False) == (type(error), "\n" in str(error), CANARY in told)


def run(repository: ConversationRepository, statement: Any, **values: Any) -> Any:
    return repository._execute(statement, values)


def sql(statement: str, **values: Any) -> Work:
    return lambda repository: run(repository, text(statement), **values)


def test_a_held_sqlite_is_busy(sqlite_database: Database, path: Path):
    be_impatient(sqlite_database.engine)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        error = failure(sqlite_database, create)
    assert_told(StoreBusy, error)


def test_a_busy_store_may_be_tried_again(sqlite_database: Database, path: Path):
    be_impatient(sqlite_database.engine)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert failure(sqlite_database, create).retryable


def test_a_read_only_sqlite_cannot_be_written(sqlite_database: Database, path: Path):
    read_only = Database(f"sqlite:///file:{path}?mode=ro&uri=true")
    assert_told(StoreReadOnly, failure(read_only, create))
    read_only.close()


def test_a_full_sqlite_is_full(sqlite_database: Database):
    limit_pages(sqlite_database.engine)
    assert_told(StoreFull, failure(sqlite_database, large))


def test_nothing_is_kept_of_what_did_not_fit(sqlite_database: Database):
    limit_pages(sqlite_database.engine)
    failure(sqlite_database, large)
    assert 1 == len(sqlite_database.read(lambda repository: repository.list()))


def test_a_full_sqlite_is_written_again_when_there_is_space(sqlite_database: Database):
    limit_pages(sqlite_database.engine)
    failure(sqlite_database, large)
    sqlite_database.engine.dispose()
    event.remove(sqlite_database.engine, "connect", one_more_page)
    sqlite_database.write(large)
    assert 2 == len(sqlite_database.read(lambda repository: repository.list()))


def test_a_damaged_sqlite_is_corrupt(sqlite_database: Database, path: Path):
    sqlite_database.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + CANARY.encode() * ((len(whole) - 4096) // len(CANARY)))
    assert_told(StoreCorrupt, failure(sqlite_database, create))


def test_another_file_is_no_sqlite(path: Path):
    path.write_text(CANARY * 1000)
    database = Database(f"sqlite:///{path}")
    assert_told(StoreCorrupt, failure(database, create))
    database.close()


def test_a_folder_in_the_place_of_sqlites_log_is_told(path: Path):
    path.with_name("chats.db-wal").mkdir()
    database = Database(f"sqlite:///{path}")
    assert_told(StoreUnavailable, failure(database, create))
    database.close()


def test_a_file_that_may_not_grow_is_full(path: Path):
    said = processes.run("-c", FAIL_TO_WRITE, f"sqlite:///{path}").stdout
    assert "StoreFull\n" == said


def test_an_error_without_a_type_of_its_own_is_a_store_error(sqlite_database: Database):
    assert_told(StoreError, failure(sqlite_database, sql("SELECT :canary FROM nowhere", canary=CANARY)))


def test_a_row_that_breaks_a_rule_is_refused(database: Database):
    def work(repository: ConversationRepository) -> None:
        run(repository, update(CONVERSATIONS).values(fence=-1, title=CANARY, title_salt=CANARY.encode()))

    assert_told(StoredDataError, failure(database, work))


def test_a_row_that_is_there_is_refused(database: Database):
    def work(repository: ConversationRepository) -> None:
        repository.create(convo.NewConversation(model="offline/echo"))
        run(repository, update(CONVERSATIONS).values(name=CANARY))

    assert_told(StoredDataError, failure(database, work))


def test_a_row_that_refers_to_nothing_is_refused(database: Database):
    def work(repository: ConversationRepository) -> None:
        of_nothing = {"conversation_id": ID, "number": 1, "kind": CANARY, "digest": b"", "body": CANARY.encode()}
        run(repository, insert(EVENTS), **of_nothing)

    assert_told(StoredDataError, failure(database, work))


def test_a_row_without_what_it_needs_is_refused(database: Database):
    assert_told(StoredDataError, failure(database, forget_the_model))


def forget_the_model(repository: ConversationRepository) -> None:
    run(repository, update(CONVERSATIONS).values(model=None, title=CANARY, title_salt=b""))


def test_a_rule_that_is_checked_at_the_commit_is_told(database: Database):
    def work(repository: ConversationRepository) -> None:
        record = repository.list()[0]
        lease = {"state": "in_flight", "fence": 1, "lease_owner": CANARY, "lease_expires": 1}
        run(repository, insert(TURNS), conversation_id=record.id, number=1, created_at=record.created_at, **lease)

    assert_told(StoredDataError, failure(database, work))


def test_missing_tables_are_told(postgres_url: str):
    database = Database(postgres_url)
    error = failure(database, create)
    database.close()
    assert_told(StoreUnavailable, error)


def test_a_serialization_failure_is_tried_again(postgres_database: Database):
    attempts: list[int] = []
    postgres_database.write(serializable(overtaken(postgres_database, attempts, times=2)))
    assert [1, 2, 3] == attempts


def test_a_serialization_failure_is_told_after_the_last_try(postgres_database: Database):
    attempts: list[int] = []
    error = failure(postgres_database, serializable(overtaken(postgres_database, attempts, times=99)))
    assert_told(StoreBusy, error)
    assert ATTEMPTS == len(attempts)


def test_nothing_is_kept_of_a_try_that_failed(postgres_database: Database):
    def work(repository: ConversationRepository) -> None:
        repository.create(convo.NewConversation(model="offline/echo"))
        overtake(repository)

    overtake = overtaken(postgres_database, [], times=2)
    postgres_database.write(serializable(work))
    assert 2 == len(postgres_database.read(lambda repository: repository.list()))


def test_a_deadlock_is_tried_again(postgres_url: str):
    upgrade(postgres_url)
    quick = make_url(postgres_url).update_query_dict({"options": "-c deadlock_timeout=10ms"})
    with convo.Store(quick) as store, ThreadPoolExecutor(2) as threads:
        ids = [store.create().id, store.create().id]
        together = threading.Barrier(2)
        works = [threads.submit(store.database.write, crossing(order, together)) for order in (ids, ids[::-1])]
        assert [ids[1], ids[0]] == [each.result() for each in works]


def test_a_locked_conversation_is_busy(postgres_database: Database, postgres_url: str):
    impatient = Database(make_url(postgres_url).update_query_dict({"options": "-c lock_timeout=10ms"}))
    with postgres_database.engine.begin() as holder:
        holder.execute(select(CONVERSATIONS.c.id).with_for_update())
        error = failure(impatient, lambda repository: repository.lock(repository.list()[0].id))
    impatient.close()
    assert_told(StoreBusy, error)


def test_a_statement_that_takes_too_long_is_busy(postgres_database: Database, postgres_url: str):
    impatient = Database(make_url(postgres_url).update_query_dict({"options": "-c statement_timeout=10ms"}))
    error = failure(impatient, sql("SELECT pg_sleep(9), :canary", canary=CANARY))
    impatient.close()
    assert_told(StoreBusy, error)


def test_a_read_only_transaction_is_read_only(postgres_database: Database, postgres_url: str):
    standby = Database(make_url(postgres_url).update_query_dict({"options": "-c default_transaction_read_only=on"}))
    error = failure(standby, create)
    standby.close()
    assert_told(StoreReadOnly, error)


def test_a_user_without_rights_is_told(postgres_database: Database):
    def work(repository: ConversationRepository) -> None:
        run(repository, text("SET LOCAL ROLE pg_monitor"))
        create(repository)

    assert_told(StoreReadOnly, failure(postgres_database, work))


def test_a_lost_connection_is_unavailable(postgres_database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("convo.store.database.PATIENCE_S", 0.5)  # it would be tried again for half a minute

    def work(repository: ConversationRepository) -> None:
        run(repository, text("SELECT pg_terminate_backend(pg_backend_pid()), :canary"), canary=CANARY)

    assert_told(StoreUnavailable, failure(postgres_database, work))


def test_a_number_that_does_not_fit_is_told_without_it(postgres_database: Database):
    assert_told(StoreError, failure(postgres_database, sql("SELECT CAST(:canary AS integer)", canary=CANARY)))


def test_a_text_that_postgresql_cannot_hold_is_not_taken_for_a_lost_connection(postgres_database: Database):
    assert_told(StoreError, failure(postgres_database, sql("SELECT :canary", canary=f"{CANARY}\0")))


def test_a_pool_without_a_free_connection_is_busy(url: str):
    drivers_url = url.replace("postgresql:", "postgresql+psycopg:")
    engine = create_engine(drivers_url, pool_size=1, max_overflow=0, pool_timeout=0.01)
    with convo.Store(engine) as store, engine.connect():
        error = failure(store.database, create)
    engine.dispose()
    assert_told(StoreBusy, error)


def test_an_error_of_the_work_itself_is_left_alone(database: Database):
    def work(repository: ConversationRepository) -> None:
        raise KeyError(CANARY)

    with pytest.raises(KeyError):
        database.write(work)


def test_an_error_of_the_work_itself_rolls_back(database: Database):
    def work(repository: ConversationRepository) -> None:
        create(repository)
        raise KeyError

    with pytest.raises(KeyError):
        database.write(work)
    assert 1 == len(database.read(lambda repository: repository.list()))


def test_no_connection_is_held_after_an_error(database: Database):
    failure(database, forget_the_model)
    assert 0 == database.engine.pool.checkedout()


def be_impatient(engine: Engine) -> None:
    """Let SQLite wait for no lock."""
    engine.dispose()
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout = 0"))


def limit_pages(engine: Engine) -> None:
    """Let the file grow by a page at most."""
    engine.dispose()
    event.listen(engine, "connect", one_more_page)


def one_more_page(connection: sqlite3.Connection, record: object) -> None:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 1}")


def large(repository: ConversationRepository) -> None:
    repository.create(convo.NewConversation(model="offline/echo", title=CANARY, metadata={"large": CANARY * 1000}))


def serializable(work: Work) -> Work:
    """Return work that fails when others change what it has read."""

    def whole(repository: ConversationRepository) -> None:
        run(repository, text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        work(repository)

    return whole


def overtaken(database: Database, attempts: list[int], *, times: int) -> Work:
    """Return work before which another writer is faster, `times` times."""
    touch = update(CONVERSATIONS).where(CONVERSATIONS.c.name == CANARY).values(fence=CONVERSATIONS.c.fence + 1)

    def work(repository: ConversationRepository) -> None:
        attempts.append(len(attempts) + 1)
        run(repository, select(CONVERSATIONS.c.fence))
        if len(attempts) <= times:
            with database.engine.begin() as other:
                other.execute(touch)
        run(repository, touch)

    return work


def crossing(order: list[str], together: threading.Barrier) -> Callable[[ConversationRepository], str]:
    """Return work that locks two conversations in that order; the first time, both works hold one each."""
    attempts: list[int] = []

    def work(repository: ConversationRepository) -> str:
        repository.lock(order[0])
        attempts.append(1)
        if len(attempts) == 1:
            together.wait()
        return repository.lock(order[1]).id

    return work
