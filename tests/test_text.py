"""What text may enter the store, that it comes back as it was, and that showing it does nothing."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import convo
from convo.errors import InvalidText
from convo.text import MAX_TEXT_BYTES, clean_message, clean_text, inert, repair_text

HOT = ["\0", "\ud83d", "\ude00", "\ud800", "\udfff", "\udc00", "\r", "\ufeff", "\ufffd", "\uffff", "\U0010ffff", "a"]
CODE_POINTS = st.integers(0, 0x10FFFF).map(chr) | st.sampled_from(HOT)
ANY_TEXT = st.lists(CODE_POINTS, max_size=30).map("".join)
STORABLE = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)  # and so without surrogates

AWKWARD = [
    "\r\nWindows\r\n",
    "\ufeffbegins with a byte order mark",
    "\ufffe\uffff\U0001fffe\U0010ffff",
    "e\u0301 is not \u00e9",
    "\u202eoverridden\u202c",
    "\x01\x02\x07\x08\x0b\x0c\x1b[31m\x1f\x7f\x85\x9f",
    " \u00a0spaces around\u3000 ",
    "\ufffd was there before",
    "'; DROP TABLE convo_messages; --",
    '{"json": [1, "\\u0000"]}',
    "%s %(name)s :name ? $1 \\",
    "👩🏽‍🚀🇪🇺",
]


def first_refused(text: str) -> int | None:
    """Return the index of the first NUL or lone surrogate, found by walking."""
    index = 0
    while index < len(text):
        here, after = text[index], text[index + 1 : index + 2]
        if "\ud800" <= here <= "\udbff" and "\udc00" <= after <= "\udfff":
            index += 2
            continue
        if here == "\0" or "\ud800" <= here <= "\udfff":
            return index
        index += 1
    return None


def refusal(clean: Callable[[str], object], text: str) -> InvalidText:
    with pytest.raises(InvalidText) as caught:
        clean(text)
    return caught.value


@given(STORABLE)
def test_clean_text_keeps_all_that_can_be_stored_as_it_is(text: str):
    assert text == clean_text(text)


@pytest.mark.parametrize("text", AWKWARD)
def test_clean_text_changes_no_line_end_mark_or_control(text: str):
    assert text == clean_text(text)


@given(ANY_TEXT)
def test_clean_text_refuses_at_the_position_in_the_text_that_was_given(text: str):
    try:
        clean_text(text)
        position = None
    except InvalidText as error:
        position = error.position
    assert first_refused(text) == position


@given(ANY_TEXT.filter(lambda text: first_refused(text) is None))
def test_clean_text_is_idempotent(text: str):
    assert clean_text(text) == clean_text(clean_text(text))


@given(STORABLE)
def test_utf16_halves_that_form_a_character_become_it(text: str):
    units = text.encode("utf-16-le")
    halves = "".join(chr(int.from_bytes(units[at : at + 2], "little")) for at in range(0, len(units), 2))
    assert (text, (text, 0)) == (clean_text(halves), repair_text(halves))


@pytest.mark.parametrize(
    ("text", "position", "named"),
    [
        ("\0", 0, "a NUL character"),
        ("ab\0c", 2, "a NUL character"),
        ("\ud83d\ude00\0", 2, "a NUL character"),
        ("\ude00\ud83d", 0, "a lone surrogate"),
        ("\ud83d\ude00\ude00", 2, "a lone surrogate"),
        ("\ud83d\ud83d\ude00", 0, "a lone surrogate"),
        ("a\ud83d", 1, "a lone surrogate"),
        ("a\ud83d\0", 1, "a lone surrogate"),
    ],
)
def test_a_refusal_names_the_first_character_and_where_it_is(text: str, position: int, named: str):
    error = refusal(clean_text, text)
    assert (position, f"text has {named} at position {position}: remove it") == (error.position, str(error))


def test_a_refusal_says_what_was_refused_and_never_quotes_it():
    assert "title has a NUL character at position 6: remove it" == str(
        refusal(lambda text: clean_text(text, "title"), "secret\0")
    )


@pytest.mark.parametrize("given_", [None, 5, b"bytes", ["a"], object()])
def test_what_is_no_string_is_a_type_error(given_: object):
    with pytest.raises(TypeError, match=rf"^text must be a string, not {type(given_).__name__}$"):
        clean_text(given_)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("blank", ["", " ", "\n\t\r\n", "\u2003\u3000\u00a0", "\x1c\x85\u2028"])
def test_a_blank_message_is_refused(blank: str):
    assert "message is empty: give it some text" == str(refusal(clean_message, blank))


@given(STORABLE.filter(str.strip))
def test_a_message_keeps_the_space_around_it(text: str):
    assert text == clean_message(text)


@given(ANY_TEXT)
def test_repair_replaces_each_refused_character_by_one_mark(text: str):
    halves_joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    refused = re.findall("[\0\ud800-\udfff]", halves_joined)
    wanted = re.sub("[\0\ud800-\udfff]", "\ufffd", halves_joined)
    assert (wanted, len(refused)) == repair_text(text)


@given(ANY_TEXT)
def test_what_was_repaired_is_clean_and_needs_no_more_repair(text: str):
    repaired = repair_text(text)[0]
    assert (repaired, (repaired, 0)) == (clean_text(repaired), repair_text(repaired))


def test_a_mark_that_the_model_wrote_itself_is_not_counted_as_repaired():
    assert ("\ufffd\ufffd", 1) == repair_text("\ufffd\0")


AT_THE_CAP = {
    "one byte each": "a" * MAX_TEXT_BYTES,
    "two bytes each": "é" * (MAX_TEXT_BYTES // 2),
    "three bytes each": "€" * (MAX_TEXT_BYTES // 3) + "a" * (MAX_TEXT_BYTES % 3),
    "four bytes each": "😀" * (MAX_TEXT_BYTES // 4),
    "four bytes in halves": "\ud83d\ude00" * (MAX_TEXT_BYTES // 4),
}


@pytest.mark.parametrize("kind", AT_THE_CAP)
def test_a_text_of_exactly_four_mebibytes_is_kept(kind: str):
    text = AT_THE_CAP[kind]
    assert 4 * 1024 * 1024 == len(clean_text(text).encode()) == len(repair_text(text)[0].encode())


@pytest.mark.parametrize("clean", [clean_text, clean_message, repair_text])
@pytest.mark.parametrize("kind", AT_THE_CAP)
def test_one_byte_more_is_refused_as_a_whole(kind: str, clean: Callable[[str], object]):
    error = refusal(clean, AT_THE_CAP[kind] + "a")
    assert (None, True) == (error.position, "has 4,194,305 bytes, and at most 4,194,304 can be kept" in str(error))


def test_a_reply_that_grows_over_the_cap_by_its_repair_is_refused():
    assert MAX_TEXT_BYTES // 3 == repair_text("\0" * (MAX_TEXT_BYTES // 3))[1]
    refusal(repair_text, "\0" * (MAX_TEXT_BYTES // 3 + 1))


def random_texts(count: int) -> list[str]:
    """Return texts of all code points that may be stored, none of them blank."""
    draw = random.Random(4711)
    points = [*range(1, 0x400), *range(0x2000, 0x2100), *range(0xFE00, 0x10000), *range(0x1F000, 0x1FA00), 0x10FFFF]
    texts = []
    for _ in range(count):
        anywhere = draw.random() < 0.5
        text = [chr(draw.randint(1, 0x10FFFF) if anywhere else draw.choice(points)) for _ in range(draw.randint(1, 60))]
        kept = "".join(each for each in text if not "\ud800" <= each <= "\udfff")
        texts.append(kept if kept.strip() else kept + "x")
    return texts


def test_two_thousand_random_texts_come_back_as_they_went_in(store: convo.Store):
    texts = AWKWARD + random_texts(2000 - len(AWKWARD))
    talk = store.create(model="offline/echo", messages=texts)
    assert texts == [each.content for each in store.get(talk.id).messages()]


def test_context_examples_title_and_metadata_come_back_as_they_went_in(store: convo.Store):
    whole = "".join(AWKWARD)
    title = whole.replace("\n", "").replace("\r", "")
    metadata = {f"{index} {text}": text for index, text in enumerate(AWKWARD)}
    talk = store.create(
        model="offline/echo", context=whole, examples=[(whole, whole[::-1])], title=title, metadata=metadata
    )
    again = store.get(talk.id)
    shown = again.preview("next").examples[0]
    wanted = (whole, whole, whole[::-1], title, metadata)
    assert wanted == (again.context, shown.input, shown.output, again.title, again.metadata)


def test_what_is_sent_and_answered_comes_back_as_it_went_in(store: convo.Store):
    talk = store.create(model="offline/echo")
    replies = [talk.send(text).text for text in AWKWARD]
    stored = [each.content for each in talk.messages()]
    assert (AWKWARD, [text for text in AWKWARD for _ in range(2)]) == (replies, stored)


def test_surrogate_halves_are_stored_as_their_character(store: convo.Store):
    talk = store.create(model="offline/echo", messages=["\ud83d\ude00", "answer"])
    assert "😀" == talk.messages()[0].content


@pytest.mark.parametrize(
    ("dangerous", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31mred", "\\x9b31mred"),
        ("\x1b]52;c;aGVsbG8=\x07", "\\x1b]52;c;aGVsbG8=\\x07"),
        ("\x1b]8;;http://evil\x1b\\text\x1b]8;;\x1b\\", "\\x1b]8;;http://evil\\x1b\\text\\x1b]8;;\\x1b\\"),
        ("safe\rlost", "safe\\x0dlost"),
        ("safe\b\b\b\bgone", "safe\\x08\\x08\\x08\\x08gone"),
        ("\x7f\x0b\x0c\x00", "\\x7f\\x0b\\x0c\\x00"),
        ("\u202egnp.exe\u202c", "\\u202egnp.exe\\u202c"),
        ("\u2066a\u2069\u061c\u200e\u200f", "\\u2066a\\u2069\\u061c\\u200e\\u200f"),
        ("a\u2028b\u2029c\u0085d", "a\\u2028b\\u2029c\\x85d"),
        ("half \ud83d of one", "half \\ud83d of one"),
    ],
)
def test_what_could_act_on_a_terminal_is_shown_instead(dangerous: str, shown: str):
    assert shown == inert(dangerous)


@pytest.mark.parametrize("text", ["a\tb\nc\n", "", "Ünï 你好 😀 👩🏽‍🚀", "\\x1b", "e\u0301", "مرحبا", "\ufeff\u00a0"])
def test_harmless_text_is_shown_as_it_is(text: str):
    assert text == inert(text)


@given(ANY_TEXT)
def test_inert_text_has_no_active_character_left(text: str):
    active = [*range(9), *range(0xB, 0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
    assert set() == set(inert(text)) & set(map(chr, active))


@given(ANY_TEXT)
def test_inert_text_can_be_printed_as_utf8(text: str):
    assert inert(text) == inert(text).encode().decode()


@given(ANY_TEXT)
def test_inert_is_idempotent_and_keeps_tabs_and_newlines(text: str):
    shown = inert(text)
    assert (shown, text.count("\t"), text.count("\n")) == (inert(shown), shown.count("\t"), shown.count("\n"))
