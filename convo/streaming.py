"""The one way to call a model for an answer that comes in pieces.

A client that cannot stream is asked for the whole answer, which then comes as one piece.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any

from convo.call import ask_async, asked, ending, failing, storable
from convo.clients.base import (
    AnyClient,
    AsyncStreamingClient,
    ChatClient,
    ChatReply,
    ChatRequest,
    Delta,
    StreamingClient,
    as_pieces,
)
from convo.errors import BadModelResponse, CallTimedOut, ReplyBlocked, StreamCut
from convo.sampling import MAX_CANDIDATES
from convo.text import MAX_TEXT_BYTES, repair_text
from convo.tokens import estimate
from convo.values import Candidate, Filter, Usage

END = Delta()
"""What Next is sent after the last piece: this object, and none that is equal to it."""

LEAVING_S = 2.0
"""How long a service that is no longer listened to is given to take notice."""


class Draft:
    """An answer that is still coming: what came so far."""

    def __init__(self, request: ChatRequest) -> None:
        self._request = asked(request)
        self._parts: dict[int, list[str]] = {}
        self._sizes: dict[int, int] = {}
        self._ends: dict[int, str | None] = {}
        self._held = ""
        self._blank: str | None = ""
        self._usage: Usage | None = None
        self._filters: tuple[Filter, ...] = ()
        self._served_by: str | None = None

    @property
    def has_begun(self) -> bool:
        """Whether anything of a candidate has come."""
        return bool(self._parts)

    @property
    def is_whole(self) -> bool:
        """Whether each candidate that was asked for, and has begun, has ended."""
        wanted = self._request.parameters.candidate_count or 1
        return bool(self._ends) and all(index in self._ends for index in self._parts if index < wanted)

    def add(self, piece: Delta) -> str:
        """Take the next piece; return what may be shown of candidate 0 now, as it will be stored.

        A candidate that goes on after its end has yet to end.

        Raises:
            ModelError: what came is no piece, or more than a text may be long.
        """
        with failing(self._request):
            self._check(piece)
            self._usage = _merged(self._usage, piece.usage)
            self._filters += tuple(piece.filters)
            self._served_by = piece.served_by or self._served_by
            if piece.candidate >= MAX_CANDIDATES:  # more than can be asked for: there could be no end of them
                return ""
            if piece.text or piece.finish_reason is not None:
                self._take(piece.candidate, piece.text)
                self._ends.pop(piece.candidate, None)
            if piece.finish_reason is not None:
                self._ends[piece.candidate] = ending(piece.finish_reason)
            return self._shown(piece) if piece.candidate == 0 else ""

    def reply(self) -> ChatReply:
        """Return the whole answer.

        Raises:
            StreamCut: it was not whole when the stream ended.
        """
        if not self.is_whole and (self.has_begun or not self._filters):
            raise StreamCut(self._request.model)
        candidates = tuple(
            Candidate(index, "".join(self._parts[index]), end) for index, end in sorted(self._ends.items())
        )
        with failing(self._request):
            return storable(ChatReply(candidates, self._usage, self._filters, self._served_by), self._request)

    def partial(self, why: str) -> tuple[Candidate, ...]:
        """Return what came of each candidate, to be kept though it is not the answer.

        One that is whole ends for its own reason, else because of `why`.
        """
        candidates = []
        for index, parts in sorted(self._parts.items()):
            content, repaired = repair_text("".join(parts))
            reason = self._ends.get(index, why)
            candidates.append(Candidate(index, content, reason, estimate(content), repaired=repaired))
        return tuple(each for each in candidates if each.content and each.content.strip())

    def _check(self, piece: Any) -> None:  # noqa: ANN401 - clients are others' code
        """Raise BadModelResponse unless `piece` is one."""
        index = piece.candidate if isinstance(piece, Delta) else None
        if isinstance(index, bool) or not isinstance(index, int) or index < 0 or not isinstance(piece.text, str):
            raise BadModelResponse(f"the client of {self._request.model} streamed something else than Deltas")

    def _take(self, candidate: int, text: str) -> None:
        size = len(text.encode(errors="surrogatepass")) + 2 * text.count("\0")  # which is stored as U+FFFD
        size += self._sizes.get(candidate, 0)
        if size > MAX_TEXT_BYTES:
            raise BadModelResponse(f"an answer of {self._request.model} has more than {MAX_TEXT_BYTES:,} bytes")
        self._sizes[candidate] = size
        self._parts.setdefault(candidate, []).append(text)

    def _shown(self, piece: Delta) -> str:
        """Return a piece as it will be stored. Half a character waits for its other half, and space for a word.

        A candidate of nothing but space is no answer: another one may be chosen.
        """
        text, self._held = self._held + piece.text, ""
        if text and piece.finish_reason is None and "\ud800" <= text[-1] <= "\udbff":
            text, self._held = text[:-1], text[-1]
        text = repair_text(text)[0]
        if self._blank is None:
            return text
        text = self._blank + text
        self._blank = None if text.strip() else text
        return text if self._blank is None else ""


def _merged(before: Usage | None, after: Usage | None) -> Usage | None:
    """Return what was counted so far: services tell the input's tokens first, and the output's as it grows."""
    if before is None or after is None:
        return after or before
    return Usage(
        before.input_tokens if after.input_tokens is None else after.input_tokens,
        before.output_tokens if after.output_tokens is None else after.output_tokens,
    )


def stream(client: ChatClient, request: ChatRequest, *, deadline_s: float) -> Generator[Delta, None, None]:
    """Call the model; yield the pieces of its answer as they come. Closing it closes the client's stream.

    Raises:
        ModelError: the service failed; an exception of a client that is not convo's own is its cause.
    """
    if not isinstance(client, StreamingClient):
        with failing(request):
            yield from _pieces(client.chat(asked(request), deadline_s=deadline_s))
        return
    request = asked(request)
    with failing(request):
        yield from client.stream(request, deadline_s=deadline_s)


async def stream_async(client: AnyClient, request: ChatRequest, *, deadline_s: float) -> AsyncGenerator[Delta, None]:
    """Call the model as stream() does, and let others run meanwhile; a client that cannot be awaited, in a thread.

    Raises:
        ModelError: as stream().
        CallTimedOut: no piece within `deadline_s` seconds.
    """
    request = asked(request)
    with failing(request):
        if not isinstance(client, AsyncStreamingClient | StreamingClient):
            for each in _pieces(await ask_async(client, request, deadline_s=deadline_s)):
                yield each
            return
        pieces = _begun(client, request, deadline_s)
        try:
            while (piece := await _next(pieces, request, deadline_s)) is not END:
                yield piece
        finally:
            await _close(pieces)


def _begun(
    client: AsyncStreamingClient | StreamingClient, request: ChatRequest, deadline_s: float
) -> AsyncIterator[Delta]:
    if isinstance(client, AsyncStreamingClient):
        return client.stream_async(request, deadline_s=deadline_s)
    return _Threaded(_started(client, request, deadline_s))


def _started(client: StreamingClient, request: ChatRequest, deadline_s: float) -> Generator[Delta, None, None]:
    """Yield the pieces of a stream whose call is not made before the first one is asked for: it may wait."""
    yield from client.stream(request, deadline_s=deadline_s)


def _pieces(reply: ChatReply) -> Iterator[Delta]:
    """Yield a whole answer as a stream would have brought it.

    Raises:
        ReplyBlocked: there is none.
    """
    if not reply.candidates:
        raise ReplyBlocked([each.reason for each in reply.filters])
    yield from as_pieces(reply)


async def _next(pieces: AsyncIterator[Delta], request: ChatRequest, deadline_s: float) -> Delta:
    import anyio
    from anyio.lowlevel import checkpoint

    with anyio.move_on_after(deadline_s):
        await checkpoint()  # a client may have many pieces without waiting for anything
        return await anext(pieces, END)
    raise CallTimedOut(request.model, deadline_s)


async def _close(pieces: AsyncIterator[Delta]) -> None:
    """Close a stream, also while its reader is being cancelled: who no longer listens stops paying."""
    import anyio

    if (close := getattr(pieces, "aclose", None)) is not None:
        # Whatever it raises: it would take the place of why we close.
        with contextlib.suppress(Exception), anyio.move_on_after(LEAVING_S, shield=True):
            await close()


class _Threaded:
    """The stream of a client that cannot be awaited: a thread waits for each piece.

    A thread cannot be stopped. One that is left waiting closes the stream itself, as nobody else can meanwhile.
    The client finds the context variables that it has set, as it would without threads.
    """

    def __init__(self, pieces: Generator[Delta, None, None]) -> None:
        from convo.threads import context_for_thread

        self._pieces = pieces
        self._context = context_for_thread()
        self._busy = threading.Lock()
        self._is_closed = False

    def __aiter__(self) -> _Threaded:
        return self

    async def __anext__(self) -> Delta:
        from convo.threads import run_apart

        piece = await run_apart(self._next)
        if piece is END:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Close the stream, or have it closed by the thread that waits for its next piece."""
        from convo.threads import run_apart

        self._is_closed = True
        await run_apart(self._close, "close")

    def _next(self) -> Delta:
        try:
            with self._busy:
                return self._context.run(next, self._pieces, END)
        finally:
            self._close()

    def _close(self) -> None:
        if self._is_closed and self._busy.acquire(blocking=False):
            try:
                self._context.run(self._pieces.close)
            finally:
                self._busy.release()
