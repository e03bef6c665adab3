"""`chat`, as the reference page of google.generativeai.chat documents it, as far as this release goes."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import convo
from convo import Candidate, ChatReply, ChatResponse, Example, Filter, Fit, Message, Model, Parameters
from convo.options import AUTHORS
from convo.testing import ScriptedClient
from convo.values import USER


def chat(*answers: Any, model: Model | None = None, **arguments: Any) -> tuple[ChatResponse, ScriptedClient]:
    """Chat with a model that follows a script; return its response, and the model."""
    client = ScriptedClient(*answers, model=model)
    return convo.chat(model="test/model", client=client, **arguments), client


def said(messages: tuple[Message, ...]) -> list[tuple[str, str | None]]:
    return [(each.author, each.content) for each in messages]


def by(author: str, content: str) -> dict[str, str]:
    return {"author": author, "content": content}


# ---- the surface


DOCUMENTED = ["model", "context", "examples", "messages", "temperature", "candidate_count", "top_p", "top_k"]
DOCUMENTED += ["prompt", "client", "request_options"]


def test_the_arguments_are_those_of_the_reference_page_in_its_order():
    names = list(inspect.signature(convo.chat).parameters)
    assert [name for name in DOCUMENTED if name in names] == names


def test_the_default_model_is_that_of_the_reference_page():
    assert "models/chat-bison-001" == inspect.signature(convo.chat).parameters["model"].default


def test_every_argument_has_to_be_named():
    kinds = {each.kind for each in inspect.signature(convo.chat).parameters.values()}
    assert {inspect.Parameter.KEYWORD_ONLY} == kinds


@pytest.mark.parametrize("call", [lambda: convo.chat("hi"), lambda: convo.chat(message="hi")])
def test_a_positional_or_unknown_argument_is_a_type_error(call: Any):
    with pytest.raises(TypeError):
        call()


def test_a_response_has_the_answer_and_all_that_it_takes_to_go_on():
    response, _ = chat(["a", "b"], context="c", examples=["i", "o"], messages="hi", candidate_count=2, top_p=0.5)
    assert ("test/model", "c", "a", "test/model") == (
        response.model,
        response.context,
        response.last,
        response.served_by,
    )
    assert [("i", "o")] == [(each.input, each.output) for each in response.examples]
    assert ([("0", "hi")], ["a", "b"]) == (said(response.messages), [each.content for each in response.candidates])
    assert (Parameters(top_p=0.5, candidate_count=2), ()) == (response.parameters, response.filters)


def test_the_prompt_reaches_the_model_as_it_was_given():
    _, client = chat("a", context="c", examples=[("i", "o")], messages=["x", "y", "z"], temperature=0.5, top_k=3)
    [request] = client.requests
    assert ("test/model", "c", [("i", "o")]) == (
        request.model,
        request.context,
        [(each.input, each.output) for each in request.examples],
    )
    assert [("0", "x"), ("1", "y"), ("0", "z")] == said(request.messages)
    assert Parameters(temperature=0.5, top_k=3, candidate_count=1) == request.parameters


def test_without_context_and_examples_none_are_sent():
    response, client = chat("a", context="", messages="hi")
    assert (None, (), "", ()) == (client.requests[0].context, client.requests[0].examples, response.context, ())


@pytest.mark.parametrize("nothing", [None, [], ()])
def test_there_has_to_be_a_message(nothing: Any):
    with pytest.raises(convo.InvalidInput, match="give at least one message"):
        chat("a", context="c", messages=nothing)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"messages": 5}, TypeError),
        ({"messages": ["a", None]}, TypeError),
        ({"messages": ""}, convo.InvalidText),
        ({"messages": "a\0"}, convo.InvalidText),
        ({"messages": [{"role": "user"}]}, ValueError),
        ({"messages": [by("x", "a"), "b", by("y", "c")]}, convo.AuthorError),
        ({"context": 5}, TypeError),
        ({"context": []}, TypeError),
        ({"context": "\ud800"}, convo.InvalidText),
        ({"examples": ["odd"]}, ValueError),
        ({"examples": {"input": "a"}}, KeyError),
        ({"temperature": -1}, convo.InvalidParameter),
        ({"candidate_count": 9}, convo.InvalidParameter),
        ({"top_p": 1.5}, convo.InvalidParameter),
        ({"top_k": True}, TypeError),
    ],
)
def test_what_cannot_be_used_is_refused_before_a_model_is_called(arguments: dict[str, Any], kind: type[Exception]):
    client = ScriptedClient("a")
    with pytest.raises(kind):
        convo.chat(model="test/model", client=client, **{"messages": "hi", **arguments})
    assert [] == client.requests


def test_an_unknown_model_is_not_found():
    with pytest.raises(convo.ModelNotFound, match="'nobody/has-it'"):
        convo.chat(model="nobody/has-it", messages="hi")


def test_a_model_that_fails_is_a_model_error():
    with pytest.raises(convo.ModelError, match="the client of test/model failed with RuntimeError"):
        chat(RuntimeError("x"), messages="hi")


# ---- trimming


def kept(prompt: Fit) -> tuple[bool, int, int]:
    return prompt.context is not None, len(prompt.examples), len(prompt.messages)


def test_ten_thousand_messages_are_trimmed_before_any_example():
    history = [f"message number {number:05}" for number in range(10_001)]
    response, client = chat(
        "a", context="Be brief.", examples=["in", "out"] * 20, messages=history, model=Model("m", 1000)
    )
    [request] = client.requests
    assert (20, history[-1], 10_001) == (
        len(request.examples),
        request.messages[-1].content,
        len(request.messages) + response.prompt.dropped_messages,
    )
    assert history[-len(request.messages) :] == [each.content for each in request.messages]
    assert 1000 - 5 <= response.prompt.tokens <= 1000  # a message more has 5 tokens


@pytest.mark.parametrize(
    ("limit", "wanted"),
    [
        (99, (True, 2, 3)),
        (11, (True, 2, 3)),  # everything
        (10, (True, 2, 2)),
        (9, (True, 2, 2)),
        (8, (True, 2, 1)),
        (7, (True, 2, 1)),
        (6, (True, 1, 1)),
        (5, (True, 1, 1)),
        (4, (True, 0, 1)),
        (3, (True, 0, 1)),
    ],
)
def test_messages_go_before_examples_and_the_context_stays(limit: int, wanted: tuple[bool, int, int]):
    examples = [("aaaa", "bbbb"), ("cccc", "dddd")]  # 2 tokens each
    response, client = chat(
        "ok", context="eight ch", examples=examples, messages=["12345678"] * 2 + ["1"], model=Model("m", limit)
    )
    sent = client.requests[0]
    assert (wanted, wanted[1:]) == (kept(response.prompt), (len(sent.examples), len(sent.messages)))


def test_what_cannot_be_trimmed_is_too_long_and_no_model_is_called():
    client = ScriptedClient("a", model=Model("m", 3))
    with pytest.raises(convo.PromptTooLong) as caught:
        convo.chat(model="m", context="eight ch", messages="12345678", client=client)
    assert ((4, 3), []) == ((caught.value.tokens, caught.value.limit), client.requests)


def test_what_a_service_adds_to_a_message_is_counted():
    response, _ = chat("a", messages=["a", "b", "c"], model=Model("m", 9, message_overhead=3))
    assert (8, 2, 1) == (response.prompt.tokens, len(response.prompt.messages), response.prompt.dropped_messages)


def test_the_user_comes_first_where_the_service_wants_it():
    response, _ = chat("a", messages=["a", "b", "c"], model=Model("m", 2, user_first=True))
    assert [USER] == [each.side for each in response.prompt.messages]


def test_a_response_keeps_what_was_trimmed():
    response, _ = chat("a", examples=["i", "o"], messages=["a", "b", "c"], model=Model("m", 1))
    assert (1, 3, 1, 2) == (
        len(response.examples),
        len(response.messages),
        response.prompt.dropped_examples,
        response.prompt.dropped_messages,
    )


# ---- going on


def test_a_reply_goes_on_with_everything():
    response, client = chat("a", "b", context="c", examples=["i", "o"], messages="hi", temperature=0.5, top_k=3)
    after = response.reply("ho")
    first, second = client.requests
    assert [("0", "hi"), ("1", "a"), ("0", "ho")] == said(second.messages) == said(after.messages)
    assert (first.context, first.examples, first.parameters) == (second.context, second.examples, second.parameters)
    assert ("b", "test/model") == (after.last, after.model)


def test_a_reply_follows_the_first_candidate():
    response, client = chat(["a", "b"], messages="hi", candidate_count=2)
    response.reply("ho")
    assert ["hi", "a", "ho"] == [each.content for each in client.requests[1].messages]


def test_a_reply_leaves_the_response_before_it_as_it_was():
    response, _ = chat("a", "b", messages="hi")
    before = repr(response)
    response.reply("ho")
    assert (before, "a") == (repr(response), response.last)


def test_two_replies_to_one_response_are_two_ways_to_go_on():
    response, _ = chat("a", messages="hi")
    ways = [response.reply(text) for text in ("left", "right")]
    assert [["hi", "a", "left"], ["hi", "a", "right"]] == [[text for _, text in said(way.messages)] for way in ways]


def test_a_long_chat_of_replies_alternates():
    response = convo.chat(model="offline/echo", messages="0")
    for number in range(1, 50):
        response = response.reply(str(number))
    assert [*AUTHORS * 49, "0"] == [each.author for each in response.messages]


def test_names_are_kept_when_a_chat_goes_on():
    response, _ = chat("a", "b", messages=[by("tom", "hi"), by("cat", "meow"), "ho"])
    after = response.reply("and?")
    assert (["tom", "cat", "tom", "cat", "tom"], "cat", "cat") == (
        [each.author for each in after.messages],
        response.candidates[0].author,
        after.candidates[0].author,
    )


def test_a_stranger_cannot_go_on_with_a_chat():
    response, client = chat("a", messages=[by("tom", "hi")])
    with pytest.raises(convo.AuthorError):
        response.reply(by("jerry", "ho"))
    assert 1 == len(client.requests)


def test_the_user_may_be_named_when_going_on():
    response, _ = chat("a", messages=[by("tom", "hi")])
    assert ("tom", "ho") == said(response.reply(by("tom", "ho")).messages)[-1]


def test_an_answer_to_an_even_number_of_messages_alternates_too():
    response, _ = chat("a", messages=["hi", "there"])
    assert ("0", ["0", "1", "0", "1"]) == (
        response.candidates[0].author,
        [each.author for each in response.reply("go on").messages],
    )


@pytest.mark.parametrize("message", [None, ["a"], 5, "", "a\0"])
def test_a_reply_has_to_be_one_message(message: Any):
    response, client = chat("a", messages="hi")
    with pytest.raises((TypeError, convo.InvalidText)):
        response.reply(message)
    assert 1 == len(client.requests)


# ---- blocked answers


def blocked(*filters: Filter) -> ChatResponse:
    return chat(ChatReply((), filters=filters), messages="hi")[0]


def test_a_blocked_answer_is_no_error_and_has_its_reasons():
    response = blocked(Filter("SAFETY", "why"))
    assert (None, (), (Filter("SAFETY", "why"),)) == (response.last, response.candidates, response.filters)


@pytest.mark.parametrize(
    ("filters", "told"), [([], "none given"), ([Filter("SAFETY"), Filter("OTHER")], "SAFETY, OTHER")]
)
def test_there_is_no_going_on_from_a_blocked_answer(filters: list[Filter], told: str):
    with pytest.raises(convo.ReplyBlocked, match=rf"no answer \(reasons: {told}\)"):
        blocked(*filters).reply("ho")


def test_some_candidates_may_be_blocked():
    response, _ = chat(ChatReply((Candidate(0, "a"),), filters=(Filter("OTHER"),)), messages="hi")
    assert ("a", 1) == (response.last, len(response.filters))


# ---- the model that answers


def test_the_default_model_is_retired_and_the_embedded_one_answers():
    with pytest.warns(convo.RetiredModelWarning, match="offline/eliza answers instead"):
        response = convo.chat(messages="Hello")
    assert ("models/chat-bison-001", "offline/eliza", True) == (
        response.model,
        response.served_by,
        bool(response.last),
    )


def test_a_reply_of_the_retired_model_comes_from_the_same_one():
    with pytest.warns(convo.RetiredModelWarning):
        response = convo.chat(messages="Hello").reply("I am sad.")
    assert ("models/chat-bison-001", "offline/eliza") == (response.model, response.served_by)


def test_a_service_may_answer_under_another_name():
    response, _ = chat(ChatReply((Candidate(0, "a"),), served_by="test/model-2026"), messages="hi")
    assert ("test/model", "test/model-2026") == (response.model, response.served_by)


def test_an_example_is_followed_on_a_fresh_machine():
    response = convo.chat(model="offline/eliza", examples=[("hello", "meow")], messages="hello")
    assert "meow" == response.last


def test_candidates_that_cannot_be_stored_are_repaired():
    response, _ = chat("a\0", messages="hi")
    assert ("a\ufffd", 1) == (response.last, response.candidates[0].repaired)


def test_the_values_of_a_response_cannot_be_changed():
    response, _ = chat("a", messages="hi", examples=[Example("i", "o")])
    with pytest.raises(AttributeError):
        response.model = "another"  # type: ignore[misc]  # that is the point
