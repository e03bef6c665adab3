"""What `google.generativeai.chat` did, shape by shape, and what `convo.chat` does: the same, or another by design.

Each row has a section of the behaviour of google-generativeai 0.7.2 (the last release with `chat`), what came out
there, and what comes out here. Where they differ, the row names the line of the table in docs/chat.md that tells why.
"""

from __future__ import annotations

import inspect
import json
import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest

import convo
from convo import (
    Candidate,
    ChatReply,
    ChatResponse,
    CitationMetadata,
    CitationSource,
    Example,
    Filter,
    Message,
    MessagePrompt,
    RequestOptions,
    types,
)
from convo.testing import ScriptedClient
from tests.chatting import Chatting, by, said

SAME = object()
"""What comes out here is what came out there."""


class Row(NamedTuple):
    """One thing that a program may do."""

    section: str
    name: str
    do: Callable[[Chatting], Any]
    there: Any
    """A value, or the type of an error."""
    here: Any = SAME
    why: str | None = None
    """The first cell of the line in docs/chat.md that tells why they differ."""


def chats(**arguments: Any) -> Callable[[Chatting], ChatResponse]:
    """Chat with a model that answers "answer"."""
    return lambda chatting: chatting.scripted("answer", **{"messages": "hi", **arguments})[0]


def asks(**arguments: Any) -> Callable[[Chatting], str | None]:
    """Chat, and return the answer."""
    return lambda chatting: chats(**arguments)(chatting).last


def asked_of(model: Any, **arguments: Any) -> Callable[[Chatting], str]:
    """Return the name of the model that is asked."""
    return lambda chatting: chatting.chat(model=model, client=ScriptedClient(), messages="hi", **arguments).model


def parameter(name: str, value: Any) -> Callable[[Chatting], Any]:
    """Return what of a parameter is sent."""

    def do(chatting: Chatting) -> Any:
        _, client = chatting.scripted("answer", messages="hi", **{name: value})
        return getattr(client.requests[0].parameters, name)

    return do


def messages(shape: Any) -> Callable[[Chatting], Any]:
    """Return authors and texts of what is sent."""
    return lambda chatting: said(chats(messages=shape)(chatting).messages[:-1])


def generated(chatting: Chatting) -> Any:
    """Return what is sent of messages that can be read once."""
    return messages(each for each in "abc")(chatting)


def examples(shape: Any) -> Callable[[Chatting], Any]:
    """Return inputs and outputs of what is sent."""
    return lambda chatting: [(each.input, each.output) for each in chats(examples=shape)(chatting).examples]


def prompt(shape: Any, **parts: Any) -> Callable[[Chatting], Any]:
    """Return the texts of a prompt."""

    def do(chatting: Chatting) -> Any:
        response = chatting.scripted("answer", prompt=shape, **parts)[0]
        return response.context, len(response.examples), said(response.messages[:-1])

    return do


def unchanged(make: Callable[[], Any], argument: str) -> Callable[[Chatting], bool]:
    """Return whether what the caller passed in is as it was."""

    def do(chatting: Chatting) -> bool:
        given = make()
        before = repr(given)
        others = {} if argument in ("messages", "prompt") else {"messages": "hi"}
        chatting.scripted("answer", **{argument: given}, **others)
        return before == repr(given)

    return do


def shared(value: Any, argument: str, found: Callable[[ChatResponse], Any]) -> Callable[[Chatting], bool]:
    """Return whether the caller's own object is in the response."""
    return lambda chatting: found(chats(**{argument: value})(chatting)) is value


def answered(
    *answers: Any, then: Callable[[Chatting, ChatResponse], Any], **arguments: Any
) -> Callable[[Chatting], Any]:
    """Do something with the response to a chat whose model follows a script."""

    def do(chatting: Chatting) -> Any:
        return then(chatting, chatting.scripted(*answers, **{"messages": "hi", **arguments})[0])

    return do


def blocked(then: Callable[[Chatting, ChatResponse], Any], *filters: Filter) -> Callable[[Chatting], Any]:
    return answered(ChatReply((), filters=filters), "after", then=then)


