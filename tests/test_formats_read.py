"""Lines of other programs: what is understood of them, what is dropped and counted, and what is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convo.formats import openai, sharegpt
from convo.formats.base import Draft, DraftReply, DraftTurn, Line, Unread
from tests.transcripts import ID, lines

READERS = [openai.read, sharegpt.read]
LISTS = {openai.read: "messages", sharegpt.read: "conversations"}


def one(read: Any, row: Any) -> Draft | Unread:
    [found] = read(lines(row if isinstance(row, str | bytes) else json.dumps(row)))
    return found


def chat(*messages: tuple[str, Any] | dict[str, Any], **fields: Any) -> Draft | Unread:
    made = [each if isinstance(each, dict) else {"role": each[0], "content": each[1]} for each in messages]
    return one(openai.read, {"messages": made, **fields})


def shared(*messages: tuple[str, Any] | dict[str, Any], **fields: Any) -> Draft | Unread:
    made = [each if isinstance(each, dict) else {"from": each[0], "value": each[1]} for each in messages]
    return one(sharegpt.read, {"conversations": made, **fields})


def answered(message: str, *replies: str) -> DraftTurn:
    return DraftTurn(
        message=message, replies=[DraftReply(content=each) for each in replies], chosen=0 if replies else None
    )


# ---- OpenAI's


def test_plain_messages_are_a_conversation():
    found = chat(("system", "Be brief."), ("user", "a"), ("assistant", "b"), ("user", "c"))
    assert Draft(line=1, context="Be brief.", turns=[answered("a", "b"), answered("c")]) == found


def test_what_the_model_is_told_first_is_the_context_and_later_it_is_dropped():
    found = chat(("system", "a"), ("developer", "b"), ("system", " "), ("user", "c"), ("system", "d"), ("user", "e"))
    dropped = {"empty messages": 1, "system messages inside a conversation": 1}
    assert Draft(line=1, context="a\n\nb", turns=[answered("c\n\ne")], dropped=dropped) == found


def test_an_assistant_that_speaks_first_opens():
    found = chat(("assistant", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"), ("assistant", "e"))
    assert Draft(line=1, opening=DraftReply(content="a\n\nb"), turns=[answered("c", "d\n\ne")]) == found


def test_weights_are_no_part_of_a_conversation():
    found = chat(("user", "a"), {"role": "assistant", "content": "b", "weight": 0})
    assert Draft(line=1, turns=[answered("a", "b")]) == found


def test_tools_are_dropped_and_what_is_said_beside_them_is_kept():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    found = chat(
        ("user", "a"),
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "secret"},
        {"role": "assistant", "content": "b", "function_call": {"name": "f"}, "refusal": None},
        {"role": "function", "name": "f", "content": "secret"},
        {"role": "assistant", "content": "c", "name": "it"},
        tools=[{"type": "function"}],
    )
    dropped = {"tool messages": 4, "unknown fields": 2}
    assert Draft(line=1, turns=[answered("a", "b\n\nc")], dropped=dropped) == found


def test_parts_of_text_are_lines_and_others_are_dropped():
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}, "b", 3, {"type": "text"}]
    found = chat(("user", [*parts, {"type": "text", "text": "c"}]), ("assistant", []))
    dropped = {"parts that are no text": 4, "empty messages": 1}
    assert Draft(line=1, turns=[answered("a\nc")], dropped=dropped) == found


def test_unknown_roles_are_dropped_unless_there_is_no_other():
    assert {"messages of unknown roles": 2} == chat(("user", "a"), ("critic", "b"), ({}, "c")).dropped  # type: ignore[union-attr]
    assert Unread(1, "no message has a role that is known") == chat(("critic", "a"), ("poet", "b"))


# ---- ShareGPT's


def test_the_many_names_of_two_sides():
    senders = [
        "human",
        "gpt",
        "user",
        "assistant",
        "human",
        "bing",
        "human",
        "bard",
        "human",
        "chatgpt",
        "user",
        "model",
    ]
    found = shared(*((each, str(index)) for index, each in enumerate(senders)), id=ID.upper())
    turns = [answered(str(index), str(index + 1)) for index in range(0, 12, 2)]
    assert Draft(line=1, id=ID, turns=turns) == found


def test_a_system_beside_the_messages_comes_first():
    found = shared(
        ("system", "b"), ("human", "c"), ("observation", "d"), ("function_call", "e"), ("tool", "f"), system="a"
    )
    assert Draft(line=1, context="a\n\nb", turns=[answered("c")], dropped={"tool messages": 3}) == found


def test_an_id_that_is_no_uuid_and_other_fields_are_counted():
    found = shared(("human", "a"), ("critic", "b"), {"from": "gpt", "value": "c", "mood": "x"}, id="x_0", source="web")
    dropped = {"ids that are no UUID": 1, "messages of unknown roles": 1, "unknown fields": 2}
    assert Draft(line=1, turns=[answered("a", "c")], dropped=dropped) == found


# ---- both


BOTH = pytest.mark.parametrize("read", READERS, ids=["openai", "sharegpt"])


@BOTH
@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("hello", "no JSON: write one object in each line"),
        ("{", "no JSON: write one object in each line"),
        ("[" * 100_000, "no JSON: write one object in each line"),
        ('{"a":' * 100_000, "no JSON: write one object in each line"),
        (f'{{"a":{"9" * 5000}}}', "no JSON: write one object in each line"),
        ('{"a":NaN}', "no JSON: write one object in each line"),
        ('{"a":-Infinity}', "no JSON: write one object in each line"),
        ("[]", "no JSON object: write one in each line"),
        ("3", "no JSON object: write one in each line"),
        (b"\xff\xfe{}", "not UTF-8"),
    ],
)
def test_what_is_no_object_is_refused(read: Any, file: str | bytes, why: str):
    assert Unread(1, why) == one(read, file)


@BOTH
def test_an_object_without_messages_is_refused(read: Any):
    name = LISTS[read]
    assert Unread(1, f"no list of {name!r}") == one(read, {})
    assert Unread(1, f"no list of {name!r}") == one(read, {name: {}})
    assert Unread(1, f"number 1 of {name!r} is no object") == one(read, {name: ["x"]})
    assert Unread(1, "no message of a user or an assistant with text") == one(read, {name: []})


@BOTH
def test_texts_of_another_type_are_refused_without_being_quoted(read: Any):
    found = [chat(("user", 3)), shared(("human", {"secret": 1})), shared(("human", "a"), system=["secret"])]
    reasons = ["the content of message 1 is neither text nor a list of parts", "the value of message 1 is no text"]
    assert [Unread(1, each) for each in [*reasons, "the text of 'system' is no text"]] == found


@BOTH
def test_lines_are_read_one_by_one_and_a_bad_one_hides_no_other(read: Any):
    name = LISTS[read]
    said = {name: [{"role": "user", "content": "a", "from": "human", "value": "a"}]}
    taken = 0

    def file() -> Iterator[Line]:
        nonlocal taken
        for number, each in enumerate(
            ["\ufeff" + json.dumps(said), "", "  \r", "bad", json.dumps(said) + "\r"], start=1
        ):
            taken = number
            yield Line(number, each.encode())

    found = read(file())
    assert (1, 1) == (next(found).line, taken)
    rest = list(found)
    assert [Unread, Draft] == [type(each) for each in rest]
    assert [4, 5] == [each.line for each in rest]


WHOLE = {
    openai.read: {
        "messages": [
            {"role": "system", "content": "a"},
            {"role": "user", "content": [{"type": "text", "text": "b"}], "name": "x"},
            {"role": "assistant", "content": "c", "weight": 1, "tool_calls": [{"function": {"name": "f"}}]},
            {"role": "tool", "content": "d", "tool_call_id": "x"},
        ],
        "tools": [{"type": "function"}],
    },
    sharegpt.read: {
        "id": ID,
        "system": "a",
        "conversations": [{"from": "human", "value": "b", "weight": 1}, {"from": "gpt", "value": "c"}],
    },
}
OTHERS: list[Any] = [None, True, False, 0, -1, 1.5, 2**70, "", " ", "user", "x", [], {}, [[]], [None], {"role": "user"}]


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value within one."""
    yield ()
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield from ((name, *rest) for rest in places(each))


