"""The loose shapes that callers may write, turned into values: strings, pairs, dictionaries, or the values themselves.

The shapes are those of `google.generativeai.chat`. Nothing here waits or looks anything up, and what the caller
passed in is never changed. Every text goes through `convo.text`, so that what comes out may be stored and sent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypedDict, TypeVar

from convo.errors import AuthorError, InvalidParameter
from convo.text import clean_message, clean_text
from convo.tokens import estimate
from convo.values import MODEL, USER, Example, Message, Parameters

MessageOptions = str | Mapping[str, Any] | Message
MessagesOptions = MessageOptions | Iterable[MessageOptions]
ExampleOptions = tuple[MessageOptions, MessageOptions] | Sequence[MessageOptions] | Mapping[str, Any] | Example
ExamplesOptions = ExampleOptions | Iterable[ExampleOptions] | Iterable[MessageOptions]

AUTHORS = ("0", "1")
"""The names that the two sides have when none are given."""

MAX_AUTHOR = 200
"""The longest name of an author, in characters."""

MAX_CANDIDATES = 8
"""The reference page: "This value must be between `[1, 8]`, inclusive"."""

_Number = TypeVar("_Number", int, float)
_MAX_NUMBER = 2**53
_MESSAGE_KEYS = {"author", "content", "citation_metadata"}
_PARAMETERS = frozenset(each.name for each in fields(Parameters))


class ParameterOptions(TypedDict, total=False):
    """How a model is to answer; what is None or missing is left to the model."""

    temperature: float | None
    """At least 0; 0 gives one candidate, always the same where the model can."""
    top_p: float | None
    """Within [0, 1]."""
    top_k: int | None
    """At least 1."""
    candidate_count: int | None
    """Within [1, 8]: how many different replies to ask for, at most."""
    max_output_tokens: int | None
    """At least 1."""


class CreateOptions(ParameterOptions, total=False):
    """What a conversation is created with, beside its name and owner."""

    model: str | None
    """The model that answers; CONVO_MODEL or the embedded one when None."""
    context: str | None
    """What the model is told first. Fixed from here on, as the examples are."""
    examples: ExamplesOptions | None
    title: str | None
    """What it is about, for people."""
    metadata: Mapping[str, Any] | None
    """What the application keeps with it: a JSON object."""
    opening: str | None
    """A first message, by the model."""
    messages: MessagesOptions | None
    """A history to start from: pairs, the user's message first."""
    authors: Sequence[str]
    """The names of the user's and the model's side."""
    input_token_limit: int | None
    """Replaces the model's own limit."""
    trim: str
    """`minimal`, or `stable` to keep the beginning of the prompt for many turns."""


def parameters(given: Mapping[str, Any], base: Parameters = Parameters()) -> Parameters:
    """Return `base` with the parameters among `given` that are set.

    Raises:
        TypeError: a value that is not a number, or an unknown name.
        InvalidParameter: temperature below 0, top_p outside [0, 1], top_k or max_output_tokens below 1,
            candidate_count outside [1, 8].
    """
    if not given:
        return base
    unknown = set(given) - _PARAMETERS
    if unknown:
        msg = f"unknown parameter {min(unknown)!r}: there are {', '.join(sorted(_PARAMETERS))}"
        raise TypeError(msg)
    checked: dict[str, Any] = {name: _checked(name, value) for name, value in given.items() if value is not None}
    return replace(base, **checked)


def _checked(name: str, value: Any) -> float | int:  # noqa: ANN401 - the caller's value, of any type
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{name} must be a number, not {type(value).__name__}"
        raise TypeError(msg)
    if not -_MAX_NUMBER < value < _MAX_NUMBER:  # false for NaN too
        raise InvalidParameter(f"{name} must be a finite number")
    if name == "temperature":
        return _in_range(name, float(value), 0, math.inf)
    if name == "top_p":
        return _in_range(name, float(value), 0, 1)
    if value != int(value):
        raise InvalidParameter(f"{name} must be a whole number, not {value}")
    return _in_range(name, int(value), 1, MAX_CANDIDATES if name == "candidate_count" else math.inf)


def _in_range(name: str, value: _Number, low: float, high: float) -> _Number:
    if low <= value <= high:
        return value
    wanted = f"at least {low}" if high == math.inf else f"within [{low}, {high}]"
    raise InvalidParameter(f"{name} must be {wanted}, not {value}")


def message(given: MessageOptions, what: str = "message") -> Message:
    """Return one message; its author is "" when none is named.

    Raises:
        TypeError: not a string, a dictionary or a Message, or one without content.
        ValueError: a dictionary with an unknown key.
        InvalidText: a text that must not be stored, or an empty one.
    """
    if isinstance(given, Message):
        author, content = given.author, given.content
    elif isinstance(given, Mapping):
        unknown = set(given) - _MESSAGE_KEYS
        if unknown:
            msg = f"Unknown field for Message: {min(map(str, unknown))!r}"
            raise ValueError(msg)
        named, content = given.get("author"), given.get("content")
        author = "" if named is None else named
    else:
        author, content = "", given
    if content is None:
        msg = f"{what} has no content: pass a string or {{'content': …}}"
        raise TypeError(msg)
    content = clean_message(content, what)
    return Message(author=_clean_author(author), content=content, tokens=estimate(content))


