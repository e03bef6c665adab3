"""Several at once, and too late: asking again, forking and editing beside senders, in threads and in processes."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

import convo
from convo.testing import FaultPoints, HistoryClient, violations
from tests.faults.database import end_leases
from tests.faults.worker import Tell, Worker
from tests.test_store import refusal

Act = Callable[[convo.Conversation], Any]


class Held:
    """A store whose model answers when it is let go."""

    def __init__(self, url: str, pool: ThreadPoolExecutor) -> None:
        self._called, self._go = threading.Event(), threading.Event()
        self._pool = pool
        self.store = convo.Store(url, client=HistoryClient(before_answer=self._wait))

    def _wait(self, request: convo.ChatRequest) -> None:
        self._called.set()
        assert self._go.wait(60)

    def begin(self, id: str, act: Act) -> Future[Any]:
        """Do something in a thread; return when the model has been called."""
        begun = self._pool.submit(act, self.store.get(id))
        assert self._called.wait(60)
        return begun

    def let_go(self) -> None:
        self._go.set()


@pytest.fixture
def hold(url: str) -> Iterator[Callable[[], Held]]:
    """Return what makes a store beside `here`; what waits there is let go in any case."""
    made: list[Held] = []
    with ThreadPoolExecutor(4) as pool:

        def one() -> Held:
            made.append(Held(url, pool))
            return made[-1]

        yield one
        for each in made:
            each.let_go()
    for each in made:
        each.store.close()


@pytest.fixture
def here(url: str) -> Iterator[convo.Store]:
    with convo.Store(url, client=HistoryClient()) as store:
        yield store


@pytest.fixture
def talk(here: convo.Store) -> convo.Conversation:
    """Return a conversation whose one turn has two candidates."""
    made = here.create(name="talk")
    made.send("first", candidate_count=2)
    return made


def regenerate(talk: convo.Conversation) -> convo.Reply:
    return talk.regenerate(candidate_count=3)


def texts(talk: convo.Conversation, number: int) -> list[str | None]:
    return [each.content for each in talk.turn(number).candidates]


# ---- while somebody waits for a model


def test_while_a_turn_is_asked_again_others_learn_it_before_any_call(here, hold, talk):
    held = hold()
    begun = held.begin(talk.id, regenerate)
    before, calls = talk.refresh().record, here.client.calls
    uses = [lambda: talk.send("x"), talk.regenerate, lambda: talk.choose(1), lambda: talk.preview("x")]
    uses += [lambda: talk.send("x", on_unfinished="resume"), lambda: talk.send("x", on_unfinished="discard")]
    assert [convo.TurnInFlight] * len(uses) == [refusal(each) for each in uses]
    assert [convo.NoOpenTurn] * 2 == [refusal(each) for each in (talk.resume, talk.discard)]
    assert (before, calls) == (talk.refresh().record, here.client.calls)
    held.let_go()
    assert (2, []) == (begun.result().candidates[2].index, violations(here))


def test_while_a_turn_is_asked_again_it_can_be_forked_and_edited(here, hold, talk):
    held = hold()
    begun = held.begin(talk.id, regenerate)
    made, edited = talk.fork(), talk.edit(1, "second").conversation
    made.send("more")
    held.let_go()
    begun.result()
    assert (2, 2, ["second"]) == (len(texts(made, 1)), len(made.turns()), [edited.turn(1).message.content])
    assert (3, []) == (len(texts(talk, 1)), violations(here))


def test_while_a_turn_is_answered_only_what_is_before_it_can_be_forked(here, hold, talk):
    held = hold()
    begun = held.begin(talk.id, lambda talk: talk.send("second"))
    assert [convo.TurnInFlight] * 2 == [refusal(each) for each in (talk.regenerate, lambda: talk.fork(at=2))]
    assert (1, "another") == (len(talk.fork().turns()), talk.edit(2, "another").conversation.turn(2).message.content)
    held.let_go()
    begun.result()
    assert [] == violations(here)


def test_a_conversation_that_is_deleted_while_it_is_asked_again_is_not_found(here, hold, talk):
    held = hold()
    begun = held.begin(talk.id, regenerate)
    made = talk.fork()
    here.delete(talk.id)
    held.let_go()
    assert convo.ConversationNotFound is type(begun.exception())
    assert ([made.id], []) == ([each.id for each in here.list()], violations(here))


# ---- too late


def overtaken(here: convo.Store, held: Held, talk: convo.Conversation, by: Act, **asked: Any) -> Future[Any]:
    """Ask again, let the lease run out, and do something else; the answer is still to come."""
    begun = held.begin(talk.id, lambda talk: talk.regenerate(**asked))
    end_leases(here)
    by(talk.refresh())
    return begun


def late(held: Held, begun: Future[Any]) -> None:
    held.let_go()
    assert convo.LeaseLost is type(begun.exception())


def test_a_fork_has_nothing_that_is_told_later_than_its_last_turn(here, hold, talk):
    held = hold()
    begun = overtaken(here, held, talk, lambda talk: talk.send("second"), candidate_count=4)
    late(held, begun)
    assert 4 == len(texts(talk, 1))
    early, whole = talk.fork(at=1), talk.fork()
    edited = talk.edit(2, "other").conversation
    assert [2, 4, 2] == [len(texts(each, 1)) for each in (early, whole, edited)]
    early.send("on")
    assert [] == violations(here)


def test_what_came_late_before_the_cut_is_copied_and_what_came_after_it_is_not(here, hold, talk):
    first, second = hold(), hold()
    one = overtaken(here, first, talk, lambda talk: talk.choose(1), candidate_count=3)
    two = overtaken(here, second, talk, lambda _: late(first, one), candidate_count=5)
    talk.send("second")
    late(second, two)
    assert (5, 1) == (len(texts(talk, 1)), talk.turn(1).chosen)
    early = talk.fork(at=1)
    assert (texts(talk, 1)[:3], texts(talk, 1)) == (texts(early, 1), texts(talk.fork(), 1))
    assert [] == violations(here)


@pytest.mark.parametrize("by", ["choose", "send", "regenerate"])
def test_whoever_overtakes_keeps_what_he_chose(here, hold, talk, by):
    acts: dict[str, Act] = {"choose": lambda talk: talk.choose(1), "send": lambda talk: talk.send("second")}
    acts["regenerate"] = regenerate
    held = hold()
    begun = overtaken(here, held, talk, acts[by], candidate_count=4)
    chosen = talk.turn(1).chosen
    late(held, begun)
    assert ({"choose": 1, "send": 0, "regenerate": 2}[by], 4) == (chosen, len(texts(talk, 1)))
    assert (chosen, []) == (talk.turn(1).chosen, violations(here))


def test_a_late_answer_brings_only_what_nobody_had_said(here, hold, talk):
    held = hold()
    begun = overtaken(here, held, talk, regenerate, candidate_count=4)
    late(held, begun)
    assert len(set(texts(talk, 1))) == len(texts(talk, 1)) == 4
    assert (["late"], []) == ([each.kind for each in talk.events()][-1:], violations(here))


def test_a_late_answer_that_says_nothing_new_is_told_by_the_journal_alone(here, hold, talk):
    held = hold()
    begun = overtaken(here, held, talk, lambda talk: talk.choose(1), candidate_count=2)
    late(held, begun)
    assert (2, "late", []) == (len(texts(talk, 1)), talk.events()[-1].kind, violations(here))


def test_an_answer_that_was_not_stored_is_kept_without_what_was_said_before(here, talk):
    struck: list[str] = []

    def at(number: int, name: str) -> None:
        if name == "before INSERT convo_messages" and not struck:
            struck.append(name)
            raise KeyboardInterrupt

    with FaultPoints(here.engine, at=at), pytest.raises(KeyboardInterrupt):
        regenerate(talk)
    assert (3, 3, 0) == (len(texts(talk, 1)), len(set(texts(talk, 1))), talk.turn(1).chosen)
    assert ("fail", []) == (talk.events()[-1].kind, violations(here))


class Narrow(HistoryClient):
    """Finds a prompt of more than one message too long."""

    def chat(self, request: convo.ChatRequest, *, deadline_s: float) -> convo.ChatReply:
        if len(request.messages) > 1:
            raise convo.ContextLengthExceeded("openai", 400)
        return super().chat(request, deadline_s=deadline_s)


def test_a_late_answer_to_a_shortened_prompt_answers_what_was_sent(here, talk):
    def overtake(request: convo.ChatRequest) -> None:
        end_leases(here)
        here.client = HistoryClient()
        here.get(talk.id).resume()

    here.client = Narrow(input_token_limit=50, before_answer=overtake)
    with pytest.raises(convo.LeaseLost):
        talk.send("second " * 15)
    told = talk.events()[-1]
    assert ("late", True, 2) == (told.kind, b"refused" in told.body, len(texts(talk, 2)))
    assert [] == violations(here)


def test_a_shortened_prompt_whose_answer_was_not_stored_is_told(here, talk):
    struck: list[str] = []

    def at(number: int, name: str) -> None:
        if name.startswith("before") and "INSERT convo_messages" in name:
            struck.append(name)
            if len(struck) == 2:
                raise KeyboardInterrupt

    here.client = Narrow(input_token_limit=50)
    with FaultPoints(here.engine, at=at), pytest.raises(KeyboardInterrupt):
        talk.send("second " * 15)
    told = talk.events()[-1]
    assert ("fail", True, 1) == (told.kind, b"refused" in told.body, len(texts(talk, 2)))
    assert [] == violations(here)


def test_ctrl_c_while_an_edit_is_repeated_settles_the_turn_of_its_fork(here, talk):
    def refuse(request: convo.ChatRequest) -> None:
        raise convo.ModelError

    def interrupt(number: int, name: str) -> None:
        if name == "after COMMIT" and not struck:
            struck.append(name)
            raise KeyboardInterrupt

    struck: list[str] = []
    here.client = HistoryClient(before_answer=refuse)
    with pytest.raises(convo.ModelError) as caught:
        talk.edit(1, "other", request_key="k")
    here.client = HistoryClient()
    with FaultPoints(here.engine, at=interrupt), pytest.raises(KeyboardInterrupt):
        talk.edit(1, "other", request_key="k")
    [turn] = here.get(caught.value.conversation).turns()
    assert ("failed", "cancelled", 1) == (turn.state, turn.error, talk.refresh().record.turn_count)
    assert talk.edit(1, "other", request_key="k").conversation.id == caught.value.conversation
    assert [] == violations(here)


def test_who_waits_for_a_turn_that_is_asked_again_sends_after_it(here, hold, talk):
    held = hold()
    begun = held.begin(talk.id, regenerate)
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(talk.send, "second", on_conflict="wait")
        held.let_go()
        begun.result()
        assert sent.result().text == talk.turn(2).reply.content
    assert (2, []) == (talk.turn(1).chosen, violations(here))


# ---- what a fork's journal has to tell


def test_a_fork_of_a_fork_is_asked_with_the_context_and_the_examples_of_its_parent(here):
    root = here.create(context="c", examples=[("i", "o")])
    for each in "abc":
        root.send(each)
    made = root.fork(at=2, context="other", examples=[("x", "y"), ("z", "0")])
    made.send("more")
    for at in range(3):
        deeper = made.fork(at=at).fork(at=max(at - 1, 0))
        deeper.send("on", candidate_count=2)
        deeper.regenerate(candidate_count=3)
        assert ("other", 2) == (deeper.context, len(deeper.examples()))
    assert [] == violations(here)


def test_a_fork_tells_the_settings_that_it_has_though_they_came_after_its_last_turn(here, talk):
    talk.send("second")
    talk.update(model="other", temperature=0.5, trim="stable", input_token_limit=5000, title="t", metadata={"a": 1})
    made = talk.fork(at=1)
    assert ("other", 0.5, "t") == (made.model, made.parameters.temperature, made.title)
    assert [] == violations(here)


# ---- races


def outcome(act: Act, talk: convo.Conversation) -> str:
    try:
        act(talk)
    except convo.ConvoError as error:
        return type(error).__name__
    return "done"


RIVALS: dict[str, Act] = {
    "send": lambda talk: talk.send("second"),
    "regenerate": regenerate,
    "choose": lambda talk: talk.choose(1),
    "fork": lambda talk: talk.fork().send("of the fork"),
    "edit": lambda talk: talk.edit(1, "edited"),
    "delete": lambda talk: talk._view.store.delete(talk.id),
}

RACES: dict[tuple[str, str], set[str]] = {
    ("send", "regenerate"): {"done", "TurnInFlight"},
    ("regenerate", "regenerate"): {"done", "TurnInFlight"},
    ("choose", "regenerate"): {"done", "TurnInFlight"},
    ("fork", "send"): {"done"},
    ("fork", "regenerate"): {"done"},
    ("edit", "send"): {"done"},
    ("delete", "regenerate"): {"done", "ConversationNotFound"},
    ("delete", "fork"): {"done", "ConversationNotFound"},
    ("delete", "edit"): {"done", "ConversationNotFound"},
}
"""Who races whom, and what may come of it."""

ROUNDS = 8


@pytest.mark.parametrize("race", RACES, ids=" and ".join)
def test_two_at_once_are_both_served_or_one_is_refused_before_any_call(url: str, here: convo.Store, race):
    stores = [convo.Store(url, client=HistoryClient(delay_s=0.002)) for _ in race]
    wrong: list[object] = []
    with ThreadPoolExecutor(2) as pool:
        for number in range(ROUNDS):
            made = here.create(messages=["a", "b"])
            made.send("first", candidate_count=2)
            calls, start = [each.client.calls for each in stores], threading.Barrier(2)

            def run(name: str, store: convo.Store, id: str = made.id, start: threading.Barrier = start) -> str:
                talk = store.get(id)
                start.wait()
                return outcome(RIVALS[name], talk)

            told = list(pool.map(run, race, stores))
            called = [each.client.calls - before for each, before in zip(stores, calls, strict=True)]
            paid = [count for count, each in zip(called, told, strict=True) if each == "TurnInFlight"]
            if not set(told) <= RACES[race] or "done" not in told or any(paid):
                wrong.append((number, told, called))
    for each in stores:
        each.close()
    assert ([], []) == (wrong, violations(here))


def race(tell: Tell, url: str, ids: list[str], seed: int) -> None:
    """Do this and that to conversations which others change at the same time; tell what came of it."""
    random_, numbers = random.Random(seed), itertools.count()
    acts: dict[str, Act] = RIVALS | {
        "send": lambda talk: talk.send(f"{seed}.{next(numbers)}", candidate_count=2),
        "fork": lambda talk: talk.fork(at=random_.randint(0, talk.record.turn_count)).send(f"{seed}.{next(numbers)}"),
        "edit": lambda talk: talk.edit(random_.randint(1, talk.record.turn_count), f"{seed}.{next(numbers)}"),
        "regenerate": lambda talk: talk.regenerate(candidate_count=random_.randint(1, 4)),
    }
    del acts["delete"]
    with convo.Store(url, client=HistoryClient(delay_s=0.001)) as store:
        for _ in range(12):
            name = random_.choice(sorted(acts))
            tell((name, outcome(acts[name], store.get(random_.choice(ids)))))


def test_processes_that_do_everything_at_once_lose_nothing(url: str, here: convo.Store):
    ids = [here.create(messages=["a", "b"]).id for _ in range(2)]
    for each in ids:
        here.get(each).send("first", candidate_count=2)
    workers = [Worker(race, url, ids, seed) for seed in range(4)]
    told = [each for worker in workers for each in worker.end()]
    assert {"done", "TurnInFlight"} >= {each for _, each in told}
    assert {"send", "regenerate", "choose", "fork", "edit"} == {name for name, each in told if each == "done"}
    assert [] == violations(here)
    sent = sum(name == "send" and each == "done" for name, each in told)
    assert sent == sum(here.get(each).record.turn_count - 2 for each in ids)
    assert len(told) == 48
