"""The configuration file: what it says holds, what it may not say is refused by name, and no key is ever shown."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import convo
from convo import Message, Model
from convo.config import MAX_BYTES, Configuration, configuration
from convo.models import RETIRED, default_model, resolve, resolve_async
from convo.testing import ScriptedClient
from tests.model_server import ModelServer, routing
from tests.test_providers import route

KEY = "sk-planted-4711"

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes the user's own configuration file."""

    def written(text: str) -> Path:
        path = tmp_path / "config" / "convo" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return written


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """Return a server that is all services at once, and that nothing leads to yet."""
    with routing(route) as server:
        yield server


# ---- where it is


def test_without_a_file_there_is_what_is_known():
    assert Configuration() == configuration()


def test_the_file_is_in_the_users_own_folder(write: Write):
    path = write('model = "offline/echo"')
    assert (str(path), "offline/echo") == (configuration().file, default_model())


def test_a_variable_names_another_file(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write('model = "offline/nothing"')
    (tmp_path / "other.toml").write_text('model = "offline/echo"')
    monkeypatch.setenv("CONVO_CONFIG", str(tmp_path / "other.toml"))
    assert "offline/echo" == default_model()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONVO_CONFIG", "other.toml")
    assert str(tmp_path / "other.toml") == configuration().file


def test_an_empty_variable_names_nothing(write: Write, monkeypatch: pytest.MonkeyPatch):
    path = write("")
    monkeypatch.setenv("CONVO_CONFIG", "")
    assert str(path) == configuration().file


def test_the_null_device_is_a_file_that_says_nothing(write: Write, monkeypatch: pytest.MonkeyPatch):
    write('model = "offline/echo"')
    monkeypatch.setenv("CONVO_CONFIG", os.devnull)
    assert "offline/eliza" == default_model()


def test_a_file_that_changes_is_read_again(write: Write):
    path = write('model = "offline/echo"')
    assert configuration() is configuration()
    write('model = "offline/eliza"')
    assert "offline/eliza" == default_model()
    path.unlink()
    assert Configuration() == configuration()


def test_without_a_file_nothing_is_loaded_to_read_it():
    code = "import sys, convo.models; convo.models.default_model()"
    code += "; print([each for each in ('pydantic', 'tomllib', 'httpx') if each in sys.modules])"
    assert "[]\n" == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout


# ---- what may not stand in it

REFUSED = [
    ("model = ", "is not TOML: Invalid value (at end of document); see"),
    ("model = 5\nmodel = 6", "is not TOML: Cannot overwrite a value (at end of document); see"),
    ('model = "open', "is not TOML: Unterminated string (at end"),
    ("model =\nx = 1", "is not TOML: Invalid value (at line 1, column 8)"),
    (f"x = {{ {KEY} = 1, {KEY} = 2 }}", "is not TOML: Duplicate inline table key … (at"),
    ("x = " + "[" * 5000, "is not TOML: a number is too long, or it nests too deep"),
    ("x = " + "9" * 5000, "is not TOML: a number is too long, or it nests too deep"),
    (f"{KEY}", "is not TOML: Expected '=' after a key in a key/value pair (at end of document)"),
    ("model = 5", "model must be a string"),
    ('model = ""', "model must be one line of 1 to 1024 bytes"),
    (f'model = "{KEY}"', "model must be the whole name of a model, provider/name, or one of [aliases]"),
    ("modle = 5", "modle is not known: there are model, aliases, limits, providers"),
    ("[[model]]", "model must be a string"),
    ("aliases = 5", "aliases must be a table"),
    ("[aliases]\nfast = 5", "aliases.fast must be a string"),
    ('[aliases]\n"a/b" = "offline/echo"', 'aliases."a/b" has a "/" in it'),
    ('[aliases]\n"" = "offline/echo"', 'aliases."" must be one line'),
    ('[aliases]\n"a\\nb" = "offline/echo"', 'aliases."a\\nb" must be one line'),
    ('[aliases]\na = "a"', "aliases.a must be the whole name of a model, provider/name, and no alias"),
    (
        '[aliases]\na = "b"\nb = "offline/echo"',
        "aliases.a must be the whole name of a model, provider/name, and no alias",
    ),
    ('[aliases]\na = "x/\\u0007"', "aliases.a must be one line"),
    ('[aliases]\na = "x/' + "y" * 1100 + '"', "aliases.a must be one line of 1 to 1024 bytes"),
    ("limits = 5", "limits must be a table"),
    ('[limits]\n"openai/x" = 0', 'limits."openai/x" must be a whole number from 1 and below 2**31'),
    ('[limits]\n"openai/x" = 2147483648', 'limits."openai/x" must be a whole number from 1 and below 2**31'),
    ('[limits]\n"openai/x" = 8e3', 'limits."openai/x" must be a whole number'),
    ('[limits]\n"openai/x" = true', 'limits."openai/x" must be a whole number'),
    (f'[limits]\n"openai/x" = "{KEY}"', 'limits."openai/x" must be a whole number'),
    ('[aliases]\na = "openai/x"\n[limits]\na = 5', "limits.a must be the whole name of a model"),
    ('[limits]\n"nobody/x" = 5', 'limits."nobody/x" is nobody\'s model: there are openai, anthropic'),
    ('[limits]\n"openai/" = 5', 'limits."openai/" is nobody\'s model'),
    ('[limits]\n"offline/x" = 5', 'limits."offline/x" is nobody\'s model'),
    ("providers = 5", "providers must be a table"),
    (f'[providers]\nlocal = "{KEY}"', "providers.local must be a table"),
    ("[providers.local]", "providers.local has no protocol: add it, as convo does not know local"),
    ('[providers.local]\nprotocol = "openai"', "providers.local has no base_url: add it"),
    ('[providers.openai]\nprotocol = "ollama"', "providers.openai.protocol stays openai: call a service of"),
    (f'[providers.local]\nprotocol = "{KEY}"', "providers.local.protocol must be 'openai', 'anthropic', 'gemini', "),
    ("[providers.Local]", "providers.Local must be called by letters a-z, digits, _ and -, and neither"),
    ('[providers."a/b"]', 'providers."a/b" must be called by'),
    ('[providers.""]', 'providers."" must be called by'),
    ("[providers.offline]", "providers.offline must be called by"),
    ("[providers.models]", "providers.models must be called by"),
    ("[providers.tunedModels]", "providers.tunedModels must be called by"),
    ('[providers.openai]\nstrict = "yes"', "providers.openai.strict must be true or false"),
    ("[providers.openai]\nstrict = 1", "providers.openai.strict must be true or false"),
    (
        '[providers.openai]\noutput_limit = "x"',
        "providers.openai.output_limit must be 'max_completion_tokens' or 'max_t",
    ),
    ('[providers.openai]\nlacks = "top_k"', "providers.openai.lacks must be a list"),
    ('[providers.openai]\nlacks = ["n"]', "providers.openai.lacks.0 must be 'temperature', 'top_p'"),
    ('[providers.gemini]\nlacks = ["top_k"]', "providers.gemini.lacks is for the protocol openai only: remove it"),
    (
        '[providers.ollama]\noutput_limit = "max_tokens"',
        "providers.ollama.output_limit is for the protocol openai only",
    ),
    ("[providers.openai]\nnum_ctx = 9", "providers.openai.num_ctx is for the protocol ollama only"),
    ("[providers.ollama]\nnum_ctx = 1", "providers.ollama.num_ctx must be a whole number from 2 and below 2**31"),
    ("[providers.ollama]\nnum_ctx = 1.5", "providers.ollama.num_ctx must be a whole number"),
    ("[providers.openai]\nbase = 5", "providers.openai.base is not known: there are protocol, base_url, key_variable"),
    *(
        (f'[providers.openai]\nbase_url = "{url}"', "providers.openai.base_url must be http(s)://host…, without name")
        for url in (KEY, "", "ftp://x", "http://", f"https://me:{KEY}@x", f"https://{KEY}@x", "http://[", "http://x:y")
    ),
    *(
        (
            f'[providers.openai]\nkey_variable = "{name}"',
            "providers.openai.key_variable must be the name of an environm",
        )
        for name in (KEY, "", "A B", "lower", "1A", "A" * 65)
    ),
    *(
        (
            f'{table}{name} = "{KEY}"',
            f"{name} may not stand in the file: keys are read from the environment alone: name",
        )
        for table in ("", "[providers.openai]\n", '[providers.x]\nprotocol = "openai"\n')
        for name in ("key", "api_key", "apikey", "token", "secret", "OPENAI_API_KEY", "password", "authorization")
    ),
]


@pytest.mark.parametrize(("text", "told"), REFUSED, ids=[text[:40].encode().hex()[-12:] for text, _ in REFUSED])
def test_what_may_not_stand_in_the_file_is_refused_by_name(write: Write, text: str, told: str):
    path = write(text)
    for ask in (configuration, default_model, lambda: convo.get_model("offline/echo"), convo.list_models):
        with pytest.raises(convo.InvalidInput) as caught:
            ask()
        assert f"{path}" in str(caught.value)
        assert told in str(caught.value)
        assert KEY not in str(caught.value)
        assert caught.value.__cause__ is None


def test_a_file_that_is_put_right_is_read(write: Write):
    write("model = 5")
    with pytest.raises(convo.InvalidInput):
        configuration()
    write('model = "offline/echo"')
    assert "offline/echo" == default_model()


def test_bytes_that_are_not_utf8_are_refused(write: Write):
    path = write("")
    path.write_bytes(b'model = "\xff"')
    with pytest.raises(convo.InvalidInput, match=r"config\.toml is not UTF-8 at byte 9: save it as UTF-8"):
        configuration()


def test_a_byte_order_mark_is_no_harm(write: Write):
    write('\ufeffmodel = "offline/echo"\r\n')
    assert "offline/echo" == default_model()


def test_a_file_that_is_too_large_is_refused(write: Write):
    write("#" * (MAX_BYTES - 1) + "\n")
    assert configuration().file
    write("#" * MAX_BYTES + "\n")
    with pytest.raises(convo.InvalidInput, match=r"has more than 1,048,576 bytes: a configuration is small"):
        configuration()


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONVO_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(convo.InvalidInput, match=r"there is no configuration file .*none\.toml: CONVO_CONFIG names it"):
        convo.get_model("openai/x")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
):
    make(tmp_path / "it")
    monkeypatch.setenv("CONVO_CONFIG", str(tmp_path / "it"))
    with pytest.raises(convo.InvalidInput, match=r"/it is no file: name one with CONVO_CONFIG"):
        configuration()


