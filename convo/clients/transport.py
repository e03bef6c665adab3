"""How a request goes over HTTP and its answer comes back, waited for or awaited. The only file that imports httpx.

With a deadline over all attempts, pauses and reads; again after failures that may pass; never past MAX_BODY, nor to
where a redirect points. What is sent, and what an answer means, is not known here.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from functools import partial
from typing import Any, TypeVar

import anyio
import httpx
from anyio.lowlevel import RunVar

from convo.clients.deadline import Bounded, Clock, until
from convo.clients.server import Server
from convo.clients.wire import Outgoing
from convo.errors import BadModelResponse, ConnectionFailed, InvalidInput, ModelError
from convo.retry import Retry

Result = TypeVar("Result")

MAX_BODY = 16 * 2**20
"""The largest answer that is read, in bytes: four times the longest text."""


DIRECT = [f"all://{host}" for host in ("localhost", "127.0.0.1", "[::1]")]
"""Where no proxy of the environment is used: a key may go there in the clear."""


class Transport:
    """Requests to a server that are waited for. Safe to share between threads; connections are kept."""

    def __init__(self, server: Server, retry: Retry, client: httpx.Client | None = None) -> None:
        self._server, self._retry, self._given = _usable(server), retry, client
        self._client: httpx.Client | None = None
        self._guard, self._process = threading.Lock(), os.getpid()

    def body(self, clock: Clock, outgoing: Outgoing) -> bytes:
        """Return the whole body of the answer.

        Raises:
            ModelError: there is none, or not within the clock's time.
        """
        with contextlib.closing(self._again(clock, partial(self._opened, clock, outgoing))) as response:
            return self._read(clock, response)  # not again: it was paid for

    def chunks(self, clock: Clock, outgoing: Outgoing) -> Generator[bytes, None, None]:
        """Yield the body of the answer as it comes, and b"" at its end; closed early, hang up.

        Raises:
            ModelError: there is none, or the next chunk does not come within the clock's time.
        """
        with contextlib.closing(self._again(clock, partial(self._opened, clock, outgoing))) as response:
            chunks = response.iter_bytes()
            chunk = b"first"
            while chunk:
                with _failing(self._server, clock), until(clock.until):
                    chunk = next(chunks, b"")
                yield chunk

    def close(self) -> None:
        """Close the connections, unless they are a client's that was passed in."""
        with self._guard:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _again(self, clock: Clock, attempt: Callable[[], Result]) -> Result:
        failures = 0
        while True:
            try:
                return attempt()
            except ModelError as error:
                failures += 1
                if (pause_s := clock.pause_s(self._retry, error, failures)) is None:
                    raise
                time.sleep(pause_s)

    def _opened(self, clock: Clock, outgoing: Outgoing) -> httpx.Response:
        """Send a request; return the answer whose body has still to be read."""
        client = self._sync()
        with _failing(self._server, clock), until(clock.until):
            request = client.build_request(timeout=clock.left_s, **self._server.request(outgoing))
            response = client.send(request, stream=True, follow_redirects=False)
        if self._server.is_answer(response.status_code, response.headers):
            return response
        with contextlib.closing(response):
            self._server.check(response.status_code, response.headers, self._read(clock, response))
        return response

    def _read(self, clock: Clock, response: httpx.Response) -> bytes:
        body, chunks = bytearray(), response.iter_bytes()
        while True:
            with _failing(self._server, clock), until(clock.until):
                chunk = next(chunks, b"")
            if not chunk:
                return bytes(body)
            body += chunk
            _check(self._server, clock, len(body))

    def _sync(self) -> httpx.Client:
        if self._given is not None:
            return self._given
        if self._process != os.getpid():  # its connections are the parent's, and somebody may have held the lock
            self._client, self._guard, self._process = None, threading.Lock(), os.getpid()
        with self._guard:
            if self._client is None:
                self._client = _bounded(httpx.Client(mounts=dict.fromkeys(DIRECT)))
            return self._client


