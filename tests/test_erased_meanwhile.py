"""What is erased while a model has it: it is not sent again, and forks that are made later know what went."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import convo
from convo.values import Candidate, Model
from tests.faults.database import end_leases

LONG = "one question after the other " * 15


class TooLong:
    """A model that finds the prompt of the third turn too long once, and lets something happen before it says so."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self.meanwhile = meanwhile
        self.requests: list[convo.ChatRequest] = []

    def get_model(self, name: str) -> Model:
        return Model(name, input_token_limit=300)

    def chat(self, request: convo.ChatRequest, *, deadline_s: float) -> convo.ChatReply:
        self.requests.append(request)
        if len(self.requests) == 3:
            self.meanwhile()
            raise convo.ContextLengthExceeded("m", 400)
        return convo.ChatReply((Candidate(0, f"answer {len(self.requests)}"),))


def asked(store: convo.Store, act: Callable[[convo.Conversation], object]) -> tuple[convo.Conversation, TooLong]:
    """Take two turns, and let `act` happen while the model has the third."""
    model = TooLong(lambda: act(store.get("talk", owner="acme")))
    store.client = model
    talk = store.create(model="m", owner="acme", name="talk", context="The secret context")
    for text in (LONG, LONG):
        talk.send(text)
    return talk, model


ACTS: dict[str, tuple[Callable[[convo.Conversation], object], str | None]] = {
    "erased": (lambda talk: talk.erase("context"), None),
    "redacted": (lambda talk: talk.redact("context", "[gone]"), "[gone]"),
    "erased with a message": (lambda talk: (talk.erase("context"), talk.erase(3)), None),
}


@pytest.mark.parametrize("act", ACTS)
def test_a_text_that_is_erased_meanwhile_is_not_sent_again(memory: convo.Store, act: str):
    take, context = ACTS[act]
    talk, model = asked(memory, take)
    talk.send("the newest")
    assert ["The secret context", context] == [each.context for each in model.requests[2:]]
    assert [True, True] == [talk.request(3, attempt=number).proven for number in (1, 2)]
    assert talk.verify().is_sound


def test_whoever_is_forgotten_meanwhile_is_not_asked_about_again(memory: convo.Store):
    talk, model = asked(memory, lambda _: memory.forget("acme"))
    with pytest.raises(convo.ConversationNotFound):
        talk.send("the newest")
    assert 3 == len(model.requests)
    assert [True] == [each.is_sound for each in memory.verify()]


def test_a_turn_that_was_taken_over_is_not_sent_again(memory: convo.Store):
    def take_over(talk: convo.Conversation) -> None:
        end_leases(memory)
        talk.resume()

    talk, model = asked(memory, take_over)
    with pytest.raises(convo.LeaseLost):
        talk.send("the newest")
    assert (4, "answer 4") == (len(model.requests), talk.refresh().turn(3).reply.content)
    assert talk.verify().is_sound


@pytest.mark.parametrize("parts", [("input", "output", "input"), ("output", "input"), ("input", "input")])
def test_a_fork_knows_what_became_of_examples_behind_its_beginning(memory: convo.Store, parts: tuple[str, ...]):
    talk = memory.create(model="offline/echo", examples=[("in " * 5, "out")])
    for text in ("one", "two"):
        talk.send(text)
    for number, part in enumerate(parts, start=1):
        talk.redact(f"example:0:{part}", "other " * 20 * number)
    fork = talk.fork(at=1)
    assert fork.verify().is_sound
    talk.erase("example:0")
    assert talk.fork(at=1).verify().is_sound
