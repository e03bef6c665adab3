"""The loose shapes of messages, authors, histories and examples: those that may be written, and those that may not."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convo import options
from convo.errors import AuthorError, InvalidInput, InvalidParameter, InvalidText
from convo.retry import RequestOptions, Retry
from convo.values import CitationMetadata, CitationSource, Example, Message, MessagePrompt


def said(made: list[Message]) -> list[tuple[str, str | None]]:
    """Return authors and texts."""
    return [(each.author, each.content) for each in made]


def shown(made: list[Example]) -> list[tuple[str | None, str | None]]:
    return [(each.input, each.output) for each in made]


def by(author: str, content: str) -> dict[str, str]:
    return {"author": author, "content": content}


def failure(call: Callable[[], object], kind: type[Exception]) -> str:
    """Return the text of the error that `call` raises."""
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


# ---- one message (chat-behaviour 1.1)


@pytest.mark.parametrize(
    ("shape", "author", "content"),
    [
        ("hi", "", "hi"),
        ({"content": "hi"}, "", "hi"),
        ({"author": "me", "content": "hi"}, "me", "hi"),
        ({"author": None, "content": "hi"}, "", "hi"),
        ({"author": "", "content": "hi"}, "", "hi"),
        ({"content": "hi", "citation_metadata": {"citation_sources": []}}, "", "hi"),
        (Message("me", "hi"), "me", "hi"),
        (Message("me", "hi", side=1, tokens=999, position=7, turn=4, salt=bytes(32)), "me", "hi"),
        ("\ud83d\ude00", "", "😀"),
    ],
)
def test_a_message_is_a_string_a_dictionary_or_a_message(shape: Any, author: str, content: str):
    made = options.message(shape)
    assert (author, content, None, None, None) == (made.author, made.content, made.position, made.turn, made.salt)


def test_a_message_is_counted_anew():
    assert 2 == options.message(Message("me", "hello", tokens=999)).tokens


@pytest.mark.parametrize(
    "shape", [None, 5, 1.5, True, b"hi", ["hi"], ("hi",), object(), {"content": None}, {"author": "me"}, {}]
)
def test_what_has_no_text_is_no_message(shape: Any):
    assert failure(lambda: options.message(shape), TypeError)


@pytest.mark.parametrize("author", [0, 5, False, b"me", ["me"]])
def test_an_author_that_is_no_string_is_refused(author: Any):
    wanted = f"author must be a string, not {type(author).__name__}"
    assert wanted == failure(lambda: options.message({"author": author, "content": "hi"}), TypeError)


def test_an_erased_message_cannot_be_said_again():
    assert failure(lambda: options.message(Message("me", None)), TypeError)


def test_an_unknown_key_of_a_message_is_named():
    assert "Unknown field for Message: 'role'" == failure(
        lambda: options.message({"role": "user", "content": "hi"}), ValueError
    )


@pytest.mark.parametrize("text", ["", " \n", "a\0b", "\ud800"])
def test_a_text_that_cannot_be_stored_or_sent_is_refused_and_placed(text: str):
    told = failure(lambda: options.messages(["fine", "fine", text]), InvalidText)
    assert told.startswith("message 2 ")


@pytest.mark.parametrize("author", ["a\0", "\udfff"])
def test_an_author_that_cannot_be_stored_is_refused(author: str):
    assert failure(lambda: options.message(by(author, "hi")), InvalidText)


# ---- several messages (1.2)


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        (None, []),
        ([], []),
        ("hi", [("0", "hi")]),
        ({"content": "hi"}, [("0", "hi")]),
        (Message("", "hi"), [("0", "hi")]),
        (["a", "b", "c"], [("0", "a"), ("1", "b"), ("0", "c")]),
        (("a", {"content": "b"}, Message("", "c")), [("0", "a"), ("1", "b"), ("0", "c")]),
        ([by("me", "a"), "b"], [("me", "a"), ("1", "b")]),
        (["a", by("bot", "b"), "c"], [("0", "a"), ("bot", "b"), ("0", "c")]),
        (["a", "b", by("me", "c")], [("me", "a"), ("1", "b"), ("me", "c")]),
        ([by("me", "a"), by("bot", "b"), "c", "d"], [("me", "a"), ("bot", "b"), ("me", "c"), ("bot", "d")]),
        ([by("x", "a"), by("x", "b")], [("x", "a"), ("x", "b")]),
        ([by("1", "a"), "b"], [("1", "a"), ("1", "b")]),
    ],
)
def test_messages_alternate_and_get_the_author_of_their_side(shape: Any, wanted: list[tuple[str, str]]):
    assert wanted == said(options.messages(shape))


def test_messages_may_come_from_a_generator():
    assert [("0", "a"), ("1", "b")] == said(options.messages(each for each in ("a", "b")))


@given(st.lists(st.sampled_from(["", "me", "you"]), max_size=8))
def test_the_sides_alternate_from_the_users(names: list[str]):
    given_ = [by(name, "hi") for name in names]
    even, odd = set(names[::2]) - {""}, set(names[1::2]) - {""}
    if max(len(even), len(odd)) > 1:
        failure(lambda: options.messages(given_), AuthorError)
        return
    made = options.messages(given_)
    wanted = [(side % 2, (even or {"0"}, odd or {"1"})[side % 2]) for side in range(len(names))]
    assert wanted == [(each.side, {each.author}) for each in made]


@pytest.mark.parametrize(
    "shape",
    [[by("x", "a"), "b", by("y", "c")], ["a", by("x", "b"), "c", by("y", "d")], [by("x", "a"), "b", by("X", "c")]],
)
def test_two_names_on_one_side_are_an_author_error(shape: Any):
    told = failure(lambda: options.messages(shape), AuthorError)
    assert (True, True) == ("alternate strictly" in told, told.endswith("use one name on each side"))


@pytest.mark.parametrize("shape", [5, True, object(), ["a", ["b"]], ["a", None], ["a", 5], b"ab"])
def test_what_is_no_series_of_messages_is_a_type_error(shape: Any):
    assert failure(lambda: options.messages(shape), TypeError)


# ---- authors, and a history


@pytest.mark.parametrize("shape", [("me", "you"), ["me", "you"], iter(["me", "you"])])
def test_authors_are_two_names(shape: Any):
    assert ("me", "you") == options.authors(shape)


@pytest.mark.parametrize(
    "shape",
    ["ab", "me", [], ["me"], ["me", "you", "it"], ["me", "me"], ["", "you"], ["me", ""], ["😀", "\ud83d\ude00"]],
)
def test_authors_must_be_two_different_names(shape: Any):
    told = failure(lambda: options.authors(shape), AuthorError)
    assert told.startswith("authors must be two different names, the user's and the model's")


@pytest.mark.parametrize("shape", [None, 5, [1, 2], [["me"], ["you"]], ["me", None]])
def test_authors_must_be_strings(shape: Any):
    assert failure(lambda: options.authors(shape), TypeError)


@pytest.mark.parametrize(
    "shape", [["a", "b"], [by("0", "a"), by("1", "b")], [by("me", "a"), "b"], [by("me", "a"), by("bot", "b")]]
)
def test_a_history_takes_the_names_of_its_conversation(shape: Any):
    assert [("me", "a"), ("bot", "b")] == said(options.history(shape, ("me", "bot")))


@pytest.mark.parametrize("shape", [["a"], "a", ["a", "b", "c"], {"content": "a"}])
def test_an_odd_history_is_refused_with_the_remedy(shape: Any):
    told = failure(lambda: options.history(shape, options.AUTHORS), ValueError)
    assert "the history ends with a message that has no reply: pass the last text to send()" == told


@pytest.mark.parametrize(
    "shape",
    [
        [by("you", "a"), "b"],
        ["a", by("it", "b")],
        [by("bot", "a"), by("me", "b")],
        [by("x", "a"), by("x", "b")],
        [by("me", "a"), by("me", "b")],
        [by("me", "a"), "b", by("you", "c"), "d"],
    ],
)
def test_a_stranger_in_a_history_is_an_author_error(shape: Any):
    assert failure(lambda: options.history(shape, ("me", "bot")), AuthorError)


def test_no_history_is_an_empty_one():
    assert [] == options.history(None, options.AUTHORS) == options.history([], options.AUTHORS)


# ---- examples (1.3 and 1.4)

PAIR, TWO = [("a", "b")], [("a", "b"), ("c", "d")]


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        (None, []),
        ([], []),
        (("a", "b"), PAIR),
        ([("a", "b")], PAIR),
        ([["a", "b"]], PAIR),
        ([Example("a", "b")], PAIR),
        (Example("a", "b"), PAIR),
        ({"input": "a", "output": "b"}, PAIR),
        ([{"input": "a", "output": "b"}], PAIR),
        ({"input": {"content": "a"}, "output": Message("x", "b")}, PAIR),
        ([({"content": "a"}, Message("", "b"))], PAIR),
        (["a", "b", "c", "d"], TWO),
        ([Message("", "a"), "b", {"content": "c"}, "d"], TWO),
        ([{"content": "a"}, {"content": "b"}], PAIR),
        ([("a", "b"), {"input": "c", "output": "d"}], TWO),
        ([Example("a", "b"), ("c", "d")], TWO),
    ],
)
def test_examples_are_pairs_dictionaries_or_a_flat_list(shape: Any, wanted: list[tuple[str, str]]):
    assert wanted == shown(options.examples(shape))


def test_examples_may_come_from_generators():
    pair: Iterator[str] = iter(("a", "b"))
    assert PAIR == shown(options.examples(each for each in (pair,)))


def test_an_example_is_counted_anew_and_without_salts():
    [made] = options.examples(Example("hello", "world!", 999, bytes(32), bytes(32)))
    assert (4, None, None) == (made.tokens, made.input_salt, made.output_salt)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ("ab", TypeError),
        ("", TypeError),
        (5, TypeError),
        (b"ab", TypeError),
        (Message("", "a"), TypeError),
        ([("a", "b"), "cd"], TypeError),
        ([("a", "b"), Message("", "c")], TypeError),
        ([None], TypeError),
        ([5], TypeError),
        (Example(None, None), TypeError),
        ([("a", None)], TypeError),
        (["a", ("b", "c")], TypeError),
        (["a", "b", "c"], ValueError),
        ([("a", "b", "c")], ValueError),
        ([("a",)], ValueError),
        ([()], ValueError),
        (["a", {"input": "b", "output": "c"}], ValueError),
        ([{"author": "x"}], TypeError),
        ([{"input": "a"}, {"input": "b", "output": "c"}], TypeError),
        ({"input": "a", "output": "b", "extra": "c"}, ValueError),
        ({"content": "a"}, KeyError),
        ({"input": "a"}, KeyError),
        ({"output": "a"}, KeyError),
        ([("a", "b"), {"input": "c"}], KeyError),
        ({}, KeyError),
        ([("a", "b\0")], InvalidText),
        ([("", "b")], InvalidText),
    ],
)
def test_what_is_no_example_is_refused(shape: Any, kind: type[Exception]):
    assert failure(lambda: options.examples(shape), kind)


# ---- messages of which the last one is to be answered


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ("a", [(0, "0")]),
        (["a", "b", "c"], [(0, "0"), (1, "1"), (0, "0")]),
        ([by("x", "a")], [(0, "x")]),
        ([by("1", "opening"), by("0", "a")], [(1, "1"), (0, "0")]),
        ([Message("bot", "opening", side=1), by("me", "a"), "b", "c"], [(1, "bot"), (0, "me"), (1, "bot"), (0, "me")]),
        (["a", Message("bot", "b", side=1), "c"], [(0, "0"), (1, "bot"), (0, "0")]),
        ([by("1", "a"), by("0", "b"), by("1", "c")], [(0, "1"), (1, "0"), (0, "1")]),
        (Message("bot", "a", side=1), [(0, "bot")]),
    ],
)
def test_a_discussion_ends_on_the_users_side(shape: Any, wanted: list[tuple[int, str]]):
    assert wanted == [(each.side, each.author) for each in options.discussion(shape)]


@pytest.mark.parametrize(
    "shape",
    [
        ["a", "b"],
        ["a", "b", "c", "d"],
        [by("0", "a"), by("1", "b")],
        [by("me", "a"), "b"],
        [by("me", "a"), by("1", "b")],
        ["a", by("me", "b")],
        [by("x", "a"), by("x", "b")],
        [by("1", "a"), "b"],
        [by("me", "a"), by("bot", "b")],
        ["a", Message("bot", "b", side=1)],
        [Message("bot", "opening", side=1), "a", Message("bot", "b", side=1)],
    ],
)
def test_a_discussion_that_ends_with_the_model_is_refused_with_the_right_form(shape: Any):
    told = failure(lambda: options.discussion(shape), InvalidInput)
    assert f"of these {len(shape)} the last one is the model's: the user begins, as in ['Hi', 'Hello!'" in told


def test_two_messages_of_the_model_do_not_stand_on_both_sides():
    shape = [Message("a", "1", side=1), Message("b", "2", side=1), "3"]
    assert "stand on both" in failure(lambda: options.discussion(shape), AuthorError)


@pytest.mark.parametrize("shape", [None, [], ()])
def test_a_discussion_has_a_message(shape: Any):
    told = failure(lambda: options.discussion(shape), InvalidInput)
    assert "there is nothing to answer: give at least one message" == told


# ---- a prompt (1.5)


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ("hi", ("", None, "hi")),
        (["hi"], ("", None, ["hi"])),
        ({}, ("", None, None)),
        ({"context": "c", "examples": ["i", "o"], "messages": "hi"}, ("c", ["i", "o"], "hi")),
        ({"context": None, "messages": None}, ("", None, None)),
        (MessagePrompt(), ("", [], [])),
        (
            MessagePrompt("c", (Example("i", "o"),), (Message("", "hi"),)),
            ("c", [Example("i", "o")], [Message("", "hi")]),
        ),
    ],
)
def test_a_prompt_is_messages_or_has_three_parts(shape: Any, wanted: tuple[Any, ...]):
    assert wanted == options.prompt(shape)


def test_a_message_alone_is_a_prompt():
    hi = Message("", "hi")
    assert ("", None, hi) == options.prompt(hi)


@pytest.mark.parametrize("parts", [{"context": ""}, {"examples": []}, {"messages": []}, {"context": "c"}])
@pytest.mark.parametrize("shape", ["hi", {}, MessagePrompt()])
def test_a_prompt_is_given_whole_or_in_parts(shape: Any, parts: dict[str, Any]):
    told = failure(lambda: options.prompt(shape, **parts), InvalidInput)
    assert told.startswith("a prompt is given whole, as prompt=, or as context=, examples= and messages=")


@pytest.mark.parametrize("shape", [{"content": "hi"}, {"messages": "hi", "examples": [], "history": []}])
def test_a_dictionary_that_is_no_prompt_is_a_key_error(shape: Any):
    assert "pass messages=" in failure(lambda: options.prompt(shape), KeyError)


@pytest.mark.parametrize("context", [5, ["c"], b"c"])
def test_a_context_that_is_no_text_is_a_type_error(context: Any):
    assert "context must be a string" in failure(lambda: options.prompt({"context": context}), TypeError)


# ---- request options (2)


@pytest.mark.parametrize(
    ("shape", "timeout", "retry"),
    [
        (None, None, None),
        ({}, None, None),
        ({"timeout": 5}, 5, None),
        ({"timeout": None, "retry": None}, None, None),
        (RequestOptions(timeout=0.5, retry=Retry()), 0.5, Retry()),
        (dict(RequestOptions(timeout=5)), 5, None),
    ],
)
def test_request_options_are_a_timeout_and_a_retry(shape: Any, timeout: float | None, retry: Retry | None):
    made = options.request_options(shape)
    assert (timeout, retry) == (made.timeout, made.retry)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        (5, TypeError),
        ("timeout", TypeError),
        ({"timeot": 5}, TypeError),
        ({"timeout": "5"}, TypeError),
        ({"timeout": True}, TypeError),
        ({"retry": 3}, TypeError),
        ({"timeout": 0}, InvalidParameter),
        ({"timeout": -1}, InvalidParameter),
        ({"timeout": float("nan")}, InvalidParameter),
        ({"timeout": 86_400}, InvalidParameter),
    ],
)
def test_other_request_options_are_refused(shape: Any, kind: type[Exception]):
    assert failure(lambda: options.request_options(shape), kind)


# ---- citations (1.1)

SOURCE = {"start_index": 0, "end_index": 5, "uri": "https://example.org", "license_": "MIT"}


@pytest.mark.parametrize("shape", [{"citation_sources": [SOURCE]}, CitationMetadata((CitationSource(**SOURCE),))])
def test_a_message_keeps_where_it_may_come_from(shape: Any):
    made = options.message({"content": "hi", "citation_metadata": shape})
    assert {"citation_sources": [SOURCE]} == made.citation_metadata == made["citation_metadata"]


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ("x", TypeError),
        ({"citation_sources": ["x"]}, TypeError),
        ({"citation_sources": 5}, TypeError),
        ({"citation_sources": [{"start_index": "0"}]}, TypeError),
        ({"citation_sources": [{"end_index": True}]}, TypeError),
        ({"citation_sources": [{"uri": 5}]}, TypeError),
        ({"citation_sources": [{"uri": "a\0"}]}, InvalidText),
        ({"sources": []}, ValueError),
        ({"citation_sources": [{"license": "MIT"}]}, ValueError),
    ],
)
def test_other_citations_are_refused(shape: Any, kind: type[Exception]):
    assert failure(lambda: options.message({"content": "hi", "citation_metadata": shape}), kind)


# ---- what the caller holds

CALLERS = [
    [by("", "a"), {"content": "b", "citation_metadata": None}],
    [Message("", "\ud83d\ude00", tokens=7), Message("x", "b", side=0)],
    [({"content": "a"}, {"content": "b"})],
    [{"input": {"content": "a"}, "output": "b"}],
    [Example("a", "b", tokens=7)],
    ["a", "b"],
    by("me", "a"),
]


@pytest.mark.parametrize("shape", CALLERS)
@pytest.mark.parametrize("read", [options.messages, options.examples])
def test_what_the_caller_passed_in_is_never_changed(read: Callable[[Any], object], shape: Any):
    before = copy.deepcopy(shape)
    with contextlib.suppress(TypeError, ValueError, KeyError):  # a shape of the other kind is not changed either
        read(shape)
    assert before == shape


# ---- errors

BAD = [
    lambda: options.message(None),
    lambda: options.message({"role": "user"}),
    lambda: options.message("a\0\n"),
    lambda: options.messages([by("a\nb", "1"), "2", by("c", "3")]),
    lambda: options.messages([5]),
    lambda: options.authors(["a\nb", "a\nb"]),
    lambda: options.history(["a"], options.AUTHORS),
    lambda: options.history([by("a\nb", "1"), "2"], options.AUTHORS),
    lambda: options.examples("ab"),
    lambda: options.examples(["a"]),
    lambda: options.examples([("a",)]),
    lambda: options.examples({"input": "a", "output": "b", "x\ny": "c"}),
    lambda: options.message({"content": "a", "x\ny": "b"}),
]


@pytest.mark.parametrize("bad", BAD)
def test_an_error_says_one_line(bad: Callable[[], object]):
    with pytest.raises((TypeError, ValueError, AuthorError)) as caught:
        bad()
    assert [str(caught.value)] == str(caught.value).splitlines()


def test_an_error_never_quotes_a_message():
    secret = "the secret text"
    told = failure(lambda: options.messages([secret, secret, secret + "\0"]), InvalidText)
    assert "message 2 has a NUL character at position 15: remove it" == told
