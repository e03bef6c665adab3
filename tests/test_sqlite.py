"""SQLite opened right: what each connection is told, how transactions begin, engines that are passed in, URLs."""

from __future__ import annotations

import sqlite3
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, inspect, text
from sqlalchemy.exc import OperationalError

import convo
from convo.errors import InvalidInput, StoreReadOnly, StoreUnavailable
from convo.store.database import Database
from convo.store.urls import open_engine

PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,
    "foreign_keys": 1,
    "busy_timeout": 5000,
    "mmap_size": 0,
    "fullfsync": 1,
}
AUTHORS = ["0", "1"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chats.db"


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    """Return the engine of a store on an SQLite file."""
    with convo.Store(f"sqlite:///{path}") as store:
        yield store.engine


@pytest.fixture
def own_engine(path: Path) -> Iterator[Engine]:
    """Return an application's own engine, with a connection that it used before convo saw it."""
    engine = create_engine(f"sqlite:///{path}")
    engine.connect().close()
    yield engine
    engine.dispose()


@pytest.fixture
def own_memory() -> Iterator[Engine]:
    """Return an application's own engine on a database in memory, in which it has a table."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE users (id INTEGER PRIMARY KEY)"))
    yield engine
    engine.dispose()


def pragmas(connection: Connection) -> dict[str, object]:
    """Ask the driver, so that no transaction begins."""
    cursor = connection.connection.cursor()
    return {name: cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in PRAGMAS}


def test_every_connection_is_told_the_rules(engine: Engine):
    with ExitStack() as stack:
        connections = [stack.enter_context(engine.connect()) for _ in range(3)]
        assert [PRAGMAS] * 3 == [pragmas(each) for each in connections]


def test_a_second_writer_is_refused_at_its_beginning(engine: Engine):
    with engine.begin(), engine.connect() as second:
        second.connection.cursor().execute("PRAGMA busy_timeout = 0")
        with pytest.raises(OperationalError, match="database is locked"):
            second.begin()


def test_a_reader_is_not_blocked_by_a_writer_and_sees_what_was_committed(path: Path, engine: Engine):
    with convo.Store(f"sqlite:///{path}") as store, engine.connect() as writer:
        talk = store.create(name="kept")
        writer.execute(text("DELETE FROM convo_conversations"))
        assert talk.id == store.get("kept").id


def test_a_writer_is_not_blocked_by_a_reader(path: Path, engine: Engine):
    with convo.Store(f"sqlite:///{path}") as store, Database(engine)._reader_engine.connect() as reader:
        before = reader.scalar(text("SELECT count(*) FROM convo_conversations"))
        store.create()
        assert before == reader.scalar(text("SELECT count(*) FROM convo_conversations"))


def test_a_table_that_is_made_is_rolled_back(engine: Engine):
    with engine.connect() as connection, connection.begin() as transaction:
        connection.execute(text("CREATE TABLE gone (id INTEGER)"))
        transaction.rollback()
    assert not inspect(engine).has_table("gone")


def test_an_engine_that_is_passed_in_follows_the_rules(own_engine: Engine):
    convo.Store(own_engine).close()
    with own_engine.connect() as used_before, own_engine.connect() as new:
        assert [PRAGMAS] * 2 == [pragmas(used_before), pragmas(new)]


def test_a_writer_on_an_engine_that_is_passed_in_takes_its_lock_at_once(own_engine: Engine):
    convo.Store(own_engine).close()
    with own_engine.begin(), own_engine.connect() as second:
        second.connection.cursor().execute("PRAGMA busy_timeout = 0")
        with pytest.raises(OperationalError, match="database is locked"):
            second.begin()


def test_an_engine_that_is_passed_in_hides_what_is_stored(own_engine: Engine):
    convo.Store(own_engine).close()
    assert own_engine.hide_parameters


def test_an_engine_that_is_passed_in_stays_open(own_engine: Engine):
    convo.Store(own_engine).close()
    assert 1 == own_engine.pool.checkedin()


def test_a_database_in_memory_that_is_passed_in_keeps_its_tables(own_memory: Engine):
    Database(own_memory).upgrade()
    assert {"users", "convo_turns"} <= set(inspect(own_memory).get_table_names())


def test_a_database_in_memory_that_is_passed_in_outlives_the_store(own_memory: Engine):
    Database(own_memory).upgrade()
    with convo.Store(own_memory) as store:
        talk = store.create()
    assert [talk.id] == [each.id for each in convo.Store(own_memory).list()]


def test_foreign_keys_hold_in_a_memory_that_was_used_before(own_memory: Engine):
    Database(own_memory)
    with own_memory.connect() as connection:
        assert 1 == connection.exec_driver_sql("PRAGMA foreign_keys").scalar()


def test_two_stores_share_an_engine(own_engine: Engine):
    first, second = convo.Store(own_engine), convo.Store(own_engine)
    talk = first.create(messages=["one", "two"])
    assert ["one", "two"] == [each.content for each in second.get(talk.id).messages()]


def test_the_engine_of_one_store_serves_another(engine: Engine):
    talk = convo.Store(engine).create(messages=["one", "two"])
    assert talk.id == convo.Store(engine).get(talk.id).id


def test_eight_threads_share_a_database_in_memory():
    with convo.Store("sqlite://") as store, ThreadPoolExecutor(8) as threads:
        talks = [store.create(model="offline/echo") for _ in range(8)]
        list(threads.map(lambda talk: [talk.send(str(number)) for number in range(50)], talks))
        said = [str(number) for number in range(50) for _ in AUTHORS]
        assert [said] * 8 == [[each.content for each in talk.messages()] for talk in talks]


def test_two_stores_in_memory_are_two_stores():
    with convo.Store("sqlite://") as one, convo.Store("sqlite://") as other:
        one.create()
        assert [] == other.list()


@pytest.mark.parametrize("name", ["plain.db", "with space.db", "100%.db", "ünïcode 💬.db", "a#b.db", "it's;.db"])
def test_the_file_of_a_url_has_its_name(tmp_path: Path, name: str):
    convo.Store(f"sqlite:///{tmp_path / name}").close()
    assert sorted([name, f"{name}.lock", f"{name}.lock.next"]) == sorted(each.name for each in tmp_path.iterdir())


@pytest.mark.parametrize("name", ["50%25 off.db", "a?b=c.db"])
def test_the_file_of_a_url_object_has_its_name(tmp_path: Path, name: str):
    convo.Store(URL.create("sqlite", database=str(tmp_path / name))).close()
    assert sorted([name, f"{name}.lock", f"{name}.lock.next"]) == sorted(each.name for each in tmp_path.iterdir())


def test_a_relative_path_stays_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with convo.Store("sqlite:///here.db") as store:
        talk = store.create()
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        with store.engine.connect():
            assert [talk.id] == [each.id for each in store.list()]


def test_a_file_uri_is_the_same_store_as_its_path(path: Path):
    with convo.Store(f"sqlite:///{path}") as store, convo.Store(f"sqlite:///file:{path}?uri=true") as same:
        talk = store.create()
        assert talk.id == same.get(talk.id).id


def test_a_file_uri_makes_the_same_files_as_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    convo.Store("sqlite:///file:x.db?uri=true").close()
    assert [(f"x.db{ending}", "0o600") for ending in ("", ".lock", ".lock.next")] == modes(tmp_path)


def test_a_read_only_uri_can_be_read(path: Path, engine: Engine):
    talk = convo.Store(engine).create()
    with convo.Store(f"sqlite:///file:{path}?mode=ro&uri=true") as store:
        assert [talk.id] == [each.id for each in store.list()]


def test_a_read_only_uri_cannot_be_written(path: Path, engine: Engine):
    with (
        convo.Store(f"sqlite:///file:{path}?mode=ro&uri=true") as store,
        pytest.raises(StoreReadOnly, match=r"chats\.db"),
    ):
        store.create()


def test_a_read_only_uri_creates_nothing(tmp_path: Path):
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        convo.Store(f"sqlite:///file:{tmp_path / 'x.db'}?mode=ro&uri=true")
    assert [] == modes(tmp_path)


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true", "sqlite:///file:x?mode=memory&uri=true"],
)
def test_a_database_in_memory_makes_no_file(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with convo.Store(url) as store:
        store.create()
    assert [] == modes(tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "chats.db",
        "user:secret@host",
        "sqlite://secret/chats.db",
        "sqlite://user:secret@/chats.db",
        "sqlite:///chats.db?timeout=secret",
        "sqlite:///secret\0.db",
        "postgresql://user:secret",
        "postgresql://user:x@host:secret/name",
        "mysql://user:secret@host/name",
        "sqlite+pysqlcipher://:secret@/chats.db",
    ],
)
def test_what_is_no_url_of_a_store_is_refused_without_showing_it(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput) as refused:
        open_engine(url)
    assert (False, []) == ("secret" in "".join(traceback.format_exception(refused.value)), modes(tmp_path))


def test_sqlite_takes_its_own_driver_whatever_the_url_names(path: Path):
    with convo.Store(f"sqlite+aiosqlite:///{path}") as store:
        assert "pysqlite" == store.engine.driver


def test_the_file_is_a_database_in_wal_mode_for_other_programs_too(path: Path, engine: Engine):
    other = sqlite3.connect(path)
    assert ("wal",) == other.execute("PRAGMA journal_mode").fetchone()
    other.close()


def modes(folder: Path) -> list[tuple[str, str]]:
    return sorted((each.name, oct(each.stat().st_mode & 0o777)) for each in folder.iterdir())
