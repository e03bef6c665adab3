"""SQLite's log is moved into the database by the holder of the writer's lock alone, and does not grow for ever."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event, text

import convo
from convo.store import sqlite
from convo.store.sqlite import LONG_LOG_BYTES
from convo.store.writer_lock import WriterLock
from convo.testing import ScriptedClient
from tests.processes import run, run_at_once

LARGE = "x" * 2**20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chats.db"


@pytest.fixture
def store(path: Path) -> Iterator[convo.Store]:
    with convo.Store(f"sqlite:///{path}", client=ScriptedClient(lambda _: "answer")) as opened:
        yield opened


def log_size(path: Path) -> int:
    log = Path(f"{path}-wal")
    return log.stat().st_size if log.exists() else 0


def pragmas(store: convo.Store) -> list[str]:
    """Return a list that every checkpoint of a store, from now on, is added to."""
    seen: list[str] = []

    def trace(connection: Any, *_: object) -> None:
        connection.set_trace_callback(lambda said: seen.append(said) if "wal_checkpoint" in said else None)

    store.engine.dispose()
    event.listen(store.engine, "connect", trace)
    return seen


def test_no_connection_moves_the_log_by_itself(store: convo.Store):
    connections = [store.engine.raw_connection() for _ in range(8)]
    found = [each.cursor().execute("PRAGMA wal_autocheckpoint").fetchone()[0] for each in connections]
    for each in connections:
        each.close()
    assert [0] * 8 == found


def test_an_engine_of_ones_own_keeps_its_setting(path: Path):
    """Nobody else would move its log: convo does only what it opened itself."""
    engine = create_engine(f"sqlite:///{path}")
    with convo.Store(engine) as store, store.engine.connect() as connection:
        assert 1000 == connection.execute(text("PRAGMA wal_autocheckpoint")).scalar_one()
    engine.dispose()


def test_a_short_log_is_left_alone(store: convo.Store, path: Path):
    seen = pragmas(store)
    for _ in range(5):
        store.create(messages=["a", "b"])
    assert ([], True) == (seen, 0 < log_size(path) < LONG_LOG_BYTES)


def test_a_long_log_is_moved_after_the_transaction_that_made_it_long(store: convo.Store, path: Path):
    store.create(messages=[LARGE] * 6)
    assert (0, True) == (log_size(path), path.stat().st_size > 6 * len(LARGE))


def test_the_log_stays_short_over_thousands_of_small_writes(store: convo.Store, path: Path):
    talk = store.create(messages=["a", "b"])
    longest = 0
    for number in range(2000):
        talk.update(title=str(number))
        longest = max(longest, log_size(path))
    assert longest <= LONG_LOG_BYTES


def test_the_log_stays_short_over_large_messages(store: convo.Store, path: Path):
    talk = store.create(input_token_limit=10**9)
    sizes = []
    for _ in range(12):
        talk.send(LARGE)
        sizes.append(log_size(path))
    assert max(sizes) <= LONG_LOG_BYTES


def test_the_log_stays_short_with_several_processes(store: convo.Store, path: Path):
    script = """
import sys
import convo
store = convo.Store(sys.argv[1])
# go
for _ in range(12):
    store.create(messages=["x" * 2**19] * 2)