def test_a_folder_on_the_way_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CONVO_CONFIG", str(tmp_path / "file" / "config.toml"))
    with pytest.raises(convo.InvalidInput, match=r"config\.toml cannot be read: Not a directory"):
        configuration()


# ---- the default model, and aliases

FAST = '[aliases]\nfast = "offline/echo"\n'


def test_the_default_model_comes_from_the_nearest(write: Write, monkeypatch: pytest.MonkeyPatch):
    write('model = "fast"\n' + FAST)
    assert "offline/echo" == default_model()
    assert "hi" == convo.chat(model=None, messages="hi", client=None).last
    monkeypatch.setenv("CONVO_MODEL", "offline/eliza")
    assert "offline/eliza" == default_model()
    with convo.Store("sqlite://") as store:
        assert ["offline/eliza", "offline/echo"] == [store.create().model, store.create(model="fast").model]


def test_the_environment_may_name_an_alias(write: Write, monkeypatch: pytest.MonkeyPatch):
    write(FAST)
    monkeypatch.setenv("CONVO_MODEL", "fast")
    assert "offline/echo" == default_model()


def test_the_retired_model_is_served_by_the_configurations(write: Write):
    write('model = "offline/echo"')
    with pytest.warns(convo.RetiredModelWarning, match="offline/echo answers instead"):
        assert "hi" == convo.chat(model=RETIRED, messages="hi").last
    write(f'model = "{RETIRED}"')
    with pytest.warns(convo.RetiredModelWarning, match="offline/eliza answers instead"):
        assert "offline/eliza" == resolve(default_model()).model.name


