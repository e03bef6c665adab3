"""A store: create, get, get_or_create, list, update, delete; owners see their own only."""

from __future__ import annotations

import convo


def test_a_conversation_is_found_by_id_name_and_prefix(store: convo.Store):
    talk = store.create(name="a", model="offline/echo")
    assert [talk.id] * 3 == [store.get(reference).id for reference in (talk.id, "a", talk.id[:8])]
