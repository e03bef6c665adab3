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
from convo.types import Candidate

DEADLINE_S = 120.0
"""How long a model may take, over all attempts, when nobody says otherwise."""


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
        reply = client.chat(request, deadline_s=deadline_s)
    except ConvoError:
        raise
    except Exception as error:
        raise ModelError(f"the client of {request.model} failed with {type(error).__name__}") from error
    return replace(reply, candidates=_usable(reply.candidates, wanted))


def _usable(candidates: tuple[Candidate, ...], wanted: int) -> tuple[Candidate, ...]:
    unique: dict[str, Candidate] = {}
    for each in candidates:
        try:
            content, repaired = repair_text(each.content or "")
        except InvalidText as error:
            raise BadModelResponse(str(error)) from error
        if content.strip() and content not in unique and len(unique) < wanted:
            index = len(unique)
            unique[content] = replace(each, index=index, content=content, repaired=repaired, tokens=estimate(content))
    return tuple(unique.values())
