"""Whether a store is as it is promised to be, whatever happened to those who wrote into it.

`violations` needs conversations in which HistoryClient answered and no user said the same text twice: then each stored
answer proves which history it was made from. It looks at the rows as they are, and compares them with what the
journal tells, with what senders were told, and with each other.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, select

from convo import auditing
from convo.audits import Verdict
from convo.replay import Replay
from convo.store import forks, rows
from convo.store.rows import CONVERSATIONS, EVENTS, EXAMPLES, MESSAGES, TURNS
from convo.store.transactions import READ, USE
from convo.stores import Store
from convo.testing.history import expected_reply
from convo.told import ToldText, ToldTurn
from convo.values import BROKEN_OFF, DONE, MODEL, USER, ConversationRecord, Event, Example, Message


class Acknowledged(NamedTuple):
    """A turn whose sender was told the answer: from then on it may neither vanish, nor change, nor stand twice."""

    conversation: str
    """Its id."""
    request_key: str | None
    text: str
    reply: str


@dataclass(frozen=True)
class Stored:
    """All rows of one conversation, as they were at one moment."""

    record: ConversationRecord
    row: Any
    """The conversation's own."""
    turns: dict[int, Any]
    """Rows of turns, by number."""
    messages: list[Message]
    """By turn, side and candidate."""
    examples: list[Example]
    events: list[Event]
    told: Replay

    def of(self, turn: int, side: int) -> list[Message]:
        """Return the texts of one side of a turn, by candidate."""
        return [each for each in self.messages if each.turn == turn and each.side == side]

    def chosen(self) -> list[Message]:
        """Return the conversation as it reads."""
        choice = {number: row.chosen for number, row in self.turns.items()}
        return [each for each in self.messages if each.side == USER or each.candidate == choice.get(each.turn or 0)]


def violations(
    store: Store, conversations: Iterable[str] | None = None, *, acknowledged: Iterable[Acknowledged] = ()
) -> list[str]:
    """Return what is wrong with the conversations of these ids, or with all; nothing when all is as promised.

    Each text begins with the promise that was broken: lost, doubled, changed (of what was `acknowledged`), order,
    state, reply, journal or database. None holds a message.
    """
    heard: dict[str, list[Acknowledged]] = {}
    for each in acknowledged:
        heard.setdefault(each.conversation, []).append(each)
    with _snapshot(store) as connection:
        stored = _read_all(connection, None if conversations is None else list(conversations))
        found = [] if store.engine.dialect.name != "sqlite" else list(_database(connection))
    gone = [f"lost: conversation {id} with {len(heard[id])} turns" for id in heard.keys() - stored.keys()]
    for id, rows_of_it in stored.items():
        found += [f"{promise}: conversation {id}, {where}" for promise, where in _faults(rows_of_it, heard.get(id, ()))]
    for verdict in _verdicts(store, stored):
        found += [f"journal: conversation {verdict.conversation}, {fault}" for fault in verdict.faults]
    return found + gone


def _verdicts(store: Store, ids: Iterable[str]) -> Iterator[Verdict]:
    """Yield what is found when the conversations of these ids, which are there, are verified."""
    for id in ids:
        verdict = auditing.verdict_of(store.database, id, ())
        if verdict is not None:
            yield verdict


def late_replies(store: Store, conversations: Iterable[str]) -> int:
    """Return how many answers the journals of these conversations tell of that came after a takeover."""
    with _snapshot(store) as connection:
        return sum(each.told.late for each in _read_all(connection, list(conversations)).values())


@contextlib.contextmanager
def _snapshot(store: Store) -> Iterator[Connection]:
    """Yield a connection that sees one moment, and holds up nobody."""
    with forks.using(), store.engine.execution_options(**{USE: READ}).connect() as connection:
        yield connection


def _read_all(connection: Connection, ids: Sequence[str] | None) -> dict[str, Stored]:
    wanted = select(CONVERSATIONS) if ids is None else select(CONVERSATIONS).where(CONVERSATIONS.c.id.in_(ids))
    found = connection.execute(wanted).all()
    return {row.id: _read(connection, row) for row in found}


def _read(connection: Connection, row: Any) -> Stored:  # noqa: ANN401 - a row
    record = rows.conversation(row)

    def of_it(table: Table, *columns: Any) -> Sequence[Any]:  # noqa: ANN401 - what select() takes
        wanted = select(*columns or [table]).where(table.c.conversation_id == record.id)
        return connection.execute(wanted.order_by(*table.primary_key.columns)).all()

    events = [rows.event(row) for row in of_it(EVENTS)]
    return Stored(
        record=record,
        row=row,
        turns={row.number: row for row in of_it(TURNS)},
        messages=[rows.message(row) for row in of_it(MESSAGES, *rows.MESSAGE)],
        examples=[rows.example(row) for row in of_it(EXAMPLES)],
        events=events,
        told=Replay(events),
    )


Fault = tuple[str, str]
"""The promise that was broken, and where."""


def _faults(stored: Stored, heard: Sequence[Acknowledged]) -> Iterator[Fault]:
    yield from _order(stored)
    yield from _states(stored)
    yield from _replies(stored)
    yield from _acknowledged(stored, heard)