def set_last(value: Any) -> Callable[[Chatting, ChatResponse], Any]:
    """Return the last message when `value` was set as the answer."""

    def then(_: Chatting, response: ChatResponse) -> Any:
        response.last = value
        return said(response.messages[-1:])

    return then


def replying(message: Any, **named: Any) -> Callable[[Chatting, ChatResponse], Any]:
    """Return what is sent when the chat goes on."""
    return lambda chatting, response: said(chatting.reply(response, message, **named).messages[:-1])


def counting(**arguments: Any) -> Callable[[Chatting], Any]:
    return lambda _: convo.count_message_tokens(model="m", client=ScriptedClient(), **arguments)


def after_block_by_hand(chatting: Chatting, response: ChatResponse) -> Any:
    response.last = "by hand"
    return replying("ho")(chatting, response)


def rehydrated(chatting: Chatting, response: ChatResponse) -> Any:
    kept = json.loads(json.dumps(response.to_dict()))
    del kept["candidates"]
    kept["messages"].append("ho")
    return said(chatting.chat(**kept, client=ScriptedClient("b")).messages)


def with_none_inside(chatting: Chatting, response: ChatResponse) -> Any:
    kept = {**response.to_dict(), "messages": [*response.to_dict()["messages"], "ho"]}
    kept.pop("candidates")
    return said(chatting.chat(**kept, client=ScriptedClient("b")).messages)


def carried(chatting: Chatting, response: ChatResponse) -> list[Any]:
    response.model = "m"
    after = chatting.reply(response, "ho")
    parameters = [after.temperature, after.candidate_count, after.top_p, after.top_k]
    return [after.model, after.context, len(after.examples), *parameters]


class Awaited:
    """A client that can only be awaited."""

    def get_model(self, name: str) -> convo.Model:
        return convo.Model(name, 4096)

    async def chat_async(self, request: convo.ChatRequest, *, deadline_s: float) -> ChatReply:
        return ChatReply((Candidate(0, "answer"),))


class Waiting:
    """A client that cannot be awaited."""

    def get_model(self, name: str) -> convo.Model:
        return convo.Model(name, 4096)

    def chat(self, request: convo.ChatRequest, *, deadline_s: float) -> ChatReply:
        return ChatReply((Candidate(0, "answer"),))


def in_a_loop(call: Callable[..., Any], *given: Any, **named: Any) -> Any:
    async def awaited() -> Any:
        return await call(*given, **named)

    return anyio.run(awaited)


X, Y = by("x", "a"), by("y", "c")
A, B, C = [("0", "a"), ("1", "b"), ("0", "c")]
ONE, TWO = [("a", "b")], [("a", "b"), ("c", "d")]
CITED = CitationMetadata((CitationSource(0, 5, "u", "MIT"),))
CITED_DICT = {"citation_sources": [{"start_index": 0, "end_index": 5, "uri": "u", "license_": "MIT"}]}
FIELDS = ["model", "context", "examples", "messages", "temperature", "candidate_count"]
FIELDS += ["candidates", "filters", "top_p", "top_k", "_client"]
NINE = ["model", "context", "examples", "messages", "temperature", "candidate_count", "top_p", "top_k", "candidates"]

