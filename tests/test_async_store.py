"""AsyncStore: when it opens and closes, in which threads it works, and over which pools."""

from __future__ import annotations

import contextlib
import io
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from sqlalchemy import (
    Engine,
    NullPool,
    Pool,
    QueuePool,
    SingletonThreadPool,
    StaticPool,
    create_engine,
    event,
    make_url,
)

import convo
from convo.testing import HistoryClient, ScriptedClient, violations
from tests.conftest import upgrade
from tests.processes import run
from tests.test_store import texts

pytestmark = pytest.mark.anyio


async def at_once(*works: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Run all in tasks of their own, and return what they return, in order."""
    results: list[Any] = [None] * len(works)

    async def run(place: int) -> None:
        results[place] = await works[place]()

    async with anyio.create_task_group() as group:
        for place in range(len(works)):
            group.start_soon(run, place)
    return results


@contextmanager
def hooked(on: type[Engine] | type[Pool], name: str, hook: Callable[..., object]) -> Iterator[None]:
    """Call `hook` at an event of every engine, or pool, that there is."""
    event.listen(on, name, hook)
    try:
        yield
    finally:
        event.remove(on, name, hook)


def names_in(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


# ---- opening


async def test_a_store_opens_at_its_first_use(tmp_path: Path):
    path = tmp_path / "convo.db"
    store = convo.AsyncStore(f"sqlite:///{path}")
    before = path.exists()
    await store.create()
    await store.close()
    assert (False, True) == (before, path.exists())


async def test_a_store_opens_on_entry(tmp_path: Path):
    path = tmp_path / "convo.db"
    async with convo.AsyncStore(f"sqlite:///{path}"):
        assert path.exists()


async def test_many_tasks_at_the_first_use_open_it_once(url: str):
    looks: list[str] = []

    def execute(connection, cursor, statement, parameters, context, executemany):
        looks.extend([statement] if "version_num" in statement else [])

    store = convo.AsyncStore(url)
    with hooked(Engine, "before_cursor_execute", execute):
        await at_once(*[store.create] * 20)
    await store.close()
    assert 1 == len(looks)


async def test_many_tasks_at_the_first_use_of_a_new_file_are_all_served(tmp_path: Path):
    store = convo.AsyncStore(f"sqlite:///{tmp_path / 'convo.db'}")
    talks = await at_once(*[store.create] * 20)
    await store.close()
    assert 20 == len({each.id for each in talks})


WRONG = {
    "mysql://host/name": convo.InvalidInput,
    "no url": convo.InvalidInput,
    "postgresql://127.0.0.1:1/name": convo.StoreUnavailable,
    "sqlite:////dev/null/convo.db": convo.StoreUnavailable,
}


@pytest.mark.parametrize(("target", "error"), WRONG.items())
async def test_what_cannot_be_opened_is_an_error_of_convo(target: str, error: type[convo.ConvoError]):
    with pytest.raises(error):
        async with convo.AsyncStore(target):
            pass


async def test_a_database_without_tables_is_out_of_date(postgres_url: str):
    with pytest.raises(convo.SchemaOutOfDate):
        async with convo.AsyncStore(postgres_url):
            pass


async def test_all_who_come_while_it_cannot_be_opened_are_told(postgres_url: str):
    store = convo.AsyncStore(postgres_url)
    refused: list[type[Exception]] = []

    async def use() -> None:
        try:
            await store.create()
        except convo.ConvoError as error:
            refused.append(type(error))

    await at_once(*[use] * 5)
    assert [convo.SchemaOutOfDate] * 5 == refused


async def test_a_store_that_could_not_be_opened_opens_when_it_can(postgres_url: str):
    store = convo.AsyncStore(postgres_url)
    with pytest.raises(convo.SchemaOutOfDate):
        await store.list()
    upgrade(postgres_url)
    found = await store.list()
    await store.close()
    assert [] == found


async def test_whoever_is_cancelled_while_it_opens_leaves_it_to_the_next(url: str):
    store = convo.AsyncStore(url)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.create()
    made = await store.create()
    found = await store.list()
    await store.close()
    assert [made.id] == [each.id for each in found]


# ---- closing


@contextmanager
def held_commit() -> Iterator[tuple[threading.Event, threading.Event]]:
    """Hold the next COMMIT: yield what tells that it has come, and what lets it go."""
    has_come, go = threading.Event(), threading.Event()

    def commit(connection: object) -> None:
        has_come.set()
        assert go.wait(60)

    with hooked(Engine, "commit", commit):
        try:
            yield has_come, go
        finally:
            go.set()


async def test_close_waits_for_the_transactions_under_way(url: str):
    store = convo.AsyncStore(url)
    talk = await store.create(name="a")
    closed: list[str | None] = []

    async def close() -> None:
        await store.close()
        with convo.Store(url) as again:
            closed.append(again.get("a").title)

    with held_commit() as (has_come, go):
        async with anyio.create_task_group() as group:
            group.start_soon(partial(talk.update, title="t"))
            await anyio.to_thread.run_sync(has_come.wait)
            group.start_soon(close)
            await anyio.wait_all_tasks_blocked()
            before = list(closed)
            go.set()
    assert ([], ["t"]) == (before, closed)


async def test_no_thread_is_left_when_a_store_is_closed(url: str):
    before = set(threading.enumerate())
    async with convo.AsyncStore(url, client=ScriptedClient()) as store:
        talks = await at_once(*[store.create] * 20)
        await at_once(*[partial(each.send, "a") for each in talks])
    left = {each.name.split()[0] for each in set(threading.enumerate()) - before if not each.daemon}
    assert set() == left - {"AnyIO"}


async def test_closing_waits_until_a_cancelled_turn_is_marked(url: str):
    class Polite(ScriptedClient):
        """A client that takes a while to hang up."""

        async def chat_async(self, request: convo.ChatRequest, *, deadline_s: float) -> convo.ChatReply:
            called.set()
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.02)
            raise AssertionError

    called = anyio.Event()
    async with anyio.create_task_group() as group, convo.AsyncStore(url, client=Polite()) as store:
        talk = await store.create()
        group.start_soon(talk.send, "a")
        await called.wait()
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await store.close()
            with convo.Store(url) as other:
                turn = other.get(talk.id).turn(1)
    assert ("failed", "cancelled") == (turn.state, turn.error)


async def test_a_store_that_is_closed_by_a_cancellation_is_closed(url: str):
    async with anyio.create_task_group() as group, convo.AsyncStore(url, client=ScriptedClient()) as store:
        group.start_soon((await store.create()).send, "a")
        group.cancel_scope.cancel()
        await anyio.lowlevel.checkpoint()
    assert 0 == store.engine.pool.checkedin() + store.engine.pool.checkedout()


async def test_closing_twice_does_nothing_the_second_time(url: str):
    store = convo.AsyncStore(url)
    await store.create()
    await store.close()
    await store.close()
    assert 0 == store.engine.pool.checkedin() + store.engine.pool.checkedout()


async def test_a_store_that_was_never_used_can_be_closed(tmp_path: Path):
    store = convo.AsyncStore(f"sqlite:///{tmp_path / 'convo.db'}")
    await store.close()
    assert [] == names_in(tmp_path)


async def test_a_store_that_was_closed_can_be_used_again(url: str):
    store = convo.AsyncStore(url)
    talk = await store.create()
    await store.close()
    found = await store.list()
    await store.close()
    assert [talk.id] == [each.id for each in found]


def test_a_store_serves_one_event_loop_after_the_other(url: str):
    store = convo.AsyncStore(url, client=ScriptedClient())

    async def send() -> int:
        return len(await (await store.get_or_create("a")).turns()) + (await (await store.get("a")).send("b")).turn

    found = [anyio.run(send, backend=backend) for backend in ("asyncio", "asyncio", "trio")]
    anyio.run(store.close)
    assert [1, 3, 5] == found


NEVER_CLOSED = """
import sys
import anyio, convo

async def main():
    talk = await convo.AsyncStore(sys.argv[2], client=convo.testing.ScriptedClient()).create()
    print((await talk.send("a")).text)

anyio.run(main, backend=sys.argv[1])
"""


def test_a_process_ends_without_having_closed_its_store(url: str, anyio_backend: str):
    ended = run("-c", "import convo.testing" + NEVER_CLOSED, anyio_backend, url)
    assert (0, "a\n") == (ended.returncode, ended.stdout)  # a driver may complain about its connections


# ---- threads


async def verified(store: convo.AsyncStore, talk: convo.AsyncConversation) -> list[convo.Verdict]:
    return [await talk.verify(), *[each async for each in store.verify()]]


USES: dict[str, Callable[[convo.AsyncStore, convo.AsyncConversation], Awaitable[object]]] = {
    "create": lambda store, _: store.create(name="another"),
    "create_from": lambda store, _: store.create_from(convo.chat(model="offline/echo", messages="x")),
    "get": lambda store, _: store.get("talk"),
    "find": lambda store, _: store.find("talk"),
    "get_or_create": lambda store, _: store.get_or_create("third"),
    "list": lambda store, talk: store.list(after=talk),
    "first_texts": lambda store, talk: store.first_texts([talk]),
    "send": lambda _, talk: talk.send("a"),
    "stream": lambda _, talk: drained(talk, "b"),
    "choose": lambda _, talk: talk.choose(0),
    "preview": lambda _, talk: talk.preview("c"),
    "messages": lambda _, talk: talk.messages(),
    "as_prompt": lambda _, talk: talk.as_prompt("c"),
    "turns": lambda _, talk: talk.turns(),
    "turn": lambda _, talk: talk.turn(1),
    "request": lambda _, talk: talk.request(1),
    "examples": lambda _, talk: talk.examples(),
    "events": lambda _, talk: talk.events(),
    "refresh": lambda _, talk: talk.refresh(),
    "update": lambda _, talk: talk.update(title="t"),
    "resume": lambda _, talk: refused(talk.send, "d", then=talk.resume),
    "discard": lambda _, talk: refused(talk.send, "e", then=talk.discard),
    "regenerate": lambda _, talk: talk.regenerate(),
    "fork": lambda _, talk: talk.fork(),
    "edit": lambda _, talk: talk.edit(1, "f"),
    "tree": lambda store, talk: store.tree(talk.id),
    "preferences": lambda store, _: preferred(store),
    "verify": verified,
    "heads": lambda store, _: kept_heads(store),
    "export": lambda store, _: store.export(io.BytesIO()),
    "import_": lambda store, _: imported_again(store),
    "backup": lambda store, _: backed_up(store),
    "redact": lambda _, talk: talk.redact(2, "r"),
    "erase": lambda _, talk: talk.erase(1),
    "scrub": lambda store, _: store.scrub(["a text that went"]),
    "prune": lambda store, _: store.prune(timedelta(0)),
    "forget": lambda store, _: forgotten(store),
    "delete": lambda store, _: store.delete("talk"),
    "close": lambda store, _: store.close(),
}
"""Every method, in an order in which each has something to do."""


async def drained(talk: convo.AsyncConversation, text: str) -> str:
    """Return what a stream brings."""
    async with aclosing(talk.stream(text)) as pieces:
        return "".join([each.text async for each in pieces])


async def kept_heads(store: convo.AsyncStore) -> list[convo.Head]:
    return [each async for each in store.heads()]


async def imported_again(store: convo.AsyncStore) -> convo.ImportReport:
    file = io.BytesIO()
    await store.export(file)
    return await store.import_(io.BytesIO(file.getvalue()), new_ids=True)


async def backed_up(store: convo.AsyncStore) -> None:
    """Copy a store, where it is in SQLite."""
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(convo.InvalidInput):
        await store.backup(Path(folder) / "copy.db")


async def preferred(store: convo.AsyncStore) -> list[convo.Preference]:
    return [each async for each in store.preferences()]


async def forgotten(store: convo.AsyncStore) -> convo.Erasure:
    await store.create(owner="somebody")
    return await store.forget("somebody")


async def refused(send: Callable[[str], Awaitable[object]], text: str, then: Callable[[], Awaitable[object]]) -> None:
    """Send to a model that fails, then do something about it."""
    with pytest.raises(convo.ModelError):
        await send(text)
    await then()


def test_every_method_is_used_here():
    kinds = (convo.AsyncStore, convo.AsyncConversation)
    methods = {name for kind in kinds for name in dir(kind) if callable(getattr(kind, name))}
    assert {each for each in methods if not each.startswith("_")} == USES.keys()


async def test_no_method_uses_the_database_in_the_thread_of_the_event_loop(url: str):
    answers = ["a", "b", ValueError(), "d", ValueError(), "d2", "f"]
    speakers: dict[int, str] = {}

    def speak(*given: object) -> None:
        speakers[threading.get_ident()] = threading.current_thread().name

    with (
        hooked(Engine, "before_cursor_execute", speak),
        hooked(Pool, "connect", speak),
        hooked(Pool, "checkout", speak),
        hooked(Pool, "close", speak),
    ):
        store = convo.AsyncStore(url, client=ScriptedClient(*answers))
        talk = await store.create(name="talk")
        for use in USES.values():
            await use(store, talk)
    assert speakers
    assert threading.get_ident() not in speakers


# ---- several, and over other pools than convo's own


async def test_two_stores_on_one_database_work_at_once(url: str):
    async with (
        convo.AsyncStore(url, client=HistoryClient()) as one,
        convo.AsyncStore(url, client=HistoryClient()) as two,
    ):
        talks = await at_once(one.create, two.create)
        await at_once(*[partial(each.send, "a") for each in talks])
        await one.close()
        assert "a" == (await (await two.get(talks[0].id)).messages())[0].content


async def test_two_stores_on_two_databases_work_at_once(tmp_path: Path):
    urls = [f"sqlite:///{tmp_path / name}.db" for name in "ab"]
    async with convo.AsyncStore(urls[0]) as one, convo.AsyncStore(urls[1]) as two:
        talks = await at_once(*[one.create, two.create] * 10)
        found = await at_once(one.list, two.list)
    assert [{each.id for each in talks[place::2]} for place in (0, 1)] == [{each.id for each in some} for some in found]


def engines(url: str) -> dict[str, Engine]:
    """Return engines of an application's own: one that keeps no connection, and one that has but one."""
    at = make_url(url)
    at = at.set(drivername="postgresql+psycopg") if at.drivername == "postgresql" else at
    one = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 1e-6}
    return {
        "none": create_engine(at, poolclass=NullPool),
        "one": create_engine(at, poolclass=QueuePool, **one),
    }


