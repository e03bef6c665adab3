"""The model behind an AsyncStore: awaited where it can be, else in a thread; and not waited for beyond its deadline."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from functools import partial

import anyio
import anyio.to_thread
import pytest

import convo
from convo.testing import ScriptedClient
from tests.processes import run
from tests.shells import SyncOnly
from tests.test_async_store import at_once

pytestmark = pytest.mark.anyio

WHO = contextvars.ContextVar[str]("WHO", default="nobody")

Answer = Callable[[convo.ChatRequest], str]


class AsyncOnly:
    """A client that can only be awaited."""

    def __init__(self, answer: Callable[[], object] | None = None) -> None:
        self._answer = answer
        self.asked_by: dict[str, int] = {}
        """Which thread came in by which method."""
        self.heard_of: list[str] = []

    def _note(self, method: str) -> None:
        self.asked_by[method] = threading.get_ident()
        self.heard_of.append(WHO.get())

    def get_model(self, name: str) -> convo.Model:
        self._note("get_model")
        return convo.Model(name, 4096)

    async def chat_async(self, request: convo.ChatRequest, *, deadline_s: float) -> convo.ChatReply:
        self._note("chat_async")
        if self._answer is not None:
            await self._answer()
        return convo.ChatReply((convo.Candidate(0, str(request.messages[-1].content)),))


class Streaming(AsyncOnly):
    """A client that can only be awaited, and answers in two pieces."""

    async def stream_async(self, request: convo.ChatRequest, *, deadline_s: float) -> AsyncIterator[convo.Delta]:
        self._note("stream_async")
        yield convo.Delta("one ")
        if self._answer is not None:
            await self._answer()
        yield convo.Delta("two", finish_reason="stop")


class Slow:
    """A script that answers when it is told to; it blocks whoever asks."""

    def __init__(self) -> None:
        self.called = threading.Event()
        self.go = threading.Event()
        self.thread = 0
        self.who = ""

    def __call__(self, request: convo.ChatRequest) -> str:
        self.thread, self.who = threading.get_ident(), WHO.get()
        self.called.set()
        assert self.go.wait(60)
        return "slow"


@pytest.fixture
def slow() -> Iterator[Slow]:
    """Return a model that is let go in the end, as a thread waits for it."""
    model = Slow()
    yield model
    model.go.set()


@pytest.fixture
async def store() -> AsyncIterator[convo.AsyncStore]:
    async with convo.AsyncStore("sqlite://") as opened:
        yield opened


async def talk_with(store: convo.AsyncStore, client: object) -> convo.AsyncConversation:
    store.client = client
    return await store.create(model="scripted")


async def hear(talk: convo.AsyncConversation, heard: list[str], **settings: object) -> None:
    """Listen to a stream; keep what came, also if it breaks off."""
    async for each in talk.stream("a", **settings):
        heard.append(each.text)  # noqa: PERF401 - a list that is made at the end would be lost


async def told(talk: convo.AsyncConversation) -> tuple[str, str | None]:
    """Return the state and the error of the last turn."""
    turn = (await talk.turns())[-1]
    return turn.state, turn.error


# ---- which thread


async def test_a_client_that_can_be_awaited_is_asked_in_the_event_loop(store: convo.AsyncStore):
    client = AsyncOnly()
    await (await talk_with(store, client)).send("a")
    here = threading.get_ident()
    assert {"get_model": False, "chat_async": True} == {name: each == here for name, each in client.asked_by.items()}


async def test_a_stream_that_can_be_awaited_is_asked_in_the_event_loop(store: convo.AsyncStore):
    client = Streaming()
    talk = await talk_with(store, client)
    assert ["one ", "two"] == [each.text async for each in talk.stream("a")]
    assert (threading.get_ident(), False) == (client.asked_by["stream_async"], "chat_async" in client.asked_by)


async def test_a_client_that_cannot_stream_answers_in_one_piece(store: convo.AsyncStore):
    for client in (AsyncOnly(), SyncOnly(ScriptedClient())):
        talk = await talk_with(store, client)
        assert ["a b"] == [each.text async for each in talk.stream("a b")]


async def test_a_client_that_cannot_be_awaited_lets_others_run(store: convo.AsyncStore, slow: Slow):
    talk = await talk_with(store, SyncOnly(ScriptedClient(slow)))
    async with anyio.create_task_group() as group:
        group.start_soon(talk.send, "a")
        await anyio.to_thread.run_sync(slow.called.wait)
        slow.go.set()  # which nobody could, if it held the event loop
    assert threading.get_ident() != slow.thread
    assert ("done", None) == await told(talk)


async def test_transactions_go_on_while_clients_wait_in_threads(store: convo.AsyncStore, slow: Slow):
    talks = [await talk_with(store, SyncOnly(ScriptedClient(slow))) for _ in range(30)]
    async with anyio.create_task_group() as group:
        for each in talks:
            group.start_soon(each.send, "a")
        await anyio.to_thread.run_sync(slow.called.wait)
        assert 30 == len(await store.list())
        slow.go.set()
    assert [("done", None)] * 30 == [await told(each) for each in talks]


@pytest.mark.parametrize("client", ["chat", "chat_async", "stream_async"])
async def test_a_client_knows_in_whose_context_it_is_asked(store: convo.AsyncStore, slow: Slow, client: str):
    slow.go.set()
    clients = {"chat": SyncOnly(ScriptedClient(slow)), "chat_async": AsyncOnly(), "stream_async": Streaming()}
    talk = await talk_with(store, clients[client])

    async def ask() -> None:
        WHO.set("somebody")
        if client == "stream_async":
            assert [each async for each in talk.stream("a")]
        else:
            await talk.send("a")

    await at_once(ask)
    heard_of = [slow.who] if client == "chat" else clients[client].heard_of[1:]
    assert {"somebody"} == set(heard_of)


# ---- errors


async def fail() -> None:
    raise ValueError("x")


async def test_an_error_of_an_awaited_client_is_the_cause_of_a_model_error(store: convo.AsyncStore):
    talk = await talk_with(store, AsyncOnly(fail))
    with pytest.raises(convo.ModelError) as caught:
        await talk.send("a")
    assert (ValueError, ("failed", "ModelError")) == (type(caught.value.__cause__), await told(talk))


async def test_an_error_in_a_stream_cuts_it(store: convo.AsyncStore):
    talk = await talk_with(store, Streaming(fail))
    heard: list[str] = []
    with pytest.raises(convo.StreamCut):
        await hear(talk, heard)
    assert (["one "], ("failed", "stream_cut")) == (heard, await told(talk))


def test_a_client_that_cannot_be_asked_is_refused_at_once():
    for kind, client in {convo.AsyncStore: object(), convo.Store: AsyncOnly()}.items():
        with pytest.raises(TypeError):
            kind("sqlite://", client=client)


# ---- deadlines


@pytest.mark.parametrize("kind", [AsyncOnly, Streaming])
async def test_a_client_that_never_answers_is_waited_for_until_the_deadline(store: convo.AsyncStore, kind: type):
    talk = await talk_with(store, kind(anyio.sleep_forever))
    with pytest.raises(convo.CallTimedOut) as caught:
        await talk.send("a", deadline_s=0.05)
    assert (True, ("failed", "CallTimedOut")) == (caught.value.retryable, await told(talk))


async def test_a_stream_that_stands_still_is_cut_at_the_deadline(store: convo.AsyncStore):
    talk = await talk_with(store, Streaming(anyio.sleep_forever))
    with pytest.raises(convo.StreamCut) as caught:
        await hear(talk, [], deadline_s=0.05)
    assert (convo.CallTimedOut, ("failed", "stream_cut")) == (type(caught.value.__cause__), await told(talk))


async def test_a_thread_that_hangs_is_left_at_the_deadline(store: convo.AsyncStore, slow: Slow):
    talk = await talk_with(store, SyncOnly(ScriptedClient(slow, "better")))
    with pytest.raises(convo.CallTimedOut):
        await talk.send("a", deadline_s=0.05)
    assert (("failed", "CallTimedOut"), "better") == (await told(talk), (await talk.resume()).text)


async def test_what_a_thread_answers_after_the_deadline_is_dropped(store: convo.AsyncStore, slow: Slow):
    talk = await talk_with(store, SyncOnly(ScriptedClient(slow)))
    with pytest.raises(convo.CallTimedOut):
        await talk.send("a", deadline_s=0.05)
    slow.go.set()
    assert ["a"] == [each.content for each in await talk.messages()]


async def test_threads_that_hang_stop_nobody_else(store: convo.AsyncStore, slow: Slow):
    """More of them than anyio has threads to give at once."""
    store.client = SyncOnly(ScriptedClient(slow))
    talks = [await store.create(model="scripted") for _ in range(60)]
    errors: list[type[Exception]] = []

    async def send(talk: convo.AsyncConversation) -> None:
        try:
            await talk.send("a", deadline_s=0.2)
        except convo.ModelError as error:
            errors.append(type(error))

    async with anyio.create_task_group() as group:
        for each in talks:
            group.start_soon(send, each)
    assert [convo.CallTimedOut] * 60 == errors
    store.client = SyncOnly(ScriptedClient("better"))
    # On a busy machine the deadline may have passed before a turn was begun.
    assert "better" == (await talks[0].send("b", on_unfinished="discard")).text


HANGING = """
import sys, threading
import anyio, convo

