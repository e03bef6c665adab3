"""PostgreSQL opened right: the driver, the timeouts, lost connections, and typed errors that keep passwords."""

from __future__ import annotations

import contextlib
import socketserver
import struct
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, make_url, text

import convo
from convo.errors import StoreBusy, StoreReadOnly, StoreUnavailable
from convo.store.database import Database
from convo.store.repository import ConversationRepository
from convo.store.urls import open_engine
from convo.values import ConversationRecord
from tests.conftest import upgrade
from tests.faults.server import SETTINGS as SERVER
from tests.faults.server import Server

SETTINGS = {
    "lock_timeout": "5s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "15s",
    "application_name": "convo",
}
PASSWORD = "hunter2-canary"


@pytest.fixture
def store(postgres_url: str) -> Iterator[convo.Store]:
    """Return an open store on PostgreSQL."""
    upgrade(postgres_url)
    with convo.Store(postgres_url) as opened:
        yield opened


def url_with(url: str, **query: str) -> URL:
    return make_url(url).update_query_dict(query)


def settings(url: str | URL) -> dict[str, str]:
    """Return what the server says of a connection's settings."""
    engine = open_engine(url)
    with engine.connect() as connection:
        found = {name: connection.scalar(text(f"SHOW {name}")) for name in SETTINGS}
    engine.dispose()
    return found


@pytest.mark.parametrize("name", ["postgresql", "postgres", "postgresql+psycopg2", "postgresql+asyncpg"])
def test_every_url_of_postgresql_goes_through_psycopg(name: str):
    assert "postgresql+psycopg" == open_engine(f"{name}://host/name").url.drivername


def test_a_url_as_heroku_writes_it_works(store: convo.Store, postgres_url: str):
    with convo.Store(postgres_url.replace("postgresql:", "postgres:")) as same:
        assert [] == same.list()


def test_a_connection_has_its_timeouts_and_its_name(postgres_url: str):
    assert SETTINGS == settings(postgres_url)


def test_options_of_the_url_are_kept(postgres_url: str):
    engine = open_engine(url_with(postgres_url, options="-c work_mem=5MB"))
    with engine.connect() as connection:
        assert "5MB" == connection.scalar(text("SHOW work_mem"))
    engine.dispose()


def test_options_of_the_url_leave_the_timeouts(postgres_url: str):
    assert SETTINGS == settings(url_with(postgres_url, options="-c work_mem=5MB"))


def test_a_timeout_of_the_url_wins(postgres_url: str):
    assert SETTINGS | {"lock_timeout": "1s"} == settings(url_with(postgres_url, options="-c lock_timeout=1s"))


def test_options_may_be_given_more_than_once(postgres_url: str):
    several = f"{make_url(postgres_url).render_as_string(hide_password=False)}&options=-cwork_mem%3D5MB"
    assert SETTINGS | {"lock_timeout": "1s"} == settings(f"{several}&options=-clock_timeout%3D1s")


def test_a_name_of_the_url_wins(postgres_url: str):
    assert "mine" == settings(url_with(postgres_url, application_name="mine"))["application_name"]


def test_no_statement_is_prepared_as_poolers_want(store: convo.Store):
    for _ in range(10):
        store.list()
    with store.engine.connect() as connection:
        assert 0 == connection.scalar(text("SELECT count(*) FROM pg_prepared_statements"))


def test_a_connection_that_the_server_closed_is_replaced(store: convo.Store, postgres_url: str):
    talk = store.create()
    cut(postgres_url)
    assert talk.id == store.get(talk.id).id


