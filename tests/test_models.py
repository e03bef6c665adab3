"""Who answers for a model's name: the argument, CONVO_MODEL, or the embedded model; and a client that was given."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import convo
from convo import Model
from convo.clients.offline import OfflineClient
from convo.models import RETIRED, default_model, resolve
from convo.testing import ScriptedClient


@pytest.mark.parametrize(("name", "limit"), [("offline/eliza", 4096), ("offline/echo", 1_000_000)])
def test_an_embedded_model_is_resolved_with_its_limit(name: str, limit: int):
    service = resolve(name)
    assert (name, limit, True) == (
        service.model.name,
        service.model.input_token_limit,
        isinstance(service.client, OfflineClient),
    )


@pytest.mark.parametrize("name", ["", "eliza", "offline/", "offline/Eliza", "offline/eliza ", "nobody/x", "openai/"])
def test_an_unknown_model_is_not_found_and_the_known_ones_are_named(name: str):
    with pytest.raises(convo.ModelNotFound) as caught:
        resolve(name)
    wanted = f"no model {name!r}: this release serves offline/eliza, offline/echo, openai/…, anthropic/…, gemini/…, "
    wanted += "ollama/…, models/…, tunedModels/…"
    assert (name, wanted, True) == (caught.value.model, str(caught.value), isinstance(caught.value, LookupError))


def test_the_embedded_model_answers_when_nothing_is_configured():
    assert "offline/eliza" == default_model()


def test_the_environment_names_the_default_model(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONVO_MODEL", "offline/echo")
    assert "offline/echo" == default_model()


def test_an_empty_variable_names_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONVO_MODEL", "")
    assert "offline/eliza" == default_model()


def test_an_unknown_model_in_the_environment_is_not_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONVO_MODEL", "nobody/has-it")
    with pytest.raises(convo.ModelNotFound, match="'nobody/has-it'"):
        resolve(default_model())


def test_a_conversation_without_a_model_gets_the_one_of_the_environment(
    store: convo.Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONVO_MODEL", "offline/echo")
    talk = store.create()
    monkeypatch.delenv("CONVO_MODEL")
    assert ("offline/echo", "hi") == (store.get(talk.id).model, store.get(talk.id).send("hi").text)


def test_the_argument_goes_before_the_environment(store: convo.Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONVO_MODEL", "nobody/has-it")
    assert "offline/echo" == store.create(model="offline/echo").model


def test_the_retired_model_is_served_by_the_default_one():
    with pytest.warns(convo.RetiredModelWarning, match="was switched off in 2024: offline/eliza answers instead"):
        assert "offline/eliza" == resolve(RETIRED).model.name


def test_the_retired_model_is_served_by_the_one_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONVO_MODEL", "offline/echo")
    with pytest.warns(convo.RetiredModelWarning, match="offline/echo answers instead"):
        assert "offline/echo" == resolve(RETIRED).model.name


def test_the_retired_model_as_default_is_served_by_the_embedded_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONVO_MODEL", RETIRED)
    with pytest.warns(convo.RetiredModelWarning, match="offline/eliza answers instead"):
        assert "offline/eliza" == resolve(default_model()).model.name


def test_no_other_model_warns():
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        resolve("offline/echo")
    assert [] == warned


def test_a_given_client_answers_for_every_name_that_it_knows():
    client = ScriptedClient("a")
    service = resolve("any/name", client)
    assert (client, "any/name") == (service.client, service.model.name)


def test_a_given_client_serves_the_retired_model_too_and_nothing_warns():
    assert RETIRED == resolve(RETIRED, ScriptedClient("a")).model.name


def test_a_given_client_may_not_know_a_name():
    with pytest.raises(convo.ModelNotFound, match="'any/name'"):
        resolve("any/name", OfflineClient())


def test_get_model_returns_a_model_with_its_limits():
    assert (1_000_000, 4096) == (
        convo.get_model("offline/echo").input_token_limit,
        convo.get_model("offline/eliza").input_token_limit,
    )


def test_get_model_of_an_unknown_name_is_not_found():
    with pytest.raises(convo.ModelNotFound):
        convo.get_model("nobody/has-it")


def test_the_listed_models_can_all_be_resolved():
    listed = convo.list_models()
    assert (listed, 2) == ([convo.get_model(each.name) for each in listed], len(listed))


def test_the_list_is_the_callers_own():
    convo.list_models().clear()
    assert ["offline/eliza", "offline/echo"] == [each.name for each in convo.list_models()]


def test_get_model_asks_a_given_client():
    assert Model("m", 7) == convo.get_model("m", client=ScriptedClient(model=Model("m", 7)))


def test_get_model_takes_a_model_for_its_name():
    assert convo.get_model("offline/eliza") == convo.get_model(Model("offline/eliza", 1))


@pytest.mark.parametrize("name", [int, 5, b"offline/eliza", ["offline/eliza"]])
def test_what_is_no_model_is_a_type_error(name: Any):
    with pytest.raises(TypeError, match="a model must be a name, such as 'offline/eliza', or a Model, not "):
        convo.get_model(name)


def test_an_unknown_model_is_a_value_error_too():
    with pytest.raises(ValueError, match="no model 'gpt'"):
        convo.get_model("gpt")


def test_every_listed_model_says_that_it_can_chat():
    assert all("generateMessage" in each.supported_generation_methods for each in convo.list_models())


@pytest.mark.parametrize("limit", [10**10, 2**31, 10**400, True, 1.5, "9", 0, -1])
def test_a_limit_that_cannot_be_counted_with_is_a_bad_answer(limit: Any):
    client = ScriptedClient(model=Model("m", limit))
    with pytest.raises(
        convo.BadModelResponse, match="input_token_limit of the client's model must be a whole number from 1"
    ):
        convo.chat(model="m", client=client, messages="hi")
