"""A fork beside the same INSERT … SELECT typed by hand: python -m benchmarks.forking.

Both copy one conversation, with its turns, messages and journal, in one transaction, over the same connections; by
turns, so that a busy machine hits both. Told are the medians, their ratio, and how many rows convo fetched.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, event, text

import convo
from benchmarks.crowd import database

COPIES = (
    """INSERT INTO convo_conversations (id, owner, model, parameters, user_author, model_author, trim, first_position,
       turn_count, fence, journal_length, journal_head, forked_from, forked_at, created_at, updated_at, context_tokens,
       label_salt, metadata)
       SELECT :fork, owner, model, parameters, user_author, model_author, trim, first_position, :turn, fence,
       journal_length, journal_head, id, :turn, created_at, updated_at, context_tokens, label_salt, metadata
       FROM convo_conversations WHERE id = :id""",
    """INSERT INTO convo_turns (conversation_id, number, state, fence, chosen, prev_chosen, window_start, first_example,
       prompt_tokens, prompt_limit, prompt_digest, model, served_by, parameters, input_tokens, output_tokens,
       latency_ms, created_at, finished_at)
       SELECT :fork, number, state, fence, chosen, prev_chosen, window_start, first_example, prompt_tokens,
       prompt_limit, prompt_digest, model, served_by, parameters, input_tokens, output_tokens, latency_ms, created_at,
       finished_at FROM convo_turns WHERE conversation_id = :id AND number <= :turn""",
    """INSERT INTO convo_messages (conversation_id, turn, side, candidate, author, tokens, repaired, finish_reason,
       created_at, salt, content, model)
       SELECT :fork, turn, side, candidate, author, tokens, repaired, finish_reason, created_at, salt, content, model
       FROM convo_messages WHERE conversation_id = :id AND turn <= :turn""",
    """INSERT INTO convo_events (conversation_id, number, kind, digest, body)
       SELECT :fork, number, kind, digest, body FROM convo_events
       WHERE conversation_id = :id AND number <= :turn + 1""",
)
"""What somebody would type who knows the tables. The event of turn n of a given history is number n + 1."""


@dataclass
class Result:
    """What was measured, at one turn."""

    by_convo_s: list[float] = field(default_factory=list)
    by_hand_s: list[float] = field(default_factory=list)
    rows: int = 0
    """How many convo fetched."""

    @property
    def ratio(self) -> float:
        """The median of convo's times, as a multiple of the one by hand."""
        return statistics.median(self.by_convo_s) / statistics.median(self.by_hand_s)


def measure(store: convo.Store, talk: convo.Conversation, turn: int, rounds: int) -> Result:
    """Fork `talk` at `turn` so many times in both ways; each copy is deleted again, outside of what is timed."""
    result = Result()
    for _ in range(rounds):
        fork, seconds = timed(lambda: talk.fork(at=turn).id)
        result.by_convo_s.append(seconds)
        store.delete(fork)
        fork, seconds = timed(lambda: by_hand(store.engine, talk.id, turn))
        result.by_hand_s.append(seconds)
        store.delete(fork)
    with counted_rows(store.engine) as rows:
        talk.fork(at=turn)
    result.rows = rows[0]
    return result


def timed(run: Callable[[], str]) -> tuple[str, float]:
    """Return what `run` returns, and how many seconds it took."""
    started = time.perf_counter()
    return run(), time.perf_counter() - started


def by_hand(engine: Engine, id: str, turn: int) -> str:
    """Copy a conversation up to a turn with typed statements; return the copy's id."""
    fork = uuid.uuid4()
    is_sqlite = engine.dialect.name == "sqlite"
    given = {"turn": turn, "id": uuid.UUID(id).bytes if is_sqlite else id, "fork": fork.bytes if is_sqlite else fork}
    with engine.begin() as connection:
        for each in COPIES:
            connection.execute(text(each), given)
    return str(fork)


@contextlib.contextmanager
def counted_rows(engine: Engine) -> Iterator[list[int]]:
    """Yield a counter of the rows that the driver hands out meanwhile."""
    seen = [0]

    def make(cursor: Any, row: Any) -> Any:  # noqa: ANN401, ARG001 - sqlite3's signature
        seen[0] += 1
        return row

    def begin(connection: Connection) -> None:
        if engine.dialect.name == "sqlite":
            connection.connection.dbapi_connection.row_factory = make  # type: ignore[union-attr]  # of sqlite3

    def executed(connection: Any, cursor: Any, *rest: Any) -> None:  # noqa: ANN401, ARG001 - the hook's signature
        if cursor.description is not None and engine.dialect.name == "postgresql":
            seen[0] += cursor.rowcount

    hooks: dict[str, Callable[..., None]] = {"begin": begin, "after_cursor_execute": executed}
    for name, hook in hooks.items():
        event.listen(engine, name, hook)
    try:
        yield seen
    finally:
        for name, hook in hooks.items():
            event.remove(engine, name, hook)
        engine.dispose()  # the connections count no more


def run(target: str | Engine, messages: int, rounds: int) -> dict[int, Result]:
    """Measure on a database: a fork of the whole conversation, and one in the middle of it."""
    with convo.Store(target) as store:
        texts = [f"message {number:06d}, with some more words in it" for number in range(messages)]
        talk = store.create(model="offline/echo", messages=texts)
        if store.engine.dialect.name == "postgresql":
            with store.engine.begin() as connection:
                connection.exec_driver_sql("ANALYZE")
        return {turn: measure(store, talk, turn, rounds) for turn in (messages // 2, messages // 4)}


def told(name: str, messages: int, results: dict[int, Result]) -> str:
    """Return the results in words."""
    lines = [f"{name}, {messages:,} messages"]
    for turn, each in results.items():
        convo_s, hand_s = statistics.median(each.by_convo_s), statistics.median(each.by_hand_s)
        lines.append(
            f"  fork at turn {turn:,}: {convo_s:.3f} s; by hand {hand_s:.3f} s; ratio {each.ratio:.2f}; "
            f"{each.rows} rows fetched"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the benchmark on both databases, or on the one that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--database", action="append", help="sqlite, postgres or a URL; both when none is named")
    given = parser.parse_args()
    for name in given.database or ["sqlite", "postgres"]:
        with database(name, 1) as target:
            sys.stdout.write(told(name, given.messages, run(target, given.messages, given.rounds)))
            if isinstance(target, Engine):
                target.dispose()


if __name__ == "__main__":
    main()
