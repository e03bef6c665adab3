"""The checker itself: silent about a sound store, and loud about each thing that can be wrong with one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import update

import convo
from convo import journal
from convo.replay import Replay
from convo.store.rows import CONVERSATIONS, EVENTS
from convo.testing import Acknowledged, HistoryClient, expected_reply, violations
from convo.told import Body
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
        {"doubled", "journal", "lost"},
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


TABLES = (("messages", "turn"), ("turns", "number"))
OF_THE_FORK = "conversation_id = (SELECT id FROM convo_conversations WHERE name = 'fork')"
OF_THE_PARENT = "conversation_id = (SELECT id FROM convo_conversations WHERE name = 'talk')"

WRONG_OF_BRANCHES: dict[str, tuple[list[str], set[str]]] = {
    "a fork misses a turn": (
        [f"DELETE FROM convo_{table} WHERE {which} = 2 AND {OF_THE_FORK}" for table, which in TABLES],
        {"order", "journal", "reply", "database"},
    ),
    "a fork misses its last copied turn, and all that comes after it": (
        [
            *(f"DELETE FROM convo_{table} WHERE {which} >= 3 AND {OF_THE_FORK}" for table, which in TABLES),
            "UPDATE convo_conversations SET turn_count = 2 WHERE name = 'fork'",
        ],
        {"journal"},
    ),
    "a fork misses a candidate": (
        [f"DELETE FROM convo_messages WHERE turn = 3 AND candidate = 1 AND {OF_THE_FORK}"],
        {"journal"},
    ),
    "a fork has a candidate that is told later": (
        [
            "INSERT INTO convo_messages (conversation_id, turn, side, candidate, author, tokens, repaired, created_at,"
            " salt, content) SELECT conversation_id, turn, side, 2, author, tokens, repaired, created_at, salt, content"
            f" FROM convo_messages WHERE turn = 3 AND candidate = 1 AND {OF_THE_FORK}"
        ],
        {"journal"},
    ),
    "a fork misses an event": ([f"DELETE FROM convo_events WHERE number = 3 AND {OF_THE_FORK}"], {"journal"}),
    "a fork misses an example": (
        [f"DELETE FROM convo_examples WHERE position = 0 AND {OF_THE_FORK}"],
        {"journal", "reply"},
    ),
    "a fork has another text than its parent": (
        [f"UPDATE convo_messages SET content = 'other' WHERE turn = 3 AND side = 0 AND {OF_THE_FORK}"],
        {"journal", "reply"},
    ),
    "a fork has another setting than was told": (
        ["UPDATE convo_conversations SET trim = 'stable' WHERE name = 'fork'"],
        {"journal"},
    ),
    "a fork has a last fence that was not told": (
        ["UPDATE convo_conversations SET fence = fence - 1 WHERE name = 'fork'"],
        {"journal"},
    ),
    "another answer loses the choice": (
        [f"UPDATE convo_turns SET chosen = NULL WHERE number = 4 AND {OF_THE_PARENT}"],
        {"state", "journal"},
    ),
    "another answer is not chosen": (
        [f"UPDATE convo_turns SET chosen = 0 WHERE number = 4 AND {OF_THE_PARENT}"],
        {"journal"},
    ),
    "another answer vanishes": (
        [
            f"UPDATE convo_turns SET chosen = 0 WHERE number = 4 AND {OF_THE_PARENT}",
            f"DELETE FROM convo_messages WHERE turn = 4 AND candidate = 2 AND {OF_THE_PARENT}",
        ],
        {"journal"},
    ),
    "a turn remembers another window": (
        [f"UPDATE convo_turns SET window_start = 3 WHERE number = 4 AND {OF_THE_PARENT}"],
        {"journal"},
    ),
    "a turn remembers no prompt": (
        [
            f"UPDATE convo_turns SET {each} = NULL WHERE number = 4 AND {OF_THE_PARENT}"
            for each in ("window_start", "first_example", "prompt_tokens", "prompt_limit", "prompt_digest")
        ],
        {"journal"},
    ),
    "a turn is held that nobody asks again": (
        [f"UPDATE convo_turns SET lease_owner = 'x', lease_expires = 0 WHERE number = 4 AND {OF_THE_PARENT}"],
        {"journal"},
    ),
}
"""The same, where the last turn was asked again, and there is a fork of the one before it."""

FORGED: dict[str, tuple[str, str, Callable[[Body], object], set[str]]] = {
    "it was forked at another turn": ("fork", "fork", lambda told: told.update(turn=2), {"journal"}),
    "it was forked with an earlier fence": ("fork", "fork", lambda told: told.update(fence=1), {"journal"}),
    "it was forked with another context": ("fork", "fork", lambda told: told.update(context="x"), {"journal"}),
    "it was forked with other examples": ("fork", "fork", lambda told: told.update(examples=[]), {"journal"}),
    "it was forked for another model": ("fork", "fork", lambda told: told.update(model="x"), {"journal"}),
    "it was asked again under a fence that was another's": (
        *("talk", "regenerate"),
        lambda told: told.update(fence=2),
        {"journal"},
    ),
    "it was asked again with another window": (
        *("talk", "regenerate"),
        lambda told: told.update(window=[5, 0, 1, 9]),
        {"journal", "reply"},
    ),
    "it was asked again with another example": (
        *("talk", "regenerate"),
        lambda told: told["window"].__setitem__(1, 1),
        {"journal", "reply"},
    ),
    "an earlier turn was asked again": ("talk", "regenerate", lambda told: told.update(turn=3), {"journal"}),
    "another fence was answered": ("talk", "finish", lambda told: told.update(fence=3), {"journal"}),
    "the old answer was chosen": ("talk", "finish", lambda told: told.update(chosen=0), {"journal"}),
    "nothing was repeated": ("talk", "finish", lambda told: told.pop("repeats"), {"reply"}),
    "one text less was repeated": ("talk", "finish", lambda told: told["repeats"].pop(), {"reply"}),
    "one text more was repeated": ("talk", "finish", lambda told: told["repeats"].append([2, 1]), {"reply"}),
    "other texts were repeated": (
        *("talk", "finish"),
        lambda told: told.update(repeats=[[0, 1], [1, 0]]),
        {"reply"},
    ),
    "a text was repeated that was not there": (
        *("talk", "finish"),
        lambda told: told.update(repeats=[[0, 0], [1, 7]]),
        {"journal"},
    ),
}
"""Whose last event of which kind is forged, with all that follows from it, and how."""


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
def heard_after_branches(store: convo.Store, heard: list[Acknowledged]) -> list[Acknowledged]:
    """Ask again for the last answer, where one text of three is new; fork before it, and send there."""
    talk = store.get("talk")
    talk.regenerate(candidate_count=3)
    made = talk.fork(at=3, name="fork")
    return [*heard, Acknowledged(made.id, None, "more", made.send("more").text)]


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


def test_asking_again_and_forking_break_no_promise(store: convo.Store, heard_after_branches: list[Acknowledged]):
    assert [] == violations(store, acknowledged=heard_after_branches)


@pytest.mark.parametrize("wrong", WRONG_OF_BRANCHES)
def test_what_is_wrong_with_branches_is_found(store: convo.Store, heard_after_branches: list[Acknowledged], wrong: str):
    statements, broken = WRONG_OF_BRANCHES[wrong]
    spoil(store, statements)
    assert broken == promises(store, heard_after_branches) - {"lost", "changed"}


def forge(store: convo.Store, name: str, kind: str, change: Callable[[Body], object]) -> None:
    """Change the last event of a kind in a conversation's journal, and link all anew."""
    talk, head = store.get(name), journal.GENESIS
    events = talk.events()
    last = max(each.number for each in events if each.kind == kind)
    of_it = EVENTS.c.conversation_id == talk.id
    with store.engine.begin() as connection:
        for each in events:
            told = json.loads(each.body)
            if each.number == last:
                change(told)
            body = journal.canonical(told)
            head = journal.link(head, each.number, each.kind, body)
            forged = update(EVENTS).where(of_it, EVENTS.c.number == each.number)
            connection.execute(forged.values(body=body, digest=head))
        connection.execute(update(CONVERSATIONS).where(CONVERSATIONS.c.id == talk.id).values(journal_head=head))


