"""`chat`, as the reference page of google.generativeai.chat documents it: one suite for chat() and chat_async()."""

from __future__ import annotations

import inspect
import json
import threading
from functools import partial
from typing import Any

import anyio
import pytest

import convo
from convo import BlockedReason, Candidate, ChatReply, ChatResponse, CitationMetadata, Filter, Fit, Model, Parameters
from convo.options import AUTHORS
from convo.testing import ScriptedClient
from convo.values import USER
from tests.chatting import Chatting, by, said

# ---- the surface


DOCUMENTED = {
    "model": "models/chat-bison-001",
    **dict.fromkeys(["context", "examples", "messages", "temperature", "candidate_count", "top_p", "top_k"]),
    **dict.fromkeys(["prompt", "client", "request_options"]),
}
"""The arguments of the reference page, in its order, with their defaults."""


@pytest.mark.parametrize("call", [convo.chat, convo.chat_async])
def test_the_arguments_are_those_of_the_reference_page(call: Any):
    found = inspect.signature(call).parameters.values()
    assert list(DOCUMENTED.items()) == [(each.name, each.default) for each in found]
    assert {inspect.Parameter.KEYWORD_ONLY} == {each.kind for each in found}


@pytest.mark.parametrize(("given", "named"), [(["hi"], {}), ([], {"message": "hi"})])
def test_a_positional_or_unknown_argument_is_a_type_error(given: list[Any], named: dict[str, Any]):
    for call in (convo.chat, convo.chat_async):
        with pytest.raises(TypeError):
            call(*given, **named)


def test_a_response_has_the_answer_and_all_that_it_takes_to_go_on(chatting: Chatting):
    response, _ = chatting.scripted(
        ["a", "b"], context="c", examples=["i", "o"], messages="hi", candidate_count=2, top_p=0.5
    )
    assert ("test/model", "c", "a", "test/model") == (
        response.model,
        response.context,
        response.last,
        response.served_by,
    )
    assert [("i", "o")] == [(each.input, each.output) for each in response.examples]
    assert [("0", "hi"), ("1", "a")] == said(response.messages)
    assert [("1", "a"), ("1", "b")] == said(response.candidates)
    assert (None, 2, 0.5, None, []) == (
        response.temperature,
        response.candidate_count,
        response.top_p,
        response.top_k,
        response.filters,
    )


def test_the_prompt_reaches_the_model_as_it_was_given(chatting: Chatting):
    _, client = chatting.scripted(
        "a", context="c", examples=[("i", "o")], messages=["x", "y", "z"], temperature=0.5, top_k=3
    )
    [request] = client.requests
    assert ("test/model", "c", [("i", "o")]) == (
        request.model,
        request.context,
        [(each.input, each.output) for each in request.examples],
    )
    assert [("0", "x"), ("1", "y"), ("0", "z")] == said(request.messages)
    assert Parameters(temperature=0.5, top_k=3, candidate_count=1) == request.parameters


def test_without_context_and_examples_none_are_sent(chatting: Chatting):
    response, client = chatting.scripted("a", context="", messages="hi")
    assert (None, (), "", ()) == (client.requests[0].context, client.requests[0].examples, response.context, ())


@pytest.mark.parametrize("nothing", [None, [], ()])
def test_there_has_to_be_a_message(chatting: Chatting, nothing: Any):
    with pytest.raises(convo.InvalidInput, match="give at least one message"):
        chatting.scripted("a", context="c", messages=nothing)


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
        ({"candidate_count": 0}, convo.InvalidParameter),
        ({"candidate_count": 9}, convo.InvalidParameter),
        ({"prompt": "hi"}, ValueError),
        ({"messages": None, "prompt": "hi", "context": "c"}, ValueError),
        ({"messages": None, "prompt": {"content": "hi"}}, KeyError),
        ({"messages": ["a", "b"]}, ValueError),
        ({"model": 5}, TypeError),
        ({"model": "a\nb"}, ValueError),
        ({"request_options": {"timeout": 0}}, ValueError),
        ({"top_p": 1.5}, convo.InvalidParameter),
        ({"top_k": True}, TypeError),
    ],
)
def test_what_cannot_be_used_is_refused_before_a_model_is_called(
    chatting: Chatting, arguments: dict[str, Any], kind: type[Exception]
):
    client = ScriptedClient("a")
    with pytest.raises(kind):
        chatting.chat(**{"model": "test/model", "client": client, "messages": "hi", **arguments})
    assert [] == client.requests


