"""The page that conversations are written as: nothing in it acts, nothing of a text is lost, and it can be read."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convo.formats.base import Transcript
from convo.formats.html import NEAR_TURNS, HtmlWriter
from convo.formats.stylesheet import DARK, LIGHT, STYLE
from convo.values import CANCELLED, FAILED, IN_FLIGHT, STREAM_CUT, ConversationRecord, Message, Parameters, Turn, Usage
from tests.transcripts import ID, NOON, candidate, opening, record, transcript, turn, written

OTHER_ID = "01890a5d-ac96-774b-bcce-b302099a8058"

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</style></title></textarea><style>body { display: none }</style>",
    "</div></article></main></body></html>",
    '" onmouseover="alert(1)" x="',
    "' onfocus='alert(1)' autofocus='",
    "<a href='javascript:alert(1)'>x</a>",
    "<base href='http://example.org/'><meta http-equiv=refresh content='0;url=http://example.org/'>",
    "<!-- --!> <![CDATA[ ]]> <?xml ?>",
    "&amp; &lt;script&gt; &#0; &#x202e; &",
    "\u202eoverridden\u2066 \u061c\u200f",
    "a\rlone return\r\nand\r\r\nmore\r",
    "\x01\x0b\x0c\x1b[31m\x7f\x85\x9f\u2028\ufdd0\ufffe\U0010ffff\ufeff",
    "\\x1b \\u202e ↵ [erased]",
    "\n\n  leading\tand trailing  \n",
    "x" * 5_000,
    "```html\r\n<b>\r\n```\r\n~~~ `\n```\n~~~~",
    "مرحبا 你好 👩🏽‍🚀 Z̸̡̢͓̳",
]
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
HOSTILE_TEXT = st.sampled_from(HOSTILE) | st.lists(st.sampled_from(HOSTILE) | TEXT, min_size=1, max_size=3).map("".join)

VOID = {"meta", "br", "hr", "img", "input", "link"}
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "nav", "main", "article", "section", "footer"),
    *("details", "summary", "h1", "h2", "h3", "p", "div", "span", "b", "bdi", "code", "a", "time"),
    *("dl", "dt", "dd", "ol", "li"),
}
ATTRIBUTES = {
    *("lang", "dir", "class", "id", "href", "open", "datetime", "title", "aria-labelledby"),
    *("charset", "name", "content", "http-equiv"),
}
UNSEEN = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufdd0-\ufdef]"


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parent: Element | None = None
    children: list[Element | str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Element]:
        """All elements, in the order of the page."""
        yield self
        for each in self.children:
            if isinstance(each, Element):
                yield from each

    @property
    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()

    @property
    def text(self) -> str:
        return "".join(each if isinstance(each, str) else each.text for each in self.children)

    @property
    def original(self) -> str:
        """The text that was written here: visible codes are the characters again that they stand for."""
        if self.tag == "bdi":
            return "\r" if self.text == "↵" else self.text.encode().decode("unicode_escape")
        return "".join(each if isinstance(each, str) else each.original for each in self.children)

    def all(self, wanted: str) -> list[Element]:
        """All elements with a tag, or with a class when it begins with a dot."""
        if wanted.startswith("."):
            return [each for each in self if wanted[1:] in each.classes]
        return [each for each in self if each.tag == wanted]

    def one(self, wanted: str) -> Element:
        (found,) = self.all(wanted)
        return found


class Parser(HTMLParser):
    """Makes a tree, and fails where an element does not end in its place."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = self.here = Element("", {})

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names)
        made = Element(tag, {name: value or "" for name, value in attrs}, self.here)
        self.here.children.append(made)
        if tag not in VOID:
            self.here = made

    def handle_endtag(self, tag):
        assert tag == self.here.tag
        assert self.here.parent is not None
        self.here = self.here.parent

    def handle_data(self, data):
        self.here.children.append(data)

    def handle_comment(self, data):
        pytest.fail("a comment")

    def handle_pi(self, data):
        pytest.fail("a processing instruction")

    def unknown_decl(self, data):
        pytest.fail("a declaration")


