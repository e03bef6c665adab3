"""The numbered points at which a process may die, and the model whose answers tell what it was asked."""

from __future__ import annotations

import asyncio
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import convo
from convo.testing import FaultPoints, HistoryClient, expected_reply, kill_at
from tests.faults.worker import Tell, Worker


class Broken(Exception):
    pass


def passed(store: convo.Store, talk: convo.Conversation) -> list[str]:
    with FaultPoints(store.engine) as points:
        talk.send("hello")
    return points.names


def test_each_point_of_a_turn_has_its_name(store: convo.Store):
    store.client = HistoryClient()
    talk = store.create()
    talk.send("the first turn also reads what is known of the model")
    points = FaultPoints(store.engine)
    store.client = points.client(store.client)
    with points:
        talk.send("hello")
    names = [each for each in points.names if each not in ("before BEGIN", "after BEGIN")]
    begins = "at the beginning of a transaction"
    first = "UPDATE convo_conversations"
    assert begins == names[0]
    assert [True, True] == [first in each for each in names[1:3]]
    called = names.index("before the model")
    assert ["before COMMIT", "after COMMIT", "before the model", "after the model", begins] == names[
        called - 2 : called + 3
    ]
    assert ["before COMMIT", "after COMMIT"] == names[-2:]
    assert 2 == sum(each.startswith("before") and "INSERT convo_messages" in each for each in names)


def test_the_same_turn_passes_the_same_points(store: convo.Store):
    talk = store.create(model="offline/echo")
    talk.send("hello")
    assert passed(store, talk) == passed(store, talk)


def test_nothing_is_counted_outside_the_block(store: convo.Store):
    talk = store.create(model="offline/echo")
    with FaultPoints(store.engine) as points:
        pass
    store.client = points.client(HistoryClient())
    talk.send("hello")
    assert [] == points.names


def test_what_is_raised_at_a_point_is_raised_there(store: convo.Store):
    def at(number: int, name: str) -> None:
        if name.startswith("before") and "INSERT convo_messages" in name:
            raise Broken

    talk = store.create(model="offline/echo")
    with FaultPoints(store.engine, at=at) as points, pytest.raises(Broken):
        talk.send("hello")
    assert ("before ROLLBACK", []) == (points.names[-2], talk.messages())


def test_points_are_numbered_over_all_threads(url: str):
    reached: list[int] = []
    with convo.Store(url) as store, ThreadPoolExecutor(4) as pool:
        talks = [store.create(model="offline/echo") for _ in range(4)]
        with FaultPoints(store.engine, at=lambda number, _: reached.append(number)) as points:
            list(pool.map(lambda talk: talk.send("hello"), talks))
    assert list(range(1, len(points.names) + 1)) == sorted(reached)


def die_at(tell: Tell, url: str, number: int) -> None:
    with convo.Store(url) as store, FaultPoints(store.engine, at=kill_at(number)):
        store.create(name="a", model="offline/echo")
        tell("created")


def test_a_process_is_killed_at_the_point_that_was_named(url: str):
    ended = [Worker(die_at, url, number) for number in (3, 1000)]
    assert [[], ["created"]] == [each.end() for each in ended]
    assert [-signal.SIGKILL, 0] == [each.process.exitcode for each in ended]


def test_an_answer_tells_the_history_that_it_was_given(store: convo.Store):
    store.client = HistoryClient()
    talk = store.create(context="c", examples=[("i", "o")], opening="hi")
    replies = [talk.send(said).text for said in ("a", "b")]
    messages, examples = talk.messages(), talk.examples()
    assert [expected_reply("c", examples, messages[:end]) for end in (2, 4)] == replies


def test_calls_are_counted_answered_or_not(store: convo.Store):
    def refuse(request: convo.ChatRequest) -> None:
        raise Broken

    store.client = HistoryClient(before_answer=refuse)
    with pytest.raises(convo.ModelError):
        store.create().send("a")
    assert 1 == store.client.calls


def test_the_hook_is_called_before_the_answer_with_what_was_asked():
    asked: list[str] = []
    waits, goes = threading.Event(), threading.Event()

    def wait(request: convo.ChatRequest) -> None:
        asked.append(request.messages[-1].content)
        waits.set()
        assert goes.wait(60)

    with convo.Store("sqlite://", client=HistoryClient(before_answer=wait)) as store, ThreadPoolExecutor(1) as pool:
        sent = pool.submit(store.create().send, "a")
        assert waits.wait(60)
        assert not sent.done()
        goes.set()
        assert ("a", ["a"]) == (sent.result().conversation.messages()[0].content, asked)