def test_an_unknown_model_is_not_found(chatting: Chatting):
    with pytest.raises(convo.ModelNotFound, match="'nobody/has-it'"):
        chatting.chat(model="nobody/has-it", messages="hi")


def test_a_model_that_fails_is_a_model_error(chatting: Chatting):
    with pytest.raises(convo.ModelError, match="the client of test/model failed with RuntimeError"):
        chatting.scripted(RuntimeError("x"), messages="hi")


# ---- trimming


def kept(prompt: Fit) -> tuple[bool, int, int]:
    return prompt.context is not None, len(prompt.examples), len(prompt.messages)


def test_ten_thousand_messages_are_trimmed_before_any_example(chatting: Chatting):
    history = [f"message number {number:05}" for number in range(10_001)]
    response, client = chatting.scripted(
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
def test_messages_go_before_examples_and_the_context_stays(
    chatting: Chatting, limit: int, wanted: tuple[bool, int, int]
):
    examples = [("aaaa", "bbbb"), ("cccc", "dddd")]  # 2 tokens each
    response, client = chatting.scripted(
        "ok", context="eight ch", examples=examples, messages=["12345678"] * 2 + ["1"], model=Model("m", limit)
    )
    sent = client.requests[0]
    assert (wanted, wanted[1:]) == (kept(response.prompt), (len(sent.examples), len(sent.messages)))


def test_what_cannot_be_trimmed_is_too_long_and_no_model_is_called(chatting: Chatting):
    client = ScriptedClient("a", model=Model("m", 3))
    with pytest.raises(convo.PromptTooLong) as caught:
        chatting.chat(model="m", context="eight ch", messages="12345678", client=client)
    assert ((4, 3), []) == ((caught.value.tokens, caught.value.limit), client.requests)


def test_what_a_service_adds_to_a_message_is_counted(chatting: Chatting):
    response, _ = chatting.scripted("a", messages=["a", "b", "c"], model=Model("m", 9, message_overhead=3))
    assert (8, 2, 1) == (response.prompt.tokens, len(response.prompt.messages), response.prompt.dropped_messages)


def test_the_user_comes_first_where_the_service_wants_it(chatting: Chatting):
    response, _ = chatting.scripted("a", messages=["a", "b", "c"], model=Model("m", 2, user_first=True))
    assert [USER] == [each.side for each in response.prompt.messages]


def test_a_response_keeps_what_was_trimmed(chatting: Chatting):
    response, _ = chatting.scripted("a", examples=["i", "o"], messages=["a", "b", "c"], model=Model("m", 1))
    assert (1, 3, 1, 2) == (
        len(response.examples),
        len(response.messages) - 1,
        response.prompt.dropped_examples,
        response.prompt.dropped_messages,
    )


# ---- going on


def test_a_reply_goes_on_with_everything(chatting: Chatting):
    response, client = chatting.scripted(
        "a", "b", context="c", examples=["i", "o"], messages="hi", temperature=0.5, top_k=3
    )
    after = chatting.reply(response, "ho")
    first, second = client.requests
    assert [("0", "hi"), ("1", "a"), ("0", "ho")] == said(second.messages) == said(after.messages[:-1])
    assert (first.context, first.examples, first.parameters) == (second.context, second.examples, second.parameters)
    assert ("b", "test/model") == (after.last, after.model)


def test_a_reply_follows_the_first_candidate(chatting: Chatting):
    response, client = chatting.scripted(["a", "b"], messages="hi", candidate_count=2)
    chatting.reply(response, "ho")
    assert ["hi", "a", "ho"] == [each.content for each in client.requests[1].messages]


def test_a_reply_leaves_the_response_before_it_as_it_was(chatting: Chatting):
    response, _ = chatting.scripted("a", "b", messages="hi")
    before = repr(response)
    chatting.reply(response, "ho")
    assert (before, "a") == (repr(response), response.last)


def test_two_replies_to_one_response_are_two_ways_to_go_on(chatting: Chatting):
    response, _ = chatting.scripted("a", messages="hi")
    ways = [chatting.reply(response, text) for text in ("left", "right")]
    assert [["hi", "a", "left"], ["hi", "a", "right"]] == [
        [text for _, text in said(way.messages[:-1])] for way in ways
    ]


def test_a_long_chat_of_replies_alternates(chatting: Chatting):
    response = chatting.chat(model="offline/echo", messages="0")
    for number in range(1, 50):
        response = chatting.reply(response, str(number))
    assert [*AUTHORS * 50] == [each.author for each in response.messages]


def test_names_are_kept_when_a_chat_goes_on(chatting: Chatting):
    response, _ = chatting.scripted("a", "b", messages=[by("tom", "hi"), by("cat", "meow"), "ho"])
    after = chatting.reply(response, "and?")
    assert (["tom", "cat", "tom", "cat", "tom", "cat"], "cat", "cat") == (
        [each.author for each in after.messages],
        response.candidates[0].author,
        after.candidates[0].author,
    )


def test_a_stranger_cannot_go_on_with_a_chat(chatting: Chatting):
    response, client = chatting.scripted("a", messages=[by("tom", "hi")])
    with pytest.raises(convo.AuthorError):
        chatting.reply(response, by("jerry", "ho"))
    assert 1 == len(client.requests)


def test_the_user_may_be_named_when_going_on(chatting: Chatting):
    response, _ = chatting.scripted("a", messages=[by("tom", "hi")])
    assert ("tom", "ho") == said(chatting.reply(response, by("tom", "ho")).messages)[-2]


@pytest.mark.parametrize("message", [None, ["a"], 5, "", "a\0"])
def test_a_reply_has_to_be_one_message(chatting: Chatting, message: Any):
    response, client = chatting.scripted("a", messages="hi")
    with pytest.raises((TypeError, convo.InvalidText)):
        chatting.reply(response, message)
    assert 1 == len(client.requests)


# ---- blocked answers


def blocked(chatting: Chatting, *filters: Filter) -> ChatResponse:
    return chatting.scripted(ChatReply((), filters=filters), messages="hi")[0]


def test_a_blocked_answer_is_no_error_and_has_its_reasons(chatting: Chatting):
    response = blocked(chatting, Filter("SAFETY", "why"), Filter("RECITATION"))
    assert (None, [], None) == (response.last, response.candidates, response.messages[-1])
    assert [{"reason": BlockedReason.SAFETY, "message": "why"}, {"reason": "RECITATION"}] == response.filters
    assert isinstance(response.filters[0]["reason"], BlockedReason)


@pytest.mark.parametrize(
    ("filters", "told"), [([], "none given"), ([Filter("SAFETY"), Filter("OTHER")], "SAFETY, OTHER")]
)
def test_there_is_no_going_on_from_a_blocked_answer(chatting: Chatting, filters: list[Filter], told: str):
    response = blocked(chatting, *filters)
    with pytest.raises(convo.ReplyBlocked, match=rf"no answer \(reasons: {told}\)") as caught:
        chatting.reply(response, "ho")
    assert isinstance(caught.value, ValueError)


def test_a_blocked_answer_may_be_given_by_hand(chatting: Chatting):
    response, client = chatting.scripted(ChatReply((), filters=(Filter("OTHER"),)), "b", messages="hi")
    response.last = "what it might have said"
    after = chatting.reply(response, "ho")
    assert [("0", "hi"), ("1", "what it might have said"), ("0", "ho")] == said(client.requests[1].messages)
    assert ("b", []) == (after.last, after.filters)


def test_some_candidates_may_be_blocked(chatting: Chatting):
    response, _ = chatting.scripted(ChatReply((Candidate(0, "a"),), filters=(Filter("OTHER"),)), messages="hi")
    assert ("a", 1) == (response.last, len(response.filters))


# ---- the model that answers


def test_the_default_model_is_retired_and_the_embedded_one_answers(chatting: Chatting):
    with pytest.warns(convo.RetiredModelWarning, match="offline/eliza answers instead"):
        response = chatting.chat(messages="Hello")
    assert ("models/chat-bison-001", "offline/eliza", True) == (
        response.model,
        response.served_by,
        bool(response.last),
    )


def test_a_reply_of_the_retired_model_comes_from_the_same_one(chatting: Chatting):
    with pytest.warns(convo.RetiredModelWarning):
        response = chatting.chat(messages="Hello").reply("I am sad.")
    assert ("models/chat-bison-001", "offline/eliza") == (response.model, response.served_by)


def test_a_service_may_answer_under_another_name(chatting: Chatting):
    response, _ = chatting.scripted(ChatReply((Candidate(0, "a"),), served_by="test/model-2026"), messages="hi")
    assert ("test/model", "test/model-2026") == (response.model, response.served_by)


def test_an_example_is_followed_on_a_fresh_machine(chatting: Chatting):
    response = chatting.chat(model="offline/eliza", examples=[("hello", "meow")], messages="hello")
    assert "meow" == response.last


def test_candidates_that_cannot_be_stored_are_repaired(chatting: Chatting):
    response, _ = chatting.scripted("a\0", messages="hi")
    assert ("a\ufffd", 1) == (response.last, response.candidates[0].repaired)


def test_the_values_of_a_response_cannot_be_changed(chatting: Chatting):
    response, _ = chatting.scripted("a", messages="hi")
    for value in (response.messages[0], response.candidates[0]):
        with pytest.raises(AttributeError):
            value.content = "another"
        with pytest.raises(TypeError):
            value["content"] = "another"


# ---- promises, at the sizes of real chats

CONTEXT, LIMIT = "Be brief.", 4096


@pytest.mark.parametrize("shown", [1, 200])
def test_ten_thousand_and_one_messages_fit_a_model_of_4096_tokens(chatting: Chatting, shown: int):
    history = [f"message number {number:05}" for number in range(10_001)]
    shapes = [(f"input {number}", f"output {number}") for number in range(shown)]
    response = chatting.chat(model="offline/eliza", context=CONTEXT, examples=shapes, messages=history)
    fit = response.prompt
    assert (LIMIT, CONTEXT, shown, 0) == (fit.limit, fit.context, len(fit.examples), fit.dropped_examples)
    assert history[-len(fit.messages) :] == [each.content for each in fit.messages]
    assert (10_001, True) == (fit.dropped_messages + len(fit.messages), LIMIT - 5 <= fit.tokens <= LIMIT)


def test_examples_that_alone_exceed_the_limit_go_after_all_old_messages_the_oldest_first(chatting: Chatting):
    shapes = [(f"input {number:04}", f"output {number:04}") for number in range(2000)]
    response = chatting.chat(model="offline/eliza", context=CONTEXT, examples=shapes, messages=["a", "b"] * 500 + ["c"])
    fit = response.prompt
    assert (["c"], 1000, CONTEXT) == ([each.content for each in fit.messages], fit.dropped_messages, fit.context)
    assert shapes[fit.dropped_examples :] == [(each.input, each.output) for each in fit.examples]
    assert (True, True) == (0 < fit.dropped_examples < 2000, LIMIT - 6 <= fit.tokens <= LIMIT)
    assert 2000 == len(response.examples)  # trimming is a view here too


# ---- how many tokens


@pytest.mark.parametrize(
    ("arguments", "texts", "tokens"),
    [
        ({}, 0, 0),
        ({"messages": "12345678"}, 1, 2),
        ({"context": "1234", "examples": ["1", "2"], "messages": ["1", "2", "3"]}, 6, 6),
        ({"prompt": {"messages": ["1", "2"]}}, 2, 2),
        ({"prompt": "1234"}, 1, 1),
    ],
)
@pytest.mark.parametrize("overhead", [0, 3])
def test_tokens_are_counted_as_they_are_sent(arguments: dict[str, Any], texts: int, tokens: int, overhead: int):
    client = ScriptedClient(model=Model("m", 9, message_overhead=overhead))
    counted = convo.count_message_tokens(model="m", client=client, **arguments)
    assert {"token_count": tokens + texts * overhead} == counted
    assert [] == client.requests


class Counting(ScriptedClient):
    """A model whose service counts before it answers."""

    def __init__(self, *counts: int | Exception | None) -> None:
        super().__init__()
        self.counts, self.counted = list(counts), []

    def count_tokens(self, request: convo.ChatRequest, *, deadline_s: float) -> int | None:
        self.counted.append(request)
        count = self.counts[min(len(self.counted), len(self.counts)) - 1]
        if isinstance(count, Exception):
            raise count
        return count


PROMPT = {"context": "c", "examples": ["i", "o"], "messages": ["a", "b", "c"]}


def test_a_service_that_counts_is_asked():
    client = Counting(2095)
    assert {"token_count": 2095} == convo.count_message_tokens(model="m", client=client, **PROMPT)
    [request] = client.counted
    assert ("m", "c", ["i"], ["a", "b", "c"], [0, 1, 0]) == (
        request.model,
        request.context,
        [each.input for each in request.examples],
        [each.content for each in request.messages],
        [each.side for each in request.messages],
    )


def test_a_service_that_counts_is_not_asked_about_nothing():
    client = Counting(2095)
    assert {"token_count": 1} == convo.count_message_tokens(model="m", client=client, context="c")
    assert [] == client.counted


def test_a_service_that_counts_nothing_leaves_it_to_the_estimate():
    assert {"token_count": 6} == convo.count_message_tokens(model="m", client=Counting(None), **PROMPT)


def test_a_count_is_asked_for_again_as_the_request_options_say():
    client = Counting(convo.ServerFailed("x", 503), 7)
    options = {"retry": convo.Retry(initial_s=0, maximum_s=0)}
    counted = convo.count_message_tokens(model="m", client=client, request_options=options, messages="a")
    assert ({"token_count": 7}, 2) == (counted, len(client.counted))


@pytest.mark.parametrize(
    ("count", "error"),
    [
        (convo.ServerFailed("x", 503), convo.ServerFailed),
        (ValueError(), convo.ModelError),
        (-1, convo.BadModelResponse),
        ("7", convo.BadModelResponse),
    ],
)
def test_a_count_that_fails_has_a_type(count: Any, error: type[Exception]):
    client = Counting(count)
    with pytest.raises(error):
        convo.count_message_tokens(model="m", client=client, messages="a")
    assert 1 == len(client.counted)


def test_a_count_has_its_timeout():
    client = Counting(convo.ServerFailed("x", 503))
    options = {"retry": convo.Retry(attempts=99, initial_s=0.1, maximum_s=0.1), "timeout": 0.25}
    with pytest.raises(convo.ServerFailed):
        convo.count_message_tokens(model="m", client=client, request_options=options, messages="a")
    assert len(client.counted) < 4


def test_a_prompt_that_fits_has_as_many_tokens_as_were_counted(chatting: Chatting):
    asked = {"model": "offline/eliza", "context": "c", "examples": ["i", "o"], "messages": ["a", "b", "c"]}
    assert chatting.chat(**asked).prompt.tokens == convo.count_message_tokens(**asked)["token_count"]


# ---- clients


class Awaited(ScriptedClient):
    chat = None


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: convo.chat(client=object(), messages="hi"), "which chat() needs; chat_async() takes others"),
        (lambda: convo.chat(client=Awaited(), messages="hi"), "which chat() needs; chat_async() takes others"),
        (lambda: convo.count_message_tokens(client=object()), "with chat() or chat_async()"),
    ],
)
def test_what_is_no_client_is_a_type_error(call: Any, told: str):
    with pytest.raises(TypeError) as caught:
        call()
    assert told in str(caught.value)