SURFACE = [
    Row("1", "a positional argument", lambda _: convo.chat("hi"), TypeError),
    Row("1", "an unknown argument", lambda _: convo.chat(message="hi"), TypeError),
    Row("1", "a bad model beside a conflict", asked_of(5, prompt="hi"), TypeError),
    Row("1", "a model that is None", asks(model=None), TypeError, "answer", "`model=None`"),
    Row("1", "a model by name", asked_of("models/x"), "models/x"),
    Row("1", "a model as a Model", asked_of(convo.Model("models/x", 9)), "models/x"),
    Row("1", "a model of another provider", asked_of("openai/x"), ValueError, "openai/x", "Model names"),
    Row("1", "a model that nobody has", lambda _: convo.chat(model="gpt", messages="hi"), ValueError),
    Row("1", "temperature -1", parameter("temperature", -1), -1.0, ValueError, "Values outside their range"),
    Row("1", "temperature 0 is sent", parameter("temperature", 0), 0.0),
    Row("1", "temperature 5.5", parameter("temperature", 5.5), 5.5),
    Row("1", "temperature 0.2 stays it", parameter("temperature", 0.2), 0.2),
    Row("1", "temperature True", parameter("temperature", True), 1.0, TypeError, "Numbers"),
    Row("1", "temperature as text", parameter("temperature", "0.5"), TypeError),
    Row("1", "top_p 2", parameter("top_p", 2), 2.0, ValueError, "Values outside their range"),
    Row("1", "candidate_count 0", parameter("candidate_count", 0), 0, ValueError, "Values outside their range"),
    Row("1", "candidate_count 9", parameter("candidate_count", 9), 9, ValueError, "Values outside their range"),
    Row("1", "candidate_count -1", parameter("candidate_count", -1), -1, ValueError, "Values outside their range"),
    Row("1", "candidate_count 1.0", parameter("candidate_count", 1.0), TypeError, 1, "Numbers"),
    Row("1", "top_k 40.0", parameter("top_k", 40.0), TypeError, 40, "Numbers"),
    Row("1", "top_k 1.5", parameter("top_k", 1.5), TypeError, ValueError, "Numbers"),
    Row("1", "top_k as text", parameter("top_k", "2"), TypeError),
    Row("1", "None is not sent", parameter("top_k", None), None),
]

MESSAGE = [
    Row(
        "1.1",
        "a caller's Message in the response",
        shared(Message("x", "a"), "messages", lambda response: response.messages[0]),
        True,
        False,
        "Callers' own objects",
    ),
    Row("1.1", "a text", messages("a"), [A]),
    Row("1.1", "an empty text", messages(""), [("0", "")], ValueError, "Empty texts"),
    Row("1.1", "a dictionary", messages({"content": "a"}), [A]),
    Row("1.1", "a dictionary with an author", messages(X), [("x", "a")]),
    Row("1.1", "an author that is None", messages({"author": None, "content": "a"}), [A]),
    Row("1.1", "an empty dictionary", messages({}), [("0", "")], TypeError, "Empty texts"),
    Row("1.1", "only an author", messages({"author": "x"}), [("x", "")], TypeError, "Empty texts"),
    Row("1.1", "another key", messages({"role": "user", "content": "a"}), ValueError),
    Row("1.1", "content that is no text", messages({"content": 5}), TypeError),
    Row("1.1", "None", messages([None]), [("0", "")], TypeError, "Empty texts"),
    *(
        Row("1.1", f"a message that is {what}", messages([value]), TypeError)
        for what, value in [("a number", 5), ("bytes", b"a"), ("a list", ["a"]), ("a tuple", ("a",))]
    ),
    Row(
        "1.1",
        "citations",
        lambda chatting: chats(messages={"content": "a", "citation_metadata": CITED_DICT})(chatting).messages[0],
        {"author": "0", "content": "a", "citation_metadata": CITED_DICT},
    ),
    Row(
        "1.1",
        "a citation's license without its underscore",
        messages({"content": "a", "citation_metadata": {"citation_sources": [{"license": "MIT"}]}}),
        ValueError,
    ),
]