def test_an_alias_is_the_model_wherever_a_name_enters_and_is_never_stored(store: convo.Store, write: Write):
    write(FAST)
    talk = store.create(model="fast")
    assert "offline/echo" == talk.model
    talk = store.create(model="offline/eliza")
    assert "a" == talk.send("a", model="fast").text
    assert "offline/echo" == talk.turns()[0].model
    assert 1_000_000 == talk.preview("b", model="fast").limit
    assert "offline/echo" == talk.update(model="fast").model
    before = talk.version
    assert before == talk.update(model="fast").version
    assert not any("fast" in str(each) for each in talk.events())
    write("")
    assert "c" == store.get(talk.id).send("c").text
    with pytest.raises(convo.ModelNotFound):
        talk.update(model="fast")


def test_a_chat_takes_an_alias(write: Write):
    write(FAST)
    assert "offline/echo" == convo.get_model("fast").name
    assert "offline/echo" == convo.get_model(Model("fast", 5)).name
    response = convo.chat(model="fast", messages="hi")
    assert ("hi", "offline/echo", "ho") == (response.last, response.model, response.reply("ho").last)
    assert 1 == convo.count_message_tokens(model="fast", messages="hi")["token_count"]

    async def awaited() -> Any:
        return (await resolve_async("fast", deadline_s=5)).model.name, await convo.chat_async(
            model="fast", messages="x"
        )

    name, response = anyio.run(awaited)
    assert ("offline/echo", "x") == (name, response.last)