async def sent_at_once(engine: Engine, count: int) -> tuple[int, list[Any]]:
    """Let so many conversations send at once; return how many turns are stored, and what is wrong with them."""
    async with convo.AsyncStore(engine, client=HistoryClient()) as store:
        talks = await at_once(*[store.create] * count)
        await at_once(*[partial(each.send, "a") for each in talks])
    with convo.Store(engine) as store:
        found = [texts(each)[0] for each in store.list(limit=2 * count)]
        return len(found), list(violations(store))


@pytest.mark.parametrize("kind", ["none", "one"])
async def test_an_engine_of_ones_own_serves_as_many_as_it_has_connections(url: str, kind: str):
    engine = engines(url)[kind]
    found = await sent_at_once(engine, 30)
    engine.dispose()
    assert (30, []) == found


async def test_an_engine_whose_threads_share_one_connection_serves_all():
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    found = await sent_at_once(engine, 30)
    engine.dispose()
    assert (30, []) == found


async def test_an_engine_whose_threads_have_a_database_each_is_refused():
    engine = create_engine("sqlite://", poolclass=SingletonThreadPool)
    with pytest.raises(convo.InvalidInput, match="a database of its own"):
        await convo.AsyncStore(engine).create()
    engine.dispose()


async def test_an_engine_that_was_passed_in_stays_open(tmp_path: Path):
    engine = create_engine(f"sqlite:///{tmp_path / 'convo.db'}")
    async with convo.AsyncStore(engine) as store:
        await store.create()
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT count(*) FROM convo_conversations").scalar()
    engine.dispose()
    assert 1 == found


async def test_closing_waits_until_it_is_open(tmp_path: Path):
    """Else it would be open afterwards, and nobody there to close it."""
    store = convo.AsyncStore(f"sqlite:///{tmp_path / 'convo.db'}")
    with held_commit() as (has_come, go):
        async with anyio.create_task_group() as group:
            group.start_soon(store.__aenter__)
            await anyio.to_thread.run_sync(has_come.wait)
            group.start_soon(store.close)
            await anyio.wait_all_tasks_blocked()
            go.set()
    assert 0 == store.engine.pool.checkedin()
