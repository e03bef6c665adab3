"""OpenAI's chat completions, and the many servers that speak the same: vLLM, llama.cpp, LM Studio, OpenRouter, Azure.

https://platform.openai.com/docs/api-reference/chat (read November 2026). The context goes first, as a system message;
examples are turns before the window. It tells no model's limits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from convo.clients.base import ChatReply, ChatRequest, Delta
from convo.clients.language import Language
from convo.clients.wire import (
    FILTERED,
    LENGTH,
    MESSAGE_OVERHEAD,
    STOP,
    TOOL,
    Count,
    IfObject,
    Outgoing,
    Page,
    Piece,
    Shape,
    bare_name,
    beside_output,
    known,
    limited,
    parsed,
    read,
    turns_of,
)
from convo.errors import BadModelResponse
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


TOO_LONG = (
    "context_length_exceeded",
    "exceeds the context window",
    "exceed the configured limit",
    "exceed_context_size",
    "maximum context length",
    "context length is only",
    "longer than the maximum model length",
    "greater than the context length",
    "exceeds the available context size",
    "context size has been exceeded",
)
"""OpenAI's code and its newer words, llama.cpp's code, and what vLLM, LM Studio and OpenRouter say without one."""

_NEWEST = (1_050_000, 128_000, 922_000)
_FIVE = (400_000, 128_000, 272_000)

WINDOWS: dict[str, tuple[int, int, int | None]] = {
    "gpt-3.5-turbo": (16_385, 4_096, None),
    "gpt-4": (8_192, 4_096, None),
    "gpt-4-turbo": (128_000, 4_096, None),
    "gpt-4o-2024-05-13": (128_000, 4_096, None),
    "gpt-4o": (128_000, 16_384, None),
    "gpt-4o-mini": (128_000, 16_384, None),
    "gpt-4.1": (1_047_576, 32_768, None),
    "gpt-4.1-mini": (1_047_576, 32_768, None),
    "gpt-4.1-nano": (1_047_576, 32_768, None),
    "o1": (200_000, 100_000, None),
    "o3": (200_000, 100_000, None),
    "o3-mini": (200_000, 100_000, None),
    "o4-mini": (200_000, 100_000, None),
    **dict.fromkeys(("gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-5.1", "gpt-5.2", "gpt-5.4-mini", "gpt-5.4-nano"), _FIVE),
    **dict.fromkeys(("gpt-5-chat", "gpt-5.1-chat", "gpt-5.2-chat", "gpt-5.3-chat"), (128_000, 16_384, None)),
    **dict.fromkeys(("gpt-5.4", "gpt-5.5", "gpt-5.6"), _NEWEST),
}
"""Tokens of the window, of the longest answer, and of the longest prompt where the window does not tell it, by name:
OpenAI's API does not tell them. Of November 2026, as https://models.dev and litellm 1.110.2 have them, which read
https://platform.openai.com/docs/models; what is not here has to be given."""

_SNAPSHOT = re.compile(r"-(latest|preview|\d{4}(-\d{2}-\d{2})?)$")


class Described(Shape):
    """What a model is, on servers that tell: vLLM has max_model_len, OpenRouter and others context_length."""

    id: str
    max_model_len: Count = None
    context_length: Count = None


class Listing(Shape):
    """The list: one page has it all."""

    data: tuple[Described, ...]


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

    prompt_tokens: Count = None
    completion_tokens: Count = None


class Completion(Shape):
    """An answer, or a piece of one."""

    choices: tuple[Choice, ...] = ()
    usage: Annotated[Counted | None, IfObject] = None
    model: str | None = None


@dataclass(frozen=True)
class OpenAI(Language):
    """The codec of chat completions."""

    provider: str = "openai"
    output_limit: str = "max_completion_tokens"
    """How the service calls the most tokens of an answer; older servers know `max_tokens` only."""
    lacks: tuple[str, ...] = ("top_k",)
    """Parameters that the service has not; many of the other servers have them all."""
    key_header: str | None = None
    """Where the key is sent as it is; None sends it as a bearer's token. Azure has "api-key"."""

    too_long = TOO_LONG
    last = DONE
    undescribed: ClassVar[Any] = {"data": []}

    def lacking(self) -> Sequence[str]:
        """Return what the service lacks."""
        return self.lacks

    def gives_candidates(self, model: str) -> bool:  # noqa: ARG002 - whatever the model
        """Return True."""
        return True

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the key: as a bearer's token, or in a header of its own."""
        return {self.key_header: key} if key and self.key_header else Language.headers(self, key)

    def encode(self, request: ChatRequest, *, streamed: bool) -> Outgoing:
        """Return the request for an answer."""
        given = self.accepted(request)
        messages = [{"role": "system", "content": request.context}] if request.context else []
        messages += [{"role": role, "content": text} for role, text in turns_of(request, ("user", "assistant"))]
        body: dict[str, Any] = {"model": bare_name(request.model), "messages": messages}
        names = {"candidate_count": "n", "max_output_tokens": self.output_limit, "stop_sequences": "stop"}
        body |= {names.get(name, name): value for name, value in given.items()}
        if streamed:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return Outgoing("/chat/completions", body)

    def decode(self, answer: Any) -> ChatReply:  # noqa: ANN401 - JSON from outside
        """Return a whole answer."""
        told = read(Completion, answer, self.provider)
        if not told.choices:
            raise BadModelResponse(f"{self.provider} answered without choices")
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
        if isinstance(answer, dict) and answer.get("error"):
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

    def describe(self, name: str) -> Outgoing:  # noqa: ARG002 - the list has it
        """Return the request for all models: OpenAI tells no more of one, and vLLM only has the list."""
        return self.catalog(None)

    def described(self, name: str, answer: Any) -> Model | None:  # noqa: ANN401 - JSON from outside
        """Return a model with its limits: as the list of vLLM and others tells them, else of OpenAI's own by the table.

        A model that is not in the list may be there all the same, as a deployment or under another name.
        """
        listed = read(Listing, answer, self.provider).data
        bare = bare_name(name)
        return self._limits(name, next((each for each in listed if each.id == bare), Described(id=bare)))

    def _limits(self, name: str, told: Described) -> Model | None:
        if window := told.max_model_len or told.context_length:
            return Model(name, beside_output(window), message_overhead=MESSAGE_OVERHEAD, context_window=window)
        found = _in_table(bare_name(name)) if self.provider == "openai" else None
        if found is None:
            return None
        window, output, most = found
        in_window = None if most else window
        limit = most or beside_output(window, output)
        return Model(name, limit, output, message_overhead=MESSAGE_OVERHEAD, context_window=in_window)

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


def _in_table(model: str) -> tuple[int, int, int | None] | None:
    """Return a model's limits by the table; a snapshot, or one that was tuned, has those of its model."""
    name = model.removeprefix("ft:").partition(":")[0]
    while name not in WINDOWS and (found := _SNAPSHOT.search(name)):
        name = name[: found.start()]
    return WINDOWS.get(name)


def _withheld(choice: Choice, text: Text) -> Iterator[Filter]:
    if text.refusal:
        yield Filter("REFUSAL", text.refusal)
    elif choice.finish_reason == "content_filter" and not text.content:
        yield Filter("SAFETY")


def _usage(counted: Counted | None) -> Usage | None:
    return None if counted is None else Usage(counted.prompt_tokens, counted.completion_tokens)