def test_a_given_client_is_asked_for_the_model_that_an_alias_stands_for(write: Write):
    write('[aliases]\nfast = "mine/model"')
    client = ScriptedClient("a")
    assert "mine/model" == convo.get_model("fast", client=client).name
    with convo.Store("sqlite://", client=client) as store:
        talk = store.create(model="other")
        assert ("other", "mine/model") == (talk.model, talk.update(model="fast").model)
        assert ["mine/model"] == [talk.send("hi").text and talk.model]


def test_a_name_of_nobody_names_aliases_and_services_of_ones_own(write: Write):
    write(FAST + '[providers.local]\nprotocol = "openai"\nbase_url = "http://127.0.0.1:9"')
    with pytest.raises(convo.ModelNotFound) as caught:
        convo.get_model("fats")
    assert str(caught.value).endswith("ollama/…, local/…, models/…, tunedModels/…, fast")


# ---- limits


def test_a_limit_goes_before_the_services_which_is_not_asked(
    server: ModelServer, write: Write, monkeypatch: pytest.MonkeyPatch
):
    write(f'[limits]\n"local/silent" = 500\n"anthropic/claude" = 70\n[providers.local]\n{at(server)}')
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
    told = convo.get_model("local/silent")
    assert (500, 4, False) == (told.input_token_limit, told.message_overhead, told.user_first)
    told = convo.get_model("anthropic/claude")
    assert (70, 4, True) == (told.input_token_limit, told.message_overhead, told.user_first)
    assert [] == server.received
    with convo.Store("sqlite://") as store:
        assert [500, 80] == [
            store.create(model="local/silent", **given).preview("hi").limit for given in ({}, {"input_token_limit": 80})
        ]
        assert "1 hi" == store.create(model="local/silent").send("hi").text
    assert "1 ho" == convo.chat(model="local/silent", messages="ho").last
    assert ["POST /chat/completions HTTP/1.1"] * 2 == [each.line for each in server.received]

    async def awaited() -> int:
        return (await resolve_async("local/silent", deadline_s=5)).model.input_token_limit

    assert 500 == anyio.run(awaited)


def test_an_embedded_model_may_have_another_limit(write: Write):
    write('[limits]\n"offline/eliza" = 100')
    assert 100 == convo.get_model("offline/eliza").input_token_limit
    assert {"offline/eliza": 100, "offline/echo": 1_000_000} == {
        each.name: each.input_token_limit for each in convo.list_models()
    }


