"""convo itself: a Store that is kept, and `get(id).send(text)` a turn.

convo-cold has its store forget before each turn what it remembers of the one before, and so reads the history as the
first turn of a process does.
"""

from __future__ import annotations

import threading

import convo
from benchmarks import texts
from benchmarks.systems.base import Session, System, is_sqlite
from convo.clients.base import ChatReply, ChatRequest
from convo.store.database import Database


class Instant(threading.local):
    """A model that answers at once with what it was told to, in each thread."""

    answer = ""

    def get_model(self, name: str) -> convo.Model:
        """Return the same limits for each name."""
        return convo.Model(name=name, input_token_limit=texts.LIMIT)

    def chat(self, request: ChatRequest, *, deadline_s: float) -> ChatReply:  # noqa: ARG002 - answers whatever is asked
        """Answer."""
        return ChatReply((convo.Candidate(0, self.answer, "stop"),))


class ConvoSession(Session):
    """A Store, with the settings that it has by itself."""

    def __init__(self, url: str, *, is_cold: bool) -> None:
        self.is_cold = is_cold
        self.client = Instant()
        self.store = convo.Store(url, client=self.client)

    def turn(self, id: str, question: str, answer: str) -> int:
        """Get the conversation and send."""
        self.client.answer = answer
        if self.is_cold:
            self.store.database.windows.clear()
        reply = self.store.get(id).send(question)
        return len(reply.prompt.messages)  # type: ignore[union-attr]  # that of a new answer has them

    def resume(self, id: str) -> object:
        """Get the conversation."""
        return self.store.get(id)

    def export(self, id: str, file: str) -> int:
        """Export it in convo's own form: all that is stored, to be read again."""
        return self.store.export(file, id).texts

    def close(self) -> None:
        """Close the store."""
        self.store.close()


class Convo(System):
    """convo."""

    def __init__(self, *, is_cold: bool = False) -> None:
        self._is_cold = is_cold

    def seed(self, url: str, messages: int, conversations: int) -> list[str]:
        """Create conversations with histories."""
        prepare(url)
        with convo.Store(url, client=Instant()) as store:
            return [
                store.create(model="instant", input_token_limit=texts.LIMIT, messages=list(texts.history(messages))).id
                for _ in range(conversations)
            ]

    def open(self, url: str) -> ConvoSession:
        """Open a store."""
        return ConvoSession(url, is_cold=self._is_cold)


def prepare(url: str) -> None:
    """Create the tables on a server; a new file gets them by itself."""
    if not is_sqlite(url):
        database = Database(url)
        database.upgrade()
        database.close()


SYSTEMS = {"convo": Convo(), "convo-cold": Convo(is_cold=True)}
