"""Conversations as lines for training and as a table: what is written, what is left out, and what is read of them."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convo.formats import openai, sharegpt
from convo.formats.base import DraftReply, Tally, Transcript, Writer
from convo.formats.csv import COLUMNS, CSVWriter
from convo.formats.dpo import DPOWriter
from convo.formats.openai import OpenAIWriter
from convo.formats.sharegpt import ShareGPTWriter
from convo.values import STREAM_CUT, Example, MessagePrompt, Preference, Turn
from tests.transcripts import ID, candidate, lines, opening, record, said, transcript, turn, written

STORED = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
SAID = (STORED | st.sampled_from(["\x85", "a\u2028b", '"', "\\", "\r\n", "=1+1", " @x", "a,b;c"])).filter(
    lambda text: bool(text.strip())
)
MAYBE = st.none() | SAID

WRITERS = [OpenAIWriter, ShareGPTWriter, DPOWriter, CSVWriter]


@st.composite
def turns(draw: st.DrawFn, text: st.SearchStrategy[str | None] = MAYBE) -> list[Turn]:
    """Return turns with and without erased texts; the last one may have no answer."""
    made = [opening(draw(text))] if draw(st.booleans()) else []
    count = draw(st.integers(0, 4))
    for number in range(1, count + 1):
        answers = draw(st.lists(text, min_size=number < count, max_size=3))
        chosen = draw(st.integers(0, len(answers) - 1)) if answers else None
        made.append(turn(number, draw(text), *answers, chosen=chosen))
    return made


def rows(file: str) -> list[dict[str, Any]]:
    """Return the objects of a file of lines, of which every reader sees the same."""
    assert file.split("\n")[:-1] == file.splitlines()
    assert "" == file[-1:].strip("\n")
    return [json.loads(line) for line in file.splitlines()]


# ---- the shapes, as the pages of their makers tell them


def assert_openai(messages: list[dict[str, Any]], *, weights: bool) -> None:
    for index, each in enumerate(messages):
        assert each["role"] in (("system", "user", "assistant") if index == 0 else ("user", "assistant"))
        assert isinstance(each["content"], str)
        is_weighed = weights and each["role"] == "assistant"
        assert {"role", "content", *(["weight"] if is_weighed else [])} == each.keys()
        assert each.get("weight", 0) in (0, 1)
    said = [each for each in messages if each["role"] != "system"]
    doubled = [index for index in range(1, len(said)) if said[index]["role"] == said[index - 1]["role"]]
    assert all(said[index]["role"] == "assistant" and said[index].get("weight") in (0, None) for index in doubled)
    assert len(doubled) <= 1  # an opening behind examples


def assert_sharegpt(row: dict[str, Any]) -> None:
    assert ["id", "conversations"] == list(row)
    said = row["conversations"]
    assert all(["from", "value"] == list(each) and isinstance(each["value"], str) for each in said)
    roles = [each["from"] for each in said]
    roles = roles[1:] if roles[0] == "system" else roles
    assert ["human", "gpt"] * (len(roles) // 2) == roles != []


def assert_preference(row: dict[str, Any]) -> None:
    assert ["input", "preferred_output", "non_preferred_output"] == list(row)
    assert ["messages"] == list(row["input"])
    assert_openai(row["input"]["messages"], weights=False)
    assert "user" == row["input"]["messages"][-1]["role"]
    for each in (row["preferred_output"], row["non_preferred_output"]):
        assert [("assistant", str)] == [(message["role"], type(message["content"])) for message in each]
        assert ["role", "content"] == list(each[0])
    assert row["preferred_output"] != row["non_preferred_output"]


# ---- OpenAI's and ShareGPT's lines


SHOWN: dict[str, Any] = {"examples": [("hi", "ho"), (None, "x")], "context": "Be brief."}


def everything() -> Transcript:
    return transcript(
        opening("Meow?"), turn(1, "a", "b", "c", chosen=1), turn(2, "d", None), turn(3, None, "e"),
        turn(4, "f", "g"), turn(5, "h", candidate("i", 0, STREAM_CUT)), **SHOWN,
    )  # fmt: skip


def test_openai_learns_chosen_replies_only():
    writer = OpenAIWriter()
    file = written(writer, everything())
    assert (
        '{"messages":[{"role":"system","content":"Be brief."},'
        '{"role":"user","content":"hi"},{"role":"assistant","content":"ho","weight":0},'
        '{"role":"assistant","content":"Meow?","weight":0},'
        '{"role":"user","content":"a"},{"role":"assistant","content":"c","weight":1},'
        '{"role":"user","content":"f"},{"role":"assistant","content":"g","weight":1}]}\n'
    ) == file
    left_out = Counter({"erased examples": 1, "turns with erased texts": 2, "unanswered turns": 1})
    assert Tally(conversations=1, turns=3, texts=5, left_out=left_out) == writer.tally


def test_sharegpt_begins_with_the_human():
    writer = ShareGPTWriter()
    file = written(writer, everything())
    assert (
        f'{{"id":"{ID}","conversations":[{{"from":"system","value":"Be brief."}},'
        '{"from":"human","value":"hi"},{"from":"gpt","value":"ho"},'
        '{"from":"human","value":"a"},{"from":"gpt","value":"c"},'
        '{"from":"human","value":"f"},{"from":"gpt","value":"g"}]}\n'
    ) == file
    left_out = Counter(
        {"erased examples": 1, "turns with erased texts": 2, "unanswered turns": 1, "opening messages": 1}
    )
    assert Tally(conversations=1, turns=2, texts=4, left_out=left_out) == writer.tally


@pytest.mark.parametrize("make", [OpenAIWriter, ShareGPTWriter])
def test_a_conversation_without_a_complete_turn_counts_as_a_whole(make: type[Writer]):
    writer = make()
    shown = [transcript(), transcript(opening("x")), transcript(turn(1, "a"), **SHOWN), transcript(turn(1, None, "b"))]
    assert "" == written(writer, *shown)
    assert Tally(left_out=Counter({"conversations without a complete turn": 4})) == writer.tally


@given(turns(), st.none() | STORED, st.lists(st.tuples(MAYBE, MAYBE), max_size=3))
def test_lines_have_their_shape_and_the_tally_is_exact(made, context, examples):
    for writer in (OpenAIWriter(), ShareGPTWriter()):
        found = rows(written(writer, transcript(*made, examples=examples, context=context)))
        assert len(found) == writer.tally.conversations
        if not found:
            continue
        is_openai = isinstance(writer, OpenAIWriter)
        if is_openai:
            assert_openai(found[0]["messages"], weights=True)
        else:
            assert_sharegpt(found[0])
        told = 2 * sum(None not in each for each in examples) + bool(context)
        assert writer.tally.texts == len(found[0]["messages" if is_openai else "conversations"]) - told
        skipped = writer.tally.left_out - Counter({"erased examples": len(examples)})
        assert len(made) == writer.tally.turns + sum(skipped.values())


@given(turns(SAID), st.none() | SAID)
def test_what_lines_can_hold_is_read_back(made, context):
    answered = [each for each in made if each.number and each.reply]
    for writer, read in ((OpenAIWriter(), openai.read), (ShareGPTWriter(), sharegpt.read)):
        found = list(read(lines(written(writer, transcript(*made, context=context)))))
        assert bool(answered) == bool(found)
        for each in found:
            assert [(one.message.content, [DraftReply(content=one.reply.content)], 0) for one in answered] == [
                (one.message, list(one.replies), one.chosen) for one in each.turns
            ]
            assert (context, {}) == (each.context, each.dropped)
            opened = made[0].reply.content if read is openai.read and not made[0].number else None
            assert opened == (each.opening and each.opening.content)
            assert (ID if read is sharegpt.read else None) == each.id


@pytest.mark.parametrize("make", [OpenAIWriter, ShareGPTWriter, CSVWriter])
def test_a_long_conversation_is_written_in_pieces(make: type[Writer]):
    read = 0

    def many() -> Iterator[Turn]:
        nonlocal read
        for number in range(1, 10_001):
            read = number
            yield turn(number, "hi", "yo")

    writer = make()
    sizes = []
    for number, piece in enumerate(writer.conversation(Transcript(record(), (), many(), ()))):
        sizes.append(len(piece))
        assert read <= number // 2 + 2  # a turn has two pieces
    assert (10_000, 200) > (writer.tally.turns - 1, max(sizes))
    assert 20_000 == writer.tally.texts


# ---- preferences


def preference(*messages: str | None, chosen: str | None = "good", rejected: tuple[str | None, ...] = ("bad",)):
    prompt = MessagePrompt("Be brief.", (Example("hi", "ho"),), tuple(said(*messages)))
    others = tuple(candidate(each, index) for index, each in enumerate(rejected, start=1))
    return Preference(ID, 1, prompt, candidate(chosen), others)


def test_each_rejected_answer_has_a_line():
    writer = DPOWriter()
    found = rows(written(writer, transcript(preferences=[preference("a", "b", "c", rejected=("bad", "worse"))])))
    told = [("system", "Be brief."), ("user", "hi"), ("assistant", "ho"), ("user", "a"), ("assistant", "b")]
    assert [*told, ("user", "c")] == [(each["role"], each["content"]) for each in found[0]["input"]["messages"]]
    assert ["bad", "worse"] == [each["non_preferred_output"][0]["content"] for each in found]
    assert [["good"]] * 2 == [[message["content"] for message in each["preferred_output"]] for each in found]
    assert found[0]["input"] == found[1]["input"]
    for each in found:
        assert_preference(each)
    assert Tally(conversations=1, turns=1, texts=4) == writer.tally


def test_preferences_with_erased_texts_are_left_out():
    writer = DPOWriter()
    gone = [preference("a", chosen=None), preference("a", rejected=(None,)), preference("a", None, "b")]
    file = written(
        writer,
        transcript(preferences=[*gone, preference("a")], examples=[(None, "x")]),
        transcript(preferences=gone),
        transcript(turn(1, "a", "b")),
    )
    assert 1 == len(rows(file))
    left_out = {"turns with erased texts": 6, "erased examples": 1, "conversations without a preference": 2}
    assert Tally(conversations=1, turns=1, texts=2, left_out=Counter(left_out)) == writer.tally


@given(st.lists(SAID, min_size=1, max_size=4), SAID, st.lists(SAID, min_size=1, max_size=3))
def test_preferences_have_their_shape(messages, chosen, rejected):
    kept = tuple(each for each in rejected if each != chosen) or (f"{chosen}.",)
    for each in rows(
        written(DPOWriter(), transcript(preferences=[preference(*messages, chosen=chosen, rejected=kept)]))
    ):
        assert_preference(each)


# ---- the table


def table(file: str) -> list[dict[str, str]]:
    """Return the rows as a reader of RFC 4180 sees them."""
    assert "\ufeff" == file[0]
    assert file.endswith("\r\n")
    found = list(csv.reader(io.StringIO(file[1:], newline=""), strict=True))
    assert list(COLUMNS) == found[0]
    assert {len(COLUMNS)} == {len(each) for each in found}
    return [dict(zip(COLUMNS, each, strict=True)) for each in found[1:]]


def test_every_text_has_a_row():
    writer = CSVWriter()
    found = table(written(writer, everything(), transcript()))
    shown = ("turn", "position", "role", "candidate", "chosen", "content", "erased", "finish_reason")
    assert [
        ("", "", "context", "", "", "Be brief.", "", ""),
        ("", "0", "example input", "", "", "hi", "", ""),
        ("", "0", "example output", "", "", "ho", "", ""),
        ("", "1", "example input", "", "", "", "yes", ""),
        ("", "1", "example output", "", "", "x", "", ""),
        ("0", "0", "model", "0", "yes", "Meow?", "", ""),
        ("1", "1", "user", "", "", "a", "", ""),
        ("1", "2", "model", "0", "no", "b", "", ""),
        ("1", "2", "model", "1", "yes", "c", "", ""),
        ("2", "3", "user", "", "", "d", "", ""),
        ("2", "4", "model", "0", "yes", "", "yes", ""),
        ("3", "5", "user", "", "", "", "yes", ""),
        ("3", "6", "model", "0", "yes", "e", "", ""),
        ("4", "7", "user", "", "", "f", "", ""),
        ("4", "8", "model", "0", "yes", "g", "", ""),
        ("5", "9", "user", "", "", "h", "", ""),
        ("5", "10", "model", "0", "no", "i", "", "stream_cut"),
    ] == [tuple(each[name] for name in shown) for each in found]
    assert {ID} == {each["conversation"] for each in found}
    assert ("2026-01-01T12:01:00.000Z", "0", "1") == tuple(
        found[6][name] for name in ("created_at", "author", "tokens")
    )
    assert ["", "2026-01-01T12:01:30.000Z"] == [each["created_at"] for each in found[7:9]]
    left_out = Counter({"conversations without any text": 1})
    assert Tally(conversations=1, turns=6, texts=10, left_out=left_out) == writer.tally


BEGINNINGS = [*"=+-@\t\r\n＝＋－＠"]
ACTIVE = [*(f"{each}1" for each in BEGINNINGS), *(f"{each}=1" for each in ("  ", "\u00a0", "\u200b", "\ufeff", "\x1f"))]


@pytest.mark.parametrize("text", ACTIVE)
def test_no_cell_begins_like_a_formula(text: str):
    fields = {"name": text, "title": text, "owner": text}
    said = turn(1, text, candidate(text, 0, text, model=text, author=text))
    for each in table(written(CSVWriter(), transcript(said, context=text, examples=[(text, text)], **fields))):
        assert [f"'{text}"] * 4 == [each[name] for name in ("name", "title", "owner", "content")]
        if each["role"] == "model":
            assert [f"'{text}"] * 3 == [each[name] for name in ("author", "finish_reason", "model")]


# A comma within quotes separates nothing, for everybody who reads commas; who reads others may know no quotes.
READINGS = [(",", '"'), (";", '"'), ("\t", '"'), (";", None), ("\t", None)]


@pytest.mark.parametrize(("separator", "quote"), READINGS)
@given(st.lists(SAID | st.sampled_from([*";\t\n\r,\"'", " ", "=1", "-1", "@x", "＝1"]), max_size=8).map("".join))
def test_no_cell_is_one_whatever_the_separator(separator: str, quote: str | None, text: str):
    file = written(CSVWriter(), transcript(turn(1, "hi", text), context=text, title=text))
    quoting = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    unseen = " \x85\xa0\u200b\u2028\x1f" + ("" if quote else '"')
    for row in csv.reader(io.StringIO(file[1:], newline=""), delimiter=separator, quotechar=quote, quoting=quoting):
        assert [] == [cell for cell in row if cell.lstrip(unseen)[:1] in tuple("=+-@＝＋－＠")]


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf"], exclude_characters="=+-@＝＋－＠"), max_size=40))
def test_other_texts_are_as_they_were(text: str):
    [found] = table(written(CSVWriter(), transcript(context=text or "x", title=text)))
    assert (text or "x", text) == (found["content"], found["title"])
