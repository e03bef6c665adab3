"""What callers ask for, checked and made ready before any transaction: nothing here waits for a database or a model."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from convo import options, sampling
from convo.call import ending
from convo.clients.base import ChatReply
from convo.errors import InvalidInput, InvalidParameter, InvalidText, ReplyBlocked
from convo.models import default_model, full_name
from convo.options import MAX_DEADLINE_S
from convo.shapes import CreateOptions, ExamplesOptions, MessageOptions, ParameterOptions, SettingOptions
from convo.store.answering import Answer
from convo.store.branches import NewFork
from convo.store.conversations import NewConversation
from convo.store.given import GivenTurn
from convo.text import clean_message, clean_text
from convo.tokens import estimate
from convo.turn import Question
from convo.values import KEEP, MINIMAL, MODEL, STABLE, Candidate, ConversationRecord, Keep, Message

MAX_LABEL_BYTES = 1024
"""The longest name, owner, title or request key: they are indexed, and shown on one line."""

MAX_METADATA_BYTES = 64 * 1024

MAX_METADATA_DEPTH = 64
"""How deep metadata may nest: Python's JSON gives up near 1,000, earlier where the caller's own stack is deep."""

_NUL_AS_JSON = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def creation(
    name: str | None, owner: str | None, settings: CreateOptions, candidates: Sequence[MessageOptions] = ()
) -> NewConversation:
    """Return what ConversationRepository.create() takes; `candidates` are those of the history's last turn.

    Raises:
        InvalidInput, AuthorError, TypeError, ValueError, KeyError: as convo.options tells of each shape.
    """
    check_names(settings, CreateOptions)
    names = options.authors(settings.get("authors", options.AUTHORS))
    context = options.context_text(settings.get("context"))
    opening, title = settings.get("opening"), settings.get("title")
    told = None if context is None else Message(content=context, tokens=estimate(context))
    given = {key: value for key, value in settings.items() if key in ParameterOptions.__annotations__}
    return NewConversation(
        model=model_label(settings.get("model") or default_model()),
        context=told,
        examples=options.examples(settings.get("examples")),
        name=conversation_name(name) if name is not None else None,
        owner=owner_of(owner),
        title=label(title, "title") if title is not None else None,
        metadata=checked_metadata(settings.get("metadata")),
        opening=replace(_text(opening, "opening", names[MODEL]), side=MODEL) if opening is not None else None,
        history=_turns(options.history(settings.get("messages"), names), candidates),
        authors=names,
        input_token_limit=token_limit(settings.get("input_token_limit"), told.tokens if told else 0),
        trim=checked_trim(settings.get("trim", MINIMAL)),
        parameters=sampling.parameters(given),
    )


def check_names(settings: Mapping[str, Any], known: type[CreateOptions | SettingOptions]) -> None:
    """Raise TypeError for a setting that is none of those `known`."""
    if unknown := set(settings) - known.__annotations__.keys():
        msg = f"unknown argument {min(unknown)!r}: there are {', '.join(sorted(known.__annotations__))}"
        raise TypeError(msg)


def _turns(history: Sequence[Message], candidates: Sequence[MessageOptions]) -> list[GivenTurn]:
    """Return a history's turns; its last message is one of `candidates`, if there are any, else it joins them."""
    turns = [GivenTurn(asked, [answer]) for asked, answer in zip(history[::2], history[1::2], strict=True)]
    if not candidates:
        return turns
    last = history[-1]
    alternatives: dict[str | None, Message] = {}
    for each in candidates:
        made = options.message(each)
        kept = replace(made, author=last.author, side=MODEL, candidate=len(alternatives))
        if isinstance(each, Candidate):
            kept = replace(kept, finish_reason=ending(each.finish_reason), repaired=each.repaired)
        alternatives.setdefault(made.content, kept)
    chosen = alternatives.setdefault(last.content, replace(last, candidate=len(alternatives)))
    return [*turns[:-1], GivenTurn(history[-2], list(alternatives.values()), chosen.candidate)]


def forking(
    record: ConversationRecord,
    *,
    name: str | None,
    context: str | Keep | None = KEEP,
    examples: ExamplesOptions | Keep | None = KEEP,
    model: str | None = None,
) -> NewFork:
    """Return what ConversationRepository.fork() takes.

    Raises:
        InvalidInput, TypeError, ValueError, KeyError: as convo.options tells of each shape.
    """
    told: Message | Keep | None = KEEP
    if not isinstance(context, Keep):
        content = options.context_text(context)
        told = None if content is None else Message(content=content, tokens=estimate(content))
        token_limit(record.input_token_limit, told.tokens if told else 0)
        told = KEEP if content == record.context else told
    return NewFork(
        name=conversation_name(name) if name is not None else None,
        model=model_label(model) if model is not None else None,
        context=told,
        examples=examples if isinstance(examples, Keep) else options.examples(examples),
    )


