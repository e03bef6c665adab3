"""An answer that comes in pieces: what is shown of it, when it is whole, and what is kept of one that broke off."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convo
from convo import Candidate, ChatReply, ChatRequest, Delta, Filter, Message, Parameters, Usage
from convo.streaming import Draft, stream, stream_async
from convo.testing import ScriptedClient, Streamed
from convo.text import MAX_TEXT_BYTES, repair_text
from convo.tokens import estimate
from tests.shells import SyncOnly

END = Delta(finish_reason="stop")


def asked(**parameters: Any) -> ChatRequest:
    return ChatRequest("test/model", None, (), (Message("0", "hi"),), Parameters(**parameters))


def drafted(*pieces: Delta, **parameters: Any) -> Draft:
    draft = Draft(asked(**parameters))
    for each in pieces:
        draft.add(each)
    return draft


class Whole:
    """A client that can do nothing but answer whole."""

    def get_model(self, name: str) -> convo.Model:
        return convo.Model(name, 100)

    def chat(self, request: ChatRequest, *, deadline_s: float) -> ChatReply:
        return ChatReply((Candidate(0, "one two"), Candidate(1, "three")), Usage(1, 2), served_by="x")


class Pieces(Whole):
    """A client that streams what it was given, and tells whether its stream was closed."""

    def __init__(self, *pieces: Any) -> None:
        self.pieces = pieces
        self.is_closed = False

    def stream(self, request: ChatRequest, *, deadline_s: float) -> Iterator[Delta]:
        self.request = request
        try:
            yield from self.pieces
        finally:
            self.is_closed = True


def heard(client: convo.ChatClient, **parameters: Any) -> tuple[list[str], ChatReply]:
    """Return what is shown of an answer, and the whole of it."""
    draft = Draft(asked(**parameters))
    shown = [text for each in stream(client, asked(**parameters), deadline_s=1) if (text := draft.add(each))]
    return shown, draft.reply()


# ---- what is shown


def test_pieces_are_shown_as_they_come():
    assert ["one", " two", " three"] == heard(ScriptedClient("one two three"))[0]


def test_only_candidate_0_is_shown_and_all_are_in_the_reply():
    pieces = [Delta("a"), Delta("x", 1), Delta("b", finish_reason="stop"), Delta("y", 1, "stop")]
    shown, reply = heard(Pieces(*pieces), candidate_count=2)
    assert (["a", "b"], ["ab", "xy"]) == (shown, [each.content for each in reply.candidates])


def test_half_a_character_waits_for_its_other_half():
    draft = drafted()
    assert ["a", "", "\U0001f600b", ""] == [
        draft.add(each) for each in (Delta("a"), Delta("\ud83d"), Delta("\ude00b"), END)
    ]


def test_half_a_character_that_stays_alone_is_replaced_at_the_end():
    draft = drafted()
    assert ["a", "\ufffd"] == [draft.add(each) for each in (Delta("a\ud83d"), END)]


@given(st.text(st.characters() | st.sampled_from("\ud83d\ude00\0\ufeff")), st.lists(st.integers(0, 20)))
def test_what_is_shown_is_what_is_stored_wherever_it_is_cut(text: str, places: list[int]):
    cuts = [0, *sorted(min(each, len(text)) for each in places), len(text)]
    draft = drafted()
    shown = "".join(draft.add(Delta(text[first:last])) for first, last in pairwise(cuts)) + draft.add(END)
    stored = [each.content for each in draft.reply().candidates]
    assert (([repair_text(text)[0]] if text.strip() else []), shown) == (stored, "".join(stored))


# ---- when it is whole


def test_a_reply_has_what_the_stream_told():
    end = Delta(" b", finish_reason="length", usage=Usage(3, 4), served_by="someone")
    reply = drafted(Delta("a", usage=Usage(1, 1)), end).reply()
    assert ChatReply((Candidate(0, "a b", "length", estimate("a b")),), Usage(3, 4), (), "someone") == reply


def test_a_blocked_answer_is_whole():
    reply = drafted(Delta(filters=(Filter("SAFETY"),))).reply()
    assert ((), ("SAFETY",)) == (reply.candidates, tuple(each.reason for each in reply.filters))


@pytest.mark.parametrize(
    "pieces",
    [(), (Delta("a"),), (Delta("a"), Delta("b", 1, "stop")), (Delta("a", finish_reason="stop"), Delta("b", 1))],
    ids=["nothing", "no end", "no end of the first", "no end of the second"],
)
def test_a_stream_that_ends_before_each_candidate_has_ended_was_cut(pieces: tuple[Delta, ...]):
    with pytest.raises(convo.StreamCut):
        drafted(*pieces, candidate_count=2).reply()


def test_a_candidate_that_goes_on_after_its_end_has_yet_to_end():
    with pytest.raises(convo.StreamCut):
        drafted(Delta("a", finish_reason="stop"), Delta(" and then")).reply()


def test_what_nobody_asked_for_need_not_be_whole():
    reply = drafted(Delta("a", finish_reason="stop"), Delta("b", 1)).reply()
    assert ["a"] == [each.content for each in reply.candidates]


def test_candidates_are_unique_and_as_many_as_were_asked_for():
    pieces = [Delta(text, place, "stop") for place, text in enumerate("aabc")]
    assert ["a", "b"] == [each.content for each in drafted(*pieces, candidate_count=2).reply().candidates]


def test_temperature_zero_asks_for_one_candidate():
    client = Pieces(END)
    list(stream(client, asked(temperature=0, candidate_count=3), deadline_s=1))
    assert 1 == client.request.parameters.candidate_count


@pytest.mark.parametrize("piece", [None, "text", Delta(5), Delta("a", "0"), Delta("a", -1), Delta("a", True)], ids=str)
def test_what_is_no_piece_is_an_error_of_the_model(piece: Any):
    with pytest.raises(convo.ModelError):
        drafted(piece).reply()


def test_an_answer_that_never_ends_is_refused():
    draft = drafted(Delta("x" * MAX_TEXT_BYTES))
    with pytest.raises(convo.BadModelResponse):
        draft.add(Delta("x"))


def test_a_whole_answer_that_says_it_was_cancelled_is_not_taken_for_one_that_broke_off():
    reply = drafted(Delta("a", finish_reason="cancelled")).reply()
    assert ["cancelled by the model"] == [each.finish_reason for each in reply.candidates]


def test_space_waits_for_a_word_as_it_may_be_no_answer():
    draft = drafted()
    assert ["", " \na", " b"] == [draft.add(each) for each in (Delta(" "), Delta("\na"), Delta(" b"))]


def test_an_end_without_a_reason_is_an_end():
    assert [("a", None)] == [
        (each.content, each.finish_reason) for each in drafted(Delta("a", 0, "")).reply().candidates
    ]


def test_what_may_be_stored_is_what_counts_not_what_came():
    draft = drafted(Delta("\0" * (MAX_TEXT_BYTES // 3)))
    with pytest.raises(convo.BadModelResponse):
        draft.add(Delta("\0"))
    assert [(MAX_TEXT_BYTES // 3) * "\ufffd"] == [each.content for each in draft.partial("stream_cut")]


# ---- what is kept


def test_what_came_of_an_answer_can_be_kept():
    partial = drafted(Delta("a"), Delta("x", 1, "stop"), Delta(" b\0")).partial("stream_cut")
    cut = Candidate(0, "a b\ufffd", "stream_cut", estimate("a b\ufffd"), repaired=1)
    assert (cut, Candidate(1, "x", "stop", estimate("x"))) == partial


@pytest.mark.parametrize("pieces", [(), (Delta(" \n"),)], ids=["nothing", "space"])
def test_nothing_is_kept_when_nothing_came(pieces: tuple[Delta, ...]):
    assert () == drafted(*pieces).partial("stream_cut")


# ---- how a model is called


def test_a_client_that_cannot_stream_is_asked_for_the_whole():
    shown, reply = heard(Whole(), candidate_count=2)
    assert (["one two"], ["one two", "three"], Usage(1, 2), "x") == (
        shown,
        [each.content for each in reply.candidates],
        reply.usage,
        reply.served_by,
    )


@pytest.mark.parametrize("pieces", [[], ["a"], ["a", "b"]], ids=len)
def test_an_error_of_a_client_is_the_cause_of_a_model_error(pieces: list[str]):
    bug = RuntimeError("bug")
    with pytest.raises(convo.ModelError, match="RuntimeError") as caught:
        list(stream(ScriptedClient(Streamed(pieces, bug)), asked(), deadline_s=1))
    assert bug is caught.value.__cause__


def test_a_model_error_passes_as_it_is():
    down = convo.ModelError("down")
    with pytest.raises(convo.ModelError) as caught:
        list(stream(ScriptedClient(Streamed(["a"], down)), asked(), deadline_s=1))
    assert down is caught.value


def test_closing_a_stream_closes_the_one_of_the_client():
    client = Pieces(Delta("a"), Delta("b"), END)
    pieces = stream(client, asked(), deadline_s=1)
    next(pieces)
    pieces.close()
    assert client.is_closed


# ---- the same on an event loop


async def awaited(client: convo.ChatClient | convo.AsyncChatClient, deadline_s: float = 60) -> list[str]:
    return [each.text async for each in stream_async(client, asked(), deadline_s=deadline_s)]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    ("client", "texts"),
    [
        (ScriptedClient("a b"), ["a", " b", ""]),
        (Pieces(Delta("a"), END), ["a", ""]),
        (Whole(), ["one two", "three", ""]),
    ],
    ids=["awaited", "in a thread", "whole"],
)
def test_every_kind_of_client_can_be_heard_on_an_event_loop(backend: str, client: Any, texts: list[str]):
    assert texts == anyio.run(awaited, client, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_closing_a_stream_on_an_event_loop_closes_the_one_in_the_thread(backend: str):
    client = Pieces(Delta("a"), Delta("b"), END)

    async def leave_early() -> None:
        pieces = stream_async(client, asked(), deadline_s=60)
        await anext(pieces)
        await pieces.aclose()

    anyio.run(leave_early, backend=backend)
    assert client.is_closed


class Hanging(Whole):
    """A client that says one word, and no other before it is let go; not to be awaited."""

    def __init__(self) -> None:
        import threading

        self.let_go, self.closed = threading.Event(), threading.Event()

    def stream(self, request: ChatRequest, *, deadline_s: float) -> Iterator[Delta]:
        try:
            yield Delta("a")
            self.let_go.wait(60)
            yield Delta("b")
        finally:
            self.closed.set()


def test_a_thread_that_is_left_waiting_closes_its_stream_itself():
    client = Hanging()

    async def listen() -> None:
        with pytest.raises(convo.CallTimedOut):
            await awaited(client, 0.05)
        assert not client.closed.is_set()
        client.let_go.set()

    anyio.run(listen)
    assert client.closed.wait(60)


class Mute(Whole):
    """A client that can be awaited, for ever."""

    async def chat_async(self, request: ChatRequest, *, deadline_s: float) -> ChatReply:
        await anyio.sleep_forever()
        raise AssertionError

    async def stream_async(self, request: ChatRequest, *, deadline_s: float) -> Any:
        yield Delta("a")
        await anyio.sleep_forever()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_piece_that_does_not_come_in_time_ends_the_stream(backend: str):
    with pytest.raises(convo.CallTimedOut, match=r"^nothing came of test/model within 0\.01 s"):
        anyio.run(awaited, Mute(), 0.01, backend=backend)


class Quarrelsome(Mute):
    """A client whose stream complains when it is closed."""

    def stream_async(self, request: ChatRequest, *, deadline_s: float) -> Any:
        return self

    def __aiter__(self) -> Quarrelsome:
        return self

    async def __anext__(self) -> Delta:
        if not hasattr(self, "said"):
            self.said = True
            return Delta("a")
        return await anyio.sleep_forever()

    async def aclose(self) -> None:
        raise ValueError("in the middle of it")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_stream_that_complains_at_its_end_does_not_swallow_a_cancellation(backend: str):
    async def cancelled() -> bool:
        async with convo.AsyncStore("sqlite://", client=Quarrelsome()) as store:
            talk = await store.create()
            with anyio.CancelScope() as scope:
                async for _ in talk.stream("hi"):
                    scope.cancel()
            turn = await talk.turn(1)
            return scope.cancelled_caught and (turn.state, turn.error) == ("failed", "cancelled")

    assert anyio.run(cancelled, backend=backend)


WHO = contextvars.ContextVar("who", default="nobody")


class Tracing(Whole):
    """A client that cannot be awaited, and keeps who called it in a context variable."""

    def stream(self, request: ChatRequest, *, deadline_s: float) -> Iterator[Delta]:
        WHO.set("me")
        yield Delta("a")
        yield Delta(WHO.get(), finish_reason="stop")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_client_in_threads_finds_its_context_at_each_piece(backend: str):
    assert ["a", "me"] == anyio.run(awaited, Tracing(), backend=backend)


class Tireless(Whole):
    """A client that can be awaited, and has piece after piece without waiting for anything."""

    async def chat_async(self, request: ChatRequest, *, deadline_s: float) -> ChatReply:
        raise AssertionError

    async def stream_async(self, request: ChatRequest, *, deadline_s: float) -> Any:
        while True:
            yield Delta()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_client_that_waits_for_nothing_leaves_the_others_their_turn(backend: str):
    async def cancelled() -> bool:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(awaited, Tireless())
                await anyio.sleep(0.01)
                scope.cancel()
        return scope.cancelled_caught

    assert anyio.run(cancelled, backend=backend)


def test_an_answer_of_nothing_is_blocked_as_it_is_for_who_asks_for_the_whole():
    with pytest.raises(convo.ReplyBlocked):
        list(stream(SyncOnly(ScriptedClient(ChatReply(()))), asked(), deadline_s=1))
