"""The language of a service: what every codec has to say and to understand, and what most of them have in common."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from convo.clients.base import ChatReply, ChatRequest, Delta
from convo.clients.wire import Outgoing, Page, Piece
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
from convo.values import Model

MAX_CODE, MAX_DETAIL = 100, 1000
"""How much of a service's own words for an error is kept, in characters."""


SPENT = {"insufficient_quota", "billing_error", "enforced_spend_limit_reached"}
"""Words of services for a limit that time does not lift: of money."""


class Codec(Protocol):
    """The language of one service."""

    provider: str
    """As names of models begin."""
    framing: str
    """SSE or NDJSON."""
    can_stream: bool
    cuts_prompts: bool
    """Whether the service may leave out what is too long without a word."""
    undescribed: Any
    """What stands for the description of a model that the service does not have; None when it has no such model."""
    user_first: bool
    """Whether the first message of the window has to be the user's."""
    lists_limits: bool
    """Whether the list of models tells all that there is to know of their limits."""

    def gives_candidates(self, model: str) -> bool:
        """Return whether one request can ask a model for several candidates."""
        ...

    def headers(self, key: str | None) -> dict[str, str]:
        """Return what goes with each request, the key included."""
        ...

    def encode(self, request: ChatRequest, *, streamed: bool) -> Outgoing:
        """Return the request for an answer.

        Raises:
            InvalidParameter: the service has not such a parameter.
        """
        ...

    def decode(self, answer: Any) -> ChatReply:  # noqa: ANN401 - JSON from outside
        """Return a whole answer.

        Raises:
            BadModelResponse: it is none.
        """
        ...

    def decode_event(self, piece: Piece) -> Iterator[Delta]:
        """Yield what a piece of a streamed answer brings.

        Raises:
            BadModelResponse: it is none.
            ServiceError: it tells of an error.
        """
        ...

    def error(self, status: int, answer: Any) -> ServiceError:  # noqa: ANN401 - JSON from outside
        """Return the error that an answer tells of."""
        ...

    def count(self, request: ChatRequest) -> Outgoing | None:
        """Return the request for how many tokens a prompt has; None where the service does not count any."""
        ...

    def counted(self, answer: Any) -> int:  # noqa: ANN401 - JSON from outside
        """Return how many tokens the service counted.

        Raises:
            BadModelResponse: it did not.
        """
        ...

    def describe(self, name: str) -> Outgoing:
        """Return the request for what a model is."""
        ...

    def described(self, name: str, answer: Any) -> Model | None:  # noqa: ANN401 - JSON from outside
        """Return a model with its limits; None when the answer does not tell them."""
        ...

    def catalog(self, mark: str | None) -> Outgoing:
        """Return the request for a page of the service's models: the first one, or the one that a mark leads to."""
        ...

    def listed(self, answer: Any) -> Page:  # noqa: ANN401 - JSON from outside
        """Return what a page lists.

        Raises:
            BadModelResponse: it is none.
        """
        ...


@dataclass(frozen=True)
class Language:
    """What the services' languages have in common, unless one says otherwise."""

    provider: str
    """As names of models begin."""
    strict: bool = True
    """Whether a parameter that the service has not is an error."""

    too_long: ClassVar[tuple[str, ...]] = ()
    """Its words for a prompt that is, in small letters."""
    user_first: ClassVar[bool] = False
    lists_limits: ClassVar[bool] = True
    cuts_prompts: ClassVar[bool] = False
    undescribed: ClassVar[Any] = None

    def gives_candidates(self, model: str) -> bool:  # noqa: ARG002 - it may depend on the model
        """Return False: most services give one candidate a request."""
        return False

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the key as a bearer's token (RFC 6750)."""
        return {"authorization": f"Bearer {key}"} if key else {}

    def count(self, request: ChatRequest) -> Outgoing | None:  # noqa: ARG002 - some can
        """Return None: most services tell how long a prompt was when they have answered."""
        return None

    def counted(self, answer: Any) -> int:  # noqa: ANN401, ARG002 - JSON from outside
        """Raise BadModelResponse: nobody was asked."""
        raise BadModelResponse(f"{self.provider} counts no tokens")

    def error(self, status: int, answer: Any) -> ServiceError:  # noqa: ANN401 - JSON from outside
        """Return the error that an answer tells of."""
        return failure(self.provider, status, answer, too_long=self.too_long)


def accepted(request: ChatRequest, provider: str, lacks: Sequence[str], *, strict: bool) -> dict[str, Any]:
    """Return the request's parameters that are set, without those that the service lacks.

    Raises:
        InvalidParameter: one of them is asked for; when not `strict`, that is a warning.
    """
    given = request.parameters.as_dict()
    for name in lacks:
        if given.pop(name, None) is not None:
            told = f"{provider} has no {name}"
            if strict:
                raise InvalidParameter(
                    f"{told}: leave it out, or have it dropped: strict=False, or strict = false in the configuration"
                )
            warnings.warn(f"{told}: it is left out", stacklevel=2)
    return given


def failure(where: str, status: int, answer: Any, *, too_long: Sequence[str] = ()) -> ServiceError:  # noqa: ANN401 - JSON from outside
    """Return the error that a service's answer tells of; `too_long` are its words for a prompt that is.

    All services put it under "error": as a text, or with a message and one or more names for it; Gemini in a list, when
    it was to stream.
    """
    answer = answer[0] if isinstance(answer, list) and answer else answer
    told = answer.get("error", answer) if isinstance(answer, Mapping) else answer
    said = told if isinstance(told, Mapping) else {"message": told}
    names = [said[name] for name in ("code", "status", "type") if isinstance(said.get(name), str) and said[name]]
    detail = said["message"][:MAX_DETAIL] if isinstance(said.get("message"), str) else None
    kind = _kind(status, names)
    if status < 500 and any(word in text.lower() for word in too_long for text in (*names, detail or "")):
        kind = ContextLengthExceeded
    error = kind(where, status, code=names[0][:MAX_CODE] if names else None, detail=detail)
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
