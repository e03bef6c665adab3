"""A disk that fails, or is full: typed errors, nothing half stored, and all works again when the disk does."""

from __future__ import annotations

import contextlib
import os
import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from sqlalchemy import event

import convo
from convo.testing import HistoryClient, ScriptedClient, violations
from tests.faults import disk
from tests.test_store import refusal, stored_rows, texts

LARGE = "x" * 2**20

Fault = Callable[[convo.Store], AbstractContextManager[None]]
Use = Callable[[convo.Store], object]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[convo.Store]:
    """Return a store with a conversation of one turn with two candidates, and one with an open turn."""
    with convo.Store(f"sqlite:///{tmp_path / 'chats.db'}", client=HistoryClient()) as opened:
        opened.create(name="done", input_token_limit=10**8).send("first", candidate_count=2)
        opened.client = ScriptedClient(convo.ModelError("down"))
        with contextlib.suppress(convo.ModelError):
            opened.create(name="open").send("first")
        opened.client = HistoryClient(input_token_limit=10**8)
        empty_log(opened)
        yield opened


def empty_log(store: convo.Store) -> None:
    """Have everything in the database file: then reads need none of the log, which a fault may replace."""
    with contextlib.closing(sqlite3.connect(str(store.engine.url.database))) as connection:
        assert (0, 0, 0) == connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


# ---- faults


@contextlib.contextmanager
def log_is(store: convo.Store, path: str, flags: int) -> Iterator[None]:
    """Put another file in the place of the log's, in all connections of this process."""
    log = f"{store.engine.url.database}-wal"
    handles = [int(each.name) for each in Path("/proc/self/fd").iterdir() if os.path.realpath(each) == log]
    assert handles
    other, kept = os.open(path or log, flags), [os.dup(each) for each in handles]
    for each in handles:
        os.dup2(other, each)
    os.close(other)
    try:
        yield
    finally:
        for place, each in zip(handles, kept, strict=True):
            os.dup2(each, place)
            os.close(each)


def broken(store: convo.Store) -> AbstractContextManager[None]:
    """Let every write to the log fail: SQLITE_IOERR_WRITE."""
    return log_is(store, "", os.O_RDONLY)


def full(store: convo.Store) -> AbstractContextManager[None]:
    """Let the disk have no room for the log: SQLITE_FULL."""
    return log_is(store, "/dev/full", os.O_RDWR)


