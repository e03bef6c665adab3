"""The checker itself: silent about a sound store, and loud about each thing that can be wrong with one."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

import convo
from convo.testing import Acknowledged, HistoryClient, expected_reply, violations
from convo.testing.replay import Replay
from convo.values import Event
from tests.faults.cutting import CutClient

REFERENCES_OFF = ("PRAGMA foreign_keys = OFF", "PRAGMA ignore_check_constraints = ON")

WRONG: dict[str, tuple[list[str], set[str]]] = {
    "a turn vanishes": (["DELETE FROM convo_turns WHERE number = 4"], {"order", "journal", "lost", "database"}),
    "the last turn vanishes without a trace": (
        [
            "DELETE FROM convo_messages WHERE turn = 4",
            "DELETE FROM convo_turns WHERE number = 4",
            "UPDATE convo_conversations SET turn_count = 3",
        ],
        {"journal", "lost"},
    ),
    "the conversation vanishes": (
        [f"DELETE FROM convo_{each}" for each in ("examples", "messages", "turns", "events", "conversations")],
        {"lost"},
    ),
    "an answer changes": (
        ["UPDATE convo_messages SET content = 'other' WHERE turn = 3 AND side = 1 AND candidate = 0"],
        {"changed", "reply", "journal"},
    ),
    "a question changes": (
        ["UPDATE convo_messages SET content = 'other' WHERE turn = 4 AND side = 0"],
        {"changed", "reply", "journal"},
    ),
    "a text of a given history changes": (
        ["UPDATE convo_messages SET content = 'other' WHERE turn = 1 AND side = 1"],
        {"reply", "journal"},
    ),
    "the context changes": (["UPDATE convo_conversations SET context = 'other'"], {"reply", "journal"}),
    "a user's text stands twice": (
        ["UPDATE convo_messages SET content = 'second' WHERE turn = 3 AND side = 0"],
        {"doubled", "changed", "reply", "journal"},
    ),
    "a request is stored twice": (
        ["DROP INDEX ix_convo_turns_conversation_id_request_key", "UPDATE convo_turns SET request_key = 'first'"],
        {"doubled", "lost"},
    ),
    "another candidate counts": (["UPDATE convo_turns SET chosen = 1 WHERE number = 4"], {"changed", "journal"}),
    "a candidate counts that is not there": (
        ["UPDATE convo_turns SET chosen = 7 WHERE number = 4"],
        {"changed", "journal", "state", "database"},
    ),
    "an earlier turn is chosen anew": (
        ["UPDATE convo_turns SET chosen = 1 WHERE number = 3"],
        {"changed", "journal", "state", "reply", "database"},
    ),
    "an answered turn is open again": (
        ["UPDATE convo_turns SET state = 'failed', error = 'x', chosen = NULL WHERE number = 4"],
        {"lost", "journal"},
    ),
    "an open turn is followed": (
        ["UPDATE convo_turns SET state = 'failed', error = 'x', chosen = NULL WHERE number = 3"],
        {"lost", "journal", "state", "order", "reply", "database"},
    ),
    "an event vanishes": (["DELETE FROM convo_events WHERE number = 2"], {"journal"}),
    "the last event vanishes": (
        ["DELETE FROM convo_events WHERE number = (SELECT max(number) FROM convo_events)"],
        {"journal"},
    ),
    "an event changes": (
        ["UPDATE convo_events SET body = CAST(replace(CAST(body AS TEXT), 'minimal', 'other') AS BLOB)"],
        {"journal"},
    ),
    "the head is another": (["UPDATE convo_conversations SET journal_head = zeroblob(32)"], {"journal"}),
    "a fence goes back": (["UPDATE convo_conversations SET fence = 1"], {"journal"}),
}
"""What is done to a store behind its back, and which promises are then broken."""

OF_THE_PARTIAL = "WHERE turn = 5 AND side = 1 AND candidate = 0"

WRONG_AFTER_A_CUT: dict[str, tuple[list[str], set[str]]] = {
    "what broke off is chosen": (
        ["UPDATE convo_turns SET chosen = 0 WHERE number = 5"],
        {"state", "journal", "changed"},
    ),
    "what broke off is no beginning of the answer": (
        [f"UPDATE convo_messages SET content = 'other' {OF_THE_PARTIAL}"],
        {"reply", "journal"},
    ),
    "what broke off begins in the middle of the answer": (
        [f"UPDATE convo_messages SET content = substr(content, 2) {OF_THE_PARTIAL}"],
        {"reply", "journal"},
    ),
    "nothing is left of what broke off": (
        [f"UPDATE convo_messages SET content = '' {OF_THE_PARTIAL}"],
        {"reply", "journal"},
    ),
    "what broke off looks whole": (
        [f"UPDATE convo_messages SET finish_reason = 'stop' {OF_THE_PARTIAL}"],
        {"journal"},
    ),
    "the answer looks as if it had broken off": (
        ["UPDATE convo_messages SET finish_reason = 'stream_cut' WHERE turn = 5 AND side = 1 AND candidate = 1"],
        {"state", "journal"},
    ),
    "what broke off vanishes": (
        [f"DELETE FROM convo_messages {OF_THE_PARTIAL}"],
        {"journal"},
    ),
}
"""The same, where the last turn was answered after a stream had broken off."""


@pytest.fixture
def store() -> Iterator[convo.Store]:
    with convo.Store("sqlite://", client=HistoryClient()) as opened:
        yield opened


@pytest.fixture
def heard(store: convo.Store) -> list[Acknowledged]:
    """Send two texts after a history of two turns; return what was answered."""
    talk = store.create(name="talk", context="c", examples=[("i", "o")], opening="hello", messages=["a", "b", "c", "d"])
    replies = [(said, talk.send(said, request_key=said, candidate_count=2)) for said in ("first", "second")]
    return [Acknowledged(talk.id, said, said, reply.text) for said, reply in replies]


@pytest.fixture
def heard_after_a_cut(store: convo.Store, heard: list[Acknowledged]) -> list[Acknowledged]:
    """Stream a third text, which breaks off in the middle and is asked for again."""
    talk = store.get("talk")
    store.client = CutClient(2)
    with pytest.raises(convo.StreamCut):
        list(talk.stream("third", request_key="third", candidate_count=1))
    store.client = HistoryClient()
    return [*heard, Acknowledged(talk.id, "third", "third", talk.resume().text)]


def promises(store: convo.Store, heard: list[Acknowledged]) -> set[str]:
    return {each.split(":")[0] for each in violations(store, acknowledged=heard)}


def spoil(store: convo.Store, statements: list[str]) -> None:
    with store.engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        for each in (*REFERENCES_OFF, *statements):
            driver.execute(each)


def test_a_sound_store_breaks_no_promise(store: convo.Store, heard: list[Acknowledged]):
    assert [] == violations(store, acknowledged=heard)


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_found(store: convo.Store, heard: list[Acknowledged], wrong: str):
    statements, broken = WRONG[wrong]
    spoil(store, statements)
    assert broken == promises(store, heard)


def test_an_answer_that_broke_off_breaks_no_promise(store: convo.Store, heard_after_a_cut: list[Acknowledged]):
    assert [] == violations(store, acknowledged=heard_after_a_cut)


@pytest.mark.parametrize("wrong", WRONG_AFTER_A_CUT)
def test_what_is_wrong_with_an_answer_that_broke_off_is_found(
    store: convo.Store, heard_after_a_cut: list[Acknowledged], wrong: str
):
    statements, broken = WRONG_AFTER_A_CUT[wrong]
    spoil(store, statements)
    assert broken == promises(store, heard_after_a_cut)


@pytest.mark.parametrize("wrong", WRONG)
def test_no_text_of_the_conversation_is_told(store: convo.Store, heard: list[Acknowledged], wrong: str):
    said = {each.content for each in store.get("talk").messages() if len(each.content) > 5}
    spoil(store, WRONG[wrong][0])
    told = " ".join(violations(store, acknowledged=[each._replace(request_key=None) for each in heard]))
    assert set() == {each for each in said if each in told}


def test_the_users_choice_changes_nothing_that_was_heard(store: convo.Store, heard: list[Acknowledged]):
    store.get("talk").choose(1)
    assert [] == violations(store, acknowledged=heard)


def test_a_window_is_checked_as_it_was_sent(store: convo.Store):
    talk = store.create(context="c", examples=[("i", "o"), ("j", "p")], input_token_limit=60)
    for number in range(6):
        talk.send(f"message {number}")
    assert 1 < talk.turn(6).prompt.window_start
    assert [] == violations(store, [talk.id])


def test_a_window_without_messages_is_checked_with_the_examples_that_were_sent(store: convo.Store):
    talk = store.create(examples=[("i" * 80, "o"), ("j", "p")], input_token_limit=20)
    talk.send("a")
    talk.send("b")
    assert (1, 3) == (talk.turn(2).prompt.first_example, talk.turn(2).prompt.window_start)
    assert [] == violations(store, [talk.id])


def test_failed_discarded_and_resumed_turns_break_no_promise(store: convo.Store):
    def refuse(request: convo.ChatRequest) -> None:
        raise convo.ModelError

    talk = store.create()
    talk.send("before")
    for settle in (talk.resume, talk.discard):
        store.client = HistoryClient(before_answer=refuse)
        with pytest.raises(convo.ModelError):
            talk.send(f"{settle.__name__} this")
        assert [] == violations(store)
        store.client = HistoryClient()
        settle()
        assert [] == violations(store)
        talk.send(f"after {settle.__name__}")
    assert [] == violations(store)


def test_only_the_conversations_that_were_named_are_looked_at(store: convo.Store, heard: list[Acknowledged]):
    other = store.create()
    spoil(store, ["UPDATE convo_messages SET content = 'other' WHERE turn = 3"])
    assert [] == violations(store, [other.id])


def test_histories_that_differ_have_different_answers():
    def said(*texts: str, context: str | None = None, examples: tuple[tuple[str, str], ...] = ()) -> str:
        messages = [convo.Message("x", each, side=index % 2) for index, each in enumerate(texts)]
        return expected_reply(context, [convo.Example(*each) for each in examples], messages)

    histories = [
        said("a", "b"),
        said("ab"),
        said("a", "", "b"),
        said('a","b'),
        said("b", context="a"),
        said("b", examples=(("a", "b"),)),
        said("a", "b", context="a"),
    ]
    assert len(histories) == len(set(histories))


def test_the_side_counts_and_the_author_does_not():
    users = [convo.Message("0", "a"), convo.Message("tom", "a"), convo.Message("0", "a", side=1)]
    assert [True, False] == [
        expected_reply(None, [], [users[0]]) == expected_reply(None, [], [each]) for each in users[1:]
    ]


# ---- what a journal tells of answers that broke off


def told(*later: tuple[str, dict[str, object]]) -> list[str]:
    """Return what is wrong with a journal of one turn, in which these events follow the turn's beginning."""
    begun = {"turn": 1, "fence": 1, "text": "t", "window": [1, 0, 1, 9]}
    bodies = [("create", {"opening": None}), ("begin", begun), *later]
    events = [Event(n, kind, json.dumps(body).encode(), b"") for n, (kind, body) in enumerate(bodies, start=1)]
    return Replay(events).faults