def test_a_journal_that_is_linked_anew_breaks_no_promise(store: convo.Store, heard_after_branches: list[Acknowledged]):
    forge(store, "fork", "fork", dict)
    assert [] == violations(store, acknowledged=heard_after_branches)


@pytest.mark.parametrize("wrong", FORGED)
def test_a_forged_event_is_found(store: convo.Store, heard_after_branches: list[Acknowledged], wrong: str):
    name, kind, change, broken = FORGED[wrong]
    forge(store, name, kind, change)
    assert broken == promises(store, heard_after_branches)


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
    always = {"at": "2026-11-26T12:00:00.000Z", "model": "m", "conversation": "c", "from": "p", "tokens": 1}
    events = [
        Event(number, kind, json.dumps(always | _counted(body)).encode(), b"")
        for number, (kind, body) in enumerate(bodies, start=1)
    ]
    return [f"event {number}: {fault}" for number, fault in Replay(events).faults]


def _counted(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body whose candidates have tokens."""
    return body | {name: [{"tokens": 1} | each for each in body[name]] for name in ("candidates",) if name in body}


def failing(finish: str) -> tuple[str, dict[str, object]]:
    candidates = [{"text": "p", "tokens": 1, "finish": finish}]
    return "fail", {"turn": 1, "fence": 1, "error": finish, "candidates": candidates}


RESUMED = ("resume", {"turn": 1, "fence": 2, "window": [1, 0, 1, 9]})
FINISHED = (
    "finish",
    {"turn": 1, "fence": 2, "chosen": 1, "candidates": [{"text": "a", "finish": "stop"}]},
)


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
    assert ["event 6: a text was chosen that broke off"] == told(failing("cancelled"), RESUMED, FINISHED, chosen)


def test_what_broke_off_does_not_finish_a_turn():
    finished = (
        "finish",
        {"turn": 1, "fence": 1, "chosen": 0, "candidates": [{"text": "a", "finish": "stream_cut"}]},
    )
    assert ["event 3: a text was chosen that broke off"] == told(finished)


# ---- what a journal tells of branches

ANSWERED = (
    "finish",
    {"turn": 1, "fence": 1, "chosen": 0, "candidates": [{"text": "a", "finish": "stop"}]},
)
AGAIN = ("regenerate", {"turn": 1, "fence": 2, "window": [1, 0, 1, 9]})
FORK = {"turn": 1, "fence": 2}


def answering(**told: object) -> tuple[str, dict[str, object]]:
    """Return the end of what AGAIN began."""
    return "finish", {"turn": 1, "fence": 2, "chosen": 0, "candidates": [], **told}


NEW = answering(chosen=1, candidates=[{"text": "b", "finish": "stop"}])


@pytest.mark.parametrize(
    "events",
    [
        (ANSWERED, AGAIN, NEW),
        (ANSWERED, AGAIN, answering(repeats=[[0, 0]])),
        (ANSWERED, AGAIN, answering(chosen=1, candidates=[{"text": "b", "finish": "stop"}], repeats=[[0, 0]])),
        (ANSWERED, AGAIN, ("fail", {"turn": 1, "fence": 2, "error": "x"})),
        (ANSWERED, AGAIN, ("choose", {"turn": 1, "chosen": 0})),
        (ANSWERED, AGAIN, ("fork", FORK)),
        (ANSWERED, ("fork", FORK), ("regenerate", {"turn": 1, "fence": 3, "window": [1, 0, 1, 9]})),
        (ANSWERED, ("fork", FORK | {"context": "x"}), ("regenerate", {"turn": 1, "fence": 3, "window": [0, 1, 1, 9]})),
        (ANSWERED, AGAIN, ("begin", {"turn": 2, "fence": 3, "text": "u", "window": [1, 0, 1, 9]})),
        (ANSWERED, AGAIN, ("choose", {"turn": 1, "chosen": 0}), ("late", {"turn": 1, "fence": 2, "candidates": []})),
    ],
)
def test_a_journal_may_tell_of_branches(events: tuple[tuple[str, dict[str, object]], ...]):
    assert [] == told(*events)


@pytest.mark.parametrize(
    "events",
    [
        (AGAIN,),
        (ANSWERED, NEW),
        (ANSWERED, AGAIN, NEW, NEW),
        (ANSWERED, AGAIN, answering()),
        (ANSWERED, AGAIN, answering(chosen=None, repeats=[[0, 0]])),
        (ANSWERED, AGAIN, answering(chosen=0, candidates=[{"text": "b", "finish": "stop"}])),
        (ANSWERED, AGAIN, answering(repeats=[[0, 1]])),
        (ANSWERED, AGAIN, answering(fence=1, repeats=[[0, 0]])),
        (("finish", answering(fence=1, repeats=[[0, 0]])[1]),),
        (ANSWERED, ("regenerate", {"turn": 1, "fence": 1, "window": [1, 0, 1, 9]})),
        (ANSWERED, ("regenerate", {"turn": 1, "fence": 2, "window": [1, 1, 1, 9]})),
        (ANSWERED, AGAIN, ("late", {"turn": 1, "fence": 2, "candidates": []})),
        (ANSWERED, AGAIN, ("choose", {"turn": 1, "chosen": 0}), NEW),
        (ANSWERED, AGAIN, ("fork", FORK), NEW),
        (("fork", FORK),),
        (ANSWERED, ("fork", FORK | {"turn": 2})),
        (ANSWERED, ("fork", FORK | {"turn": 0})),
        (ANSWERED, ("fork", FORK | {"fence": 0})),
        (ANSWERED, ("fork", FORK), ("begin", {"turn": 2, "fence": 2, "text": "u", "window": [1, 0, 1, 9]})),
    ],
)
def test_a_journal_of_branches_that_cannot_be_is_found(events: tuple[tuple[str, dict[str, object]], ...]):
    assert [f"event {len(events) + 2}"] == sorted({each.split(":")[0] for each in told(*events)})
