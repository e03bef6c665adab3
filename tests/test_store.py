"""A store: create and read back, find, get_or_create, list, delete."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, update

import convo
from convo.store.rows import CONVERSATIONS
from convo.store.tables import Base
from convo.testing import ScriptedClient

EVERYTHING = {
    "model": "offline/echo",
    "context": "Answer as a cat.",
    "name": "telegram:4711",
    "owner": "acme",
    "title": "The mouse",
    "metadata": {"bot": "x", "deep": {"list": [1, 2.5, None, True, "ü"]}},
    "authors": ("tom", "cat"),
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 40,
    "candidate_count": 3,
    "max_output_tokens": 500,
    "stop_sequences": ("END", "\n\n"),
    "input_token_limit": 8000,
    "trim": "stable",
}


@pytest.fixture
def again(store: convo.Store) -> convo.Store:
    """Return a second store on the same database."""
    return convo.Store(store.engine)


def stored_rows(store: convo.Store) -> dict[str, int]:
    with store.engine.connect() as connection:
        counted = {each: select(func.count()).select_from(each) for each in Base.metadata.sorted_tables}
        return {each.name: connection.execute(counted[each]).scalar_one() for each in counted}


def refusal(use: Callable[..., object], *given: object, **settings: object) -> type[Exception] | None:
    """Return the type of the error that `use` raises; None when it raises none."""
    try:
        use(*given, **settings)
    except Exception as error:  # noqa: BLE001 - the test tells which one it wants
        return type(error)
    return None


def texts(talk: convo.Conversation) -> list[str | None]:
    return [each.content for each in talk.messages()]


def set_id(store: convo.Store, talk: convo.Conversation, id: str) -> str:
    """Give a conversation without turns a chosen id."""
    with store.engine.begin() as connection:
        of_it = update(CONVERSATIONS).where(CONVERSATIONS.c.id == talk.id)
        connection.exec_driver_sql("DELETE FROM convo_events")
        connection.execute(of_it.values(id=id))
    return id


def test_everything_given_to_create_can_be_read_back(store: convo.Store, again: convo.Store):
    created = store.create(**EVERYTHING)
    found = again.get(created.id, owner="acme")
    record = found.record
    read = {name: getattr(record, name) for name in EVERYTHING if hasattr(record, name)}
    assert EVERYTHING == read | record.parameters.as_dict()


def test_the_record_that_create_returns_is_the_one_that_is_stored(store: convo.Store, again: convo.Store):
    created = store.create(**EVERYTHING, opening="Meow?", messages=["a", "b"], examples=[("c", "d")])
    assert created.record == again.get(created.id, owner="acme").record


@pytest.mark.parametrize(
    "examples",
    [
        [("hello", "meow"), ("mouse", "!")],
        ["hello", "meow", "mouse", "!"],
        [{"input": "hello", "output": "meow"}, {"input": {"content": "mouse"}, "output": "!"}],
        [convo.Example("hello", "meow"), ["mouse", convo.Message("", "!")]],
        {("hello", "meow"): 1, ("mouse", "!"): 2}.keys(),
    ],
    ids=["pairs", "flat", "dicts", "values", "iterable"],
)
def test_examples_of_every_shape_are_sent_with_each_prompt(store: convo.Store, again: convo.Store, examples: object):
    talk = store.create(model="offline/echo", examples=examples)
    sent = again.get(talk.id).send("hi").prompt.examples
    assert [("hello", "meow"), ("mouse", "!")] == [(each.input, each.output) for each in sent]


@pytest.mark.parametrize(
    "messages",
    [
        ["a", "b", "c", "d"],
        [{"content": "a"}, {"author": "cat", "content": "b"}, {"author": "0", "content": "c"}, "d"],
        [convo.Message("tom", "a"), convo.Message("cat", "b"), "c", "d"],
        dict.fromkeys("abcd").keys(),
    ],
    ids=["strings", "dicts", "values", "iterable"],
)
def test_a_history_of_every_shape_becomes_done_turns(store: convo.Store, again: convo.Store, messages: object):
    talk = store.create(messages=messages, authors=("tom", "cat"))
    found = again.get(talk.id).messages()
    expected = [("tom", "a", 1), ("cat", "b", 2), ("tom", "c", 3), ("cat", "d", 4)]
    assert expected == [(each.author, each.content, each.position) for each in found]


def test_a_turn_of_a_history_is_done_and_has_no_prompt(store: convo.Store):
    turn = store.create(messages=["a", "b"]).turn(1)
    assert ("done", 0, None, None) == (turn.state, turn.chosen, turn.prompt, turn.model)


def test_an_opening_stands_at_position_0_before_the_history(store: convo.Store, again: convo.Store):
    talk = store.create(opening="Meow?", messages=["a", "b"], authors=("tom", "cat"))
    found = again.get(talk.id).messages()
    expected = [("cat", "Meow?", 0), ("tom", "a", 1), ("cat", "b", 2)]
    assert expected == [(each.author, each.content, each.position) for each in found]


def test_a_history_in_bulk_is_kept_whole(store: convo.Store, again: convo.Store):
    said = [f"text {number}" for number in range(4_002)]
    talk = store.create(messages=said)
    assert said == texts(again.get(talk.id))


def test_a_history_that_ends_with_the_user_is_refused(store: convo.Store):
    for history in (["a"], ["a", "b", "c"], "a", {"content": "a"}):
        with pytest.raises(ValueError, match=r"pass the last text to send\(\)"):
            store.create(messages=history)
    assert {0} == set(stored_rows(store).values())


def test_authors_that_do_not_alternate_are_refused(store: convo.Store):
    named = {name: {"author": name, "content": "x"} for name in ("0", "1", "a", "b")}
    authors = [("a", "a"), ("a",), ("a", "b", "c"), ("a", ""), "ab", ("\ud83d\ude00", "😀")]
    histories = [[named["a"], "x", named["b"], "x"], [named["a"], named["a"]], [named["1"], named["0"]]]
    wanted = [{"authors": each} for each in authors] + [{"messages": each} for each in histories]
    wanted.append({"messages": [named["a"], "x"], "authors": ("b", "c")})
    assert [convo.AuthorError] * len(wanted) == [refusal(store.create, **each) for each in wanted]
    assert {0} == set(stored_rows(store).values())


def test_an_unknown_setting_is_refused(store: convo.Store):
    with pytest.raises(TypeError, match="unknown argument 'temprature'"):
        store.create(temprature=1)


def test_a_conversation_is_found_by_id_name_and_prefix(store: convo.Store):
    talk = store.create(name="a")
    assert [talk.id] * 3 == [store.get(reference).id for reference in (talk.id, "a", talk.id[:8])]


def test_an_id_is_found_in_every_spelling(store: convo.Store):
    id = store.create().id
    spellings = [id.upper(), uuid.UUID(id).hex, uuid.UUID(id).hex.upper(), f"{{{id}}}", f"urn:uuid:{id}"]
    assert [id] * len(spellings) == [store.get(each).id for each in spellings]


def test_a_prefix_of_four_digits_or_more_is_found_in_every_spelling(store: convo.Store):
    id = store.create().id
    prefixes = [id[:length] for length in (4, 8, 9, 13, 14, 20, 35)]
    prefixes += [each.upper() for each in prefixes] + [each.replace("-", "") for each in prefixes]
    assert [id] * len(prefixes) == [store.get(each).id for each in prefixes]


def test_a_name_that_looks_like_a_prefix_wins_over_the_prefix(store: convo.Store):
    first = store.create()
    named = store.create(name=first.id[:8])
    assert named.id == store.get(first.id[:8]).id


def test_an_ambiguous_prefix_lists_its_matches(store: convo.Store):
    ids = [set_id(store, store.create(), f"0123456{last}-0000-7000-8000-000000000000") for last in "89"]
    with pytest.raises(convo.AmbiguousId) as caught:
        store.get("0123456")
    assert tuple(ids) == caught.value.matches


def test_one_digit_more_tells_an_ambiguous_prefix_apart(store: convo.Store):
    ids = [set_id(store, store.create(), f"0123456{last}-0000-7000-8000-000000000000") for last in "89"]
    assert ids == [store.get(f"0123456{last}").id for last in "89"]


def test_a_weird_reference_is_not_found(store: convo.Store):
    talk = store.create(name="a")
    short = [talk.id[:length] for length in (1, 2, 3)]
    weird = [
        "",
        "%",
        "_",
        "%%%%",
        "____",
        "-",
        "----",
        " ",
        "é",
        "٠١٢٣",
        "x" * 10_240,
        "0" * 33,
        "'; --",
        "\n",
        "\x1b[2J",
    ]
    found = [refusal(store.get, each) for each in short + weird]
    assert [convo.ConversationNotFound] * len(found) == found


def test_a_reference_that_cannot_be_text_is_refused(store: convo.Store):
    uses = [(use, each) for use in (store.get, store.delete, store.find) for each in ("a\0b", "\ud800", "ab\udfff")]
    assert [convo.InvalidText] * len(uses) == [refusal(use, each) for use, each in uses]


def test_a_reference_that_is_no_string_is_refused(store: convo.Store):
    store.create()
    uses = [store.get, store.delete, store.find, store.get_or_create]
    refused = [refusal(use, each) for use in uses for each in (None, 4711, b"abcd")]
    assert [TypeError] * len(refused) == refused


def test_a_name_of_surrogate_halves_is_found_by_either_spelling(store: convo.Store):
    talk = store.create(name="\ud83d\ude00")
    assert [talk.id] * 2 == [store.get(name).id for name in ("\ud83d\ude00", "😀")]


def test_a_taken_name_is_refused(store: convo.Store):
    store.create(name="a")
    before = stored_rows(store)
    with pytest.raises(convo.NameTaken):
        store.create(name="a", opening="x", examples=[("b", "c")])
    assert before == stored_rows(store)


def test_another_owner_may_use_the_same_name(store: convo.Store):
    ids = [store.create(name="a", owner=owner).id for owner in (None, "b", "c")]
    assert ids == [store.get("a", owner=owner).id for owner in (None, "b", "c")]


def test_conversations_without_a_name_do_not_collide(store: convo.Store):
    assert 2 == len({store.create().id, store.create().id})


def test_get_or_create_returns_the_one_that_is_there(store: convo.Store):
    talk = store.create(name="a", title="first")
    found = store.get_or_create("a", title="second")
    assert (talk.id, "first") == (found.id, found.title)


def test_racing_get_or_create_makes_one_row(store: convo.Store):
    start = threading.Barrier(16)

    def race(_: int) -> str:
        start.wait()
        return store.get_or_create("a", opening="hi").id

    with ThreadPoolExecutor(16) as pool:
        ids = set(pool.map(race, range(16)))
    assert (1, 1) == (len(ids), stored_rows(store)["convo_conversations"])


def test_the_latest_active_conversation_is_listed_first(store: convo.Store):
    talks = [store.create(model="offline/echo") for _ in range(3)]
    talks[1].send("hi")
    assert talks[1].id == store.list()[0].id


def pages(store: convo.Store, limit: int) -> list[list[str]]:
    found: list[list[str]] = []
    page = store.list(limit=limit)
    while page:
        found.append([each.id for each in page])
        page = store.list(limit=limit, after=page[-1])
    return found


@pytest.mark.parametrize("same_time", [False, True])
def test_pages_have_no_gap_and_no_repeat(store: convo.Store, same_time: bool):
    created = [store.create() for _ in range(120)]
    if same_time:
        with store.engine.begin() as connection:
            connection.execute(update(CONVERSATIONS).values(updated_at=created[0].updated_at))
    found = [id for page in pages(store, 7) for id in page]
    assert sorted((each.id for each in created), reverse=True) == found


def test_a_page_has_at_most_the_limit(store: convo.Store):
    for _ in range(5):
        store.create()
    assert [2, 2, 1] == [len(page) for page in pages(store, 2)]


def test_an_empty_store_lists_nothing(store: convo.Store):
    assert [] == store.list()


def test_a_limit_out_of_bounds_is_refused(store: convo.Store):
    refused = [refusal(store.list, limit=limit) for limit in (0, -1, 2**31, 2**63, 2**200)]
    assert [convo.InvalidParameter] * len(refused) == refused


def test_a_limit_that_is_no_whole_number_is_refused(store: convo.Store):
    refused = [refusal(store.list, limit=limit) for limit in (1.5, "5", None, True)]
    assert [TypeError] * len(refused) == refused


def test_delete_removes_every_row_of_every_table(store: convo.Store):
    kept = store.create(opening="x", examples=[("a", "b")], messages=["c", "d"])
    before = stored_rows(store)
    store.client = ScriptedClient(["one", "two"], ValueError())
    talk = store.create(opening="x", examples=[("a", "b")], messages=["c", "d"], candidate_count=2)
    talk.send("hi", request_key="k")
    with pytest.raises(convo.ModelError):
        talk.send("again")
    store.delete(talk.id)
    assert (before, ["x", "c", "d"]) == (stored_rows(store), texts(kept))


def test_delete_takes_every_reference(store: convo.Store):
    talks = [store.create(name=name) for name in "abc"]
    for reference in ("a", talks[1].id.upper(), talks[2].id):
        store.delete(reference)
    assert [] == store.list()


def test_deleting_twice_finds_nothing_the_second_time(store: convo.Store):
    talk = store.create()
    store.delete(talk.id)
    with pytest.raises(convo.ConversationNotFound):
        store.delete(talk.id)


def test_a_deleted_name_is_free_again(store: convo.Store):
    store.delete(store.create(name="a").id)
    assert "a" == store.create(name="a").name


def test_a_deleted_conversation_is_not_found_whatever_is_asked(store: convo.Store):
    talk = store.create(model="offline/echo")
    store.delete(talk.id)
    reads = [talk.messages, talk.turns, talk.events, talk.examples, talk.resume, talk.discard, talk.refresh]
    uses = [*reads, lambda: talk.send("hi"), lambda: talk.turn(1), lambda: talk.preview("hi"), lambda: talk.choose(0)]
    uses.append(lambda: talk.update(title="x"))
    assert [convo.ConversationNotFound] * len(uses) == [refusal(use) for use in uses]
