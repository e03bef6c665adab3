"""Several stores on one Engine, Engines that say little of themselves, and stores that are dropped open."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, StaticPool, create_engine, make_url, text

import convo
from convo.errors import StoreUnavailable
from convo.store.urls import shown_url
from convo.testing import HistoryClient, violations
from tests.forked import in_child


def test_two_stores_on_one_database_in_memory_write_one_after_the_other():
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    stores = [convo.Store(engine, client=HistoryClient()) for _ in range(2)]
    talks = [each.create() for each in stores]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda talk: [talk.send(f"{talk.id} {number}") for number in range(50)], talks))
    assert ([50, 50], []) == ([len(each.turns()) for each in talks], violations(stores[0]))
    engine.dispose()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Return a folder, and another one that is the working folder."""
    folders = tmp_path / "a", tmp_path / "b"
    for each in folders:
        each.mkdir()
    monkeypatch.chdir(folders[0])
    return folders


def beside(folder: Path) -> set[str]:
    return {each.name.removeprefix("chats.db") for each in folder.iterdir()}


FILES = {"", "-shm", "-wal", ".lock", ".lock.next", ".owners"}


def take_a_turn(engine: Engine) -> None:
    with convo.Store(engine) as store:
        store.create(model="offline/echo").send("hello")


def test_the_locks_lie_beside_the_file_of_a_relative_engine(
    elsewhere: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
):
    engine = create_engine("sqlite:///chats.db")
    monkeypatch.chdir(elsewhere[1])
    take_a_turn(engine)
    assert (FILES, set()) == (beside(elsewhere[0]), beside(elsewhere[1]))
    engine.dispose()


def test_the_locks_lie_beside_the_file_that_a_creator_opens(elsewhere: tuple[Path, Path]):
    path = elsewhere[1] / "chats.db"
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(path, check_same_thread=False))
    take_a_turn(engine)
    assert {".lock", ".lock.next", ".owners"} <= beside(elsewhere[1])
    engine.dispose()


def test_a_store_that_is_dropped_open_leaves_no_lock(tmp_path: Path):
    def handles() -> int:
        gc.collect()
        return sum(
            str(tmp_path) in str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()
        )

    store = convo.Store(f"sqlite:///{tmp_path / 'chats.db'}")
    store.create(model="offline/echo").send("hello")
    store.engine.dispose()
    before = handles()
    del store
    assert (3, 0) == (before, handles())


def test_links_that_lead_in_a_circle_are_told(tmp_path: Path):
    (tmp_path / "one.db").symlink_to(tmp_path / "two.db")
    (tmp_path / "two.db").symlink_to(tmp_path / "one.db")
    with pytest.raises(StoreUnavailable):
        convo.Store(f"sqlite:///{tmp_path / 'one.db'}")


def test_a_child_refuses_a_file_that_its_parent_had_open_elsewhere(tmp_path: Path):
    path = tmp_path / "chats.db"
    with convo.Store(f"sqlite:///{path}") as store:
        talk = store.create(model="offline/echo")
        own = sqlite3.connect(path)
        own.execute("SELECT count(*) FROM convo_turns").fetchone()
        with pytest.raises(RuntimeError, match=r"StoreUnavailable: .* when this process was forked"):
            in_child(lambda: talk.send("lost").text)
        own.close()
        assert ("child", "parent") == (in_child(lambda: talk.send("child").text), talk.send("parent").text)


@pytest.fixture
def application(postgres_store_url: str) -> Iterator[Engine]:
    """Return an Engine whose application commits what it leaves."""
    url = make_url(postgres_store_url).set(drivername="postgresql+psycopg")
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_reset_on_return="commit")
    yield engine
    engine.dispose()


def test_a_store_leaves_an_engines_own_way_to_end_a_transaction(application: Engine):
    with convo.Store(application):
        connection = application.raw_connection()
        connection.cursor().execute("CREATE TABLE theirs (x int)")
        connection.close()
    with application.connect() as connection:
        assert connection.scalar(text("SELECT to_regclass('theirs') IS NOT NULL"))


def test_many_stores_on_one_engine_add_one_listener(application: Engine):
    for _ in range(5):
        convo.Store(application).close()
    assert 1 == len(list(application.pool.dispatch.reset))


def test_a_store_is_opened_on_an_engine_whose_connections_were_lost(application: Engine, postgres_store_url: str):
    convo.Store(application).close()
    with psycopg.connect(postgres_store_url, autocommit=True) as other:
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        other.execute(f"SELECT pg_terminate_backend(pid, 5000) {others}")
    with convo.Store(application) as store:
        assert [] == store.list()


def test_no_secret_of_a_url_is_shown():
    secrets = dict.fromkeys(("password", "sslpassword", "oauth_client_secret", "scram_client_key"), "canary")
    url = make_url("postgresql://user@host/name").update_query_dict(secrets)
    assert "postgresql://user@host/name" == shown_url(url)


def test_an_error_of_a_read_tells_its_conversation(tmp_path: Path):
    with convo.Store(f"sqlite:///{tmp_path / 'chats.db'}") as store:
        talk = store.create(messages=["hello", "hi"])
        with store.engine.begin() as connection:
            connection.execute(text("ALTER TABLE convo_messages RENAME TO gone"))
        told = []
        for read in (talk.messages, lambda: talk.preview("hello", model="offline/echo")):
            with pytest.raises(convo.StoreError) as failed:
                read()
            told.append(failed.value.conversation)
        assert [talk.id, talk.id] == told