def parsed(page: str) -> Element:
    parser = Parser()
    parser.feed(page)
    parser.close()
    assert parser.here is parser.root
    return parser.root


def page_of(*shown: Transcript) -> Element:
    return parsed(written(HtmlWriter(), *shown))


def body(*turns: Turn, **fields) -> Element:
    return page_of(transcript(*turns, **fields)).one("main")


def assert_inert(page: Element) -> None:
    elements = [each for each in page if each.tag]
    assert {each.tag for each in elements} <= TAGS
    assert {name for each in elements for name in each.attributes} <= ATTRIBUTES
    assert len(page.all("style")) == 1
    ids = [each.attributes["id"] for each in elements if "id" in each.attributes]
    assert len(ids) == len(set(ids))
    links = [each.attributes["href"] for each in elements if "href" in each.attributes]
    labels = [each.attributes["aria-labelledby"] for each in elements if "aria-labelledby" in each.attributes]
    assert all(link.startswith("#") for link in links)
    assert {*(link[1:] for link in links), *labels} <= set(ids)


def hostile(text: str, id: str = ID) -> Transcript:
    """A conversation that has a text in each place where there may be one."""
    answers = [candidate(text, at, text, model=text, author=text) for at in range(2)]
    given = {"title": text, "name": text, "owner": text, "model": text, "context": text, "authors": (text, text)}
    return transcript(
        opening(text),
        turn(1, text, *answers, model=text, served_by=text[::-1]),
        turn(2, text, candidate(text, 0, STREAM_CUT), error=text),
        examples=[(text, text)],
        metadata={text: [text]},
        parameters=Parameters(stop_sequences=(text,)),
        forked_from=id,
        forked_at=1,
        **given,
        id=id,
    )


@given(HOSTILE_TEXT)
def test_no_text_acts_wherever_it_stands(text: str):
    assert_inert(page_of(hostile(text), hostile(text, OTHER_ID)))


@given(HOSTILE_TEXT)
def test_every_text_is_found_again_as_it_was(text: str):
    page = page_of(hostile(text))
    texts = [each.original for each in page.all(".text") if "code" not in each.classes]
    # The context, an example's two, the opening, a message with two candidates, and one with a broken answer.
    assert [text] * 9 == texts
    assert [text] * 4 == [each.original for each in (page.one("h1"), *page.all("dd")[:3])]  # title, name, owner, model


@given(HOSTILE_TEXT)
def test_no_character_is_written_that_html_does_not_have_or_that_nobody_sees(text: str):
    page = written(HtmlWriter(), hostile(text))
    assert not re.search(UNSEEN, page)
    assert all(ord(each) & 0xFFFE != 0xFFFE for each in page)


def test_a_text_that_reads_like_a_code_can_be_told_from_one():
    assert [] == body(turn(1, r"\x1b ↵", "ok"), title="t").all("bdi")
    assert [r"\x1b", "↵"] == [each.text for each in body(turn(1, "\x1b\r\n", "ok"), title="t").all("bdi")]


def test_a_lone_surrogate_is_shown_and_leaves_a_page_that_can_be_encoded():
    page = written(HtmlWriter(), transcript(metadata={"half": "\ud83d"}))
    assert r"<bdi>\ud83d</bdi>" in page.encode().decode()


def test_the_policy_allows_the_one_stylesheet_by_its_hash_and_nothing_else():
    page = page_of(transcript(turn(1, "hi", "hello")))
    (policy,) = [each.attributes["content"] for each in page.all("meta") if "http-equiv" in each.attributes]
    digest = b64encode(sha256(page.one("style").text.encode()).digest()).decode()
    rules = ["default-src 'none'", f"style-src 'sha256-{digest}'", "base-uri 'none'", "form-action 'none'"]
    assert rules == policy.split("; ")


def test_the_stylesheet_fetches_nothing():
    assert not re.search(r"url\(|@import|@font-face|image-set|<", STYLE)


