"""The loose shapes that callers may write, turned into values: strings, pairs, dictionaries, or the values themselves.

The shapes are those of `google.generativeai.chat`. Nothing here waits or looks anything up, and what the caller
passed in is never changed. Every text goes through `convo.text`, so that what comes out may be stored and sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from convo.errors import AuthorError, InvalidInput, InvalidParameter
from convo.retry import RequestOptions, Retry
from convo.sampling import number
from convo.shapes import ExamplesOptions, MessageOptions, MessagePromptOptions, MessagesOptions, RequestOptionsType
from convo.text import clean_message, clean_text
from convo.tokens import estimate
from convo.values import (
    MODEL,
    USER,
    Candidate,
    CitationMetadata,
    CitationSource,
    Example,
    Message,
    MessagePrompt,
)

AUTHORS = ("0", "1")
"""The names that the two sides have when none are given."""

MAX_AUTHOR = 200
"""The longest name of an author, in characters."""

MAX_DEADLINE_S = 86_400.0
"""The longest time that a model may take, in seconds: a day."""


def message(given: MessageOptions, what: str = "message") -> Message:
    """Return one message; its author is "" when none is named.

    Raises:
        TypeError: not a string, a dictionary or a Message, or one without content.
        InvalidInput: a dictionary with an unknown key.
        InvalidText: a text that must not be stored, or an empty one.
    """
    read: Mapping[str, Any] = given if isinstance(given, Mapping) else {"content": given}
    _check_keys(read, Message.KEYS, "Message")
    author, content = read.get("author"), read.get("content")
    if content is None:
        msg = f"{what} has no content: pass a string or {{'content': …}}"
        raise TypeError(msg)
    content = clean_message(content, what)
    return Message(
        "" if author is None else _clean_author(author),
        content,
        tokens=estimate(content),
        citation_metadata=citations(read.get("citation_metadata")),
    )


def _check_keys(given: Mapping[str, Any], known: Sequence[str], name: str) -> None:
    if unknown := set(given) - set(known):
        raise InvalidInput(f"Unknown field for {name}: {min(map(str, unknown))!r}")


def citations(given: Mapping[str, Any] | None) -> CitationMetadata | None:
    """Return where a message may come from, as a value; None when it does not say.

    Raises:
        TypeError: another type.
        InvalidInput: an unknown key, or a text that must not be stored.
    """
    if given is None:
        return None
    _check_keys(_mapping(given, "citation_metadata"), CitationMetadata.KEYS, "CitationMetadata")
    sources = given.get("citation_sources") or ()
    if not isinstance(sources, list | tuple):
        msg = f"citation_sources must be a list, not {type(sources).__name__}"
        raise TypeError(msg)
    return CitationMetadata(tuple(map(_source, sources)))


def _source(given: Mapping[str, Any]) -> CitationSource:
    _check_keys(_mapping(given, "a citation source"), CitationSource.KEYS, "CitationSource")
    read: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for name, value in read.items():
        read[name] = whole_number(value, name) if name.endswith("_index") else clean_text(value, name)
    return CitationSource(**read)


def _mapping(given: Any, what: str) -> Mapping[str, Any]:  # noqa: ANN401 - the caller's value, of any type
    if not isinstance(given, Mapping):
        msg = f"{what} must be a dictionary, not {type(given).__name__}"
        raise TypeError(msg)
    return given


def whole_number(number: int, what: str) -> int:
    """Return a whole number, and nothing that is equal to one."""
    if isinstance(number, bool) or not isinstance(number, int):
        msg = f"{what} must be a whole number, not {type(number).__name__}"
        raise TypeError(msg)
    return number


def messages(given: MessagesOptions | None) -> list[Message]:
    """Return messages that alternate from the user's side, each with its author: "0" and "1" unless named.

    Raises:
        AuthorError: two names on one side.
        TypeError, InvalidInput: as message().
    """
    if given is None:
        return []
    made = [message(each, f"message {number}") for number, each in enumerate(_several(given))]
    names = [_author(made[side::2], AUTHORS[side]) for side in (USER, MODEL)]
    return [replace(each, side=index % 2, author=names[index % 2]) for index, each in enumerate(made)]


def _several(given: MessagesOptions) -> list[Any]:
    if isinstance(given, str | Mapping):
        return [given]
    several: Any = given
    if isinstance(several, bytes) or not isinstance(several, Iterable):
        msg = f"messages must be one message, or several in a list, not {type(given).__name__}"
        raise TypeError(msg)
    return list(several)


def sided(given: MessagesOptions | None) -> list[Message]:
    """Return messages(), each on its side: the user speaks first, unless the model did.

    It did when a Message says so by its side, or when there is an even number of them and the first author is named
    "1", and the second one otherwise.

    Raises:
        AuthorError: two Messages say different things; or as messages().
        TypeError, InvalidInput: as messages().
    """
    items = [] if given is None else _several(given)
    made = messages(items)
    told = {index % 2 for index, each in enumerate(items) if isinstance(each, Message) and each.side == MODEL}
    if len(items) == 1 or not made:
        return made
    if len(told) > 1:
        raise AuthorError("authors must alternate strictly, and two Messages of the model's side stand on both")
    is_named = len(made) % 2 == 0 and made[0].author == AUTHORS[MODEL] != made[1].author
    is_opened = told == {0} if told else is_named
    return [replace(each, side=1 - each.side) for each in made] if is_opened else made


def discussion(given: MessagesOptions | None) -> list[Message]:
    """Return sided() messages of which the last one is to be answered.

    Raises:
        InvalidInput: there is none, or the last one is the model's.
        AuthorError, TypeError: as sided().
    """
    made = sided(given)
    if not made:
        raise InvalidInput("there is nothing to answer: give at least one message")
    if made[-1].side == MODEL:
        raise InvalidInput(
            f"the newest message must be the user's, and of these {len(made)} the last one is the model's: the user "
            "begins, as in ['Hi', 'Hello!', 'How are you?']; if the model did, name it '1' and the user otherwise"
        )
    return made


def prompt(
    given: MessagePromptOptions | None,
    *,
    context: str | None = None,
    examples: ExamplesOptions | None = None,
    messages: MessagesOptions | None = None,
) -> tuple[str, ExamplesOptions | None, MessagesOptions | None]:
    """Return the context, examples and messages of a prompt, which is given whole or in its three parts.

    Raises:
        InvalidInput: whole and in parts.
        KeyError: a dictionary that is no prompt, such as a message's.
        TypeError, InvalidText: as context_text().
    """
    parts: Mapping[str, Any] = {"context": context, "examples": examples, "messages": messages}
    if given is not None:
        if any(each is not None for each in parts.values()):
            raise InvalidInput("a prompt is given whole, as prompt=, or as context=, examples= and messages=, not both")
        whole: Any = given
        is_prompt = isinstance(whole, Mapping) and not isinstance(whole, Message | Candidate)
        parts = whole if is_prompt else {"messages": whole}
        if unknown := set(parts) - set(MessagePrompt.KEYS):
            msg = f"a prompt has {', '.join(MessagePrompt.KEYS)}, and no {min(map(str, unknown))!r}: pass messages="
            raise KeyError(msg)
    return context_text(parts.get("context")) or "", parts.get("examples"), parts.get("messages")


def context_text(given: str | None) -> str | None:
    """Return a context; None for an empty one.

    Raises:
        TypeError: no text.
        InvalidText: a text that must not be stored, or nothing but space.
    """
    return None if given is None or given == "" else clean_message(given, "context")


def request_options(given: RequestOptionsType | None) -> RequestOptions:
    """Return how long a request may take, and when it is made again.

    Raises:
        TypeError: an unknown key, or a value of another type.
        InvalidParameter: a timeout outside its range.
    """
    if given is None:
        return RequestOptions()
    if unknown := set(_mapping(given, "request_options")) - set(RequestOptions.KEYS):
        msg = f"unknown request option {min(map(str, unknown))!r}: there are {', '.join(RequestOptions.KEYS)}"
        raise TypeError(msg)
    timeout, retry = given.get("timeout"), given.get("retry")
    if retry is not None and not isinstance(retry, Retry):
        msg = f"retry must be a convo.Retry or None, not {type(retry).__name__}"
        raise TypeError(msg)
    if timeout is not None:
        check_deadline(number("timeout", timeout), "timeout")
    return RequestOptions(retry=retry, timeout=timeout)


def check_deadline(deadline_s: float, name: str = "deadline_s") -> None:
    """Raise InvalidParameter unless a model has some time to answer."""
    if not 0 < deadline_s < MAX_DEADLINE_S:
        raise InvalidParameter(f"{name} must be above 0 and below {MAX_DEADLINE_S:.0f}, not {deadline_s}")


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
        InvalidInput: the history ends with the user's message.
        TypeError, InvalidInput: as message().
    """
    made = messages(given)
    if len(made) % 2:
        raise InvalidInput("the history ends with a message that has no reply: pass the last text to send()")
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
        InvalidInput: a flat list of odd length, or an item that is not a pair.
        InvalidText: a text that must not be stored, or an empty one.
    """
    if given is None:
        return []
    if isinstance(given, str | bytes | Message) or not isinstance(given, Iterable):
        msg = f"examples must be pairs, such as [('input', 'output')], not a {type(given).__name__}"
        raise TypeError(msg)
    if isinstance(given, Mapping):
        return [_example(given)]
    items: list[Any] = list(given)
    if items and _is_message(items[0]):
        if len(items) % 2:
            raise InvalidInput(
                f"a flat list of examples alternates inputs and outputs, and this one has {len(items)} items"
            )
        return [_pair(items[index], items[index + 1]) for index in range(0, len(items), 2)]
    if items and isinstance(items[0], Mapping) and not {"input", "output"} <= set(items[0]):
        msg = "a list of examples begins with a pair, {'input': …, 'output': …}, or with a message, {'content': …}"
        raise TypeError(msg)
    return [_example(each) for each in items]


def _is_message(item: object) -> bool:
    return isinstance(item, str | Message) or (isinstance(item, Mapping) and "content" in item)


def _example(item: object) -> Example:
    if isinstance(item, Example):
        return _pair(item.input, item.output)
    if isinstance(item, Mapping) and not isinstance(item, Message):
        if missing := set(Example.KEYS) - set(item):
            msg = f"an example has an input and an output, and this one has no {min(missing)!r}"
            raise KeyError(msg)
        pair = [item[key] for key in Example.KEYS]
        _check_keys(item, Example.KEYS, "Example")
        return _pair(*pair)
    if isinstance(item, str | bytes | Message) or not isinstance(item, Iterable):
        msg = f"an example must be a pair such as ('input', 'output'), not {type(item).__name__}"
        raise TypeError(msg)
    pair = list(item)
    if len(pair) != len(Example.KEYS):
        raise InvalidInput(f"an example must have an input and an output, and this one has {len(pair)} items")
    return _pair(*pair)


def _pair(first: Any, second: Any) -> Example:  # noqa: ANN401 - message() says which types it takes
    given, wanted = message(first, "example input"), message(second, "example output")
    return Example(given.content, wanted.content, tokens=given.tokens + wanted.tokens)
