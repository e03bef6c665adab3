"""How a transaction begins on each database, by what a connection is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection

USE = "convo_use"
"""The execution option of a connection that tells what it is for: one of these, and WRITE when it does not tell."""

WRITE, READ, ALONE = "write", "read", "alone"
"""To write; to read several things as they are at one moment; to execute statements each by itself, as VACUUM must."""

SETTINGS = "convo_settings"
"""The execution option with the statements that each transaction begins with on PostgreSQL."""

IS_DIRECT = "convo_is_direct"
"""In the `info` of a connection: whether its session is its own, which has the SETTINGS already."""

IS_BEGUN = "convo_is_begun"
"""In the same: whether convo has begun a transaction of which SQLAlchemy has not heard."""

# SQLite: a deferred transaction that reads first and then writes fails at once when another one wrote in between,
# whatever the timeout (SQLITE_BUSY_SNAPSHOT): a writer takes the lock at its beginning. PostgreSQL: a read of several
# statements sees one moment; a writer sees what others committed before it had its lock.
_BEGIN = {
    ("sqlite", WRITE): "BEGIN IMMEDIATE",
    ("sqlite", READ): "BEGIN",
    ("postgresql", WRITE): "BEGIN ISOLATION LEVEL READ COMMITTED",
    ("postgresql", READ): "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
}


def begin_statement(of: Connection | Engine, info: Mapping[Any, Any]) -> str | None:
    """Return what begins a transaction; None for one of which each statement stands alone.

    `info` is that of the connection.
    """
    options = of.get_execution_options()
    begin = _BEGIN.get((of.dialect.name, options.get(USE, WRITE)))
    settings = options.get(SETTINGS)
    return f"{begin}; {settings}" if begin and settings and not info.get(IS_DIRECT) else begin


def is_open(driver: DBAPIConnection | None, dialect: str) -> bool:
    """Return whether a driver's connection has a transaction open, whoever began it."""
    return bool(driver.in_transaction if dialect == "sqlite" else driver.pgconn.transaction_status)  # type: ignore[union-attr]  # the driver's own
