"""Where a service is, with which key it is asked, and what its answers mean when they are none: pure, like a codec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import SplitResult, urlsplit

from convo.clients.language import Language
from convo.clients.wire import Outgoing, parsed
from convo.errors import BadModelResponse, InvalidInput, ServiceError

LOOPBACK = ("localhost", "127.0.0.1", "::1")

MAX_CODE, MAX_DETAIL = 100, 1000
"""How much of a service's own words for an error is kept, in characters."""

OK, MULTIPLE_CHOICES, BAD_REQUEST = 200, 300, 400
"""The beginnings of three classes of statuses: answers, redirects, errors (RFC 9110, section 15)."""


class Secret:
    """A key, which no repr, no pickle and no comparison shows."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Take a key.

        Raises:
            InvalidInput: no header can have it, as it is: that is not shown.
        """
        if not value or not value.isascii() or not value.isprintable() or value != value.strip():
            raise InvalidInput("the key has characters that no header can have: set it again, as it was given to you")
        self._value = value

    def __repr__(self) -> str:
        return "Secret('…')"

    def __reduce__(self) -> NoReturn:
        msg = "a key is not written down"
        raise TypeError(msg)

    def reveal(self) -> str:
        """Return the key itself."""
        return self._value


class Server:
    """Where a service is, and with which key it is asked."""

    def __init__(self, codec: Language, base_url: str, key: Secret | None = None) -> None:
        """Take the address of a service.

        Raises:
            InvalidInput: it is none, or a key would be sent to it in the clear.
        """
        found = split_url(base_url, codec.provider)
        if key is not None and found.scheme == "http" and found.hostname not in LOOPBACK:
            raise InvalidInput(f"the base URL of {codec.provider} must be https://…: a key goes with each request")
        self.codec = codec
        self._base, self._query, self._key = found._replace(query="", fragment="").geturl(), found.query, key

    def __repr__(self) -> str:
        return f"<{self.codec.provider} at {self._base}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Server) and self._same() == other._same()

    def __hash__(self) -> int:
        return hash(self._same())

    def _same(self) -> tuple[object, ...]:
        return self.codec, self._base, self._query, self._key.reveal() if self._key else None

    def request(self, outgoing: Outgoing) -> dict[str, Any]:
        """Return the arguments of httpx's build_request()."""
        path, _, query = outgoing.path.partition("?")
        queries = "&".join(each for each in (self._query, query) if each)
        headers = {"accept-encoding": "identity"}  # or a small body could become a very large one
        headers |= {} if outgoing.body is None else {"content-type": "application/json"}
        headers |= self.codec.headers(self._key.reveal() if self._key else None)
        return {
            "method": "GET" if outgoing.body is None else "POST",
            "url": self._base.rstrip("/") + path + (f"?{queries}" if queries else ""),
            "headers": headers,
            "content": outgoing.content,
        }

    def is_answer(self, status: int, headers: Mapping[str, str]) -> bool:
        """Return whether what comes is an answer; else check() tells what it is.

        Raises:
            BadModelResponse: it is packed, though nobody asked for that: it could become a very large one.
        """
        if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise BadModelResponse(f"{self.codec.provider} answered with a compressed body")
        return OK <= status < MULTIPLE_CHOICES

    def check(self, status: int, headers: Mapping[str, str], body: bytes) -> NoReturn:
        """Raise what an answer that is none tells of.

        Raises:
            ServiceError: the service says so.
            BadModelResponse: it sends us elsewhere.
        """
        if status < BAD_REQUEST:
            raise BadModelResponse(f"{self.codec.provider} answered with a redirect, not followed: HTTP {status}")
        try:
            told = parsed(body, self.codec.provider)
        except BadModelResponse:
            told = None
        error = self.shown(self.codec.error(status, told))
        error.retry_after_s = waiting_s(headers)
        if headers.get("x-should-retry") == "false":  # of OpenAI and Anthropic, as their own clients read it
            error.retryable = False
        raise error

    def shown(self, error: ServiceError) -> ServiceError:
        """Return an error as it may be shown: what the service says in it without the key, and not too long."""
        made = type(error)(
            self.codec.provider,
            error.status,
            code=error.code and self._without_key(error.code)[:MAX_CODE],
            detail=error.detail and self._without_key(error.detail)[:MAX_DETAIL],
        )
        made.retryable = error.retryable
        return made

    def _without_key(self, text: str) -> str:
        return text.replace(self._key.reveal(), "…") if self._key else text


def split_url(base_url: str, provider: str) -> SplitResult:
    """Return the parts of a service's address.

    Raises:
        InvalidInput: it is none; what it is instead is not told, as it may have a password.
    """
    try:
        found = urlsplit(base_url)
        labels = (found.hostname or "").removesuffix(".").split(".")  # of 63 letters at most (RFC 1035, section 2.3.4)
        is_one = found.scheme in ("http", "https") and found.port != 0 and all(0 < len(each) < 64 for each in labels)
    except ValueError:  # half an IPv6 address, or a port that is no number
        is_one = False
    if not is_one or found.username is not None or found.password is not None:
        raise InvalidInput(f"the base URL of {provider} must be http(s)://host…, without name or password")
    return found


def shown_url(base_url: str) -> str:
    """Return an address without what may be secret of it: its query, name and password."""
    try:
        found = urlsplit(base_url)
    except ValueError:
        return "no URL"
    if not found.scheme or not found.netloc:  # perhaps a key, in the wrong place
        return "no URL"
    return found._replace(netloc=found.netloc.rpartition("@")[2], query="", fragment="").geturl()


def waiting_s(headers: Mapping[str, str]) -> float | None:
    """Return how long a service asks to wait; OpenAI and Anthropic also tell it in milliseconds."""
    milliseconds = seconds(headers.get("retry-after-ms"))
    return seconds(headers.get("retry-after")) if milliseconds is None else milliseconds / 1000


def seconds(retry_after: str | None) -> float | None:
    """Return how long a service asks to wait; None when it does not say so in seconds (RFC 9110, section 10.2.3)."""
    if retry_after is None or not retry_after.strip().isascii() or not retry_after.strip().isdigit():
        return None
    return float(retry_after.strip()[:10])
