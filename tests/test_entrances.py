"""What text may enter a store: refused at every entrance alike, with nothing stored; all else comes back unchanged."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import convo
from convo.testing import ScriptedClient
from convo.text import MAX_TEXT_BYTES
from tests.test_store import refusal, stored_rows, texts

TEXTS: dict[str, Callable[[convo.Store, str], object]] = {
    "context": lambda store, text: store.create(context=text),
    "example input": lambda store, text: store.create(examples=[("a", "b"), (text, "b")]),
    "example output": lambda store, text: store.create(examples=[("a", text)]),
    "opening": lambda store, text: store.create(opening=text),
    "history": lambda store, text: store.create(messages=["a", {"content": "b"}, text, "d"]),
    "history value": lambda store, text: store.create(messages=["a", convo.Message("1", text)]),
    "send": lambda store, text: store.get("talk").send(text),
    "preview": lambda store, text: store.get("talk").preview(text),
}
"""Where a message of a conversation enters."""

LABELS: dict[str, Callable[[convo.Store, str], object]] = {
    "name": lambda store, text: store.create(name=text),
    "title": lambda store, text: store.create(title=text),
    "owner": lambda store, text: store.create(owner=text),
    "model": lambda store, text: store.create(model=text),
    "get_or_create": lambda store, text: store.get_or_create(text),
    "find": lambda store, text: store.find(text),
    "owner of get": lambda store, text: store.get("talk", owner=text),
    "owner of find": lambda store, text: store.find("talk", owner=text),
    "owner of get_or_create": lambda store, text: store.get_or_create("talk", owner=text),
    "owner of list": lambda store, text: store.list(owner=text),
    "owner of delete": lambda store, text: store.delete("talk", owner=text),
    "new name": lambda store, text: store.get("talk").update(name=text),
    "new title": lambda store, text: store.get("talk").update(title=text),
    "new model": lambda store, text: store.get("talk").update(model=text),
    "request_key": lambda store, text: store.get("talk").send("hi", request_key=text),
    "model of send": lambda store, text: store.get("talk").send("hi", model=text),
    "model of preview": lambda store, text: store.get("talk").preview("hi", model=text),
    "model of resume": lambda store, text: store.get("talk").resume(model=text),
}
"""Where a text of one line enters."""

OTHERS: dict[str, Callable[[convo.Store, str], object]] = {
    "user's author": lambda store, text: store.create(authors=(text, "b")),
    "model's author": lambda store, text: store.create(authors=("a", text)),
    "author in history": lambda store, text: store.create(messages=[{"author": text, "content": "a"}, "b"]),
    "metadata key": lambda store, text: store.create(metadata={"a": {text: 1}}),
    "metadata value": lambda store, text: store.create(metadata={"a": ["b", text]}),
    "new metadata key": lambda store, text: store.get("talk").update(metadata={text: 1}),
    "new metadata value": lambda store, text: store.get("talk").update(metadata={"a": text}),
}


@pytest.fixture
def guarded(store: convo.Store) -> convo.Store:
    """Return a store with one conversation, `talk`, and a model of any name that must not be called."""
    store.client = ScriptedClient(AssertionError("the model was called"))
    store.create(name="talk", messages=["a", "b"])
    return store


def refusals(store: convo.Store, entrances: dict[str, Callable], text: str) -> dict[str, type[Exception] | None]:
    return {name: refusal(enter, store, text) for name, enter in entrances.items()}


@pytest.mark.parametrize("text", ["a\0b", "a\ud800", "\udfffa", "\ude00\ud83d", "\x00"])
def test_text_that_cannot_be_stored_is_refused_everywhere(guarded: convo.Store, text: str):
    before = stored_rows(guarded)
    entrances = TEXTS | LABELS | OTHERS
    assert dict.fromkeys(entrances, convo.InvalidText) == refusals(guarded, entrances, text)
    assert before == stored_rows(guarded)


def test_text_over_the_cap_is_refused_everywhere(guarded: convo.Store):
    before = stored_rows(guarded)
    entrances = TEXTS | LABELS | OTHERS
    too_long = "x" * (MAX_TEXT_BYTES + 1)
    assert dict.fromkeys(entrances, convo.InvalidText) == refusals(guarded, entrances, too_long)
    assert before == stored_rows(guarded)


@pytest.mark.parametrize("text", [" ", "\t \u2003", "\ufeff \n"[1:]])
def test_blank_text_is_refused_everywhere(guarded: convo.Store, text: str):
    before = stored_rows(guarded)
    entrances = TEXTS | LABELS
    assert dict.fromkeys(entrances, convo.InvalidText) == refusals(guarded, entrances, text)
    assert before == stored_rows(guarded)


def test_empty_text_is_refused_where_it_does_not_mean_none(guarded: convo.Store):
    before = stored_rows(guarded)
    means_none = {"context", "model", "owner", *(name for name in LABELS if name.startswith(("owner of", "model of")))}
    entrances = {name: enter for name, enter in (TEXTS | LABELS).items() if name not in means_none}
    assert dict.fromkeys(entrances, convo.InvalidText) == refusals(guarded, entrances, "")
    assert before == stored_rows(guarded)


@pytest.mark.parametrize("label", ["x" * 1025, "é" * 513, "two\nlines"])
def test_a_label_is_one_line_of_at_most_1024_bytes(guarded: convo.Store, label: str):
    before = stored_rows(guarded)
    assert dict.fromkeys(LABELS, convo.InvalidInput) == refusals(guarded, LABELS, label)
    assert before == stored_rows(guarded)


def test_the_error_tells_the_position_of_what_is_refused(guarded: convo.Store):
    entrances = TEXTS | LABELS
    positions = {}
    for name, enter in entrances.items():
        with pytest.raises(convo.InvalidText) as caught:
            enter(guarded, "ab😀\0")
        positions[name] = caught.value.position
    assert dict.fromkeys(entrances, 3) == positions


def test_the_error_tells_the_position_in_metadata(guarded: convo.Store):
    for metadata in ({"a": "b\0"}, {"b\0": 1}, {"a": ["\\\0"]}, {"a": "\ud800"}):
        with pytest.raises(convo.InvalidText) as caught:
            guarded.create(metadata=metadata)
        assert caught.value.position is not None


def test_metadata_that_is_no_json_object_of_64_kib_is_refused(guarded: convo.Store):
    before = stored_rows(guarded)
    values = [float("nan"), float("inf"), {1, 2}, b"x", 10**5000, "x" * 65_536]
    wrong = [["a"], "a", 7, *({"a": value} for value in values)]
    refused = [refusal(use, metadata=each) for use in (guarded.create, guarded.get("talk").update) for each in wrong]
    assert [convo.InvalidInput] * 2 * len(wrong) == refused
    assert before == stored_rows(guarded)


def nested(depth: int) -> dict[str, object]:
    value: object = "x"
    for _ in range(depth - 1):
        value = [value]
    return {"a": value}


def test_metadata_that_nests_too_deep_is_refused(guarded: convo.Store):
    depths = [65, 500, 900, 970, 980, 990, 100_000]
    assert [convo.InvalidInput] * len(depths) == [refusal(guarded.create, metadata=nested(depth)) for depth in depths]


def test_unusual_metadata_comes_back_as_it_went_in(guarded: convo.Store):
    for metadata in (nested(64), {"a": "\\u0000"}, {"\\u0000": "\\"}, {"a": 2**64}, {"": ""}):
        talk = guarded.create(metadata=metadata)
        assert metadata == guarded.get(talk.id).metadata


def test_surrogate_halves_that_form_a_character_become_that_character(guarded: convo.Store):
    pair = "\ud83d\ude00"
    talk = guarded.create(name=pair, title=pair, metadata={pair: pair}, context=pair, messages=[pair, "b"])
    found = guarded.get("😀")
    read = (talk.id, found.title, found.metadata, found.context, texts(found))
    assert read == (found.id, "😀", {"😀": "😀"}, "😀", ["😀", "b"])


def test_every_other_code_point_comes_back_unchanged(store: convo.Store):
    points = [chr(point) for point in range(1, 0x110000) if not 0xD800 <= point < 0xE000]
    said = [f"[{''.join(points[start : start + 0x10000])}]" for start in range(0, len(points), 0x10000)]
    talk = store.create(messages=said + ["end"] * (len(said) % 2))
    assert said == texts(store.get(talk.id))[: len(said)]


def test_a_text_of_exactly_the_cap_comes_back_whole(store: convo.Store):
    text = "é" * (MAX_TEXT_BYTES // 2)
    talk = store.create(opening=text)
    assert [text] == texts(store.get(talk.id))


def test_a_sent_text_is_answered_and_kept_as_it_is(store: convo.Store):
    talk = store.create(model="offline/echo")
    said = [
        " a ",
        "a\r\nb\rc",
        "\ufeffa",
        "\x1b[2Ja\x07",
        "\u202ea",
        "e\u0301 é",
        "\uffff",
        "'; --",
        "%s %(a)s :a ? {}",
    ]
    assert said == [talk.send(each).text for each in said]
    assert [each for each in said for _ in range(2)] == texts(store.get(talk.id))
