"""What a turn costs: a fixed list of statements, whatever the length of the history."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import Engine, event, make_url

import convo
from convo.store.history import FIRST_PAGE
from convo.testing import ScriptedClient
from tests.conftest import upgrade
from tests.shells import store_of
from tests.test_store import refusal

SHORT, LONG = 1_000, 100_000
LIMIT = 2_500
"""Tokens that both histories exceed by far; it takes three pages of a first prompt."""

Kinds = list[str | tuple[str, ...]]
"""What is executed, in order; a tuple is several statements, which are one on PostgreSQL."""

TOLD = ("INSERT convo_events", "UPDATE convo_conversations")
"""How each change ends: with its event, and the row that has the journal's new head."""
FACTOR: Kinds = ["SELECT convo_models"]
"""What the first turn of a store with a model reads, in a transaction of its own."""
BEGIN: Kinds = [
    "SELECT convo_conversations",
    "SELECT convo_turns",
    "SELECT convo_examples",
    "SELECT convo_messages",
    OPEN := ("INSERT convo_turns", "INSERT convo_messages", *TOLD),
    "COMMIT",
]
"""Of a conversation of which the store remembers nothing."""
UNCHANGED = "UPDATE convo_conversations"
"""The lock, and whether nothing happened since."""
BEGIN_REMEMBERED: Kinds = [
    (UNCHANGED, "INSERT convo_turns", "INSERT convo_messages", "INSERT convo_events"),
    "COMMIT",
]
"""Right after a turn through the same store."""
FINISH: Kinds = [(UNCHANGED, "UPDATE convo_turns", "INSERT convo_messages", "INSERT convo_events"), "COMMIT"]
FAILING = ["SELECT convo_conversations", "SELECT convo_turns", "UPDATE convo_turns", TOLD, "COMMIT"]
AGAIN = [
    "SELECT convo_conversations",
    "SELECT convo_turns",
    "SELECT convo_examples",
    "SELECT convo_messages",
    "SELECT convo_messages",
    "UPDATE convo_turns",
    TOLD,
    "COMMIT",
    "SELECT convo_conversations",
    "SELECT convo_messages",
    "UPDATE convo_turns",
    "INSERT convo_messages",
    TOLD,
    "SELECT convo_turns",
    "SELECT convo_messages",
    "COMMIT",
]
FORK = [
    "SELECT convo_conversations",
    "SELECT convo_turns",
    "INSERT convo_conversations",
    "INSERT convo_examples",
    "INSERT convo_turns",
    "INSERT convo_messages",
    "INSERT convo_events",
    TOLD,
    "COMMIT",
]
FIND = ["SELECT convo_messages", "SELECT convo_events", "SELECT convo_messages"]
ERASE = [
    "SELECT convo_conversations",
    *FIND,  # the text, whose fork it is, and the copies
    "SELECT convo_conversations",
    *FIND,  # once more, under the locks
    "UPDATE convo_messages",
    TOLD,
    "SELECT convo_conversations",
    "COMMIT",
]
FAIL = "fail"
HISTORY_TABLES = ("convo_turns", "convo_messages", "convo_events")


