"""Changing a conversation's settings: from now on, in the journal, all or nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

import convo
from tests.shells import store_of
from tests.test_store import refusal, stored_rows

CHANGES = {
    "model": "offline/eliza",
    "title": "another",
    "name": "b",
    "metadata": {"c": [1]},
    "input_token_limit": 900,
    "trim": "stable",
    "temperature": 0.25,
    "top_p": 0.5,
    "top_k": 7,
    "candidate_count": 2,
    "max_output_tokens": 99,
    "stop_sequences": ("END",),
}
TAKEN_AWAY = sorted(CHANGES.keys() - {"model", "metadata", "trim"})
WRONG = [
    ({"model": "offline/nobody"}, convo.ModelNotFound),
    ({"model": ""}, convo.InvalidText),
    ({"model": None}, TypeError),
    ({"title": ""}, convo.InvalidText),
    ({"title": 5}, TypeError),
    ({"name": ""}, convo.InvalidText),
    ({"name": 5}, TypeError),
    ({"name": "01890a5d-ac96-774b-bcce-b302099a8057"}, convo.InvalidInput),
    ({"metadata": [1]}, convo.InvalidInput),
    ({"input_token_limit": 0}, convo.InvalidParameter),
    ({"input_token_limit": 2**31}, convo.InvalidParameter),
    ({"input_token_limit": 2.5}, TypeError),
    ({"trim": "never"}, convo.InvalidParameter),
    ({"trim": None}, convo.InvalidParameter),
    ({"temperature": -1}, convo.InvalidParameter),
    ({"temperature": float("nan")}, convo.InvalidParameter),
    ({"temperature": "warm"}, TypeError),
    ({"top_p": 1.5}, convo.InvalidParameter),
    ({"top_k": 0}, convo.InvalidParameter),
    ({"candidate_count": 9}, convo.InvalidParameter),
    ({"max_output_tokens": 1.5}, convo.InvalidParameter),
]


@pytest.fixture
def talk(store: convo.Store) -> convo.Conversation:
    """Return a conversation with every setting."""
    return store.create(
        model="offline/echo",
        name="a",
        title="one",
        metadata={"a": 1},
        context="c",
        input_token_limit=800,
        temperature=1.5,
        top_p=0.75,
        top_k=3,
        candidate_count=3,
        max_output_tokens=77,
    )


def settings(talk: convo.Conversation) -> dict[str, object]:
    """Return what update() may change, as it is stored."""
    record = talk.refresh().record
    return {name: getattr(record if hasattr(record, name) else record.parameters, name) for name in CHANGES}


def test_every_setting_can_be_changed_at_once(talk: convo.Conversation):
    talk.update(**CHANGES)
    assert CHANGES == settings(talk)


def test_a_change_leaves_the_other_settings_as_they_were(talk: convo.Conversation):
    expected = settings(talk)
    for name, value in CHANGES.items():
        expected = expected | {name: value}
        talk.update(**{name: value})
        assert expected == settings(talk)


def test_none_takes_a_setting_away(talk: convo.Conversation):
    expected = settings(talk)
    for name in TAKEN_AWAY:
        expected = expected | {name: None}
        talk.update(**{name: None})
        assert expected == settings(talk)


def test_none_takes_metadata_away(talk: convo.Conversation):
    assert {} == talk.update(metadata=None).metadata


def test_update_returns_the_same_object_as_it_is_stored_now(store: convo.Store, talk: convo.Conversation):
    updated = talk.update(**CHANGES)
    assert (updated.record, True) == (store.get(talk.id).record, updated is talk)


def test_a_change_appends_one_event(talk: convo.Conversation):
    before = len(talk.events())
    talk.update(**CHANGES)
    assert ["update"] == [each.kind for each in talk.events()[before:]]


def test_unchanged_values_append_no_event(talk: convo.Conversation):
    before = talk.refresh().record
    talk.update(**settings(talk))
    assert before == talk.refresh().record


def test_an_update_of_nothing_changes_nothing(talk: convo.Conversation):
    assert talk.record == talk.update().refresh().record


def test_a_new_name_finds_it_and_the_old_one_no_longer(store: convo.Store, talk: convo.Conversation):
    talk.update(name="b")
    assert (talk.id, convo.ConversationNotFound) == (store.get("b").id, refusal(store.get, "a"))


def test_a_taken_name_is_refused_with_all_other_changes(store: convo.Store, talk: convo.Conversation):
    store.create(name="b")
    before = settings(talk)
    with pytest.raises(convo.NameTaken):
        talk.update(**CHANGES)
    assert before == settings(talk)


def test_a_name_of_another_owner_is_free(store: convo.Store, talk: convo.Conversation):
    store.create(name="b", owner="acme")
    assert "b" == talk.update(name="b").name


def test_what_is_fixed_cannot_be_changed(talk: convo.Conversation):
    before = talk.refresh().record
    fixed = ["foo", "context", "examples", "owner", "authors", "opening", "messages", "id"]
    assert [TypeError] * len(fixed) == [refusal(talk.update, title="b", **{name: "b"}) for name in fixed]
    assert before == talk.refresh().record


def test_a_wrong_value_is_refused_with_all_other_changes(talk: convo.Conversation):
    before = (talk.refresh().record, stored_rows(store_of(talk)))
    refused = [refusal(talk.update, **({"title": "b", "temperature": 0.1} | wrong)) for wrong, _ in WRONG]
    assert [error for _, error in WRONG] == refused
    assert before == (talk.refresh().record, stored_rows(store_of(talk)))


def test_racing_updates_to_one_name_let_one_win(url: str):
    with convo.Store(url) as store, ThreadPoolExecutor(8) as pool:
        talks = [store.create() for _ in range(8)]
        refused = list(pool.map(lambda talk: refusal(talk.update, name="a"), talks))
    assert {None: 1, convo.NameTaken: 7} == {each: refused.count(each) for each in refused}
