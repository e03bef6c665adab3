"""The one way to call a model for a whole answer, and what is promised of every answer, whoever gave it.

Kept here are the promises of the reference page of `chat` that its service kept: only unique candidates, one at
temperature 0, never more than were asked for. And those of the store: text that can be stored, none of it empty.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from enum import Enum
from functools import partial
from typing import Any

from convo import options
from convo.clients.base import AnyClient, AsyncChatClient, ChatClient, ChatReply, ChatRequest
from convo.copies import replace
from convo.errors import BadModelResponse, CallTimedOut, InvalidInput, InvalidText, ModelError, ModelNotFound
from convo.text import repair_text
from convo.tokens import estimate
from convo.values import BROKEN_OFF, BlockedReason, Candidate, CitationMetadata, Filter, Usage

DEADLINE_S = 120.0
"""How long a model may take, over all attempts, when nobody says otherwise."""

MAX_LABEL = 200
"""The longest name of a model or of a reason to finish, in characters: they come from outside."""


def call(client: ChatClient, request: ChatRequest, *, deadline_s: float = DEADLINE_S) -> ChatReply:
    """Call the model; the candidates are unique, numbered from 0, counted, and at most as many as were asked for.

    No candidates come back when all were blocked; `filters` then says why.

    Raises:
        ModelError: the service failed; an exception of a client that is not convo's own is its cause.
    """
    request = asked(request)
    with failing(request):
        return storable(client.chat(request, deadline_s=deadline_s), request)


async def call_async(client: AnyClient, request: ChatRequest, *, deadline_s: float = DEADLINE_S) -> ChatReply:
    """Call the model as call() does, and let others run meanwhile; a client that cannot be awaited, in a thread.

    A thread cannot be stopped: after the deadline, or when the caller is cancelled, it is left to itself.

    Raises:
        ModelError: as call().
        CallTimedOut: no answer within `deadline_s` seconds.
    """
    request = asked(request)
    reply = await ask_async(client, request, deadline_s=deadline_s)
    with failing(request):
        return storable(reply, request)


async def ask_async(client: AnyClient, request: ChatRequest, *, deadline_s: float) -> ChatReply:
    """Return what a client answers to an asked() request, as it comes.

    Raises:
        ModelError, CallTimedOut: as call_async().
    """
    import anyio

    from convo.threads import run_apart

    with failing(request):
        with anyio.move_on_after(deadline_s):
            if isinstance(client, AsyncChatClient):
                return await client.chat_async(request, deadline_s=deadline_s)
            return await run_apart(partial(client.chat, request, deadline_s=deadline_s))
        raise CallTimedOut(request.model, deadline_s)


def asked(request: ChatRequest) -> ChatRequest:
    """Return a request with the number of candidates that the model is to give."""
    wanted = 1 if request.parameters.temperature == 0 else request.parameters.candidate_count or 1
    if wanted == request.parameters.candidate_count:
        return request
    return replace(request, parameters=replace(request.parameters, candidate_count=wanted))


@contextlib.contextmanager
def failing(request: ChatRequest) -> Iterator[None]:
    """Let what a client raises out as an error of its call.

    Another error of convo's, of a client that uses convo itself, would be taken for one about this conversation.
    """
    try:
        yield
    except (ModelError, ModelNotFound):
        raise
    except Exception as error:
        raise ModelError(f"the client of {request.model} failed with {type(error).__name__}") from error


def storable(reply: ChatReply, request: ChatRequest) -> ChatReply:
    """Return a reply to an asked() request as it may be stored and shown."""
    usage = reply.usage
    return replace(
        reply,
        candidates=_usable(reply.candidates, request.parameters.candidate_count or 1),
        filters=tuple(Filter(_reason(each.reason), _label(each.message)) for each in reply.filters),
        served_by=_label(reply.served_by),
        usage=Usage(_count(usage.input_tokens), _count(usage.output_tokens)) if isinstance(usage, Usage) else None,
    )


def _count(tokens: int | None) -> int | None:
    """Return what a service counted; None for what can be no count."""
    return tokens if isinstance(tokens, int) and 0 <= tokens < 2**31 else None


def _reason(given: object) -> str:
    """Return why content was withheld: the documented reason where it is one, else the service's word."""
    word = _label(given) or "none given"
    return BlockedReason(word) if word in BlockedReason.__members__ else word


def _label(given: object) -> str | None:
    """Return a service's word for something, as it may be stored; None for an empty one.

    Of whatever type it is, as an answer that was paid for is not lost for it: many libraries have enums for them.
    """
    if isinstance(given, Enum):
        given = given.value if isinstance(given.value, str) else given.name
    return repair_text(str(given)[:MAX_LABEL])[0] if given not in (None, "") else None


def _citations(given: Any) -> CitationMetadata | None:  # noqa: ANN401 - clients are others' code
    """Return where an answer may come from; None for what cannot be read, as the answer is not lost for it."""
    try:
        return options.citations(given)
    except (TypeError, InvalidInput):
        return None


def ending(finish_reason: object) -> str | None:
    """Return why a whole candidate ended; not in the words that mark those which are not whole."""
    reason = _label(finish_reason)
    return f"{reason} by the model" if reason in BROKEN_OFF else reason


def _usable(candidates: tuple[Candidate, ...], wanted: int) -> tuple[Candidate, ...]:
    unique: dict[str, Candidate] = {}
    for each in candidates:
        if len(unique) == wanted:  # what nobody asked for cannot make the answer a bad one
            break
        try:
            content, repaired = repair_text(each.content or "")
        except InvalidText as error:
            raise BadModelResponse(str(error)) from error
        if content.strip() and content not in unique:
            index = len(unique)
            unique[content] = replace(
                each,
                index=index,
                content=content,
                finish_reason=ending(each.finish_reason),
                repaired=repaired,
                tokens=estimate(content),
                citation_metadata=_citations(each.citation_metadata),
            )
    return tuple(unique.values())