class Client:
    def get_model(self, name):
        return convo.Model(name, 4096)

    def chat(self, request, *, deadline_s):
        threading.Event().wait(60)
        print("it was waited for")

async def main():
    async with convo.AsyncStore("sqlite://", client=Client()) as store:
        talk = await store.create()
        try:
            await talk.send("a", deadline_s=0.05)
        except convo.CallTimedOut:
            print("it was left")

anyio.run(main, backend=sys.argv[1])
"""


def test_a_process_ends_without_a_client_that_hangs(anyio_backend: str):
    ended = run("-c", HANGING, anyio_backend)
    assert (0, "it was left\n", "") == (ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize("use", ["create", "send", "preview", "update"])
async def test_a_client_that_is_slow_to_tell_its_limits_holds_no_transaction_up(
    store: convo.AsyncStore, slow: Slow, use: str
):
    """A store in memory has one thread."""
    client = ScriptedClient()
    talk = await talk_with(store, client)
    client.get_model = lambda _: convo.Model(slow(None), 4096)
    uses = {
        "create": partial(store.create, model="scripted"),
        "send": partial(talk.send, "a"),
        "preview": partial(talk.preview, "a"),
        "update": partial(talk.update, model="another"),
    }
    async with anyio.create_task_group() as group:
        group.start_soon(uses[use])
        await anyio.to_thread.run_sync(slow.called.wait)
        assert [] == await talk.messages()
        slow.go.set()


# ---- cancellation


@pytest.mark.parametrize("kind", ["chat", "chat_async"])
async def test_a_cancelled_send_marks_its_turn_and_lets_the_next_one_in(store: convo.AsyncStore, slow: Slow, kind: str):
    has_come = anyio.Event()

    async def come() -> None:
        has_come.set()
        await anyio.sleep_forever()

    talk = await talk_with(store, SyncOnly(ScriptedClient(slow)) if kind == "chat" else AsyncOnly(come))
    async with anyio.create_task_group() as group:
        group.start_soon(talk.send, "a")
        await (anyio.to_thread.run_sync(slow.called.wait) if kind == "chat" else has_come.wait())
        group.cancel_scope.cancel()
    store.client = ScriptedClient()
    assert ("failed", "cancelled") == await told(talk)
    assert "b" == (await talk.send("b", on_unfinished="discard")).text


async def test_a_stream_that_is_closed_early_closes_the_clients_own(store: convo.AsyncStore):
    ended: list[str] = []

    class Noting(AsyncOnly):
        async def stream_async(self, request: convo.ChatRequest, *, deadline_s: float) -> AsyncIterator[convo.Delta]:
            try:
                yield convo.Delta("one ")
                yield convo.Delta("two", finish_reason="stop")
            finally:
                ended.append("closed")

    talk = await talk_with(store, Noting())
    async with aclosing(talk.stream("a")) as pieces:
        await anext(pieces)
    assert (["closed"], ("failed", "cancelled")) == (ended, await told(talk))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_timeout_of_asyncios_own_marks_the_turn_too(store: convo.AsyncStore):
    talk = await talk_with(store, AsyncOnly(anyio.sleep_forever))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(talk.send("a"), 0.05)
    assert ("failed", "cancelled") == await told(talk)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_stream_that_is_dropped_is_closed_by_the_event_loop(store: convo.AsyncStore):
    """trio does it as well, with a warning."""
    talk = await talk_with(store, Streaming())
    async for _ in talk.stream("a"):
        break
    while ("in_flight", None) == await told(talk):  # noqa: ASYNC110 - the loop tells nobody
        await anyio.sleep(0.001)
    assert ("failed", "cancelled") == await told(talk)
