"""What convo asks of a model, and what a model answers: the narrow waist between conversations and services.

A client is any object with the two methods of ChatClient. It knows its service and nothing of a store; it may be
called from several threads at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from convo.types import Candidate, Example, Filter, Message, Model, Parameters, Usage


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A prompt that fits the model, and how to answer it."""

    model: str
    context: str | None
    examples: tuple[Example, ...]
    """Oldest first."""
    messages: tuple[Message, ...]
    """Oldest first; the last one is the user's, to be answered."""
    parameters: Parameters = Parameters()


@dataclass(frozen=True, slots=True)
class ChatReply:
    """What came back; no candidates when all were blocked, and then `filters` says why."""

    candidates: tuple[Candidate, ...]
    """Best first."""
    usage: Usage | None = None
    filters: tuple[Filter, ...] = ()
    served_by: str | None = None
    """The model that answered, where that is not the name that was asked for."""


@runtime_checkable
class ChatClient(Protocol):
    """A service of models."""

    def get_model(self, name: str) -> Model:
        """Return the model's limits.

        Raises:
            ModelNotFound: this service has no such model.
        """
        ...

    def chat(self, request: ChatRequest, *, deadline_s: float) -> ChatReply:
        """Answer `request`, within `deadline_s` seconds over all attempts.

        Raises:
            ModelError: the service failed, refused or answered badly.
        """
        ...