def messages(given: MessagesOptions | None) -> list[Message]:
    """Return messages that alternate from the user's side, each with its author: "0" and "1" unless named.

    Raises:
        AuthorError: two names on one side.
        TypeError, ValueError, InvalidText: as message().
    """
    if given is None:
        return []
    alone = isinstance(given, str | Mapping | Message)
    made = [message(each, f"message {number}") for number, each in enumerate([given] if alone else given)]  # type: ignore[arg-type]  # a union that `alone` tells apart
    names = [_author(made[side::2], AUTHORS[side]) for side in (USER, MODEL)]
    return [replace(each, side=index % 2, author=names[index % 2]) for index, each in enumerate(made)]


def _author(side: Sequence[Message], default: str) -> str:
    named = sorted({each.author for each in side if each.author})
    if len(named) > 1:
        raise AuthorError(f"authors must alternate strictly, and one side has {named}: use one name on each side")
    return named[0] if named else default


def _clean_author(name: str) -> str:
    name = clean_text(name, "author")
    if len(name) > MAX_AUTHOR:
        raise AuthorError(f"an author's name must have at most {MAX_AUTHOR} characters: it stands with every message")
    return name


def authors(given: Sequence[str]) -> tuple[str, str]:
    """Return the names of the user's and the model's side.

    Raises:
        AuthorError: not two different names.
    """
    names = () if isinstance(given, str) else tuple(_clean_author(name) for name in given)
    if len(names) != len(AUTHORS) or names[0] == names[1] or not all(names):
        raise AuthorError(f"authors must be two different names, the user's and the model's, not {given!r}")
    return names[0], names[1]


def history(given: MessagesOptions | None, names: tuple[str, str]) -> list[Message]:
    """Return a history of whole turns, the user first, under the conversation's `names`.

    Raises:
        AuthorError: an author who is not the one of that side.
        ValueError: the history ends with the user's message.
        TypeError, ValueError, InvalidText: as message().
    """
    made = messages(given)
    if len(made) % 2:
        msg = "the history ends with a message that has no reply: pass the last text to send()"
        raise ValueError(msg)
    for side, found in zip((USER, MODEL), made[:2], strict=False):
        is_default = found.author == AUTHORS[side] and found.author != names[1 - side]
        if found.author != names[side] and not is_default:
            raise AuthorError(f"the history names {found.author!r} where the conversation has {names[side]!r}")
    return [replace(each, author=names[each.side]) for each in made]


def examples(given: ExamplesOptions | None) -> list[Example]:
    """Return examples, oldest first, from pairs, dictionaries, Examples, or a flat list of inputs and outputs.

    Raises:
        TypeError: a bare string, or an item of no known shape.
        KeyError: a dictionary without input or output.
        ValueError: a flat list of odd length, or an item that is not a pair.
        InvalidText: a text that must not be stored, or an empty one.
    """
    if given is None:
        return []
    if isinstance(given, str):
        msg = "examples must be pairs, such as [('input', 'output')], not a string"
        raise TypeError(msg)
    if isinstance(given, Mapping | Example):
        return [_example(given)]
    items: list[Any] = list(given)
    if items and _is_message(items[0]):
        if len(items) % 2:
            msg = f"a flat list of examples alternates inputs and outputs, and this one has {len(items)} items"
            raise ValueError(msg)
        return [_pair(items[index], items[index + 1]) for index in range(0, len(items), 2)]
    return [_example(each) for each in items]


def _is_message(item: object) -> bool:
    return isinstance(item, str | Message) or (isinstance(item, Mapping) and "content" in item)


def _example(item: object) -> Example:
    if isinstance(item, Example):
        return _pair(item.input, item.output)
    if isinstance(item, Mapping):
        unknown = set(item) - {"input", "output"}
        if unknown:
            msg = f"Unknown field for Example: {min(map(str, unknown))!r}"
            raise ValueError(msg)
        return _pair(item["input"], item["output"])
    if isinstance(item, str) or not isinstance(item, Iterable):
        msg = f"an example must be a pair such as ('input', 'output'), not {type(item).__name__}"
        raise TypeError(msg)
    pair = list(item)
    if len(pair) != len(("input", "output")):
        msg = f"an example must have an input and an output, and this one has {len(pair)} items"
        raise ValueError(msg)
    return _pair(*pair)


def _pair(first: Any, second: Any) -> Example:  # noqa: ANN401 - message() says which types it takes
    given, wanted = message(first, "example input"), message(second, "example output")
    return Example(given.content, wanted.content, tokens=given.tokens + wanted.tokens)
