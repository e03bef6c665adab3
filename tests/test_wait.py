"""on_conflict="wait": those who send while a turn is being answered queue behind it, in both shells."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pytest

import convo
from convo.testing import ScriptedClient
from tests.processes import start
from tests.shells import SyncOnly
from tests.test_lease import SlowModel, outcome
from tests.test_store import refusal, texts

WAITING = {"on_conflict": "wait"}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(24) as made:
        yield made


@pytest.fixture
def slow(pool: ThreadPoolExecutor) -> Iterator[SlowModel]:
    """Return a model that is let go before its threads are waited for, whatever happens."""
    model = SlowModel()
    yield model
    model.go.set()


def model_of(store: convo.Store, *answers: object) -> ScriptedClient:
    """Let a store's model give `answers`; any of them may block."""
    client = ScriptedClient(*answers)
    store.client = SyncOnly(client)
    return client


def in_line(talk: convo.Conversation, count: int) -> None:
    """Wait until so many stand in the line for a conversation, the one who is being answered included."""
    while len(talk._view.store.line._waiting.get(talk.id, ())) != count:
        time.sleep(0.001)


def answering(store: convo.Store, talk: convo.Conversation, slow: SlowModel, pool: ThreadPoolExecutor) -> Future:
    """Send `slow`, as the first in the line; return when the model has been called."""
    sent = pool.submit(store.get(talk.id).send, "slow", request_key="slow", **WAITING)
    assert slow.called.wait(60)
    return sent


def queue(talk: convo.Conversation, sends: list[Callable[[], object]], pool: ThreadPoolExecutor) -> list[Future]:
    """Start one send after the other, each when the one before stands in the line behind the first."""
    queued = []
    for place, send in enumerate(sends, 2):
        queued.append(pool.submit(send))
        in_line(talk, place)
    return queued


def test_those_who_wait_are_answered_each_once_in_the_order_of_their_calls(store, slow, pool):
    client = model_of(store, slow, lambda request: f"to {request.messages[-1].content}")
    talk = store.create()
    first = answering(store, talk, slow, pool)
    sends = [partial(store.get(talk.id).send, str(number), **WAITING) for number in range(20)]
    queued = queue(talk, sends, pool)
    slow.go.set()
    assert ["late", *[f"to {number}" for number in range(20)]] == [outcome(each) for each in (first, *queued)]
    said = [text for number in range(20) for text in (str(number), f"to {number}")]
    assert (["slow", "late", *said], 21) == (texts(talk), len(client.requests))


def test_one_object_may_wait_for_itself(store, slow, pool):
    model_of(store, slow, "next")
    talk = store.create()
    first = answering(store, talk, slow, pool)
    [second] = queue(talk, [partial(talk.send, "x", **WAITING)], pool)
    slow.go.set()
    assert ["late", "next"] == [outcome(each) for each in (first, second)]


def test_a_stream_waits_as_well(store, slow, pool):
    model_of(store, slow, "next")
    talk = store.create()
    answering(store, talk, slow, pool)
    [heard] = queue(talk, [lambda: [each.text for each in store.get(talk.id).stream("x", **WAITING)]], pool)
    slow.go.set()
    assert (["next"], ["slow", "late", "x", "next"]) == (heard.result(), texts(talk))


@pytest.mark.parametrize("wait_s", [0, 0.1])
def test_whoever_waited_long_enough_learns_that_the_turn_is_in_flight(store, slow, pool, wait_s):
    client = model_of(store, slow)
    talk = store.create()
    answering(store, talk, slow, pool)
    assert convo.TurnInFlight is refusal(store.get(talk.id).send, "x", **WAITING, wait_s=wait_s)
    in_line(talk, 1)
    assert (["slow"], 1) == (texts(talk), len(client.requests))


def test_who_gave_up_is_not_missed_by_those_behind(store, slow, pool):
    model_of(store, slow, "next")
    talk = store.create()
    first = answering(store, talk, slow, pool)
    send = store.get(talk.id).send
    waits = [partial(send, "x", **WAITING, wait_s=0.3), partial(store.get(talk.id).send, "y", **WAITING)]
    queued = queue(talk, waits, pool)
    assert convo.TurnInFlight is outcome(queued[0])
    slow.go.set()
    assert ["late", "next"] == [outcome(each) for each in (first, queued[1])]


def test_an_error_in_the_line_does_not_stop_those_behind(store, slow, pool):
    model_of(store, slow, "next")
    talk = store.create(input_token_limit=60)
    answering(store, talk, slow, pool)
    said = ["x", "long " * 60, "y", "\0", "z"]
    waiting = [partial(store.get(talk.id).send, each, **WAITING) for each in said if each != "\0"]
    queued = queue(talk, waiting, pool)
    slow.go.set()
    assert ["next", convo.PromptTooLong, "next", "next"] == [outcome(each) for each in queued]