def test_a_chat_may_be_blocked_for_reasons_of_its_service(chatting: Chatting):
    response, _ = chatting.scripted(ChatReply((), filters=(Filter("PROHIBITED_CONTENT"),)), messages="hi")
    with pytest.raises(convo.ReplyBlocked) as caught:
        chatting.reply(response, "ho")
    assert ("PROHIBITED_CONTENT",) == caught.value.reasons


# ---- which line a warning is about


@pytest.mark.parametrize(
    "call",
    [
        lambda: convo.chat(messages="Hello").reply("ho"),
        lambda: convo.count_message_tokens(messages="Hello"),
        lambda: convo.get_model("models/chat-bison-001"),
    ],
)
def test_a_warning_is_about_the_line_that_calls(call: Any):
    with pytest.warns(convo.RetiredModelWarning) as caught:
        call()
    assert {__file__} == {each.filename for each in caught}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_warning_is_about_the_line_that_awaits(backend: str):
    async def awaits() -> None:
        response = await convo.chat_async(messages="Hello")
        await response.reply_async("ho")

    with pytest.warns(convo.RetiredModelWarning) as caught:
        anyio.run(awaits, backend=backend)
    assert [__file__] * 2 == [each.filename for each in caught]


# ---- a response that was edited


@pytest.mark.parametrize(
    ("edit", "wanted"),
    [
        (lambda response: response.examples.append(("i", "o")), ("", 1, "a", "test/model")),
        (lambda response: setattr(response, "examples", [{"input": "i", "output": "o"}]), ("", 1, "a", "test/model")),
        (lambda response: setattr(response, "context", "c"), ("c", 0, "a", "test/model")),
        (lambda response: setattr(response, "model", Model("z", 9)), ("", 0, "a", "z")),
        (lambda response: response.messages.__setitem__(-1, "by hand"), ("", 0, "by hand", "test/model")),
        (lambda response: response.messages.__setitem__(-1, {"content": "b"}), ("", 0, "b", "test/model")),
    ],
)
def test_what_a_program_changes_of_a_response_is_read_as_chat_reads_it(chatting: Chatting, edit: Any, wanted: Any):
    response, client = chatting.scripted("a", messages="hi")
    edit(response)
    assert wanted[2] == response.last
    after = chatting.reply(response, "ho")
    request = client.requests[1]
    assert wanted == (request.context or "", len(request.examples), request.messages[1].content, after.model)
    assert json.loads(json.dumps(after.to_dict()))["messages"][1] == by("1", wanted[2])


