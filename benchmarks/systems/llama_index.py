"""LlamaIndex: `Memory` over an `SQLAlchemyChatStore`.

Memory archives what goes beyond its limit, and counts tokens with a real tokenizer each time that something is put.
It is made anew each turn, on an engine that is kept; given a URI instead, each would make an engine too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from llama_index.core.llms import ChatMessage
from llama_index.core.memory import Memory
from llama_index.core.storage.chat_store.sql import SQLAlchemyChatStore
from llama_index.core.utils import get_tokenizer
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from benchmarks import texts
from benchmarks.systems.base import Session, System, newest_that_fit, with_driver, write_lines

SHARE = 0.7
"""Of its limit that Memory keeps for messages, by itself."""


class LlamaIndexSession(Session):
    """An engine."""

    def __init__(self, url: str) -> None:
        self._engine = engine_on(url)

    async def turn(self, id: str, question: str, answer: str) -> int:  # type: ignore[override]  # a coroutine
        """Put the message, get the prompt, put the answer."""
        memory = self._made(id)
        await memory.aput(ChatMessage(role="user", content=question))
        prompt = await memory.aget()
        await memory.aput(ChatMessage(role="assistant", content=answer))
        return len(prompt)

    async def resume(self, id: str) -> None:
        """Make the object, which reads nothing yet."""
        self._made(id)

    async def export(self, id: str, file: str) -> int:  # type: ignore[override]  # a coroutine
        """Write all messages, which are read at once."""
        messages = await self._made(id).aget_all()
        return write_lines(file, ((str(each.role.value), each.content) for each in messages))

    async def close(self) -> None:
        """Close the engine's connections."""
        await self._engine.dispose()

    def _made(self, id: str) -> Memory:
        return Memory.from_defaults(session_id=id, token_limit=texts.LIMIT, async_engine=self._engine)


class LlamaIndex(System):
    """LlamaIndex's memory."""

    is_async = True

    def seed(self, url: str, messages: int, conversations: int) -> list[str]:
        """Insert what aput() does, all at once, the older messages archived as it would have done."""
        ids = [f"conversation-{number}" for number in range(conversations)]
        asyncio.run(self._fill(url, ids, messages))
        return ids

    def open(self, url: str) -> Session:
        """Make the engine."""
        return LlamaIndexSession(url)

    @staticmethod
    async def _fill(url: str, ids: list[str], messages: int) -> None:
        engine = engine_on(url)
        store = SQLAlchemyChatStore("llama_index_memory", async_engine=engine)
        async with engine.begin() as connection:
            table = await store._setup_tables(engine)  # noqa: SLF001 - nothing public names its columns
            for id in ids:
                await connection.execute(table.insert(), list(rows(id, messages)))
        await engine.dispose()


def engine_on(url: str) -> AsyncEngine:
    """Return an engine with SQLAlchemy's own settings."""
    return create_async_engine(with_driver(url, sqlite="aiosqlite", postgres="asyncpg"))


def rows(id: str, messages: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a conversation that ends now, a millisecond each; the newest ones are active."""
    said = list(texts.history(messages))
    tokenizer = get_tokenizer()
    fitting = newest_that_fit((len(tokenizer(each)) for each in reversed(said)), int(SHARE * texts.LIMIT))
    first = time.time_ns() - messages * 1_000_000
    for position, text in enumerate(said):
        role = "assistant" if position % 2 else "user"
        yield {
            "key": id,
            "timestamp": first + position * 1_000_000,
            "role": role,
            "status": "archived" if position < messages - fitting else "active",
            "data": ChatMessage(role=role, content=text).model_dump(mode="json"),
        }


SYSTEMS = {"llama-index": LlamaIndex()}
