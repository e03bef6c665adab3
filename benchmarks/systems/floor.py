"""The floor: the least that a turn can be, over the driver alone.

One table with one clustered key, token counts that are stored, a window that is read newest first until it is full,
and two inserts in two commits: the user's message is safe before the model is asked. It knows nothing of anything
else: no roles of writers, no crashes, no audit, no second sender.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from benchmarks import texts
from benchmarks.systems.base import Session, System, file_of, is_sqlite, write_lines

if TYPE_CHECKING:
    import psycopg

Row = tuple[str, int, str, int, str]

TABLE = """CREATE TABLE messages (
    conversation TEXT NOT NULL, position INTEGER NOT NULL, role TEXT NOT NULL, tokens INTEGER NOT NULL,
    content TEXT NOT NULL, PRIMARY KEY (conversation, position)
)"""
WINDOW = "SELECT position, role, tokens, content FROM messages WHERE conversation = {} ORDER BY position DESC"
LAST = "SELECT position FROM messages WHERE conversation = {} ORDER BY position DESC LIMIT 1"
INSERT = "INSERT INTO messages (conversation, position, role, tokens, content) VALUES ({0}, {0}, {0}, {0}, {0})"
ALL = "SELECT role, content FROM messages WHERE conversation = {} ORDER BY position"

PAGE = 128
"""How many rows are asked of a server, which sends all that it finds."""


def rows(id: str, messages: int) -> Iterator[Row]:
    """Yield the rows of a conversation."""
    for position, text in enumerate(texts.history(messages)):
        yield id, position, "assistant" if position % 2 else "user", texts.tokens(text), text


def window(found: Iterable[tuple[int, str, int, str]], question: str) -> tuple[int, list[tuple[str, str]]]:
    """Return the next position, and the prompt: the newest of the messages that are found which fit."""
    prompt, left, next_position = [("user", question)], texts.LIMIT - texts.tokens(question), 0
    for position, role, tokens, content in found:
        next_position = max(next_position, position + 1)
        left -= tokens
        if left < 0:
            break
        prompt.append((role, content))
    return next_position, prompt[::-1]


class SqliteFloor(Session):
    """One connection, its log synced at each commit; a statement is a transaction."""

    def __init__(self, url: str) -> None:
        self._connection = sqlite3.connect(file_of(url), isolation_level=None, timeout=60, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._window, self._last, self._insert, self._all = (each.format("?") for each in (WINDOW, LAST, INSERT, ALL))

    def turn(self, id: str, question: str, answer: str) -> int:
        """Read the window, and store both messages."""
        execute = self._connection.execute
        position, prompt = window(execute(self._window, (id,)), question)
        execute(self._insert, (id, position, "user", texts.tokens(question), question))
        execute(self._insert, (id, position + 1, "assistant", texts.tokens(answer), answer))
        return len(prompt)

    def resume(self, id: str) -> object:
        """Look where the conversation ends."""
        return self._connection.execute(self._last, (id,)).fetchone()

    def export(self, id: str, file: str) -> int:
        """Write each row as it is read."""
        return write_lines(file, self._connection.execute(self._all, (id,)))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class PostgresFloor(Session):
    """One connection with the driver's own settings: transactions begin by themselves, in a round trip of their own.

    In autocommit mode a turn would be three round trips instead of seven.
    """

    def __init__(self, url: str) -> None:
        import psycopg

        self._connection = psycopg.connect(url)
        self._window, self._last, self._insert, self._all = (each.format("%s") for each in (WINDOW, LAST, INSERT, ALL))
        self._window += f" LIMIT {PAGE}"

    def turn(self, id: str, question: str, answer: str) -> int:
        """Read the window, and store both messages; no transaction is open while a model would be answering."""
        execute, commit = self._connection.execute, self._connection.commit
        position, prompt = window(execute(self._window, (id,)), question)
        execute(self._insert, (id, position, "user", texts.tokens(question), question))
        commit()
        execute(self._insert, (id, position + 1, "assistant", texts.tokens(answer), answer))
        commit()
        return len(prompt)

    def resume(self, id: str) -> object:
        """Look where the conversation ends."""
        found = self._connection.execute(self._last, (id,)).fetchone()
        self._connection.rollback()
        return found

    def export(self, id: str, file: str) -> int:
        """Write each row as it comes: the server sends some thousand at a time."""
        with self._connection.cursor("all") as cursor:
            cursor.itersize = 2000
            count = write_lines(file, cursor.execute(self._all, (id,)))
        self._connection.rollback()
        return count

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Floor(System):
    """The driver alone."""

    is_shared = False

    def seed(self, url: str, messages: int, conversations: int) -> list[str]:
        """Insert all rows in one transaction."""
        ids = [f"conversation-{number}" for number in range(conversations)]
        if is_sqlite(url):
            with sqlite3.connect(file_of(url)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(f"{TABLE} WITHOUT ROWID")
                for id in ids:
                    connection.executemany(INSERT.format("?"), rows(id, messages))
            connection.close()
            return ids
        import psycopg

        with psycopg.connect(url) as server:
            server.execute(TABLE)
            for id in ids:
                _copy(server, rows(id, messages))
        return ids

    def open(self, url: str) -> Session:
        """Connect."""
        return SqliteFloor(url) if is_sqlite(url) else PostgresFloor(url)


def _copy(server: psycopg.Connection, given: Iterable[Row]) -> None:
    with server.cursor().copy("COPY messages (conversation, position, role, tokens, content) FROM STDIN") as copy:
        for each in given:
            copy.write_row(each)


SYSTEMS = {"floor": Floor()}
