"""While a model hangs, its turn holds nothing: no connection, no transaction, no lock, no place of a writer.

And while the server hangs, the turn does not: a connection on which no answer comes is given up.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import make_url, text

import convo
from convo.testing import HistoryClient
from tests.faults.proxy import Fate, Nth, Proxy, is_commit
from tests.processes import run

HANGING = 12
"""Turns at once: more than there are connections in a pool."""

OTHER_PROCESS = """
import sys
import convo

with convo.Store(sys.argv[1]) as store:
    print(store.create(model="offline/echo").send("hello").text)
"""

WRITER = """
import sqlite3, sys

connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE convo_conversations SET updated_at = updated_at")
connection.execute("COMMIT")
connection.close()
"""


class Hanging:
    """Turns of which each waits for its model, until `go` is set."""

    def __init__(self, store: convo.Store, pool: ThreadPoolExecutor, count: int) -> None:
        self.go = threading.Event()
        self._called = threading.Semaphore(0)
        store.client = HistoryClient(before_answer=self._hang)
        self.talks = [store.create() for _ in range(count)]
        self.sent: list[Future] = [pool.submit(each.send, "hello") for each in self.talks]
        for _ in range(count):
            self._called.acquire()

    def _hang(self, request: convo.ChatRequest) -> None:
        self._called.release()
        self.go.wait()


@pytest.fixture
def store(url: str) -> Iterator[convo.Store]:
    with convo.Store(url) as opened:
        yield opened


@contextmanager
def hanging_in(store: convo.Store) -> Iterator[Hanging]:
    with ThreadPoolExecutor(HANGING) as pool:
        made = Hanging(store, pool, HANGING)
        yield made
        made.go.set()


@pytest.fixture
def hanging(store: convo.Store) -> Iterator[Hanging]:
    with hanging_in(store) as made:
        yield made


@pytest.fixture
def other(url: str) -> Iterator[convo.Store]:
    with convo.Store(url) as opened:
        yield opened


def test_no_connection_is_held(store: convo.Store, hanging: Hanging):
    assert 0 == store.engine.pool.checkedout()


def test_another_thread_uses_the_same_store(store: convo.Store, hanging: Hanging):
    store.client = HistoryClient()
    assert 2 == len(store.create().send("hello").conversation.messages())


def test_another_process_takes_a_turn(url: str, hanging: Hanging):
    done = run("-c", OTHER_PROCESS, url)
    assert ("hello\n", "") == (done.stdout, done.stderr)


def test_its_own_conversation_can_be_changed(other: convo.Store, hanging: Hanging):
    assert "theirs" == other.get(hanging.talks[0].id).update(title="theirs").title


def test_its_own_conversation_can_be_read(other: convo.Store, hanging: Hanging):
    assert ["hello"] == [each.content for each in other.get(hanging.talks[0].id).messages()]


def test_all_are_answered_when_the_model_comes_back(hanging: Hanging):
    hanging.go.set()
    for each in hanging.sent:
        each.result()
    assert ["done"] * HANGING == [talk.turn(1).state for talk in hanging.talks]


@pytest.fixture
def postgres_store(postgres_store_url: str) -> Iterator[convo.Store]:
    with convo.Store(postgres_store_url) as opened:
        yield opened


@pytest.fixture
def hanging_on_postgres(postgres_store: convo.Store) -> Iterator[Hanging]:
    with hanging_in(postgres_store) as made:
        yield made


def ask(store: convo.Store, question: str) -> object:
    with store.engine.connect() as connection:
        return connection.execute(text(question)).scalar()


@pytest.mark.usefixtures("hanging_on_postgres")
def test_no_session_of_the_server_is_in_a_transaction(postgres_store: convo.Store):
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    in_one = f"SELECT count(*) FROM pg_stat_activity WHERE {others} AND (state <> 'idle' OR xact_start IS NOT NULL)"
    assert 0 == ask(postgres_store, in_one)


@pytest.mark.usefixtures("hanging_on_postgres")
def test_no_lock_of_the_server_is_held(postgres_store: convo.Store):
    others = "activity.datname = current_database() AND pid <> pg_backend_pid()"
    held = f"SELECT count(*) FROM pg_locks JOIN pg_stat_activity activity USING (pid) WHERE {others}"
    assert 0 == ask(postgres_store, held)


@pytest.fixture
def sqlite_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('hang') / 'convo.db'}"


@pytest.fixture
def hanging_on_a_file(sqlite_url: str) -> Iterator[Hanging]:
    with convo.Store(sqlite_url) as store, ThreadPoolExecutor(HANGING) as pool:
        made = Hanging(store, pool, HANGING)
        yield made
        made.go.set()


def test_another_process_writes_the_file_at_once(sqlite_url: str, hanging_on_a_file: Hanging):
    done = run("-c", WRITER, str(make_url(sqlite_url).database))
    assert (0, "") == (done.returncode, done.stderr)


def test_the_file_can_be_written_back_into_itself(sqlite_url: str, hanging_on_a_file: Hanging):
    connection = sqlite3.connect(str(make_url(sqlite_url).database), timeout=0)
    assert (0, 0, 0) == connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    connection.close()


def test_a_server_that_lets_in_and_says_nothing_is_unavailable(postgres_store_url: str):
    with Proxy(postgres_store_url) as proxy:
        proxy.is_silent = True
        with pytest.raises(convo.StoreUnavailable):
            convo.Store(make_url(proxy.url).update_query_dict({"connect_timeout": "2"}))


def is_insert(statement: str) -> bool:
    return statement.startswith("INSERT")


@pytest.fixture
def hung_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a store wait but a moment for an answer of its server."""
    monkeypatch.setattr("convo.store.postgres.ANSWER_S", 1.0)


@pytest.mark.usefixtures("hung_up")
@pytest.mark.parametrize("match", [is_commit, is_insert, bool], ids=["commit", "insert", "first"])
def test_a_connection_on_which_no_answer_comes_is_given_up_and_the_turn_goes_on(postgres_store_url: str, match):
    with Proxy(postgres_store_url) as proxy, convo.Store(proxy.url, client=HistoryClient()) as store:
        talk = store.create()
        proxy.rule = Nth(1, Fate.SWALLOW, match=match)
        reply = talk.send("hello")
        assert [reply.text] == [each.reply.content for each in talk.turns()]
