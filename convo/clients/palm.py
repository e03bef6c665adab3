"""Google's PaLM: generateMessage, which `google.generativeai.chat` called.

The service was switched off in 2024; what stands at PALM_BASE_URL may still speak its language. Requests are those of
google-generativeai 0.7.2, as recorded from it. It does not stream, and has no limit for the length of an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from convo.clients.base import ChatReply, ChatRequest, Delta
from convo.clients.gemini import NAMES, Citations, Described, Listing, cited, resource
from convo.clients.language import Language
from convo.clients.wire import STOP, Outgoing, Page, Piece, Shape, in_query, read
from convo.errors import StreamCut
from convo.values import BlockedReason, Candidate, Filter, Model

QUERY = "?%24alt=json%3Benum-encoding%3Dint"
"""Has the service send the numbers of enumerations instead of their names."""

REASONS = dict(enumerate(BlockedReason))


class Said(Shape):
    """A message of an answer."""

    author: str = ""
    content: str = ""
    citations: Citations | None = Field(None, alias="citationMetadata")


class Withheld(Shape):
    """Why content was withheld: a reason by its number or its name."""

    reason: int | str = 0
    message: str | None = None


class Answer(Shape):
    """A whole answer."""

    candidates: tuple[Said, ...] = ()
    filters: tuple[Withheld, ...] = ()


class Tokens(Shape):
    """How many tokens a prompt has."""

    count: int = Field(alias="tokenCount")


@dataclass(frozen=True)
class Palm(Language):
    """The codec of generateMessage."""

    provider: str = "palm"

    can_stream = False

    def lacking(self) -> Sequence[str]:
        """Return what the service lacks."""
        return ("max_output_tokens", "stop_sequences")

    def gives_candidates(self, model: str) -> bool:  # noqa: ARG002 - whatever the model
        """Return True."""
        return True

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the key."""
        return {"x-goog-api-key": key} if key else {}

    def encode(self, request: ChatRequest, *, streamed: bool) -> Outgoing:  # noqa: ARG002 - it does not stream
        """Return the request for an answer."""
        given = self.accepted(request)
        body = {"prompt": _prompt(request), **{NAMES[name]: value for name, value in given.items()}}
        return Outgoing(f"/v1beta/{resource(request.model)}:generateMessage{QUERY}", body)

    def decode(self, answer: Any) -> ChatReply:  # noqa: ANN401 - JSON from outside
        """Return a whole answer."""
        told = read(Answer, answer, self.provider)
        candidates = tuple(
            Candidate(index, each.content, STOP, citation_metadata=cited(each.citations))
            for index, each in enumerate(told.candidates)
        )
        return ChatReply(candidates, filters=tuple(Filter(_reason(each.reason), each.message) for each in told.filters))

    def decode_event(self, piece: Piece) -> Iterator[Delta]:  # noqa: ARG002 - the signature of all codecs
        """Raise StreamCut: there are no events."""
        raise StreamCut(self.provider)

    def count(self, request: ChatRequest) -> Outgoing:
        """Return the request for how many tokens a prompt has."""
        return Outgoing(f"/v1beta/{resource(request.model)}:countMessageTokens{QUERY}", {"prompt": _prompt(request)})

    def counted(self, answer: Any) -> int:  # noqa: ANN401 - JSON from outside
        """Return how many tokens were counted."""
        return read(Tokens, answer, self.provider).count

    def describe(self, name: str) -> Outgoing:
        """Return the request for what a model is."""
        return Outgoing(f"/v1beta/{resource(name)}{QUERY}")

    def described(self, name: str, answer: Any) -> Model | None:  # noqa: ANN401 - JSON from outside
        """Return a model with its limits."""
        return read(Described, answer, self.provider).as_value(name, user_first=self.user_first)

    def catalog(self, mark: str | None) -> Outgoing:
        """Return the request for a page of the service's models, 1,000 being the most."""
        return Outgoing(f"/v1beta/models{QUERY}&pageSize=1000" + (f"&pageToken={in_query(mark)}" if mark else ""))

    def listed(self, answer: Any) -> Page:  # noqa: ANN401 - JSON from outside
        """Return those models of a page that chat: there are others."""
        return read(Listing, answer, self.provider).as_page(
            self.provider, "generateMessage", user_first=self.user_first
        )


def _reason(told: int | str) -> str:
    return told if isinstance(told, str) else REASONS.get(told, BlockedReason.OTHER)


def _prompt(request: ChatRequest) -> dict[str, Any]:
    return {
        **({"context": request.context} if request.context else {}),
        **({"examples": _examples(request)} if request.examples else {}),
        "messages": [{"author": each.author, "content": each.content} for each in request.messages],
    }


def _examples(request: ChatRequest) -> list[dict[str, Any]]:
    return [{"input": {"content": each.input}, "output": {"content": each.output}} for each in request.examples]
