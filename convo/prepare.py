"""What callers ask for, checked and made ready before any transaction: nothing here waits for a database or a model."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from convo import options
from convo.clients.base import ChatReply
from convo.errors import InvalidInput, InvalidParameter, ReplyBlocked
from convo.models import default_model
from convo.options import CreateOptions, ParameterOptions
from convo.store.turns import Answer
from convo.text import clean_message, clean_text
from convo.tokens import estimate
from convo.turn import Question
from convo.types import MINIMAL, MODEL, STABLE, ConversationRecord, Message

MAX_LABEL_BYTES = 1024
"""The longest name, owner, title or request key: they are indexed, and shown on one line."""

MAX_METADATA_BYTES = 64 * 1024

MAX_DEADLINE_S = 86_400.0


class Keep:
    """The mark of an argument that was not given, where None has a meaning of its own."""

    def __repr__(self) -> str:
        return "KEEP"


KEEP = Keep()


def creation(name: str | None, owner: str | None, settings: CreateOptions) -> dict[str, Any]:
    """Return the arguments of ConversationRepository.create().

    Raises:
        InvalidInput, AuthorError, TypeError, ValueError, KeyError: as convo.options tells of each shape.
    """
    unknown = set(settings) - CreateOptions.__annotations__.keys()
    if unknown:
        msg = f"unknown argument {min(unknown)!r}: there are {', '.join(sorted(CreateOptions.__annotations__))}"
        raise TypeError(msg)
    names = options.authors(settings.get("authors", options.AUTHORS))
    context, opening, title = settings.get("context"), settings.get("opening"), settings.get("title")
    given = {key: value for key, value in settings.items() if key in ParameterOptions.__annotations__}
    return {
        "model": label(settings.get("model") or default_model(), "model"),
        "context": _text(context, "context", "") if context else None,
        "examples": options.examples(settings.get("examples")),
        "name": conversation_name(name),
        "owner": owner_of(owner),
        "title": label(title, "title") if title is not None else None,
        "metadata": checked_metadata(settings.get("metadata")),
        "opening": replace(_text(opening, "opening", names[MODEL]), side=MODEL) if opening is not None else None,
        "history": options.history(settings.get("messages"), names),
        "authors": names,
        "input_token_limit": token_limit(settings.get("input_token_limit")),
        "trim": checked_trim(settings.get("trim", MINIMAL)),
        "parameters": options.parameters(given),
    }


def changes(record: ConversationRecord, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `given` changes of a conversation, as the arguments of ConversationRepository.update().

    A parameter that is given as None is left to the model from now on.

    Raises:
        InvalidInput, TypeError: a value that cannot be stored.
    """
    wanted = {name: value for name, value in given.items() if value is not KEEP}
    asked = {name: wanted.pop(name) for name in list(wanted) if name in ParameterOptions.__annotations__}
    check: dict[str, Callable[[Any], Any]] = {
        "model": lambda value: label(value, "model"),
        "title": lambda value: label(value, "title") if value is not None else None,
        "name": conversation_name,
        "metadata": checked_metadata,
        "input_token_limit": token_limit,
        "trim": checked_trim,
    }
    changed: dict[str, Any] = {name: check[name](value) for name, value in wanted.items()}
    if asked:
        kept = {name: value for name, value in record.parameters.as_dict().items() if name not in asked}
        changed["parameters"] = options.parameters(kept | asked)
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


def check_deadline(deadline_s: float) -> None:
    """Raise InvalidParameter unless a model has some time to answer."""
    if not 0 < deadline_s < MAX_DEADLINE_S:
        raise InvalidParameter(f"deadline_s must be above 0 and below {MAX_DEADLINE_S:.0f}, not {deadline_s}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise InvalidParameter unless `value` is one of `choices`."""
    if value not in choices:
        raise InvalidParameter(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def label(text: str, what: str) -> str:
    """Return a name, title or key: text of one line, not empty, at most MAX_LABEL_BYTES long."""
    text = clean_message(text, what)
    if len(text.encode()) > MAX_LABEL_BYTES or "\n" in text:
        raise InvalidInput(f"{what} must be one line of at most {MAX_LABEL_BYTES} bytes")
    return text


def conversation_name(name: str | None) -> str | None:
    """Return a name that can be told from an id."""
    if name is None:
        return None
    try:
        uuid.UUID(name)
    except ValueError:
        return label(name, "name")
    raise InvalidInput(f"{name!r} has the form of an id: choose a name that has not")


def owner_of(owner: str | None) -> str:
    """Return whose conversations are meant; "" is nobody's."""
    return label(owner, "owner") if owner else ""


def token_limit(limit: int | None) -> int | None:
    """Return a limit of at least one token."""
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int):
        msg = f"input_token_limit must be a whole number, not {type(limit).__name__}"
        raise TypeError(msg)
    if not 1 <= limit < 2**31:
        raise InvalidParameter(f"input_token_limit must be at least 1 and below 2**31, not {limit}")
    return limit


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
    if len(clean_text(written, "metadata").encode()) > MAX_METADATA_BYTES:
        raise InvalidInput(f"metadata must have at most {MAX_METADATA_BYTES} bytes as JSON")
    if "\\u0000" in written:
        raise InvalidInput("metadata has a NUL character: remove it")
    kept = json.loads(written)
    if not isinstance(kept, dict):
        raise InvalidInput(f"metadata must be an object, not {type(metadata).__name__}")
    return kept


def _text(text: str, what: str, author: str) -> Message:
    content = clean_message(text, what)
    return Message(author=author, content=content, tokens=estimate(content))
