r"""The journal: what happened to a conversation, each event linked to the one before it by a hash.

An event's body is canonical JSON (RFC 8785, restricted so that every implementation writes the same bytes: no
floats, no integers beyond 2^53); the bytes that were hashed are the bytes that are stored. Bodies never hold text of
a conversation, only commitments to it: HMAC-SHA256 under a fresh 32-byte salt that is stored beside the text. Erasing
a text with its salt leaves the chain whole and the commitment unguessable.

    digest(n) = SHA-256( 0x00 ‖ digest(n-1) ‖ n as 8 bytes ‖ kind ‖ 0x00 ‖ body(n) ),    digest(0) = 32 zero bytes

Nothing here reads a clock or a random source.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from convo.values import Example, Fit, Message, Parameters

SALT_BYTES = 32
"""Exactly: HMAC pads shorter keys with zeros, so that salts of several lengths could collide."""

GENESIS = bytes(32)

SEALS = 8192
"""How many commitments are kept in memory, of 0.3 kB each: the texts of a hundred prompts."""

_SEALS: dict[bytes, tuple[int, str]] = {}

_FIELD = b"convo/field/v1\0"
_PROMPT = b"convo/prompt/v1\0"
_MAX_INTEGER = 2**53 - 1


def commit(field: str, text: str, salt: bytes) -> bytes:
    """Return the commitment to `text` as the value of `field`: 32 bytes that tell nothing without the salt.

    Raises:
        ValueError: the salt has not SALT_BYTES.
    """
    if len(salt) != SALT_BYTES:
        msg = f"a salt has {SALT_BYTES} bytes, not {len(salt)}"
        raise ValueError(msg)
    return hmac.digest(salt, b"".join((_FIELD, field.encode(), b"\0", text.encode())), "sha256")


def encode(commitment: bytes) -> str:
    """Return 32 bytes as they stand in event bodies: base64url without padding (RFC 4648, section 5)."""
    return urlsafe_b64encode(commitment).rstrip(b"=").decode()


def decode(commitment: str) -> bytes:
    """Return the bytes that encode() was given."""
    return urlsafe_b64decode(commitment + "=" * (-len(commitment) % 4))


def link(previous: bytes, number: int, kind: str, body: bytes) -> bytes:
    """Return the digest of event `number` (from 1), which binds all events before it."""
    return hashlib.sha256(b"".join((b"\0", previous, number.to_bytes(8), kind.encode(), b"\0", body))).digest()


def canonical(body: Mapping[str, Any]) -> bytes:
    """Return the one byte form of an event's body.

    Raises:
        ValueError: a float, an integer beyond 2^53, a key that is not ASCII text or a lone surrogate: these have no
            single form.
    """
    _check(body)
    return written(body)


def written(body: Mapping[str, Any]) -> bytes:
    """Return a body that is known to have a canonical form in that form."""
    return _CANONICAL.encode(body).encode()


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False)


def _check(*values: object) -> None:
    for value in values:
        kind = type(value)
        if value is None or kind is str or (kind is int and -_MAX_INTEGER <= value <= _MAX_INTEGER):  # type: ignore[operator]  # most of them
            continue
        if isinstance(value, float) or (isinstance(value, int) and abs(value) > _MAX_INTEGER):
            msg = f"{value!r} has no canonical form: write it as a string"
            raise ValueError(msg)
        if isinstance(value, Mapping):
            for key in value:
                # RFC 8785 sorts by UTF-16 units; only ASCII keys sort alike everywhere
                if not (isinstance(key, str) and key.isascii()):
                    msg = f"{key!r} cannot be a key of an event"
                    raise ValueError(msg)
            _check(*value.values())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            _check(*value)


def labels(authors: Sequence[str], metadata: Mapping[str, Any], name: str | None, owner: str) -> str:
    """Return what a conversation is called, and by whom, as one text: personal data, to which events only commit."""
    named = {"authors": authors, "metadata": metadata, "name": name, "owner": owner}
    return json.dumps(named, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def in_milliseconds(at: datetime) -> datetime:
    """Return a time without what event bodies do not tell of it."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def timestamp(at: datetime) -> str:
    """Return a UTC time as it stands in event bodies: milliseconds and Z."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parameters(values: Parameters) -> dict[str, int | str | tuple[str, ...]]:
    """Return the parameters that are set, as they stand in event bodies: floats as their shortest decimal text."""
    return {name: repr(value) if isinstance(value, float) else value for name, value in values.as_dict().items()}


def told_parameters(told: Mapping[str, Any]) -> Parameters:
    """Return the parameters that parameters() wrote into an event's body."""
    return Parameters(**{name: _told_parameter(value) for name, value in told.items()})


def _told_parameter(value: Any) -> Any:  # noqa: ANN401 - of several types
    if isinstance(value, str):
        return float(value)
    return tuple(value) if isinstance(value, list) else value


def prompt_digest(
    fit: Fit, messages: Iterable[str], *, context_salt: bytes | None, model: str, values: Parameters
) -> bytes:
    """Return the digest of what a model is asked: every text, in order, with its side, the model and the parameters.

    It is made of commitments, not of texts: it proves a rebuilt prompt equal to the one that was sent, and tells
    nothing about a text that was erased since. `messages` are those of `fit`, each as sealed_message() has it.
    """
    return _prompt_digest(
        sealed("context", fit.context, context_salt),
        [_example(each) for each in fit.examples],
        f"[{','.join(messages)}]",
        model,
        parameters(values),
    )


def sealed_digest(
    context: str | None,
    examples: Sequence[Sequence[str | None]],
    messages: Sequence[tuple[int, str | None]],
    model: str,
    values: Mapping[str, Any],
) -> bytes:
    """Return the digest of a prompt of which the commitments are known: of inputs and outputs, and of each side's text.

    All of it, the parameters too, as it stands in event bodies.
    """
    return _prompt_digest(context, examples, _CANONICAL.encode(messages), model, values)


def _prompt_digest(
    context: str | None, examples: Sequence[Sequence[str | None]], messages: str, model: str, values: Mapping[str, Any]
) -> bytes:
    _check(values)  # which the others need not be: commitments, and numbers of sides
    before = _CANONICAL.encode({"context": context, "examples": examples})
    after = _CANONICAL.encode({"model": model, "parameters": values})
    told = f'{before[:-1]},"messages":{messages},{after[1:]}'  # in the order of the names, as everywhere
    return hashlib.sha256(_PROMPT + told.encode()).digest()


def _example(example: Example) -> list[str | None]:
    return [sealed("input", example.input, example.input_salt), sealed("output", example.output, example.output_salt)]


def sealed_message(message: Message) -> str:
    """Return a message as it stands in the digest of a prompt: as JSON, its side and the commitment to its text.

    Not its author: the sides' names belong to the conversation, and its first event commits to them.
    """
    seal = sealed("content", message.content, message.salt)
    return f"[{message.side},null]" if seal is None else f'[{message.side},"{seal}"]'  # base64: needs no escapes


def sealed(field: str, text: str | None, salt: bytes | None) -> str | None:
    """Return the commitment to a text as it stands in event bodies; None where there is no text.

    The context and the examples are in each prompt, and what was stored now in the next, so the latest SEALS are kept,
    with a hash of what they commit to: a text that somebody has changed under its salt is another one.
    """
    if text is None or salt is None:
        return None
    told = hash((field, text))
    known = _SEALS.get(salt)
    if known is not None and known[0] == told:
        return known[1]
    seal = encode(commit(field, text, salt))
    if len(_SEALS) >= SEALS:
        _SEALS.clear()
    _SEALS[salt] = told, seal
    return seal
