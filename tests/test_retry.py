"""When a call that failed is made again: the policy by itself, and chats that follow it."""

from __future__ import annotations

import time
from typing import Any

import pytest

import convo
from convo import ModelError, RequestOptions, Retry
from convo.testing import ScriptedClient
from tests.chatting import Chatting

QUICK = Retry(attempts=3, initial_s=0.001, maximum_s=0.001)


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        (Retry(), [1.0, 1.3, 1.69, 2.197, None]),
        (Retry(attempts=1), [None]),
        (Retry(attempts=4, initial_s=2, multiplier=3, maximum_s=5), [2, 5, 5, None]),
        (Retry(attempts=3, initial_s=0, maximum_s=0), [0, 0, None]),
    ],
)
def test_pauses_grow_up_to_a_maximum_until_it_gives_up(policy: Retry, wanted: list[float | None]):
    assert [None if each is None else pytest.approx(each) for each in wanted] == [
        policy.pause_s(failures) for failures in range(1, len(wanted) + 1)
    ]


def test_a_patient_policy_does_not_overflow():
    assert 10 == Retry(attempts=10**6, multiplier=2).pause_s(5000)


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"initial_s": -1},
        {"initial_s": 20},
        {"maximum_s": float("inf")},
        {"maximum_s": float("nan")},
        {"multiplier": 0.5},
        {"multiplier": float("nan")},
        {"multiplier": float("inf")},
        {"attempts": float("nan")},
        {"attempts": "5"},
        {"attempts": True},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]):
    with pytest.raises(convo.InvalidParameter):
        Retry(**wrong)


class Overloaded(ModelError):
    """What a client raises whose service has too much to do."""

    retryable = True


def test_a_call_is_made_again_while_the_policy_allows(chatting: Chatting):
    response, client = chatting.scripted(
        Overloaded(), Overloaded(), "a", messages="hi", request_options={"retry": QUICK}
    )
    assert ("a", 3) == (response.last, len(client.requests))


def test_the_last_error_comes_out(chatting: Chatting):
    errors = [Overloaded(), Overloaded(), Overloaded("the last one")]
    client = ScriptedClient(*errors, "a")
    with pytest.raises(Overloaded, match="the last one"):
        chatting.chat(model="m", client=client, messages="hi", request_options=RequestOptions(retry=QUICK))
    assert 3 == len(client.requests)


@pytest.mark.parametrize(
    ("error", "how"),
    [
        (ModelError("refused"), {"retry": QUICK}),
        (RuntimeError("a bug"), {"retry": QUICK}),
        (Overloaded(), {}),
        (Overloaded(), None),
        (Overloaded(), {"retry": None}),
        (Overloaded(), {"retry": Retry(initial_s=5), "timeout": 1}),
    ],
)
def test_no_call_is_made_again_without_need_wish_or_time(chatting: Chatting, error: Exception, how: Any):
    client = ScriptedClient(error, "a")
    started = time.monotonic()
    with pytest.raises(ModelError):
        chatting.chat(model="m", client=client, messages="hi", request_options=how)
    assert 1 == len(client.requests)
    assert time.monotonic() - started < 5  # and nobody waited for the pause


def test_a_reply_has_request_options_of_its_own(chatting: Chatting):
    response, _ = chatting.scripted(
        "a", Overloaded(), Overloaded(), "b", messages="hi", request_options={"retry": QUICK}
    )
    with pytest.raises(Overloaded):
        chatting.reply(response, "ho")
    assert "b" == chatting.reply(response, "ho", {"retry": QUICK}).last


class Timed(ScriptedClient):
    """Notes how long it may take, and fails after a while."""

    def __init__(self, *answers: Any) -> None:
        super().__init__(*answers)
        self.deadlines_s: list[float] = []

    def chat(self, request: convo.ChatRequest, *, deadline_s: float) -> convo.ChatReply:
        self.deadlines_s.append(deadline_s)
        time.sleep(0.01)
        return super().chat(request, deadline_s=deadline_s)


def test_the_timeout_is_for_all_calls_together(chatting: Chatting):
    client = Timed(Overloaded(), "a")
    chatting.chat(model="m", client=client, messages="hi", request_options={"timeout": 60, "retry": QUICK})
    first, second = client.deadlines_s
    assert first <= 60
    assert second <= first - 0.01


def test_without_a_timeout_a_call_has_the_usual_time(chatting: Chatting):
    client = Timed("a")
    chatting.chat(model="m", client=client, messages="hi")
    assert 100 < client.deadlines_s[0] <= 120


class Hidden(ScriptedClient):
    """Cannot tell the limits at first."""

    asked = 0

    def get_model(self, name: str) -> convo.Model:
        self.asked += 1
        if self.asked == 1:
            raise Overloaded
        return super().get_model(name)


def test_the_look_up_of_a_model_is_made_again_too(chatting: Chatting):
    client = Hidden("a")
    response = chatting.chat(model="m", client=client, messages="hi", request_options={"retry": QUICK})
    assert ("a", 2, 1) == (response.last, client.asked, len(client.requests))
