"""A model that follows a script, and remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from convo.clients.base import ChatReply, ChatRequest
from convo.types import Candidate, Model

Script = str | Sequence[str] | ChatReply | BaseException | Callable[[ChatRequest], "str | ChatReply"]
"""One answer: a text, several candidates' texts, a whole ChatReply, an error to raise, or a function of the request."""


class ScriptedClient:
    """A ChatClient that gives its answers in order, and the last one ever after. Safe to call from several threads."""

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
        with self._lock:
            self.requests.append(request)
            answer = self._answers[min(len(self.requests), len(self._answers)) - 1]
        if isinstance(answer, BaseException):
            raise answer
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, ChatReply):
            return answer
        texts = [answer] if isinstance(answer, str) else answer
        return ChatReply(tuple(Candidate(index, text, "stop") for index, text in enumerate(texts)))


def _echo(request: ChatRequest) -> str:
    return str(request.messages[-1].content)