@pytest.mark.parametrize(
    ("edit", "kind"),
    [
        (lambda response: setattr(response, "context", "a\0"), convo.InvalidText),
        (lambda response: setattr(response, "context", 5), TypeError),
        (lambda response: setattr(response, "temperature", -1), convo.InvalidParameter),
        (lambda response: response.messages.append("next"), convo.InvalidInput),
        (lambda response: response.messages.__setitem__(0, None), TypeError),
    ],
)
def test_what_a_program_spoils_of_a_response_is_refused(chatting: Chatting, edit: Any, kind: type[Exception]):
    response, client = chatting.scripted("a", messages="hi")
    edit(response)
    with pytest.raises(kind):
        chatting.reply(response, "ho")
    assert 1 == len(client.requests)


def test_an_author_of_the_answer_that_differs_from_the_turns_before_is_refused(chatting: Chatting):
    response, _ = chatting.scripted("a", "b", messages="hi")
    response.last = by("bot", "c")  # nobody was named before
    after = chatting.reply(response, "ho")
    with pytest.raises(convo.AuthorError):
        after.last = by("another", "d")
    assert [("0", "hi"), ("bot", "c"), ("0", "ho"), ("bot", "b")] == said(after.messages)


# ---- clients whose answers cannot be used


LIMITS = [None, "4096", 0, True, float("nan")]


@pytest.mark.parametrize("model", [*(Model("m", limit) for limit in LIMITS), Model("m", 9, message_overhead=None)])
def test_a_limit_that_cannot_be_counted_with_is_the_clients_fault(chatting: Chatting, model: Any):
    with pytest.raises(convo.BadModelResponse, match="of the client's model must be a whole number from"):
        chatting.scripted("a", messages="hi", model=model)


@pytest.mark.parametrize("cited", [CitationMetadata(5), "x", {"citation_sources": [{"uri": 5}]}])
def test_an_answer_is_not_lost_for_its_citations(chatting: Chatting, cited: Any):
    response, _ = chatting.scripted(ChatReply((Candidate(0, "a", citation_metadata=cited),)), messages="hi")
    assert [by("1", "a")] == response.to_dict()["candidates"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_chat_for_which_there_is_no_thread_is_a_model_error(backend: str, monkeypatch: pytest.MonkeyPatch):
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(convo.ModelError, match="could not be asked for m: can't start new thread"):
        anyio.run(partial(convo.chat_async, model="m", client=ScriptedClient(), messages="hi"), backend=backend)
