"""What codecs give to HTTP and take from it: plain values, so that each codec is a set of pure functions.

A body from outside is hostile until it was read: bytes that are no UTF-8, JSON of any depth, fields of any type.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from convo.clients.base import ChatReply, ChatRequest
from convo.errors import BadModelResponse, ConvoError
from convo.values import MODEL, Model, Usage

SSE, NDJSON = "sse", "ndjson"
"""How a streamed answer is framed: server-sent events (WHATWG HTML, 9.2), or a JSON object a line."""

MAX_LINE = 16 * 2**20
"""The longest line of a stream, and the longest event of several lines, in characters."""

_LINE_END = re.compile("\r\n|\r|\n")

STOP, LENGTH, FILTERED, TOOL = "stop", "length", "filtered", "tool"
"""Why an answer ends, in the words that all codecs share: of its own accord, at a limit of tokens, withheld in part by
the service, or to have a tool called. What a service calls otherwise keeps the service's word, in small letters."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request: POST with a JSON body, GET without one."""

    path: str
    """Below the base URL, with its query."""
    body: Mapping[str, Any] | None = None

    @property
    def content(self) -> bytes | None:
        """The bytes that are sent: nowhere else does a body become bytes. None without one."""
        if self.body is None:
            return None
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a streamed answer: its JSON text, and the name of the event if it has one."""

    data: str
    event: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of what a service lists."""

    models: tuple[Model, ...]
    """In its order; `input_token_limit` is 0 where it does not tell one."""
    next_mark: str | None = None
    """What the request for the next page is made with; None after the last one."""


MESSAGE_OVERHEAD = 4
"""Tokens that a service adds to each message for its role and its ends: 3 or 4 in the templates of open models and of
OpenAI's (https://github.com/openai/openai-cookbook, "How to count tokens"); others do not tell."""


def limited(name: str, limit: int, *, user_first: bool) -> Model:
    """Return a model whose service does not tell its limit: somebody else does, in tokens, or it is 0 in a list."""
    return Model(name, limit, message_overhead=MESSAGE_OVERHEAD, user_first=user_first)


def in_query(mark: str | None) -> str:
    """Return a mark that a service gave, as the value of a query's parameter."""
    return quote(mark or "", safe="", errors="replace")


