"""The schema's version: which one a store has, which one this release wants, and the way from one to the other.

Alembic does the work, and is imported only when there is some: opening a store compares two strings.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import ColumnClause, Connection, Engine, column, inspect, select, table

from convo.errors import SchemaOutOfDate, StoreCorrupt

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0003"
"""The revision that this release reads and writes; a constant, so that opening a store needs no Alembic."""

VERSION_TABLE = "convo_schema"
"""Not Alembic's default table, which belongs to the application when convo shares its database."""

_UPGRADE_LOCK = 0x636F6E766F  # "convo": one upgrade at a time on PostgreSQL, released with its transaction


def current(connection: Connection) -> str | None:
    """Return the revision of the store; None when it holds no tables of convo."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version: ColumnClause[str] = column("version_num")
    return connection.execute(select(version).select_from(table(VERSION_TABLE, version))).scalar()


def check(connection: Connection) -> None:
    """Raise SchemaOutOfDate, naming the remedy, unless the store has this release's schema."""
    found = current(connection)
    if found == HEAD:
        return
    if found is None:
        raise SchemaOutOfDate("this database has no tables of convo yet: run `convo db upgrade`")
    if found in revisions():
        raise SchemaOutOfDate(
            f"the store has schema {found} and this release needs {HEAD}: back it up, then run `convo db upgrade`"
        )
    raise SchemaOutOfDate(f"the store has schema {found}, which is newer than this release's {HEAD}: upgrade convo")


def is_empty(connection: Connection) -> bool:
    """Return whether the database holds no tables at all."""
    return not inspect(connection).get_table_names()


def revisions() -> list[str]:
    """Return the revisions that this release knows, newest first."""
    from alembic.script import ScriptDirectory

    return [each.revision for each in ScriptDirectory.from_config(_config()).walk_revisions()]


def upgrade(engine: Engine) -> None:
    """Bring the store to this release's schema, in one transaction; nothing to do is fine.

    Raises:
        SchemaOutOfDate: the store is newer than this release.
        StoreCorrupt: the migrated rows break a foreign key; the store is as it was.
    """
    from alembic import command

    with migrating(engine) as connection:
        found = current(connection)
        if found is not None and found not in revisions():
            check(connection)
        command.upgrade(_config(connection), "head")


@contextlib.contextmanager
def migrating(engine: Engine) -> Iterator[Connection]:
    """Yield a connection in a transaction that is fit for migrations: alone, and checked before it commits.

    Raises:
        StoreCorrupt: the migrated rows break a foreign key; the store is as it was.
    """
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            with _unenforced(connection), connection.begin():
                yield connection
                _check_references(connection)
        else:
            with connection.begin():
                _wait_for_other_upgrades(connection)
                yield connection


@contextlib.contextmanager
def _unenforced(connection: Connection) -> Iterator[None]:
    """Take SQLite's foreign keys off, until the end.

    Alembic rebuilds tables there: with enforcement on, dropping the old one would cascade to its children. The pragma
    has no effect inside a transaction, so it goes to the driver before one begins.
    """
    _driver(connection, "PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        _driver(connection, "PRAGMA foreign_keys = ON")


def _check_references(connection: Connection) -> None:
    """Raise StoreCorrupt when a row of convo refers to nothing; another application's rows are its own affair."""
    dangling = connection.exec_driver_sql("PRAGMA foreign_key_check")
    if any(row[0].startswith("convo_") for row in dangling):
        raise StoreCorrupt("rows of the migrated store refer to rows that are not there; nothing was changed")


def _wait_for_other_upgrades(connection: Connection) -> None:
    """Let one upgrade run at a time on PostgreSQL, each as long as it takes; both end with the transaction."""
    usual = connection.exec_driver_sql("SHOW lock_timeout").scalar()
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{usual}'")  # who uses the tables is not waited for so long


def _driver(connection: Connection, statement: str) -> None:
    connection.connection.cursor().execute(statement)


def _config(connection: Connection | None = None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("path_separator", "os")
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def migrations_folder() -> Path:
    """Return where the migrations are: inside the installed package, or at the top of a checkout."""
    package = Path(str(files("convo")))
    for place in (package / "_migrations", package.parent / "migrations"):
        if (place / "env.py").is_file():
            return place
    msg = "convo was installed without its migrations: install it again"
    raise RuntimeError(msg)