# ---- in pieces, and in an event loop


STREAMED = [
    "before the model",
    *(f"{side} piece {n}" for n in range(1, 5) for side in ("before", "after")),
    "after the model",
]


def asked(candidates: int = 1) -> convo.ChatRequest:
    return convo.ChatRequest("m", None, (), (convo.Message("0", "a"),), convo.Parameters(candidate_count=candidates))


def ask_in_every_way(client: HistoryClient, request: convo.ChatRequest) -> list[dict[int, str]]:
    """Return what chat, chat_async, stream and stream_async answer: the candidates by index."""

    async def wait() -> tuple[convo.ChatReply, list[convo.Delta]]:
        reply = await client.chat_async(request, deadline_s=1)
        return reply, [each async for each in client.stream_async(request, deadline_s=1)]

    whole, pieces = asyncio.run(wait())
    told = [client.chat(request, deadline_s=1), whole]
    found = [{each.index: each.content for each in reply.candidates} for reply in told]
    for some in (list(client.stream(request, deadline_s=1)), pieces):
        found.append({of: "".join(each.text for each in some if each.candidate == of) for of in found[0]})
    return found


@pytest.mark.parametrize("candidates", [1, 2])
def test_every_way_of_asking_has_the_same_answer_and_is_counted(candidates: int):
    client = HistoryClient()
    found = ask_in_every_way(client, asked(candidates))
    assert (4, 4 * [found[0]], candidates) == (client.calls, found, len(found[0]))


def test_each_candidate_ends_with_its_last_piece():
    pieces = list(HistoryClient().stream(asked(2), deadline_s=1))
    ends = [(each.candidate, each.finish_reason) for each in pieces if each.finish_reason]
    assert (8, [(0, "stop"), (1, "stop")], [None] * 6) == (
        len(pieces),
        ends,
        [each.finish_reason for each in pieces[:6]],
    )


def test_the_hook_is_called_in_every_way_of_asking():
    seen: list[convo.ChatRequest] = []
    ask_in_every_way(HistoryClient(before_answer=seen.append), asked())
    assert 4 * [asked()] == seen


def test_others_run_while_a_delayed_answer_is_awaited():
    async def wait() -> list[str]:
        order: list[str] = []

        async def other() -> None:
            order.append("other")

        async with asyncio.TaskGroup() as tasks:
            client = HistoryClient(delay_s=0.01, before_answer=lambda _: order.append("answer"))
            tasks.create_task(client.chat_async(asked(), deadline_s=1))
            tasks.create_task(other())
        return order

    assert ["other", "answer"] == asyncio.run(wait())


def test_each_piece_of_a_stream_is_a_point(store: convo.Store):
    points = FaultPoints(store.engine)
    store.client = points.client(HistoryClient())
    talk = store.create()
    with points:
        list(talk.stream("hello"))
    first = points.names.index("before the model")
    assert STREAMED == points.names[first : first + len(STREAMED)]


class ChatOnly:
    """A client that can be asked in one way."""

    def get_model(self, name: str) -> convo.Model:
        return convo.Model(name, 1000)

    def chat(self, request: convo.ChatRequest, *, deadline_s: float) -> convo.ChatReply:
        return convo.ChatReply(())


class AsyncChatOnly:
    """The same, to be awaited."""

    def get_model(self, name: str) -> convo.Model:
        return convo.Model(name, 1000)

    async def chat_async(self, request: convo.ChatRequest, *, deadline_s: float) -> convo.ChatReply:
        return convo.ChatReply(())


@pytest.mark.parametrize("client", [ChatOnly(), AsyncChatOnly(), HistoryClient()], ids=lambda each: type(each).__name__)
def test_a_watched_client_can_be_asked_in_the_ways_that_it_had(sync_store: convo.Store, client: object):
    ways = (convo.ChatClient, convo.StreamingClient, convo.AsyncChatClient, convo.AsyncStreamingClient)
    watched = FaultPoints(sync_store.engine).client(client)
    assert [isinstance(client, each) for each in ways] == [isinstance(watched, each) for each in ways]


def test_the_model_has_the_limit_that_it_was_given(store: convo.Store):
    store.client = HistoryClient(input_token_limit=3)
    with pytest.raises(convo.PromptTooLong):
        store.create().send("more than three tokens of text")
