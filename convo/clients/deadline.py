"""A deadline over all attempts, pauses and operations of a request together.

httpx bounds each operation by itself: a server that sends a byte a second would be waited for without an end, in its
headers and in its body. So the streams below it give each operation no more than what is left.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import httpcore

from convo.errors import BadModelResponse, CallTimedOut, ModelError, ServiceError
from convo.retry import Retry


class Clock:
    """How long an answer may still take."""

    def __init__(self, provider: str, deadline_s: float) -> None:
        self._provider, self._deadline_s = provider, deadline_s
        self.restart()

    def restart(self) -> None:
        """Let the time begin anew: a piece of a stream has come."""
        self.until = time.monotonic() + self._deadline_s

    def hurry(self, within_s: float) -> None:
        """Leave no more than `within_s` seconds: everything has come but the end."""
        self.until = min(self.until, time.monotonic() + within_s)

    @property
    def left_s(self) -> float:
        """What is left, in seconds."""
        return self.until - time.monotonic()

    def late(self) -> CallTimedOut:
        """Return the error for an answer that did not come in time."""
        return CallTimedOut(self._provider, self._deadline_s)

    def pause_s(self, policy: Retry, error: ModelError, failures: int) -> float | None:
        """Return how long to wait before the next attempt; None when there is to be none."""
        may_pass = error.retryable and not isinstance(error, BadModelResponse)  # which was an answer, and paid for
        pause_s = policy.pause_s(failures) if may_pass else None
        if pause_s is None:
            return None
        pause_s = max(pause_s, (isinstance(error, ServiceError) and error.retry_after_s) or 0)
        return pause_s if pause_s < self.left_s else None


SLICE = 16 * 1024
"""How many bytes are written before the time is looked at again."""

_UNTIL: ContextVar[float] = ContextVar("convo_deadline")
"""Until when, by time.monotonic(), the operations of this thread may last."""


@contextlib.contextmanager
def until(moment: float) -> Iterator[None]:
    """Let all operations in here end at `moment`, by time.monotonic(), with httpcore's own timeouts."""
    token = _UNTIL.set(moment)
    try:
        yield
    finally:
        _UNTIL.reset(token)


def _left_s(timeout: float | None, error: type[Exception]) -> float | None:
    """Return how long an operation may take, of which httpx says `timeout`."""
    try:
        left_s = _UNTIL.get() - time.monotonic()
    except LookupError:
        return timeout
    if left_s <= 0:
        raise error
    return left_s if timeout is None else min(left_s, timeout)


class Bounded(httpcore.NetworkBackend):
    """Makes connections whose operations end at the deadline."""

    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect; raises httpcore.ConnectTimeout at the deadline, however many addresses the host has."""
        try:
            found = dict.fromkeys(each[4][0] for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"no address of that name ({type(error).__name__})") from None
        failure: Exception = httpcore.ConnectError("the name has no address")
        for address in found:
            left_s = _left_s(timeout, httpcore.ConnectTimeout)
            try:
                stream = self._backend.connect_tcp(str(address), port, left_s, local_address, socket_options)
            except httpcore.ConnectError as error:
                failure = error
            else:
                return _Stream(stream)
        raise failure

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        """Connect; raises httpcore.ConnectTimeout at the deadline."""
        timeout = _left_s(timeout, httpcore.ConnectTimeout)
        return _Stream(self._backend.connect_unix_socket(path, timeout, socket_options))

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        self._backend.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left_s(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write: in slices, as httpcore gives each of the system's writes the whole time."""
        for start in range(0, len(buffer), SLICE):
            self._stream.write(buffer[start : start + SLICE], _left_s(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        timeout = _left_s(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's signature
        return self._stream.get_extra_info(info)
