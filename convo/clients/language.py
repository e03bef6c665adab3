"""The language of a service: what every codec has to say and to understand, and what most of them have in common."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from convo.clients.base import ChatReply, ChatRequest, Delta
from convo.clients.wire import SSE, Outgoing, Page, Piece
from convo.errors import (
    AuthenticationFailed,
    BadModelResponse,
    BadRequest,
    ContextLengthExceeded,
    InvalidParameter,
    RateLimited,
    ServerFailed,
    ServiceError,
)
from convo.values import Model, Parameters

SPENT = {"insufficient_quota", "billing_error", "enforced_spend_limit_reached"}
"""Words of services for a limit that time does not lift: of money."""


@dataclass(frozen=True)
class Language(ABC):
    """The language of a service: pure functions, with what most services have in common."""

    provider: str
    """As names of models begin."""
    strict: bool = True
    """Whether a parameter that the service has not is an error."""

    framing: ClassVar[str] = SSE
    """SSE or NDJSON."""
    can_stream: ClassVar[bool] = True
    user_first: ClassVar[bool] = False
    """Whether the first message of the window has to be the user's."""
    cuts_prompts: ClassVar[bool] = False
    """Whether the service may leave out what is too long without a word."""
    too_long: ClassVar[tuple[str, ...]] = ()
    """Its words for a prompt that is, in small letters."""
    last: ClassVar[str | None] = None
    """What the last piece of a stream says instead of JSON; None where the stream's end is the end."""
    lists_limits: ClassVar[bool] = True
    """Whether the list of models tells all that there is to know of their limits."""
    undescribed: ClassVar[Any] = None
    """What stands for a description that the service does not give; None when it has no such model then."""

    def lacking(self) -> Sequence[str]:
        """Return the parameters that the service has not."""
        return ()

    def check(self, parameters: Parameters) -> None:
        """Raise InvalidParameter for a parameter that the service has not, unless such are dropped."""
        for name in self.lacking() if self.strict else ():
            if getattr(parameters, name) is not None:
                raise InvalidParameter(
                    f"{self.provider} has no {name}: leave it out, or have it dropped: strict=False, or "
                    "strict = false in the configuration"
                )

    def had(self, parameters: Parameters) -> Parameters:
        """Return the parameters without those that the service has not, where such are dropped."""
        return parameters if self.strict else replace(parameters, **dict.fromkeys(self.lacking()))

    def accepted(self, request: ChatRequest) -> dict[str, Any]:
        """Return the request's parameters that are set; one that the service has not is dropped, with a warning.

        Raises:
            InvalidParameter: as check().
        """
        self.check(request.parameters)
        given = request.parameters.as_dict()
        for name in self.lacking():
            if given.pop(name, None) is not None:
                warnings.warn(f"{self.provider} has no {name}: it is left out", stacklevel=2)
        return given

    def gives_candidates(self, model: str) -> bool:  # noqa: ARG002 - it may depend on the model
        """Return whether one request can ask a model for several candidates: most cannot."""
        return False

    def headers(self, key: str | None) -> dict[str, str]:
        """Return what goes with each request: the key as a bearer's token (RFC 6750)."""
        return {"authorization": f"Bearer {key}"} if key else {}

    @abstractmethod
    def encode(self, request: ChatRequest, *, streamed: bool) -> Outgoing:
        """Return the request for an answer.

        Raises:
            InvalidParameter: as check().
        """

    @abstractmethod
    def decode(self, answer: Any) -> ChatReply:  # noqa: ANN401 - JSON from outside
        """Return a whole answer.

        Raises:
            BadModelResponse: it is none.
        """

    @abstractmethod
    def decode_event(self, piece: Piece) -> Iterator[Delta]:
        """Yield what a piece of a streamed answer brings.

        Raises:
            BadModelResponse: it is none.
            ServiceError: it tells of an error.
        """

    def error(self, status: int, answer: Any) -> ServiceError:  # noqa: ANN401 - JSON from outside
        """Return the error that an answer tells of."""
        return failure(self.provider, status, answer, too_long=self.too_long)

    def count(self, request: ChatRequest) -> Outgoing | None:  # noqa: ARG002 - some can
        """Return the request for how many tokens a prompt has; None where the service tells that with the answer."""
        return None

    def counted(self, answer: Any) -> int:  # noqa: ANN401, ARG002 - JSON from outside
        """Return how many tokens the service counted.

        Raises:
            BadModelResponse: it did not.
        """
        raise BadModelResponse(f"{self.provider} counts no tokens")

    @abstractmethod
    def describe(self, name: str) -> Outgoing:
        """Return the request for what a model is."""

    @abstractmethod
    def described(self, name: str, answer: Any) -> Model | None:  # noqa: ANN401 - JSON from outside
        """Return a model with its limits; None when the answer does not tell them."""

    @abstractmethod
    def catalog(self, mark: str | None) -> Outgoing:
        """Return the request for a page of the service's models: the first one, or the one that a mark leads to."""

    @abstractmethod
    def listed(self, answer: Any) -> Page:  # noqa: ANN401 - JSON from outside
        """Return what a page lists.

        Raises:
            BadModelResponse: it is none.
        """


def failure(where: str, status: int, answer: Any, *, too_long: Sequence[str] = ()) -> ServiceError:  # noqa: ANN401 - JSON from outside
    """Return the error that a service's answer tells of; `too_long` are its words for a prompt that is.

    The status decides, but for those words: most services have no status and no code of their own for that.
    All services put it under "error": as a text, or with a message and one or more names for it; Gemini in a list, when
    it was to stream.
    """
    answer = answer[0] if isinstance(answer, list) and answer else answer
    told = answer.get("error", answer) if isinstance(answer, Mapping) else answer
    said = told if isinstance(told, Mapping) else {"message": told}
    names = [said[name] for name in ("code", "status", "type") if isinstance(said.get(name), str) and said[name]]
    detail = said["message"] if isinstance(said.get("message"), str) else None
    kind = _kind(status, names)
    if status < 500 and any(word in text.lower() for word in too_long for text in (*names, detail or "")):
        kind = ContextLengthExceeded
    error = kind(where, status, code=names[0] if names else None, detail=detail)
    if SPENT.intersection(names):
        error.retryable = False
    return error


def _kind(status: int, names: Sequence[str]) -> type[ServiceError]:
    if status in _KINDS:
        return _KINDS[status]
    if 400 <= status < 500:
        return BadRequest
    return RateLimited if "rate_limit_error" in names else ServerFailed


_KINDS: dict[int, type[ServiceError]] = {
    401: AuthenticationFailed,
    403: AuthenticationFailed,
    408: ServerFailed,
    429: RateLimited,
}
