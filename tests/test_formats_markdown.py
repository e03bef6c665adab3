"""Conversations as Markdown: what is written is read back, to the byte, and people may write such files themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convo.formats import markdown
from convo.formats.base import Draft, DraftReply, DraftTurn, Line, Tally, Transcript, Unread
from convo.values import STREAM_CUT, Candidate, Parameters, Turn
from tests.transcripts import NOON, candidate, lines, opening, record, transcript, turn, written

FIRST, LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
STORED = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
HOSTILE = st.sampled_from(
    [
        "<!-- role: user -->", "<!-- end -->", "\\<!-- end -->", "\\\\<!-- role: assistant, turn: 1 -->", "---",
        "<!--END-->\r", "<!--\tRole :", "convo: 1", "## 1. User", "# title", "```", "-->", "--!>", "\r", "\n", "\r\n",
        "\t", " ", "\\", "\ufeff", "\u2028", "\x85", "<!-- role: user", "<!-- end --> more", "*erased*", "\x1b[31m",
    ]
)  # fmt: skip
TEXTS = st.lists(STORED | HOSTILE, max_size=6).map("\n".join) | st.lists(HOSTILE, max_size=8).map("".join)
SAID = TEXTS.filter(lambda text: bool(text.strip()))
LABELS = STORED.filter(lambda text: bool(text.strip())).map(lambda text: " ".join(text.split()))
MAYBE = st.none() | SAID
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
MOMENTS = st.datetimes(FIRST.replace(tzinfo=None), LAST.replace(tzinfo=None), timezones=st.just(UTC))
CANDIDATES = st.builds(
    Candidate,
    st.just(0),
    MAYBE,
    st.sampled_from([None, "stop", "length", STREAM_CUT]) | LABELS,
    model=st.none() | LABELS,
)


@st.composite
def turns(draw: st.DrawFn) -> list[Turn]:
    """Return turns as a store may have them: the last one may have no answer, or only such as were not chosen."""
    made = [opening(draw(MAYBE))] if draw(st.booleans()) else []
    count = draw(st.integers(0, 3))
    for number in range(1, count + 1):
        answers = draw(st.lists(CANDIDATES, min_size=number < count, max_size=3))
        numbered = [replace(each, index=index) for index, each in enumerate(answers)]
        whole = [each.index for each in numbered if each.finish_reason != STREAM_CUT]
        if not whole and number < count:
            numbered, whole = [replace(each, finish_reason=None) for each in numbered], [0]
        chosen = draw(st.sampled_from(whole)) if whole else None
        if number == count and draw(st.booleans()):
            chosen = None
        times = {"finished_at": draw(MOMENTS) if chosen is not None else None}
        one = turn(number, draw(MAYBE), *numbered, **times)
        made.append(replace(one, chosen=chosen))
    return made


RECORDS = st.fixed_dictionaries(
    {
        "context": st.none() | TEXTS.filter(bool),
        "title": st.none() | LABELS,
        "name": st.none() | LABELS,
        "owner": st.just("") | LABELS,
        "metadata": st.dictionaries(TEXTS, JSON, max_size=3),
        "authors": st.just(("0", "1")) | st.tuples(LABELS, LABELS),
        "model": LABELS,
        "trim": st.sampled_from(["minimal", "stable"]),
        "input_token_limit": st.none() | st.integers(1, 10**9),
        "created_at": MOMENTS,
        "parameters": st.builds(
            Parameters,
            temperature=st.none() | st.floats(0, 2),
            candidate_count=st.none() | st.integers(1, 8),
            stop_sequences=st.none() | st.lists(SAID, min_size=1, max_size=2).map(tuple),
        ),
    }
)


def read(file: str | bytes) -> list[Draft | Unread]:
    return list(markdown.read(lines(file)))


def draft(file: str | bytes) -> Draft:
    [found] = read(file)
    assert isinstance(found, Draft), found
    return found


def why(file: str | bytes) -> str:
    [found] = read(file)
    assert isinstance(found, Unread), found
    return found.why


def again(found: Draft) -> Transcript:
    """Return a draft as a conversation that is written: what a store makes of it, without the store."""
    shown = [] if found.opening is None else [opening(found.opening.content)]
    if found.opening is not None:
        reply = candidate(found.opening.content, 0, found.opening.finish_reason, model=found.opening.model)
        shown = [replace(shown[0], candidates=(reply,))]
    for number, each in enumerate(found.turns, start=1):
        replies = [
            candidate(reply.content, index, reply.finish_reason, model=reply.model)
            for index, reply in enumerate(each.replies)
        ]
        one = turn(number, each.message, *replies, finished_at=each.answered_at)
        asked = replace(one.message, created_at=each.asked_at) if one.message else None
        shown.append(replace(one, message=asked, chosen=each.chosen))
    fields = {
        name: value
        for name in ("id", "owner", "name", "title", "authors", "model", "input_token_limit", "trim", "created_at")
        if (value := getattr(found, name)) is not None
    }
    settings = {"context": found.context, "metadata": found.metadata, "parameters": found.parameters}
    return transcript(*shown, examples=found.examples, **fields, **settings)


def write(*shown: Transcript) -> str:
    return written(markdown.MarkdownWriter(), *shown)


@given(turns(), RECORDS, st.lists(st.tuples(MAYBE, MAYBE), max_size=2))
def test_what_was_written_and_read_is_written_with_the_same_bytes(said, fields, examples):
    file = write(transcript(*said, examples=examples, **fields))
    found = draft(file)
    assert {} == found.dropped
    assert file == write(again(found))


@given(st.lists(turns(), max_size=3), RECORDS)
def test_texts_come_back_as_they_were_however_many_documents_there_are(conversations, fields):
    found = read(write(*(transcript(*each, **fields) for each in conversations)))
    assert [[each for each in said if each.number] for said in conversations] == [
        [
            replace(
                one,
                message=replace(one.message, content=told.message),
                candidates=tuple(
                    replace(reply, content=read.content)
                    for reply, read in zip(one.candidates, told.replies, strict=True)
                ),
            )
            for one, told in zip([one for one in said if one.number], each.turns, strict=True)
        ]
        for said, each in zip(conversations, found, strict=True)
    ]
    assert [fields["context"]] * len(found) == [each.context for each in found]
    assert [json.dumps(fields["metadata"])] * len(found) == [json.dumps(each.metadata) for each in found]


@pytest.mark.parametrize("value", ["-->", "a > b", "--!>", "\n-->", '"', "\\", "\x85\u2028", "a, b: c", ""])
def test_a_value_cannot_close_its_comment(value: str):
    file = write(transcript(turn(1, "hi", candidate("yo", 0, value or "x", model=f"x/{value}"))))
    comments = [line for line in file.splitlines() if line.startswith("<!--")]
    assert [1] * len(comments) == [each.count(">") for each in comments]
    reply = draft(file).turns[0].replies[0]
    assert DraftReply(content="yo", finish_reason=value or "x", model=f"x/{value}") == reply


def test_a_document_is_pleasant_to_read():
    said = [
        turn(1, "Please catch that mouse.", "Meow.", "Which?", chosen=1),
        turn(2, None, "I did."),
        turn(3, "And now?"),
    ]
    shown = transcript(*said, context="Answer as a cat.", title="The *mouse*")
    assert (
        write(shown)
        == """\
