"""Markdown files that people write or change: what is understood of them, and what is said of the rest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convo.formats import markdown
from convo.formats.base import Draft, DraftReply, DraftTurn, Line, Unread
from convo.values import Parameters
from tests.test_formats_markdown import HOSTILE, STORED, draft, read, write
from tests.transcripts import NOON, candidate, lines, opening, transcript, turn


def why(file: str | bytes) -> str:
    [found] = read(file)
    assert isinstance(found, Unread), found
    return found.why


MINIMAL = "<!-- role: user -->\nhello\n<!-- role: assistant -->\nhi\n"


def test_two_comments_make_a_conversation():
    turns = [DraftTurn(message="hello", replies=[DraftReply(content="hi")])]
    assert Draft(line=1, turns=turns) == draft(MINIMAL)


@pytest.mark.parametrize(
    "file",
    [
        MINIMAL.replace("\n", "\r\n"),
        "\ufeff" + MINIMAL,
        "\ufeff" + MINIMAL.replace("\n", "\r\n"),
        MINIMAL.removesuffix("\n"),
        MINIMAL + "<!-- end -->",
        MINIMAL + "\n\n\n<!-- end -->\n\n\n",
        MINIMAL.replace("-->\n", "-->\n\n\n").replace("hello", "hello\n\n"),
        MINIMAL.replace("user", "USER").replace("role: assistant", "Role : model"),
        "---\n---\n" + MINIMAL,
    ],
)
def test_people_may_write_it_in_many_ways(file: str):
    found = draft(file)
    assert [("hello", ["hi"])] == [(each.message, [reply.content for reply in each.replies]) for each in found.turns]
    assert {} == found.dropped


def test_lines_of_a_file_with_windows_line_ends_are_told_by_one_character():
    file = "<!-- role: user -->\r\none\r\n\r\ntwo\r\n<!-- role: assistant -->\r\nhi\r\n"
    assert "one\n\ntwo" == draft(file).turns[0].message


def test_front_matter_may_be_plain_yaml():
    head = """---
# mine
title: The mouse  # not its real name
name: 'it''s'
owner: "a\\u0062"
model: ~
input_token_limit: 4000
created_at: 2026-01-01 12:00:00+00:00
parameters: {"temperature": 1, "seed": 3}
authors: ["me", "it"]
tags:
  - cats
