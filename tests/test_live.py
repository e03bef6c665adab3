"""The services themselves, where CONVO_LIVE is set, as they cost money, and each when its key is.

`CONVO_LIVE=1 pytest tests/test_live.py` tells which were not run; none is told as passed that was not. Ollama runs
where OLLAMA_HOST is set; CONVO_LIVE_OPENAI and the like name other models than those below.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import convo
from tests.model_server import ModelServer, answer
from tests.recording import whole

SERVICES = {
    "openai": (("OPENAI_API_KEY",), "gpt-4.1-mini"),
    "anthropic": (("ANTHROPIC_API_KEY",), "claude-haiku-4-5"),
    "gemini": (("GEMINI_API_KEY", "GOOGLE_API_KEY"), "gemini-2.5-flash"),
    "ollama": (("OLLAMA_HOST",), "llama3.2"),
    "palm": (("PALM_BASE_URL",), "chat-bison-001"),
}
"""What has to be set, and the model that is asked."""


@pytest.fixture(autouse=True)
def _no_certificates() -> None:
    """Let clients find the machine's certificates: here they are needed."""


@pytest.fixture(autouse=True)
def _no_providers() -> None:
    """Leave the user's keys and servers where they are: here they are what is tested."""


@pytest.fixture(params=SERVICES)
def model(request: pytest.FixtureRequest) -> str:
    """Return the model of a service that can be reached."""
    variables, name = SERVICES[request.param]
    if not os.environ.get("CONVO_LIVE"):
        pytest.skip(f"NOT RUN: {request.param} needs CONVO_LIVE=1, as it may cost money")
    if not any(os.environ.get(each) for each in variables):
        pytest.skip(f"NOT RUN: {request.param} needs {' or '.join(variables)}")
    name = os.environ.get(f"CONVO_LIVE_{request.param.upper()}", name)
    return f"models/{name}" if request.param == "palm" else f"{request.param}/{name}"


@pytest.fixture
def talk(model: str, tmp_path: Path) -> Iterator[convo.Conversation]:
    """Return a conversation with that model."""
    with convo.Store(f"sqlite:///{tmp_path / 'live.db'}") as store:
        yield store.create(model=model, context="Answer with one word.", examples=[("2 + 2?", "4")])


def test_a_service_answers_and_counts(talk: convo.Conversation):
    reply = talk.send("What is the capital of France?")
    assert "paris" in reply.text.lower()
    assert reply.usage is None or (reply.usage.input_tokens or 0) > 0
    assert talk.model.startswith("models/") or reply.finish_reason == "stop"


def test_a_service_streams_and_remembers(talk: convo.Conversation):
    talk.send("My name is Ada.")
    text = "".join(piece.text for piece in talk.stream("What is my name?"))
    assert "ada" in text.lower()
    assert text == talk.last_reply.text


def test_a_service_tells_its_limits_and_what_it_has(model: str):
    assert convo.get_model(model).input_token_limit > 1000
    provider = "palm" if model.startswith("models/") else model.partition("/")[0]
    assert convo.list_models(provider)


def test_a_service_counts_about_what_is_estimated(model: str):
    counted = convo.count_message_tokens(model=model, context="Be brief.", messages="How many tokens are these words?")
    assert 5 < counted["token_count"] < 60


def test_a_service_whose_key_is_set_is_asked(monkeypatch: pytest.MonkeyPatch):
    listed = {"data": [{"id": "gpt-4.1-mini", "context_length": 8192}]}
    with ModelServer([answer(listed), answer(whole("openai", ["Paris."]))]) as server:
        monkeypatch.setenv("CONVO_LIVE", "1")
        monkeypatch.setenv("OPENAI_API_KEY", "key")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", __file__]
        done = subprocess.run([*command, "-k", "openai and answers"], capture_output=True, text=True)
    assert (0, 2) == (done.returncode, len(server.received)), done.stdout