---
convo: 1
id: "01890a5d-ac96-774b-bcce-b302099a8057"
title: "The *mouse*"
model: "offline/echo"
created_at: "2026-01-01T12:00:00.000Z"
---

# The \\*mouse\\*

<!-- role: context -->
## Context

Answer as a cat.

<!-- role: user, turn: 1, at: "2026-01-01T12:01:00.000Z" -->
## 1. User

Please catch that mouse.

<!-- role: assistant, turn: 1, candidate: 0, chosen: false -->
## 1. Assistant (candidate 0, not chosen)

Meow.

<!-- role: assistant, turn: 1, candidate: 1, chosen: true, at: "2026-01-01T12:01:30.000Z" -->
## 1. Assistant (candidate 1)

Which?

<!-- role: user, turn: 2, at: "2026-01-01T12:02:00.000Z", erased: true -->
## 2. User (erased)

<!-- role: assistant, turn: 2, at: "2026-01-01T12:02:30.000Z" -->
## 2. Assistant

I did.

<!-- role: user, turn: 3, at: "2026-01-01T12:03:00.000Z" -->
## 3. User

And now?

<!-- end -->
"""
    )


def test_the_tally_counts_what_was_written():
    writer = markdown.MarkdownWriter()
    said = [opening("Meow?"), turn(1, "a", "b", None, chosen=0), turn(2, None)]
    written(writer, transcript(*said), transcript())
    assert Tally(conversations=2, turns=3, texts=3) == writer.tally


def test_a_conversation_without_turns_has_its_head():
    found = draft(write(transcript(context="Be brief.", title="Nothing yet")))
    assert ("Be brief.", "Nothing yet", []) == (found.context, found.title, found.turns)


def test_pieces_are_written_as_turns_come():
    seen = []

    def watched():
        for number in range(1, 1000):
            seen.append(number)
            yield turn(number, "hi", "yo")

    pieces = markdown.MarkdownWriter().conversation(Transcript(record(), (), watched(), ()))
    while not seen:
        next(pieces)
    next(pieces)
    assert [1] == seen


# ---- files that people write


MINIMAL = "<!-- role: user -->\nhello\n<!-- role: assistant -->\nhi\n"


def test_two_comments_make_a_conversation():
    turns = [DraftTurn(message="hello", replies=[DraftReply(content="hi")])]
    assert Draft(line=1, turns=turns, examples=[]) == draft(MINIMAL)


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
        (f'{USER}{MODEL}, model: "\\x" -->\n', "line 3: a value of the role comment is no JSON"),
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