def failing(finish: str) -> tuple[str, dict[str, object]]:
    candidates = [{"text": "p", "tokens": 1, "finish": finish}]
    return "fail", {"turn": 1, "fence": 1, "error": finish, "candidates": candidates}


RESUMED = ("resume", {"turn": 1, "fence": 2, "window": [1, 0, 1, 9]})
FINISHED = ("finish", {"turn": 1, "fence": 2, "chosen": 1, "candidates": [{"text": "a", "finish": "stop"}]})


@pytest.mark.parametrize("why", ["stream_cut", "cancelled"])
def test_a_journal_may_tell_of_an_answer_that_broke_off(why: str):
    assert [] == told(failing(why), RESUMED, FINISHED)


def test_a_discarded_turn_takes_with_it_what_broke_off():
    assert [] == told(failing("cancelled"), ("discard", {"turn": 1, "texts": ["t", "p"]}))
    assert 1 == len(told(failing("cancelled"), ("discard", {"turn": 1, "texts": ["t"]})))


def test_one_of_several_answers_may_be_whole_when_the_others_broke_off():
    assert [] == told(failing("stop"), RESUMED, FINISHED, ("choose", {"turn": 1, "chosen": 0}))


def test_what_broke_off_is_not_chosen():
    chosen = ("choose", {"turn": 1, "chosen": 0})
    assert ["event 6 (choose): a text was chosen that broke off"] == told(
        failing("cancelled"), RESUMED, FINISHED, chosen
    )


def test_what_broke_off_does_not_finish_a_turn():
    finished = ("finish", {"turn": 1, "fence": 1, "chosen": 0, "candidates": [{"text": "a", "finish": "stream_cut"}]})
    assert ["event 3 (finish): a text was chosen that broke off"] == told(finished)
