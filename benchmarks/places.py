"""Where the systems store: a new database for each, on the disk, synced at each commit."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from abc import ABC, abstractmethod
from itertools import count
from pathlib import Path
from typing import Self

DISK = Path("/var/tmp")  # noqa: S108 - /tmp may lie in memory, where a sync costs nothing
SQLITE, POSTGRES = "sqlite", "postgresql"
DATABASES = (SQLITE, POSTGRES)

SERVER = {"listen_addresses": "", "max_connections": "200"}
"""The settings of a server of our own: all others are PostgreSQL's, fsync among them."""


class Place(ABC):
    """A database, which is gone when it is left."""

    url: str

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    @abstractmethod
    def settle(self) -> None:
        """Let the database finish what it would else do while others are timed."""

    @abstractmethod
    def pack(self) -> None:
        """Write all tables anew, without the room that is free in them."""

    @abstractmethod
    def bytes(self) -> int:
        """Return how much room its tables take, with their indexes."""

    @abstractmethod
    def drop(self) -> None:
        """Take it away."""


class File(Place):
    """An SQLite file in a folder of its own."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="convo-bench-", dir=DISK if DISK.is_dir() else None)
        self.file = Path(self._folder.name) / "store.db"
        self.url = f"sqlite:///{self.file}"

    def settle(self) -> None:
        """Move the log into the file, if there is one."""
        with contextlib.closing(sqlite3.connect(self.file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def pack(self) -> None:
        """VACUUM."""
        with contextlib.closing(sqlite3.connect(self.file)) as connection:
            connection.execute("VACUUM")
        self.settle()

    def bytes(self) -> int:
        """Return the size of the file, its log moved into it."""
        self.settle()
        return self.file.stat().st_size

    def drop(self) -> None:
        """Delete the file."""
        self._folder.cleanup()


class Schema(Place):
    """A database on a PostgreSQL server."""

    _numbers = count(1)

    def __init__(self, server: str) -> None:
        from sqlalchemy import make_url

        self._server, self._name = server, f"convo_bench_{os.getpid()}_{next(self._numbers)}"
        query(server, f'CREATE DATABASE "{self._name}"')
        self.url = make_url(server).set(database=self._name).render_as_string(hide_password=False)

    def settle(self) -> None:
        """Do now what a vacuum and a checkpoint of the server's own would do some time."""
        query(self.url, "VACUUM (ANALYZE)")
        query(self.url, "CHECKPOINT")

    def pack(self) -> None:
        """VACUUM FULL."""
        query(self.url, "VACUUM FULL")

    def bytes(self) -> int:
        """Return the size of all tables, with their indexes and long texts."""
        size = query(
            self.url,
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
        )
        return int(str(size))

    def drop(self) -> None:
        """Drop the database."""
        query(self._server, f'DROP DATABASE "{self._name}" WITH (FORCE)')


class Places:
    """Hands out new databases, on a server of our own if none was named."""

    def __init__(self, postgres: str | None = None) -> None:
        self._postgres = postgres
        self._owned = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._owned.close()

    def fresh(self, database: str) -> Place:
        """Return a new database, for a `with`."""
        return File() if database == SQLITE else Schema(self.server())

    def server(self) -> str:
        """Return the URL of the PostgreSQL server, which is started when it is needed first."""
        if self._postgres is None:
            from tests.faults.server import Server

            self._postgres = self._owned.enter_context(Server(SERVER, DISK)).url
        return self._postgres

    def version(self) -> str:
        """Return the version of the PostgreSQL server."""
        return str(query(self.server(), "SHOW server_version")).split()[0]


def query(url: str, statement: str) -> object:
    """Run a statement on a PostgreSQL database, in no transaction; return the one value that it gives, if any."""
    import psycopg

    with contextlib.closing(psycopg.connect(url, autocommit=True)) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchone()[0] if cursor.description else None  # type: ignore[index]  # it has a row
