"""Who holds the lease of a turn, and whether he is still there.

A turn that is being answered names its holder: the nonce of an open store, and the number of the attempt. A store on
an SQLite file keeps `<database>.owners/<nonce>` locked as long as it lives; the kernel frees the lock when its process
dies, however it dies, so that others on this machine need not wait for the lease to run out. (Process ids would not
do: they are reused, and mean nothing across containers.) Of its own attempts a store knows which ones it has given up.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from convo.store import files, forks

_NONCE = re.compile(r"[0-9a-f]{32}")


class Owner:
    """An open store in this process, as the holder of leases. Safe to share between threads."""

    def __init__(self, database: Path | None) -> None:
        """Show life beside `database`; None where there is no file, and the lease alone tells."""
        self._nonce = uuid.uuid4().hex
        self._database = database if sys.platform != "win32" else None  # files have no such locks there
        self._folder = self._database and Path(f"{self._database}.owners")
        self._numbers = itertools.count(1)
        self._attempts: set[str] = set()
        self._guard = threading.Lock()
        self._handle: int | None = None

    @contextlib.contextmanager
    def attempt(self) -> Iterator[str]:
        """Yield the name of a new attempt at a turn, which is alive until the end of the block.

        Raises:
            StoreReadOnly, StoreFull, StoreUnavailable: life cannot be shown, as the store's folder cannot be written.
        """
        name = f"{self._nonce}.{next(self._numbers)}"
        try:
            with self._guard, forks.using():  # a child with a copy of the lock would make us look alive for ever
                self._show_life()
                self._attempts.add(name)
            yield name
        finally:
            self._attempts.discard(name)

    def is_gone(self, holder: str) -> bool:
        """Return whether the holder of a lease is known to have given up or to have died."""
        nonce = holder.partition(".")[0]
        if nonce == self._nonce:
            return holder not in self._attempts
        folder = self._folder
        return folder is not None and _NONCE.fullmatch(nonce) is not None and _bury(folder / nonce)

    def close(self) -> None:
        """Show no more life, unless an attempt is still under way: then the process's end will do it."""
        with self._guard:
            if self._handle is not None and self._folder is not None and not self._attempts:
                with contextlib.suppress(OSError):  # the next one that starts here takes it away
                    (self._folder / self._nonce).unlink()
                self.forget()

    def __del__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Close the file, and leave it where it is."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _show_life(self) -> None:
        """Lock our file; again when somebody has removed it meanwhile."""
        while self._database is not None and self._folder is not None and not self._is_shown():
            self.forget()
            self._handle = files.open_beside(self._folder / self._nonce, self._database)
            with contextlib.suppress(OSError):  # no such locks here: nobody can tell, and the lease does
                while not files.lock_now(self._handle):  # somebody is looking whether we are gone
                    time.sleep(0.001)
            with contextlib.suppress(OSError):  # the folder may be gone again
                for other in self._folder.iterdir():
                    if other.name != self._nonce:
                        _bury(other)

    def _is_shown(self) -> bool:
        return self._handle is not None and os.fstat(self._handle).st_nlink > 0


def _bury(path: Path) -> bool:
    """Return whether the store that showed life at `path` is gone; its file goes too."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    except OSError:  # somebody else's: the lease will tell
        return False
    try:
        if not files.lock_shared_now(handle):
            return False
        if os.fstat(handle).st_nlink > 0:  # else it is not what stands at `path` now, if anything does
            path.unlink(missing_ok=True)
            return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return _bury(path)