MESSAGES = [
    Row("1.2", "one Message", messages(Message("", "a")), [A]),
    Row("1.2", "a list", messages(["a", "b", "c"]), [A, B, C]),
    Row("1.2", "a tuple", messages(("a", "b", "c")), [A, B, C]),
    Row("1.2", "a generator", generated, [A, B, C]),
    Row("1.2", "a set", messages({"a"}), [A]),
    Row("1.2", "a number", messages(5), TypeError),
    Row("1.2", "a list in a list", messages([["a"]]), TypeError),
    Row("1.2", "no message", asks(messages=[]), "answer", ValueError, "No message"),
    Row("1.2", "a user's name", messages([by("me", "a"), "b", "c"]), [("me", "a"), B, ("me", "c")]),
    Row("1.2", "a model's name", messages(["a", by("bot", "b"), "c"]), [A, ("bot", "b"), C]),
    Row("1.2", "a name at the end", messages(["a", "b", by("me", "c")]), [("me", "a"), B, ("me", "c")]),
    Row("1.2", "two names of the user", messages([X, "b", Y]), convo.AuthorError),
    Row("1.2", "two names of the model", messages(["a", X, "c", Y, "e"]), convo.AuthorError),
    Row("1.2", "one name on both sides", messages([X, by("x", "b"), "c"]), [("x", "a"), ("x", "b"), ("x", "c")]),
    Row(
        "1.2",
        "the model's name on the user's side",
        messages([by("1", "a"), "b", "c"]),
        [("1", each) for each in "abc"],
    ),
    Row(
        "1.2",
        "the user's name on the model's side",
        messages(["a", by("0", "b"), "c"]),
        [("0", each) for each in "abc"],
    ),
    Row("1.2", "an author of no letters", messages([by("", "a"), "b", "c"]), [A, B, C]),
    Row("1.2", "an even number", messages(["a", "b"]), [A, B], ValueError, "An even number of messages"),
    Row("1.2", "the model spoke first", messages([by("1", "a"), by("0", "b")]), [("1", "a"), ("0", "b")]),
    Row(
        "1.2",
        "a caller's Message afterwards",
        unchanged(lambda: [Message("", "a")], "messages"),
        False,
        True,
        "Callers' own objects",
    ),
    Row("1.2", "a caller's dictionary afterwards", unchanged(lambda: [{"content": "a"}], "messages"), True),
    Row("1.2", "whether an AuthorError is a ValueError", lambda _: issubclass(types.AuthorError, ValueError), False),
    Row("1.2", "whether types has AuthorError", lambda _: types.AuthorError is convo.AuthorError, True),
]

EXAMPLE = [
    Row(
        "1.3",
        "a caller's Example in the response",
        shared(Example("a", "b"), "examples", lambda response: response.examples[0]),
        True,
        False,
        "Callers' own objects",
    ),
    Row("1.3", "a dictionary", examples([{"input": "a", "output": "b"}]), ONE),
    Row("1.3", "a dictionary of messages", examples({"input": {"content": "a"}, "output": Message("", "b")}), ONE),
    Row("1.3", "no output", examples({"input": "a"}), KeyError),
    Row("1.3", "another key", examples({"input": "a", "output": "b", "x": "c"}), ValueError),
    Row("1.3", "a tuple of three", examples([("a", "b", "c")]), ValueError),
    Row("1.3", "a tuple of one", examples([("a",)]), ValueError),
    Row("1.3", "a text among pairs", examples([["a", "b"], "cd"]), TWO, TypeError, "Examples as a bare string"),
    Row("1.3", "None", examples([None]), [("", "")], TypeError, "Empty texts"),
    Row("1.3", "a number among pairs", examples([("a", "b"), 5]), TypeError),
    Row("1.3", "a Message among pairs", examples([("a", "b"), Message("", "c")]), TypeError),
    Row(
        "1.3",
        "a caller's dictionary afterwards",
        unchanged(lambda: [{"input": "a", "output": {"content": "b"}}], "examples"),
        True,
    ),
]

EXAMPLES = [
    Row("1.4", "one Example", examples(Example("a", "b")), ONE),
    Row("1.4", "one dictionary", examples({"input": "a", "output": "b"}), ONE),
    Row("1.4", "a message's dictionary", examples({"content": "a"}), KeyError),
    Row("1.4", "none", examples([]), []),
    Row("1.4", "a list that begins with half an example", examples([{"input": "a"}]), TypeError),
    Row("1.4", "a list that begins with an author", examples([{"author": "x"}]), TypeError),
    Row("1.4", "a flat list", examples(["a", "b", "c", "d"]), TWO),
    Row("1.4", "a flat list of all kinds", examples([Message("", "a"), "b", {"content": "c"}, "d"]), TWO),
    Row("1.4", "a flat list of odd length", examples(["a", "b", "c"]), ValueError),
    Row("1.4", "a tuple in a flat list", examples(["a", ("b", "c")]), TypeError),
    Row("1.4", "an example in a flat list", examples(["a", {"input": "b", "output": "c"}]), ValueError),
    Row("1.4", "a tuple of two texts", examples(("a", "b")), ONE),
    Row("1.4", "a list of one pair", examples([("a", "b")]), ONE),
    Row("1.4", "a list that begins with an Example", examples([Example("a", "b"), ("c", "d")]), TWO),
    Row("1.4", "pairs of all kinds", examples([("a", "b"), {"input": "c", "output": "d"}]), TWO),
    Row("1.4", "a second one without output", examples([("a", "b"), {"input": "c"}]), KeyError),
    Row("1.4", "a text of two letters", examples("ab"), ONE, TypeError, "Examples as a bare string"),
    Row("1.4", "a text of three letters", examples("abc"), ValueError, TypeError, "Examples as a bare string"),
    Row("1.4", "an empty text", examples(""), [], TypeError, "Examples as a bare string"),
    Row("1.4", "a number", examples(5), TypeError),
    Row("1.4", "one Message", examples(Message("", "a")), TypeError),
    Row(
        "1.4",
        "an author in an example",
        lambda chatting: chats(examples=[by("x", "a"), "b"])(chatting).examples[0]["input"]["author"],
        "x",
        "",
        "Authors in examples",
    ),
    Row(
        "1.4",
        "no author in an example",
        lambda chatting: chats(examples=["a", "b"])(chatting).examples,
        [{"input": by("", "a"), "output": by("", "b")}],
    ),
]

