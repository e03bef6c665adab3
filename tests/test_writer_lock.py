"""The writer's lock of SQLite: one writer at a time, over threads and processes, and none for ever."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from convo.errors import StoreBusy
from convo.store.writer_lock import WriterLock
from tests.processes import run_at_once, start

TIMES = 100

COUNT = """
import sys
from pathlib import Path
from convo.store.writer_lock import WriterLock
lock, number = WriterLock(Path(sys.argv[1])), Path(sys.argv[2])
# go
for _ in range(int(sys.argv[3])):
    with lock.held(30):
        number.write_text(str(int(number.read_text()) + 1))
"""

HOLD = """
import sys
from pathlib import Path
from convo.store.writer_lock import WriterLock
holding = WriterLock(Path(sys.argv[1])).held(30)
holding.__enter__()
# go
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chats.db"


@pytest.fixture
def lock(path: Path) -> Iterator[WriterLock]:
    lock = WriterLock(path)
    yield lock
    lock.close()


LONG, SHORT = 30.0, 0.01
"""How patient a writer is, in seconds."""


def test_processes_hold_it_one_after_the_other(path: Path, tmp_path: Path):
    number = tmp_path / "number"
    number.write_text("0")
    run_at_once(COUNT, [[str(path), str(number), str(TIMES)]] * 4)
    assert 4 * TIMES == int(number.read_text())


def test_threads_hold_it_one_after_the_other(lock: WriterLock):
    count = [0]

    def add(_: int) -> None:
        with lock.held(LONG):
            before = count[0]
            os.sched_yield()
            count[0] = before + 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(8 * TIMES)))
    assert 8 * TIMES == count[0]


def test_two_stores_of_one_process_exclude_each_other(lock: WriterLock, path: Path):
    other = WriterLock(path)
    with lock.held(LONG), pytest.raises(StoreBusy), other.held(SHORT):
        pass
    other.close()


def test_a_holder_that_is_killed_frees_it(lock: WriterLock, path: Path):
    holder = start(HOLD, str(path))
    holder.kill()
    holder.communicate()
    with lock.held(LONG):
        assert Path(f"{path}.lock").exists()


def test_a_writer_that_waits_too_long_may_try_again(lock: WriterLock, path: Path):
    holder = start(HOLD, str(path))
    with pytest.raises(StoreBusy) as busy, lock.held(SHORT):
        pass
    holder.communicate("\n")
    assert busy.value.retryable


def test_a_thread_that_waits_too_long_may_try_again(lock: WriterLock):
    def take() -> None:
        with lock.held(SHORT):
            pass

    with lock.held(LONG), ThreadPoolExecutor(1) as thread, pytest.raises(StoreBusy):
        thread.submit(take).result()


def test_it_is_free_again_after_an_error(lock: WriterLock):
    with pytest.raises(KeyError), lock.held(LONG):
        raise KeyError
    with lock.held(LONG):
        assert lock._threads.locked()


def test_it_is_free_again_after_a_vain_wait(lock: WriterLock, path: Path):
    other = WriterLock(path)
    with other.held(LONG), pytest.raises(StoreBusy), lock.held(SHORT):
        pass
    other.close()
    with lock.held(LONG):
        assert lock._threads.locked()


def test_it_works_without_a_file():
    lock = WriterLock(None)
    with lock.held(LONG):
        assert lock._threads.locked()


def test_it_can_be_closed_twice(lock: WriterLock):
    with lock.held(LONG):
        pass
    lock.close()
    lock.close()
    assert [] == lock._doors


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o640, 0o666])
def test_its_files_are_for_those_who_may_use_the_database(lock: WriterLock, path: Path, mode: int):
    path.touch()
    path.chmod(mode)
    with lock.held(LONG):
        modes = {name: Path(f"{path}{name}").stat().st_mode & 0o777 for name in (".lock", ".lock.next")}
    assert {".lock": mode, ".lock.next": mode} == modes