def changes(record: ConversationRecord, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `given` changes of a conversation, as the arguments of ConversationRepository.update().

    A parameter that is given as None is left to the model from now on.

    Raises:
        InvalidInput, TypeError: a value that cannot be stored.
    """
    wanted = {name: value for name, value in given.items() if value is not KEEP}
    asked = {name: wanted.pop(name) for name in list(wanted) if name in ParameterOptions.__annotations__}
    check: dict[str, Callable[[Any], Any]] = {
        "model": model_label,
        "title": lambda value: label(value, "title") if value is not None else None,
        "name": lambda value: conversation_name(value) if value is not None else None,
        "metadata": checked_metadata,
        "input_token_limit": lambda value: token_limit(value, record.context_tokens),
        "trim": checked_trim,
    }
    changed: dict[str, Any] = {name: check[name](value) for name, value in wanted.items()}
    if asked:
        kept = {name: value for name, value in record.parameters.as_dict().items() if name not in asked}
        changed["parameters"] = sampling.parameters(kept | asked)
    return {name: value for name, value in changed.items() if value != getattr(record, name)}


def question(text: str, request_key: str | None = None, expected_version: int | None = None) -> Question:
    """Return a user's message, counted.

    Raises:
        InvalidText, TypeError: a text that cannot be stored or sent.
    """
    content = clean_message(text)
    key = label(request_key, "request_key") if request_key is not None else None
    return Question(content, estimate(content), key, expected_version)


def answer(reply: ChatReply, latency_ms: int) -> Answer:
    """Return what is stored of a model's reply.

    Raises:
        ReplyBlocked: it has no candidate.
    """
    if not reply.candidates:
        raise ReplyBlocked([each.reason for each in reply.filters])
    return Answer(reply.candidates, reply.served_by, reply.usage, latency_ms)


def check_wait(wait_s: float) -> None:
    """Raise InvalidParameter unless a caller can wait that long."""
    if not 0 <= wait_s < MAX_DEADLINE_S:
        raise InvalidParameter(f"wait_s must be at least 0 and below {MAX_DEADLINE_S:.0f}, not {wait_s}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise InvalidParameter unless `value` is one of `choices`."""
    if value not in choices:
        raise InvalidParameter(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def label(text: str, what: str) -> str:
    """Return a name, title or key: text of one line, not empty, at most MAX_LABEL_BYTES long."""
    text = clean_message(text, what)
    if len(text.encode()) > MAX_LABEL_BYTES or "\n" in text or "\r" in text:
        raise InvalidInput(f"{what} must be one line of at most {MAX_LABEL_BYTES} bytes")
    return text


def model_label(name: str) -> str:
    """Return the name of a model as it is stored: what an alias stands for."""
    return full_name(label(name, "model"))


def conversation_name(name: str) -> str:
    """Return a name that can be told from an id."""
    name = label(name, "name")
    try:
        uuid.UUID(name)
    except ValueError:
        return name
    raise InvalidInput(f"{name!r} has the form of an id: choose another name")


def owner_of(owner: str | None) -> str:
    """Return whose conversations are meant; "" is nobody's."""
    return "" if owner is None or owner == "" else label(owner, "owner")


def token_limit(limit: int | None, context_tokens: int) -> int | None:
    """Return a limit that leaves room beside the context; None leaves it to the model."""
    if limit is not None and positive(limit, "input_token_limit") <= context_tokens:
        raise InvalidParameter(f"input_token_limit is {limit}, and the context alone has {context_tokens} tokens")
    return limit


def newest(last: int | None) -> int | None:
    """Return how many of the newest are wanted, as both databases can count; None for all."""
    return None if last is None else min(not_below(0, last, "last"), 2**31 - 1)


def positive(number: int, what: str) -> int:
    """Return a whole number from 1 that both databases can hold."""
    if not_below(1, number, what) >= 2**31:
        raise InvalidParameter(f"{what} must be below 2**31")
    return number


def not_below(lowest: int, number: int, what: str) -> int:
    """Return a whole number from `lowest` that both databases can hold."""
    if options.whole_number(number, what) < lowest:
        raise InvalidParameter(f"{what} must be at least {lowest}, not {number}")
    return number


def checked_trim(trim: str) -> str:
    """Return a known way of trimming."""
    check_choice("trim", trim, (MINIMAL, STABLE))
    return trim


def checked_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return metadata that comes back from the store as it went in: JSON, of text that can be stored."""
    if metadata is None:
        return {}
    try:
        written = json.dumps(metadata, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"metadata must be JSON: {error}") from error
    if json.loads(written) != metadata:
        raise InvalidInput("metadata must be JSON: keys are strings, and there are lists but no tuples")
    written = clean_text(written, "metadata")
    if len(written.encode()) > MAX_METADATA_BYTES:
        raise InvalidInput(f"metadata must have at most {MAX_METADATA_BYTES} bytes as JSON")
    if found := _NUL_AS_JSON.search(written):
        raise InvalidText("metadata has a NUL character: remove it", position=found.start())
    kept = json.loads(written)
    if not isinstance(kept, dict):
        raise InvalidInput(f"metadata must be an object, not {type(metadata).__name__}")
    if _nests_deeper(kept, MAX_METADATA_DEPTH):
        raise InvalidInput(f"metadata must nest at most {MAX_METADATA_DEPTH} deep")
    return kept


def _nests_deeper(value: object, depth: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is not None and (depth == 0 or any(_nests_deeper(each, depth - 1) for each in inner))


def _text(text: str, what: str, author: str) -> Message:
    content = clean_message(text, what)
    return Message(author=author, content=content, tokens=estimate(content))