PROMPT = [
    Row("1.5", "beside a context", prompt("hi", context="c"), ValueError),
    Row("1.5", "beside an empty context", prompt("hi", context=""), ValueError),
    Row("1.5", "an empty one beside no messages", prompt({}, messages=[]), ValueError),
    Row("1.5", "beside examples", prompt({"messages": "a"}, examples=[]), ValueError),
    Row(
        "1.5",
        "a MessagePrompt without authors",
        prompt(MessagePrompt("c", messages=(Message("", "a"),))),
        ("c", 0, [("", "a")]),
        ("c", 0, [A]),
        "A `MessagePrompt`",
    ),
    Row("1.5", "its three parts", prompt({"context": "c", "examples": ["i", "o"], "messages": "a"}), ("c", 1, [A])),
    Row("1.5", "another key", prompt({"messages": "a", "history": []}), KeyError),
    Row("1.5", "a message's dictionary", prompt({"content": "a"}), KeyError),
    Row("1.5", "a text", prompt("a"), ("", 0, [A])),
    Row("1.5", "a Message", prompt(Message("", "a")), ("", 0, [A])),
    Row("1.5", "a list of messages", prompt(["a", "b", "c"]), ("", 0, [A, B, C])),
    Row(
        "1.5",
        "a caller's dictionary afterwards",
        unchanged(lambda: {"messages": ["hi"], "examples": [{"input": "a", "output": "b"}]}, "prompt"),
        False,
        True,
        "Callers' own objects",
    ),
    Row("1.5", "parts that are None", prompt({"context": None, "examples": None, "messages": "a"}), ("", 0, [A])),
    Row("1.5", "an empty one", prompt({}), ("", 0, []), ValueError, "No message"),
    Row("1.5", "a blank context", prompt({"context": " ", "messages": "a"}), (" ", 0, [A]), ValueError, "Empty texts"),
    Row("1.5", "only a context", asks(messages=None, context="c"), "answer", ValueError, "No message"),
    Row("1.5", "a context that is a number", prompt({"context": 5, "messages": "a"}), TypeError),
    Row("1.5", "a context that is a list", asks(context=["c"]), TypeError),
]

OPTIONS = [
    Row("1.6", f"types.{name}", lambda _, name=name: hasattr(types, name), True)
    for name in (
        *("MessageDict", "MessageOptions", "MessagesOptions", "ExampleDict", "ExampleOptions", "ExamplesOptions"),
        *("MessagePromptDict", "MessagePromptOptions", "ResponseDict", "ChatResponse", "AuthorError", "Model"),
        *("RequestOptions", "RequestOptionsType", "AnyModelNameOptions", "BlockedReason", "CitationMetadataDict"),
    )
]

