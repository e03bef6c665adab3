"""Statements that the engines of a process have in common, once one of them has compiled them.

SQLAlchemy keeps what it has compiled with each engine, and each test opens an engine of its own: so every fourth
second of the suite went by compiling the same statements anew. Now they come as they do to a store that has been open
for a while. Importing this is enough; a process that is forked has what its parent had.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Dialect, Engine, event

Key = tuple[Any, ...]
"""SQLAlchemy's: the engine's dialect, the statement's shape, and what else its text depends on."""


class Compiled(dict[Key, Any]):
    """What was compiled, for each kind and release of a database instead of each engine on it."""

    def get(self, key: Key, default: Any = None) -> Any:
        return super().get(_of_any_engine(key), default)

    def __setitem__(self, key: Key, compiled: Any) -> None:
        super().__setitem__(_of_any_engine(key), compiled)


def _of_any_engine(key: Key) -> Key:
    dialect, *rest = key
    assert isinstance(dialect, Dialect), "SQLAlchemy's keys begin otherwise: look at ClauseElement._compile_w_cache"
    return (type(dialect), dialect.server_version_info, *rest)


COMPILED = Compiled()


@event.listens_for(Engine, "engine_connect")
def _take_what_is_compiled(connection: Connection) -> None:
    connection.execution_options(compiled_cache=COMPILED)
