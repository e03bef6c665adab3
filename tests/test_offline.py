"""The embedded models: echo answers word for word, and Eliza as the examples show or by its script."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import convo
from convo import ChatRequest, Example, Message, Parameters, Usage
from convo.call import call
from convo.clients.offline import OfflineClient
from convo.tokens import estimate
from convo.values import MODEL, USER

ECHO, ELIZA = "offline/echo", "offline/eliza"
COUNTS = st.integers(1, 8)


def asked(model: str, *said: str, examples: Any = (), **parameters: Any) -> ChatRequest:
    """Return a request; what was said begins with the user, and ends with the user."""
    messages = [Message(str(index % 2), text, side=index % 2, tokens=len(text)) for index, text in enumerate(said)]
    return ChatRequest(model, None, tuple(examples), tuple(messages), Parameters(**parameters))


def answers(model: str, *said: str, **settings: Any) -> list[str]:
    """Return the candidates of a call as everybody makes it."""
    return [str(each.content) for each in call(OfflineClient(), asked(model, *said, **settings)).candidates]


def test_echo_answers_with_the_newest_message_word_for_word():
    assert ["  second\r\n\tline  "] == answers(ECHO, "first", "first", "  second\r\n\tline  ")


@given(st.text(min_size=1).filter(str.strip).filter(lambda text: "\0" not in text), COUNTS)
def test_echo_numbers_its_other_candidates(text: str, count: int):
    wanted = [text, *(f"{text} ({index})" for index in range(1, count))]
    assert wanted == answers(ECHO, text, candidate_count=count)


@pytest.mark.parametrize("model", [ECHO, ELIZA])
def test_one_candidate_comes_at_temperature_zero(model: str):
    assert 1 == len(answers(model, "hi", temperature=0, candidate_count=8))


@pytest.mark.parametrize(("model", "limit"), [(ECHO, 1_000_000), (ELIZA, 4096)])
def test_the_limits(model: str, limit: int):
    assert limit == OfflineClient().get_model(model).input_token_limit


@pytest.mark.parametrize("name", ["offline/other", "", "openai/gpt"])
def test_another_model_is_not_found(name: str):
    with pytest.raises(convo.ModelNotFound):
        OfflineClient().get_model(name)
    with pytest.raises(convo.ModelNotFound):
        OfflineClient().chat(asked(name, "hi"), deadline_s=1)


def test_eliza_answers_as_the_example_does_whose_input_is_the_message():
    examples = [Example("hello", "meow"), Example("bye", "purr")]
    assert ["meow"] == answers(ELIZA, "hello", examples=examples)


def test_the_newest_of_two_examples_with_one_input_is_followed():
    assert ["later"] == answers(ELIZA, "hello", examples=[Example("hello", "first"), Example("hello", "later")])


def test_an_example_is_followed_in_the_middle_of_a_conversation():
    examples = [Example("hello", "meow")]
    assert ["meow"] == answers(ELIZA, "I am sad", "Why?", "hello", examples=examples)


@pytest.mark.parametrize("text", ["Hello", "hello ", "hello!"])
def test_an_example_is_followed_only_when_its_input_is_equal(text: str):
    assert "meow" not in answers(ELIZA, text, examples=[Example("hello", "meow")])


def test_the_other_candidates_of_an_example_come_from_the_script():
    found = answers(ELIZA, "hello", examples=[Example("hello", "meow")], candidate_count=4)
    assert ("meow", 4) == (found[0], len(set(found)))


@pytest.mark.parametrize("place", [0, 3, 7])
def test_an_example_that_says_what_the_script_says_is_said_once(place: int):
    scripted = answers(ELIZA, "I am sad", candidate_count=8)
    request = asked(ELIZA, "I am sad", examples=[Example("I am sad", scripted[place])], candidate_count=8)
    found = [str(each.content) for each in OfflineClient().chat(request, deadline_s=1).candidates]
    assert (scripted[place], 8, 8) == (found[0], len(found), len(set(found)))


@pytest.mark.parametrize("count", range(1, 9))
def test_an_example_does_not_change_how_many_answers_come(count: int):
    request = asked(ELIZA, "hello", examples=[Example("hello", "meow")], candidate_count=count)
    assert count == len(OfflineClient().chat(request, deadline_s=1).candidates)


@given(st.text(min_size=1).filter(str.strip), COUNTS)
def test_eliza_gives_as_many_different_answers_as_are_asked_for(text: str, count: int):
    found = answers(ELIZA, text, candidate_count=count)
    assert count == len(found) == len(set(found))


@pytest.mark.parametrize("model", [ECHO, ELIZA])
@given(said=st.lists(st.text(min_size=1), min_size=1, max_size=5).filter(lambda said: len(said) % 2))
def test_the_same_request_has_the_same_answer(model: str, said: list[str]):
    request = asked(model, *said, candidate_count=4)
    assert OfflineClient().chat(request, deadline_s=1) == OfflineClient().chat(request, deadline_s=1)


def test_eliza_hears_the_users_side_alone():
    told = [Message("me", "I see", side=USER), Message("it", "My mother is ill", side=MODEL)]
    request = ChatRequest(ELIZA, None, (), (*told, Message("me", "Hmm, whatever", side=USER)))
    [found] = OfflineClient().chat(request, deadline_s=1).candidates
    assert ("mother" in answers(ELIZA, "My mother is ill", "Why?", "Hmm, whatever")[0], False) == (
        True,
        "mother" in str(found.content),
    )


def test_the_usage_is_the_estimate_of_what_was_sent_and_answered():
    request = ChatRequest(
        ECHO,
        "12345678",
        (Example("a", "b", tokens=7),),
        (Message("0", "abcd", tokens=5), Message("1", "x", side=MODEL, tokens=3), Message("0", "abcde", tokens=2)),
        Parameters(candidate_count=2),
    )
    answer = OfflineClient().chat(request, deadline_s=1)
    assert Usage(input_tokens=2 + 7 + 5 + 3 + 2, output_tokens=2 + 3) == answer.usage


@pytest.mark.parametrize("model", [ECHO, ELIZA])
def test_an_answer_says_how_it_ended_and_who_gave_it(model: str):
    answer = OfflineClient().chat(asked(model, "hi"), deadline_s=1)
    assert ("stop", model, ()) == (answer.candidates[0].finish_reason, answer.served_by, answer.filters)


@pytest.mark.parametrize(
    ("parameters", "text", "end"),
    [
        ({"stop_sequences": ("four",)}, "one two three ", "stop"),
        ({"stop_sequences": ("five", "two")}, "one ", "stop"),
        ({"stop_sequences": ("six",)}, "one two three four five", "stop"),
        ({"max_output_tokens": 2}, "one two", "length"),
        ({"max_output_tokens": 6}, "one two three four five", "stop"),
        ({"max_output_tokens": 1, "stop_sequences": ("two",)}, "one ", "stop"),
    ],
)
def test_an_answer_ends_where_it_is_told_to(parameters: dict[str, Any], text: str, end: str):
    request = asked(ECHO, "one two three four five", **parameters)
    [candidate] = OfflineClient().chat(request, deadline_s=1).candidates
    assert (text, end) == (candidate.content, candidate.finish_reason)


@given(st.text(min_size=1), st.integers(1, 20))
def test_an_answer_has_no_more_tokens_than_it_may(text: str, most: int):
    [candidate] = OfflineClient().chat(asked(ECHO, text, max_output_tokens=most), deadline_s=1).candidates
    assert estimate(str(candidate.content)) <= most or len(str(candidate.content)) == 1


def test_a_conversation_with_eliza_needs_nothing_but_a_store(store: convo.Store):
    talk = store.create(examples=[("hello", "meow")])
    assert ("meow", "offline/eliza", True) == (talk.send("hello").text, talk.model, bool(talk.send("I am sad").text))
