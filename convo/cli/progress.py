"""A bar on standard error that shows how much of something is done, where that is a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE_S = 0.5
"""What takes less long has no bar."""


@contextlib.contextmanager
def shown(what: str, *, is_wanted: bool = True) -> Iterator[Callable[[int, int], None] | None]:
    """Yield what takes notice of how much is done, and of how much there is; elsewhere than on a terminal, nothing.

    The bar comes with the first notice after PATIENCE_S, and is gone at the end.
    """
    if not (is_wanted and sys.stderr.isatty()):
        yield None
        return
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        bar: Progress | None = None

        def tell(done: int, total: int) -> None:
            nonlocal bar
            if bar is None and time.monotonic() - began >= PATIENCE_S:
                bar = stack.enter_context(_bar())
                bar.add_task(what)
            if bar is not None:
                bar.update(bar.task_ids[0], completed=done, total=total)

        yield tell


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    # What is printed meanwhile goes above the bar; but what is meant for a pipe must not end up on the terminal.
    is_on_it = sys.stdout.isatty()
    return Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=is_on_it)
