"""What convo asks of a model, and what a model answers: the narrow waist between conversations and services.

A client is any object with the two methods of ChatClient, or of AsyncChatClient, or of both. It knows its service and
nothing of a store; it may be called from several threads at once.

One that can stream has stream() too, or stream_async(): what it yields are the pieces of its candidates as they come,
and the last piece of each has a `finish_reason`. A stream that ends before each candidate that began has ended was cut.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeGuard, runtime_checkable

from convo.values import Candidate, Example, Filter, Message, Model, Parameters, Usage

LIMITS_S = 30.0
"""How long a service may take to tell what a model is."""


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


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer, as it comes. Those that a conversation's stream() yields tell their `text`, and no more."""

    text: str = ""
    """What it adds to its candidate."""
    candidate: int = 0
    finish_reason: str | None = None
    """Why its candidate ends here, "" when nobody says why; None while it goes on."""
    usage: Usage | None = None
    """Of the whole answer; of each count the last one that comes."""
    filters: tuple[Filter, ...] = ()
    served_by: str | None = None


@dataclass(frozen=True, slots=True)
class Posted:
    """What is posted to a service, to the byte."""

    path: str
    """Below the service's address, with its query."""
    body: bytes


def as_pieces(reply: ChatReply) -> Iterator[Delta]:
    """Yield a whole answer as a stream would have brought it: the candidates as they stand, whatever their index."""
    for index, each in enumerate(reply.candidates):
        yield Delta(each.content or "", index, each.finish_reason or "")
    yield Delta(usage=reply.usage, filters=reply.filters, served_by=reply.served_by)


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


@runtime_checkable
class StreamingClient(ChatClient, Protocol):
    """A service that answers piece by piece, too."""

    def stream(self, request: ChatRequest, *, deadline_s: float) -> Iterator[Delta]:
        """Yield the answer to `request`, each piece within `deadline_s` seconds; closed early, stop the service.

        Raises:
            ModelError: the service failed, refused or answered badly.
        """
        ...


@runtime_checkable
class PatientClient(ChatClient, Protocol):
    """A client that may be told for how long it may ask for a model's limits, or that it need not ask."""

    def get_model_within(self, name: str, deadline_s: float) -> Model:
        """Return the model's limits as get_model() does, within `deadline_s` seconds.

        Raises:
            ModelNotFound, LimitUnknown, ModelError: as get_model().
        """
        ...

    def with_limit(self, name: str, limit: int) -> Model:
        """Return a model whose limit somebody else tells, in tokens; nobody is asked."""
        ...


@runtime_checkable
class CheckingClient(Protocol):
    """A client that can tell beforehand, without asking its service, what that does not take."""

    def check_parameters(self, name: str, parameters: Parameters) -> None:
        """Return when the model takes these parameters.

        Raises:
            InvalidParameter: it does not; nothing is stored then, and nothing was paid.
        """
        ...


@runtime_checkable
class CountingClient(Protocol):
    """A client whose service counts tokens before it answers."""

    def count_tokens(self, request: ChatRequest, *, deadline_s: float) -> int | None:
        """Return how many tokens a prompt has, within `deadline_s` seconds; None where the service does not count.

        Raises:
            ModelError: the service failed, refused or answered badly.
        """
        ...


@runtime_checkable
class PostingClient(Protocol):
    """A client that can tell what it would post, without posting it."""

    def would_post(self, request: ChatRequest, *, streamed: bool) -> list[Posted]:
        """Return what is posted for `request`: several where the service gives one candidate at a time.

        Raises:
            InvalidParameter: the service does not take it.
        """
        ...


@runtime_checkable
class AsyncChatClient(Protocol):
    """A service of models that is awaited, by AsyncStore."""

    def get_model(self, name: str) -> Model:
        """Return the model's limits. It is called in a thread: it may wait.

        Raises:
            ModelNotFound: this service has no such model.
        """
        ...

    async def chat_async(self, request: ChatRequest, *, deadline_s: float) -> ChatReply:
        """Answer `request`, within `deadline_s` seconds over all attempts.

        Raises:
            ModelError: the service failed, refused or answered badly.
        """
        ...


@runtime_checkable
class AsyncStreamingClient(AsyncChatClient, Protocol):
    """A service that is awaited, and answers piece by piece, too."""

    def stream_async(self, request: ChatRequest, *, deadline_s: float) -> AsyncIterator[Delta]:
        """Yield the answer to `request`, as StreamingClient.stream() does."""
        ...


def is_checking(client: object) -> TypeGuard[CheckingClient]:
    """Return whether a client is a CheckingClient; isinstance() takes 20 µs to find out that it is none."""
    return hasattr(client, "check_parameters")


def is_patient(client: object) -> TypeGuard[PatientClient]:
    """Return whether a client is a PatientClient, as is_checking() does."""
    return hasattr(client, "get_model_within") and hasattr(client, "with_limit")


AnyClient = ChatClient | AsyncChatClient
"""What AsyncStore takes; of a Store it must be a ChatClient."""


def check_waiting(client: object, needed_by: str, taken_by: str) -> None:
    """Raise TypeError unless a given client is a ChatClient, and say who takes an AsyncChatClient."""
    if client is not None and not isinstance(client, ChatClient):
        msg = (
            f"a {type(client).__name__} has no get_model() and chat(), which {needed_by} needs; {taken_by} takes others"
        )
        raise TypeError(msg)


def check_awaited(client: object) -> None:
    """Raise TypeError unless a given client is a ChatClient or an AsyncChatClient."""
    if client is not None and not isinstance(client, AnyClient):
        msg = f"a {type(client).__name__} has no get_model() with chat() or chat_async()"
        raise TypeError(msg)
