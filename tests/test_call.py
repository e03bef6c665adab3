"""What is promised of every answer, whoever gave it: unique, wanted, storable candidates, and errors of one family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import convo
from convo import Candidate, ChatReply, ChatRequest, Filter, Message, Model, Parameters, Usage
from convo.call import DEADLINE_S, call
from convo.testing import ScriptedClient
from convo.text import MAX_TEXT_BYTES
from convo.tokens import estimate


def asked(**parameters: Any) -> ChatRequest:
    return ChatRequest("test/model", None, (), (Message("0", "hi"),), Parameters(**parameters))


def reply(*texts: str, **more: Any) -> ChatReply:
    return ChatReply(tuple(Candidate(index, text) for index, text in enumerate(texts)), **more)


def texts(answer: ChatReply) -> list[str | None]:
    return [each.content for each in answer.candidates]


def answered(*given_: str, **parameters: Any) -> list[str | None]:
    """Return the texts that are left of a model's texts."""
    return texts(call(ScriptedClient(given_), asked(**parameters)))


def test_only_unique_candidates_come_back_the_best_first():
    assert ["b", "a", "c"] == answered("b", "a", "b", "c", "a", candidate_count=8)


def test_candidates_that_differ_in_space_alone_are_different():
    assert ["a", "a ", "A"] == answered("a", "a ", "A", candidate_count=8)


@pytest.mark.parametrize("temperature", [0, 0.0, -0.0])
def test_one_candidate_comes_back_at_temperature_zero(temperature: float):
    assert ["a"] == answered("a", "b", "c", temperature=temperature, candidate_count=3)


def test_one_candidate_comes_back_when_no_count_is_given():
    assert ["a"] == answered("a", "b")


@pytest.mark.parametrize("count", range(1, 9))
def test_at_most_as_many_candidates_come_back_as_were_asked_for(count: int):
    assert list("abcdefghij"[:count]) == answered(*"abcdefghij", candidate_count=count)


def test_fewer_candidates_than_asked_for_are_no_error():
    assert ["a"] == answered("a", "a", candidate_count=8)


@pytest.mark.parametrize(
    ("parameters", "sent"),
    [
        ({}, Parameters(candidate_count=1)),
        ({"candidate_count": 3}, Parameters(candidate_count=3)),
        ({"temperature": 0, "candidate_count": 3}, Parameters(temperature=0, candidate_count=1)),
        ({"temperature": 0.5, "top_k": 2}, Parameters(temperature=0.5, top_k=2, candidate_count=1)),
    ],
)
def test_the_model_is_asked_for_what_will_be_kept(parameters: dict[str, Any], sent: Parameters):
    client = ScriptedClient("a")
    call(client, asked(**parameters))
    assert [sent] == [each.parameters for each in client.requests]


def test_the_callers_request_stays_as_it_is():
    request = asked(temperature=0, candidate_count=3)
    call(ScriptedClient("a"), request)
    assert asked(temperature=0, candidate_count=3) == request


def test_candidates_are_numbered_from_zero_and_counted_whatever_the_client_says():
    given_ = ChatReply((Candidate(7, "a", tokens=99), Candidate(7, "a"), Candidate(3, "bcdef", repaired=9)))
    answer = call(ScriptedClient(given_), asked(candidate_count=8))
    assert [(0, "a", 1, 0), (1, "bcdef", 2, 0)] == [
        (each.index, each.content, each.tokens, each.repaired) for each in answer.candidates
    ]


@pytest.mark.parametrize("blank", ["", " ", "\n\t", "\u3000", None])
def test_blank_candidates_are_dropped(blank: Any):
    answer = call(ScriptedClient(reply(blank, "a", blank)), asked(candidate_count=2))
    assert [(0, "a")] == [(each.index, each.content) for each in answer.candidates]


def test_a_dropped_candidate_makes_room_for_the_next():
    assert ["a", "b"] == answered("", "a", "a", "b", candidate_count=2)


@pytest.mark.parametrize(
    ("text", "kept", "repaired"),
    [
        ("a\0b", "a\ufffdb", 1),
        ("\ud83d\ude00", "😀", 0),
        ("\ud83d", "\ufffd", 1),
        ("\ude00\0\ud83d", "\ufffd\ufffd\ufffd", 3),
        ("\ufffd", "\ufffd", 0),
        ("\r\n\x1b", "\r\n\x1b", 0),
    ],
)
def test_a_text_that_cannot_be_stored_is_repaired_and_counted(text: str, kept: str, repaired: int):
    [candidate] = call(ScriptedClient(reply("x" + text)), asked()).candidates
    assert ("x" + kept, repaired, estimate("x" + kept)) == (candidate.content, candidate.repaired, candidate.tokens)


def test_candidates_that_are_alike_once_repaired_are_one():
    assert ["a\ufffd"] == answered("a\0", "a\ud800", "a\ufffd", candidate_count=8)