def test_the_head_tells_the_browser_what_it_has_to_know():
    page = page_of(transcript(title="The <mouse>"))
    named = {each.attributes.get("name"): each.attributes.get("content") for each in page.all("meta")}
    assert ("en", "The <mouse>") == (page.one("html").attributes["lang"], page.one("title").text)
    assert "no-referrer" == named["referrer"]
    assert "width=device-width, initial-scale=1" == named["viewport"]
    assert "utf-8" == page.all("meta")[0].attributes["charset"]


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_what_is_read_stands_out_from_its_ground(palette):
    grounds = [("page", "user", "model", "mark"), ("text", "muted", "link", "alarm")]
    for ground, read in [*product(*grounds), ("link", "page")]:
        darker, lighter = sorted(luminance(palette[each]) for each in (ground, read))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (ground, read)


def test_every_colour_of_the_stylesheet_is_one_of_the_palette():
    used = set(re.findall(r"var\(--([\w-]+)\)", STYLE))
    assert set(LIGHT) == set(DARK) == used


def test_each_class_that_is_written_has_a_look_and_each_look_a_class():
    many = (turn(number, None, None) for number in range(1, NEAR_TURNS))
    page = page_of(hostile("x"), hostile("y", OTHER_ID), transcript(*many, id=OTHER_ID[:-1] + "0"))
    written_classes = {name for each in page for name in each.classes}
    rules = re.sub(r"\{[^{}]*\}|/\*.*?\*/", " ", STYLE)
    assert written_classes == set(re.findall(r"\.([a-z]+)", rules))


def test_one_conversation_has_no_list_of_contents():
    page = page_of(transcript(turn(1, "hi", "hello"), title="A chat"))
    assert [] == page.all("nav")
    assert "A chat" == page.one("h1").text


def test_several_conversations_are_listed_with_links_to_where_they_begin():
    first = transcript(turn(1, "hi", "hello"), title="A chat", name="telegram:1")
    page = page_of(first, transcript(id=OTHER_ID, name="telegram:2"))
    items = [each.text for each in page.one("nav").all("li")]
    assert ["A chat telegram:1 · 1 turn · 1 Jan 2026", "telegram:2 0 turns · 1 Jan 2026"] == items
    assert [f"#{ID}", f"#{OTHER_ID}"] == [each.attributes["href"] for each in page.one("nav").all("a")]
    assert_inert(page)


def test_no_conversation_at_all_is_said():
    page = page_of()
    assert "No conversations" == page.one("h1").text
    assert_inert(page)


def test_the_list_of_contents_is_written_while_it_is_read():
    read = []

    def records() -> Iterator[ConversationRecord]:
        for number in range(100):
            read.append(number)
            yield record(id=f"{ID[:-3]}{number:03}")

    pieces = HtmlWriter().begin(records())
    while "<li>" not in next(pieces):
        continue
    assert [0, 1] == read
    assert 99 == sum("<li>" in piece for piece in pieces)


def test_turns_are_written_while_they_are_read():
    read = []

    def turns() -> Iterator[Turn]:
        for number in range(1, 100):
            read.append(number)
            yield turn(number, f"question {number}", "answer")

    pieces = HtmlWriter().conversation(Transcript(record(), [], turns(), []))
    while "question 2" not in next(pieces):
        continue
    assert [1, 2] == read


@pytest.mark.parametrize("count", [1, 2])
def test_headings_skip_no_level(count: int):
    shown = [hostile("x", id) for id in (ID, OTHER_ID)[:count]]
    levels = [int(each.tag[1]) for each in page_of(*shown) if re.fullmatch("h[1-6]", each.tag)]
    assert 1 == levels[0] == levels.count(1)
    assert all(below - above <= 1 for above, below in pairwise(levels))


def test_a_turn_is_a_link_to_itself():
    section = body(opening("Meow?"), turn(1, "hi", "hello")).all(".turn")[1]
    assert f"{ID}-turn-1" == section.attributes["id"]
    assert (f"#{ID}-turn-1", "Turn 1") == (section.one("a").attributes["href"], section.one("a").text)


