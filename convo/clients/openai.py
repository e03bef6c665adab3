"""OpenAI's chat completions, and the many servers that speak the same: vLLM, llama.cpp, LM Studio, OpenRouter, Azure.

https://platform.openai.com/docs/api-reference/chat (read November 2026). The context goes first, as a system message;
examples are turns before the window. It tells no model's limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from convo.clients.base import ChatReply, ChatRequest, Delta
from convo.clients.wire import (
    FILTERED,
    LENGTH,
    MESSAGE_OVERHEAD,
    SSE,
    STOP,
    TOOL,
    Outgoing,
    Page,
    Piece,
    Shape,
    accepted,
    bare_name,
    beside_output,
    failure,
    known,
    limited,
    parsed,
    read,
    turns_of,
)
from convo.errors import ServiceError
from convo.values import Candidate, Filter, Model, Usage

DONE = "[DONE]"
"""What the last event of a stream says instead of JSON."""

ENDS = {
    "stop": STOP,
    "length": LENGTH,
    "content_filter": FILTERED,
    "tool_calls": TOOL,
    "function_call": TOOL,
}


TOO_LONG = ("context_length_exceeded", "exceed_context_size", "maximum context length")
"""OpenAI's code, llama.cpp's, and what vLLM and older servers say without one."""


WINDOWS = {
    "gpt-3.5-turbo": (16_385, 4_096),
    "gpt-4-turbo": (128_000, 4_096),
    "gpt-4o": (128_000, 16_384),
    "gpt-4.1": (1_047_576, 32_768),
    "gpt-5": (400_000, 128_000),
    "o1": (200_000, 100_000),
    "o3": (200_000, 100_000),
    "o4-mini": (200_000, 100_000),
}
"""Tokens of the window, and of the longest answer, by the beginning of a name: OpenAI's API does not tell them.

As its pages of models have them (https://platform.openai.com/docs/models, 2025); what is newer has to be given.
"""


class Described(Shape):
    """What a model is, on servers that tell: vLLM has max_model_len, OpenRouter and others context_length."""

    max_model_len: int | None = None
    context_length: int | None = None


class Listed(Described):
    """A model of the list."""

    id: str


class Listing(Shape):
    """The list: one page has it all."""

    data: tuple[Listed, ...]


class Text(Shape):
    """A message, or what a piece adds to it."""

    content: str | None = None
    refusal: str | None = None
    """What the model says instead of an answer that it will not give."""


class Choice(Shape):
    """A candidate, whole or in part."""

    index: int = 0
    message: Text = Text()
    delta: Text = Text()
    finish_reason: str | None = None


class Counted(Shape):
    """What an answer cost."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Completion(Shape):
    """An answer, or a piece of one."""

    choices: tuple[Choice, ...] = ()
    usage: Counted | None = None
    model: str | None = None


@dataclass(frozen=True)
class OpenAI:
    """The codec of chat completions."""

    provider: str = "openai"
    strict: bool = True
    """Whether a parameter that the service has not is an error."""
    output_limit: str = "max_completion_tokens"
    """How the service calls the most tokens of an answer; older servers know `max_tokens` only."""
    lacks: tuple[str, ...] = ("top_k",)
    """Parameters that the service has not; many of the other servers have them all."""

    framing = SSE
    can_stream = True
    has_candidates = True
    user_first = False
    lists_limits = True

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the key as a bearer's token."""
        return {"authorization": f"Bearer {key}"} if key else {}

    def encode(self, request: ChatRequest, *, streamed: bool) -> Outgoing:
        """Return the request for an answer."""
        given = accepted(request, self.provider, self.lacks, strict=self.strict)
        messages = [{"role": "system", "content": request.context}] if request.context else []
        messages += [{"role": role, "content": text} for role, text in turns_of(request, ("user", "assistant"))]
        body: dict[str, Any] = {"model": bare_name(request.model), "messages": messages}
        names = {"candidate_count": "n", "max_output_tokens": self.output_limit}
        body |= {names.get(name, name): value for name, value in given.items()}
        if streamed:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return Outgoing("/chat/completions", body)

    def decode(self, answer: Any) -> ChatReply:  # noqa: ANN401 - JSON from outside
        """Return a whole answer."""
        told = read(Completion, answer, self.provider)
        candidates = tuple(
            Candidate(each.index, each.message.content, known(each.finish_reason, ENDS))
            for each in sorted(told.choices, key=lambda each: each.index)
            if each.message.content
        )
        filters = tuple(each for choice in told.choices for each in _withheld(choice, choice.message))
        return ChatReply(candidates, _usage(told.usage), filters, told.model)

    def decode_event(self, piece: Piece) -> Iterator[Delta]:
        """Yield what a piece brings: a text for each choice, and the usage at the end, in a piece without choices."""
        if piece.data == DONE:
            return
        answer = parsed(piece.data, self.provider)
        if isinstance(answer, dict) and "error" in answer:
            raise self.error(200, answer)
        told = read(Completion, answer, self.provider)
        for each in told.choices:
            yield Delta(
                each.delta.content or "",
                each.index,
                known(each.finish_reason, ENDS),
                filters=tuple(_withheld(each, each.delta)),
                served_by=told.model,
            )
        if told.usage is not None:
            yield Delta(usage=_usage(told.usage))

    def describe(self, name: str) -> Outgoing:
        """Return the request for what a model is."""
        return Outgoing(f"/models/{quote(bare_name(name), safe='/')}")

    def described(self, name: str, answer: Any) -> Model | None:  # noqa: ANN401 - JSON from outside
        """Return a model with its limits: as vLLM and others tell them, else of OpenAI's own by the table."""
        return self._limits(name, read(Described, answer, self.provider))

    def _limits(self, name: str, told: Described) -> Model | None:
        if window := told.max_model_len or told.context_length:
            return Model(name, beside_output(window), message_overhead=MESSAGE_OVERHEAD)
        known_as = [each for each in WINDOWS if bare_name(name).startswith(each)]
        if self.provider != "openai" or not known_as:
            return None
        window, output = WINDOWS[max(known_as, key=len)]
        return Model(name, beside_output(window, output), output, message_overhead=MESSAGE_OVERHEAD)

    def catalog(self, mark: str | None) -> Outgoing:  # noqa: ARG002 - there is one page
        """Return the request for the service's models."""
        return Outgoing("/models")

    def listed(self, answer: Any) -> Page:  # noqa: ANN401 - JSON from outside
        """Return what it lists: of OpenAI's own also those that do not chat, which it does not tell apart."""
        told = read(Listing, answer, self.provider).data
        named = [(f"{self.provider}/{each.id}", each) for each in told]
        return Page(
            tuple(self._limits(name, each) or limited(name, 0, user_first=self.user_first) for name, each in named)
        )

    def error(self, status: int, answer: Any) -> ServiceError:  # noqa: ANN401 - JSON from outside
        """Return the error that an answer tells of."""
        return failure(self.provider, status, answer, too_long=TOO_LONG)


def _withheld(choice: Choice, text: Text) -> Iterator[Filter]:
    if text.refusal:
        yield Filter("REFUSAL", text.refusal)
    elif choice.finish_reason == "content_filter" and not text.content:
        yield Filter("SAFETY")


def _usage(counted: Counted | None) -> Usage | None:
    return None if counted is None else Usage(counted.prompt_tokens, counted.completion_tokens)