def test_a_given_client_tells_its_own_limits(write: Write):
    write('[limits]\n"openai/x" = 100')
    assert 7 == convo.get_model("openai/x", client=ScriptedClient(model=Model("openai/x", 7))).input_token_limit


def test_a_limit_of_the_callers_own_leaves_what_the_service_adds(server: ModelServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
    found = resolve("anthropic/silent", limit=90).model
    assert (90, 4, True) == (found.input_token_limit, found.message_overhead, found.user_first)


def test_an_unknown_limit_names_the_configuration(server: ModelServer, write: Write):
    write(f"[providers.local]\n{at(server)}")
    with pytest.raises(convo.LimitUnknown, match=r"or write it into \[limits\] of the configuration"):
        convo.get_model("local/silent")


def test_the_list_has_the_models_of_the_limits(write: Write):
    write('[limits]\n"gemini/gem" = 9\n"tunedModels/mine" = 8\n"models/chat-bison-001" = 7')
    listed = {each.name: each.input_token_limit for each in convo.list_models()}
    assert {"gemini/gem": 9, "tunedModels/mine": 8, "models/chat-bison-001": 7}.items() <= listed.items()
    assert 5 == len(listed)
    assert 2 == len(convo.list_models("offline"))


# ---- services


def at(server: ModelServer, protocol: str = "openai") -> str:
    """Return the lines of a service's table that lead to a server."""
    return f'protocol = "{protocol}"\nbase_url = "{server.url}"\n'


PROTOCOLS = [
    ("openai", "test", 6000, "authorization", f"Bearer {KEY}"),
    ("anthropic", "claude", 200_000, "x-api-key", KEY),
    ("gemini", "gem", 1_048_576, "x-goog-api-key", KEY),
    ("ollama", "llama", 6144, "authorization", f"Bearer {KEY}"),
    ("palm", "chat-bison-001", 4096, "x-goog-api-key", KEY),
]


@pytest.mark.parametrize(("protocol", "bare", "limit", "header", "key"), PROTOCOLS, ids=[each[0] for each in PROTOCOLS])
def test_a_service_of_ones_own_answers(
    server: ModelServer,
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
    bare: str,
    limit: int,
    header: str,
    key: str,
):
    write(f'[providers.my-own_1]\n{at(server, protocol)}key_variable = "MY_KEY"')
    name = f"my-own_1/{bare}"
    with pytest.raises(convo.InvalidInput, match="there is no key for my-own_1: set MY_KEY"):
        convo.get_model(name)
    assert [] == server.received
    monkeypatch.setenv("MY_KEY", KEY)
    assert (name, limit) == ((model := convo.get_model(name)).name, model.input_token_limit)
    assert "1 hi" == convo.chat(model=name, messages="hi").last
    assert {key} == {each.headers.get(header) for each in server.received}
    assert 2 == len(server.received)
    with convo.Store("sqlite://") as store:
        talk = store.create(model=name)
        assert ("1 a", name) == (talk.send("a").text, talk.turns()[0].model)


def test_without_a_variable_no_key_is_sent(server: ModelServer, write: Write, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    write(f"[providers.local]\n{at(server)}")
    assert 6000 == convo.get_model("local/test").input_token_limit
    assert KEY not in str(server.received)


def test_a_known_service_may_be_elsewhere_with_its_key_or_without(
    server: ModelServer, write: Write, monkeypatch: pytest.MonkeyPatch
):
    write(f'[providers.openai]\nbase_url = "{server.url}"')
    convo.get_model("openai/test")
    assert "authorization" not in server.received[-1].headers
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    convo.get_model("openai/test")
    assert f"Bearer {KEY}" == server.received[-1].headers["authorization"]
    write(f'[providers.openai]\nbase_url = "{server.url}"\nkey_variable = "OTHER_KEY"')
    monkeypatch.setenv("OTHER_KEY", "other")
    convo.get_model("openai/test")
    assert "Bearer other" == server.received[-1].headers["authorization"]


def test_the_environment_goes_before_the_file(server: ModelServer, write: Write, monkeypatch: pytest.MonkeyPatch):
    write('[providers.openai]\nbase_url = "http://127.0.0.1:9"')
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    assert 6000 == convo.get_model("openai/test").input_token_limit


def test_a_key_is_not_sent_in_the_clear(write: Write, monkeypatch: pytest.MonkeyPatch):
    write('[providers.far]\nprotocol = "openai"\nbase_url = "http://far.example.org"\nkey_variable = "FAR_KEY"')
    monkeypatch.setenv("FAR_KEY", KEY)
    with pytest.raises(convo.InvalidInput, match="the base URL of far must be https://") as caught:
        convo.get_model("far/x")
    assert KEY not in str(caught.value)


def test_the_retired_model_is_served_where_the_file_says(server: ModelServer, write: Write):
    write(f'[providers.palm]\nbase_url = "{server.url}"')
    response = convo.chat(messages="hi")  # and nothing warns
    assert ("1 hi", RETIRED) == (response.last, response.served_by)


def test_what_a_service_lacks_is_refused_or_left_out(server: ModelServer, write: Write):
    asked = convo.ChatRequest("local/test", None, (), (Message("0", "hi"),), convo.Parameters(top_p=0.5))
    table = f'[providers.local]\n{at(server)}lacks = ["top_k", "top_p"]\n'
    write(table)
    with pytest.raises(convo.InvalidParameter, match="local has no top_p"):
        resolve("local/test").client.chat(asked, deadline_s=5)
    write(table + "strict = false")
    with pytest.warns(UserWarning, match="local has no top_p: it is left out"):
        convo.chat(model="local/test", messages="hi", top_p=0.5)
    assert "top_p" not in server.received[-1].json
    write(f"[providers.local]\n{at(server)}")
    convo.chat(model="local/test", messages="hi", top_k=5)
    assert 5 == server.received[-1].json["top_k"]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_longest_answer_is_called_as_the_service_calls_it(server: ModelServer, write: Write, name: str):
    write(f'[providers.local]\n{at(server)}output_limit = "{name}"')
    with convo.Store("sqlite://") as store:
        store.create(model="local/test", max_output_tokens=50).send("hi")
    assert 50 == server.received[-1].json[name]


@pytest.mark.parametrize("provider", ["ollama", "box"])
def test_ollama_runs_a_model_with_the_window_that_is_asked_for(server: ModelServer, write: Write, provider: str):
    write(f"[providers.{provider}]\n{at(server, 'ollama')}num_ctx = 16384")
    assert 12_288 == convo.get_model(f"{provider}/llama").input_token_limit
    with convo.Store("sqlite://") as store:
        talk = store.create(model=f"{provider}/llama", temperature=0.5)
        assert 12_288 == talk.preview("hi").limit
        talk.send("hi")
        assert {"num_ctx": 16_384, "temperature": 0.5} == server.received[-1].json["options"]
        list(talk.stream("ho"))
        assert 16_384 == server.received[-1].json["options"]["num_ctx"]


def test_a_service_of_ones_own_lists_its_models(server: ModelServer, write: Write, monkeypatch: pytest.MonkeyPatch):
    from tests.test_providers import MODELS

    monkeypatch.setitem(MODELS, "GET /models", {"data": [{"id": "a", "max_model_len": 8000}, {"id": "b"}, {"id": "c"}]})
    write(f'[limits]\n"local/b" = 50\n[providers.local]\n{at(server)}')
    assert [("local/a", 6000), ("local/b", 50), ("local/c", 0)] == [
        (each.name, each.input_token_limit) for each in convo.list_models("local")
    ]


def test_no_key_is_shown_by_any_value(server: ModelServer, write: Write, monkeypatch: pytest.MonkeyPatch):
    write(f'[providers.local]\n{at(server)}key_variable = "MY_KEY"')
    monkeypatch.setenv("MY_KEY", KEY)
    client = resolve("local/test").client
    assert KEY not in f"{configuration()!r} {client!r} {vars(client)!r}"