CALL = [
    Row("1.7", "request_options None", asks(request_options=None), "answer"),
    Row("1.7", "request_options of a dictionary", asks(request_options={"timeout": 5}), "answer"),
    Row("1.7", "RequestOptions", asks(request_options=RequestOptions(timeout=5)), "answer"),
    Row("1.7", "an unknown request option", asks(request_options={"timeot": 5}), TypeError),
    Row("1.7", "RequestOptions with another name", lambda _: RequestOptions(timeot=5), TypeError),
    Row("1.7", "another key of RequestOptions", lambda _: RequestOptions()["timeot"], KeyError),
    Row("1.7", "the keys of RequestOptions", lambda _: sorted(RequestOptions()), ["retry", "timeout"]),
    Row("1.7", "a client of the retired service", asks(client=object()), AttributeError, TypeError, "`client`"),
    Row("1.7", "a ChatResponse of nothing", lambda _: bool(ChatResponse()), True, TypeError, "Making a `ChatResponse`"),
    Row(
        "1.7",
        "what is unset in a response",
        answered(
            "a",
            then=lambda _, response: [
                response.context,
                response.examples,
                response.temperature,
                response.candidate_count,
                response.top_p,
                response.top_k,
            ],
        ),
        ["", [], None, None, None, None],
    ),
    Row(
        "1.7",
        "fields of a response, in order",
        answered("a", then=lambda _, response: [name for name in vars(response) if name in FIELDS]),
        FIELDS,
    ),
    Row(
        "1.7",
        "what a reply carries",
        answered("a", "b", then=carried, context="c", examples=["i", "o"], temperature=0.5, top_p=0.9, top_k=3),
        ["m", "c", 1, 0.5, None, 0.9, 3],
    ),
    Row(
        "1.7",
        "messages of a response",
        answered("a", then=lambda _, response: response.messages),
        [by("0", "hi"), by("1", "a")],
    ),
    Row(
        "1.7",
        "whether the last message equals candidate 0",
        answered("a", then=lambda _, response: response.messages[-1] == response.candidates[0]),
        True,
    ),
    Row(
        "1.7",
        "whether the last message is candidate 0",
        answered("a", then=lambda _, response: response.messages[-1] is response.candidates[0]),
        True,
        False,
        "The last message",
    ),
    Row("1.7", "candidates", answered("a", then=lambda _, response: response.candidates), [by("1", "a")]),
    Row(
        "1.7",
        "citations of a candidate",
        answered(
            ChatReply((Candidate(0, "a", citation_metadata=CITED),)), then=lambda _, response: response.candidates[0]
        ),
        {**by("1", "a"), "citation_metadata": CITED_DICT},
    ),
    Row(
        "1.7",
        "the author of a candidate that the service names",
        answered(
            ChatReply((Candidate(0, "a", author="bard"),)), then=lambda _, response: response.candidates[0]["author"]
        ),
        "bard",
        "1",
        "Authors of answers",
    ),
    Row(
        "1.7",
        "candidates that are alike",
        answered(["a", "a", "b"], candidate_count=3, then=lambda _, response: len(response.candidates)),
        3,
        2,
        "Promises of the page",
    ),
    Row(
        "1.7",
        "candidates at temperature 0",
        answered(["a", "b"], candidate_count=2, temperature=0, then=lambda _, response: len(response.candidates)),
        2,
        1,
        "Promises of the page",
    ),
    Row("1.7", "no filters", answered("a", then=lambda _, response: response.filters), []),
    Row(
        "1.7",
        "filters",
        blocked(lambda _, response: response.filters, Filter("SAFETY", "why"), Filter("OTHER")),
        [
            {"reason": types.BlockedReason.SAFETY, "message": "why"},
            {"reason": types.BlockedReason.OTHER},
        ],
    ),
    Row(
        "1.7",
        "filters beside candidates",
        answered(
            ChatReply((Candidate(0, "a"),), filters=(Filter("OTHER"),)),
            then=lambda _, response: (response.last, len(response.filters)),
        ),
        ("a", 1),
    ),
    Row("1.7", "BlockedReason.SAFETY", lambda _: types.BlockedReason.SAFETY == 1, True, False, "`BlockedReason`"),
    Row("1.7", "BlockedReason's names", lambda _: types.BlockedReason["OTHER"].name, "OTHER"),
    Row("1.7", "last", answered("a", then=lambda _, response: response.last), "a"),
    Row(
        "1.7",
        "last of no messages",
        answered("a", then=lambda _, response: (response.messages.clear(), response.last)),
        IndexError,
    ),
    Row(
        "1.7",
        "last set to a text",
        answered("a", then=set_last("b")),
        [("", "b")],
        [("1", "b")],
        "`last` set to a text",
    ),
    Row(
        "1.7",
        "last set to another candidate",
        answered(
            ["a", "b"],
            candidate_count=2,
            then=lambda chatting, response: set_last(response.candidates[1])(chatting, response),
        ),
        [("1", "b")],
    ),
    Row("1.7", "last set to None", answered("a", then=set_last(None)), [("", "")], TypeError, "Empty texts"),
    Row("1.7", "last set to a number", answered("a", then=set_last(5)), TypeError),
    Row(
        "1.7",
        "candidates after last was set",
        answered(
            "a",
            then=lambda chatting, response: (set_last("b")(chatting, response), response.candidates[0]["content"])[1],
        ),
        "a",
    ),
    Row("1.7", "last set after a block", blocked(set_last(by("1", "b"))), [("1", "b")]),
    Row(
        "1.7",
        "a reply after a block and a last",
        blocked(after_block_by_hand),
        [("0", "hi"), ("1", "by hand"), ("0", "ho")],
    ),
    Row("1.7", "keys of to_dict", answered("a", then=lambda _, response: list(response.to_dict())), NINE),
    Row(
        "1.7",
        "to_dict through JSON",
        answered("a", then=lambda _, response: json.loads(json.dumps(response.to_dict()))["messages"]),
        [by("0", "hi"), by("1", "a")],
    ),
    Row(
        "1.7",
        "whether to_dict shares its lists",
        answered("a", then=lambda _, response: response.to_dict()["messages"] is response.messages),
        True,
        False,
        "`to_dict`",
    ),
    Row(
        "1.7", "a chat of a to_dict", answered("a", then=rehydrated), [("0", "hi"), ("1", "a"), ("0", "ho"), ("1", "b")]
    ),
    Row(
        "1.7",
        "a chat of a blocked to_dict",
        blocked(with_none_inside),
        [("0", "hi"), ("1", ""), ("0", "ho"), ("1", "b")],
        TypeError,
        "Empty texts",
    ),
    Row("1.7", "a reply", answered("a", "b", then=replying("ho")), [("0", "hi"), ("1", "a"), ("0", "ho")]),
    Row(
        "1.7",
        "a reply leaves its response",
        answered("a", "b", then=lambda chatting, response: (chatting.reply(response, "ho"), len(response.messages))[1]),
        2,
    ),
    Row(
        "1.7",
        "a reply after last was set",
        answered(
            ["a", "b"],
            candidate_count=2,
            then=lambda chatting, response: (
                set_last(response.candidates[1])(chatting, response),
                replying("ho")(chatting, response),
            )[1],
        ),
        [("0", "hi"), ("1", "b"), ("0", "ho")],
    ),
    Row("1.7", "a reply of several messages", answered("a", then=replying(["ho"])), TypeError),
    Row(
        "1.7",
        "a reply of None",
        answered("a", then=replying(None)),
        [("0", "hi"), ("1", "a"), ("0", "")],
        TypeError,
        "Empty texts",
    ),
    Row(
        "1.7",
        "an empty reply",
        answered("a", then=replying("")),
        [("0", "hi"), ("1", "a"), ("0", "")],
        ValueError,
        "Empty texts",
    ),
    Row("1.7", "a stranger's reply", answered("a", messages=X, then=replying(Y)), convo.AuthorError),
    Row(
        "1.7", "a reply after a block", blocked(lambda _, response: response.reply("ho"), Filter("SAFETY")), ValueError
    ),
    Row(
        "1.7",
        "reply_async after a block",
        blocked(lambda _, response: in_a_loop(response.reply_async, "ho").last),
        "after",
        ValueError,
        "`reply_async`",
    ),
    Row(
        "1.7",
        "reply of a client that is awaited",
        lambda _: in_a_loop(convo.chat_async, model="m", client=Awaited(), messages="hi").reply("ho"),
        TypeError,
    ),
    Row(
        "1.7",
        "reply_async of one that is not",
        lambda _: in_a_loop(convo.chat(model="m", client=Waiting(), messages="hi").reply_async, "ho").last,
        TypeError,
        "answer",
        "`reply_async`",
    ),
    Row(
        "1.7",
        "request_options of reply_async",
        answered("a", "b", then=lambda _, response: in_a_loop(response.reply_async, "ho", request_options={}).last),
        TypeError,
        "b",
        "`reply_async`",
    ),
    Row("1.7", "whether equal chats are equal", lambda chatting: chats()(chatting) == chats()(chatting), True),
    Row("1.7", "whether a response can be hashed", answered("a", then=lambda _, response: hash(response)), TypeError),
    Row(
        "1.7",
        "whether a response shows its client",
        answered("a", then=lambda _, response: "_client" in repr(response)),
        True,
        False,
        "`repr`",
    ),
    Row(
        "1.7",
        "a block of all",
        blocked(lambda _, response: (response.messages[-1], response.last, response.candidates)),
        (None, None, []),
    ),
    Row(
        "1.7",
        "neither candidates nor filters",
        blocked(lambda _, response: (response.last, response.filters)),
        (None, []),
    ),
]

