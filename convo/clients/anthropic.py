"""Anthropic's messages.

https://docs.claude.com/en/api/messages and /en/build-with-claude/streaming (read November 2026). The context is its
`system`; examples are turns before the window, which has to begin with the user. It gives one candidate a request, and
wants to be told how long an answer may be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

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
    in_query,
    known,
    limited,
    parsed,
    read,
    turns_of,
)
from convo.errors import BadModelResponse, InvalidParameter
from convo.values import Candidate, Filter, Model, Parameters, Usage

VERSION = "2023-06-01"
"""Of the API: the only one that there is; later changes are opted into one by one."""

DEFAULT_OUTPUT = 4096
"""The most tokens of an answer when nobody says how many: the service takes no request without a number."""

ENDS = {
    "end_turn": STOP,
    "stop_sequence": STOP,
    "max_tokens": LENGTH,
    "model_context_window_exceeded": LENGTH,
    "tool_use": TOOL,
    "refusal": FILTERED,
}

TOO_LONG = ("prompt is too long", "exceed context limit")
"""There is no code for it, but in the message of an invalid_request_error."""


class Block(Shape):
    """A part of an answer; only texts are read."""

    type: str = ""
    text: str = ""


class Counted(Shape):
    """What an answer cost so far. What is read from a cache, or written to it, counts as input."""

    input_tokens: Count = None
    cache_creation_input_tokens: Count = None
    cache_read_input_tokens: Count = None
    output_tokens: Count = None


class Answer(Shape):
    """A whole answer, or its head in a stream."""

    content: tuple[Block, ...] = ()
    stop_reason: str | None = None
    usage: Annotated[Counted | None, IfObject] = None
    model: str | None = None


class Change(Shape):
    """What an event adds."""

    type: str = ""
    text: str = ""
    stop_reason: str | None = None


class Event(Shape):
    """An event of a stream."""

    type: str = ""
    message: Answer | None = None
    delta: Change = Change()
    usage: Annotated[Counted | None, IfObject] = None


class Tokens(Shape):
    """How many tokens a prompt has."""

    input_tokens: int


class Described(Shape):
    """What a model is."""

    display_name: str = ""
    max_input_tokens: Count = None
    max_tokens: Count = None


class Listed(Described):
    """A model of the list."""

    id: str


class Listing(Shape):
    """A page of the list."""

    data: tuple[Listed, ...]
    has_more: bool = False
    last_id: str | None = None


@dataclass(frozen=True)
class Anthropic(Language):
    """The codec of messages."""

    provider: str = "anthropic"

    too_long = TOO_LONG
    user_first = True

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the key, and the version of the API."""
        return {"anthropic-version": VERSION, **({"x-api-key": key} if key else {})}

    def check(self, parameters: Parameters) -> None:
        """Raise InvalidParameter for a temperature above 1, too, which the service has not."""
        Language.check(self, parameters)
        if parameters.temperature is not None and parameters.temperature > 1:
            raise InvalidParameter(f"{self.provider} takes a temperature within [0, 1], not {parameters.temperature}")

    def encode(self, request: ChatRequest, *, streamed: bool) -> Outgoing:
        """Return the request for one candidate."""
        given = self.accepted(request)
        given.pop("candidate_count", None)
        body = _prompt(request) | {"max_tokens": given.pop("max_output_tokens", DEFAULT_OUTPUT), **given}
        return Outgoing("/v1/messages", body | ({"stream": True} if streamed else {}))

    def decode(self, answer: Any) -> ChatReply:  # noqa: ANN401 - JSON from outside
        """Return a whole answer."""
        told = read(Answer, answer, self.provider)
        if not told.content and told.stop_reason is None:
            raise BadModelResponse(f"{self.provider} answered with no content, and no word why")
        text = "".join(each.text for each in told.content if each.type == "text")
        end = known(told.stop_reason, ENDS)
        candidates = (Candidate(0, text, end),) if text else ()
        return ChatReply(candidates, _usage(told.usage), _withheld(end, text), told.model)

    def decode_event(self, piece: Piece) -> Iterator[Delta]:
        """Yield what an event brings: who answers and the input's tokens, text, then why it ends and what it cost."""
        answer = parsed(piece.data, self.provider)
        told = read(Event, answer, self.provider)
        if told.type == "error":
            raise self.error(200, answer)
        if told.type == "message_start" and told.message is not None:
            yield Delta(usage=_usage(told.message.usage), served_by=told.message.model)
        elif told.type == "content_block_delta" and told.delta.type == "text_delta":
            yield Delta(told.delta.text)
        elif told.type == "message_delta":
            end = known(told.delta.stop_reason, ENDS)
            yield Delta(finish_reason=end, usage=_usage(told.usage), filters=_withheld(end, ""))

    def count(self, request: ChatRequest) -> Outgoing:
        """Return the request for how many tokens a prompt has."""
        return Outgoing("/v1/messages/count_tokens", _prompt(request))

    def counted(self, answer: Any) -> int:  # noqa: ANN401 - JSON from outside
        """Return how many tokens were counted."""
        return read(Tokens, answer, self.provider).input_tokens

    def describe(self, name: str) -> Outgoing:
        """Return the request for what a model is."""
        return Outgoing(f"/v1/models/{quote(bare_name(name), safe='')}")

    def described(self, name: str, answer: Any) -> Model | None:  # noqa: ANN401 - JSON from outside
        """Return a model with its limits; None where the service does not tell them."""
        return self._limits(name, read(Described, answer, self.provider))

    def _limits(self, name: str, told: Described) -> Model | None:
        if not told.max_input_tokens:
            return None
        return Model(
            name,
            told.max_input_tokens,
            told.max_tokens,
            told.display_name,
            message_overhead=MESSAGE_OVERHEAD,
            user_first=True,
        )

    def catalog(self, mark: str | None) -> Outgoing:
        """Return the request for a page of the service's models, 1,000 being the most; a mark is a model's id."""
        return Outgoing("/v1/models?limit=1000" + (f"&after_id={in_query(mark)}" if mark else ""))

    def listed(self, answer: Any) -> Page:  # noqa: ANN401 - JSON from outside
        """Return what a page lists."""
        told = read(Listing, answer, self.provider)
        named = [(f"{self.provider}/{each.id}", each) for each in told.data]
        models = (self._limits(name, each) or limited(name, 0, user_first=self.user_first) for name, each in named)
        return Page(tuple(models), told.last_id if told.has_more else None)


def _prompt(request: ChatRequest) -> dict[str, Any]:
    return {
        "model": bare_name(request.model),
        "messages": [{"role": role, "content": text} for role, text in turns_of(request, ("user", "assistant"))],
        **({"system": request.context} if request.context else {}),
    }


def _withheld(end: str | None, text: str) -> tuple[Filter, ...]:
    return (Filter("REFUSAL"),) if end == FILTERED and not text else ()


def _usage(counted: Counted | None) -> Usage | None:
    if counted is None:
        return None
    parts = (counted.input_tokens, counted.cache_creation_input_tokens, counted.cache_read_input_tokens)
    told = [each for each in parts if each is not None]
    return Usage(sum(told) if told else None, counted.output_tokens)