def _database(connection: Connection) -> Iterator[str]:
    """Yield what SQLite itself finds."""
    found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
    yield from (f"database: {each}" for each in found if each != "ok")
    for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield f"database: a row of {row[0]} refers to one of {row[2]} that is not there"


def _order(stored: Stored) -> Iterator[Fault]:
    """Yield where the turns have a gap, or the two sides do not take turns."""
    numbers = list(range(stored.record.first_position, stored.record.turn_count + 1))
    if sorted(stored.turns) != numbers:
        yield "order", f"{len(stored.turns)} turns that are not numbered as its {len(numbers)}"
    first = stored.record.first_position
    for place, message in enumerate(stored.chosen(), start=first):
        if (message.position, message.side) != (place, 1 - place % 2):
            yield "order", f"turn {message.turn}: side {message.side} speaks at position {message.position}"
            return
    said = [each for each in stored.messages if each.side == USER and not _is_rewritten(stored, [each])]
    for text, count in Counter(each.content for each in said).items():
        if count > 1 and text is not None:
            where = [each.turn for each in stored.messages if each.side == USER and each.content == text]
            yield "doubled", f"turns {where}: the user's text is the same"


def _states(stored: Stored) -> Iterator[Fault]:
    """Yield the turns that are open though others follow, and those that are not what their state says."""
    for number, row in stored.turns.items():
        if number < stored.record.turn_count and (row.state != DONE or row.lease_owner is not None):
            yield "state", f"turn {number}: it is open, and others follow"
        if row.state == DONE and row.chosen not in [each.candidate for each in stored.of(number, MODEL)]:
            yield "state", f"turn {number}: the chosen candidate is not there"
        if any(each.candidate == row.chosen and each.finish_reason in BROKEN_OFF for each in stored.of(number, MODEL)):
            yield "state", f"turn {number}: the chosen candidate broke off"
        before = stored.turns.get(number - 1)
        if before is not None and row.prev_chosen != before.chosen:
            yield "state", f"turn {number}: it follows another candidate than the one that is chosen"


def _replies(stored: Stored) -> Iterator[Fault]:
    """Yield the answers that were made from another history than the one that stands before them."""
    history = stored.chosen()
    place_of = {each.position: place for place, each in enumerate(history)}
    for number, turn in stored.told.turns.items():
        end = place_of.get(2 * number - 1)
        said = {each.candidate: each for each in stored.of(number, MODEL)}
        for index, told in (*enumerate(turn.candidates), *turn.repeated):
            message = said.get(index)
            if told.prompt is None or end is None or message is None:
                continue
            sent = history[place_of.get(told.prompt.start, end) : end + 1]
            is_answer = _is_answer(message, told, _answer(stored, told, sent))
            if not is_answer and not _is_rewritten(stored, [message, *sent]):
                yield "reply", f"turn {number}: candidate {message.candidate} does not answer what stands before it"


def _is_answer(message: Message, told: ToldText, answer: str) -> bool:
    """Return whether a text is the answer, or a beginning of it if it broke off."""
    if not told.is_partial:
        return message.content == answer
    return bool(message.content) and answer.startswith(str(message.content))


def _answer(stored: Stored, told: ToldText, sent: Sequence[Message]) -> str:
    first_example = told.prompt.first_example if told.prompt else 0
    return expected_reply(stored.record.context, stored.examples[first_example:], sent, candidate=told.place)


def _is_rewritten(stored: Stored, messages: Iterable[Message]) -> bool:
    """Return whether one of the texts was erased or redacted, or of those that were sent before them all."""
    turns = ((stored.told.turns.get(each.turn or 0), each) for each in messages)
    told = [turn.text_at(each.side, each.candidate) for turn, each in turns if turn is not None]
    return stored.told.settings.is_rewritten or any(each is not None and each.is_rewritten for each in told)


def _acknowledged(stored: Stored, heard: Sequence[Acknowledged]) -> Iterator[Fault]:
    """Yield what a sender was told and does not stand, exactly once and word for word."""
    for each in heard:
        turns = [row.number for row in stored.turns.values() if _is_of(stored, row, each)]
        if not turns:
            yield "lost", f"key {each.request_key!r}: its turn is not there"
        elif len(turns) > 1:
            yield "doubled", f"turns {turns}: they are one request"
        elif stored.turns[turns[0]].state != DONE:
            yield "lost", f"turn {turns[0]}: its sender was told an answer, and it has none"
        elif not _stands(stored, turns[0], each):
            yield "changed", f"turn {turns[0]}: it is not what its sender was told"


def _is_of(stored: Stored, row: Any, heard: Acknowledged) -> bool:  # noqa: ANN401 - a row
    if heard.request_key is not None:
        return bool(row.request_key == heard.request_key)
    return heard.text in [each.content for each in stored.of(row.number, USER)]


def _stands(stored: Stored, number: int, heard: Acknowledged) -> bool:
    """Return whether the texts are those that were heard; the reply may be another by the user's own wish."""
    told = stored.told.turns.get(number) or ToldTurn(number, DONE, 0)
    chosen = stored.turns[number].chosen
    counting = [each.content for each in stored.of(number, MODEL) if told.is_reconsidered or each.candidate == chosen]
    return heard.reply in counting and [heard.text] == [each.content for each in stored.of(number, USER)]
