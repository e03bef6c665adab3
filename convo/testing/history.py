"""A model whose answer is the hash of the exact history that it was given.

What is stored then tells by itself which history each answer was made from: an answer to a history that is not the
one before it is found by computing the hash again, which is what `violations` does.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator

from convo.clients.base import ChatReply, ChatRequest, Delta
from convo.values import Candidate, Example, Message, Model, Usage

PIECES = 4
"""In how many pieces each answer is streamed."""

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
    """Answers with expected_reply() of what it is given: whole or in PIECES, in threads or in an event loop.

    It is a StreamingClient and an AsyncStreamingClient. Safe to call from several threads.
    """

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
        self._count()
        if self._delay_s:
            time.sleep(self._delay_s)
        return self._answer(request)

    def stream(self, request: ChatRequest, *, deadline_s: float) -> Iterator[Delta]:
        """Answer as chat() does, in pieces: those of all candidates by turns."""
        yield from _pieces(self.chat(request, deadline_s=deadline_s))

    async def chat_async(self, request: ChatRequest, *, deadline_s: float) -> ChatReply:  # noqa: ARG002 - as chat()
        """Answer as chat() does; others run meanwhile, and it may be cancelled."""
        self._count()
        await _pause(self._delay_s)
        return self._answer(request)

    async def stream_async(self, request: ChatRequest, *, deadline_s: float) -> AsyncIterator[Delta]:
        """Answer as stream() does; others run, and it may be cancelled, before each piece and at the end."""
        for each in _pieces(await self.chat_async(request, deadline_s=deadline_s)):
            yield each
            await _pause(0)

    def _count(self) -> None:
        with self._lock:
            self.calls += 1

    def _answer(self, request: ChatRequest) -> ChatReply:
        if self._before_answer is not None:
            self._before_answer(request)
        texts = [
            expected_reply(request.context, request.examples, request.messages, candidate=index)
            for index in range(request.parameters.candidate_count or 1)
        ]
        return ChatReply(tuple(Candidate(index, text, "stop") for index, text in enumerate(texts)), Usage(1, 1))


def _pieces(reply: ChatReply) -> Iterator[Delta]:
    """Yield an answer in pieces; each candidate's last one says that it is whole, and the very last the usage."""
    last = len(reply.candidates) - 1
    for number in range(PIECES):
        is_end = number == PIECES - 1
        for place, each in enumerate(reply.candidates):
            yield Delta(
                text=_piece(str(each.content), number),
                candidate=each.index,
                finish_reason=each.finish_reason if is_end else None,
                usage=reply.usage if is_end and place == last else None,
            )


def _piece(text: str, number: int) -> str:
    """Return one of the PIECES of a text."""
    return text[number * len(text) // PIECES : (number + 1) * len(text) // PIECES]


async def _pause(delay_s: float) -> None:
    """Let others run, for as long at least."""
    import anyio  # not light, and only needed here

    await anyio.sleep(delay_s)