@pytest.mark.parametrize(
    ("title", "fields", "said"),
    [
        ("A title", {"title": "A title", "name": "a name"}, "words"),
        ("First words of it", {"name": "a name"}, "First\n words  of it"),
        ("a name", {"name": "a name"}, None),
        (ID[:13], {}, None),
        ("word " * 11 + "word…", {}, "word " * 40),
        ("x" * 60 + "…", {}, "x" * 100),
    ],
)
def test_a_conversation_is_called_by_its_title_or_else_by_how_it_begins(title, fields, said):
    assert title == body(turn(1, said, "answer"), **fields).one("h1").text


def told(element: Element) -> dict[str, str]:
    """Return a list of facts by their names."""
    return dict(zip((each.text for each in element.all("dt")), (each.text for each in element.all("dd")), strict=True))


def test_the_head_of_a_conversation_tells_what_is_known_of_it():
    fields = {"name": "telegram:1", "owner": "acme", "model": "a/b", "forked_from": OTHER_ID, "forked_at": 3}
    facts = told(body(**fields, updated_at=NOON + timedelta(days=31)).all("dl")[0])
    assert facts == {
        "Name": "telegram:1",
        "Owner": "acme",
        "Model": "a/b",
        "Turns": "0",
        "Created": "1 Jan 2026, 12:00",
        "Last active": "1 Feb 2026, 12:00",
        "Forked from": f"{OTHER_ID} after turn 3",
        "Id": ID,
    }


def test_settings_and_metadata_are_folded():
    parameters = Parameters(temperature=0.5, stop_sequences=("\n",))
    fold = body(parameters=parameters, metadata={"bot": ["é"]}, input_token_limit=8000, version=2).one(".more")
    assert "open" not in fold.attributes
    assert told(fold) == {
        "Temperature": "0.5",
        "Stop sequences": r'["\n"]',
        "Input token limit": "8,000",
        "Trim": "minimal",
        "Metadata": '{\n  "bot": [\n    "é"\n  ]\n}',
        "Journal": "2 events",
        "Journal's head": "0" * 64,
    }


@pytest.mark.parametrize(("length", "is_open"), [(1_000, True), (1_001, False)])
def test_context_and_examples_are_folded_when_they_are_long(length: int, is_open: bool):
    context, examples = body(context="x" * length, examples=[("x" * (length - 1), "y"), (None, None)]).all(".given")
    assert [is_open] * 2 == ["open" in each.attributes for each in (context, examples)]
    assert f"Context {length:,} characters" == context.one("summary").text
    assert "Examples 2" == examples.one("summary").text


def test_sides_are_told_apart_by_words():
    unnamed = turn(1, "hi", "hello")
    named = turn(2, "hi", candidate("hello", author="Whiskers"), message=Message("Mira", "hi", created_at=NOON))
    heads = [each.one("header").text for each in body(unnamed, named).all(".message")]
    assert ["User 1 Jan 2026, 12:01", "Model 12:01", "Mira user 1 Jan 2026, 12:00", "Whiskers model 12:02"] == heads


def test_small_print_tells_of_the_answer():
    answer = candidate("hello", 0, "stop", model="a/b", repaired=1)
    shown = body(turn(1, "hi", answer, model="a/b", served_by="c", usage=Usage(1204, 45), latency_ms=1234))
    line = "a/b, served by c · finished: stop · tokens: 1,204 in, 45 out · 1.2 s · 1 character replaced"
    assert line == shown.one(".small").text


def test_an_answer_of_another_model_than_its_turns_names_that_one():
    shown = body(turn(1, "hi", candidate("hello", model="other"), model="a/b", usage=Usage(output_tokens=3)))
    assert "other · tokens: 3 out" == shown.one(".small").text


