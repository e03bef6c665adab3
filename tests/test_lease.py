"""A turn while its model answers: who else may do what, and whose answer counts when somebody took it over."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from sqlalchemy import text

import convo
from convo.testing import ScriptedClient
from tests.conftest import upgrade
from tests.shells import SyncOnly, store_of
from tests.test_conversation import asked
from tests.test_store import refusal, stored_rows, texts


class SlowModel:
    """Answers when it is told to."""

    def __init__(self, answer: str | Exception = "late") -> None:
        self.called = threading.Event()
        self.go = threading.Event()
        self.answer = answer

    def __call__(self, request: convo.ChatRequest) -> str:
        self.called.set()
        assert self.go.wait(60)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


@pytest.fixture
def slow(pool: ThreadPoolExecutor) -> Iterator[SlowModel]:
    """Return a model that is let go before its thread is waited for, whatever happens."""
    model = SlowModel()
    yield model
    model.go.set()


@pytest.fixture
def other(store: convo.Store) -> convo.Store:
    """Return a second store on the same database, whose model answers at once."""
    return convo.Store(store.engine, client=ScriptedClient())


def asking(talk: convo.Conversation, slow: SlowModel, pool: ThreadPoolExecutor, **settings: object) -> Future:
    """Send in another thread; return when the model has been called."""
    store_of(talk).client = SyncOnly(ScriptedClient(slow, "next"))
    sent = pool.submit(store_of(talk).get(talk.id).send, "slow", **settings)
    assert slow.called.wait(60)
    return sent


def outcome(sent: Future) -> type[BaseException] | str:
    """Return what became of a send: its text, or the type of its error."""
    error = sent.exception()
    return type(error) if error else sent.result().text


def run_out(store: convo.Store) -> None:
    """Let every lease end now."""
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE convo_turns SET lease_expires = lease_expires - 200000"))


def kinds(talk: convo.Conversation) -> list[str]:
    return [each.kind for each in talk.events()]


def test_everybody_else_learns_that_a_turn_is_in_flight_before_any_call(store, other, slow, pool):
    talk = store.create(messages=["a", "b"])
    asking(talk, slow, pool)
    rival = other.get(talk.id)
    uses: list[Callable] = [rival.resume, rival.discard, lambda: rival.choose(0), lambda: rival.preview("x")]
    uses += [lambda: rival.send("x"), lambda: rival.send("x", on_unfinished="resume")]
    uses += [lambda: rival.send("x", on_unfinished="discard"), lambda: rival.send("slow", request_key="k")]
    before = stored_rows(store)
    assert [convo.TurnInFlight] * len(uses) == [refusal(use) for use in uses]
    assert (before, []) == (stored_rows(store), asked(other))


def test_the_error_tells_when_to_try_again(store, other, slow, pool):
    talk = store.create()
    asking(talk, slow, pool, request_key="k", deadline_s=20)
    with pytest.raises(convo.TurnInFlight) as caught:
        other.get(talk.id).send("x")
    error = caught.value
    assert (talk.id, 1, "k", True) == (error.conversation, error.turn, error.request_key, error.retryable)
    assert 20 < error.retry_after_s <= 30


def test_the_key_of_a_turn_in_flight_is_in_flight(store, other, slow, pool):
    talk = store.create()
    asking(talk, slow, pool, request_key="k")
    refused = [refusal(other.get(talk.id).send, said, request_key="k") for said in ("slow", "another")]
    assert [convo.TurnInFlight, convo.IdempotencyConflict] == refused


def test_nothing_is_held_while_the_model_answers(url, slow, pool):
    with convo.Store(url) as store:
        sent = asking(store.create(), slow, pool)
        assert 0 == store.engine.pool.checkedout()
        slow.go.set()
        assert "late" == outcome(sent)


def test_no_transaction_is_open_while_the_model_answers(postgres_url, slow, pool):
    upgrade(postgres_url)
    idle = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in %'")
    with convo.Store(postgres_url) as store:
        sent = asking(store.create(), slow, pool)
        with store.engine.connect() as connection:
            assert 0 == connection.execute(idle).scalar()
        slow.go.set()
        assert "late" == outcome(sent)


def test_a_conversation_can_be_changed_while_the_model_answers(store, other, slow, pool):
    talk = store.create(model="offline/echo")
    sent = asking(talk, slow, pool)
    other.get(talk.id).update(model="other", title="t")
    slow.go.set()
    assert ("late", "offline/echo", "other") == (outcome(sent), talk.turn(1).model, talk.model)


def test_a_conversation_that_is_deleted_while_the_model_answers_is_not_found(store, other, slow, pool):
    talk = store.create()
    sent = asking(talk, slow, pool)
    other.delete(talk.id)
    slow.go.set()
    assert (convo.ConversationNotFound, {0}) == (outcome(sent), set(stored_rows(store).values()))


def test_a_conversation_that_is_deleted_while_the_model_fails_keeps_the_error(store, other, slow, pool):
    slow.answer = convo.ModelError("down")
    talk = store.create()
    sent = asking(talk, slow, pool)
    other.delete(talk.id)
    slow.go.set()
    assert convo.ModelError is outcome(sent)


def test_a_lease_that_ran_out_still_finishes_when_nobody_took_over(store, slow, pool):
    talk = store.create()
    sent = asking(talk, slow, pool)
    run_out(store)
    slow.go.set()
    assert ("late", ["slow", "late"]) == (outcome(sent), texts(talk))


def test_a_lease_that_ran_out_makes_the_turn_unfinished(store, other, slow, pool):
    talk = store.create()
    asking(talk, slow, pool, request_key="k")
    run_out(store)
    with pytest.raises(convo.TurnUnfinished) as caught:
        other.get(talk.id).send("x")
    assert ("in_flight", None, "k") == (caught.value.state, caught.value.error, caught.value.request_key)


@pytest.mark.parametrize("takes_over", ["resume", "key", "send"])
def test_a_taken_over_turn_keeps_the_late_answer_unchosen(store, other, slow, pool, takes_over):
    talk = store.create()
    sent = asking(talk, slow, pool, request_key="k")
    run_out(store)
    rival = other.get(talk.id)
    other.client = ScriptedClient("taken")
    if takes_over == "resume":
        rival.resume()
    elif takes_over == "key":
        rival.send("slow", request_key="k")
    else:
        rival.send("x", on_unfinished="resume")
    slow.go.set()
    assert convo.LeaseLost is outcome(sent)
    turn = talk.turn(1)
    assert (0, ["taken", "late"]) == (turn.chosen, [each.content for each in turn.candidates])


def test_a_late_answer_before_the_new_one_does_not_become_the_choice(store, other, slow, pool):
    second = SlowModel("new")
    talk = store.create()
    old = asking(talk, slow, pool)
    run_out(store)
    with ThreadPoolExecutor(1) as pool_2:
        other.client = ScriptedClient(second)
        new = pool_2.submit(other.get(talk.id).resume)
        assert second.called.wait(60)
        slow.go.set()
        assert convo.LeaseLost is outcome(old)
        second.go.set()
        reply = new.result()
    turn = talk.turn(1)
    assert (["late", "new"], 1, ["slow", "new"]) == (
        [each.content for each in turn.candidates],
        turn.chosen,
        texts(talk),
    )
    assert (1, turn.reply) == (reply.candidates[0].index, reply.candidates[0])


def test_a_late_answer_never_stands_in_a_prompt(store, other, slow, pool):
    talk = store.create()
    sent = asking(talk, slow, pool)
    run_out(store)
    other.client = ScriptedClient("taken", "more")
    other.get(talk.id).resume()
    slow.go.set()
    outcome(sent)
    other.get(talk.id).send("x")
    assert ["slow", "taken", "x"] == asked(other)[1]


def test_a_late_answer_can_be_chosen(store, other, slow, pool):
    talk = store.create()
    sent = asking(talk, slow, pool)
    run_out(store)
    other.client = ScriptedClient("taken")
    other.get(talk.id).resume()
    slow.go.set()
    outcome(sent)
    assert ["slow", "late"] == texts(talk.choose(1))


def test_of_a_late_answer_to_a_discarded_turn_only_the_journal_tells(store, other, slow, pool):
    talk = store.create()
    sent = asking(talk, slow, pool)
    run_out(store)
    other.get(talk.id).discard()
    slow.go.set()
    assert convo.LeaseLost is outcome(sent)
    assert (["create", "begin", "discard", "late"], []) == (kinds(talk), texts(talk))


def test_a_late_answer_is_no_candidate_of_the_next_turn_of_that_number(store, other, slow, pool):
    talk = store.create()
    sent = asking(talk, slow, pool)
    run_out(store)
    other.get(talk.id).send("x", on_unfinished="discard")
    slow.go.set()
    assert convo.LeaseLost is outcome(sent)
    assert (["x"], ["x", "x"]) == ([each.content for each in talk.turn(1).candidates], texts(talk))


def test_a_late_failure_changes_nothing(store, other, slow, pool):
    slow.answer = convo.ModelError("down")
    talk = store.create()
    sent = asking(talk, slow, pool)
    run_out(store)
    other.get(talk.id).resume()
    before = talk.refresh().record
    slow.go.set()
    assert convo.ModelError is outcome(sent)
    assert (before, "done") == (talk.refresh().record, talk.turn(1).state)


def test_a_lost_lease_tells_whose_it_was(store, other, slow, pool):
    talk = store.create()
    sent = asking(talk, slow, pool, request_key="k")
    run_out(store)
    other.get(talk.id).resume()
    slow.go.set()
    error = sent.exception()
    assert (talk.id, 1, "k", False) == (error.conversation, error.turn, error.request_key, error.retryable)


def digest(messages: list[str | None]) -> str:
    return hashlib.sha256("\0".join(map(str, messages)).encode()).hexdigest()


def hash_model() -> ScriptedClient:
    """Return a model that answers with the hash of exactly what it was given."""
    return ScriptedClient(
        lambda request: digest([each.content for each in request.messages]), model=convo.Model("h", 10**6)
    )


def send_until_it_goes_through(talk: convo.Conversation, said: str) -> None:
    while True:
        try:
            talk.send(said)
        except convo.TurnInFlight:
            time.sleep(random.uniform(0.001, 0.01))
        else:
            return


def test_many_senders_of_one_conversation_never_answer_another_history(store: convo.Store):
    store.client = hash_model()
    id = store.create().id

    def sender(number: int) -> None:
        talk = store.get(id)
        for each in range(20):
            send_until_it_goes_through(talk, f"{number}.{each}")

    with ThreadPoolExecutor(8) as senders:
        list(senders.map(sender, range(8)))
    said = texts(store.get(id))
    assert (160, 320) == (len(store.client.requests), len(said))
    assert [digest(said[:position]) for position in range(1, 320, 2)] == said[1::2]
    assert {f"{number}.{each}" for number in range(8) for each in range(20)} == set(said[::2])


def test_many_threads_may_share_one_object(store: convo.Store):
    store.client = hash_model()
    talk = store.create()
    with ThreadPoolExecutor(4) as senders:
        list(senders.map(lambda number: send_until_it_goes_through(talk, str(number)), range(40)))
    said = texts(talk)
    assert [digest(said[:position]) for position in range(1, 80, 2)] == said[1::2]
