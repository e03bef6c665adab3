"""The tables refuse every state that must not be, and accept every one that may: the cases of the schema's design."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import IntegrityError

from convo.store.database import Database
from convo.store.rows import CONVERSATIONS, EVENTS, EXAMPLES, MESSAGES, TURNS
from convo.store.tables import Base
from tests.factories import (
    ANOTHER_REPLY,
    QUESTION,
    REPLY,
    SESSION,
    ConversationRowFactory,
    EventRowFactory,
    ExampleRowFactory,
    MessageRowFactory,
    ModelRowFactory,
    TurnRowFactory,
)

FOLLOWS = "fk_convo_turns_conversation_id_number_prev_chosen"
CHOSEN_REPLY = "fk_convo_turns_chosen_reply"
USER_MESSAGE = "fk_convo_turns_user_message"
NOBODY = "00000000-0000-0000-0000-000000000000"

Step = Callable[[str], object]
"""Does something to the conversation of that id."""


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """Return an open store, to which the factories write."""
    opened = Database(url)
    SESSION.configure(bind=opened.engine)
    yield opened
    SESSION.remove()
    opened.close()


@pytest.fixture
def talk(database: Database) -> str:
    """Return the id of a stored conversation without turns."""
    return commit(ConversationRowFactory().id)


def commit(result: Any) -> Any:
    SESSION.commit()
    return result


def nothing(talk: str) -> None:
    """Leave the conversation without turns."""


def turn(number: int = 1, **columns: Any) -> Step:
    """Return the step that stores a turn: a done one with its messages, unless `columns` say otherwise."""
    return lambda talk: TurnRowFactory(conversation_id=talk, number=number, **columns)


def message(**columns: Any) -> Step:
    return lambda talk: MessageRowFactory(conversation_id=talk, **columns)


def example(**columns: Any) -> Step:
    return lambda talk: ExampleRowFactory(conversation_id=talk, **columns)


def event(**columns: Any) -> Step:
    return lambda talk: EventRowFactory(conversation_id=talk, **columns)


def model(**columns: Any) -> Step:
    return lambda _: ModelRowFactory(**columns)


def change(number: int, **columns: Any) -> Step:
    """Return the step that changes a turn."""
    of = update(TURNS).where(TURNS.c.number == number).values(columns)
    return lambda talk: SESSION.execute(of.where(TURNS.c.conversation_id == talk))


def change_conversation(**columns: Any) -> Step:
    return lambda talk: SESSION.execute(update(CONVERSATIONS).where(CONVERSATIONS.c.id == talk).values(columns))


def drop(number: int) -> Step:
    of = delete(TURNS).where(TURNS.c.number == number)
    return lambda talk: SESSION.execute(of.where(TURNS.c.conversation_id == talk))


def drop_message(side: int) -> Step:
    of = delete(MESSAGES).where(MESSAGES.c.side == side)
    return lambda talk: SESSION.execute(of.where(MESSAGES.c.conversation_id == talk))


def drop_conversation(talk: str) -> None:
    SESSION.execute(delete(CONVERSATIONS).where(CONVERSATIONS.c.id == talk))


def both(*steps: Step) -> Step:
    return lambda talk: [step(talk) for step in steps]


@dataclass(frozen=True)
class Refused:
    """A step that the constraint refuses, after what was `given`."""

    what: str
    constraint: str
    step: Step
    given: Step = nothing


TWO_REPLIES = turn(texts=[QUESTION, REPLY, ANOTHER_REPLY])
LEASE = {"lease_owner": "somebody", "lease_expires": 1}
REOPENED = {"state": "in_flight", "chosen": None, **LEASE}

DESIGNED = [
    Refused("a turn without its user message", USER_MESSAGE, turn(texts=[REPLY])),
    Refused("done without a reply", CHOSEN_REPLY, turn(texts=[QUESTION])),
    Refused("done without a choice", "ck_convo_turns_done_has_choice", turn(chosen=None)),
    Refused(
        "a choice on an in-flight turn",
        "ck_convo_turns_done_has_choice",
        turn(in_flight=True, chosen=0, texts=[QUESTION, REPLY]),
    ),
    Refused("a choice that names no candidate", CHOSEN_REPLY, turn(chosen=1)),
    Refused("two open turns", FOLLOWS, turn(2, in_flight=True), given=turn(in_flight=True)),
    Refused("a turn after a failed one", FOLLOWS, turn(2, in_flight=True), given=turn(failed=True)),
    Refused("turn 2 without turn 1", FOLLOWS, turn(2)),
    Refused("turn 2 without prev_chosen", "ck_convo_turns_follows", turn(2, prev_chosen=None), given=turn()),
    Refused("a gap from 1 to 3", FOLLOWS, turn(3), given=turn()),
    Refused(
        "the same request key twice",
        "ix_convo_turns_conversation_id_request_key",
        turn(2, request_key="key", request_hash=b"2"),
        given=turn(request_key="key", request_hash=b"1"),
    ),
    Refused(
        "two user messages at a turn", "ck_convo_messages_alternatives_of_replies", message(candidate=1), given=turn()
    ),
    Refused(
        "two openings",
        "ck_convo_messages_alternatives_of_replies",
        message(turn=0, side=1, candidate=1),
        given=turn(0),
    ),
    Refused(
        "in flight without a lease",
        "ck_convo_turns_in_flight_has_lease",
        turn(in_flight=True, lease_owner=None, lease_expires=None),
    ),
    Refused("failed with a lease", "ck_convo_turns_failed_has_no_lease", turn(failed=True, **LEASE)),
    Refused("failed without an error", "ck_convo_turns_failed_has_error", turn(failed=True, error=None)),
    Refused("an orphan message", "fk_convo_messages_conversation_id_turn", message(turn=2), given=turn()),
    Refused("an unknown state", "ck_convo_turns_state", turn(state="paused", chosen=None, texts=[QUESTION])),
    Refused("choosing on an earlier turn", FOLLOWS, change(1, chosen=1), given=both(TWO_REPLIES, turn(2))),
    Refused("regenerating an earlier turn", FOLLOWS, change(1, **LEASE), given=both(turn(), turn(2))),
    Refused("the next turn while regenerating", FOLLOWS, turn(2, in_flight=True), given=turn(**LEASE)),
    Refused("the next turn on an unchosen candidate", FOLLOWS, turn(2, prev_chosen=1), given=TWO_REPLIES),
    Refused("deleting an earlier turn", FOLLOWS, drop(1), given=both(turn(), turn(2))),
    Refused("deleting the chosen reply", CHOSEN_REPLY, drop_message(1), given=turn()),
    Refused("deleting the user message", USER_MESSAGE, drop_message(0), given=turn()),
    Refused("reopening an earlier turn", FOLLOWS, change(1, **REOPENED), given=both(turn(), turn(2))),
]

OTHERS = [
    Refused("a negative fence", "ck_convo_conversations_fence", change_conversation(fence=-1)),
    Refused("a context without salt", "ck_convo_conversations_context_salt", change_conversation(context="x")),
    Refused("a title without salt", "ck_convo_conversations_title_salt", change_conversation(title="x")),
    Refused(
        "a name twice",
        "uq_convo_conversations_owner_name",
        lambda _: ConversationRowFactory(name="name"),
        given=change_conversation(name="name"),
    ),
    Refused("a conversation twice", "pk_convo_conversations", lambda talk: ConversationRowFactory(id=talk)),
    Refused("a turn twice", "pk_convo_turns", turn(in_flight=True, texts=[]), given=turn(in_flight=True)),
    Refused("a turn below the opening", "ck_convo_turns_number", turn(-1, texts=[])),
    Refused("a turn without a fence", "ck_convo_turns_fence", turn(fence=0)),
    Refused("half a lease", "ck_convo_turns_lease", turn(lease_owner="somebody")),
    Refused("an opening in flight", "ck_convo_turns_opening", turn(0, in_flight=True)),
    Refused("regenerating an opening", "ck_convo_turns_opening", change(0, **LEASE), given=turn(0)),
    Refused("an opening that follows", "ck_convo_turns_opening", turn(0, prev_chosen=0)),
    Refused("a request key without its hash", "ck_convo_turns_request", turn(request_key="key")),
    Refused("a turn of no conversation", "fk_convo_turns_conversation_id", lambda _: turn(texts=[])(NOBODY)),
    Refused("a message below the opening", "ck_convo_messages_turn", message(turn=-1, side=1)),
    Refused("a third side", "ck_convo_messages_side", message(side=2), given=turn()),
    Refused("a negative candidate", "ck_convo_messages_candidate", message(side=1, candidate=-1), given=turn()),
    Refused("a text without salt", "ck_convo_messages_salt", message(side=1, candidate=1, salt=None), given=turn()),
    Refused("a salt without text", "ck_convo_messages_salt", message(side=1, candidate=1, content=None), given=turn()),
    Refused("a message twice", "pk_convo_messages", message(), given=turn()),
    Refused("a message of no conversation", "fk_convo_messages_conversation_id", lambda _: message()(NOBODY)),
    Refused("an example below 0", "ck_convo_examples_position", example(position=-1)),
    Refused("an input without salt", "ck_convo_examples_input_salt", example(input_salt=None)),
    Refused("an output without salt", "ck_convo_examples_output_salt", example(output_salt=None)),
    Refused("an example twice", "pk_convo_examples", example(), given=example()),
    Refused("an example of no conversation", "fk_convo_examples_conversation_id", lambda _: example()(NOBODY)),
    Refused("an event twice", "pk_convo_events", event(), given=event()),
    Refused("a model twice", "pk_convo_models", model(), given=model()),
    Refused("a factor of nothing", "ck_convo_models_factor", model(factor=0)),
    Refused("an event of no conversation", "fk_convo_events_conversation_id", lambda _: event()(NOBODY)),
]

NEVER_ALONE = {"uq_convo_turns_next_number_conversation_id_settled"}
"""Only there to be referred to: the primary key already refuses whatever it would."""


def named(case: Refused) -> str:
    return case.what.replace(" ", "-")


@pytest.mark.parametrize("case", DESIGNED + OTHERS, ids=named)
def test_what_must_not_be_is_refused_by_its_constraint_and_changes_nothing(
    database: Database, talk: str, case: Refused
):
    commit(case.given(talk))
    before = everything()
    assert (case.constraint, before) == (refused_by(case, talk), everything())


@pytest.mark.parametrize("case", DESIGNED, ids=named)
@pytest.mark.parametrize("url", ["postgres_store"], indirect=True)
def test_nothing_but_its_constraint_refuses_it(database: Database, talk: str, case: Refused):
    commit(case.given(talk))
    remove(case.constraint)
    before = everything()
    commit(case.step(talk))
    assert before != everything()


def test_every_constraint_has_a_case():
    constraints = {each.name for table in Base.metadata.tables.values() for each in table.constraints}
    indexes = {each.name for table in Base.metadata.tables.values() for each in table.indexes if each.unique}
    assert constraints | indexes == {case.constraint for case in DESIGNED + OTHERS} | NEVER_ALONE


@dataclass(frozen=True)
class Accepted:
    """Steps, each committed, and what they leave: number, state and choice of each turn."""

    what: str
    steps: tuple[Step, ...]
    turns: list[tuple[int, str, int | None]]


DISCARDED = (turn(), turn(2, failed=True), drop(2), turn(2, in_flight=True))
FINISHED = both(message(side=1), change(1, state="done", chosen=0, lease_owner=None, lease_expires=None))
REGENERATED = both(message(side=1, candidate=1), change(1, chosen=1, lease_owner=None, lease_expires=None))

ACCEPTED = [
    Accepted("a done turn", (turn(),), [(1, "done", 0)]),
    Accepted(
        "done, done, in flight",
        (turn(), turn(2), turn(3, in_flight=True)),
        [(1, "done", 0), (2, "done", 0), (3, "in_flight", None)],
    ),
    Accepted("failed with a partial candidate", (turn(failed=True, texts=[QUESTION, REPLY]),), [(1, "failed", None)]),
    Accepted("an opening and a turn", (turn(0), turn(1, prev_chosen=0)), [(0, "done", 0), (1, "done", 0)]),
    Accepted("regenerating the last turn", (turn(), change(1, **LEASE), REGENERATED), [(1, "done", 1)]),
    Accepted("choosing on the last turn", (TWO_REPLIES, change(1, chosen=1)), [(1, "done", 1)]),
    Accepted(
        "begin, finish in place, begin the next",
        (turn(in_flight=True), FINISHED, turn(2, in_flight=True)),
        [(1, "done", 0), (2, "in_flight", None)],
    ),
    Accepted("discard and begin again", DISCARDED, [(1, "done", 0), (2, "in_flight", None)]),
    Accepted("deleting the conversation", (turn(0), turn(1), example(), event(), drop_conversation), []),
]


@pytest.mark.parametrize("case", ACCEPTED, ids=named)
def test_what_may_be_is_accepted(database: Database, talk: str, case: Accepted):
    for step in case.steps:
        commit(step(talk))
    columns = select(TURNS.c.number, TURNS.c.state, TURNS.c.chosen).order_by(TURNS.c.number)
    assert case.turns == [tuple(row) for row in SESSION.execute(columns)]


def test_deleting_a_conversation_deletes_all_of_it(database: Database, talk: str):
    other = ConversationRowFactory().id
    before = commit([turn()(other), everything()])[1]
    commit([turn()(talk), turn(2)(talk), example()(talk), event()(talk)])
    commit(drop_conversation(talk))
    assert {name: [row for row in rows if talk not in row] for name, rows in before.items()} == everything()


def test_two_conversations_may_be_without_a_name(database: Database):
    commit([ConversationRowFactory(name=None), ConversationRowFactory(name=None)])
    assert 2 == len(everything()["convo_conversations"])


def test_two_owners_may_have_the_same_name(database: Database):
    commit([ConversationRowFactory(owner=owner, name="name") for owner in ("one", "other")])
    assert 2 == len(everything()["convo_conversations"])


def test_a_text_and_its_salt_may_be_erased(database: Database, talk: str):
    commit(turn()(talk))
    commit(SESSION.execute(update(MESSAGES).values(content=None, salt=None)))
    assert [None, None] == list(SESSION.scalars(select(MESSAGES.c.content)))


def test_messages_are_numbered_by_turn_and_side(database: Database, talk: str):
    commit(both(turn(0), turn(1, prev_chosen=0), turn(2))(talk))
    in_order = select(MESSAGES.c.position).order_by(MESSAGES.c.turn, MESSAGES.c.side)
    assert [0, 1, 2, 3, 4] == list(SESSION.scalars(in_order))


def refused_by(case: Refused, talk: str) -> str | None:
    """Take the step; return the constraint that refuses it, and undo what it did."""
    with pytest.raises(IntegrityError) as refused:
        commit(case.step(talk))
    SESSION.rollback()
    return constraint_of(refused.value.orig, case.constraint)


def constraint_of(error: Any, expected: str) -> str | None:
    """Return the constraint that an error names; SQLite tells the kind, and of a check its name."""
    if not hasattr(error, "sqlite_errorname"):
        return error.diag.constraint_name
    kinds = {"ck": "CHECK", "fk": "FOREIGNKEY", "pk": "PRIMARYKEY", "uq": "UNIQUE", "ix": "UNIQUE"}
    as_told = error.sqlite_errorname == f"SQLITE_CONSTRAINT_{kinds[expected[:2]]}"
    if expected.startswith("ck"):
        return str(error).removeprefix("CHECK constraint failed: ")
    return expected if as_told else error.sqlite_errorname


def remove(constraint: str) -> None:
    """Take a constraint out of the PostgreSQL schema."""
    if constraint.startswith("ix"):
        commit(SESSION.execute(text(f"DROP INDEX {constraint}")))
        return
    table = next(name for name in Base.metadata.tables if constraint[3:].startswith(name))
    commit(SESSION.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT {constraint} CASCADE")))


def everything() -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of all tables."""
    tables = (CONVERSATIONS, TURNS, MESSAGES, EXAMPLES, EVENTS)
    return {each.name: sorted(map(tuple, SESSION.execute(select(each))), key=repr) for each in tables}