def test_a_connection_that_the_server_closed_is_replaced_before_a_write(store: convo.Store, postgres_url: str):
    talk = store.create(model="offline/echo")
    cut(postgres_url)
    assert "hello" == talk.send("hello").text


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait for a server that is gone."""
    monkeypatch.setattr("convo.store.database.PATIENCE_S", 0.0)


def test_a_connection_that_is_lost_at_work_is_told(store: convo.Store, postgres_url: str, impatient: None):
    def work(repository: ConversationRepository) -> list[ConversationRecord]:
        repository.list()
        cut(postgres_url)
        return repository.list()

    with pytest.raises(StoreUnavailable) as lost:
        store.database.read(work)
    assert (True, True) == (lost.value.retryable, is_told(lost.value))


def test_a_read_whose_connection_is_lost_is_run_again(store: convo.Store, postgres_url: str):
    talk, times = store.create(), []

    def work(repository: ConversationRepository) -> list[str]:
        times.append(repository.list())
        if len(times) == 1:
            cut(postgres_url)
        return [each.id for each in repository.list()]

    assert ([talk.id], 2) == (store.database.read(work), len(times))


def test_a_transaction_that_idles_is_ended(postgres_url: str, impatient: None):
    upgrade(postgres_url)
    database = Database(url_with(postgres_url, options="-c idle_in_transaction_session_timeout=10ms"))

    def work(repository: ConversationRepository) -> list[ConversationRecord]:
        repository.list()
        while not holds(postgres_url, f"count(*) = 0 {OTHER_SESSIONS}"):
            time.sleep(0.005)
        return repository.list()

    with pytest.raises(StoreUnavailable) as ended:
        database.read(work)
    database.close()
    assert (True, True) == (ended.value.retryable, is_told(ended.value))


def test_a_conversation_is_written_by_one_transaction_after_the_other(store: convo.Store, postgres_url: str):
    talk = store.create()
    order: list[str] = []

    def slow(repository: ConversationRepository) -> None:
        repository.lock(talk.id)
        other = threads.submit(store.database.write, quick)
        while not other.done() and not holds(
            postgres_url, f"count(*) = 1 {OTHER_SESSIONS} AND wait_event_type = 'Lock'"
        ):
            time.sleep(0.005)
        order.append("slow")
        waiting.append(other)

    def quick(repository: ConversationRepository) -> None:
        repository.lock(talk.id)
        order.append("quick")

    waiting: list[Any] = []
    with ThreadPoolExecutor(1) as threads:
        store.database.write(slow)
        waiting[0].result()
    assert ["slow", "quick"] == order


def test_two_conversations_are_written_at_once(store: convo.Store):
    one, other = store.create(), store.create()

    def work(repository: ConversationRepository) -> str:
        repository.lock(one.id)
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(store.database.write, lambda second: second.lock(other.id).id).result()

    assert other.id == store.database.write(work)


def test_eight_threads_send_to_one_conversation(store: convo.Store):
    talk = store.create(model="offline/echo")

    def send(number: int) -> str:
        while True:
            try:
                return store.get(talk.id).send(str(number)).text
            except convo.TurnInFlight:
                time.sleep(0.005)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(send, range(24)))
    assert [str(number) for number in range(24)] == answers


def test_a_writer_that_waits_too_long_for_a_conversation_may_try_again(store: convo.Store, postgres_url: str):
    talk = store.create()
    impatient = Database(url_with(postgres_url, options="-c lock_timeout=10ms"))
    with store.engine.begin() as holder:
        holder.execute(text("SELECT 1 FROM convo_conversations FOR UPDATE"))
        with pytest.raises(StoreBusy) as busy:
            impatient.write(lambda repository: repository.lock(talk.id))
    impatient.close()
    assert (True, True) == (busy.value.retryable, is_told(busy.value))


def test_a_read_only_server_is_told(store: convo.Store, postgres_url: str):
    read_only = url_with(postgres_url, options="-c default_transaction_read_only=on")
    with convo.Store(read_only) as standby, pytest.raises(StoreReadOnly) as told:
        standby.create()
    assert is_told(told.value)


def test_a_read_only_server_can_be_read(store: convo.Store, postgres_url: str):
    talk = store.create()
    with convo.Store(url_with(postgres_url, options="-c default_transaction_read_only=on")) as standby:
        assert [talk.id] == [each.id for each in standby.list()]


@pytest.mark.parametrize(
    "wrong",
    [
        {"database": "there_is_none"},
        {"username": "nobody_of_that_name"},
        {"host": "127.0.0.1", "port": 1, "query": {}},
        {"query": {"host": "/there/is/no/such/folder"}},
        {"query": {"sslmode": "nonsense"}},
    ],
    ids=["database", "user", "port", "host", "option"],
)
def test_a_server_that_cannot_be_reached_is_told_without_the_password(postgres_url: str, wrong: dict[str, Any]):
    error = failure(make_url(postgres_url).set(password=PASSWORD).set(**wrong))
    assert (True, False) == (is_told(error), PASSWORD in everything_told(error))


def test_a_password_in_the_query_is_not_shown(postgres_url: str):
    wrong = url_with(postgres_url, password=PASSWORD).set(database="there_is_none")
    assert PASSWORD not in everything_told(failure(wrong))


def test_a_wrong_password_is_told_without_it(refusing_server: int):
    error = failure(f"postgresql://somebody:{PASSWORD}@127.0.0.1:{refusing_server}/name?sslmode=disable")
    assert (True, False) == (is_told(error), PASSWORD in everything_told(error))


def test_a_server_that_has_no_connection_left_is_told():
    settings = {**SERVER, "max_connections": "4", "superuser_reserved_connections": "0", "max_wal_senders": "0"}
    with Server(settings) as server, contextlib.ExitStack() as held:
        for _ in range(4):
            held.enter_context(psycopg.connect(server.url))
        assert "no connection left" in str(failure(server.url))


def test_a_store_shows_its_place_without_the_password(store: convo.Store, postgres_url: str):
    with convo.Store(url_with(postgres_url, password=PASSWORD)) as same:
        assert PASSWORD not in repr(same)


class Refusal(socketserver.StreamRequestHandler):
    """A PostgreSQL server that asks for a password and takes none."""

    def handle(self) -> None:
        self._read_message(b"")
        self.wfile.write(b"R" + struct.pack("!ii", 8, 3))  # AuthenticationCleartextPassword
        self._read_message(self.rfile.read(1))
        fields = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed\0\0"
        self.wfile.write(b"E" + struct.pack("!i", 4 + len(fields)) + fields)

    def _read_message(self, _kind: bytes) -> bytes:
        (length,) = struct.unpack("!i", self.rfile.read(4))
        return self.rfile.read(length - 4)


@pytest.fixture
def refusing_server() -> Iterator[int]:
    """Return the port of a server that refuses every password."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def failure(url: str | URL) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as failed:
        convo.Store(url)
    return failed.value


def is_told(error: Exception) -> bool:
    """Return whether an error is one line that names the store, and says what is the matter after that."""
    return str(error).startswith("postgresql+psycopg://") and "\n" not in str(error) and ": " in str(error)


def everything_told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error)


OTHER_SESSIONS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def cut(url: str) -> None:
    """Let the server end all sessions of the database but this one."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"SELECT pg_terminate_backend(pid, 5000) {OTHER_SESSIONS}")


def holds(url: str, condition: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute(f"SELECT {condition}").fetchone() == (True,)
