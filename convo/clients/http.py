"""Models over HTTP: a codec, a server and a key make a client. The only file that imports httpx.

What is asked for is decided by the codec, and what an answer means as well; here is waited: with a deadline over all
attempts, pauses and reads; again after failures that may pass; never past 16 MiB, nor to where a redirect points.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import anyio
import httpx
from anyio.lowlevel import RunVar

from convo.clients.base import ChatReply, ChatRequest, Delta
from convo.clients.deadline import Bounded, Clock, until
from convo.clients.pages import all_of
from convo.clients.server import Server
from convo.clients.wire import Frames, Outgoing, Page, as_pieces, limited, parsed, together
from convo.errors import (
    BadModelResponse,
    ConnectionFailed,
    LimitUnknown,
    ModelError,
    ModelNotFound,
    ServiceError,
)
from convo.retry import Retry
from convo.values import Model

Result = TypeVar("Result")

MAX_BODY = 16 * 2**20
"""The largest answer that is read, in bytes: four times the longest text."""

RETRY = Retry(attempts=3, initial_s=0.5, multiplier=2.0, maximum_s=8.0)
"""When a request is made again, if nobody says otherwise."""


LIMITS_S = 30.0
"""How long a service may take to tell what a model is."""

NOT_FOUND = 404


class HttpClient:
    """A service over HTTP: waited for or awaited, whole or in pieces. Safe to share between threads.

    Connections are kept and used again; in each event loop there are connections of its own.
    """

    def __init__(
        self,
        server: Server,
        limits: Callable[[str], Model] | None = None,
        *,
        retry: Retry = RETRY,
        client: httpx.Client | None = None,
        async_client: httpx.AsyncClient | None = None,
    ) -> None:
        """Call `server`; `limits` tells those of a model, else the service is asked for them, once.

        A caller's own `client` or `async_client` is used as it is: its proxies, certificates and limits are his affair.
        Without one redirects are not followed, and certificates are checked.
        """
        self._server, self._codec = server, server.codec
        self._limits, self._retry = limits or self._described, retry
        self._models: dict[str, Model] = {}
        self._given, self._async_given = client, async_client
        self._client: httpx.Client | None = None
        self._of_loop: RunVar[httpx.AsyncClient] = RunVar("convo_http")
        self._guard = threading.Lock()

    def __repr__(self) -> str:
        return f"<HttpClient of {self._server!r}>"

    def get_model(self, name: str) -> Model:
        """Return the model's limits.

        Raises:
            ModelNotFound: the service has no such model.
            LimitUnknown: it does not tell them.
            ModelError: it cannot be asked.
        """
        return self._limits(name)

    def with_limit(self, name: str, limit: int) -> Model:
        """Return a model whose limit the service need not be asked for; what else it adds to a prompt is known."""
        return limited(name, limit, user_first=self._codec.user_first)

    def list_models(self) -> list[Model]:
        """Return the service's models, in its order; `input_token_limit` is 0 where nobody tells one.

        Within LIMITS_S seconds over all requests.

        Raises:
            ModelError: it cannot be asked, or answers with something else.
        """
        clock = self._clock(LIMITS_S)
        listed = all_of(partial(self._page, clock), self._codec.provider)
        return [self._with_limits(clock, each) for each in listed]

    def check(self, deadline_s: float) -> int:
        """Ask for the beginning of the service's list, within `deadline_s` seconds; return how many models it has.

        Raises:
            ModelError: it does not answer, or not to this key.
        """
        return len(self._page(self._clock(deadline_s), None).models)

    def chat(self, request: ChatRequest, *, deadline_s: float) -> ChatReply:
        """Answer `request`, within `deadline_s` seconds over all attempts."""
        clock, asked = self._clock(deadline_s), self._one_by_one(request)
        if len(asked) == 1:
            return self._whole(clock, request)
        with ThreadPoolExecutor(len(asked), "convo candidate") as threads:
            tried = [threads.submit(self._whole, clock, each) for each in asked]
        return together([_outcome(each.result) for each in tried])

    async def chat_async(self, request: ChatRequest, *, deadline_s: float) -> ChatReply:
        """Answer as chat() does, and let others run meanwhile."""
        clock, asked = self._clock(deadline_s), self._one_by_one(request)
        if len(asked) == 1:
            return await self._whole_async(clock, request)
        tried: list[ChatReply | ModelError] = []

        async def one(each: ChatRequest) -> None:
            try:
                tried.append(await self._whole_async(clock, each))
            except ModelError as error:
                tried.append(error)

        async with anyio.create_task_group() as group:
            for each in asked:
                group.start_soon(one, each)
        return together(tried)

    def stream(self, request: ChatRequest, *, deadline_s: float) -> Iterator[Delta]:
        """Yield the answer to `request`, each piece within `deadline_s` seconds; closed early, hang up."""
        if not self._can_stream(request):
            yield from as_pieces(self.chat(request, deadline_s=deadline_s))
            return
        clock, outgoing = self._clock(deadline_s), self._codec.encode(request, streamed=True)
        frames = Frames(self._codec.framing, self._codec.provider)
        with contextlib.closing(self._again(clock, partial(self._opened, clock, outgoing))) as response:
            chunks = response.iter_bytes()
            while True:
                with self._failing(clock), until(clock.until):
                    chunk = next(chunks, b"")
                for piece in frames.feed(chunk, is_last=not chunk):
                    for delta in self._codec.decode_event(piece):
                        yield delta
                        if delta.text:  # or a service that says nothing, again and again, would be heard for ever
                            clock.restart()
                if not chunk:
                    return

    async def stream_async(self, request: ChatRequest, *, deadline_s: float) -> AsyncIterator[Delta]:
        """Yield the answer as stream() does, and let others run meanwhile."""
        if not self._can_stream(request):
            for delta in as_pieces(await self.chat_async(request, deadline_s=deadline_s)):
                yield delta
            return
        clock, outgoing = self._clock(deadline_s), self._codec.encode(request, streamed=True)
        frames = Frames(self._codec.framing, self._codec.provider)
        response = await self._again_async(clock, partial(self._opened_async, clock, outgoing))
        try:
            chunks = response.aiter_bytes()
            while True:
                chunk = await self._within(clock, partial(anext, chunks, b""))
                for piece in frames.feed(chunk, is_last=not chunk):
                    for delta in self._codec.decode_event(piece):
                        yield delta
                        if delta.text:  # or a service that says nothing, again and again, would be heard for ever
                            clock.restart()
                if not chunk:
                    return
        finally:
            await response.aclose()

    def close(self) -> None:
        """Close the connections of chat() and stream(), unless they are a client's that was passed in."""
        with self._guard:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close the connections of this event loop, unless they are a client's that was passed in."""
        with contextlib.suppress(LookupError):
            await self._of_loop.get().aclose()

    def _described(self, name: str) -> Model:
        if name not in self._models:
            self._models[name] = self._asked(self._clock(LIMITS_S), name)
        return self._models[name]

    def _asked(self, clock: Clock, name: str) -> Model:
        """Ask what a model is."""
        try:
            told = self._told(clock, self._codec.describe(name))
        except ServiceError as error:
            if error.status == NOT_FOUND:
                raise ModelNotFound(name, [f"what {self._codec.provider} has"]) from None
            raise
        model = self._codec.described(name, told)
        if model is None:
            raise LimitUnknown(name)
        return model

    def _page(self, clock: Clock, mark: str | None) -> Page:
        return self._codec.listed(self._told(clock, self._codec.catalog(mark)))

    def _with_limits(self, clock: Clock, model: Model) -> Model:
        """Return a listed model with its limits, which the service may have to be asked for one by one."""
        if self._codec.lists_limits:
            return model
        try:
            return self._asked(clock, model.name)
        except (LimitUnknown, ModelNotFound):  # it may have been deleted meanwhile
            return model

    # ---- one answer, waited for

    def _whole(self, clock: Clock, request: ChatRequest) -> ChatReply:
        return self._codec.decode(self._told(clock, self._codec.encode(request, streamed=False)))

    def _told(self, clock: Clock, outgoing: Outgoing) -> Any:  # noqa: ANN401 - JSON from outside
        body = self._again(clock, partial(self._body, clock, outgoing))
        return parsed(body, self._codec.provider)

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

    def _body(self, clock: Clock, outgoing: Outgoing) -> bytes:
        with contextlib.closing(self._opened(clock, outgoing)) as response:
            return self._read(clock, response)

    def _opened(self, clock: Clock, outgoing: Outgoing) -> httpx.Response:
        """Send a request; return the answer whose body has still to be read."""
        client = self._sync()
        with self._failing(clock), until(clock.until):
            request = client.build_request(timeout=clock.left_s, **self._server.request(outgoing))
            response = client.send(request, stream=True)
        if self._server.is_answer(response.status_code, response.headers):
            return response
        with contextlib.closing(response):
            self._server.check(response.status_code, response.headers, self._read(clock, response))
        return response

    def _read(self, clock: Clock, response: httpx.Response) -> bytes:
        body, chunks = bytearray(), response.iter_bytes()
        while True:
            with self._failing(clock), until(clock.until):
                chunk = next(chunks, b"")
            if not chunk:
                return bytes(body)
            body += chunk
            self._check(clock, len(body))

    @contextlib.contextmanager
    def _failing(self, clock: Clock) -> Iterator[None]:
        """Let failures of the connection out as convo's; what httpx says would show the request, and its key."""
        if clock.left_s <= 0:
            raise clock.late()
        try:
            yield
        except httpx.HTTPError as error:
            raise self._failed(clock, error) from None

    def _sync(self) -> httpx.Client:
        if self._given is not None:
            return self._given
        with self._guard:
            if self._client is None:
                self._client = _bounded(httpx.Client())
            return self._client

    # ---- the same, awaited

    async def _whole_async(self, clock: Clock, request: ChatRequest) -> ChatReply:
        outgoing = self._codec.encode(request, streamed=False)
        body = await self._again_async(clock, partial(self._body_async, clock, outgoing))
        return self._codec.decode(parsed(body, self._codec.provider))

    async def _again_async(self, clock: Clock, attempt: Callable[[], Any]) -> Any:  # noqa: ANN401 - what is awaited
        failures = 0
        while True:
            try:
                return await attempt()
            except ModelError as error:
                failures += 1
                if (pause_s := clock.pause_s(self._retry, error, failures)) is None:
                    raise
                await anyio.sleep(pause_s)

    async def _body_async(self, clock: Clock, outgoing: Outgoing) -> bytes:
        response = await self._opened_async(clock, outgoing)
        try:
            return await self._read_async(clock, response)
        finally:
            await response.aclose()

    async def _opened_async(self, clock: Clock, outgoing: Outgoing) -> httpx.Response:
        client = self._awaited()
        request = client.build_request(timeout=max(clock.left_s, 0), **self._server.request(outgoing))
        response: httpx.Response = await self._within(clock, partial(client.send, request, stream=True))
        if self._server.is_answer(response.status_code, response.headers):
            return response
        try:
            self._server.check(response.status_code, response.headers, await self._read_async(clock, response))
        finally:
            await response.aclose()
        return response

    async def _read_async(self, clock: Clock, response: httpx.Response) -> bytes:
        body, chunks = bytearray(), response.aiter_bytes()
        while chunk := await self._within(clock, partial(anext, chunks, b"")):
            body += chunk
            self._check(clock, len(body))
        return bytes(body)

    async def _within(self, clock: Clock, wait: Callable[[], Any]) -> Any:  # noqa: ANN401 - what is awaited
        """Wait, for what is left of the time."""
        with self._failing(clock), anyio.move_on_after(clock.left_s):
            return await wait()
        raise clock.late()

    def _awaited(self) -> httpx.AsyncClient:
        if self._async_given is not None:
            return self._async_given
        try:
            return self._of_loop.get()
        except LookupError:
            self._of_loop.set(client := httpx.AsyncClient())
            return client

    # ---- what both decide

    def _clock(self, deadline_s: float) -> Clock:
        return Clock(self._codec.provider, deadline_s)

    def _can_stream(self, request: ChatRequest) -> bool:
        return self._codec.can_stream and len(self._one_by_one(request)) == 1

    def _one_by_one(self, request: ChatRequest) -> list[ChatRequest]:
        """Return the requests that give all candidates: as many as those, where a service gives one at a time."""
        count = request.parameters.candidate_count or 1
        if self._codec.has_candidates or count == 1:
            return [request]
        return [replace(request, parameters=replace(request.parameters, candidate_count=1))] * count

    def _check(self, clock: Clock, size: int) -> None:
        if size > MAX_BODY:
            raise BadModelResponse(f"{self._codec.provider} answered with more than {MAX_BODY:,} bytes")
        if clock.left_s <= 0:
            raise clock.late()

    def _failed(self, clock: Clock, error: httpx.HTTPError) -> ModelError:
        if clock.left_s <= 0 or isinstance(error, httpx.TimeoutException):
            return clock.late()
        return ConnectionFailed(f"{self._server!r} could not be reached, or hung up ({type(error).__name__})")


def _bounded(client: httpx.Client) -> httpx.Client:
    """Let the client's blocking operations end at a deadline(): httpx has no way to give it a backend of one's own."""
    for transport in {client._transport, *client._mounts.values()} - {None}:  # noqa: SLF001
        pool = transport._pool  # type: ignore[union-attr]  # noqa: SLF001
        pool._network_backend = Bounded(pool._network_backend)  # noqa: SLF001
    return client


def _outcome(result: Callable[[], ChatReply]) -> ChatReply | ModelError:
    try:
        return result()
    except ModelError as error:
        return error