class Trace:
    """What an engine executed: kinds of statements and commits in order, whole statements, and rows fetched."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.statements: list[tuple[str, object]] = []
        self.rows = 0


def kind(statement: str) -> str:
    """Return the verb and the first table of a statement; of each one in a statement that has several."""
    if statement.startswith("WITH write_0 AS"):
        return " + ".join(
            f"{verb} {table}" for verb, table in re.findall(r"(INSERT|UPDATE)(?: INTO)? (convo_\w+)", statement)
        )
    return f"{statement.split(maxsplit=1)[0]} {re.search('(?:INTO|UPDATE|FROM) +(convo_[a-z]+)', statement)[1]}"


def executed(kinds: Kinds, engine: Engine) -> list[str]:
    """Return `kinds` as a trace has them."""
    if engine.dialect.name == "postgresql":
        return [each if isinstance(each, str) else " + ".join(each) for each in kinds]
    return [one for each in kinds for one in ([each] if isinstance(each, str) else each)]


@contextmanager
def traced(engine: Engine) -> Iterator[Trace]:
    trace = Trace()

    def execute(connection, cursor, statement, parameters, context, executemany):
        if "convo_" in statement:
            trace.kinds.append(kind(statement))
            trace.statements.append((statement, parameters[0] if executemany else parameters))

    def executed(connection, cursor, statement, parameters, context, executemany):
        if cursor.description is not None and engine.dialect.name == "postgresql":
            trace.rows += cursor.rowcount

    def commit(connection):
        trace.kinds.append("COMMIT")

    hooks = {"before_cursor_execute": execute, "after_cursor_execute": executed, "commit": commit}
    engine.row_seen = lambda: setattr(trace, "rows", trace.rows + 1)
    for name, hook in hooks.items():
        event.listen(engine, name, hook)
    try:
        yield trace
    finally:
        for name, hook in hooks.items():
            event.remove(engine, name, hook)


def count_rows(engine: Engine) -> None:
    """Tell `engine.row_seen` of every row that SQLite's driver fetches; PostgreSQL's tells their number itself."""

    def connect(connection, record):
        def made(cursor, row):
            engine.row_seen()
            return row

        connection.row_factory = made

    engine.row_seen = lambda: None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", connect)
        engine.dispose()  # the connections that are open already have no such hook


def said(length: int) -> list[str]:
    """Return texts that cost the same wherever the window begins."""
    return [f"message {number:06d}, with some more words in it" for number in range(length)]


@contextmanager
def database(server: str, name: str) -> Iterator[str]:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def answer(request: convo.ChatRequest) -> convo.ChatReply:
    """Answer with two candidates, unless told to fail."""
    if request.messages[-1].content == FAIL:
        raise ValueError
    return convo.ChatReply((convo.Candidate(0, "an answer"), convo.Candidate(1, "another")))


class Histories(convo.Store):
    """A store with a conversation `short` and one `long`, and what the first turn after each history cost."""

    def __init__(self, url: str) -> None:
        upgrade(url)
        super().__init__(url, client=ScriptedClient(answer))
        count_rows(self.engine)
        for name, length in (("short", SHORT), ("long", LONG)):
            self.create(name=name, examples=[("a", "b")], input_token_limit=LIMIT, messages=said(length))
        if self.engine.dialect.name == "postgresql":
            with self.engine.begin() as connection:
                connection.exec_driver_sql("ANALYZE")
        self.database.calibration.factor(self.get("short").model)  # which the first turn of all would read
        self.first_turns = {name: self.cost(self.get(name).send, "a new text") for name in ("short", "long")}

    def cost(self, run: Callable[..., object], *given: object) -> tuple[list[str], int]:
        """Return the statements that `run` executes, and how many rows it fetches; nothing was remembered before."""
        self.database.windows.clear()
        with traced(self.engine) as trace:
            run(*given)
        return trace.kinds, trace.rows


@pytest.fixture(scope="module")
def sqlite_history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Histories]:
    with Histories(f"sqlite:///{tmp_path_factory.mktemp('cost') / 'convo.db'}") as store:
        yield store


@pytest.fixture(scope="module")
def postgres_history(postgres_server: str) -> Iterator[Histories]:
    with database(postgres_server, f"cost_{uuid.uuid4().hex}") as url, Histories(url) as store:
        yield store


@pytest.fixture(params=["sqlite", "postgres"])
def history(request: pytest.FixtureRequest) -> Histories:
    return request.getfixturevalue(f"{request.param}_history")


def steps(talk: convo.Conversation) -> dict[str, Callable[[], object]]:
    """Return what is done with a conversation, in order."""
    return {
        "send": lambda: talk.send("a new text", request_key="k", candidate_count=2),
        "repeated send": lambda: talk.send("a new text", request_key="k", candidate_count=2),
        "choose": lambda: talk.choose(0),
        "preview": lambda: talk.preview("a new text"),
        "failing send": lambda: refusal(talk.send, FAIL),
        "resume": lambda: refusal(talk.resume),
        "discard": talk.discard,
        "regenerate": lambda: talk.regenerate(candidate_count=2),
        "last messages": lambda: talk.messages(last=20),
        "last turns": lambda: talk.turns(last=5),
        "update": lambda: talk.update(title="t"),
        "find": lambda: store_of(talk).get(talk.id[:18]),
    }


def test_nothing_costs_more_at_100000_messages_than_at_1000(history: Histories):
    costs = []
    for talk in (history.get("short"), history.get("long")):
        talk.send("so that the turn before this one is alike")
        costs.append({name: history.cost(run) for name, run in steps(talk).items()})
    assert costs[0] == costs[1]
    assert costs[0]["send"][1] > FIRST_PAGE


def test_a_turn_after_another_fetches_three_rows_at_any_length(history: Histories):
    """The conversation as it is found, and twice that it still is as it was found."""
    for name in ("short", "long"):
        history.get(name).send("so that its window is remembered")
        with traced(history.engine) as trace:
            history.get(name).send("a new text", candidate_count=1)
        assert executed(["SELECT convo_conversations", *BEGIN_REMEMBERED, *FINISH], history.engine) == trace.kinds
        assert 3 == trace.rows


def test_the_first_turn_after_100000_messages_costs_what_it_does_after_1000(history: Histories):
    assert history.first_turns["short"] == history.first_turns["long"]


def test_no_statement_of_a_turn_scans_the_history(history: Histories):
    is_sqlite = history.engine.dialect.name == "sqlite"
    explain = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "
    with traced(history.engine) as trace:
        talk = history.get("long")
        talk.update(input_token_limit=50 * LIMIT)  # a window of many pages
        talk.send("a new text", request_key="scan")
        talk.send("a new text", request_key="scan")
        talk.messages(last=500)
        talk.turns(last=200)
        talk.update(input_token_limit=LIMIT)
    with history.engine.connect() as connection:
        plans = [connection.exec_driver_sql(explain + each, given).all() for each, given in trace.statements]
    lines = [row[-1].strip() for plan in plans for row in plan]
    scans = [each for each in lines if re.search(f"(SCAN|Seq Scan on) ({'|'.join(HISTORY_TABLES)})", each)]
    assert [] == scans


def test_a_turn_takes_as_many_steps_of_sqlite_at_100000_messages_as_at_1000(sqlite_history: Histories):
    """The engine's own steps: what constraints look up at each write is no statement of ours."""
    taken = []
    for name in ("short", "long"):
        talk = sqlite_history.get(name)
        talk.send("a new text")
        taken.append(vm_steps(sqlite_history.engine, lambda: talk.send("a new text")))  # noqa: B023 - called at once
    assert taken[1] <= taken[0] * 1.1


