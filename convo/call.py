"""The one way to call a model, and what is promised of every answer, whoever gave it.

Kept here are the promises of the reference page of `chat` that its service kept: only unique candidates, one at
temperature 0, never more than were asked for. And those of the store: text that can be stored, none of it empty.
"""

from __future__ import annotations

from dataclasses import replace

from convo.clients.base import ChatClient, ChatReply, ChatRequest
from convo.errors import BadModelResponse, ConvoError, InvalidText, ModelError
from convo.text import repair_text
from convo.tokens import estimate
from convo.types import Candidate, Filter, Usage

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
    wanted = 1 if request.parameters.temperature == 0 else request.parameters.candidate_count or 1
    if wanted != request.parameters.candidate_count:
        request = replace(request, parameters=replace(request.parameters, candidate_count=wanted))
    try:
        return _storable(client.chat(request, deadline_s=deadline_s), wanted)
    except ConvoError:
        raise
    except Exception as error:
        raise ModelError(f"the client of {request.model} failed with {type(error).__name__}") from error


def _storable(reply: ChatReply, wanted: int) -> ChatReply:
    usage = reply.usage and Usage(_count(reply.usage.input_tokens), _count(reply.usage.output_tokens))
    return replace(
        reply,
        candidates=_usable(reply.candidates, wanted),
        filters=tuple(Filter(_label(each.reason) or "none given", _label(each.message)) for each in reply.filters),
        served_by=_label(reply.served_by),
        usage=usage,
    )


def _count(tokens: int | None) -> int | None:
    """Return what a service counted; None for what can be no count."""
    return tokens if isinstance(tokens, int) and 0 <= tokens < 2**31 else None


def _label(text: str | None) -> str | None:
    """Return a service's word for something, as it may be stored; None for an empty one."""
    return repair_text(text[:MAX_LABEL])[0] if text else None


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
                finish_reason=_label(each.finish_reason),
                repaired=repaired,
                tokens=estimate(content),
            )
    return tuple(unique.values())
