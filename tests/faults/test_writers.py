"""Writers of one SQLite file that write flat out: nobody starves, and nobody gets an error."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest

from convo.errors import StoreBusy
from convo.store.writer_lock import WriterLock
from tests.faults.database import open_database
from tests.faults.writers import MOST_RATIO, Writing, write_flat_out

PROCESSES, SECONDS = 4, 1


@pytest.fixture(scope="module", params=[PROCESSES, 1], ids=["conversations of their own", "one conversation"])
def written(request: pytest.FixtureRequest) -> Writing:
    with open_database("sqlite") as url:
        return write_flat_out(url, PROCESSES, SECONDS, talks=request.param)


def test_nobody_gets_an_error(written: Writing):
    assert ([], PROCESSES) == (written.errors, len(written.counts))


def test_nobody_starves(written: Writing):
    assert written.ratio <= MOST_RATIO


def test_what_everybody_wrote_is_stored(written: Writing):
    assert sum(written.counts) == written.stored


def interrupted_after(number: int) -> Callable[[int, int], None]:
    """Return a flock() that Ctrl-C interrupts right after its `number`-th call has done its work."""
    real, calls = fcntl.flock, []

    def flock(handle: int, how: int) -> None:
        real(handle, how)
        calls.append(how)
        if len(calls) == number:
            raise KeyboardInterrupt

    return flock


@pytest.mark.parametrize("number", [1, 2, 3])
def test_ctrl_c_while_a_writer_takes_its_place_leaves_it_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
):
    """The calls: the first door is locked, the second one too, the first is unlocked."""
    interrupted, next_one = WriterLock(tmp_path / "chats.db"), WriterLock(tmp_path / "chats.db")
    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", interrupted_after(number))
        with pytest.raises(KeyboardInterrupt), interrupted.held(5):
            pass
    with next_one.held(0.1), pytest.raises(StoreBusy), interrupted.held(0.01):
        pass
    interrupted.close()
    next_one.close()
