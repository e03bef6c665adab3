"""Names of models lead to their services: where the environment says, with its keys, within the limits they tell."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pexpect
import pytest

import convo
from convo import Model
from convo.clients.http import HttpClient
from convo.clients.providers import KNOWN, Provider, url_of
from convo.models import resolve, resolve_async
from tests.model_server import ModelServer, Received, Script, answer, events, lines, routing
from tests.test_docs import ROOT, blocks

KEYS = {"OPENAI_API_KEY": "key-o", "ANTHROPIC_API_KEY": "key-a", "GEMINI_API_KEY": "key-g"}
URLS = ["OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GEMINI_BASE_URL", "OLLAMA_HOST", "PALM_BASE_URL"]

MODELS: dict[str, Any] = {
    "GET /models": {"data": [{"id": "test", "max_model_len": 8000}, {"id": "gpt-4o-mini"}, {"id": "silent"}]},
    "GET /v1/models/claude-sonnet-4-5": {"max_input_tokens": 200_000},
    "GET /v1beta/models/gemini-2.5-flash": {"inputTokenLimit": 1_048_576},
    "GET /v1/models/claude": {"id": "claude", "max_input_tokens": 200_000, "max_tokens": 64_000},
    "GET /v1/models/silent": {"id": "silent"},
    "GET /v1beta/models/gem": {"name": "models/gem", "inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536},
    "GET /v1beta/tunedModels/mine": {"name": "tunedModels/mine", "inputTokenLimit": 4096},
    "POST /api/show": {"parameters": "stop x\nnum_ctx 8192", "model_info": {"llama.context_length": 131_072}},
    "GET /v1beta/models/chat-bison-001": {"name": "models/chat-bison-001", "inputTokenLimit": 4096},
}


def said(request: Received) -> str:
    """Return what every service answers: which one it is, and the newest message that it was sent."""
    body = request.json
    turns = body.get("messages") or body.get("contents") or body["prompt"]["messages"]
    newest = turns[-1].get("content") or turns[-1]["parts"][0]["text"]
    return f"{len(turns)} {newest}"


def route(request: Received) -> Script:
    """Answer as the service does whose address was asked."""
    line = request.line.removesuffix(" HTTP/1.1").partition("?")[0]
    if line in MODELS:
        return answer(MODELS[line])
    usage = {"prompt_tokens": 11, "completion_tokens": 7}
    if line == "POST /chat/completions":
        text = said(request)
        if not request.json.get("stream"):
            return answer({"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage})
        return events(
            *({"choices": [{"index": 0, "delta": {"content": each}}]} for each in text.partition(" ")),
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]},
            {"choices": [], "usage": usage},
            "[DONE]",
        )
    if line == "POST /v1/messages" and not request.json.get("stream"):
        return answer({"content": [{"type": "text", "text": said(request)}], "stop_reason": "end_turn"})
    if line == "POST /v1/messages":
        return events(
            {"type": "message_start", "message": {"usage": {"input_tokens": 12, "output_tokens": 1}}},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": said(request)}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 8}},
            {"type": "message_stop"},
        )
    if line.startswith("POST /v1beta/models/gem") and line.endswith(":streamGenerateContent"):
        counted = {"promptTokenCount": 13, "candidatesTokenCount": 9}
        content = {"parts": [{"text": said(request)}]}
        return events({"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": counted})
    if line.startswith("POST /v1beta/models/gem"):
        return answer({"candidates": [{"content": {"parts": [{"text": said(request)}]}, "finishReason": "STOP"}]})
    if line == "POST /api/chat" and not request.json["stream"]:
        return answer({"message": {"content": said(request)}, "done": True, "done_reason": "stop"})
    if line == "POST /api/chat":
        return lines(
            {"message": {"content": said(request)}, "done": False},
            {"done": True, "done_reason": "stop", "prompt_eval_count": 14, "eval_count": 10},
        )
    if line == "POST /v1beta/models/chat-bison-001:generateMessage":
        return answer({"candidates": [{"author": "1", "content": said(request)}]})
    return answer({"error": {"message": "no such thing", "code": "not_found"}}, 404)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    """Return a server that is all services at once, and where the environment leads."""
    with routing(route) as server:
        for name in URLS:
            monkeypatch.setenv(name, server.url)
        for name, key in KEYS.items():
            monkeypatch.setenv(name, key)
        yield server


# ---- limits


@pytest.mark.parametrize(
    ("name", "limit", "output"),
    [
        ("openai/test", 6000, None),  # three quarters of its one window
        ("openai/gpt-4o-mini", 111_616, 16_384),  # by the table: the window, less the longest answer
        ("anthropic/claude", 200_000, 64_000),
        ("gemini/gem", 1_048_576, 65_536),
        ("models/gem", 1_048_576, 65_536),
        ("tunedModels/mine", 4096, None),
        ("ollama/llama", 6144, None),
        ("models/chat-bison-001", 4096, None),
    ],
)
def test_a_model_has_the_limits_that_its_service_tells(server: ModelServer, name: str, limit: int, output: int | None):
    model = convo.get_model(name)
    assert (name, limit, output) == (model.name, model.input_token_limit, model.output_token_limit)


@pytest.mark.parametrize(
    ("shown", "limit"),
    [
        ({"parameters": "num_ctx                        2048"}, 1536),
        ({"model_info": {"general.architecture": "x", "x.context_length": 131_072}}, 3072),
        ({"model_info": {"x.context_length": 1024}}, 768),
        ({"model_info": {"x.context_length": "many"}}, 3072),
        ({}, 3072),
    ],
)
def test_ollama_is_taken_to_run_the_smallest_window_that_it_may(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch, shown: dict[str, Any], limit: int
):
    monkeypatch.setitem(MODELS, "POST /api/show", shown)
    assert limit == convo.get_model("ollama/other").input_token_limit


def test_a_service_is_asked_once_for_a_models_limits(server: ModelServer):
    for _ in range(3):
        convo.get_model("gemini/gem")
    assert 1 == len(server.received)


@pytest.mark.parametrize("name", ["openai/silent", "anthropic/silent"])
def test_a_limit_that_nobody_tells_is_not_guessed(server: ModelServer, name: str):
    with pytest.raises(convo.LimitUnknown, match=f"how many tokens {name} takes: create the conversation with"):
        convo.get_model(name)
    with convo.Store("sqlite://") as store:
        with pytest.raises(convo.LimitUnknown):
            store.create(model=name)
        talk = store.create(model=name, input_token_limit=500)
        assert 500 == talk.preview("hi").limit
        with pytest.raises(convo.LimitUnknown):
            store.create(model="offline/eliza").update(model=name)
        assert name == store.create(model="offline/eliza").update(model=name, input_token_limit=9).model


def test_a_chat_may_be_given_the_limit_with_the_model(server: ModelServer):
    response = convo.chat(model=Model("openai/silent", 500), messages="hi")
    assert ("1 hi", 500) == (response.last, response.prompt.limit)
    with pytest.raises(convo.LimitUnknown):
        convo.chat(model="openai/silent", messages="hi")


@pytest.mark.parametrize("name", ["anthropic/none", "gemini/none"])
def test_a_model_that_a_service_has_not_is_not_found(server: ModelServer, name: str):
    with pytest.raises(
        convo.ModelNotFound, match=f"no model '{name}': this release serves what {name.split('/', maxsplit=1)[0]} has"
    ):
        convo.get_model(name)


# ---- where, and with which key


@pytest.mark.parametrize("name", ["openai/test", "anthropic/claude", "gemini/gem"])
def test_a_service_whose_key_is_missing_is_not_asked(name: str):
    with pytest.raises(convo.InvalidInput, match=f"there is no key for {name.partition('/')[0]}: set "):
        convo.get_model(name)


def test_a_service_of_ones_own_may_want_no_key(server: ModelServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    convo.get_model("openai/test")
    assert "authorization" not in server.received[-1].headers


def test_another_environment_is_another_service(server: ModelServer, monkeypatch: pytest.MonkeyPatch):
    first = resolve("openai/test").client
    assert first is resolve("openai/test").client
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    second = resolve("openai/test").client
    assert isinstance(second, HttpClient)
    assert first is not second
    assert "Bearer another" == server.received[-1].headers["authorization"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("example.com", "http://example.com:11434"),
        ("example.com:1", "http://example.com:1"),
        ("example.com:1/below", "http://example.com:1/below"),
        ("http://example.com", "http://example.com"),
        ("https://example.com", "https://example.com"),
        (":1", "http://127.0.0.1:1"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:1", "http://127.0.0.1:1"),
        ("http://0.0.0.0:1", "http://127.0.0.1:1"),
        ("[::1]", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::]:1", "http://[::1]:1"),
        (' "example.com" ', "http://example.com:11434"),
    ],
)
def test_ollamas_host_means_what_it_means_to_ollamas_own_client(written: str, meant: str):
    ollama = next(each for each in KNOWN if each.name == "ollama")
    assert meant == url_of(ollama, {"OLLAMA_HOST": written})


@pytest.mark.parametrize("written", ["{host}", "http://{host}", "http://{host}/"])
def test_ollamas_host_may_be_written_as_ollama_reads_it(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch, written: str
):
    monkeypatch.setenv("OLLAMA_HOST", written.format(host=server.url.removeprefix("http://")))
    assert 6144 == convo.get_model("ollama/llama").input_token_limit


def test_a_name_of_nobody_names_those_there_are():
    with pytest.raises(convo.ModelNotFound) as caught:
        convo.get_model("nobody/x")
    assert "offline/eliza, offline/echo, openai/…, anthropic/…, gemini/…, ollama/…, models/…" in str(caught.value)


def test_the_retired_model_is_served_where_somebody_serves_it(server: ModelServer):
    response = convo.chat(messages="hi")  # and nothing warns
    assert ("1 hi", "models/chat-bison-001") == (response.last, response.served_by)
    assert {"author": "0", "content": "hi"} == server.received[-1].json["prompt"]["messages"][0]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_event_loop_finds_the_same(server: ModelServer, backend: str):
    async def found() -> Model:
        return (await resolve_async("gemini/gem", deadline_s=5)).model

    assert convo.get_model("gemini/gem") == anyio.run(found, backend=backend)


PAGE = ROOT / "docs" / "models.md"


COMMANDS = [line for each in blocks(PAGE, "sh") for line in each.splitlines()]


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.startswith("convo chat")])
def test_the_commands_of_the_page_run(server: ModelServer, tmp_path: Path, command: str):
    program, *rest = shlex.split(command)
    assert "convo" == program
    url = f"sqlite:///{tmp_path / 'chats.db'}"
    told = subprocess.run(
        [sys.executable, "-m", "convo", "--database", url, *rest], capture_output=True, text=True, check=True
    )
    assert "1 Name a colour." == told.stdout.strip()


@pytest.mark.parametrize("provider", KNOWN, ids=lambda each: each.name)
def test_the_page_names_every_variable(provider: Provider):
    page = PAGE.read_text(encoding="utf-8")
    assert [] == [each for each in (*provider.url_variables, *provider.key_variables) if f"`{each}`" not in page]


# ---- a conversation that goes from one to the next

WAYS = [
    ("openai/test", "openai", 11, 7, "length"),
    ("anthropic/claude", "anthropic", 12, 8, "stop"),
    ("gemini/gem", "gemini", 13, 9, "stop"),
    ("ollama/llama", "ollama", 14, 10, "stop"),
]


def test_a_conversation_goes_on_with_another_service(server: ModelServer):
    with convo.Store("sqlite://") as store:
        talk = store.create(model="openai/test")
        for number, (name, _, asked, answered, end) in enumerate(WAYS):
            pieces = [each.text for each in talk.stream(f"message {number}", model=name)]
            reply = talk.last_reply
            assert (f"{2 * number + 1} message {number}", "".join(pieces)) == (reply.text, reply.text)
            assert (asked, answered, end) == (reply.usage.input_tokens, reply.usage.output_tokens, reply.finish_reason)
        assert [name for name, *_ in WAYS] == [turn.model for turn in talk.turns()]


def test_the_command_line_streams_on_a_terminal_and_stores_what_it_cost(server: ModelServer, tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'chats.db'}"
    for number, (name, *_) in enumerate(WAYS):
        command = [*["-m", "convo", "--database"], url, "chat", "--name", "a", "--model", name, f"message {number}"]
        program = pexpect.spawn(sys.executable, command, timeout=30, encoding="utf-8", dimensions=(24, 100))
        program.expect(pexpect.EOF)
        program.close()
        assert (0, True) == (program.exitstatus, f"{2 * number + 1} message {number}" in str(program.before)), (
            program.before
        )
    shown = subprocess.run(
        [sys.executable, *["-m", "convo", "--database"], url, "show", "a", "--json"], capture_output=True, check=True
    )
    turns = json.loads(shown.stdout)["turns"]
    wanted = [(name, {"input_tokens": asked, "output_tokens": answered}, end) for name, _, asked, answered, end in WAYS]
    assert wanted == [(turn["model"], turn["usage"], turn["candidates"][0]["finish_reason"]) for turn in turns]
    assert not any(key in str(each.body) for each in server.received for key in KEYS.values())
    assert not any(key.encode() in (tmp_path / "chats.db").read_bytes() for key in KEYS.values())