def test_the_chosen_answer_is_shown_and_the_others_are_folded():
    answers = [candidate("one", 0, "stop", model="a"), candidate("two", 1, "length", model="b"), candidate("three", 2)]
    section = body(turn(1, "hi", *answers, chosen=1)).one(".turn")
    fold = section.one("details")
    assert "open" not in fold.attributes
    assert "2 other answers" == fold.one("summary").text
    assert ["hi", "two", "one", "three"] == [each.text for each in section.all(".text")]
    assert "candidate 1, chosen · b · finished: length" == section.all(".small")[0].text
    assert ["Model candidate 0", "Model candidate 2"] == [each.text for each in fold.all("header")]
    assert "a · finished: stop" == fold.one(".small").text


@pytest.mark.parametrize("reason", [STREAM_CUT, CANCELLED])
def test_an_answer_that_broke_off_is_marked_and_can_be_seen_where_there_is_no_other(reason: str):
    section = body(turn(1, "hi", candidate("Once upon", 0, reason), error="ModelUnavailable")).one(".turn")
    assert "Not answered: ModelUnavailable" == section.one(".unanswered").text
    assert "open" in section.one("details").attributes
    assert "1 answer, not chosen" == section.one("summary").text
    assert f"broken off ({reason})" == section.one(".small").text


@pytest.mark.parametrize(("state", "words"), [(FAILED, "Not answered."), (IN_FLIGHT, "Not answered yet.")])
def test_a_turn_without_any_answer_says_so(state: str, words: str):
    assert words == body(turn(1, "hi", state=state)).one(".unanswered").text


def test_erased_texts_leave_a_mark_that_a_text_cannot_imitate():
    shown = body(turn(1, None, None, "[erased]", None), examples=[("in", None)])
    assert ["[erased]"] * 4 == [each.text for each in shown.all(".erased")]
    assert ["in", "[erased]"] == [each.text for each in shown.all(".text")]


def test_the_tally_counts_what_was_written():
    writer = HtmlWriter()
    erased = turn(2, None, "kept", None)
    written(writer, transcript(opening("Meow?"), turn(1, "hi", "a", "b"), erased), transcript(id=OTHER_ID))
    counts = (writer.tally.conversations, writer.tally.turns, writer.tally.texts)
    assert (2, 3, 5) == counts
    assert not writer.tally.left_out


def test_times_are_told_in_utc():
    at = datetime(2026, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    time = body(created_at=at).all("time")[0]
    assert ("28 Feb 2026, 23:30", "2026-02-28T23:30:00.000Z") == (time.text, time.attributes["datetime"])


def test_an_answer_on_another_day_tells_its_day():
    times = body(turn(1, "hi", "hello", finished_at=NOON + timedelta(days=1))).one(".turn").all("time")
    assert ["1 Jan 2026, 12:01", "2 Jan 2026, 12:00"] == [each.text for each in times]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a\n```py\nx\n```\nb", ["```py\nx\n```\n"]),
        ("~~~\n```\n~~~~  \n```\nto the end", ["~~~\n```\n~~~~  \n", "```\nto the end"]),
        ("a ``` b\n    ```\n``` a`b", []),
    ],
)
def test_only_code_between_fences_has_a_font_of_its_own(text: str, code: list[str]):
    shown = body(turn(1, text, "ok")).all(".text")[0]
    assert (text, code) == (shown.text, [each.text for each in shown.all("code")])


def test_what_is_far_down_a_long_page_is_laid_out_only_in_sight():
    turns = [turn(number, "hi", "hello") for number in range(1, NEAR_TURNS)]
    shown = page_of(transcript(*turns), transcript(*turns[:3], id=OTHER_ID)).all(".turn")
    assert [NEAR_TURNS, NEAR_TURNS + 1] == [at for at, each in enumerate(shown) if "far" in each.classes]


@pytest.mark.parametrize(("text", "is_short"), [("x" * 1_200, True), ("x" * 1_201, False), ("\n" * 13, False)])
def test_only_a_short_message_is_kept_on_one_printed_page(text: str, is_short: bool):
    assert is_short == ("short" in body(turn(1, text, "ok")).one(".user").classes)
