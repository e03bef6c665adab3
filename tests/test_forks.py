"""A process that forks with an open store: parent and child both go on with it, and neither harms the other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

import convo
from convo.store import forks
from convo.testing import HistoryClient, violations
from tests.conftest import database_url
from tests.forked import Child, in_child
from tests.processes import run, start
from tests.test_lease import SlowModel, asking, outcome, pool, slow  # noqa: F401 - fixtures
from tests.test_store import refusal

SOON_S = 0.2
"""When a thread ends that holds something at the fork."""


@pytest.fixture(params=["sqlite", "memory", "postgres", "an engine of sqlite", "an engine of postgres"])
def opened(request: pytest.FixtureRequest) -> Iterator[convo.Store]:
    """Return an open store with one conversation of one turn, of each kind, by URL or by an engine of one's own."""
    kind = request.param.split(" ")[-1].replace("postgres", "postgres_store")
    url = database_url(request, kind).replace("postgresql:", "postgresql+psycopg:")
    engine = create_engine(url) if request.param.startswith("an engine") else None
    with convo.Store(engine or url, client=HistoryClient()) as store:
        store.create(name="a").send("before")
        yield store
    if engine is not None:
        engine.dispose()


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[convo.Store]:
    """Return an open SQLite store with one conversation of one turn."""
    with convo.Store(f"sqlite:///{tmp_path / 'chats.db'}", client=HistoryClient()) as store:
        store.create(name="a").send("before")
        yield store


def said(store: convo.Store) -> list[str | None]:
    """Return what the users said in conversation "a"."""
    return [each.message.content for each in store.get("a").turns()]


def is_shared(store: convo.Store) -> bool:
    """Return whether parent and child see the same database."""
    return store.engine.url.database is not None


# ---- nobody does anything at the fork


def test_a_child_reads_what_was_there(opened: convo.Store):
    assert ["before"] == in_child(lambda: said(opened))


def test_a_child_writes_and_takes_turns(opened: convo.Store):
    def work() -> list[str | None]:
        opened.create(name="b", messages=["x", "y"])
        opened.get("a").update(title="t").send("in the child")
        return [opened.get("a").title, *said(opened), *[each.content for each in opened.get("b").messages()]]

    assert ["t", "before", "in the child", "x", "y"] == in_child(work)


def test_the_parent_goes_on_and_sees_the_childs_turns(opened: convo.Store):
    in_child(lambda: opened.get("a").send("in the child").text)
    opened.get("a").send("in the parent")
    theirs = ["in the child"] if is_shared(opened) else []
    assert (["before", *theirs, "in the parent"], []) == (said(opened), violations(opened))


def test_parent_and_child_take_turns_at_the_same_time(opened: convo.Store):
    def work() -> None:
        for number in range(10):
            insist(opened, f"child {number}")

    child = Child(work)
    for number in range(10):
        insist(opened, f"parent {number}")
    child.result()
    assert (21 if is_shared(opened) else 11, []) == (len(said(opened)), violations(opened))


def test_a_child_of_a_child_takes_turns(opened: convo.Store):
    def work() -> list[str | None]:
        opened.get("a").send("child")
        return in_child(lambda: opened.get("a").send("grandchild") and said(opened))

    assert ["before", "child", "grandchild"] == in_child(work)


def test_a_child_may_close_the_store(opened: convo.Store):
    in_child(opened.close)
    opened.get("a").send("after")
    assert (["before", "after"], []) == (said(opened), violations(opened))


def test_a_closed_store_stays_closed_at_a_fork(on_disk: convo.Store):
    on_disk.close()
    assert ([], []) == (open_files(on_disk), in_child(lambda: open_files(on_disk)))


def test_a_child_inherits_no_open_file_of_the_store(on_disk: convo.Store):
    with on_disk.database.owner.attempt():
        assert [] == in_child(lambda: open_files(on_disk))


def test_a_child_uses_none_of_its_parents_connections(postgres_store_url: str):
    with convo.Store(postgres_store_url) as store:
        ours = server_process(store)
        theirs = in_child(lambda: server_process(store))
        assert (True, ours) == (theirs != ours, server_process(store))


def insist(store: convo.Store, message: str) -> None:
    while True:
        try:
            store.get("a").send(message, request_key=message)
        except convo.TurnInFlight:
            time.sleep(0.001)
        else:
            return


def open_files(store: convo.Store) -> list[str]:
    """Return the files of the store that this process has open."""
    found = [str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.exists()]
    return [each for each in found if each.startswith(str(store.engine.url.database))]


def server_process(store: convo.Store) -> int:
    with store.engine.connect() as connection:
        return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


# ---- the child alone with the store


