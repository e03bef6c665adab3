"""A service of each language that answers anything, and a client of it that records what it was asked, to the byte."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from typing import Any

import convo
from convo.clients.anthropic import Anthropic
from convo.clients.gemini import Gemini
from convo.clients.http import HttpClient
from convo.clients.language import Language
from convo.clients.ollama import Ollama
from convo.clients.openai import OpenAI
from convo.clients.palm import Palm
from convo.clients.server import Server
from convo.retry import Retry
from tests.model_server import ModelServer, Received, Script, answer, events, lines, routing

OK, FAIL, TOO_LONG, CUT = "ok", "fail", "too long", "cut"
"""What the service makes of a call: CUT breaks a stream off in the middle."""

Texts = list[str]

LANGUAGES: Mapping[str, Callable[[], Language]] = {
    "palm": Palm,
    "gemini": Gemini,
    "openai": OpenAI,
    "anthropic": Anthropic,
    "ollama": Ollama,
}

MODELS: Mapping[str, list[str]] = {
    "palm": ["models/chat-bison-001", "models/another"],
    "gemini": ["gemini/gemini-2.0-flash", "gemini/gemini-3-pro", "tunedModels/cat ü"],
    "openai": ["openai/gpt-x", "openai/org/y"],
    "anthropic": ["anthropic/claude-x", "anthropic/claude-y"],
    "ollama": ["ollama/llama:1b", "ollama/phi"],
}
"""The first of Gemini's gives several candidates a request, the others one."""


def whole(language: str, texts: Texts) -> Any:
    """Return a whole answer."""
    if language == "openai":
        choices = [
            {"index": place, "message": {"content": each}, "finish_reason": "stop"} for place, each in enumerate(texts)
        ]
        return {"choices": choices}
    if language == "gemini":
        return {"candidates": [_of_gemini(place, each, "STOP") for place, each in enumerate(texts)]}
    if language == "anthropic":
        return {"content": [{"type": "text", "text": texts[0]}], "stop_reason": "end_turn"}
    if language == "ollama":
        return {"message": {"content": texts[0]}, "done": True, "done_reason": "stop"}
    return {"candidates": [{"author": "1", "content": each} for each in texts]}


def _of_gemini(place: int, text: str, end: str | None) -> dict[str, Any]:
    return {"index": place, "content": {"parts": [{"text": text}]}, **({"finishReason": end} if end else {})}


def streamed(language: str, texts: Texts, *, is_whole: bool = True) -> bytes:
    """Return an answer in pieces."""
    ends = [True] if is_whole else []
    if language == "openai":
        pieces = [{"choices": [{"index": place, "delta": {"content": each}}]} for place, each in enumerate(texts)]
        end = {"delta": {}, "finish_reason": "stop"}
        pieces += [{"choices": [{"index": place, **end}]} for _ in ends for place in range(len(texts))]
        return events(*pieces, *["[DONE]" for _ in ends])
    if language == "gemini":
        why = "STOP" if is_whole else None
        return events(*[{"candidates": [_of_gemini(place, each, why)]} for place, each in enumerate(texts)])
    if language == "anthropic":
        said = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": texts[0]}}
        return events(said, *[{"type": "message_delta", "delta": {"stop_reason": "end_turn"}} for _ in ends])
    return lines({"message": {"content": texts[0]}}, *[{"message": {"content": ""}, "done": True} for _ in ends])


TOO_LONG_SAID = {
    "palm": "too long",
    "gemini": "The input exceeds the maximum number of tokens allowed",
    "openai": "maximum context length",
    "anthropic": "prompt is too long: 5 tokens",
    "ollama": "exceeds the context length",
}


@dataclass
class Asked:
    """A call of the client: what it was asked for, and what was posted for it."""

    request: convo.ChatRequest
    is_streamed: bool
    posts: list[Received] = field(default_factory=list)

    @property
    def bodies(self) -> list[bytes]:
        return sorted(each.body for each in self.posts)

    @property
    def paths(self) -> list[str]:
        return sorted(each.line.split(" ")[1] for each in self.posts)


class Service:
    """What the server says, and what it was asked."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.moods: list[str] = []
        """Of the next calls, in order; those after them are answered."""
        self.calls: list[Asked] = []
        self.server: ModelServer
        self._mood, self._is_called = OK, False
        self._numbers = itertools.count()

    def answered(self, received: Received) -> Script:
        """Return what is sent back."""
        if self._mood == FAIL:
            return answer({"error": {"message": "at fault"}}, status=500)
        if self._mood == TOO_LONG:
            return answer({"error": {"message": TOO_LONG_SAID[self.language]}}, status=400)
        body = received.json
        count = body.get("n") or body.get("candidate_count") or body.get("candidateCount")
        count = count or body.get("generationConfig", {}).get("candidateCount") or 1
        texts = [f"№{next(self._numbers)} “ja” — {'ы' * (number % 7)}" for number in range(count)]
        if body.get("stream") or ":stream" in received.line:
            return streamed(self.language, texts, is_whole=self._mood != CUT)
        return answer(whole(self.language, texts))

    @contextlib.contextmanager
    def called(self, request: convo.ChatRequest, is_streamed: bool) -> Iterator[None]:
        """Take down what is posted meanwhile; a stream that asks for a whole answer is one call."""
        if self._is_called:
            yield
            return
        self._mood = self.moods.pop(0) if self.moods else OK
        call = Asked(request, is_streamed)
        self.calls.append(call)
        before, self._is_called = len(self.server.received), True
        try:
            yield
        finally:
            self._is_called = False
            call.posts = self.server.received[before:]


class Recording(HttpClient):
    """A client of a Service."""

    def __init__(self, service: Service, codec: Language, **given: Any) -> None:
        super().__init__(Server(codec, service.server.url), retry=Retry(attempts=1), **given)
        self.service = service

    def chat(self, request: convo.ChatRequest, *, deadline_s: float) -> convo.ChatReply:
        with self.service.called(request, False):
            return super().chat(request, deadline_s=deadline_s)

    async def chat_async(self, request: convo.ChatRequest, *, deadline_s: float) -> convo.ChatReply:
        with self.service.called(request, False):
            return await super().chat_async(request, deadline_s=deadline_s)

    def stream(self, request: convo.ChatRequest, *, deadline_s: float) -> Iterator[convo.Delta]:
        with self.service.called(request, True), closing(super().stream(request, deadline_s=deadline_s)) as pieces:
            yield from pieces

    async def stream_async(self, request: convo.ChatRequest, *, deadline_s: float) -> AsyncIterator[convo.Delta]:
        with self.service.called(request, True):
            async with aclosing(super().stream_async(request, deadline_s=deadline_s)) as pieces:
                async for each in pieces:
                    yield each


@contextlib.contextmanager
def recorded(language: str, codec: Language | None = None, **given: Any) -> Iterator[Recording]:
    """Yield a client of a service of that language."""
    service = Service(language)
    with routing(service.answered) as service.server:
        client = Recording(service, codec or LANGUAGES[language](), **given)
        yield client
        client.close()