def test_those_behind_a_turn_that_fails_learn_that_it_is_unfinished(store, slow, pool):
    slow.answer = convo.ModelError("down")
    model_of(store, slow)
    talk = store.create()
    first = answering(store, talk, slow, pool)
    queued = queue(talk, [partial(store.get(talk.id).send, each, **WAITING) for each in "xyz"], pool)
    slow.go.set()
    assert [convo.ModelError, *[convo.TurnUnfinished] * 3] == [outcome(each) for each in (first, *queued)]
    assert ["slow"] == texts(talk)


@pytest.mark.parametrize(
    ("on_unfinished", "said"),
    [("discard", ["x", "next", "y", "next"]), ("resume", ["slow", "next", "x", "next", "y", "next"])],
)
def test_those_behind_a_turn_that_fails_may_settle_it(store, slow, pool, on_unfinished, said):
    slow.answer = convo.ModelError("down")
    model_of(store, slow, "next")
    talk = store.create()
    answering(store, talk, slow, pool)
    waits = [partial(store.get(talk.id).send, each, **WAITING, on_unfinished=on_unfinished) for each in "xy"]
    queued = queue(talk, waits, pool)
    slow.go.set()
    assert (["next", "next"], said) == ([outcome(each) for each in queued], texts(talk))


def test_the_same_request_waits_for_its_answer_and_asks_nobody(store, slow, pool):
    client = model_of(store, slow)
    talk = store.create()
    first = answering(store, talk, slow, pool)
    [again] = queue(talk, [partial(store.get(talk.id).send, "slow", request_key="slow", **WAITING)], pool)
    slow.go.set()
    assert (["late", "late"], 1) == ([outcome(each) for each in (first, again)], len(client.requests))


def test_nobody_waits_for_another_conversation(store, slow, pool):
    model_of(store, slow, "next")
    talk = store.create()
    answering(store, talk, slow, pool)
    assert "next" == store.create().send("x", **WAITING).text


def test_who_does_not_want_to_wait_learns_of_the_turn_at_once(store, slow, pool):
    model_of(store, slow)
    talk = store.create()
    answering(store, talk, slow, pool)
    assert convo.TurnInFlight is refusal(store.get(talk.id).send, "x")


def test_one_may_wait_for_another_stores_turn(store, slow, pool):
    other = convo.Store(store.engine, client=ScriptedClient("next"))
    model_of(store, slow)
    talk = store.create()
    answering(store, talk, slow, pool)
    theirs = other.get(talk.id)
    sent = pool.submit(theirs.send, "x", **WAITING)
    in_line(theirs, 1)
    slow.go.set()
    assert ("next", ["slow", "late", "x", "next"]) == (outcome(sent), texts(talk))


def test_wrong_ways_to_wait_are_refused(store):
    talk = store.create(model="offline/echo")
    wrong = [{"on_conflict": "maybe"}, {"on_conflict": None}, {"wait_s": -1}, {"wait_s": float("nan")}]
    assert [convo.InvalidParameter] * 4 == [refusal(talk.send, "x", **(WAITING | each)) for each in wrong]
    assert [convo.InvalidParameter] * 4 == [refusal(talk.stream, "x", **(WAITING | each)) for each in wrong]
    assert [] == texts(talk)


OTHER_PROCESS = """
import sys
import convo
from convo.testing import ScriptedClient

def answer(request):
    print("ready", flush=True)
    sys.stdin.readline()
    return "late"

with convo.Store(sys.argv[1], client=ScriptedClient(answer)) as store:
    store.get("talk").send("slow")
"""


def test_one_may_wait_for_the_turn_of_another_process(url, pool):
    with convo.Store(url, client=ScriptedClient("next")) as store:
        talk = store.create(name="talk")
        process = start(OTHER_PROCESS, url)
        sent = pool.submit(store.get(talk.id).send, "x", **WAITING)
        in_line(talk, 1)
        process.communicate("\n")
        assert ("next", ["slow", "late", "x", "next"]) == (outcome(sent), texts(talk))


def test_who_waits_for_a_process_that_is_killed_learns_that_the_turn_is_unfinished(tmp_path, pool):
    with convo.Store(f"sqlite:///{tmp_path / 'convo.db'}", client=ScriptedClient("next")) as store:
        talk = store.create(name="talk")
        process = start(OTHER_PROCESS, f"sqlite:///{tmp_path / 'convo.db'}")
        sent = pool.submit(store.get(talk.id).send, "x", **WAITING)
        in_line(talk, 1)
        process.kill()
        process.communicate()
        assert convo.TurnUnfinished is outcome(sent)


def test_who_would_resume_a_turn_that_another_store_resumes_waits_for_it(url: str, slow, pool):
    with convo.Store(url) as store, convo.Store(url, client=ScriptedClient(slow)) as other:
        client = model_of(store, convo.ModelError("down"), "next")
        talk = store.create()
        assert convo.ModelError is refusal(talk.send, "a")
        resumed = pool.submit(other.get(talk.id).resume)
        assert slow.called.wait(60)
        waiting = pool.submit(store.get(talk.id).send, "b", **WAITING, on_unfinished="resume")
        time.sleep(0.2)
        slow.go.set()
        assert ("late", "next", 2) == (outcome(resumed), outcome(waiting), len(client.requests))
        assert ["a", "late", "b", "next"] == texts(talk)