ALONE = """
import os, sys
import convo
from convo.testing import HistoryClient

with convo.Store(sys.argv[1]) as store:
    print(len(store.get("a").turns()))
"""


@pytest.mark.parametrize("ends", ["closes the store", "still has it open"])
def test_what_a_child_stores_is_kept_when_others_close_the_store(tmp_path: Path, ends: str):
    """The last one to close a store deletes its log: SQLite must not forget that the child is still there."""
    url = f"sqlite:///{tmp_path / 'chats.db'}"
    store = convo.Store(url, client=HistoryClient())
    store.create(name="a").send("before")
    heard, tell = os.pipe()

    def work() -> list[str | None]:
        store.get("a").send("early")
        os.read(heard, 1)
        store.get("a").send("late")
        return [*said(store), run("-c", ALONE, url).stdout.strip()]

    child = Child(work)
    while len(said(store)) == 1:
        time.sleep(0.01)
    if ends == "closes the store":
        store.close()
    assert "2\n" == run("-c", ALONE, url).stdout
    os.write(tell, b".")
    assert ["before", "early", "late", "3"] == child.result()
    assert "3\n" == run("-c", ALONE, url).stdout
    store.close()


ENDING = """
import os, sys
import convo
from convo.testing import HistoryClient

store = convo.Store(sys.argv[1], client=HistoryClient())
talk = store.get("a")
talk.send("parent")
if os.fork() == 0:
    if sys.argv[2] == "uses it":
        talk.send("child")
    sys.exit()
os.wait()
talk.send("parent again")
store.close()
"""


@pytest.mark.parametrize("child", ["uses it", "leaves it alone"])
def test_a_child_that_exits_harms_nothing(url: str, child: str):
    with convo.Store(url, client=HistoryClient()) as store:
        store.create(name="a")
        ended = run("-c", ENDING, url, child)
        assert (0, "", "") == (ended.returncode, ended.stdout, ended.stderr)
        expected = ["parent", *(["child"] if child == "uses it" else []), "parent again"]
        assert (expected, []) == (said(store), violations(store))


def test_a_child_that_exits_leaves_its_parent_the_connection(postgres_store_url: str):
    script = ENDING.replace("os.wait()", "os.wait(); print(before == process())").replace(
        "if os.fork() == 0:", PROCESS + "if os.fork() == 0:"
    )
    with convo.Store(postgres_store_url, client=HistoryClient()) as store:
        store.create(name="a")
        assert "True\n" == run("-c", script, postgres_store_url, "leaves it alone").stdout


PROCESS = """
import sqlalchemy
def process():
    with store.engine.connect() as connection:
        return connection.execute(sqlalchemy.text("SELECT pg_backend_pid()")).scalar_one()
before = process()
"""


# ---- other threads do something at the fork


def fork_during(hold: Callable[[Callable[[], None]], Any], work: Callable[[], Any]) -> Any:
    """Run `work` in a child that is forked while a thread is in `hold(wait)`; return the result when both ended."""
    inside = threading.Event()

    def wait() -> None:
        inside.set()
        time.sleep(SOON_S)

    with ThreadPoolExecutor(1) as thread:
        held = thread.submit(hold, wait)
        assert inside.wait(60)
        result = in_child(work)
        held.result()
    return result


def test_a_fork_during_a_write_of_another_thread_harms_neither(opened: convo.Store):
    id = opened.get("a").id

    def write(wait: Callable[[], None]) -> None:
        def work(repository: Any) -> None:
            record = repository.lock(id, "")
            repository.update(record, title="one")
            wait()
            repository.update(repository.lock(id, ""), title="two")

        opened.database.write(work)

    assert ["before", "child"] == fork_during(write, lambda: opened.get("a").send("child") and said(opened))
    assert ("two", []) == (opened.get("a").title, violations(opened))


def test_a_fork_during_a_read_of_another_thread_harms_neither(opened: convo.Store):
    def read(wait: Callable[[], None]) -> int:
        def work(repository: Any) -> int:
            before = len(repository.list("", limit=9))
            wait()
            return before + len(repository.list("", limit=9))

        return opened.database.read(work)

    assert ["before", "child"] == fork_during(read, lambda: opened.get("a").send("child") and said(opened))
    assert [] == violations(opened)


def test_a_fork_while_a_thread_holds_the_writers_lock_leaves_the_child_free(on_disk: convo.Store):
    def hold(wait: Callable[[], None]) -> None:
        with on_disk.database._lock.held(5):
            wait()

    assert ["before", "child"] == fork_during(hold, lambda: on_disk.get("a").send("child") and said(on_disk))


