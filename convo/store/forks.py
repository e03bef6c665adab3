"""What a process does about its open stores when it forks.

Neither database's connections may be used on both sides of a fork, nor closed by the child
(https://sqlite.org/howtocorrupt.html, section 2.6); and a lock that the child holds with its parent outlives it.

With SQLite not even a new connection of the child is safe while it has inherited one. SQLite keeps one record of a
file's locks for the whole process, so the child takes its parent's for its own, and asks for none. The next process
that closes the store then deletes the log under it, and the turns that it stores are lost; or, if a thread of the
parent was writing, the child waits for that thread for ever. Therefore a process has no file open when it forks.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import weakref
from contextlib import AbstractContextManager
from typing import Protocol

PATIENCE_S = 30.0
"""How long a fork waits for the transactions of other threads."""


class Forked(Protocol):
    """What has something to do when its process forks."""

    def let_go(self) -> None:
        """Close what must not be open at a fork; called when nobody is `using` it."""
        ...

    def start_anew(self) -> None:
        """Leave to the parent process what is its own; called in the child."""
        ...


class _Gate:
    """Lets forks wait for transactions, and transactions for forks."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._changed = threading.Condition()
        self._inside: list[int] = []
        self._forks = 0

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._changed:
            if self._forks > 0:
                self._changed.wait_for(lambda: self._forks == 0 or me in self._inside)
            self._inside.append(me)

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside.remove(threading.get_ident())
            if self._forks > 0:
                self._changed.notify_all()

    def shut(self) -> None:
        me = threading.get_ident()
        with self._changed:
            self._forks += 1
            self._changed.wait_for(lambda: set(self._inside) <= {me}, PATIENCE_S)

    def open(self) -> None:
        with self._changed:
            self._forks = max(self._forks - 1, 0)  # a fork that began before we were told of any has not shut it
            self._changed.notify_all()


_gate = _Gate()
_watched: weakref.WeakSet[Forked] = weakref.WeakSet()
_kept: list[object] = []


def using() -> AbstractContextManager[None]:
    """Use a store's connections; a fork waits for the end of the block."""
    return _gate


def watch(each: Forked) -> None:
    """Tell `each` of every fork of this process as long as it lives."""
    _register()
    _watched.add(each)


def forget(each: Forked) -> None:
    """Tell `each` no more."""
    _watched.discard(each)


def keep(inherited: object) -> None:
    """Keep what the parent had open from being finalised, and so closed, by the child."""
    _kept.append(inherited)


@functools.cache
def _register() -> None:
    if sys.platform != "win32":
        os.register_at_fork(before=_let_go, after_in_parent=_gate.open, after_in_child=_start_anew)


def _let_go() -> None:
    _gate.shut()
    for each in list(_watched):
        each.let_go()


def _start_anew() -> None:
    _gate.reset()
    for each in list(_watched):
        each.start_anew()
