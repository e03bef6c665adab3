"""A stroke: a whole transaction that is known before it begins, and made if its conversation is as it was seen."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

import pytest
from sqlalchemy import Connection, Engine, StaticPool, create_engine, event, make_url, text

import convo
from convo.errors import StoreUnavailable
from convo.store import prepared
from convo.store.transactions import IS_DIRECT
from convo.store.turns import taking
from convo.testing import ScriptedClient
from tests.conftest import upgrade
from tests.faults.proxy import ALONE, LATE_S, STROKE, Fate, Proxy, let_pass
from tests.faults.server import Server
from tests.processes import run

SETTINGS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


def words(proxy: Proxy, since: int) -> list[str]:
    """Return how the statements begin that were sent after the first `since`."""
    return [each[: len(STROKE)] if each.startswith("WITH") else each.split()[0] for each in proxy.statements[since:]]


def settled(proxy: Proxy) -> convo.Store:
    """Return a store behind the proxy that remembers the last turn of its conversation "talk"."""
    store = convo.Store(proxy.url)
    store.create(name="talk", model="offline/echo").send("so that its window is remembered")
    return store


def test_a_turn_is_three_round_trips_where_the_session_is_our_own(postgres_store_url: str):
    with Proxy(postgres_store_url) as proxy, settled(proxy) as store:
        talk = store.get("talk")
        since = len(proxy.statements)
        store.get(talk.id).send("hello")
        assert ["SELECT", STROKE, STROKE] == words(proxy, since)
        since = len(proxy.statements)
        store.get(talk.id).send("hello", request_key="k")
        assert ["SELECT", "SELECT", STROKE, STROKE] == words(proxy, since)


def test_behind_a_pooler_a_stroke_is_a_transaction_with_its_timeouts(postgres_store_url: str):
    with Proxy(postgres_store_url, sessions=2) as proxy, settled(proxy) as store:
        since = len(proxy.statements)
        store.get("talk").send("hello")
        assert ["BEGIN", STROKE, "COMMIT"] * 2 == words(proxy, since)[-6:]
        begins = [each for each in proxy.statements[since:] if each.startswith("BEGIN")]
        assert all(f"SET LOCAL {name} = " in each for each in begins for name in SETTINGS)


@pytest.mark.parametrize(("sessions", "is_direct"), [(0, True), (2, False)], ids=["direct", "pooler"])
def test_a_pooler_is_told_from_the_server_itself(postgres_store_url: str, sessions: int, is_direct: bool):
    with Proxy(postgres_store_url, sessions=sessions) as proxy, settled(proxy) as store:
        with store.engine.connect() as connection:
            assert is_direct == bool(connection.info.get(IS_DIRECT))
            prepared = connection.scalar(text("SELECT count(*) FROM pg_prepared_statements"))
        assert is_direct == (prepared > 0)


def test_a_session_of_our_own_has_the_timeouts_that_its_url_does_not_set(postgres_store_url: str):
    url = make_url(postgres_store_url).update_query_dict({"options": "-c lock_timeout=7s"})
    with convo.Store(url) as store, store.engine.connect() as connection:
        assert ["7s", "30s", "15s"] == [connection.scalar(text(f"SHOW {name}")) for name in SETTINGS]


def test_a_url_that_says_what_to_prepare_is_refused(postgres_store_url: str):
    with pytest.raises(convo.InvalidInput, match="leave prepare_threshold out"):
        convo.Store(make_url(postgres_store_url).update_query_dict({"prepare_threshold": "5"}))


def test_an_engine_that_was_passed_in_makes_strokes_in_transactions(postgres_store_url: str):
    engine = create_engine(make_url(postgres_store_url).set(drivername="postgresql+psycopg"))
    with convo.Store(engine) as store:
        talk = store.create(model="offline/echo")
        assert ["a", "b"] == [talk.send(each).text for each in ("a", "b")]
        assert talk.verify().is_sound
    engine.dispose()


def change(store: convo.Store, id: str) -> None:
    store.get(id).update(title="changed by somebody else")


def answer(store: convo.Store, id: str) -> None:
    store.get(id).send("said by somebody else")


def raise_limit(store: convo.Store, id: str) -> None:
    store.get(id).update(input_token_limit=5_000)


@pytest.mark.parametrize("happens", [change, answer, raise_limit], ids=lambda each: each.__name__)
def test_a_turn_begins_as_ever_when_another_process_was_there_meanwhile(
    url: str, happens: Callable[[convo.Store, str], None]
):
    """Its store remembers what the conversation was like, and the turn begins with what it is like."""
    with convo.Store(url) as store, convo.Store(url) as other:
        talk = store.create(model="offline/echo", input_token_limit=40)
        talk.send("one")
        happens(other, talk.id)
        question = "a text" * 40 if happens is raise_limit else "two"
        assert question == talk.send(question).text
        said = [each.content for each in talk.messages()][::2]
        assert ["one", *(["said by somebody else"] if happens is answer else []), question] == said
        assert talk.verify().is_sound


@pytest.mark.parametrize("happens", [change, raise_limit], ids=lambda each: each.__name__)
def test_an_answer_is_stored_as_ever_when_something_happened_while_it_was_made(
    url: str, happens: Callable[[convo.Store, str], None]
):
    with convo.Store(url) as other:

        def meanwhile(request: convo.ChatRequest) -> str:
            happens(other, talk.id)
            return "an answer"

        with convo.Store(url, client=ScriptedClient("first", meanwhile, "third")) as store:
            talk = store.create(model="any")
            assert ["first", "an answer", "third"] == [talk.send(each).text for each in "abc"]
            assert talk.verify().is_sound


def test_a_prompt_that_is_too_long_is_refused_by_what_the_conversation_is_now(url: str):
    with convo.Store(url) as store:
        talk = store.create(model="offline/echo", input_token_limit=40)
        talk.send("one")
        with pytest.raises(convo.PromptTooLong):
            talk.send("a text " * 200)
        assert "two" == talk.send("two").text


def test_a_listener_changes_nothing_but_who_hears(url: str):
    """Through SQLAlchemy or by the driver alone: the same rows."""
    heard: list[str] = []

    def listen(connection, cursor, statement, parameters, context, executemany):
        heard.append(statement)

    with convo.Store(url) as quiet, convo.Store(url) as loud:
        event.listen(loud.engine, "before_cursor_execute", listen)
        talks = [each.create(model="offline/echo", context="c", examples=[("a", "b")]) for each in (quiet, loud)]
        for talk in talks:
            for number in range(3):
                talk.send(f"hello {number}", request_key=f"k{number}")
            talk.regenerate()
        one, another = (
            [(each.number, each.state, each.chosen, [one.content for one in each.candidates]) for each in talk.turns()]
            for talk in talks
        )
        assert one == another
        assert [each.kind for each in talks[0].events()] == [each.kind for each in talks[1].events()]
        assert all(talk.verify().is_sound for talk in talks)
    assert sum("UPDATE convo_conversations" in each for each in heard) > 6


def test_an_engine_that_echoes_logs_the_statements_of_a_turn(url: str, caplog: pytest.LogCaptureFixture):
    with convo.Store(url) as store:
        talk = store.create(model="offline/echo")
        talk.send("a")
        store.engine.echo = True
        try:
            with caplog.at_level(logging.INFO, logger="sqlalchemy.engine.Engine"):
                talk.send("a secret text")
        finally:
            store.engine.echo = False
    assert any("UPDATE convo_conversations" in each.message for each in caplog.records)
    assert not any("a secret text" in each.message for each in caplog.records)


def read(engine: Engine) -> int:
    """Return how many rows of the history this database's sessions have read by scanning whole tables."""
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
        connection.commit()
        scanned = "SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname LIKE 'convo_%'"
        return int(connection.scalar(text(scanned)))