@given(st.lists(st.text(st.characters(codec=None), max_size=4), max_size=12), st.integers(1, 8))
def test_whatever_a_model_writes_the_candidates_are_unique_numbered_and_storable(given_: list[str], count: int):
    found = call(ScriptedClient(given_), asked(candidate_count=count)).candidates
    kept = [str(each.content) for each in found]
    assert (list(range(len(found))), len(kept)) == ([each.index for each in found], len(set(kept)))
    assert len(found) <= count
    assert all(text.strip() and "\0" not in text and text.encode() for text in kept)


def test_a_text_of_the_largest_size_is_kept():
    assert MAX_TEXT_BYTES == len(str(answered("a" * MAX_TEXT_BYTES)[0]))


@pytest.mark.parametrize("text", ["a" * (MAX_TEXT_BYTES + 1), "\0" * MAX_TEXT_BYTES])
def test_a_text_over_the_cap_is_a_bad_response(text: str):
    with pytest.raises(convo.BadModelResponse, match="at most 4,194,304 can be kept") as caught:
        call(ScriptedClient(text), asked())
    assert (True, True) == (caught.value.retryable, len(str(caught.value)) < 200)


def test_a_text_over_the_cap_that_nobody_asked_for_does_no_harm():
    assert ["a"] == answered("a", "b" * (MAX_TEXT_BYTES + 1))


@pytest.mark.parametrize("word", ["st\0op", "st\ud800op", "st\ud83d\ude00op", "s" * 5000])
def test_a_reason_to_finish_and_a_models_name_can_be_stored(word: str):
    given_ = ChatReply((Candidate(0, "a", finish_reason=word),), served_by=word)
    answer = call(ScriptedClient(given_), asked())
    for label in (answer.candidates[0].finish_reason, answer.served_by):
        assert (True, True) == (label is not None and len(label.encode()) <= 600, "\0" not in str(label))


@pytest.mark.parametrize("count", [-1, 2**31, 10**400, 1.5, "12"])
def test_a_usage_that_can_be_no_count_is_not_taken(count: Any):
    answer = call(ScriptedClient(reply("a", usage=Usage(count, 5))), asked())
    assert Usage(None, 5) == answer.usage


def test_what_else_the_service_says_is_passed_on():
    given_ = ChatReply((Candidate(0, "a", "length"),), Usage(1, 2), (Filter("SAFETY", "why"),), "served/by")
    answer = call(ScriptedClient(given_), asked())
    wanted = ("length", Usage(1, 2), (Filter("SAFETY", "why"),), "served/by")
    assert wanted == (answer.candidates[0].finish_reason, answer.usage, answer.filters, answer.served_by)


def test_no_candidates_come_back_when_all_were_blocked():
    answer = call(ScriptedClient(ChatReply((), filters=(Filter("SAFETY"),))), asked(candidate_count=3))
    assert ((), (Filter("SAFETY"),)) == (answer.candidates, answer.filters)


@dataclass
class Foreign:
    """A client that convo knows nothing of."""

    answer: Callable[[ChatRequest, float], Any]

    def get_model(self, name: str) -> Model:
        return Model(name, 10)

    def chat(self, request: ChatRequest, *, deadline_s: float) -> Any:
        return self.answer(request, deadline_s)


def raising(error: BaseException) -> ScriptedClient:
    return ScriptedClient(error)


@pytest.mark.parametrize("error", [RuntimeError("secret"), ValueError("secret"), OSError("secret"), TimeoutError()])
def test_a_foreign_exception_is_a_model_error_with_its_cause(error: Exception):
    with pytest.raises(convo.ModelError) as caught:
        call(raising(error), asked())
    wanted = f"the client of test/model failed with {type(error).__name__}"
    assert (error, wanted) == (caught.value.__cause__, str(caught.value))


@pytest.mark.parametrize(
    "error",
    [convo.ModelError("a"), convo.ReplyBlocked(["b"]), convo.BadModelResponse("c"), convo.ModelNotFound("d", ["e"])],
)
def test_convos_own_errors_pass_unchanged(error: convo.ConvoError):
    with pytest.raises(convo.ConvoError) as caught:
        call(raising(error), asked())
    assert (error, None) == (caught.value, caught.value.__cause__)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(2), GeneratorExit()])
def test_what_ends_the_program_passes_unchanged(error: BaseException):
    with pytest.raises(type(error)) as caught:
        call(raising(error), asked())
    assert error is caught.value


@pytest.mark.parametrize("answer", [None, "a", [], ChatReply(None), reply(5), ChatReply((None,)), ChatReply(("a",))])  # type: ignore[arg-type]  # that is the point
def test_a_client_that_returns_no_reply_is_a_model_error(answer: Any):
    with pytest.raises(convo.ModelError):
        call(Foreign(lambda *_: answer), asked())


def test_a_client_is_any_object_with_the_two_methods():
    client = Foreign(lambda request, deadline_s: reply(f"{request.messages[-1].content} in {deadline_s}"))
    assert isinstance(client, convo.ChatClient)
    assert ["hi in 2.5"] == texts(call(client, asked(), deadline_s=2.5))


def test_a_model_has_two_minutes_when_nobody_says_otherwise():
    client = Foreign(lambda _, deadline_s: reply(str(deadline_s)))
    assert (["120.0"], 120) == (texts(call(client, asked())), DEADLINE_S)
