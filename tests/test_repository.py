"""The repository in a transaction of the caller's own: all or nothing, and each write with its event."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, func, insert, select
from sqlalchemy.orm import Session

import convo
from convo import journal
from convo.store.answering import Answer, Attempt
from tests.test_store import refusal, stored_rows

ORDERS = Table("orders", MetaData(), Column("id", Integer, primary_key=True))
"""A table of the application that keeps its conversations in the same database."""


@pytest.fixture
def store(sync_store: convo.Store) -> convo.Store:
    """Return a store by one shell only: no shell is asked here."""
    return sync_store


@pytest.fixture
def orders(store: convo.Store) -> Table:
    ORDERS.create(store.engine)
    return ORDERS


@pytest.fixture
def session(store: convo.Store) -> Iterator[Session]:
    """Return a session of the caller's."""
    with Session(store.engine) as opened:
        yield opened


def said(text: str, side: int = 0) -> convo.Message:
    return convo.Message(str(side), text, side=side, tokens=2)


def attempt(record: convo.ConversationRecord, turn: int, message: convo.Message) -> Attempt:
    """Return the next attempt at a turn."""
    return Attempt(
        turn=turn,
        fence=record.fence + 1,
        message=message,
        model="m",
        parameters=convo.Parameters(temperature=0.5),
        prompt=convo.PromptRecord(tokens=2, limit=10, window_start=2 * turn - 1, first_example=0, digest=bytes(32)),
        lease_owner="somebody",
        lease_s=60.0,
    )


def salted(text: str, number: int) -> convo.Message:
    return convo.Message("0", text, tokens=2, turn=number, position=2 * number - 1, salt=bytes(32))


def writes(
    repository: convo.ConversationRepository, record: convo.ConversationRecord
) -> Iterator[tuple[str, convo.ConversationRecord]]:
    """Do every write that there is on a conversation without turns; yield what its event is called."""
    answer = Answer((convo.Candidate(0, "one"), convo.Candidate(1, "two")), usage=convo.Usage(1, 2), latency_ms=3)
    first = attempt(record, 1, salted("a", 1))
    record = repository.begin_turn(record, first)
    yield "begin", record
    record = repository.fail_turn(record, repository.latest_turns(record)[0], "ModelError")
    yield "fail", record
    second = attempt(record, 1, first.message)
    record = repository.begin_again(record, second)
    yield "resume", record
    record = repository.finish_turn(record, second, answer).record
    yield "finish", record
    record = repository.keep_late(record, first, answer)
    yield "late", record
    record = repository.choose(record, 1, 2)
    yield "choose", record
    record = repository.begin_turn(record, attempt(record, 2, salted("b", 2))._replace(prev_chosen=2))
    yield "begin", record
    record = repository.discard_turn(record, repository.turn(record, 2))
    yield "discard", record
    record = repository.update(record, title="t", name="n", parameters=convo.Parameters(top_k=3))
    yield "update", record


def test_every_write_appends_one_event(session: Session):
    repository = convo.ConversationRepository(session)
    record = repository.create(convo.NewConversation(model="m"))
    for kind, record in writes(repository, record):  # noqa: B020 - each write follows the one before
        events = repository.events(record)
        assert (record.version, kind) == (len(events), events[-1].kind)


def test_what_a_write_returns_is_what_is_stored(session: Session):
    repository = convo.ConversationRepository(session)
    record = repository.create(convo.NewConversation(model="m", opening=said("o", 1)))
    assert record == repository.get(record.id)
    for _, record in writes(repository, repository.create(convo.NewConversation(model="m"))):
        assert record == repository.get(record.id)


def test_a_history_appends_one_event_a_turn(session: Session):
    repository = convo.ConversationRepository(session)
    history = [convo.GivenTurn(said(f"q{number}"), [said(f"a{number}", 1)]) for number in range(3)]
    record = repository.create(convo.NewConversation(model="m", history=history, examples=[convo.Example("a", "b")]))
    assert ["create", "history", "history", "history"] == [each.kind for each in repository.events(record)]


def test_the_journal_is_one_chain_to_its_head(session: Session):
    repository = convo.ConversationRepository(session)
    *_, (_, record) = writes(repository, repository.create(convo.NewConversation(model="m")))
    head = journal.GENESIS
    for each in repository.events(record):
        head = journal.link(head, each.number, each.kind, each.body)
        assert head == each.digest
    assert head == record.journal_head == repository.get(record.id).journal_head