@contextlib.contextmanager
def limited(_: convo.Store) -> Iterator[None]:
    """Let no file of this process grow: SQLITE_IOERR_WRITE."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def at_most_pages(store: convo.Store) -> Iterator[None]:
    """Let the database have no more pages than it has: SQLITE_FULL."""

    def limit(pages: int) -> Callable[..., object]:
        return lambda raw, *_: raw.execute(f"PRAGMA max_page_count = {pages}").fetchone()

    to_few, to_many = limit(1), limit(2**30)
    event.listen(store.engine, "checkout", to_few)
    try:
        yield
    finally:
        event.remove(store.engine, "checkout", to_few)
        event.listen(store.engine, "checkout", to_many)


FAULTS = [
    (broken, convo.StoreUnavailable),
    (full, convo.StoreFull),
    (limited, convo.StoreFull),
]
faults = pytest.mark.parametrize(("fault", "expected"), FAULTS)
faults_of_growth = pytest.mark.parametrize(("fault", "expected"), [*FAULTS, (at_most_pages, convo.StoreFull)])

GROWING: list[Use] = [
    lambda store: store.create(name="new", messages=[LARGE, "b"]),
    lambda store: store.get("done").send(LARGE),
    lambda store: store.get("open").send(LARGE, on_unfinished="discard"),
]
OTHER: list[Use] = [
    lambda store: store.get("open").resume(),
    lambda store: store.get("open").discard(),
    lambda store: store.get("done").choose(1),
    lambda store: store.get("done").update(title="t"),
    lambda store: store.delete("done"),
]


def stays_as_it_was(store: convo.Store, fault: Fault, use: Use) -> type[BaseException] | None:
    """Use a store whose disk fails; return the error when nothing was stored, no model asked, and reading goes on."""
    before = stored_rows(store)
    calls = store.client.calls
    with fault(store):
        error = refusal(use, store)
        assert (before, calls) == (stored_rows(store), store.client.calls)
    assert (before, []) == (stored_rows(store), violations(store))
    return error


@faults_of_growth
@pytest.mark.parametrize("use", GROWING, ids=["create", "begin", "begin instead"])
def test_what_does_not_fit_is_not_stored(store: convo.Store, fault: Fault, expected: type, use: Use):
    assert expected is stays_as_it_was(store, fault, use)


@faults
@pytest.mark.parametrize("use", OTHER, ids=["resume", "discard", "choose", "update", "delete"])
def test_what_cannot_be_written_is_not_changed(store: convo.Store, fault: Fault, expected: type, use: Use):
    assert expected is stays_as_it_was(store, fault, use)


@faults
@pytest.mark.parametrize(
    "use",
    [*GROWING, *OTHER],
    ids=["create", "begin", "begin instead", "resume", "discard", "choose", "update", "delete"],
)
def test_what_failed_works_when_the_disk_does(store: convo.Store, fault: Fault, expected: type, use: Use):
    with fault(store):
        refusal(use, store)
    use(store)
    assert [] == violations(store)


# ---- the disk fails while the model answers


class FailingMeanwhile:
    """A model during whose answer the disk begins to fail."""

    def __init__(self, store: convo.Store, fault: Fault) -> None:
        self._stack = contextlib.ExitStack()

        def fail(_: object) -> None:
            empty_log(store)
            self._stack.enter_context(fault(store))

        store.client = HistoryClient(input_token_limit=10**8, before_answer=fail)

    def end(self, store: convo.Store) -> None:
        self._stack.close()
        store.client = HistoryClient(input_token_limit=10**8)


@faults
def test_an_answer_that_cannot_be_stored_leaves_its_turn_unfinished(store: convo.Store, fault: Fault, expected: type):
    model = FailingMeanwhile(store, fault)
    error = refusal(store.get("done").send, "second", request_key="k")
    model.end(store)
    with pytest.raises(convo.TurnUnfinished) as unfinished:
        store.get("done").send("third")
    assert (expected, "in_flight", "k", 2) == (
        error,
        unfinished.value.state,
        unfinished.value.request_key,
        unfinished.value.turn,
    )


@faults
def test_the_error_tells_which_turn_it_hit(store: convo.Store, fault: Fault, expected: type):
    model, talk = FailingMeanwhile(store, fault), store.get("done")
    with pytest.raises(expected) as failed:
        talk.send("second", request_key="k")
    model.end(store)
    assert (talk.id, 2, "k") == (failed.value.conversation, failed.value.turn, failed.value.request_key)


def test_an_answer_that_does_not_fit_leaves_its_turn_failed(store: convo.Store):
    stack = contextlib.ExitStack()
    store.client = ScriptedClient(lambda _: stack.enter_context(at_most_pages(store)) or LARGE)
    error = refusal(store.get("done").send, "second")
    stack.close()
    turn = store.get("done").turn(2)
    assert (convo.StoreFull, "failed", "StoreFull") == (error, turn.state, turn.error)


SETTLED = {
    "the same request": (lambda talk: talk.send("second", request_key="k"), ["first", "second"]),
    "resume": (lambda talk: talk.resume(), ["first", "second"]),
    "discard": (lambda talk: talk.discard(), ["first"]),
    "another request": (lambda talk: talk.send("third", on_unfinished="resume"), ["first", "second", "third"]),
}


@faults
@pytest.mark.parametrize("way", SETTLED)
def test_a_turn_whose_answer_was_not_stored_is_settled_in_any_way(
    store: convo.Store, fault: Fault, expected: type, way: str
):
    model = FailingMeanwhile(store, fault)
    refusal(store.get("done").send, "second", request_key="k")
    model.end(store)
    settle, said = SETTLED[way]
    settle(store.get("done"))
    assert (said, []) == (texts(store.get("done"))[::2], violations(store))


# ---- nothing but the files beside it


@pytest.mark.parametrize("ending", [".lock", ".lock.next", ".owners"])
def test_a_file_beside_it_that_cannot_be_made_stops_the_turn_before_it_is_paid(tmp_path: Path, ending: str):
    (tmp_path / f"chats.db{ending}").symlink_to("/dev/full/nothing")
    with convo.Store(f"sqlite:///{tmp_path / 'plain.db'}") as made:
        made.create(name="a")
    (tmp_path / "plain.db").rename(tmp_path / "chats.db")
    with convo.Store(f"sqlite:///{tmp_path / 'chats.db'}", client=HistoryClient()) as store:
        error = refusal(lambda: store.get("a").send("x"))
        assert (convo.StoreUnavailable, 0, []) == (error, store.client.calls, store.get("a").turns())


# ---- the long form

TRACE = """
7 pwrite64(5</a/chats.db-wal>, "\\1\\2"..., 24, 0) = 24
7 fdatasync(5</a/chats.db-wal>) = 0
7 write(6</a/log>, "[\\"hea"..., 70) = 70
7 pwrite64(5</a/chats.db-wal>, "\\1\\2"..., 4096, 56) = 4096
7 pwrite64(4</a/chats.db>, "\\1\\2"..., 4096, 0) = 4096
7 fsync(4</a/chats.db>) = 0
7 write(1</dev/null>, "abc", 3) = 3
7 write(6</a/log>, "[\\"hea"..., 70) = 70
7 fdatasync(5</a/chats.db-wal>) = -1 EIO (Input/output error)
7 write(6</a/log>, "[\\"hea"..., 70) = 70
"""


def test_an_acknowledgement_before_the_log_is_on_the_disk_is_seen():
    assert (3, 2) == disk.unsynced(TRACE)


def test_the_long_form_says_when_strace_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("PATH", "")
    assert (2, "strace is needed: install it\n") == (disk.main([]), capsys.readouterr().err)