def with_another(whole: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    made = copy.deepcopy(whole)
    within = made
    for name in place[:-1]:
        within = within[name]
    within[place[-1]] = value
    return made


@BOTH
def test_any_value_may_be_another(read: Any):
    whole = WHOLE[read]
    assert isinstance(one(read, whole), Draft)
    tried = [with_another(whole, place, other) for place in places(whole) if place for other in OTHERS]
    assert len(tried) > 100
    for each in tried:
        assert_sound(one(read, each))


def assert_sound(found: Draft | Unread) -> None:
    """Check that it is what the contract says, whatever was read."""
    if isinstance(found, Unread):
        assert found.why
        return
    texts = [found.context, *(each.message for each in found.turns)]
    texts += [reply.content for each in found.turns for reply in each.replies]
    assert all(isinstance(each, str) for each in texts if each is not None)
    assert all(each.replies for each in found.turns[:-1])
    assert found.turns or found.opening
    assert all(count > 0 for count in found.dropped.values())


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.sampled_from(["user", "human", "gpt", "system", "tool", "", "x"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "content", "from", "value", "type", "text", "id"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=4), JSON)
def test_any_json_gives_drafts_or_reasons(messages, other):
    for read, name in LISTS.items():
        assert_sound(one(read, {name: messages}))
        assert_sound(one(read, {name: messages, "system": other, "id": other}))
