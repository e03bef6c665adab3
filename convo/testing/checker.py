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

from convo import journal
from convo.store import forks, rows, sqlite
from convo.store.conversations import commitment, example_commitments, labels, settings_body
from convo.store.rows import CONVERSATIONS, EVENTS, EXAMPLES, MESSAGES, TURNS
from convo.stores import Store
from convo.testing.history import expected_reply
from convo.testing.replay import Replay, ToldCandidate, ToldPrompt, ToldTurn
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
    return found + gone


def late_replies(store: Store, conversations: Iterable[str]) -> int:
    """Return how many answers the journals of these conversations tell of that came after a takeover."""
    with _snapshot(store) as connection:
        return sum(each.told.late for each in _read_all(connection, list(conversations)).values())


@contextlib.contextmanager
def _snapshot(store: Store) -> Iterator[Connection]:
    """Yield a connection that sees one moment, and holds up nobody."""
    with forks.using(), store.engine.execution_options(**{sqlite.READ_ONLY: True}).connect() as connection:
        yield connection


def _read_all(connection: Connection, ids: Sequence[str] | None) -> dict[str, Stored]:
    wanted = select(CONVERSATIONS) if ids is None else select(CONVERSATIONS).where(CONVERSATIONS.c.id.in_(ids))
    found = connection.execute(wanted).all()
    return {row.id: _read(connection, row) for row in found}


def _read(connection: Connection, row: Any) -> Stored:  # noqa: ANN401 - a row
    record = rows.conversation(row)

    def of_it(table: Table) -> Sequence[Any]:
        wanted = select(table).where(table.c.conversation_id == record.id)
        return connection.execute(wanted.order_by(*table.primary_key.columns)).all()

    events = [rows.event(row) for row in of_it(EVENTS)]
    return Stored(
        record=record,
        row=row,
        turns={row.number: row for row in of_it(TURNS)},
        messages=[rows.message(row) for row in of_it(MESSAGES)],
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
    yield from _chain(stored)
    yield from (("journal", fault) for fault in stored.told.faults)
    yield from _as_told(stored)
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
    for text, count in Counter(each.content for each in stored.messages if each.side == USER).items():
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
            if not _is_answer(message, told, _answer(stored, told, sent)) and not _is_erased([message, *sent]):
                yield "reply", f"turn {number}: candidate {message.candidate} does not answer what stands before it"


def _is_answer(message: Message, told: ToldCandidate, answer: str) -> bool:
    """Return whether a text is the answer, or a beginning of it if it broke off."""
    if not told.is_partial:
        return message.content == answer
    return bool(message.content) and answer.startswith(str(message.content))


def _answer(stored: Stored, told: ToldCandidate, sent: Sequence[Message]) -> str:
    first_example = told.prompt.first_example if told.prompt else 0
    return expected_reply(stored.record.context, stored.examples[first_example:], sent, candidate=told.place)


def _is_erased(messages: Iterable[Message]) -> bool:
    return any(each.content is None for each in messages)


def _chain(stored: Stored) -> Iterator[Fault]:
    """Yield where the journal's links are broken, or its end is not the one that the conversation knows."""
    head = journal.GENESIS
    for place, event in enumerate(stored.events, start=1):
        if event.number != place:
            yield "journal", f"event {event.number}: it stands at place {place}"
        head = journal.link(head, event.number, event.kind, event.body)
        if head != event.digest:
            yield "journal", f"event {event.number}: its digest does not follow from the ones before"
            head = event.digest
    if (stored.record.version, stored.record.journal_head) != (len(stored.events), head):
        yield "journal", f"{len(stored.events)} events, and the conversation knows of {stored.record.version}"


def _as_told(stored: Stored) -> Iterator[Fault]:
    """Yield the turns that are not those that the journal tells of."""
    told = stored.told
    if (told.last, told.fence) != (stored.record.turn_count, stored.record.fence):
        yield "journal", "its counters are not those that the events lead to"
    settings = _settings(stored)
    for name in sorted(name for name, each in told.settings.items() if each != settings[name]):
        yield "journal", f"its {name} is not what was told"
    for number in sorted(told.turns.keys() ^ stored.turns.keys()):
        yield "journal", f"turn {number}: only the {'journal' if number in told.turns else 'turn'} is there"
    for number in sorted(told.turns.keys() & stored.turns.keys()):
        row, turn = stored.turns[number], told.turns[number]
        if (row.state, row.fence, row.chosen) != (turn.state, turn.fence, turn.chosen):
            yield "journal", f"turn {number}: its state, fence or choice is not the one that was told"
        if (row.lease_owner is not None) != turn.is_held:
            yield "journal", f"turn {number}: it is {'' if row.lease_owner else 'not '}held, and was told otherwise"
        if _prompt(row) != turn.prompt:
            yield "journal", f"turn {number}: it remembers another prompt than was told"
        if _commitments(stored, number) != (turn.text, [each.text for each in turn.candidates]):
            yield "journal", f"turn {number}: its texts are not those that were told"
        if [each.finish_reason for each in stored.of(number, MODEL)] != [each.finish for each in turn.candidates]:
            yield "journal", f"turn {number}: its candidates do not end as was told"


def _prompt(row: Any) -> ToldPrompt | None:  # noqa: ANN401 - a row
    """Return what a turn remembers of its prompt, as events tell of it."""
    if row.prompt_digest is None:
        return None
    remembered = (row.window_start, row.first_example, row.prompt_tokens, row.prompt_limit)
    return ToldPrompt(journal.encode(row.prompt_digest), *remembered)


def _settings(stored: Stored) -> dict[str, Any]:
    """Return what the events should have told last of all that belongs to no turn."""
    record, row = stored.record, stored.row
    return settings_body(record) | {
        "context": commitment("context", record.context, record.context_salt),
        "examples": example_commitments(stored.examples),
        "title": commitment("title", record.title, row.title_salt),
        "labels": commitment("labels", labels(record), row.label_salt),
    }


def _commitments(stored: Stored, number: int) -> tuple[str | None, list[str | None]]:
    """Return the commitments to the user's text and to the candidates', by index."""
    asked, answered = stored.of(number, USER), stored.of(number, MODEL)
    return _commitment(asked[0]) if asked else None, [_commitment(each) for each in answered]


def _commitment(message: Message) -> str | None:
    if message.content is None or message.salt is None:
        return None
    return journal.encode(journal.commit("content", message.content, message.salt))


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
    told = stored.told.turns.get(number) or ToldTurn(DONE, 0)
    chosen = stored.turns[number].chosen
    counting = [each.content for each in stored.of(number, MODEL) if told.is_reconsidered or each.candidate == chosen]
    return heard.reply in counting and [heard.text] == [each.content for each in stored.of(number, USER)]
