"""A model whose answer is the hash of the exact history that it was given.

What is stored then tells by itself which history each answer was made from: an answer to a history that is not the
one before it is found by computing the hash again, which is what `violations` does.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable

from convo.clients.base import ChatReply, ChatRequest
from convo.types import Candidate, Example, Message, Model, Usage

Hook = Callable[[ChatRequest], object]
"""What is called before an answer is given; it may wait, raise, or end the process."""


def expected_reply(
    context: str | None, examples: Iterable[Example], messages: Iterable[Message], *, candidate: int = 0
) -> str:
    """Return what HistoryClient answers to this context, these examples and these messages, all oldest first.

    It is a SHA-256 in hexadecimal, over a form in which no two histories are alike; a `candidate` beyond the first
    has its index behind it.
    """
    asked = [
        context or None,  # a prompt has no empty context
        [[each.input, each.output] for each in examples],
        [[each.side, each.content] for each in messages],
    ]
    digest = hashlib.sha256(json.dumps(asked, separators=(",", ":")).encode()).hexdigest()
    return digest if candidate == 0 else f"{digest} ({candidate})"


class HistoryClient:
    """A ChatClient that answers with expected_reply() of what it is given. Safe to call from several threads."""

    def __init__(
        self, *, input_token_limit: int = 1_000_000, delay_s: float = 0.0, before_answer: Hook | None = None
    ) -> None:
        """Answer after `delay_s` seconds and after `before_answer(request)` has returned."""
        self._limit = input_token_limit
        self._delay_s = delay_s
        self._before_answer = before_answer
        self._lock = threading.Lock()
        self.calls = 0
        """How often it was called so far, answered or not."""

    def get_model(self, name: str) -> Model:
        """Return the model under any name, with the limit of this client."""
        return Model(name=name, input_token_limit=self._limit)

    def chat(self, request: ChatRequest, *, deadline_s: float) -> ChatReply:  # noqa: ARG002 - the delay is the test's
        """Answer with the hash of what was asked, in as many candidates as are wanted."""
        with self._lock:
            self.calls += 1
        if self._delay_s:
            time.sleep(self._delay_s)
        if self._before_answer is not None:
            self._before_answer(request)
        texts = [
            expected_reply(request.context, request.examples, request.messages, candidate=index)
            for index in range(request.parameters.candidate_count or 1)
        ]
        return ChatReply(tuple(Candidate(index, text, "stop") for index, text in enumerate(texts)), Usage(1, 1))
