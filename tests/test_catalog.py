"""What services list: all pages of it, only what chats, with limits where somebody tells them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import convo
from convo.clients.pages import MAX_PAGES
from tests.model_server import ModelServer, Received, Script, answer, routing
from tests.test_providers import KEYS, URLS

CHATS = ["generateContent", "countTokens"]

ANSWERS: dict[str, Any] = {
    "GET /models": {
        "object": "list",
        "data": [
            {"id": "gpt-4o-mini", "object": "model", "created": 1, "owned_by": "openai"},
            {"id": "vllm", "max_model_len": 8000},
            {"id": "org/routed", "context_length": 16_000},
            {"id": "whisper-1"},
        ],
    },
    "GET /v1/models?limit=1000": {
        "data": [{"type": "model", "id": "claude-b", "display_name": "B", "max_input_tokens": 9, "max_tokens": 5}],
        "has_more": True,
        "last_id": "claude-b",
    },
    "GET /v1/models?limit=1000&after_id=claude-b": {
        "data": [{"id": "claude-a"}],
        "has_more": False,
        "last_id": "claude-a",
    },
    "GET /v1beta/models?pageSize=1000": {
        "models": [
            {
                "name": "models/gem",
                "displayName": "Gem",
                "inputTokenLimit": 1_000_000,
                "outputTokenLimit": 8192,
                "supportedGenerationMethods": CHATS,
                "topK": 40,
            },
            {"name": "models/embedding", "inputTokenLimit": 9, "supportedGenerationMethods": ["embedContent"]},
        ],
        "nextPageToken": "a/b&c=",
    },
    "GET /v1beta/models?pageSize=1000&pageToken=a%2Fb%26c%3D": {
        "models": [{"name": "models/silent", "supportedGenerationMethods": CHATS}, {"name": "models/nothing"}]
    },
    "GET /api/tags": {"models": [{"name": "llama3.2:latest", "size": 1}, {"name": "gone"}, {"name": "tiny"}]},
    "POST /api/show llama3.2:latest": {"parameters": "num_ctx 8192"},
    "POST /api/show tiny": {"model_info": {"x.context_length": 1}},
    "GET /v1beta/models?%24alt=json%3Benum-encoding%3Dint&pageSize=1000": {
        "models": [
            {
                "name": "models/chat-bison-001",
                "inputTokenLimit": 4096,
                "supportedGenerationMethods": ["generateMessage"],
            },
            {"name": "models/text-bison-001", "inputTokenLimit": 8196, "supportedGenerationMethods": ["generateText"]},
        ]
    },
}


def route(request: Received) -> Script:
    line = request.line.removesuffix(" HTTP/1.1")
    line += f" {request.json['model']}" if request.body else ""
    return answer(ANSWERS[line]) if line in ANSWERS else answer({"error": "no such thing"}, 404)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    """Return a server that is all services at once, and where the environment leads."""
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    with routing(route) as server:
        for name in URLS:
            monkeypatch.setenv(name, server.url)
        yield server


@contextmanager
def listing(monkeypatch: pytest.MonkeyPatch, variable: str, script: Any) -> Iterator[ModelServer]:
    """Let a variable lead to a server that answers all requests alike, or as a function says."""
    with routing(script if callable(script) else lambda _: answer(script)) as server:
        monkeypatch.setenv(variable, server.url)
        yield server


@pytest.mark.parametrize(
    ("provider", "limits"),
    [
        (
            "openai",
            {
                "openai/gpt-4o-mini": 111_616,
                "openai/vllm": 6000,
                "openai/org/routed": 12_000,
                "openai/whisper-1": 0,
            },
        ),
        ("anthropic", {"anthropic/claude-b": 9, "anthropic/claude-a": 0}),
        ("gemini", {"gemini/gem": 1_000_000, "gemini/silent": 0}),
        ("ollama", {"ollama/llama3.2:latest": 6144, "ollama/gone": 0, "ollama/tiny": 0}),
        ("palm", {"palm/chat-bison-001": 4096}),
    ],
)
def test_a_service_lists_its_models_in_its_order(server: ModelServer, provider: str, limits: dict[str, int]):
    listed = convo.list_models(provider=provider)
    assert list(limits.items()) == [(each.name, each.input_token_limit) for each in listed]


def test_what_else_a_list_tells_is_told(server: ModelServer):
    first = convo.list_models("gemini")[0]
    assert ("Gem", 8192, 40, 4, True) == (
        first.display_name,
        first.output_token_limit,
        first.top_k,
        first.message_overhead,
        first.user_first,
    )
    assert ("B", 5) == ((b := convo.list_models("anthropic")[0]).display_name, b.output_token_limit)


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini", "ollama"])
def test_a_listed_model_is_the_one_that_is_described(server: ModelServer, provider: str, monkeypatch: Any):
    first = convo.list_models(provider)[0]
    bare = first.name.partition("/")[2]
    monkeypatch.setitem(ANSWERS, f"GET /models/{bare}", ANSWERS["GET /models"]["data"][0])
    monkeypatch.setitem(ANSWERS, f"GET /v1/models/{bare}", ANSWERS["GET /v1/models?limit=1000"]["data"][0])
    gemini = ANSWERS["GET /v1beta/models?pageSize=1000"]["models"][0]
    monkeypatch.setitem(ANSWERS, f"GET /v1beta/models/{bare}", gemini)
    assert first == convo.get_model(first.name)


def test_the_embedded_provider_lists_the_embedded_models():
    assert ["offline/eliza", "offline/echo"] == [each.name for each in convo.list_models(provider="offline")]


@pytest.mark.parametrize("provider", ["", "nobody", "models", "OpenAI"])
def test_an_unknown_provider_is_refused_and_the_known_ones_are_named(provider: str):
    with pytest.raises(convo.InvalidParameter, match=f"no provider '{provider}': there are offline, openai, anthropic"):
        convo.list_models(provider)


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
def test_a_service_whose_key_is_missing_is_not_asked(provider: str):
    with pytest.raises(convo.InvalidInput, match=f"there is no key for {provider}: set "):
        convo.list_models(provider)


def test_a_service_that_nobody_tells_of_is_not_asked():
    with pytest.raises(
        convo.InvalidInput, match=r"nobody says where palm is: set PALM_BASE_URL, or base_url in \[prov"
    ):
        convo.list_models("palm")


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (answer({"error": {"message": "wrong key"}}, 401), convo.AuthenticationFailed),
        (answer({"error": {"message": "no such route"}}, 404), convo.BadRequest),
        (answer(b"<html>"), convo.BadModelResponse),
        (answer({}), convo.BadModelResponse),
        (answer({"data": [{"name": "no id"}]}), convo.BadModelResponse),
        (answer({"data": [{"id": 5}]}), convo.BadModelResponse),
        (answer([]), convo.BadModelResponse),
    ],
)
def test_what_goes_wrong_has_a_type(monkeypatch: pytest.MonkeyPatch, script: bytes, error: type[Exception]):
    with listing(monkeypatch, "OPENAI_BASE_URL", lambda _: script), pytest.raises(error):
        convo.list_models("openai")


def test_a_service_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    with pytest.raises(convo.ConnectionFailed, match=r"<ollama at http://127\.0\.0\.1:9> could not be reached"):
        convo.list_models("ollama")


@pytest.mark.parametrize("mark", ["again", ""])
def test_pages_end_at_a_mark_that_came_before(monkeypatch: pytest.MonkeyPatch, mark: str):
    told = {"data": [{"id": "a"}], "has_more": True, "last_id": mark}
    with listing(monkeypatch, "ANTHROPIC_BASE_URL", told) as server:
        assert ["anthropic/a"] == [each.name for each in convo.list_models("anthropic")]
    assert 2 == len(server.received)


def test_pages_end_somewhere(monkeypatch: pytest.MonkeyPatch):
    def endless(request: Received) -> Script:
        number = len(server.received)
        told = {"name": f"models/{number}", "supportedGenerationMethods": CHATS}
        return answer({"models": [told], "nextPageToken": f"{number}"})

    with listing(monkeypatch, "GEMINI_BASE_URL", endless) as server:
        assert MAX_PAGES == len(convo.list_models("gemini"))
    assert MAX_PAGES == len(server.received)


@pytest.mark.parametrize("mark", ["x" * 2049, "x" * 100_000])
def test_a_mark_that_no_address_can_hold_is_a_bad_answer(monkeypatch: pytest.MonkeyPatch, mark: str):
    told = {"data": [], "has_more": True, "last_id": mark}
    with (
        listing(monkeypatch, "ANTHROPIC_BASE_URL", told),
        pytest.raises(convo.BadModelResponse, match="names its next page with more than 2,048 characters"),
    ):
        convo.list_models("anthropic")


def test_a_mark_is_sent_as_it_came_whatever_it_is(monkeypatch: pytest.MonkeyPatch):
    told = {"data": [], "has_more": True, "last_id": "ü&limit=1 \ud800#\r\nhost: x"}
    with listing(monkeypatch, "ANTHROPIC_BASE_URL", told) as server:
        assert [] == convo.list_models("anthropic")
    assert "GET /v1/models?limit=1000&after_id=%C3%BC%26limit%3D1%20%3F%23%0D%0Ahost%3A%20x HTTP/1.1" == (
        server.received[1].line
    )


def test_names_that_cannot_be_names_are_left_out(monkeypatch: pytest.MonkeyPatch):
    names = ["a\nb", "\x1b[31m", "", "x" * 1100, "\ud800", "good", "good"]
    with listing(monkeypatch, "OPENAI_BASE_URL", {"data": [{"id": each} for each in names]}):
        assert ["openai/good"] == [each.name for each in convo.list_models("openai")]


def test_one_deadline_is_for_all_requests(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("convo.clients.http.LIMITS_S", 0.5)

    def slow(request: Received) -> Script:
        if not request.body:
            return answer({"models": [{"name": f"m{number}"} for number in range(50)]})
        time.sleep(0.1)
        return answer({})

    with (
        listing(monkeypatch, "OLLAMA_HOST", slow) as server,
        pytest.raises(convo.CallTimedOut, match=r"ollama.* 0\.5 s"),
    ):
        convo.list_models("ollama")
    assert len(server.received) < 10