COUNT = [
    Row("1.8", "an empty prompt", lambda chatting: list(counting()(chatting)), ["token_count"]),
    Row("1.8", "one letter", counting(messages="a"), {"token_count": 12}, {"token_count": 1}, "`count_message_tokens`"),
    Row("1.8", "beside a prompt", counting(prompt="hi", context="c"), ValueError),
    Row("1.8", "another key of a prompt", counting(prompt={"content": "hi"}), KeyError),
    Row("1.8", "two names on one side", counting(messages=[X, "b", Y]), convo.AuthorError),
    Row("1.8", "an unknown request option", counting(request_options={"timeot": 5}), TypeError),
    Row("1.8", "a positional argument", lambda _: convo.count_message_tokens("hi"), TypeError),
    Row("1.8", "whether it is awaited", lambda _: inspect.iscoroutinefunction(convo.count_message_tokens), False),
]

ROWS = [*SURFACE, *MESSAGE, *MESSAGES, *EXAMPLE, *EXAMPLES, *PROMPT, *OPTIONS, *CALL, *COUNT]


def comes(row: Row, chatting: Chatting) -> Any:
    """Return what comes out: a value, or the error."""
    try:
        return row.do(chatting)
    except Exception as error:  # noqa: BLE001 - which one it is, is what the row tells
        return error


