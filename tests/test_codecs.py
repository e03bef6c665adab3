"""The languages of the services: what is sent, byte for byte, and what their documented answers mean."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import anyio
import pytest

import convo
from convo import ChatReply, ChatRequest, Example, Message, Model, Parameters
from convo.clients.anthropic import Anthropic
from convo.clients.gemini import Gemini
from convo.clients.http import HttpClient
from convo.clients.ollama import Ollama
from convo.clients.openai import OpenAI
from convo.clients.palm import Palm
from convo.clients.server import Secret, Server
from convo.clients.wire import folded
from convo.retry import Retry
from convo.streaming import Draft
from convo.values import Filter, Usage
from tests.model_server import answer, events, lines, serving

EXAMPLES = (Example("hello", "meow"), Example("are you hungry?", "meow!"))
MESSAGES = tuple(
    Message("01"[index % 2], text, side=index % 2)
    for index, text in enumerate(["one", "two", "three", "four", "fünf 😀"])
)
PARAMETERS = Parameters(
    temperature=0.5, top_p=0.95, top_k=40, candidate_count=3, max_output_tokens=500, stop_sequences=("END",)
)


def asked(model: str, **parameters: Any) -> ChatRequest:
    """Return a request with everything but the parameters that a service lacks."""
    given = {**PARAMETERS.as_dict(), **parameters}
    kept = Parameters(**{name: value for name, value in given.items() if value is not None})
    return ChatRequest(model, "You are a cat.", EXAMPLES, MESSAGES, kept)


def roles(user: str, model: str, text: str = "content") -> list[dict[str, Any]]:
    """Return examples and messages as turns."""
    texts = ["hello", "meow", "are you hungry?", "meow!", "one", "two", "three", "four", "fünf 😀"]
    return [{"role": (user, model)[index % 2], text: each} for index, each in enumerate(texts)]


def parts(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"role": each["role"], "parts": [{"text": each["content"]}]} for each in turns]


SYSTEM = {"role": "system", "content": "You are a cat."}
PALM_QUERY = "?%24alt=json%3Benum-encoding%3Dint"


@dataclass(frozen=True)
class Sent:
    """What a codec sends."""

    codec: Callable[..., Any]
    request: ChatRequest
    line: str
    headers: dict[str, str]
    body: dict[str, Any]
    streamed: dict[str, Any] | None
    """What is different in a streamed one; None when the service does not stream."""
    streamed_line: str | None = None


SENT = {
    "openai": Sent(
        OpenAI,
        asked("openai/gpt-x", top_k=None),
        "POST /chat/completions HTTP/1.1",
        {"authorization": "Bearer key-1"},
        {
            "model": "gpt-x",
            "messages": [SYSTEM, *roles("user", "assistant")],
            "temperature": 0.5,
            "top_p": 0.95,
            "n": 3,
            "max_completion_tokens": 500,
            "stop": ["END"],
        },
        {"stream": True, "stream_options": {"include_usage": True}},
    ),
    "anthropic": Sent(
        Anthropic,
        asked("anthropic/claude-x", candidate_count=None),
        "POST /v1/messages HTTP/1.1",
        {"x-api-key": "key-1", "anthropic-version": "2023-06-01"},
        {
            "model": "claude-x",
            "max_tokens": 500,
            "system": "You are a cat.",
            "messages": roles("user", "assistant"),
            "temperature": 0.5,
            "top_p": 0.95,
            "top_k": 40,
            "stop_sequences": ["END"],
        },
        {"stream": True},
    ),
    "gemini": Sent(
        Gemini,
        asked("gemini/gemini-2.5-x"),
        "POST /v1beta/models/gemini-2.5-x:generateContent HTTP/1.1",
        {"x-goog-api-key": "key-1"},
        {
            "systemInstruction": {"parts": [{"text": "You are a cat."}]},
            "contents": parts(roles("user", "model")),
            "generationConfig": {
                "temperature": 0.5,
                "topP": 0.95,
                "topK": 40,
                "candidateCount": 3,
                "maxOutputTokens": 500,
                "stopSequences": ["END"],
            },
        },
        {},
        "POST /v1beta/models/gemini-2.5-x:streamGenerateContent?alt=sse HTTP/1.1",
    ),
    "ollama": Sent(
        Ollama,
        asked("ollama/llama-x:8b", candidate_count=None),
        "POST /api/chat HTTP/1.1",
        {},
        {
            "model": "llama-x:8b",
            "messages": [SYSTEM, *roles("user", "assistant")],
            "stream": False,
            "truncate": False,
            "shift": False,
            "options": {"temperature": 0.5, "top_p": 0.95, "top_k": 40, "num_predict": 500, "stop": ["END"]},
        },
        {"stream": True},
    ),
    "palm": Sent(
        Palm,
        asked("models/chat-bison-001", max_output_tokens=None, stop_sequences=None),
        f"POST /v1beta/models/chat-bison-001:generateMessage{PALM_QUERY} HTTP/1.1",
        {"x-goog-api-key": "key-1"},
        {
            "prompt": {
                "context": "You are a cat.",
                "examples": [
                    {"input": {"content": "hello"}, "output": {"content": "meow"}},
                    {"input": {"content": "are you hungry?"}, "output": {"content": "meow!"}},
                ],
                "messages": [{"author": each.author, "content": each.content} for each in MESSAGES],
            },
            "temperature": 0.5,
            "candidateCount": 3,
            "topP": 0.95,
            "topK": 40,
        },
        None,
    ),
}

WHOLE = {
    "openai": {"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]},
    "anthropic": {"content": [{"type": "text", "text": "ok"}], "stop_reason": "end_turn"},
    "gemini": {"candidates": [{"content": {"parts": [{"text": "ok"}]}, "finishReason": "STOP"}]},
    "ollama": {"message": {"content": "ok"}, "done": True, "done_reason": "stop"},
    "palm": {"candidates": [{"author": "1", "content": "ok"}]},
}

STREAMED = {
    "openai": events({"choices": [{"index": 0, "delta": {"content": "ok"}, "finish_reason": "stop"}]}, "[DONE]"),
    "anthropic": events(
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "ok"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    ),
    "gemini": events({"candidates": [{"content": {"parts": [{"text": "ok"}]}, "finishReason": "STOP"}]}),
    "ollama": lines({"message": {"content": "ok"}, "done": False}, {"done": True, "done_reason": "stop"}),
}


def client_of(codec: Any, url: str, key: str | None = "key-1") -> HttpClient:
    return HttpClient(Server(codec, url, Secret(key) if key else None), lambda name: Model(name, 4096))


def hasty(codec: Any, url: str) -> HttpClient:
    """Return a client that asks once."""
    return HttpClient(Server(codec, url, Secret("key-1")), lambda name: Model(name, 4096), retry=Retry(attempts=1))


class Shell:
    """The four ways to ask: whole or streamed, waited for or awaited."""

    def __init__(self, name: str) -> None:
        self.is_streamed, self.is_awaited = "stream" in name, "async" in name

    def ask(self, client: HttpClient, request: ChatRequest, deadline_s: float = 5) -> ChatReply:
        if self.is_awaited:
            return anyio.run(self._ask_async, client, request, deadline_s)
        try:
            if not self.is_streamed:
                return client.chat(request, deadline_s=deadline_s)
            return self._collected(request, client.stream(request, deadline_s=deadline_s))
        finally:
            client.close()

    async def _ask_async(self, client: HttpClient, request: ChatRequest, deadline_s: float) -> ChatReply:
        try:
            if not self.is_streamed:
                return await client.chat_async(request, deadline_s=deadline_s)
            pieces = [each async for each in client.stream_async(request, deadline_s=deadline_s)]
            return self._collected(request, pieces)
        finally:
            await client.aclose()

    def _collected(self, request: ChatRequest, pieces: Any) -> ChatReply:
        draft = Draft(request)
        for each in pieces:
            draft.add(each)
        return draft.reply()


SHELLS = ["whole", "stream", "async-whole", "async-stream"]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> Shell:
    return Shell(request.param)


@pytest.mark.parametrize("name", SENT)
def test_a_request_is_the_documented_one_byte_for_byte(shell: Shell, name: str):
    sent = SENT[name]
    is_streamed = shell.is_streamed and sent.streamed is not None
    script = STREAMED[name] if is_streamed else answer(WHOLE[name])
    with serving(script) as server:
        reply = shell.ask(client_of(sent.codec(), server.url), sent.request)
    [received] = server.received
    assert "ok" == reply.candidates[0].content
    assert {**sent.body, **((sent.streamed or {}) if is_streamed else {})} == received.json
    assert (sent.streamed_line if is_streamed and sent.streamed_line else sent.line) == received.line
    assert sent.headers.items() <= received.headers.items()
    assert ("application/json", "identity") == (received.headers["content-type"], received.headers["accept-encoding"])
    assert "key-1" not in received.line
    assert b"key-1" not in received.body
    assert b"f\\u00fcnf" in received.body or "fünf 😀".encode() in received.body


@pytest.mark.parametrize("name", SENT)
def test_without_context_examples_and_parameters_none_are_sent(name: str):
    sent = SENT[name]
    request = ChatRequest(sent.request.model, None, (), MESSAGES[:1])
    body = sent.codec().encode(request, streamed=False).body
    bare = {
        "openai": {"model": "gpt-x", "messages": [{"role": "user", "content": "one"}]},
        "anthropic": {"model": "claude-x", "max_tokens": 4096, "messages": [{"role": "user", "content": "one"}]},
        "gemini": {"contents": [{"role": "user", "parts": [{"text": "one"}]}]},
        "ollama": {
            "model": "llama-x:8b",
            "messages": [{"role": "user", "content": "one"}],
            "stream": False,
            "truncate": False,
            "shift": False,
        },
        "palm": {"prompt": {"messages": [{"author": "0", "content": "one"}]}},
    }
    assert bare[name] == body


@pytest.mark.parametrize(
    ("name", "lacks"),
    [("openai", {"top_k": 40}), ("palm", {"max_output_tokens": 5}), ("palm", {"stop_sequences": ("a",)})],
)
def test_a_parameter_that_a_service_lacks_is_refused_or_dropped_with_a_warning(name: str, lacks: dict[str, Any]):
    sent = SENT[name]
    request = asked(sent.request.model, **{"top_k": None, "max_output_tokens": None, "stop_sequences": None, **lacks})
    [parameter] = lacks
    with pytest.raises(convo.InvalidParameter, match=f"{name} has no {parameter}: leave it out"):
        sent.codec().encode(request, streamed=False)
    with pytest.warns(UserWarning, match=f"{name} has no {parameter}: it is left out"):
        body = sent.codec(strict=False).encode(request, streamed=False).body
    assert parameter not in str(body)


def test_anthropic_takes_no_temperature_above_one():
    with pytest.raises(convo.InvalidParameter, match=r"within \[0, 1\], not 1.5"):
        Anthropic().encode(asked("anthropic/x", temperature=1.5), streamed=False)


def test_servers_like_openais_may_have_other_parameters():
    codec = OpenAI("vllm", output_limit="max_tokens", lacks=())
    body = codec.encode(asked("vllm/org/model"), streamed=False).body
    assert ("org/model", 40, 500) == (body["model"], body["top_k"], body["max_tokens"])


# ---- answers

USAGE = {"input_tokens": 11, "output_tokens": 7}


def block(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def citing(**source: Any) -> dict[str, Any]:
    return {"citationSources": [source]}


def named(each: object) -> str:
    return each if isinstance(each, str) else ""


ANSWERS: list[tuple[str, str, Any, dict[str, Any]]] = [
    (
        "openai",
        "several candidates",
        {
            "model": "gpt-x-2026",
            "choices": [
                {"index": 1, "message": {"role": "assistant", "content": "b"}, "finish_reason": "length"},
                {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"},
            ],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        },
        {"texts": ["a", "b"], "ends": ["stop", "length"], "usage": USAGE, "served_by": "gpt-x-2026"},
    ),
    (
        "openai",
        "a refusal",
        {"choices": [{"message": {"content": None, "refusal": "I cannot"}, "finish_reason": "stop"}]},
        {"filters": [("REFUSAL", "I cannot")]},
    ),
    (
        "openai",
        "an answer that was filtered",
        {"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]},
        {"filters": [("SAFETY", None)]},
    ),
    (
        "openai",
        "an answer that was filtered in part",
        {"choices": [{"message": {"content": "a"}, "finish_reason": "content_filter"}]},
        {"texts": ["a"], "ends": ["filtered"]},
    ),
    (
        "anthropic",
        "blocks",
        {
            "model": "claude-x-2026",
            "content": [
                {"type": "thinking", "thinking": "…"},
                {"type": "text", "text": "a"},
                {"type": "text", "text": "b"},
            ],
            "stop_reason": "max_tokens",
            "usage": {"input_tokens": 4, "cache_read_input_tokens": 7, "output_tokens": 7},
        },
        {"texts": ["ab"], "ends": ["length"], "usage": USAGE, "served_by": "claude-x-2026"},
    ),
    ("anthropic", "a refusal", {"content": [], "stop_reason": "refusal"}, {"filters": [("REFUSAL", None)]}),
    (
        "anthropic",
        "a window that is full",
        {"content": [{"type": "text", "text": "a"}], "stop_reason": "model_context_window_exceeded"},
        {"texts": ["a"], "ends": ["length"]},
    ),
    (
        "gemini",
        "several candidates, thoughts and citations",
        {
            "candidates": [
                {
                    "index": 0,
                    "content": {"parts": [{"text": "hm", "thought": True}, {"text": "a"}]},
                    "finishReason": "STOP",
                    "citationMetadata": {
                        "citationSources": [{"startIndex": 0, "endIndex": 1, "uri": "u", "license": "MIT"}]
                    },
                },
                {"index": 1, "content": {"parts": [{"text": "b"}]}, "finishReason": "MAX_TOKENS"},
            ],
            "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 5, "thoughtsTokenCount": 2},
            "modelVersion": "gemini-x-001",
        },
        {
            "texts": ["a", "b"],
            "ends": ["stop", "length"],
            "usage": USAGE,
            "served_by": "gemini-x-001",
            "cited": {"citation_sources": [{"start_index": 0, "end_index": 1, "uri": "u", "license_": "MIT"}]},
        },
    ),
    (
        "gemini",
        "a prompt that was blocked",
        {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
        {"filters": [("PROHIBITED_CONTENT", None)]},
    ),
    (
        "gemini",
        "a candidate that was withheld",
        {
            "candidates": [
                {"index": 0, "finishReason": "SAFETY"},
                {"index": 1, "content": {"parts": [{"text": "b"}]}, "finishReason": "STOP"},
            ]
        },
        {"texts": ["b"], "ends": ["stop"], "filters": [("SAFETY", None)]},
    ),
    (
        "ollama",
        "an answer",
        {
            "model": "llama-x:8b",
            "message": {"role": "assistant", "content": "a"},
            "done": True,
            "done_reason": "length",
            "prompt_eval_count": 11,
            "eval_count": 7,
        },
        {"texts": ["a"], "ends": ["length"], "usage": USAGE, "served_by": "llama-x:8b"},
    ),
    (
        "palm",
        "candidates, citations and filters",
        {
            "candidates": [
                {
                    "author": "1",
                    "content": "a",
                    "citationMetadata": {"citationSources": [{"startIndex": 1, "uri": "u"}]},
                },
                {"author": "1", "content": "b"},
            ],
            "filters": [{"reason": 1, "message": "why"}, {"reason": "OTHER"}, {"reason": 9}],
        },
        {
            "texts": ["a", "b"],
            "ends": ["stop", "stop"],
            "filters": [("SAFETY", "why"), ("OTHER", None), ("OTHER", None)],
            "cited": {"citation_sources": [{"start_index": 1, "uri": "u"}]},
        },
    ),
    ("palm", "a block", {"filters": [{"reason": 2}]}, {"filters": [("OTHER", None)]}),
]


def told(reply: ChatReply) -> dict[str, Any]:
    """Return what a reply tells, without what it leaves open."""
    cited = next((each.citation_metadata for each in reply.candidates if each.citation_metadata), None)
    found = {
        "texts": [each.content for each in reply.candidates],
        "ends": [each.finish_reason for each in reply.candidates],
        "filters": [(each.reason, each.message) for each in reply.filters],
        "served_by": reply.served_by,
        "cited": cited,
    }
    if reply.usage is not None:
        found["usage"] = {"input_tokens": reply.usage.input_tokens, "output_tokens": reply.usage.output_tokens}
    return {name: value for name, value in found.items() if value not in (None, [])}


@pytest.mark.parametrize(
    ("name", "what", "body", "wanted"), ANSWERS, ids=lambda each: each if isinstance(each, str) else ""
)
@pytest.mark.parametrize("way", ["whole", "async-whole"])
def test_an_answer_is_told_in_the_words_of_all(way: str, name: str, what: str, body: Any, wanted: dict[str, Any]):
    with serving(answer(body)) as server:
        reply = Shell(way).ask(client_of(SENT[name].codec(), server.url), SENT[name].request)
    assert wanted == told(reply)


STREAMS: list[tuple[str, str, bytes, dict[str, Any]]] = [
    (
        "openai",
        "two candidates, and the usage last",
        events(
            {"model": "gpt-x-2026", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
            {"choices": [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}}]},
            {"choices": [{"index": 0, "delta": {"content": "c"}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]},
            {"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7}},
            "[DONE]",
        ),
        {"texts": ["ac", "b"], "ends": ["stop", "length"], "usage": USAGE, "served_by": "gpt-x-2026"},
    ),
    (
        "anthropic",
        "all kinds of events",
        events(
            {
                "type": "message_start",
                "message": {"model": "claude-x-2026", "usage": {"input_tokens": 11, "output_tokens": 1}},
            },
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "ping"},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "b"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
            {"type": "message_stop"},
            names=[
                *("message_start", "content_block_start", "ping", "content_block_delta", "content_block_delta"),
                *("content_block_stop", "message_delta", "message_stop"),
            ],
        ),
        {"texts": ["ab"], "ends": ["stop"], "usage": USAGE, "served_by": "claude-x-2026"},
    ),
    (
        "gemini",
        "a text in pieces",
        events(
            {"candidates": [{"content": {"parts": [{"text": "a"}]}}], "usageMetadata": {"promptTokenCount": 11}},
            {
                "candidates": [{"content": {"parts": [{"text": "b"}]}, "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 7},
                "modelVersion": "gemini-x-001",
            },
        ),
        {"texts": ["ab"], "ends": ["stop"], "usage": USAGE, "served_by": "gemini-x-001"},
    ),
    (
        "gemini",
        "a prompt that was blocked",
        events({"promptFeedback": {"blockReason": "SAFETY"}}),
        {"filters": [("SAFETY", None)]},
    ),
    (
        "ollama",
        "a text in lines",
        lines(
            {"message": {"content": "a"}, "done": False},
            {"message": {"content": "b"}, "done": False},
            {
                "model": "llama-x:8b",
                "message": {"content": ""},
                "done": True,
                "done_reason": "stop",
                "prompt_eval_count": 11,
                "eval_count": 7,
            },
        ),
        {"texts": ["ab"], "ends": ["stop"], "usage": USAGE, "served_by": "llama-x:8b"},
    ),
]


@pytest.mark.parametrize(
    ("name", "what", "body", "wanted"), STREAMS, ids=lambda each: each if isinstance(each, str) else ""
)
@pytest.mark.parametrize("way", ["stream", "async-stream"])
def test_a_streamed_answer_is_told_in_the_same_words(
    way: str, name: str, what: str, body: bytes, wanted: dict[str, Any]
):
    with serving(body) as server:
        reply = Shell(way).ask(client_of(SENT[name].codec(), server.url), SENT[name].request)
    assert wanted == told(reply)


# ---- errors


def openai_error(message: str, code: str | None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code}}


def anthropic_error(kind: str, message: str = "m") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def google_error(code: int, status: str, message: str = "m") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status}}


LONG = {
    "vllm": {"object": "error", "message": "This model's maximum context length is 9", "code": 400},
    "gemini": "The input token count (9) exceeds the maximum number of tokens allowed (8).",
}

TOO_LONG = convo.ContextLengthExceeded

ERRORS: list[tuple[str, int, Any, type[convo.ServiceError], str | None]] = [
    (
        "openai",
        401,
        openai_error("not key-1", "invalid_api_key"),
        convo.AuthenticationFailed,
        "invalid_api_key",
    ),
    ("openai", 429, openai_error("m", "rate_limit_exceeded"), convo.RateLimited, "rate_limit_exceeded"),
    (
        "openai",
        400,
        openai_error("m", "context_length_exceeded"),
        TOO_LONG,
        "context_length_exceeded",
    ),
    ("openai", 400, LONG["vllm"], TOO_LONG, None),
    ("openai", 400, openai_error("m", None), convo.BadRequest, "invalid_request_error"),
    ("openai", 500, b"<html>oops</html>", convo.ServerFailed, None),
    ("openai", 502, b"", convo.ServerFailed, None),
    ("openai", 400, {"error": 5}, convo.BadRequest, None),
    ("openai", 400, [1, 2], convo.BadRequest, None),
    ("anthropic", 529, anthropic_error("overloaded_error"), convo.ServerFailed, "overloaded_error"),
    (
        "anthropic",
        400,
        anthropic_error("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"),
        TOO_LONG,
        "invalid_request_error",
    ),
    ("anthropic", 400, anthropic_error("invalid_request_error"), convo.BadRequest, "invalid_request_error"),
    ("anthropic", 413, anthropic_error("request_too_large"), convo.BadRequest, "request_too_large"),
    ("gemini", 403, google_error(403, "PERMISSION_DENIED"), convo.AuthenticationFailed, "PERMISSION_DENIED"),
    (
        "gemini",
        400,
        google_error(400, "INVALID_ARGUMENT", LONG["gemini"]),
        TOO_LONG,
        "INVALID_ARGUMENT",
    ),
    ("ollama", 400, {"error": "the input length exceeds the context length"}, TOO_LONG, None),
    ("palm", 503, google_error(503, "UNAVAILABLE"), convo.ServerFailed, "UNAVAILABLE"),
]


@pytest.mark.parametrize(("name", "status", "body", "kind", "code"), ERRORS)
def test_an_error_is_told_by_its_type(
    shell: Shell, name: str, status: int, body: Any, kind: type[convo.ServiceError], code: str | None
):
    with serving(answer(body, status)) as server, pytest.raises(kind) as caught:
        shell.ask(hasty(SENT[name].codec(), server.url), SENT[name].request)
    error = caught.value
    assert (kind, status, code) == (type(error), error.status, error.code)
    assert error.retryable is issubclass(kind, convo.RateLimited | convo.ServerFailed)
    assert "key-1" not in f"{error} {error.detail} {error!r} {error.__dict__}"
    assert str(error).startswith(f"{name} ")


@pytest.mark.parametrize(
    ("name", "body"),
    [("openai", openai_error("m", "model_not_found")), ("ollama", {"error": "model 'x' not found"}), ("gemini", {})],
)
def test_a_model_that_the_service_has_not_is_not_found(shell: Shell, name: str, body: Any):
    request = SENT[name].request
    with serving(answer(body, 404)) as server, pytest.raises(convo.ModelNotFound) as caught:
        shell.ask(hasty(SENT[name].codec(), server.url), request)
    wanted = (
        f"no model '{request.model}': this release serves what {name} has, as `convo models --provider {name}` lists"
    )
    assert wanted == str(caught.value)


def test_a_model_that_is_not_found_is_not_found_for_several_candidates(shell: Shell):
    request = replace(SENT["ollama"].request, parameters=Parameters(candidate_count=3))
    with serving(answer({"error": "model 'x' not found"}, 404)) as server, pytest.raises(convo.ModelNotFound):
        shell.ask(hasty(Ollama(), server.url), request)


@pytest.mark.parametrize("code", ["insufficient_quota", "enforced_spend_limit_reached", "billing_error"])
def test_a_limit_of_money_is_not_tried_again(shell: Shell, code: str):
    with serving(answer(openai_error("m", code), 429)) as server, pytest.raises(convo.RateLimited) as caught:
        shell.ask(client_of(OpenAI(), server.url), SENT["openai"].request)
    assert (False, 1) == (caught.value.retryable, len(server.received))


def test_an_error_in_a_list_is_read(shell: Shell):
    body = [google_error(403, "PERMISSION_DENIED")]
    with serving(answer(body, 403)) as server, pytest.raises(convo.AuthenticationFailed) as caught:
        shell.ask(client_of(Gemini(), server.url), SENT["gemini"].request)
    assert "PERMISSION_DENIED" == caught.value.code


def test_a_prompt_that_a_filter_blocks_has_no_candidate(shell: Shell):
    """Azure answers with an error, and tells in it what it found: no other service does."""
    found = {"hate": {"filtered": True, "severity": "high"}}
    body = {"error": {"code": "content_filter", "message": "filtered", "innererror": {"content_filter_result": found}}}
    with serving(answer(body, 400)) as server:
        told = shell.ask(client_of(OpenAI(), server.url), SENT["openai"].request)
    assert ((), (Filter("SAFETY", "filtered"),)) == (told.candidates, told.filters)


IN_THE_MIDDLE: list[tuple[str, bytes, type[convo.ServiceError]]] = [
    (
        "openai",
        events({"choices": [{"delta": {"content": "a"}}]}, openai_error("m", "server_error", "server_error")),
        convo.ServerFailed,
    ),
    (
        "anthropic",
        events(
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}},
            anthropic_error("overloaded_error"),
        ),
        convo.ServerFailed,
    ),
    ("anthropic", events(anthropic_error("rate_limit_error")), convo.RateLimited),
    ("gemini", events(google_error(500, "INTERNAL")), convo.ServerFailed),
    ("ollama", lines({"message": {"content": "a"}, "done": False}, {"error": "out of memory"}), convo.ServerFailed),
]


@pytest.mark.parametrize(("name", "body", "kind"), IN_THE_MIDDLE)
@pytest.mark.parametrize("way", ["stream", "async-stream"])
def test_an_error_may_come_in_the_middle_of_a_stream(way: str, name: str, body: bytes, kind: type[convo.ServiceError]):
    with serving(body) as server, pytest.raises(kind) as caught:
        Shell(way).ask(client_of(SENT[name].codec(), server.url), SENT[name].request)
    assert (200, 1) == (caught.value.status, len(server.received))  # and nobody asks again


# ---- candidates, where a service gives one at a time


@pytest.mark.parametrize("name", ["anthropic", "ollama"])
def test_several_candidates_are_asked_for_at_once(shell: Shell, name: str):
    texts = iter("abc")
    bodies = {
        "anthropic": lambda text: {
            "content": [{"type": "text", "text": text}],
            "usage": {"input_tokens": 2, "output_tokens": 1},
        },
        "ollama": lambda text: {"message": {"content": text}, "done": True, "prompt_eval_count": 2, "eval_count": 1},
    }
    scripts = [answer(bodies[name](next(texts))) for _ in range(3)]
    with serving(*scripts) as server:
        request = asked(SENT[name].request.model, candidate_count=3)
        reply = shell.ask(client_of(SENT[name].codec(), server.url), request)
    assert (["a", "b", "c"], 3) == (sorted(str(each.content) for each in reply.candidates), len(server.received))
    assert (2, 3) == (reply.usage.input_tokens, reply.usage.output_tokens)
    assert [0, 1, 2] == [each.index for each in reply.candidates]


@pytest.mark.parametrize("failing", [1, 3])
def test_one_of_several_candidates_may_fail(shell: Shell, failing: int):
    scripts = [answer({"error": "no"}, 400)] * failing
    scripts += [answer({"message": {"content": text}, "done": True}) for text in "abc"[failing:]]
    with serving(*scripts) as server:
        client, request = client_of(Ollama(), server.url), asked("ollama/x", candidate_count=3)
        if failing == 3:
            with pytest.raises(convo.BadRequest):
                shell.ask(client, request)
        else:
            assert ["b", "c"] == sorted(str(each.content) for each in shell.ask(client, request).candidates)


# ---- what is told before an answer

COUNTS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    (
        "anthropic",
        "POST /v1/messages/count_tokens HTTP/1.1",
        {"model": "claude-x", "system": "You are a cat.", "messages": roles("user", "assistant")},
        {"input_tokens": 2095},
    ),
    (
        "gemini",
        "POST /v1beta/models/gemini-2.5-x:countTokens HTTP/1.1",
        {
            "generateContentRequest": {
                "model": "models/gemini-2.5-x",
                "systemInstruction": {"parts": [{"text": "You are a cat."}]},
                "contents": parts(roles("user", "model")),
            }
        },
        {"totalTokens": 2095, "promptTokensDetails": []},
    ),
    (
        "palm",
        f"POST /v1beta/models/chat-bison-001:countMessageTokens{PALM_QUERY} HTTP/1.1",
        {"prompt": SENT["palm"].body["prompt"]},
        {"tokenCount": 2095},
    ),
]


def count(codec: Any, url: str, request: ChatRequest) -> int | None:
    with closing(client_of(codec, url)) as client:
        return client.count_tokens(request, deadline_s=5)


@pytest.mark.parametrize(("name", "line", "body", "told"), COUNTS)
def test_a_service_is_asked_how_many_tokens_a_prompt_has(name: str, line: str, body: Any, told: Any):
    with serving(answer(told)) as server:
        assert 2095 == count(SENT[name].codec(), server.url, SENT[name].request)
    [received] = server.received
    assert (line, body) == (received.line, received.json)


@pytest.mark.parametrize("name", ["openai", "ollama"])
def test_a_service_that_counts_nothing_beforehand_is_not_asked(name: str):
    with serving(answer({})) as server:
        assert None is count(SENT[name].codec(), server.url, SENT[name].request)
    assert [] == server.received


@pytest.mark.parametrize("told", [{}, {"input_tokens": "many"}, []])
def test_a_count_that_is_none_is_a_bad_answer(told: Any):
    with serving(answer(told)) as server, pytest.raises(convo.BadModelResponse):
        count(Anthropic(), server.url, SENT["anthropic"].request)


def test_a_model_that_cannot_be_counted_for_is_not_found():
    with serving(answer({}, 404)) as server, pytest.raises(convo.ModelNotFound):
        count(Anthropic(), server.url, SENT["anthropic"].request)


# ---- examples, candidates and keys in another way


@pytest.mark.parametrize("name", SENT)
def test_examples_may_be_a_part_of_the_context(shell: Shell, name: str):
    sent = SENT[name]
    is_streamed = shell.is_streamed and sent.streamed is not None
    with serving(STREAMED[name] if is_streamed else answer(WHOLE[name])) as server:
        shell.ask(HttpClient(Server(sent.codec(), server.url), fold_examples=True), sent.request)
    told = server.received[0].body.decode()
    context = (
        "You are a cat.\n\nAnswer as in these examples.\n\nInput: hello\nOutput: meow\n\n"
        "Input: are you hungry?\nOutput: meow!"
    )
    assert (1, 1) == (told.count(json.dumps(context)[1:-1]), told.count("hungry"))


def test_without_examples_nothing_is_folded():
    request = replace(SENT["openai"].request, examples=(), context=None)
    assert request is folded(request)


def test_a_gemini_that_gives_one_candidate_is_asked_several_times(shell: Shell):
    request = replace(SENT["gemini"].request, model="gemini/gemini-3-pro")
    with serving(answer(WHOLE["gemini"])) as server:
        shell.ask(client_of(Gemini(), server.url), request)
    assert [1, 1, 1] == [each.json["generationConfig"]["candidateCount"] for each in server.received]


def test_the_prompt_of_several_requests_is_counted_once(shell: Shell):
    told = {"message": {"content": "ok"}, "done": True, "prompt_eval_count": 11, "eval_count": 7}
    with serving(answer(told)) as server:
        reply = shell.ask(
            client_of(Ollama(), server.url), replace(SENT["ollama"].request, parameters=Parameters(candidate_count=3))
        )
    assert Usage(11, 21) == reply.usage


def test_a_key_may_have_a_header_of_its_own():
    with serving(answer(WHOLE["openai"])) as server:
        Shell("whole").ask(client_of(OpenAI(key_header="api-key"), server.url), SENT["openai"].request)
    headers = server.received[0].headers
    assert ("key-1", False) == (headers["api-key"], "authorization" in headers)


# ---- what a service leaves out without a word


@pytest.mark.parametrize(("counted", "warns"), [(39, True), (40, False), (400, False), (None, False)])
def test_a_prompt_that_was_cut_is_told_of(shell: Shell, counted: int | None, warns: bool):
    request = replace(
        SENT["ollama"].request, messages=(Message("0", "x" * 400, tokens=100),), examples=(), context=None
    )
    told = {"message": {"content": "ok"}, "done": True, "done_reason": "stop", "prompt_eval_count": counted}
    with (
        serving(lines(told) if shell.is_streamed else answer(told)) as server,
        warnings.catch_warnings(record=True) as seen,
    ):
        warnings.simplefilter("always")
        shell.ask(client_of(Ollama(), server.url), request)
    wanted = (
        "ollama/llama-x:8b counted 39 tokens of a prompt of about 100: it may have cut it; run it with a larger num_ctx"
    )
    assert ([(convo.PromptCutWarning, wanted)] if warns else []) == [
        (each.category, str(each.message)) for each in seen
    ]


# ---- the limits of OpenAI's own models


@pytest.mark.parametrize(
    ("name", "limit", "output", "window"),
    [
        ("gpt-4o", 111_616, 16_384, 128_000),
        ("gpt-4o-2024-08-06", 111_616, 16_384, 128_000),
        ("gpt-4o-2024-05-13", 123_904, 4_096, 128_000),
        ("gpt-4o-mini", 111_616, 16_384, 128_000),
        ("ft:gpt-4o-mini-2024-07-18:acme::8f", 111_616, 16_384, 128_000),
        ("gpt-4", 4_096, 4_096, 8_192),
        ("gpt-4-0613", 4_096, 4_096, 8_192),
        ("gpt-4-turbo-preview", 123_904, 4_096, 128_000),
        ("gpt-5", 272_000, 128_000, None),
        ("gpt-5-2025-08-07", 272_000, 128_000, None),
        ("gpt-5-chat-latest", 111_616, 16_384, 128_000),
        ("gpt-5.5", 922_000, 128_000, None),
        ("o3-mini", 100_000, 100_000, 200_000),
    ],
)
def test_a_known_model_of_openais_has_its_limits(name: str, limit: int, output: int, window: int | None):
    model = OpenAI().described(f"openai/{name}", {"data": [{"id": name}]})
    assert (limit, output, window) == (model.input_token_limit, model.output_token_limit, model.context_window)


@pytest.mark.parametrize("name", ["gpt-5-pro", "gpt-4o-audio", "gpt-9", "gpt-5.3-codex-spark", "o1-mini", "davinci"])
def test_the_limits_of_another_are_not_guessed(name: str):
    assert None is OpenAI().described(f"openai/{name}", {"data": []})


def test_another_server_has_no_model_of_openais():
    assert None is OpenAI("local").described("local/gpt-4o", {"data": [{"id": "gpt-4o"}]})


@pytest.mark.parametrize("status", [403, 404])
def test_a_server_that_shows_no_list_may_have_a_model_of_the_table(status: int):
    with serving(answer({}, status)) as server, closing(HttpClient(Server(OpenAI(), server.url))) as client:
        assert 111_616 == client.get_model("openai/gpt-4o").input_token_limit
