"""Models over HTTP: a codec, a server and a key make a client.

What is asked for is decided by the codec, and what an answer means as well; `transport` waits.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from convo.clients.base import LIMITS_S, ChatReply, ChatRequest, Delta, Posted, as_pieces
from convo.clients.deadline import Clock
from convo.clients.pages import all_of
from convo.clients.server import Server
from convo.clients.transport import AsyncTransport, Transport
from convo.clients.wire import Frames, Outgoing, Page, Piece, Tried, folded, limited, parsed, together
from convo.errors import (
    BadModelResponse,
    BadRequest,
    ConvoError,
    LimitUnknown,
    ModelNotFound,
    PromptCutWarning,
    ServiceError,
)
from convo.retry import Retry
from convo.tokens import USELESS, estimate
from convo.values import Filter, Model, Parameters, Usage

if TYPE_CHECKING:
    import httpx

RETRY = Retry(attempts=3, initial_s=0.5, multiplier=2.0, maximum_s=8.0)
"""When a request is made again, if nobody says otherwise."""

OK, FORBIDDEN, NOT_FOUND = 200, 403, 404

ENDING_S = 1.0
"""How long a stream may take to end after it has said that it has."""

BLOCKED = "content_filter"
"""The code of an error that is none: the service, Azure's, withholds its answer to this prompt."""


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
        fold_examples: bool = False,
        client: httpx.Client | None = None,
        async_client: httpx.AsyncClient | None = None,
    ) -> None:
        """Call `server`; `limits` tells those of a model, else the service is asked for them, once.

        With `fold_examples` the examples are sent as a part of the context, not as turns before the window. A caller's
        own `client` or `async_client` is used as it is: its proxies, certificates and limits are his affair. Without
        one redirects are not followed, and certificates are checked.
        """
        self._server, self._codec = server, server.codec
        self._limits, self._folds = limits, fold_examples
        self._models: dict[str, Model] = {}
        self._waiting, self._awaiting = Transport(server, retry, client), AsyncTransport(server, retry, async_client)

    def __repr__(self) -> str:
        return f"<HttpClient of {self._server!r}>"

    # ---- what the service has

    def get_model(self, name: str) -> Model:
        """Return the model's limits.

        Raises:
            ModelNotFound: the service has no such model.
            LimitUnknown: it does not tell them.
            ModelError: it cannot be asked.
        """
        return self.get_model_within(name, LIMITS_S)

    def get_model_within(self, name: str, deadline_s: float) -> Model:
        """Return the model's limits, within `deadline_s` seconds, as get_model() does."""
        if self._limits is not None:
            return self._limits(name)
        if name not in self._models:
            self._models[name] = self._asked(self._clock(deadline_s), name)
        return self._models[name]

    def with_limit(self, name: str, limit: int) -> Model:
        """Return a model whose limit the service need not be asked for; what else it adds to a prompt is known."""
        return limited(name, limit, user_first=self._codec.user_first)

    def check_parameters(self, name: str, parameters: Parameters) -> None:  # noqa: ARG002 - all models of a service alike
        """Find out whether the service takes these parameters, without asking it.

        Raises:
            InvalidParameter: it does not.
        """
        self._codec.check(parameters)

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

    def count_tokens(self, request: ChatRequest, *, deadline_s: float) -> int | None:
        """Return how many tokens the service counts of a prompt; None when it counts none before it has answered.

        Raises:
            ModelNotFound, ModelError: as chat().
        """
        outgoing = self._codec.count(self._prepared(request))
        if outgoing is None:
            return None
        with _known(request.model, self._codec.provider):
            return self._codec.counted(self._told(self._clock(deadline_s), outgoing))

    def _asked(self, clock: Clock, name: str) -> Model:
        """Ask what a model is."""
        with _known(name, self._codec.provider):
            model = self._codec.described(name, self._description(clock, name))
        if model is None:
            raise LimitUnknown(name)
        return model

    def _description(self, clock: Clock, name: str) -> Any:  # noqa: ANN401 - JSON from outside
        try:
            return self._told(clock, self._codec.describe(name))
        except ServiceError as error:  # a key may be good for answers only
            if self._codec.undescribed is None or error.status not in (FORBIDDEN, NOT_FOUND):
                raise
            return self._codec.undescribed

    def _page(self, clock: Clock, mark: str | None) -> Page:
        return self._codec.listed(self._told(clock, self._codec.catalog(mark)))

    def _with_limits(self, clock: Clock, model: Model) -> Model:
        """Return a listed model with its limits, which the service may have to be asked for one by one."""
        if self._codec.lists_limits:
            return model
        try:
            return self._asked(clock, model.name)
        except (LimitUnknown, ModelNotFound, ServiceError, BadModelResponse):  # it may be broken, or gone meanwhile
            return model

    # ---- what a model answers

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
        tried: list[Tried] = []

        async def one(each: ChatRequest) -> None:
            try:
                tried.append(await self._whole_async(clock, each))
            except ConvoError as error:
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
        clock, outgoing, frames = self._clock(deadline_s), self._encoded(request, streamed=True), self._frames()
        try:
            with _known(request.model, self._codec.provider), closing(self._waiting.chunks(clock, outgoing)) as chunks:
                for chunk in chunks:
                    yield from self._deltas(request, clock, frames, chunk)
        except BadRequest as error:
            yield Delta(filters=_blocked(error).filters)

    async def stream_async(self, request: ChatRequest, *, deadline_s: float) -> AsyncIterator[Delta]:
        """Yield the answer as stream() does, and let others run meanwhile."""
        if not self._can_stream(request):
            for delta in as_pieces(await self.chat_async(request, deadline_s=deadline_s)):
                yield delta
            return
        clock, outgoing, frames = self._clock(deadline_s), self._encoded(request, streamed=True), self._frames()
        try:
            with _known(request.model, self._codec.provider):
                async with aclosing(self._awaiting.chunks(clock, outgoing)) as chunks:
                    async for chunk in chunks:
                        for delta in self._deltas(request, clock, frames, chunk):
                            yield delta
        except BadRequest as error:
            yield Delta(filters=_blocked(error).filters)

    def would_post(self, request: ChatRequest, *, streamed: bool) -> list[Posted]:
        """Return what chat(), or stream(), posts for `request`, to the byte; nobody is asked, and no key is in it.

        Several are posted where the service gives one candidate at a time. A parameter that it has not is left out
        without a warning, if it may be.

        Raises:
            InvalidParameter: the service does not take the request.
        """
        request = replace(request, parameters=self._codec.had(request.parameters))
        streamed = streamed and self._can_stream(request)
        encoded = [self._encoded(each, streamed=streamed) for each in self._one_by_one(request)]
        return [Posted(each.path, each.content or b"") for each in encoded]

    def close(self) -> None:
        """Close the connections of chat() and stream(), unless they are a client's that was passed in."""
        self._waiting.close()

    async def aclose(self) -> None:
        """Close the connections of this event loop, unless they are a client's that was passed in."""
        await self._awaiting.close()

    def _whole(self, clock: Clock, request: ChatRequest) -> ChatReply:
        try:
            with _known(request.model, self._codec.provider):
                told = self._told(clock, self._encoded(request, streamed=False))
        except BadRequest as error:
            return _blocked(error)
        return self._decoded(request, told)

    async def _whole_async(self, clock: Clock, request: ChatRequest) -> ChatReply:
        try:
            with _known(request.model, self._codec.provider):
                body = await self._awaiting.body(clock, self._encoded(request, streamed=False))
        except BadRequest as error:
            return _blocked(error)
        return self._decoded(request, parsed(body, self._codec.provider))

    def _told(self, clock: Clock, outgoing: Outgoing) -> Any:  # noqa: ANN401 - JSON from outside
        return parsed(self._waiting.body(clock, outgoing), self._codec.provider)

    # ---- what both decide

    def _clock(self, deadline_s: float) -> Clock:
        return Clock(self._codec.provider, deadline_s)

    def _frames(self) -> Frames:
        return Frames(self._codec.framing, self._codec.provider)

    def _can_stream(self, request: ChatRequest) -> bool:
        return self._codec.can_stream and len(self._one_by_one(request)) == 1

    def _one_by_one(self, request: ChatRequest) -> list[ChatRequest]:
        """Return the requests that give all candidates: as many as those, where a model gives one at a time."""
        count = request.parameters.candidate_count or 1
        if count == 1 or self._codec.gives_candidates(request.model):
            return [request]
        return [replace(request, parameters=replace(request.parameters, candidate_count=1))] * count

    def _prepared(self, request: ChatRequest) -> ChatRequest:
        return folded(request) if self._folds else request

    def _encoded(self, request: ChatRequest, *, streamed: bool) -> Outgoing:
        return self._codec.encode(self._prepared(request), streamed=streamed)

    def _decoded(self, request: ChatRequest, told: Any) -> ChatReply:  # noqa: ANN401 - JSON from outside
        if isinstance(told, dict) and told.get("error"):  # some tell of it with status 200
            raise self._server.shown(self._codec.error(OK, told))
        reply = self._codec.decode(told)
        self._check_uncut(request, reply.usage)
        return reply

    def _deltas(self, request: ChatRequest, clock: Clock, frames: Frames, chunk: bytes) -> Iterator[Delta]:
        """Yield what the next chunk of a stream brings; b"" is its end."""
        wanted = request.parameters.candidate_count or 1
        for piece in frames.feed(chunk, is_last=not chunk):
            for delta in self._decoded_event(piece):
                self._check_uncut(request, delta.usage)
                yield delta
                if delta.text and delta.candidate < wanted:  # or who says nothing, again and again, is heard for ever
                    clock.restart()
            if self._codec.last is not None and piece.data == self._codec.last:
                clock.hurry(ENDING_S)

    def _decoded_event(self, piece: Piece) -> list[Delta]:
        try:
            return list(self._codec.decode_event(piece))
        except ServiceError as error:
            shown = self._server.shown(error)
        raise shown  # out here, where the other one is not its context

    def _check_uncut(self, request: ChatRequest, usage: Usage | None) -> None:
        """Warn when a service that cuts prompts without a word counts much less than it was sent."""
        if not self._codec.cuts_prompts or usage is None or usage.input_tokens is None:
            return
        sent = estimate(request.context or "")
        sent += sum(each.tokens for each in request.examples) + sum(each.tokens for each in request.messages)
        if usage.input_tokens < USELESS * sent:
            told = f"{request.model} counted {usage.input_tokens} tokens of a prompt of about {sent}"
            warnings.warn(f"{told}: it may have cut it; run it with a larger num_ctx", PromptCutWarning, stacklevel=2)


@contextlib.contextmanager
def _known(name: str, provider: str) -> Iterator[None]:
    """Let out as ModelNotFound that a service does not have a model."""
    try:
        yield
    except ServiceError as error:
        if error.status != NOT_FOUND:
            raise
        listed = f"what {provider} has, as `convo models --provider {provider}` lists"
        raise ModelNotFound(name, [listed]) from None


def _blocked(error: BadRequest) -> ChatReply:
    """Return the answer that a service withholds; raise any other error."""
    if error.code != BLOCKED:
        raise error
    return ChatReply((), filters=(Filter("SAFETY", error.detail),))


def _outcome(result: Callable[[], ChatReply]) -> Tried:
    try:
        return result()
    except ConvoError as error:
        return error