store.close()
"""
    ended = run_at_once(script, [(f"sqlite:///{path}",)] * 4)
    assert [(0, "")] * 4 == [(code, error) for code, _, error in ended]
    assert (True, 48) == (log_size(path) <= LONG_LOG_BYTES, len(store.list(limit=100)))


# ---- somebody reads


@contextlib.contextmanager
def reader(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection of somebody else that sits in a read transaction."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM convo_conversations").fetchone()
        yield connection


def test_the_log_grows_while_somebody_reads_and_shrinks_afterwards(store: convo.Store, path: Path):
    talk = store.create(messages=["a", "b"])
    with reader(path):
        for _ in range(8):
            store.create(messages=[LARGE, LARGE])
        grown = log_size(path)
    talk.update(title="next")
    assert (True, 0) == (grown > 2 * LONG_LOG_BYTES, log_size(path))


def test_a_reader_sees_the_moment_of_its_beginning_however_long_the_log_gets(store: convo.Store, path: Path):
    store.create()
    count = "SELECT count(*) FROM convo_conversations"
    with reader(path) as connection:
        for _ in range(4):
            store.create(messages=[LARGE] * 4)
        assert (1,) == connection.execute(count).fetchone()
    assert 5 == len(store.list())


def test_a_connection_that_moved_the_log_has_its_patience_again(store: convo.Store, path: Path):
    store.create(messages=[LARGE] * 6)
    with reader(path):
        store.create(messages=[LARGE] * 6)
    with store.engine.connect() as connection:
        assert int(sqlite.BUSY_S * 1000) == connection.execute(text("PRAGMA busy_timeout")).scalar_one()


# ---- it fails


def refuse_checkpoints(store: convo.Store) -> None:
    """Let every checkpoint of a store's connections fail; nothing else."""

    def refuse(connection: Any, *_: object) -> None:
        connection.set_authorizer(
            lambda action, name, *_: (
                sqlite3.SQLITE_DENY
                if action == sqlite3.SQLITE_PRAGMA and name == "wal_checkpoint"
                else sqlite3.SQLITE_OK
            )
        )

    store.engine.dispose()
    event.listen(store.engine, "connect", refuse)


def test_a_log_that_cannot_be_moved_fails_no_turn(store: convo.Store, path: Path):
    talk = store.create(messages=[LARGE, "b"], input_token_limit=10**9)
    refuse_checkpoints(store)
    with reader(path) as connection:
        connection.execute("COMMIT")  # it stays open: the last one to close would move the log
        for _ in range(6):
            talk.send(LARGE)
        grown = log_size(path)
    assert (["done"] * 7, True) == ([each.state for each in talk.turns()], grown > LONG_LOG_BYTES)


@pytest.fixture
def long_log(path: Path) -> Iterator[int]:
    """Have a long log, which stays as somebody has the file open; return its length."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for said in ("journal_mode = WAL", "wal_autocheckpoint = 0"):
            connection.execute(f"PRAGMA {said}")
        connection.execute("CREATE TABLE convo_large (x)")
        connection.execute("INSERT INTO convo_large VALUES (zeroblob(?))", (2 * LONG_LOG_BYTES,))
        yield log_size(path)


def test_a_log_that_no_connection_is_free_for_is_left(path: Path, long_log: int):
    """It is moved after the COMMIT: whatever fails then, the turn is stored."""
    engine = create_engine(f"sqlite:///{path}", pool_size=1, max_overflow=0, pool_timeout=0.1)
    with engine.connect():
        sqlite.checkpoint(engine, path)
    engine.dispose()
    assert long_log == log_size(path)


def test_a_log_that_no_connection_can_be_made_for_is_left(path: Path, long_log: int):
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "do_connect", fail)
    sqlite.checkpoint(engine, path)
    assert long_log == log_size(path)


def fail(*_: object) -> None:
    raise sqlite3.OperationalError("unable to open database file")


# ---- the last one


def test_the_last_to_close_takes_the_log_away(path: Path):
    stores = [convo.Store(f"sqlite:///{path}") for _ in range(2)]
    for each in stores:
        each.create()
    left = []
    for each in stores:
        each.close()
        left.append(Path(f"{path}-wal").exists())
    assert [True, False] == left


def test_the_log_of_the_killed_is_kept_for_the_next(path: Path):
    script = "import os, sys, convo; convo.Store(sys.argv[1]).create(name='a'); os.kill(os.getpid(), 9)"
    assert -9 == run("-c", script, f"sqlite:///{path}").returncode
    with convo.Store(f"sqlite:///{path}") as store:
        assert ["a"] == [each.name for each in store.list()]
    assert not Path(f"{path}-wal").exists()


def test_who_closes_holds_the_writers_lock(store: convo.Store, path: Path):
    store.create()
    others, seen = WriterLock(path), []

    def look(*_: object) -> None:
        with pytest.raises(convo.StoreBusy), others.held(0.001):
            pass
        seen.append(True)

    event.listen(store.engine, "close", look)
    store.close()
    others.close()
    assert seen


def test_a_store_closes_also_when_somebody_holds_the_lock_for_ever(store: convo.Store, path: Path):
    store.create()
    others = WriterLock(path)
    with others.held(5):
        store.close()
    others.close()
    with convo.Store(f"sqlite:///{path}") as again:
        assert 1 == len(again.list())
