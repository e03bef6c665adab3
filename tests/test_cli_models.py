"""`convo models`: what can be used here without asking anybody, what a service has, and who answers."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from convo.clients.providers import Provider
from convo.config import configuration
from convo.settings import File, ProviderTable
from tests.model_server import ModelServer, answer, routing
from tests.test_catalog import ANSWERS, route
from tests.test_cli import Run, chats, error_line, run  # noqa: F401 - fixtures
from tests.test_config import KEY, Write, at, write  # noqa: F401 - a fixture
from tests.test_docs import blocks
from tests.test_providers import COMMANDS, PAGE


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """Return a server that is all services at once, and that nothing leads to yet."""
    with routing(route) as server:
        yield server


@pytest.fixture
def configured(server: ModelServer, write: Write, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811 - a fixture
    """Return a configuration file with a bit of everything; its keys are set."""
    monkeypatch.setenv("LOCAL_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return write(
        'model = "fast"\n[aliases]\nfast = "openai/gpt-4o-mini"\nbig = "local/a"\n[limits]\n"local/a" = 8000\n'
        f'[providers.openai]\nbase_url = "{server.url}"\n'
        f'[providers.local]\n{at(server)}key_variable = "LOCAL_KEY"\n'
    )


def rows(out: str) -> list[list[str]]:
    return [line.split("\t") for line in out.splitlines()]


def test_without_anything_set_up_there_are_the_embedded_models_and_the_known_services(run: Run):  # noqa: F811
    ran = run("models")
    assert 0 == ran.code
    assert [
        ["model", "offline/eliza", "4096", "default"],
        ["model", "offline/echo", "1000000", ""],
        ["provider", "openai", "OPENAI_API_KEY", "not set", "https://api.openai.com/v1"],
        ["provider", "anthropic", "ANTHROPIC_API_KEY", "not set", "https://api.anthropic.com"],
        ["provider", "gemini", "GEMINI_API_KEY", "not set", "https://generativelanguage.googleapis.com"],
        ["provider", "ollama", "OLLAMA_API_KEY", "-", "http://127.0.0.1:11434"],
        ["provider", "palm", "PALM_API_KEY", "-", ""],
    ] == rows(ran.out)
    assert "there is no configuration file " in ran.err
    assert "config/convo/config.toml" in ran.err


def test_what_the_configuration_says_is_shown_and_nobody_is_asked(
    run: Run,  # noqa: F811
    server: ModelServer,
    configured: Path,
):
    ran = run("models")
    told = rows(ran.out)
    assert ["model", "local/a", "8000", ""] in told
    assert ["model", "openai/gpt-4o-mini", "?", "default"] in told
    assert [["alias", "big", "local/a"], ["alias", "fast", "openai/gpt-4o-mini"]] == [
        each for each in told if each[0] == "alias"
    ]
    assert ["provider", "openai", "OPENAI_API_KEY", "set", server.url] in told
    assert ["provider", "local", "LOCAL_KEY", "set", server.url] == told[-1]
    assert f"configuration: {configured}\n" == ran.err
    assert [] == server.received
    assert KEY not in ran.out + ran.err


def test_the_environment_is_shown_where_it_leads(run: Run, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", f"https://me:{KEY}@gateway.example.org/v1?key={KEY}#{KEY}")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", f"http://[{KEY}")
    monkeypatch.setenv("CONVO_MODEL", "offline/echo")
    ran = run("models")
    told = rows(ran.out)
    assert ["model", "offline/echo", "1000000", "default"] in told
    assert ["provider", "openai", "OPENAI_API_KEY", "-", "https://gateway.example.org/v1"] in told
    assert ["provider", "anthropic", "ANTHROPIC_API_KEY", "-", "no URL"] in told
    assert ["provider", "gemini", "GOOGLE_API_KEY", "set", "https://generativelanguage.googleapis.com"] in told
    assert ["provider", "palm", "GOOGLE_API_KEY", "set", ""] in told
    assert KEY not in ran.out + ran.err


def test_json_tells_the_same(run: Run, server: ModelServer, configured: Path):  # noqa: F811
    ran = run("models", "--json")
    told = json.loads(ran.out)
    assert (str(configured), "openai/gpt-4o-mini") == (told["configuration"], told["default"])
    assert {"name": "openai/gpt-4o-mini", "input_token_limit": None} in told["models"]
    assert {"name": "local/a", "input_token_limit": 8000} in told["models"]
    assert {"big": "local/a", "fast": "openai/gpt-4o-mini"} == told["aliases"]
    assert {
        "name": "local",
        "protocol": "openai",
        "url": server.url,
        "key_variable": "LOCAL_KEY",
        "has_key": True,
        "needs_key": True,
    } == told["providers"][-1]
    assert "" == ran.err
    assert KEY not in ran.out


def test_a_service_is_asked_for_its_models(run: Run, configured: Path):  # noqa: F811
    ran = run("models", "--provider", "local")
    assert [
        ["local/gpt-4o-mini", "?", ""],
        ["local/vllm", "6000", ""],
        ["local/org/routed", "12000", ""],
        ["local/whisper-1", "?", ""],
    ] == rows(ran.out)
    assert "" == ran.err
    told = json.loads(run("models", "-p", "local", "--json").out)
    assert {"name": "local/vllm", "input_token_limit": 6000, "output_token_limit": None, "display_name": ""} == told[1]
    assert [None, 6000, 12_000, None] == [each["input_token_limit"] for each in told]


def test_what_a_service_calls_a_model_stays_on_its_line(run: Run, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    told = {"data": [{"id": "a", "display_name": "A\tB\r\nC", "max_input_tokens": 5}]}
    with routing(lambda _: answer(told)) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        assert [["anthropic/a", "5", "A B C"]] == rows(run("models", "-p", "anthropic").out)


def test_a_service_without_models_says_so(
    run: Run,  # noqa: F811
    configured: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setitem(ANSWERS, "GET /models", {"data": []})
    ran = run("models", "--provider", "local")
    assert (0, "", "local lists no models\n") == (ran.code, ran.out, ran.err)
    assert "[]\n" == run("models", "--provider", "local", "--json").out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--provider", "nobody"], 2, "no provider 'nobody': there are offline, openai, "),
        (["--provider", "nobody", "--check"], 2, "no provider 'nobody': there are offline, openai, "),
        (["--provider", ""], 2, "no provider ''"),
        (["--provider", "openai"], 1, "there is no key for openai: set OPENAI_API_KEY"),
        (["--provider", "palm"], 1, "nobody says where palm is: set PALM_BASE_URL, or base_url in [providers.palm]"),
    ],
)
def test_what_cannot_be_asked_is_told_in_one_line(run: Run, arguments: list[str], code: int, words: str):  # noqa: F811
    ran = run("models", *arguments)
    assert (code, "") == (ran.code, ran.out)
    assert words in error_line(ran)


def test_a_broken_configuration_is_told_in_one_line(run: Run, chats: str, write: Write):  # noqa: F811
    path = write(f'api_key = "{KEY}"')
    for command in (
        ["models"],
        ["models", "--check"],
        ["-d", chats, "chat", "hi"],
        ["-d", chats, "chat", "-m", "x", "y"],
    ):
        ran = run(*command)
        assert (1, "") == (ran.code, ran.out)
        assert f"error: {path}: api_key may not stand in the file: keys are read from" in error_line(ran)
        assert KEY not in ran.err


def test_all_that_is_set_up_is_checked_a_line_each(run: Run, server: ModelServer, configured: Path):  # noqa: F811
    ran = run("models", "--check")
    assert [["openai", "ok", "4 models"], ["local", "ok", "4 models"]] == rows(ran.out)
    assert (0, ["GET /models HTTP/1.1"] * 2) == (ran.code, [each.line for each in server.received])
    told = json.loads(run("models", "--check", "--json").out)
    assert {"provider": "local", "ok": True, "models": 4, "error": None} == told[1]


def test_one_that_fails_is_told_with_the_reason(
    run: Run,  # noqa: F811
    server: ModelServer,
    configured: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("LOCAL_KEY")
    monkeypatch.setenv("GEMINI_BASE_URL", server.url + "/nowhere")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://[")
    ran = run("models", "--check")
    openai, anthropic, gemini, local = rows(ran.out)
    assert (1, ["openai", "ok", "4 models"]) == (ran.code, openai)
    assert ["anthropic", "failed", "the base URL of anthropic must be http(s)://host…, without name or password"] == (
        anthropic
    )
    assert ["gemini", "failed", True] == [*gemini[:2], "404" in gemini[2]]
    assert ["local", "failed", "there is no key for local: set LOCAL_KEY"] == local
    ran = run("models", "--check", "--json")
    told = json.loads(ran.out)
    assert (1, [True, False, False, False]) == (ran.code, [each["ok"] for each in told])
    ran = run("models", "--check", "-p", "openai")
    assert (0, ["openai"]) == (ran.code, [each[0] for each in rows(ran.out)])


def test_a_service_that_repeats_the_key_does_not_have_it_shown(
    run: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    refusal = answer({"error": {"message": f"wrong key\n{KEY}", "code": KEY}}, 401)
    with routing(lambda _: refusal) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        for arguments in (["--check"], ["--check", "--json"], ["--provider", "openai"]):
            ran = run("models", *arguments)
            assert 1 == ran.code
            assert "does not accept the key" in ran.out + ran.err
            assert KEY not in ran.out + ran.err


def test_without_a_service_there_is_nothing_to_check(run: Run, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    monkeypatch.setenv("PALM_API_KEY", KEY)  # and nobody says where
    ran = run("models", "--check")
    assert (0, "") == (ran.code, ran.out)
    assert "no service is set up" in ran.err
    assert "[]\n" == run("models", "--check", "--json").out


def test_the_embedded_models_can_be_listed_and_always_answer(run: Run):  # noqa: F811
    assert [["offline", "ok", "2 models"]] == rows(run("models", "--check", "--provider", "offline").out)
    assert [["offline/eliza", "4096", "Eliza"], ["offline/echo", "1000000", "Echo"]] == rows(
        run("models", "--provider", "offline").out
    )


def test_ollama_is_checked_where_somebody_tells_of_it(
    run: Run,  # noqa: F811
    server: ModelServer,
    write: Write,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("OLLAMA_HOST", server.url.removeprefix("http://"))
    assert [["ollama", "ok", "3 models"]] == rows(run("models", "--check").out)
    assert ["GET /api/tags HTTP/1.1"] == [each.line for each in server.received]
    monkeypatch.delenv("OLLAMA_HOST")
    write(f'[providers.ollama]\nbase_url = "{server.url}"')
    assert [["ollama", "ok", "3 models"]] == rows(run("models", "--check").out)


def test_an_alias_is_a_model_on_the_command_line(run: Run, chats: str, write: Write):  # noqa: F811
    write('[aliases]\nfast = "offline/echo"')
    ran = run("-d", chats, "chat", "--name", "a", "-m", "fast", "hi")
    assert ("hi\n", True) == (ran.out, "'a', offline/echo" in ran.err)
    assert "from now on" not in run("-d", chats, "chat", "--name", "a", "-m", "fast", "hi").err
    assert "offline/echo" == json.loads(run("-d", chats, "list", "--json").out)[0]["model"]


def on_terminal(*arguments: str, columns: int = 80) -> str:
    program = pexpect.spawn(
        sys.executable, ["-m", "convo", *arguments], timeout=30, encoding="utf-8", dimensions=(40, columns)
    )
    program.expect(pexpect.EOF)
    program.close()
    return str(program.before).replace("\r\n", "\n")


def test_a_terminal_gets_tables_that_fit(server: ModelServer, configured: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("COLUMNS")
    told = on_terminal("models")
    assert f"""MODEL               LIMIT