- mice
id: 12
---
"""
    found = draft(head + MINIMAL)
    assert {"unknown front matter": 1, "unknown parameters": 1, "ids that are no UUID": 1} == found.dropped
    assert ("The mouse", "it's", "ab", None) == (found.title, found.name, found.owner, found.model)
    assert (4000, NOON, ("me", "it")) == (found.input_token_limit, found.created_at, found.authors)
    assert Parameters(temperature=1.0) == found.parameters


@pytest.mark.parametrize(
    "entry",
    [
        "convo: 2", "convo:", 'title: "open', "title: 'open", "title: |\n  block", "metadata: [1]", "metadata: {",
        'metadata: {"a": NaN}', "authors: me", 'authors: ["a"]', "parameters: 3", 'parameters: {"top_p": 2}',
        'parameters: {"top_k": "many"}', "input_token_limit: many", "input_token_limit: " + "9" * 5000,
        "created_at: soon", "created_at: 0001-01-01T00:00:00+10:00", "just words", f"metadata: {'[' * 100_000}",
        'parameters: {"stop_sequences": ["\\ud800"]}', "authors: [1, 2]",
    ],
)  # fmt: skip
def test_front_matter_that_cannot_be_is_told_with_its_line(entry: str):
    line = 4 if "\n" in entry else 3
    assert why(f"---\nowner: x\n{entry}\n---\n{MINIMAL}").startswith(f"line {line}: ")


def test_two_texts_of_one_side_are_joined_and_others_are_alternatives():
    file = (
        "<!-- role: assistant -->\nhello\n<!-- role: user -->\na\n<!-- role: user -->\nb\n"
        "<!-- role: assistant, candidate: 0 -->\nc\n<!-- role: assistant, candidate: 1, chosen: true -->\nd\n"
        "<!-- role: assistant -->\ne\n<!-- role: system -->\nlate\n<!-- role: user -->\n\n"
        "<!-- role: tool, mood: x -->\nf\n"
    )
    found = draft(file)
    replies = [DraftReply(content="c"), DraftReply(content="d\n\ne")]
    assert [DraftTurn(message="a\n\nb", replies=replies, chosen=1)] == found.turns
    assert DraftReply(content="hello") == found.opening
    expected = {
        "system messages inside a conversation": 1,
        "empty messages": 1,
        "messages of unknown roles": 1,
        "unknown fields": 1,
    }
    assert expected == found.dropped


USER, MODEL = "<!-- role: user -->\nhi\n", "<!-- role: assistant"


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("# Notes\n\nno conversation\n", "no role comment"),
        ("<!-- end -->\n", "no role comment"),
        ("\\<!-- role: user -->\nhi\n", "no role comment"),
        ("<!-- role: tool -->\nhi\n", "no role comment has a role that is known"),
        ("<!-- role: context -->\nhi\n", "no message"),
        ("---\ntitle: x\n", "line 1: the front matter has no end"),
        (f"{USER}<!-- role: user\nx\n", "line 3: a role comment must be closed"),
        (f"{USER}<!-- role: user --> x\n", "line 3: a role comment must be closed"),
        (f"{USER}<!-- role: -->\n", "line 3: a role comment is a list"),
        (f"{USER}<!-- role: user; turn: 1 -->\n", "line 3: a role comment is a list"),
        (f'{USER}{MODEL}, model: "\\x" -->\n', "line 3: a value of a role comment is no JSON"),
        (f"{USER}{MODEL}, at: soon -->\nx\n", "line 3: 'at' is no time"),
        (f"{USER}{MODEL}, erased: true -->\nx\n", "line 3: what is marked as erased has a text"),
        (f"{USER}{MODEL}, erased: true -->\n{MODEL} -->\nx\n", "line 4: two texts of one side"),
        (f"{USER}{MODEL}, finish: cancelled -->\nx\n{USER}", "line 1: no answer to this message is chosen"),
        (
            f"{USER}{MODEL}, chosen: true -->\nx\n{MODEL}, candidate: 1, chosen: true -->\ny\n",
            "line 1: two answers to this message are chosen",
        ),
        (f"{MODEL} -->\nx\n{MODEL}, candidate: 1 -->\ny\n", "an opening has no candidates"),
        (f"<!-- role: example_input -->\nx\n{USER}", "line 1: the example's input has no output"),
        (f"{USER}<!-- role: example_input -->\nx\n", "line 3: the example's input has no output"),
        (f"<!-- role: example_output -->\nx\n{USER}", "line 1: the example's output has no input"),
        (USER.encode() + b"\xff\n", "line 3: not UTF-8"),
    ],
)
def test_what_is_no_conversation_is_told(file: str | bytes, reason: str):
    assert why(file).startswith(reason)


def test_a_bad_document_does_not_hide_the_next():
    found = read(f"{USER}{MODEL}\n<!-- end -->\n\n{MINIMAL}")
    assert [Unread, Draft] == [type(each) for each in found]
    assert [1, 6] == [each.line for each in found]


def test_a_file_of_blank_lines_has_no_conversation():
    assert [] == read("\n\n  \n")


def test_text_before_the_first_comment_is_counted():
    assert {"texts before the first role comment": 1} == draft(f"# A title\nand more\n{MINIMAL}").dropped
    assert {} == draft(f"# A title\n\n{MINIMAL}").dropped


def test_a_document_that_is_too_long_is_passed_over_without_being_held():
    mebibyte = Line(2, b"x" * 2**20)

    def file():
        yield Line(1, b"<!-- role: user -->")
        yield from (mebibyte for _ in range(markdown.MAX_DOCUMENT_BYTES // 2**20 + 1))
        yield Line(99, b"<!-- end -->")
        yield from lines(MINIMAL)

    first, second = markdown.read(file())
    assert Unread(1, "longer than 67,108,864 bytes") == first
    assert isinstance(second, Draft)


@given(st.lists(HOSTILE | STORED | st.sampled_from(MINIMAL.split("\n")), max_size=12).map("\n".join))
def test_any_file_gives_drafts_or_reasons(file: str):
    for each in read(file):
        assert isinstance(each, Draft | Unread)
        assert not isinstance(each, Draft) or all(turn.replies for turn in each.turns[:-1])


def whole_file() -> list[str]:
    said: list[Any] = [opening("o"), turn(1, "a", "b", candidate("c", 1, "stop", model="m/n"), chosen=1), turn(2, None)]
    fields = {"title": "t", "metadata": {"k": [1]}, "authors": ("x", "y"), "parameters": Parameters(top_k=3)}
    return write(transcript(*said, examples=[("i", "o")], context="c", **fields)).split("\n")


@pytest.mark.parametrize("number", range(len(whole_file())))
def test_any_line_may_be_lost_doubled_or_cut(number: int):
    whole = whole_file()
    line = whole[number]
    for others in ([], [line, line], *([line[:cut]] for cut in range(len(line)))):
        assert read("\n".join([*whole[:number], *others, *whole[number + 1 :]]))
