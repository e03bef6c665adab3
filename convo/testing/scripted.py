"""A model that follows a script, and remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass

from convo.clients.base import ChatReply, ChatRequest, Delta
from convo.clients.offline import streamed
from convo.errors import StreamCut
from convo.values import Candidate, Model


@dataclass(frozen=True)
class Streamed:
    """An answer in these pieces, and how its stream ends; chat() gives it whole, or raises as the stream does."""

    pieces: Sequence[str]
    error: BaseException | None = None
    """What is raised after the last piece; without one the stream just ends."""
    is_whole: bool = True
    """Whether the last piece says that it is the last."""

    def deltas(self) -> Iterator[Delta]:
        """Yield the pieces; raise the error."""
        last = len(self.pieces) - 1
        for number, text in enumerate(self.pieces):
            is_end = self.is_whole and self.error is None and number == last
            yield Delta(text, finish_reason="stop" if is_end else None)
        if self.error is not None:
            raise self.error


Script = str | Sequence[str] | ChatReply | Streamed | BaseException | Callable[[ChatRequest], "str | ChatReply"]
"""One answer: a text, several candidates' texts, a ChatReply, pieces, an error, or a function of the request."""


class ScriptedClient:
    """Gives its answers in order, and the last one ever after: whole or word by word, in threads or in an event loop.

    It is a StreamingClient and an AsyncStreamingClient. Safe to call from several threads.
    """

    def __init__(self, *answers: Script, model: Model | None = None) -> None:
        """Answer with `answers`; without any, with the newest message. `model` has the limits, for every name."""
        self._answers = list(answers) or [_echo]
        self._model = model
        self._lock = threading.Lock()
        self.requests: list[ChatRequest] = []
        """Every request so far, oldest first."""

    def get_model(self, name: str) -> Model:
        """Return the model of the script under any name; its limit is 4,096 tokens unless the test says otherwise."""
        return self._model or Model(name=name, input_token_limit=4096)

    def chat(self, request: ChatRequest, *, deadline_s: float) -> ChatReply:  # noqa: ARG002 - answers at once
        """Give the next answer, or raise it."""
        answer = self._next(request)
        if not isinstance(answer, Streamed):
            return answer
        if answer.error is not None:
            raise answer.error
        if not answer.is_whole:
            raise StreamCut(request.model)
        return _reply(["".join(answer.pieces)])

    def stream(self, request: ChatRequest, *, deadline_s: float) -> Iterator[Delta]:  # noqa: ARG002 - answers at once
        """Give the next answer in pieces; one that was not scripted so, word by word."""
        answer = self._next(request)
        yield from answer.deltas() if isinstance(answer, Streamed) else streamed(answer)

    async def chat_async(self, request: ChatRequest, *, deadline_s: float) -> ChatReply:
        """Give the next answer, or raise it, in an event loop."""
        return self.chat(request, deadline_s=deadline_s)

    async def stream_async(self, request: ChatRequest, *, deadline_s: float) -> AsyncIterator[Delta]:
        """Give the next answer in pieces, in an event loop."""
        for each in self.stream(request, deadline_s=deadline_s):
            yield each

    def _next(self, request: ChatRequest) -> ChatReply | Streamed:
        with self._lock:
            self.requests.append(request)
            answer = self._answers[min(len(self.requests), len(self._answers)) - 1]
        if isinstance(answer, BaseException):
            raise answer
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, ChatReply | Streamed):
            return answer
        return _reply([answer] if isinstance(answer, str) else answer)


def _reply(texts: Sequence[str]) -> ChatReply:
    return ChatReply(tuple(Candidate(index, text, "stop") for index, text in enumerate(texts)))


def _echo(request: ChatRequest) -> str:
    return str(request.messages[-1].content)