def test_a_turn_that_is_in_flight_at_the_fork_is_so_for_the_child(opened: convo.Store, slow: SlowModel, pool: Any):  # noqa: F811 - the fixtures
    sent = asking(opened.get("a"), slow, pool)
    assert convo.TurnInFlight is in_child(lambda: refusal(opened.get("a").send, "x"))
    slow.go.set()
    assert "late" == outcome(sent)


def test_the_child_goes_on_where_its_parents_turn_ended(on_disk: convo.Store, slow: SlowModel, pool: Any):  # noqa: F811 - the fixtures
    heard, tell = os.pipe()
    sent = asking(on_disk.get("a"), slow, pool)
    on_disk.client = HistoryClient()
    child = Child(lambda: (os.read(heard, 1), on_disk.get("a").send("child"), said(on_disk))[-1])
    slow.go.set()
    assert "late" == outcome(sent)
    os.write(tell, b".")
    assert ["before", "slow", "child"] == child.result()


def test_threads_that_send_and_children_that_send_lose_nothing(url: str):
    with convo.Store(url, client=HistoryClient()) as store:
        store.create(name="a")
        with ThreadPoolExecutor(3) as threads:
            sent = [threads.submit(insist, store, f"thread {number}") for number in range(30)]
            children = [Child(lambda name=number: insist(store, f"child {name}")) for number in range(8)]
            assert [None] * 38 == [each.result() for each in (*sent, *children)]
        assert (38, []) == (len(said(store)), violations(store))


# ---- multiprocessing

_store: convo.Store | None = None


def send_in_pool(number: int) -> str:
    for each in range(5):
        insist(_store, f"{number}.{each}")
    return "sent"


def test_a_pool_of_forked_processes_shares_its_parents_store(url: str):
    global _store
    with convo.Store(url, client=HistoryClient()) as _store:
        _store.create(name="a")
        with warnings.catch_warnings(), multiprocessing.get_context("fork").Pool(4) as processes:
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads at a fork, from Python 3.12 on
            assert ["sent"] * 4 == processes.map(send_in_pool, range(4), chunksize=1)
        assert (20, []) == (len(said(_store)), violations(_store))


# ---- who is alive

ORPHAN = """
import os, sys, threading, time
import convo
from convo.testing import HistoryClient

def hang(request):
    asked.set()
    time.sleep(600)

asked = threading.Event()
store = convo.Store(sys.argv[1], client=HistoryClient(before_answer=hang))
threading.Thread(target=lambda: store.get("a").send("never answered"), daemon=True).start()
asked.wait()
child = os.fork()
if child == 0:
    time.sleep(600)
with open(sys.argv[2], "w") as file:
    file.write(str(child))
# go
"""


@pytest.fixture
def orphan(on_disk: convo.Store, tmp_path: Path) -> Iterator[None]:
    """Have a process that is killed during its turn, and its child that lives on."""
    parent = start(ORPHAN, f"sqlite:///{on_disk.engine.url.database}", str(tmp_path / "child"))
    parent.kill()
    parent.wait()
    yield
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)
    parent.communicate()


@pytest.mark.usefixtures("orphan")
def test_a_parents_death_is_seen_although_its_child_lives(on_disk: convo.Store):
    assert convo.TurnUnfinished is refusal(on_disk.get("a").send, "x")
    on_disk.get("a").send("x", on_unfinished="discard")
    assert ["before", "x"] == said(on_disk)


def test_a_childs_turn_is_its_own(on_disk: convo.Store):
    """It neither ends with its parent's store, nor is it known to the parent as one that was given up."""
    heard, tell = os.pipe()
    told, ready = os.pipe()

    def hang(_: object) -> None:
        os.write(ready, b".")
        os.read(heard, 1)

    def work() -> str:
        on_disk.client = HistoryClient(before_answer=hang)
        return on_disk.get("a").send("child").text

    child = Child(work)
    os.read(told, 1)
    assert convo.TurnInFlight is refusal(on_disk.get("a").send, "x")
    on_disk.close()
    os.write(tell, b".")
    assert child.result() == on_disk.get("a").turn(2).reply.content


def test_a_child_does_not_stand_in_line_behind_its_parents_threads(opened: convo.Store, slow: SlowModel, pool: Any):  # noqa: F811 - the fixtures
    sent = asking(opened.get("a"), slow, pool, on_conflict="wait")
    lines = (len(opened.line._waiting), in_child(lambda: len(opened.line._waiting)))
    slow.go.set()
    assert (1, 0, "late") == (*lines, outcome(sent))


def test_a_fork_that_began_before_there_was_a_gate_leaves_it_as_it_was():
    gate = forks._Gate()
    gate.open()
    with ThreadPoolExecutor(1) as thread:
        with gate:
            shut = thread.submit(gate.shut)
            assert not shut.done()
            time.sleep(SOON_S)
            assert not shut.done()
        shut.result(timeout=SOON_S * 50)