def beside_output(window: int, output: int | None = None) -> int:
    """Return how much of one window is left for the input: what the longest answer leaves, or three quarters."""
    return max(window - (window // 4 if output is None else output), 1)


class Shape(BaseModel):
    """A part of a service's answer: what is read of it; whatever else there is, is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


def _as_count(told: Any) -> int | None:  # noqa: ANN401 - JSON from outside
    return told if isinstance(told, int) and not isinstance(told, bool) and 0 <= told < MAX_COUNT else None


MAX_COUNT = 2**31
"""Above what any service counts, and what both databases can hold."""

Count = Annotated[int | None, BeforeValidator(_as_count)]
"""A number of tokens; what can be none is None, as no answer is lost for it."""


IfObject = BeforeValidator(lambda told: told if isinstance(told, Mapping) else None)
"""Of what may be left out of an answer: it is None where something else stands in its place."""

AnyShape = TypeVar("AnyShape", bound=Shape)


def read(shape: type[AnyShape], answer: Any, where: str) -> AnyShape:  # noqa: ANN401 - JSON from outside
    """Return an answer in its shape.

    Raises:
        BadModelResponse: it has another. What was found is not told, as it may be somebody's text.
    """
    try:
        return shape.model_validate(answer)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise BadModelResponse(f"{where} answered in another shape: {place} ({first['type']})") from None


def parsed(body: bytes | str, where: str) -> Any:  # noqa: ANN401 - JSON from outside
    """Return what a body says, as JSON in UTF-8 (RFC 8259).

    Raises:
        BadModelResponse: it is no such thing, or nests too deep, or has a number that is none.
    """
    try:
        text = body if isinstance(body, str) else body.decode("utf-8-sig")
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise BadModelResponse(f"{where} did not answer with JSON in UTF-8 ({type(error).__name__})") from None


def _no_number(name: str) -> float:
    msg = f"{name} is no JSON"
    raise ValueError(msg)


def turns_of(request: ChatRequest, roles: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield role and text of examples, as turns, and then of the messages; `roles` are the user's and the model's."""
    for example in request.examples:
        yield roles[0], str(example.input)
        yield roles[1], str(example.output)
    for message in request.messages:
        yield roles[1 if message.side == MODEL else 0], str(message.content)


def folded(request: ChatRequest) -> ChatRequest:
    """Return a request whose examples are a part of the context, one below the other, and no turns."""
    if not request.examples:
        return request
    shown = [f"Input: {each.input}\nOutput: {each.output}" for each in request.examples]
    context = "\n\n".join([*([request.context] if request.context else []), "Answer as in these examples.", *shown])
    return replace(request, context=context, examples=())


def bare_name(name: str) -> str:
    """Return a model's name without its provider: what the service calls it."""
    return name.partition("/")[2] or name


class Frames:
    """Cuts the bytes of a stream into pieces, as they come."""

    def __init__(self, framing: str, where: str) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._is_sse, self._where = framing == SSE, where
        self._parts: list[str] = []
        """Of a line whose end has not come yet: joined once, or a long one would be copied with each chunk."""
        self._length = 0
        self._is_first = True
        self._has_held_cr = False
        self._data: list[str] = []
        self._held = 0
        """How many characters they have."""
        self._event = ""

    def feed(self, chunk: bytes, *, is_last: bool = False) -> Iterator[Piece]:
        """Yield the pieces that are complete now.

        Raises:
            BadModelResponse: the bytes are no UTF-8, or a line does not end.
        """
        try:
            text = self._decoder.decode(chunk, is_last)
        except UnicodeDecodeError:
            raise BadModelResponse(f"{self._where} streamed something else than UTF-8") from None
        if self._is_first and text:
            text, self._is_first = text.removeprefix("\ufeff"), False
        text = "\r" * self._has_held_cr + text
        self._has_held_cr = text.endswith("\r") and not is_last  # perhaps half of a line's end
        *ends, rest = _LINE_END.split(text.removesuffix("\r") if self._has_held_cr else text)
        for end in ends:
            line = "".join([*self._parts, end])
            self._parts, self._length = [], 0
            yield from self._line(line)
        self._parts.append(rest)
        self._length += len(rest)
        if self._length > MAX_LINE:
            raise BadModelResponse(f"{self._where} streamed a line of more than {MAX_LINE:,} characters")
        if is_last and not self._is_sse:
            yield from self._line("".join(self._parts))

    def _line(self, line: str) -> Iterator[Piece]:
        if not self._is_sse:
            if line.strip():
                yield Piece(line)
        elif not line:
            if self._data:
                yield Piece("\n".join(self._data), self._event)
            self._data, self._event, self._held = [], "", 0
        else:
            name, _, value = line.partition(":")
            if name == "data":
                self._data.append(value.removeprefix(" "))
                self._held += len(value)
                if self._held > MAX_LINE:
                    raise BadModelResponse(f"{self._where} streamed an event of more than {MAX_LINE:,} characters")
            elif name == "event":
                self._event = value.removeprefix(" ")


def known(reason: str | None, words: Mapping[str, str]) -> str | None:
    """Return why an answer ends, in the words that all codecs share where there is one."""
    return None if reason is None else words.get(reason, reason.lower())


Tried = ChatReply | ConvoError
"""What came of one of several requests."""


def together(tried: list[Tried]) -> ChatReply:
    """Return several answers as the candidates of one, with what all of them cost.

    Raises:
        ConvoError: the first one, when there is no answer.
    """
    replies = [each for each in tried if isinstance(each, ChatReply)]
    if not replies:
        raise next(each for each in tried if not isinstance(each, ChatReply))
    candidates = [candidate for each in replies for candidate in each.candidates]
    counted = [each.usage for each in replies if each.usage]
    return ChatReply(
        tuple(replace(each, index=index) for index, each in enumerate(candidates)),
        # The prompt is one, though it was paid for each time: its length is what the next one is sized by.
        Usage(counted[0].input_tokens, _sum([each.output_tokens for each in counted])) if counted else None,
        tuple(each for reply in replies for each in reply.filters),
        replies[0].served_by,
    )


def _sum(counts: list[int | None]) -> int | None:
    told = [each for each in counts if each is not None]
    return sum(told) if told else None
