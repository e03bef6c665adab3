"""The OpenAI Agents SDK: `SQLiteSession`, and on PostgreSQL `SQLAlchemySession`.

By itself a session gives all items; with `limit` the newest. Neither knows of tokens: the prompt is made here, of the
newest items that fit. The session is made anew each turn: for SQLite it opens connections of its own, which have to
be closed again, and for PostgreSQL it has an engine that is kept.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from agents import SessionSettings, SQLiteSession
from agents.memory import SessionABC

from benchmarks import texts
from benchmarks.systems.base import Session, System, file_of, is_sqlite, newest_that_fit, with_driver, write_lines

Item = dict[str, Any]

SEEDED_AT = datetime(2026, 1, 1)  # noqa: DTZ001 - its columns have no time zone
"""When the first message was said; each one after it a millisecond later, as many of one time would be sorted."""


class AgentsSession(Session):
    """What makes a session for a conversation."""

    def __init__(self, limit: int | None) -> None:
        self._limited, self._whole = SessionSettings(limit=limit), SessionSettings()

    def made(self, id: str, settings: SessionSettings) -> SessionABC:
        """Return a session."""
        raise NotImplementedError

    async def left(self, session: Any) -> None:  # noqa: ANN401 - one of two classes
        """Give back what a session holds by itself."""

    async def turn(self, id: str, question: str, answer: str) -> int:  # type: ignore[override]  # a coroutine
        """Add the message, read the items, take the newest that fit, add the answer."""
        session = self.made(id, self._limited)
        await session.add_items([{"role": "user", "content": question}])
        items: list[Any] = await session.get_items()
        count = newest_that_fit((texts.tokens(each["content"]) for each in reversed(items)), texts.LIMIT)
        prompt = items[-count:]
        await session.add_items([{"role": "assistant", "content": answer}])
        await self.left(session)
        return len(prompt)

    async def resume(self, id: str) -> None:
        """Make the session, which for SQLite looks whether its tables are there."""
        await self.left(self.made(id, self._limited))

    async def export(self, id: str, file: str) -> int:  # type: ignore[override]  # a coroutine
        """Write all items, which are read at once."""
        session = self.made(id, self._whole)
        items: list[Any] = await session.get_items()
        await self.left(session)
        return write_lines(file, ((each["role"], each["content"]) for each in items))


class SqliteAgents(AgentsSession):
    """A file, which each session opens for itself."""

    def __init__(self, url: str, limit: int | None) -> None:
        super().__init__(limit)
        self._file = file_of(url)
        # As where other sessions are open: who closes the last connection to a file moves its log, for a millisecond.
        self._other = sqlite3.connect(self._file)
        self._other.execute("SELECT count(*) FROM agent_sessions").fetchall()

    def made(self, id: str, settings: SessionSettings) -> SessionABC:
        """Return a session on the file."""
        return SQLiteSession(id, self._file, session_settings=settings)

    async def left(self, session: Any) -> None:  # noqa: ANN401 - a SQLiteSession
        """Close its connections: they would pile up."""
        session.close()

    async def close(self) -> None:
        """Close the connection that stands for others."""
        self._other.close()


class PostgresAgents(AgentsSession):
    """An engine."""

    def __init__(self, url: str, limit: int | None) -> None:
        from sqlalchemy.ext.asyncio import create_async_engine

        super().__init__(limit)
        self._engine = create_async_engine(with_driver(url, sqlite="", postgres="asyncpg"))

    def made(self, id: str, settings: SessionSettings) -> SessionABC:
        """Return a session on the engine."""
        from agents.extensions.memory import SQLAlchemySession

        return SQLAlchemySession(id, engine=self._engine, session_settings=settings)

    async def close(self) -> None:
        """Close the engine's connections."""
        await self._engine.dispose()


class OpenAIAgents(System):
    """The sessions of the Agents SDK."""

    is_async = True

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit

    def seed(self, url: str, messages: int, conversations: int) -> list[str]:
        """Insert what add_items() does, all at once."""
        ids = [f"conversation-{number}" for number in range(conversations)]
        if is_sqlite(url):
            self._fill_file(file_of(url), ids, messages)
        else:
            asyncio.run(self._fill_server(url, ids, messages))
        return ids

    def open(self, url: str) -> Session:
        """Open the store."""
        return (SqliteAgents if is_sqlite(url) else PostgresAgents)(url, self._limit)

    @staticmethod
    def _fill_file(file: str, ids: list[str], messages: int) -> None:
        SQLiteSession(ids[0], file).close()
        with sqlite3.connect(file) as connection:
            connection.executemany("INSERT INTO agent_sessions (session_id) VALUES (?)", ((id,) for id in ids))
            connection.executemany(
                "INSERT INTO agent_messages (session_id, message_data, created_at) VALUES (?, ?, ?)",
                ((id, data, f"{at:%Y-%m-%d %H:%M:%S}") for id, data, at in rows(ids, messages, (", ", ": "))),
            )
        connection.close()

    @staticmethod
    async def _fill_server(url: str, ids: list[str], messages: int) -> None:
        import asyncpg
        from agents.extensions.memory import SQLAlchemySession

        await SQLAlchemySession.from_url(
            ids[0], url=with_driver(url, sqlite="", postgres="asyncpg"), create_tables=True
        ).get_items()
        connection = await asyncpg.connect(url)
        await connection.executemany("INSERT INTO agent_sessions (session_id) VALUES ($1)", [(id,) for id in ids])
        await connection.copy_records_to_table(
            "agent_messages",
            records=rows(ids, messages, (",", ":")),
            columns=("session_id", "message_data", "created_at"),
        )
        await connection.close()


def rows(ids: list[str], messages: int, separators: tuple[str, str]) -> Iterator[tuple[str, str, datetime]]:
    """Yield the rows of the conversations; the two sessions write JSON in two ways."""
    for number, (id, item) in enumerate(chain.from_iterable(((id, each) for each in said(messages)) for id in ids)):
        yield id, json.dumps(item, separators=separators), SEEDED_AT + timedelta(milliseconds=number)


def said(messages: int) -> Iterator[Item]:
    """Yield the items of a conversation."""
    for position, text in enumerate(texts.history(messages)):
        yield {"role": "assistant" if position % 2 else "user", "content": text}


SYSTEMS = {"openai-agents": OpenAIAgents(), "openai-agents-limit": OpenAIAgents(limit=100)}
