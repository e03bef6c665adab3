"""A copy of an SQLite store, written while others use it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine

from convo import sinks
from convo.errors import InvalidFile
from convo.store import scrubbing


def write(engine: Engine, target: Path) -> int:
    """Copy a store, as it is at one moment, into a new file; return how many bytes it has.

    VACUUM INTO (https://sqlite.org/lang_vacuum.html) reads in one transaction, for which no writer has to wait, and
    copies rows, not pages: nothing of what was erased is in the copy.

    Raises:
        InvalidFile: there is a file of that name already, or none can be written there.
        DBAPIError: the store cannot be read, or there is no room.
    """
    if target.exists() or target.is_symlink():
        raise InvalidFile(f"{target} is there already: name another file, or remove it first")
    with sinks.taking_its_place(target) as made, scrubbing.outside_transactions(engine) as connection:
        connection.exec_driver_sql("VACUUM INTO ?", (str(made),))
        return made.stat().st_size