def vm_steps(engine: Engine, run: Callable[[], object], every: int = 10) -> int:
    seen = [0]

    def progress() -> int:
        seen[0] += every
        return 0

    def checkout(connection, record, proxy):
        connection.set_progress_handler(progress, every)

    event.listen(engine, "checkout", checkout)
    run()
    event.remove(engine, "checkout", checkout)
    with engine.connect() as connection:
        connection.connection.dbapi_connection.set_progress_handler(None, 0)
    return seen[0]


def test_a_turn_executes_exactly_these_statements(store: convo.Store):
    store.client = ScriptedClient([f"reply {number}" for number in range(8)])
    talk = store.create(examples=[("a", "b")], messages=said(20), candidate_count=8)
    with traced(store.engine) as trace:
        talk.send("a", request_key="k")
    finish = [(*FINISH[0][:2], *["INSERT convo_messages"] * 8, FINISH[0][-1]), "COMMIT"]
    assert executed(FACTOR + BEGIN + finish, store.engine) == trace.kinds


def test_a_turn_after_another_reads_no_history(store: convo.Store):
    """Whatever object it goes through; until something else happens to the conversation."""
    talk = store.create(model="offline/echo", examples=[("a", "b")], messages=said(20))
    talk.send("a")
    with traced(store.engine) as trace:
        store.get(talk.id).send("b")
    assert executed(["SELECT convo_conversations", *BEGIN_REMEMBERED, *FINISH], store.engine) == trace.kinds
    store.get(talk.id).update(title="t")
    with traced(store.engine) as trace:
        store.get(talk.id).send("c")
    assert executed(["SELECT convo_conversations", *BEGIN, *FINISH], store.engine) == trace.kinds


def counting(share: float) -> Callable[[convo.ChatRequest], convo.ChatReply]:
    """Return what answers and counts `share` tokens for each one that was estimated."""

    def answer(request: convo.ChatRequest) -> convo.ChatReply:
        estimated = sum(each.tokens for each in request.messages)
        return convo.ChatReply((convo.Candidate(0, "an answer"),), convo.Usage(math.ceil(share * estimated), 2))

    return answer


def test_a_model_that_counts_as_estimated_costs_no_further_statement(store: convo.Store):
    store.client = ScriptedClient(counting(1.01))
    talk = store.create(messages=said(20))
    with traced(store.engine) as trace:
        talk.send("a")
        talk.send("b")
    assert executed(FACTOR + BEGIN + FINISH + BEGIN_REMEMBERED + FINISH, store.engine) == trace.kinds


