"""What nobody hears of at once: warnings, logged complaints, and what the collector had to close."""

from __future__ import annotations

import gc
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil

Complain = Callable[[str], None]


@contextmanager
def unclosed_generators(complain: Complain) -> Iterator[None]:
    """Complain about each async generator of the running event loop that the collector has to close."""
    hooks = sys.get_asyncgen_hooks()

    def finalizer(generator: Any) -> None:
        complain(f"{generator.__qualname__} was not closed")
        hooks.finalizer(generator)

    sys.set_asyncgen_hooks(finalizer=finalizer)
    try:
        yield
        gc.collect()
    finally:
        sys.set_asyncgen_hooks(*hooks)


@contextmanager
def complaints(complain: Complain) -> Iterator[None]:
    """Complain about each warning, each log entry of the event loop or the pool, and each error nobody could catch."""
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: complain(f"{record.name}: {record.getMessage()}")
    loggers = [logging.getLogger(name) for name in ("asyncio", "sqlalchemy.pool")]
    was, sys.unraisablehook = sys.unraisablehook, lambda each: complain(f"{each.err_msg}: {each.exc_value!r}")
    for each in loggers:
        each.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield
    finally:
        sys.unraisablehook = was
        for each in loggers:
            each.removeHandler(handler)
    for each in warned:
        complain(f"{each.category.__name__}: {each.message}")


@contextmanager
def left_open(complain: Complain) -> Iterator[None]:
    """Complain when there are more open files and connections than before."""
    before = psutil.Process().num_fds()
    yield
    gc.collect()
    if (left := psutil.Process().num_fds() - before) > 0:
        complain(f"{left} files or connections were left open")
