"""An AsyncStore with the interface of a Store, so that one suite tells of both shells.

Each call runs as a task of an event loop in a thread of its own, and is waited for; what it returns or raises comes
back as it is, with conversations in the same clothes. Properties pass through.
"""

from __future__ import annotations

import inspect
import queue
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
from anyio.abc import ObjectReceiveStream
from anyio.from_thread import BlockingPortal, start_blocking_portal

import convo

Outcome = tuple[Any, BaseException | None]
"""What a coroutine returned, or what it raised."""


@contextmanager
def open_store(target: Any, shell: str) -> Iterator[convo.Store]:
    """Open a store by the `sync` shell, or by the async one in an event loop of `asyncio` or `trio`."""
    if shell == "sync":
        with convo.Store(target) as store:
            yield store
        return
    with start_blocking_portal(shell) as portal, BlockingStore(portal, convo.AsyncStore(target)) as store:
        yield store


def store_of(talk: convo.Conversation) -> convo.Store:
    """Return the store, in the clothes of its conversation."""
    return talk._store if isinstance(talk, BlockingConversation) else talk._view.store


class _Blocking:
    """What awaits on behalf of its caller, and lets all else of `inner` through."""

    def __init__(self, portal: BlockingPortal, inner: Any) -> None:
        self._portal = portal
        self._inner = inner

    def __repr__(self) -> str:
        return repr(self._inner)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return partial(self._call, found) if inspect.iscoroutinefunction(found) else self._clothed(found)

    def _call(self, work: Callable[..., Awaitable[Any]], *given: Any, **named: Any) -> Any:
        given = tuple(map(_bare, given))
        named = {name: _bare(each) for name, each in named.items()}
        result, error = self._portal.call(_outcome, partial(work, *given, **named))
        if error is not None:
            raise error
        return self._clothed(result)

    def _clothed(self, found: Any) -> Any:
        if found is self._inner:
            return self
        if isinstance(found, convo.AsyncConversation):
            return BlockingConversation.__new__(BlockingConversation)._clothe(self._store, found)
        if isinstance(found, convo.Reply):
            return replace(found, conversation=self._clothed(found.conversation))
        return [self._clothed(each) for each in found] if isinstance(found, list) else found

    def _driven(self, pieces: Any) -> Generator[Any]:
        """Yield what an async generator yields, whose one task takes a step at each wish for the next one."""
        outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        wishes, granted = self._portal.call(anyio.create_memory_object_stream, 1)
        pump = self._portal.start_task_soon(_pump, pieces, granted, outcomes)
        try:
            while True:
                self._portal.call(wishes.send_nowait, None)
                piece, error = outcomes.get()
                if isinstance(error, StopAsyncIteration):
                    return
                if error is not None:
                    raise error
                yield piece
        finally:
            self._portal.call(wishes.close)
            if (error := pump.result()) is not None:
                raise error


class BlockingStore(_Blocking):
    """An AsyncStore that is used as a Store."""

    def __enter__(self) -> BlockingStore:
        self._call(self._inner.__aenter__)
        return self

    def __exit__(self, *error: Any) -> None:
        self._call(self._inner.__aexit__, *error)

    def preferences(self, *given: Any, **named: Any) -> Generator[convo.Preference]:
        """Return what the async iterator yields."""
        return self._driven(self._inner.preferences(*given, **named))

    def verify(self, *given: Any, **named: Any) -> Generator[convo.Verdict]:
        """Return what the async iterator yields."""
        return self._driven(self._inner.verify(*given, **named))

    def heads(self) -> Generator[convo.Head]:
        """Return what the async iterator yields."""
        return self._driven(self._inner.heads())

    @property
    def _store(self) -> BlockingStore:
        return self

    @property
    def client(self) -> Any:
        return self._inner.client

    @client.setter
    def client(self, client: Any) -> None:
        self._inner.client = client


class BlockingConversation(_Blocking):
    """An AsyncConversation that is used as a Conversation."""

    def __init__(self, store: Any, record: convo.ConversationRecord) -> None:
        inner = store._inner
        self._clothe(store, convo.AsyncConversation(inner._performer, inner, record))

    def _clothe(self, store: BlockingStore, talk: convo.AsyncConversation) -> BlockingConversation:
        super().__init__(store._portal, talk)
        self._store = store
        return self

    def stream(self, *given: Any, **named: Any) -> Generator[convo.Delta]:
        """Return the pieces of the async stream."""
        return self._driven(self._inner.stream(*given, **named))


async def _outcome(work: Callable[[], Awaitable[Any]]) -> Outcome:
    """Wait for `work`; a KeyboardInterrupt that left a task would take the loop with it."""
    try:
        return await work(), None
    except BaseException as error:  # noqa: BLE001 - it is raised where it was called
        return None, error


async def _pump(
    pieces: Any, wishes: ObjectReceiveStream[None], outcomes: queue.SimpleQueue[Outcome]
) -> BaseException | None:
    """Take a step for each wish; close the pieces when there will be no more, and return what that raised."""

    async def pump() -> None:
        async with aclosing(pieces), wishes:
            async for _ in wishes:
                outcomes.put(await _outcome(pieces.__anext__))

    return (await _outcome(pump))[1]


def _bare(given: Any) -> Any:
    if isinstance(given, _Blocking):
        return given._inner
    return [_bare(each) for each in given] if isinstance(given, list) else given


class SyncOnly:
    """Leaves a client the ways of a ChatClient: an event loop calls it in a thread, where it may wait."""

    def __init__(self, client: convo.ChatClient) -> None:
        self._client = client

    def get_model(self, name: str) -> convo.Model:
        return self._client.get_model(name)

    def chat(self, request: convo.ChatRequest, *, deadline_s: float) -> convo.ChatReply:
        return self._client.chat(request, deadline_s=deadline_s)
