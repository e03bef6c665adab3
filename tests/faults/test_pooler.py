"""Behind a pooler that hands each transaction another session: all works, and nothing is left in the sessions."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import text

from convo.store.database import Database
from convo.store.repository import ConversationRepository
from convo.testing import violations
from tests.conftest import new_database
from tests.faults.commits import OPERATIONS, Bench, send_from_threads
from tests.faults.proxy import Fate, Nth, Proxy

SESSIONS = 3
TIMEOUTS = {"lock_timeout": "5s", "statement_timeout": "30s", "idle_in_transaction_session_timeout": "15s"}
SETTINGS = ("default_transaction_isolation", "default_transaction_read_only", "search_path", "synchronous_commit")


@pytest.fixture(scope="module")
def bench(postgres_server: str, postgres_template: str) -> Iterator[Bench]:
    with new_database(postgres_server, template=postgres_template) as url:
        made = Bench(url, sessions=SESSIONS)
        yield made
        made.close()


@pytest.fixture(scope="module")
def direct(postgres_server: str, postgres_template: str) -> Iterator[Bench]:
    with new_database(postgres_server, template=postgres_template) as url:
        made = Bench(url)
        yield made
        made.close()


def from_every_session(proxy: Proxy, question: str) -> set[object]:
    """Return what the pooler's sessions answer to another client."""
    with psycopg.connect(proxy.url, autocommit=True) as connection:
        return {connection.execute(question).fetchone()[0] for _ in range(SESSIONS)}


def shown(repository: ConversationRepository) -> dict[str, str]:
    return {name: repository._execute(text(f"SHOW {name}")).scalar_one() for name in TIMEOUTS}


def test_each_transaction_gets_another_session(bench: Bench):
    assert SESSIONS == len(from_every_session(bench.proxy, "SELECT pg_backend_pid()"))


def test_startup_options_are_refused_as_an_old_pgbouncer_does(bench: Bench):
    with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter: options"):
        psycopg.connect(bench.proxy.url, options="-c lock_timeout=5s")


@pytest.mark.parametrize("name", OPERATIONS)
def test_everything_works_as_without_a_pooler(bench: Bench, direct: Bench, name: str):
    assert direct.outcome(name) == bench.outcome(name)


@pytest.mark.parametrize("name", ["create", "send with a key", "resume", "delete"])
def test_a_cut_commit_changes_nothing_behind_a_pooler(bench: Bench, name: str):
    assert bench.expected(name) == bench.outcome(name, Nth(1, Fate.CUT_AFTER))


def test_conversations_are_found_and_listed(bench: Bench):
    talk = bench.store.create(owner="lister", name="listed", messages=["a", "b"])
    assert [talk.id] == [each.id for each in bench.store.list(owner="lister")]
    assert talk.id == bench.store.get("listed", owner="lister").id == bench.store.get(talk.id, owner="lister").id
    assert {talk.id: "a"} == bench.store.first_texts([talk])


def test_the_tables_are_made_through_a_pooler(postgres_url: str):
    with Proxy(postgres_url, sessions=SESSIONS) as proxy:
        database = Database(proxy.url)
        database.upgrade()
        database.check_schema()
        database.close()
        assert {False} == from_every_session(proxy, "SELECT to_regclass('convo_turns') IS NULL")


def test_four_threads_send_at_once(bench: Bench):
    ids = [bench.store.create().id for _ in range(3)]
    told = send_from_threads(bench.store, ids, turns=15)
    assert (60, []) == (len(told), violations(bench.truth, ids, acknowledged=told))


def test_the_timeouts_hold_in_a_transaction_that_writes(bench: Bench):
    assert TIMEOUTS == bench.store.database.write(shown)


def test_the_timeouts_hold_in_a_transaction_that_reads(bench: Bench):
    assert TIMEOUTS == bench.store.database.read(shown)


@pytest.mark.parametrize("name", [*TIMEOUTS, *SETTINGS])
def test_no_setting_is_left_in_another_clients_session(bench: Bench, name: str):
    bench.outcome("send with a key")
    assert from_every_session(bench.proxy, f"SELECT reset_val FROM pg_settings WHERE name = '{name}'") == (
        from_every_session(bench.proxy, f"SELECT setting FROM pg_settings WHERE name = '{name}'")
    )


def test_no_statement_is_left_prepared_in_a_session(bench: Bench):
    for _ in range(10):
        bench.outcome("send with a key")
    assert {0} == from_every_session(bench.proxy, "SELECT count(*) FROM pg_prepared_statements")


def test_no_session_is_left_in_a_transaction(bench: Bench):
    bench.outcome("send in vain")
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in %'"
    assert {0} == from_every_session(bench.proxy, waiting)