def test_plans_that_a_session_has_kept_since_the_tables_were_empty_scan_nothing(postgres_url: str):
    upgrade(postgres_url)
    with convo.Store(postgres_url) as store:
        talk = store.create(model="offline/echo")
        for number in range(15):  # PostgreSQL keeps a plan from the sixth execution on
            store.get(talk.id).send(f"hello {number}")
        long = store.create(model="offline/echo", messages=[f"message {number}" for number in range(6_000)])
        long.send("a first turn reads a window")
        before = read(store.engine)
        for number in range(5):
            store.get(long.id).send(f"hello {number}")
        assert read(store.engine) - before < 100


def test_a_stroke_that_comes_late_is_known_again_however_late(postgres_store_url: str):
    """It is stored after the store has looked for it in vain, and before it has its lock."""
    with Proxy(postgres_store_url) as proxy, settled(proxy) as store:
        state = {"cut": False}

        def rule(statement: str) -> Fate:
            if statement.endswith(ALONE) and not state["cut"]:
                state["cut"] = True
                return Fate.LATE
            if state["cut"] and statement.startswith(("WITH", "SELECT convo_conversations.journal_length")):
                time.sleep(2 * LATE_S)
            return Fate.PASS

        talk = store.get("talk")
        proxy.rule = rule
        assert "hello" == talk.send("hello").text
        proxy.rule = let_pass
        assert ([True, True], True) == ([each.state == "done" for each in talk.turns()], talk.verify().is_sound)


@pytest.mark.parametrize("sessions", [0, 2], ids=["direct", "pooler"])
def test_a_server_that_went_away_before_a_stroke_has_stored_nothing(
    postgres_store_url: str, monkeypatch: pytest.MonkeyPatch, sessions: int
):
    monkeypatch.setattr("convo.store.database.PATIENCE_S", 0.3)
    with Proxy(postgres_store_url, sessions=sessions) as proxy, settled(proxy) as store:
        talk = store.get("talk")
        proxy.refuse()
        proxy.cut_all()
        time.sleep(0.1)  # until the news has come
        with pytest.raises(convo.StoreUnavailable):
            talk.send("hello")


