"""What a child process does about the stores that its parent had open when it forked.

Neither database's connections may be used on both sides of a fork, nor closed by the child
(https://sqlite.org/howtocorrupt.html, section 2.6); and a lock that the child holds with its parent outlives it.
"""

from __future__ import annotations

import functools
import os
import sys
import weakref
from typing import Protocol


class Forked(Protocol):
    """What has something to do in a child process."""

    def start_anew(self) -> None:
        """Leave to the parent process what is its own."""
        ...


_watched: weakref.WeakSet[Forked] = weakref.WeakSet()
_kept: list[object] = []


def watch(each: Forked) -> None:
    """Call start_anew() in every child process that is forked as long as `each` lives."""
    _register()
    _watched.add(each)


def keep(inherited: object) -> None:
    """Keep what the parent had open from being finalised, and so closed, by the child."""
    _kept.append(inherited)


@functools.cache
def _register() -> None:
    if sys.platform != "win32":
        os.register_at_fork(after_in_child=_start_anew)


def _start_anew() -> None:
    for each in list(_watched):
        each.start_anew()
