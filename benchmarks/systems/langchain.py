"""LangChain: `SQLChatMessageHistory`, and `trim_messages` for the prompt.

Its `messages` read the whole conversation, which is then trimmed. The history is made anew each turn, on an engine
that is kept; given a URL instead, as its documentation does, each would make an engine too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from langchain_community.chat_message_histories import SQLChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, message_to_dict, trim_messages
from langchain_core.messages.utils import count_tokens_approximately
from sqlalchemy import Engine, create_engine, insert

from benchmarks import texts
from benchmarks.systems.base import Session, System, with_driver, write_lines


class LangChainSession(Session):
    """An engine."""

    def __init__(self, url: str) -> None:
        self._engine = engine_on(url)

    def turn(self, id: str, question: str, answer: str) -> int:
        """Add the message, read and trim all messages, add the answer."""
        history = SQLChatMessageHistory(session_id=id, connection=self._engine)
        history.add_message(HumanMessage(question))
        prompt = trim_messages(
            history.messages,
            max_tokens=texts.LIMIT,
            token_counter=count_tokens_approximately,
            strategy="last",
            start_on="human",
        )
        history.add_message(AIMessage(answer))
        return len(prompt)

    def resume(self, id: str) -> object:
        """Make the object, which looks whether its table is there."""
        return SQLChatMessageHistory(session_id=id, connection=self._engine)

    def export(self, id: str, file: str) -> int:
        """Write all messages, which are read at once."""
        history = SQLChatMessageHistory(session_id=id, connection=self._engine)
        return write_lines(file, ((each.type, each.content) for each in history.messages))

    def close(self) -> None:
        """Close the engine's connections."""
        self._engine.dispose()


class LangChain(System):
    """LangChain's history in an SQL database."""

    def seed(self, url: str, messages: int, conversations: int) -> list[str]:
        """Insert what add_message() does, all at once."""
        ids = [f"conversation-{number}" for number in range(conversations)]
        engine = engine_on(url)
        table = SQLChatMessageHistory(session_id=ids[0], connection=engine).sql_model_class.__table__
        with engine.begin() as connection:
            for id in ids:
                rows = [{"session_id": id, "message": json.dumps(message_to_dict(each))} for each in said(messages)]
                connection.execute(insert(table), rows)
        engine.dispose()
        return ids

    def open(self, url: str) -> Session:
        """Make the engine."""
        return LangChainSession(url)


def engine_on(url: str) -> Engine:
    """Return an engine with SQLAlchemy's own settings."""
    return create_engine(with_driver(url, sqlite="", postgres="psycopg"))


def said(messages: int) -> Iterator[BaseMessage]:
    """Yield the messages of a conversation."""
    for position, text in enumerate(texts.history(messages)):
        yield AIMessage(text) if position % 2 else HumanMessage(text)


SYSTEMS = {"langchain": LangChain()}