class AsyncTransport:
    """The same requests, awaited; in each event loop there are connections of its own."""

    def __init__(self, server: Server, retry: Retry, client: httpx.AsyncClient | None = None) -> None:
        self._server, self._retry, self._given = server, retry, client
        self._of_loop: RunVar[httpx.AsyncClient | None] = RunVar("convo_http", None)

    async def body(self, clock: Clock, outgoing: Outgoing) -> bytes:
        """Return the whole body of the answer, as Transport.body() does."""
        response = await self._again(clock, partial(self._opened, clock, outgoing))
        try:
            return await self._read(clock, response)
        finally:
            await response.aclose()

    async def chunks(self, clock: Clock, outgoing: Outgoing) -> AsyncGenerator[bytes, None]:
        """Yield the body of the answer as Transport.chunks() does."""
        response = await self._again(clock, partial(self._opened, clock, outgoing))
        try:
            chunks = response.aiter_bytes()
            chunk = b"first"
            while chunk:
                chunk = await self._within(clock, partial(anext, chunks, b""))
                yield chunk
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Close the connections of this event loop, unless they are a client's that was passed in."""
        client = self._of_loop.get()
        self._of_loop.set(None)
        if client is not None:
            await client.aclose()

    async def _again(self, clock: Clock, attempt: Callable[[], Any]) -> Any:  # noqa: ANN401 - what is awaited
        failures = 0
        while True:
            try:
                return await attempt()
            except ModelError as error:
                failures += 1
                if (pause_s := clock.pause_s(self._retry, error, failures)) is None:
                    raise
                await anyio.sleep(pause_s)

    async def _opened(self, clock: Clock, outgoing: Outgoing) -> httpx.Response:
        client = self._awaited()
        request = client.build_request(timeout=max(clock.left_s, 0), **self._server.request(outgoing))
        response: httpx.Response = await self._within(
            clock, partial(client.send, request, stream=True, follow_redirects=False)
        )
        if self._server.is_answer(response.status_code, response.headers):
            return response
        try:
            self._server.check(response.status_code, response.headers, await self._read(clock, response))
        finally:
            await response.aclose()
        return response

    async def _read(self, clock: Clock, response: httpx.Response) -> bytes:
        body, chunks = bytearray(), response.aiter_bytes()
        while chunk := await self._within(clock, partial(anext, chunks, b"")):
            body += chunk
            _check(self._server, clock, len(body))
        return bytes(body)

    async def _within(self, clock: Clock, wait: Callable[[], Any]) -> Any:  # noqa: ANN401 - what is awaited
        """Wait, for what is left of the time."""
        with _failing(self._server, clock), anyio.move_on_after(clock.left_s):
            return await wait()
        raise clock.late()

    def _awaited(self) -> httpx.AsyncClient:
        if self._given is not None:
            return self._given
        client = self._of_loop.get()
        if client is None:
            self._of_loop.set(client := httpx.AsyncClient(mounts=dict.fromkeys(DIRECT)))
        return client


@contextlib.contextmanager
def _failing(server: Server, clock: Clock) -> Iterator[None]:
    """Let failures of the connection out as convo's; what httpx says would show the request, and its key."""
    if clock.left_s <= 0:
        raise clock.late()
    try:
        yield
    except httpx.HTTPError as error:
        raise _failed(server, clock, error) from None


def _failed(server: Server, clock: Clock, error: httpx.HTTPError) -> ModelError:
    if clock.left_s <= 0 or isinstance(error, httpx.TimeoutException):
        return clock.late()
    return ConnectionFailed(f"{server!r} could not be reached, or hung up ({type(error).__name__})")


def _usable(server: Server) -> Server:
    """Return a server whose address a request can be made for.

    Raises:
        InvalidInput: it has none such.
    """
    try:
        httpx.Request("GET", server.request(Outgoing("/"))["url"])
    except (httpx.InvalidURL, ValueError) as error:  # of its letters or its length
        told = f"the base URL of {server.codec.provider} is none that can be asked ({type(error).__name__})"
        raise InvalidInput(told) from None
    return server


def _check(server: Server, clock: Clock, size: int) -> None:
    if size > MAX_BODY:
        raise BadModelResponse(f"{server.codec.provider} answered with more than {MAX_BODY:,} bytes")
    if clock.left_s <= 0:
        raise clock.late()


def _bounded(client: httpx.Client) -> httpx.Client:
    """Let the client's blocking operations end with until(): httpx has no way to give it a backend of one's own."""
    for transport in {client._transport, *client._mounts.values()} - {None}:  # noqa: SLF001
        pool = transport._pool  # type: ignore[union-attr]  # noqa: SLF001
        pool._network_backend = Bounded(pool._network_backend)  # noqa: SLF001
    return client