offline/eliza       4096
offline/echo        1000000
local/a             8000
openai/gpt-4o-mini  ?        default

ALIAS  MODEL
big    local/a
fast   openai/gpt-4o-mini

PROVIDER   KEY                         WHERE
openai     OPENAI_API_KEY     set      {server.url}
anthropic  ANTHROPIC_API_KEY  not set  https://api.anthropic.com
gemini     GEMINI_API_KEY     not set  https://generativelanguage.googleapis.com
ollama     OLLAMA_API_KEY     -        http://127.0.0.1:11434
palm       PALM_API_KEY       -
local      LOCAL_KEY          set      {server.url}
""" == told.partition("\n")[2]
    assert max(map(len, told.splitlines()[1:])) <= 80
    assert "openai  ok      4 models\nlocal   ok      4 models\n" == on_terminal("models", "--check")
    assert "MODEL              LIMIT  CALLED\nlocal/gpt-4o-mini  ?\n" in on_terminal("models", "-p", "local")


@pytest.mark.parametrize("command", [each for each in COMMANDS if not each.startswith("convo chat")])
def test_the_commands_of_the_page_run(run: Run, configured: Path, command: str):  # noqa: F811
    program, *arguments = shlex.split(command)
    ran = run(*arguments)
    assert ("convo", 0, True) == (program, ran.code, "openai" in ran.out)


def test_the_example_of_the_page_is_a_configuration(write: Write):  # noqa: F811
    (example,) = blocks(PAGE, "toml")
    path = write(example)
    told = configuration()
    assert (str(path), "openai/gpt-4o-mini") == (told.file, told.model)
    assert {"local/llama-3.1-8b": 8000} == told.limits
    assert (
        Provider(
            "local",
            "openai",
            "http://127.0.0.1:8080/v1",
            key_variables=("LOCAL_API_KEY",),
            strict=False,
            output_limit="max_tokens",
            lacks=("top_k",),
            key_header="api-key",
            fold_examples=True,
        )
        == (told.providers["local"])
    )
    assert 16_384 == told.providers["ollama"].num_ctx


def test_every_option_of_the_file_is_in_the_example_of_the_page():
    (example,) = blocks(PAGE, "toml")
    missing = [each for each in (*File.model_fields, *ProviderTable.model_fields) if each not in example]
    assert [] == missing


def test_help_tells_of_keys(run: Run):  # noqa: F811
    assert "never shown" in " ".join(run("models", "--help").out.split())


def test_one_service_may_be_slow_for_so_long(run: Run, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    monkeypatch.setattr("convo.cli.models.CHECK_S", 0.3)

    def silent(connection: Any) -> None:
        connection.recv(1)

    with routing(lambda _: silent) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        ran = run("models", "--check")
    assert (1, True) == (ran.code, "0.3 s" in ran.out), ran.out