def test_a_factor_is_stored_once_when_it_has_moved(store: convo.Store):
    store.client = ScriptedClient(counting(1.5))
    talk = store.create(messages=said(20))
    with traced(store.engine) as trace:
        for _ in range(20):
            talk.send("a")
    assert 1 == trace.kinds.count("INSERT convo_models")


def test_the_first_turn_reads_no_window(store: convo.Store):
    talk = store.create(model="offline/echo")
    with traced(store.engine) as trace:
        talk.send("a")
    begin = [each for each in BEGIN if each != "SELECT convo_messages"]
    assert executed(FACTOR + begin + FINISH, store.engine) == trace.kinds


def test_a_window_of_more_pages_is_read_by_one_statement_a_page(store: convo.Store):
    talk = store.create(model="offline/echo", messages=said(2 * 7 * FIRST_PAGE))
    with traced(store.engine) as first:
        talk.send("a")
    with traced(store.engine) as second:
        talk.send("b")
    store.database.windows.clear()
    with traced(store.engine) as third:
        talk.send("c")
    assert [3, 0, 1] == [each.kinds.count("SELECT convo_messages") for each in (first, second, third)]


def test_a_repeated_key_only_reads(store: convo.Store):
    talk = store.create(model="offline/echo")
    talk.send("a", request_key="k")
    with traced(store.engine) as trace:
        talk.send("a", request_key="k")
    kinds = [*BEGIN[:2], "SELECT convo_messages", "SELECT convo_turns", "SELECT convo_messages", "COMMIT"]
    assert kinds == trace.kinds


def test_another_answer_executes_exactly_these_statements(store: convo.Store):
    store.client = ScriptedClient("one", "two")
    talk = store.create(examples=[("a", "b")], messages=said(20))
    talk.send("a")
    with traced(store.engine) as trace:
        talk.regenerate()
    assert executed(AGAIN, store.engine) == trace.kinds


def test_a_fork_executes_exactly_these_statements(store: convo.Store):
    talk = store.create(model="offline/echo", examples=[("a", "b")], messages=said(20))
    with traced(store.engine) as whole:
        talk.fork()
    with traced(store.engine) as part:
        talk.fork(at=5)
    assert executed(FORK, store.engine) == whole.kinds
    cut, behind = "SELECT convo_events", "SELECT convo_events"  # where the journal is cut, and what came after that
    assert executed([*FORK[:2], cut, behind, *FORK[2:]], store.engine) == part.kinds


def test_a_fork_of_100000_messages_fetches_none_of_them(history: Histories):
    """The conversation, its last turn, where the journal is cut, and what became of the new row."""
    short, long = (history.cost(history.get(name).fork) for name in ("short", "long"))
    assert short[0] == long[0]
    assert max(short[1], long[1]) <= 5  # one of them may be the writer's who moves SQLite's log into the database


def test_erasing_executes_exactly_these_statements(store: convo.Store):
    talk = store.create(model="offline/echo", messages=said(20))
    with traced(store.engine) as alone:
        talk.erase(1, scrub=False)
    talk.fork()
    with traced(store.engine) as with_fork:
        talk.redact(3, "another", scrub=False)
    assert executed(ERASE, store.engine) == alone.kinds
    assert executed([*ERASE[:10], TOLD, *ERASE[10:]], store.engine) == with_fork.kinds


def test_erasing_and_forking_afterwards_cost_the_same_at_100000_messages(history: Histories):
    costs = []
    for name in ("short", "long"):
        talk = history.get(name)
        steps = [lambda: talk.erase(7, scrub=False), lambda: talk.fork(at=100)]  # noqa: B023 - called at once
        costs.append([history.cost(each) for each in steps])
    assert costs[0] == costs[1]


def test_a_turn_whose_model_fails_executes_a_fixed_list_of_statements(store: convo.Store):
    store.client = ScriptedClient(ValueError())
    talk = store.create(messages=said(20))
    with traced(store.engine) as trace:
        refusal(talk.send, "a")
    assert executed(FACTOR + BEGIN + FAILING, store.engine) == trace.kinds


def test_a_model_that_is_refused_costs_nothing(store: convo.Store):
    talk = store.create(model="offline/echo")
    with traced(store.engine) as trace:
        refusal(talk.send, "a", model="offline/nobody")
        refusal(talk.send, "")
    assert [] == trace.kinds
