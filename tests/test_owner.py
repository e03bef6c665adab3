"""Nobody reaches another owner's conversations: for him, they are not there."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

import convo
from tests.test_store import refusal, stored_rows

OWNERS = ["", "b", "A", "a ", " a", "%", "_"]
"""Who is not `a`."""

BY_REFERENCE: dict[str, Callable[[convo.Store, str, str], object]] = {
    "get": lambda store, reference, owner: store.get(reference, owner=owner),
    "delete": lambda store, reference, owner: store.delete(reference, owner=owner),
    "tree": lambda store, reference, owner: store.tree(reference, owner=owner),
    "verify": lambda store, reference, owner: list(store.verify(reference, owner=owner)),
    "export": lambda store, reference, owner: store.export(io.BytesIO(), reference, owner=owner),
}
OTHERS = {"create", "create_from", "find", "forget", "get_or_create", "import_", "list", "preferences", "prune"}

IN_REPOSITORY: dict[str, Callable[[convo.ConversationRepository, str, str], object]] = {
    "find": lambda repository, reference, owner: repository.find(reference, owner),
    "find_id": lambda repository, reference, owner: repository.find_id(reference, owner),
    "get": lambda repository, reference, owner: repository.get(reference, owner),
    "lock": lambda repository, reference, owner: repository.lock(reference, owner),
}
OTHERS_IN_REPOSITORY = {"find_name", "has_erasures", "ids_of", "list", "lock_all", "next_preferences", "quotes"}

OF_A_CONVERSATION: dict[str, Callable[[convo.Conversation], object]] = {
    "as_prompt": lambda talk: talk.as_prompt(),
    "choose": lambda talk: talk.choose(0),
    "discard": lambda talk: talk.discard(),
    "edit": lambda talk: talk.edit(1, "x"),
    "erase": lambda talk: talk.erase(1),
    "events": lambda talk: talk.events(),
    "examples": lambda talk: talk.examples(),
    "fork": lambda talk: talk.fork(),
    "messages": lambda talk: talk.messages(),
    "preview": lambda talk: talk.preview("x"),
    "redact": lambda talk: talk.redact(1, "x"),
    "refresh": lambda talk: talk.refresh(),
    "regenerate": lambda talk: talk.regenerate(),
    "request": lambda talk: talk.request(1),
    "resume": lambda talk: talk.resume(),
    "send": lambda talk: talk.send("x"),
    "stream": lambda talk: list(talk.stream("x")),
    "turn": lambda talk: talk.turn(1),
    "turns": lambda talk: talk.turns(),
    "update": lambda talk: talk.update(title="x"),
    "verify": lambda talk: talk.verify(),
}
ABSENT = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
def talk(store: convo.Store) -> convo.Conversation:
    """Return a conversation of `a`."""
    return store.create(owner="a", name="talk", model="offline/echo", messages=["x", "y"])


def spellings(talk: convo.Conversation) -> list[str]:
    return [talk.id, talk.id.upper(), talk.id.replace("-", ""), talk.id[:8], talk.id[:20], "talk"]


def methods(kind: type, wanted: Callable[[inspect.Signature], bool] = lambda _: True) -> set[str]:
    """Return the public methods of a class whose signature is wanted."""
    found = inspect.getmembers(kind, inspect.isfunction)
    return {name for name, each in found if not name.startswith("_") and wanted(inspect.signature(each))}


def takes_owner(signature: inspect.Signature) -> bool:
    return "owner" in signature.parameters or "reference" in signature.parameters


def told(use: Callable[[], object], reference: str) -> tuple[type[Exception], str]:
    """Return the error that a use of `reference` raises, without the reference."""
    with pytest.raises(convo.ConvoError) as caught:
        use()
    return type(caught.value), str(caught.value).replace(repr(reference), "…")


def test_every_method_that_takes_an_owner_is_shown_here():
    assert BY_REFERENCE.keys() | OTHERS == methods(convo.Store, takes_owner)
    assert IN_REPOSITORY.keys() | OTHERS_IN_REPOSITORY == methods(convo.ConversationRepository, takes_owner)
    assert OF_A_CONVERSATION.keys() == methods(convo.Conversation)


def test_no_reference_reaches_another_owners_conversation(store: convo.Store, talk: convo.Conversation):
    before = stored_rows(store)
    uses = [(use, each, owner) for use in BY_REFERENCE.values() for each in spellings(talk) for owner in OWNERS]
    refused = [refusal(use, store, each, owner) for use, each, owner in uses]
    assert {convo.ConversationNotFound} == set(refused)
    assert (before, talk.record) == (stored_rows(store), store.get(talk.id, owner="a").record)


def test_another_owners_conversation_looks_as_if_it_were_not_there(store: convo.Store, talk: convo.Conversation):
    for use in BY_REFERENCE.values():
        absent = told(lambda: use(store, ABSENT, "b"), ABSENT)  # noqa: B023 - called at once
        assert [absent] * 6 == [told(lambda: use(store, each, "b"), each) for each in spellings(talk)]  # noqa: B023


def test_the_repository_reaches_none_either(store: convo.Store, talk: convo.Conversation):
    store.create(owner="a", messages=["x", "y"]).erase(1)
    with Session(store.engine) as session:
        repository = convo.ConversationRepository(session)
        uses = [(use, owner) for use in IN_REPOSITORY.values() for owner in OWNERS]
        refused = [refusal(use, repository, talk.id, owner) for use, owner in uses]
        assert [convo.ConversationNotFound] * len(uses) == refused
        assert [None] * len(OWNERS) == [repository.find_name("talk", owner) for owner in OWNERS]
        assert [[]] * len(OWNERS) == [repository.list(owner) for owner in OWNERS]
        assert [{}] * len(OWNERS) == [repository.lock_all([talk.id], owner) for owner in OWNERS]
        assert [[]] * len(OWNERS) == [repository.ids_of(owner, None, 9) for owner in OWNERS]
        assert [([], None)] * len(OWNERS) == [repository.next_preferences(owner) for owner in OWNERS]
        assert [[]] * len(OWNERS) == [repository.quotes(["x"], 9, owner) for owner in OWNERS]
        assert [False] * len(OWNERS) == [repository.has_erasures(owner) for owner in OWNERS]
        assert (2, True) == (len(repository.quotes(["y"], 9, "a")), repository.has_erasures("a"))


def test_the_owner_of_a_conversation_in_hand_is_asked_again(store: convo.Store, talk: convo.Conversation):
    before = stored_rows(store)
    for owner in OWNERS:
        posing = type(talk)(store, replace(talk.record, owner=owner))
        refused = {name: refusal(use, posing) for name, use in OF_A_CONVERSATION.items()}
        assert dict.fromkeys(OF_A_CONVERSATION, convo.ConversationNotFound) == refused
    assert before == stored_rows(store)


def test_nobody_erases_what_is_another_owners(store: convo.Store, talk: convo.Conversation):
    assert convo.NotFound is refusal(store.forget, "b")
    gone = [store.prune(timedelta(0), owner=owner) for owner in OWNERS]
    assert ([convo.Erasure(0, 0)] * len(OWNERS), 2) == (gone, len(talk.messages()))
    assert ["x", "y"] == [each.content for each in talk.messages()]


def test_an_export_has_ones_own_only(store: convo.Store, talk: convo.Conversation):
    files = [io.BytesIO() for _ in OWNERS]
    written = [store.export(file, owner=owner).conversations for file, owner in zip(files, OWNERS, strict=True)]
    assert [0] * len(OWNERS) == written
    assert [False] * len(OWNERS) == [talk.id.encode() in file.getvalue() for file in files]


def test_an_import_takes_ones_own_only_and_changes_nobodys(store: convo.Store, talk: convo.Conversation):
    file = io.BytesIO()
    store.export(file, owner="a")
    before = stored_rows(store)
    for owner in OWNERS:
        told: list[convo.Imported] = []
        store.import_(io.BytesIO(file.getvalue()), owner=owner, report=told.append)
        assert [("refused", "it is another owner's")] == [(each.fate, each.why) for each in told]
    assert before == stored_rows(store)


def test_a_list_shows_ones_own_only(store: convo.Store, talk: convo.Conversation):
    mine = store.create(owner="b")
    nobodys = store.create()
    listed = [[each.id for each in store.list(owner=owner)] for owner in ("a", "b", None, "c")]
    assert [[talk.id], [mine.id], [nobodys.id], []] == listed


def test_a_page_goes_on_among_ones_own_only(store: convo.Store, talk: convo.Conversation):
    older = [store.create(owner="a").id, store.create(owner="b").id]
    newest = store.create(owner="b")
    assert [older[1]] == [each.id for each in store.list(owner="b", after=newest)]
    assert [older[0], talk.id] == [each.id for each in store.list(owner="a", after=newest)]


def test_preferences_are_ones_own_only(store: convo.Store, talk: convo.Conversation):
    talk.send("x", candidate_count=2)
    talk.choose(1)
    found = [[each.conversation for each in store.preferences(owner=owner)] for owner in ("a", *OWNERS)]
    assert [[talk.id], *[[]] * len(OWNERS)] == found


def test_a_fork_is_of_the_owner_of_its_conversation(store: convo.Store, talk: convo.Conversation):
    assert ("a", {"a"}) == (talk.fork().owner, {each.record.owner for each in store.tree("talk", owner="a")})


def test_a_name_of_another_owner_is_free(store: convo.Store, talk: convo.Conversation):
    assert store.find("talk", owner="b") is None
    mine = store.get_or_create("talk", owner="b")
    assert (mine.id, talk.id) == (store.get("talk", owner="b").id, store.get("talk", owner="a").id)


def test_a_prefix_is_unique_among_ones_own(store: convo.Store, talk: convo.Conversation):
    mine = store.create(owner="b")
    assert mine.id == store.get(mine.id[:4], owner="b").id


def test_no_owner_and_the_empty_owner_are_nobody(store: convo.Store):
    mine = store.create()
    assert [mine.id] * 2 == [store.get(mine.id, owner=owner).id for owner in (None, "")]
