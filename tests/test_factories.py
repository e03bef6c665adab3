"""The factories for those who test a bot."""

from __future__ import annotations

import pytest

import convo
from convo.testing.factories import ConversationFactory, history
from tests.test_store import texts


def test_a_conversation_is_stored_with_boring_defaults(store: convo.Store):
    talk = ConversationFactory(store=store)
    found = store.get(talk.id)
    assert (talk.record, "offline/echo", []) == (found.record, found.model, texts(found))


def test_turns_become_its_history(store: convo.Store):
    talk = ConversationFactory(store=store, turns=2)
    assert ["message 1", "message 2", "message 3", "message 4"] == texts(store.get(talk.id))


def test_every_argument_of_create_may_be_given(store: convo.Store):
    talk = ConversationFactory(store=store, name="a", owner="acme", context="c", temperature=0.5, messages=["x", "y"])
    told = (talk.name, talk.owner, talk.context, talk.parameters.temperature, texts(talk))
    assert ("a", "acme", "c", 0.5, ["x", "y"]) == told


def test_many_get_names_of_their_own(store: convo.Store):
    made = ConversationFactory.create_batch(3, store=store)
    assert 3 == len({each.name for each in made} & {each.name for each in store.list()})


def test_it_can_be_talked_with(store: convo.Store):
    assert "hi" == ConversationFactory(store=store, turns=1).send("hi").text


def test_it_needs_a_store():
    with pytest.raises(TypeError, match="store"):
        ConversationFactory()


def test_a_history_of_other_texts():
    assert ["say 1", "say 2"] == history(1, "say {}")
