"""One writer at a time, over all threads and processes of this machine, without SQLite's starving wait.

Whoever has the first of two doors is next, and tries the second one often; the others wait before the first. Sixteen
processes writing flat out, in an experiment of a few seconds: before one door, each trying again at random, some wrote
2.2 to 4.8 times as often as others and one waited 1.5 s; behind two, 1.1 times, and nobody waited 0.06 s. What the
store itself reaches is in docs/durability.md.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Pool

from convo.errors import StoreBusy, StoreUnavailable
from convo.store import files

OFTEN_S = 0.00002
"""How long the next writer sleeps between two looks, as long as the one before it takes no longer than most do."""

SELDOM_S = 0.001

_MOST_LOOKS = 200


_OF_MEMORY: weakref.WeakKeyDictionary[Pool, WriterLock] = weakref.WeakKeyDictionary()


def lock_of_memory(pool: Pool) -> WriterLock:
    """Return the lock of a database in memory: one for all stores on its connections, which they share."""
    return _OF_MEMORY.setdefault(pool, WriterLock(None))


class WriterLock:
    """The place of the one writer of a store."""

    def __init__(self, database: Path | None) -> None:
        """Lock files beside `database`; None for a database in memory, which only threads share."""
        self._threads = threading.Lock()
        self._database = database
        self._doors: list[int] = []

    @contextlib.contextmanager
    def held(self, within_s: float) -> Iterator[None]:
        """Hold the lock for the time of a transaction.

        Raises:
            StoreBusy: `within_s` seconds passed.
            StoreReadOnly, StoreFull, StoreUnavailable: the lock's files cannot be made or locked.
        """
        until = time.monotonic() + within_s
        if not self._threads.acquire(timeout=within_s):
            raise StoreBusy(f"the store was busy for {within_s:.0f} s: try again")
        try:
            try:  # around the locking, too: Ctrl-C may come right after it
                self._lock_files(until, within_s)
                yield
            finally:
                self._unlock_files()
        finally:
            self._threads.release()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        while self._doors:
            os.close(self._doors.pop())

    def _lock_files(self, until: float, within_s: float) -> None:
        if self._database is None:
            return
        queue, place = self._open_doors(self._database)
        busy = StoreBusy(f"other processes held the store for {within_s:.0f} s: try again")
        try:
            while not files.lock_now(queue):
                if time.monotonic() > until:
                    raise busy
                time.sleep(random.uniform(0.0005, 0.003))  # noqa: S311 - spreads the looks, guards nothing
            looks = 0
            while not files.lock_now(place):
                if time.monotonic() > until:
                    raise busy
                looks += 1
                time.sleep(OFTEN_S if looks < _MOST_LOOKS else SELDOM_S)
        except OSError as error:
            raise StoreUnavailable(
                f"files beside {self._database} cannot be locked ({error.strerror}): name a place on a local disk"
            ) from error
        finally:
            files.unlock(queue)

    def _open_doors(self, database: Path) -> list[int]:
        """Open the files; again when somebody took one away, as others would meet before a new one."""
        if any(os.fstat(door).st_nlink == 0 for door in self._doors):
            self.close()
        for ending in (".lock.next", ".lock")[len(self._doors) :]:
            self._doors.append(files.open_beside(Path(f"{database}{ending}"), database))
        return self._doors

    def _unlock_files(self) -> None:
        for door in self._doors:
            files.unlock(door)