def test_the_journal_holds_no_text_of_the_conversation(session: Session):
    repository = convo.ConversationRepository(session)
    told = [f"canary {number}" for number in range(9)]
    new = convo.NewConversation(
        model="m",
        name=told[0],
        title=told[1],
        owner=told[2],
        metadata={told[3]: 1},
        context=said(told[4]),
        examples=[convo.Example(told[5], told[6])],
        opening=said(told[7], 1),
        history=[convo.GivenTurn(said(told[8]), [said(told[8], 1)])],
        authors=("canary user", "canary model"),
    )
    record = repository.create(new)
    repository.update(record, title="canary", name="canary", metadata={"canary": "canary"})
    assert [] == [each for each in repository.events(record) if b"canary" in each.body]


def stored_orders(store: convo.Store) -> int:
    with store.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(ORDERS)).scalar_one()


def test_the_callers_rows_and_the_conversation_are_committed_together(store: convo.Store, orders, session: Session):
    session.execute(insert(orders))
    repository = convo.ConversationRepository(session)
    *_, (_, record) = writes(repository, repository.create(convo.NewConversation(model="m")))
    session.commit()
    assert (1, record) == (stored_orders(store), store.get(record.id).record)


def test_the_callers_rows_and_the_conversation_are_rolled_back_together(store: convo.Store, orders, session: Session):
    session.execute(insert(orders))
    repository = convo.ConversationRepository(session)
    list(writes(repository, repository.create(convo.NewConversation(model="m"))))
    session.rollback()
    assert (0, {0}) == (stored_orders(store), set(stored_rows(store).values()))


def test_a_delete_is_rolled_back_like_anything(store: convo.Store, session: Session):
    talk = store.create(model="offline/echo", messages=["a", "b"], examples=[("c", "d")])
    before = stored_rows(store)
    repository = convo.ConversationRepository(session)
    repository.delete(repository.lock(talk.id))
    session.rollback()
    assert before == stored_rows(store)


def test_nothing_is_seen_by_others_before_the_commit(url: str):
    with convo.Store(url) as store, convo.Store(url) as other, Session(store.engine) as session:
        repository = convo.ConversationRepository(session)
        records = [record for _, record in writes(repository, repository.create(convo.NewConversation(model="m")))]
        assert [] == other.list()
        session.commit()
        assert [records[-1]] == [each.record for each in other.list()]


def test_a_refused_write_leaves_the_callers_transaction_usable(store: convo.Store, session: Session):
    repository = convo.ConversationRepository(session)
    first = repository.create(convo.NewConversation(model="m", name="a"))
    second = repository.create(convo.NewConversation(model="m", name="b"))
    uses = [
        lambda: repository.create(convo.NewConversation(model="m", name="a")),
        lambda: repository.update(second, name="a"),
    ]
    uses += [lambda: repository.choose(first, 1, 0), lambda: repository.turn(first, 1)]
    expected = [convo.NameTaken, convo.NameTaken, convo.CandidateNotFound, convo.TurnNotFound]
    assert expected == [refusal(use) for use in uses]
    session.commit()
    assert {"a", "b"} == {each.name for each in store.list()}


def test_an_attempt_without_its_fence_stores_nothing(session: Session):
    repository = convo.ConversationRepository(session)
    record = repository.create(convo.NewConversation(model="m"))
    old = attempt(record, 1, salted("a", 1))
    record = repository.begin_turn(record, old)
    [open_turn] = repository.latest_turns(record)
    record = repository.begin_again(record, attempt(record, 1, old.message))
    late = [
        repository.finish_turn(record, old, Answer((convo.Candidate(0, "x"),))),
        repository.fail_turn(record, open_turn, "E"),
    ]
    assert ([None, None], record, ()) == (late, repository.get(record.id), repository.turn(record, 1).candidates)


def test_an_id_that_is_none_is_not_found(session: Session):
    repository = convo.ConversationRepository(session)
    refused = [refusal(use, id) for use in (repository.get, repository.lock) for id in ("", "abc", "talk", "0" * 33)]
    assert [convo.ConversationNotFound] * 8 == refused