PYTHONS_OWN = (
    "unexpected keyword argument",
    "positional argument",
    "required keyword-only",
    "out of range",
    "unhashable",
)


def is_designed(error: Exception) -> bool:
    """Return whether an error was raised on purpose, and did not just happen on the way."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return (frame.line or "").startswith("raise ") or any(words in str(error) for words in PYTHONS_OWN)


def is_as_told(told: Any, found: Any) -> bool:
    """Return whether what came out is what a row tells."""
    if isinstance(told, type) and issubclass(told, Exception):
        return isinstance(found, told)
    return not isinstance(found, Exception) and bool(told == found)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.section} {row.name}")
def test_a_chat_is_as_it_was_or_differs_on_purpose(row: Row, chatting: Chatting):
    found = comes(row, chatting)
    wanted = row.there if row.here is SAME else row.here
    assert is_as_told(wanted, found), found
    assert not isinstance(found, Exception) or is_designed(found), found
    assert (row.here is SAME) == (row.why is None)
    assert row.here is SAME or not is_as_told(row.there, found)


def test_every_section_has_its_rows_and_no_row_stands_twice():
    names = [(row.section, row.name) for row in ROWS]
    assert sorted(set(names)) == sorted(names)
    assert {"1", *(f"1.{number}" for number in range(1, 9))} == {row.section for row in ROWS}


def differences() -> Iterator[str]:
    """Yield the first cells of the table of differences in docs/chat.md."""
    page = (Path(__file__).parent.parent / "docs" / "chat.md").read_text(encoding="utf-8")
    table = page.split("## Deliberate differences")[1].split("\n## ")[0]
    for cells in re.findall(r"^\| (.*?) \|", table, re.MULTILINE):
        if cells != "what":
            yield cells


def test_the_page_tells_every_difference_and_no_other():
    assert sorted({row.why for row in ROWS if row.why}) == sorted(differences())
