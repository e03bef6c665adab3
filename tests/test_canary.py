"""A key is seen nowhere: not in logs, errors, tracebacks or reprs, nor in the database and what is printed of it."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import convo
from convo.cli import main
from convo.models import _CLIENTS
from tests.model_server import ModelServer, Received, Script, answer, chunk, hang_up, head, routing

KEY = "sk-canary-5f0e9c1b7d"
PROVIDERS = {
    "openai": ("OPENAI_API_KEY", "OPENAI_BASE_URL"),
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"),
    "gemini": ("GEMINI_API_KEY", "GEMINI_BASE_URL"),
    "ollama": ("OLLAMA_API_KEY", "OLLAMA_HOST"),
    "palm": ("PALM_API_KEY", "PALM_BASE_URL"),
}
MODELS = {name: "models/chat-bison-001" if name == "palm" else f"{name}/test" for name in PROVIDERS}
AT_ONCE = {"x-should-retry": "false"}
SAYS_IT = {
    "error": {"message": f"no such key: {KEY}", "type": KEY, "code": KEY, "status": KEY},
    "message": KEY,
    "model": KEY,
}
STREAM = head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})

FAILURES: dict[str, Script] = {
    "a wrong key": answer(SAYS_IT, 401),
    "a key that may not": answer(SAYS_IT, 403),
    "a bad request": answer(SAYS_IT, 400),
    "no such model": answer(SAYS_IT, 404),
    "too many requests": answer(SAYS_IT, 429, AT_ONCE),
    "a failing server": answer(SAYS_IT, 500, AT_ONCE),
    "an error in a list": answer([SAYS_IT], 400),
    "a text": answer(f"the key {KEY} is wrong".encode(), 400),
    "a text that is taken for an answer": answer(f"the key {KEY} is wrong".encode()),
    "an answer of another shape": answer({"choices": KEY, "candidates": KEY, "content": KEY, "message": KEY}),
    "a redirect": answer(b"", 302, {"location": "https://example.org/"}),
    "an error in a stream": STREAM
    + chunk(f'data: {{"error": {{"message": "{KEY}", "code": "{KEY}"}}}}\n\n')
    + chunk(""),
    "an event of another shape": STREAM
    + chunk(f'event: error\ndata: {{"type": "error", "error": "{KEY}"}}\n\n')
    + chunk(""),
    "a stream that ends in the middle of an event": STREAM + chunk(f"data: {KEY}") + chunk(""),
}


class Seen:
    """Everything that somebody may have seen of failing calls."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.errors: list[str] = []

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Note what is raised, and whatever led to it, also where that is not shown."""
        try:
            yield
        except convo.ConvoError as error:
            self.errors.append(type(error).__name__)
            shown = [repr(error), str(error), str(error.args), repr(vars(error))]
            chain: BaseException | None = error
            while chain is not None:
                shown += traceback.TracebackException.from_exception(chain).format(chain=False)
                chain = chain.__cause__ or chain.__context__
            self.texts += shown


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Set a planted key for each service."""
    for key, _ in PROVIDERS.values():
        monkeypatch.setenv(key, KEY)
    return str(request.param)


def calls(store: convo.Store, model: str) -> list[Callable[[], object]]:
    """Return all that asks a service."""
    talk = store.create(input_token_limit=4096, context="Be brief.")
    store.database.write(lambda repository: repository.update(repository.get(talk.id, ""), model=model))
    talk = store.get(talk.id)
    return [
        lambda: talk.send("hi", on_unfinished="discard"),
        lambda: list(talk.stream("hi", on_unfinished="discard")),
        lambda: convo.chat(model=convo.Model(model, 4096), messages="hi"),
        lambda: anyio.run(lambda: convo.chat_async(model=convo.Model(model, 4096), messages="hi")),
        lambda: convo.get_model(model),
        lambda: convo.list_models(next(name for name, each in MODELS.items() if each == model)),
        lambda: convo.count_message_tokens(model=model, messages="hi"),
    ]


@pytest.mark.filterwarnings("ignore:ollama/test counted")
def test_a_planted_key_is_seen_nowhere(
    provider: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    with convo.Store(f"sqlite:///{tmp_path / 'chats.db'}") as store:
        for failure, script in FAILURES.items():
            seen = Seen()
            with failing(script) as server:
                monkeypatch.setenv(PROVIDERS[provider][1], server.url)
                for call in calls(store, MODELS[provider]):
                    with seen.watching():
                        call()
                assert KEY in str([each.headers for each in server.received]), f"{failure}: the key was not even sent"
            assert seen.errors, f"nothing failed: {failure}"
            assert [] == [each for each in seen.texts if KEY in each], failure
        shown = [repr(store), *map(repr, store.list()), repr(list(_CLIENTS)), repr(list(_CLIENTS.values()))]
        shown += [repr(each.turns()) + repr(each.events()) for each in store.list()]
    assert [] == [each for each in [*shown, caplog.text] if KEY in each]
    assert 0 == bytes_of(tmp_path).count(KEY.encode())


@pytest.mark.parametrize("failure", ["a wrong key", "an error in a stream"])
def test_the_command_line_shows_no_key(
    provider: str,
    failure: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("CONVO_DATABASE_URL", f"sqlite:///{tmp_path / 'chats.db'}")
    with failing(FAILURES[failure]) as server:
        monkeypatch.setenv(PROVIDERS[provider][1], server.url)
        run(monkeypatch, "chat", "--name", "a", "-m", MODELS[provider], "--input-token-limit", "4096", "hi")
        run(monkeypatch, "list", "--json")
        run(monkeypatch, "show", "a", "--json")
        run(monkeypatch, "models", "--json")
        run(monkeypatch, "models", "--check", "-p", provider)
        assert KEY in str([each.headers for each in server.received]), "the key was not even sent"
    told = capsys.readouterr()
    assert "failed" in told.out, "nothing failed"
    assert [] == [each for each in [told.out, told.err, caplog.text] if KEY in each]
    assert 0 == bytes_of(tmp_path).count(KEY.encode())


def bytes_of(folder: Path) -> bytes:
    """Return all that stands in the files of a folder."""
    return b"".join(each.read_bytes() for each in folder.rglob("*") if each.is_file())


@contextlib.contextmanager
def failing(script: Script) -> Iterator[ModelServer]:
    """Yield a server that tells limits, and answers everything else with `script`, after which it hangs up."""

    def send(connection: Any) -> None:
        connection.sendall(script)
        hang_up(connection)

    def route(received: Received) -> Script:
        return send

    with routing(route) as server:
        yield server


def run(monkeypatch: pytest.MonkeyPatch, *command: str) -> None:
    """Run a command of the command line, whatever comes of it."""
    monkeypatch.setattr("sys.argv", ["convo", *command])
    with contextlib.suppress(SystemExit):
        main()