def test_a_read_joins_nobody_elses_transaction_on_the_same_connection():
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    with convo.Store(engine) as store:
        talk = store.create(model="offline/echo")
        talk.send("a")
        with engine.connect() as theirs:
            theirs.execute(text("CREATE TABLE theirs (x int)"))
            with pytest.raises(convo.StoreError):
                talk.messages()
        assert "b" == talk.send("b").text
    engine.dispose()


def test_who_listens_to_his_own_connection_hears_a_repositorys_statements(url: str):
    heard: list[str] = []
    with convo.Store(url) as store:
        talk = store.create(model="offline/echo")
        with store.engine.begin() as connection:
            event.listen(connection, "before_cursor_execute", lambda *given: heard.append(given[2]))
            assert talk.id == convo.ConversationRepository(connection).find(talk.id).id
    assert [True] == [each.startswith("SELECT convo_conversations") for each in heard]


def test_what_cannot_be_made_conditional_is_no_part_of_a_stroke():
    with pytest.raises(TypeError, match="cannot follow another one"):
        taking(("state",)).if_found()


KILLED = """
import os, signal, sys
from sqlalchemy import event
import convo

store, number, left = convo.Store(sys.argv[1]), int(sys.argv[2]), []
talk = store.get("talk")
talk.send("so that its window is remembered")

def count(statement):
    left.append(statement)
    if len(left) == number:
        os.kill(os.getpid(), signal.SIGKILL)

event.listen(store.engine, "checkout", lambda driver, *_: driver.set_trace_callback(count))  # which hears no statement
talk.send("hello")
print(len(left))
"""


def test_a_process_that_is_killed_at_any_statement_of_a_stroke_loses_nothing(sqlite_store_url: str):
    """Before each statement that SQLite's driver is given, as the store has it when nobody listens."""
    with convo.Store(sqlite_store_url) as store:
        store.create(name="talk", model="offline/echo")
        in_flight = 0
        whole = run("-c", KILLED, sqlite_store_url, "0")
        assert whole.returncode == 0, whole.stderr
        for number in range(1, int(whole.stdout) + 1):
            killed = run("-c", KILLED, sqlite_store_url, str(number))
            assert -signal.SIGKILL == killed.returncode
            talk = store.get("talk")
            assert talk.verify().is_sound
            last = talk.turns()[-1]
            if last.state == "in_flight":
                assert ("hello", "hello") == (last.message.content, talk.resume().text)
                in_flight += 1
        assert in_flight > 4


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL], ids=lambda how: how.name)
def test_a_server_that_was_stopped_before_a_turn_is_unavailable(how: signal.Signals, monkeypatch: pytest.MonkeyPatch):
    """Not one of which nobody knows whether it has stored the turn: it was never told to."""
    monkeypatch.setattr("convo.store.database.PATIENCE_S", 0.3)
    with Server() as server:
        upgrade(server.url)
        with convo.Store(server.url) as store:
            talk = store.create(model="offline/echo")
            talk.send("so that its window is remembered")
            if how is signal.SIGKILL:
                server.kill()
            else:
                server.stop(how)
            with pytest.raises(StoreUnavailable):
                talk.send("hello")
            server.start()
            assert 1 == len(store.get(talk.id).turns())


@pytest.mark.parametrize("is_heard", [False, True], ids=["alone", "heard"])
def test_ctrl_c_while_a_connection_is_taken_leaves_none_lent(is_heard: bool):
    """At each line of what takes it, in memory, where there is one connection."""
    with convo.Store("sqlite://") as store:
        talk = store.create(model="offline/echo")
        if is_heard:
            event.listen(store.engine, "commit", lambda _: None)
        taken, interrupted = 0, True
        while interrupted:
            taken += 1
            interrupted = interrupt_taking(store, talk.id, taken)
            assert (taken, 0) == (taken, store.engine.pool.checkedout())  # type: ignore[attr-defined]
        assert taken > 5
        talk.send("hello")


def interrupt_taking(store: convo.Store, id: str, at: int) -> bool:
    """Look for a conversation with Ctrl-C at the n-th line of what takes a connection; return whether there is one."""
    lines = 0

    def traced(frame: FrameType, event: str, _: object) -> object:
        nonlocal lines
        if frame.f_code.co_filename != prepared.__file__ or frame.f_code.co_name not in ("__enter__", "_borrow"):
            return traced if event == "call" else None
        if event == "line":
            lines += 1
            if lines == at:
                raise KeyboardInterrupt
        return traced

    before = sys.gettrace()
    sys.settrace(traced)  # type: ignore[arg-type]
    try:
        store.get(id)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_listeners_to_all_connections_hear_a_turn(postgres_store_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Connection, "_has_events", False)  # and again afterwards: SQLAlchemy leaves it on
    heard: list[str] = []

    def hear(connection: object, cursor: object, statement: str, *_: object) -> None:
        heard.append(statement.split(maxsplit=1)[0])

    with convo.Store(postgres_store_url) as store:
        talk = store.create(model="offline/echo")
        event.listen(Connection, "before_cursor_execute", hear)
        try:
            store.get(talk.id).send("hello")
        finally:
            event.remove(Connection, "before_cursor_execute", hear)
        assert heard[0] == "SELECT"
        assert heard.count("WITH") == 2
