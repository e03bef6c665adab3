"""Google's Agent Development Kit: a `DatabaseSessionService` that is kept.

get_session() reads all events, or with `num_recent_events` the newest. It knows nothing of tokens: the prompt is made
here, of the newest events that fit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from google.adk.events import Event
from google.adk.sessions import DatabaseSessionService
from google.adk.sessions import Session as Conversation
from google.adk.sessions.base_session_service import GetSessionConfig
from google.adk.sessions.schemas.v1 import StorageEvent, StorageSession
from google.genai.types import Content, Part
from sqlalchemy import create_engine, insert, update

from benchmarks import texts
from benchmarks.systems.base import Session, System, newest_that_fit, with_driver, write_lines

WHO = {"app_name": "benchmark", "user_id": "user"}


class AdkSession(Session):
    """A service."""

    def __init__(self, url: str, config: GetSessionConfig | None) -> None:
        self._service, self._config = service_on(url), config

    async def turn(self, id: str, question: str, answer: str) -> int:  # type: ignore[override]  # a coroutine
        """Get the session, append the message, take the newest events that fit, append the answer."""
        conversation = await self._found(id)
        await self._service.append_event(conversation, event("user", question, time.time()))
        texts_ = [text_of(each) for each in conversation.events]
        prompt = texts_[-newest_that_fit(map(texts.tokens, reversed(texts_)), texts.LIMIT) :]
        await self._service.append_event(conversation, event("model", answer, time.time()))
        return len(prompt)

    async def resume(self, id: str) -> None:
        """Get the session, which reads its events."""
        await self._found(id)

    async def export(self, id: str, file: str) -> int:  # type: ignore[override]  # a coroutine
        """Write all events, which are read at once."""
        conversation = await self._service.get_session(**WHO, session_id=id)
        return write_lines(file, ((each.author, text_of(each)) for each in conversation.events))

    async def close(self) -> None:
        """Close the service."""
        await self._service.close()

    async def _found(self, id: str) -> Conversation:
        found: Conversation = await self._service.get_session(**WHO, session_id=id, config=self._config)
        return found


class Adk(System):
    """The sessions of the Agent Development Kit."""

    is_async = True

    def __init__(self, config: GetSessionConfig | None = None) -> None:
        self._config = config

    def seed(self, url: str, messages: int, conversations: int) -> list[str]:
        """Insert what append_event() does, all at once."""
        ids = [f"conversation-{number}" for number in range(conversations)]
        asyncio.run(self._create(url, ids))
        engine = create_engine(with_driver(url, sqlite="", postgres="psycopg"))
        with engine.begin() as connection:
            for id in ids:
                connection.execute(insert(StorageEvent.__table__), [row(id, each) for each in said(messages)])
            now = datetime.now(UTC).replace(tzinfo=None)
            connection.execute(update(StorageSession.__table__).values(update_time=now))
        engine.dispose()
        return ids

    def open(self, url: str) -> Session:
        """Make the service."""
        return AdkSession(url, self._config)

    @staticmethod
    async def _create(url: str, ids: list[str]) -> None:
        service = service_on(url)
        for id in ids:
            await service.create_session(**WHO, session_id=id)
        await service.close()


def service_on(url: str) -> DatabaseSessionService:
    """Return a service with its own settings."""
    return DatabaseSessionService(with_driver(url, sqlite="aiosqlite", postgres="asyncpg"))


def event(author: str, text: str, at: float) -> Event:
    """Return the event of a message; those of one turn have an invocation in common, which is of no account here."""
    return Event(
        author=author,
        invocation_id="e-0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
        content=Content(role=author, parts=[Part(text=text)]),
        timestamp=at,
    )


def text_of(told: Event) -> str:
    """Return the text of an event."""
    return str(told.content.parts[0].text)  # type: ignore[union-attr, index]  # each has one part


def said(messages: int) -> Iterator[Event]:
    """Yield the events of a conversation that ends now, a millisecond each."""
    first = time.time() - messages / 1000
    for position, text in enumerate(texts.history(messages)):
        yield event("model" if position % 2 else "user", text, first + position / 1000)


def row(id: str, told: Event) -> dict[str, Any]:
    """Return the columns of an event, as the service makes them."""
    stored = StorageEvent.from_event(Conversation(id=id, **WHO), told)
    return {each.name: getattr(stored, each.name) for each in StorageEvent.__table__.columns}


SYSTEMS = {"adk": Adk(), "adk-limit": Adk(GetSessionConfig(num_recent_events=100))}
