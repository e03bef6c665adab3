"""How transactions begin on PostgreSQL: with convo's timeouts, and without a trace in an Engine that was passed in."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.orm import Session

import convo
from convo.errors import InvalidInput, StoreReadOnly

TIMEOUTS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


@pytest.fixture
def engine(postgres_store_url: str) -> Iterator[Engine]:
    """Return an Engine of the application's own, with one connection."""
    url = make_url(postgres_store_url).set(drivername="postgresql+psycopg")
    engine = create_engine(url, pool_size=1, max_overflow=0)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: Engine) -> Iterator[convo.Store]:
    """Return a store on the application's Engine."""
    with convo.Store(engine) as opened:
        yield opened


def shown(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return [connection.scalar(text(f"SHOW {name}")) for name in TIMEOUTS]


def test_our_transactions_have_the_timeouts_on_an_engine_that_was_passed_in(store: convo.Store):
    assert ["5s", "30s", "15s"] == shown(store.engine)


def test_the_timeouts_end_with_our_transaction(store: convo.Store, engine: Engine):
    store.create()
    assert ["0", "0", "0"] == shown(engine)


def test_the_application_still_commits_its_own_transactions(store: convo.Store, engine: Engine):
    store.create()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE theirs (x int)"))
        connection.execute(text("INSERT INTO theirs VALUES (1)"))
    with engine.connect() as connection:
        assert [(1,)] == connection.execute(text("SELECT x FROM theirs")).all()


def test_the_application_still_rolls_its_own_transactions_back(store: convo.Store, engine: Engine):
    store.create()
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE theirs (x int)"))
        connection.rollback()
        assert connection.scalar(text("SELECT to_regclass('theirs') IS NULL"))


def test_a_stores_engine_opens_another_store(store: convo.Store):
    talk = store.create(model="offline/echo")
    with convo.Store(store.engine) as other:
        assert "hello" == other.get(talk.id).send("hello").text


def test_rows_in_a_transaction_of_ones_own_are_committed(store: convo.Store):
    with Session(store.engine) as session, session.begin():
        made = convo.ConversationRepository(session).create(convo.NewConversation(model="offline/echo"))
    assert made.id == store.get(made.id).id


def test_rows_in_a_transaction_of_ones_own_are_rolled_back(store: convo.Store):
    with Session(store.engine) as session:
        convo.ConversationRepository(session).create(convo.NewConversation(model="offline/echo"))
        session.rollback()
    assert [] == store.list()


def test_a_read_sees_one_moment(store: convo.Store, postgres_store_url: str):
    store.create()

    def work(repository: convo.ConversationRepository) -> tuple[int, int]:
        before = len(repository.list())
        with convo.Store(postgres_store_url) as other:
            other.create()
        return before, len(repository.list())

    assert (1, 1) == store.database.read(work)


def test_a_read_cannot_write(store: convo.Store):
    with pytest.raises(StoreReadOnly):
        store.database.read(lambda repository: repository.create(convo.NewConversation(model="offline/echo")))


def test_another_driver_is_refused():
    driver = SimpleNamespace(paramstyle="format", __version__="1.31.0")
    with pytest.raises(InvalidInput, match="psycopg, not pg8000"):
        convo.Store(create_engine("postgresql+pg8000://host/name", module=driver))
