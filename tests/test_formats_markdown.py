"""Conversations as Markdown: what is written is read back, to the byte, and people may write such files themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convo.formats import markdown
from convo.formats.base import Draft, DraftReply, Tally, Transcript, Unread
from convo.values import STREAM_CUT, Candidate, Parameters, Turn
from tests.transcripts import candidate, lines, opening, record, transcript, turn, written

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
MOMENTS = st.datetimes(timezones=st.just(UTC))
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
