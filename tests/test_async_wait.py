"""on_conflict="wait" among tasks: their order, and those who leave the line by being cancelled or closed."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup
from sqlalchemy import Engine

import convo
from convo.testing import HistoryClient, ScriptedClient, violations
from tests.conftest import database_url

pytestmark = pytest.mark.anyio

WAITING = {"on_conflict": "wait"}


class Gate:
    """A client whose first answer is held back until `open` is set; the others echo at once."""

    def __init__(self) -> None:
        self.called = anyio.Event()
        self.open = anyio.Event()
        self._client = ScriptedClient()

    @property
    def asked(self) -> list[str | None]:
        """The newest message of every request so far, oldest first."""
        return [each.messages[-1].content for each in self._client.requests]

    def get_model(self, name: str) -> convo.Model:
        return self._client.get_model(name)

    async def chat_async(self, request: convo.ChatRequest, *, deadline_s: float) -> convo.ChatReply:
        reply = self._client.chat(request, deadline_s=deadline_s)
        self.called.set()
        await self.open.wait()
        return reply


@pytest.fixture(params=["sqlite", "postgres_store"], ids=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[convo.AsyncStore]:
    async with convo.AsyncStore(database_url(request, request.param), client=Gate()) as opened:
        yield opened


@pytest.fixture
async def talk(store: convo.AsyncStore) -> convo.AsyncConversation:
    return await store.create(model="scripted")


async def sending(talk: convo.AsyncConversation, group: TaskGroup) -> Gate:
    """Send `first`, as the first in the line; return the model when it has been called."""
    group.start_soon(partial(talk.send, "first", **WAITING))
    gate = talk._view.store.client
    await gate.called.wait()
    return gate


async def told(talk: convo.AsyncConversation) -> list[str | None]:
    """Return the user's messages."""
    return [each.content for each in await talk.messages() if each.side == 0]


async def wait_in_line(talk: convo.AsyncConversation, text: str, outcomes: list[Any], scope: anyio.CancelScope) -> None:
    """Send in a task that `scope` cancels; keep what came of it."""
    with scope:
        try:
            outcomes.append((await talk.send(text, **WAITING)).text)
        except convo.ConvoError as error:
            outcomes.append(type(error))
    if scope.cancelled_caught:
        outcomes.append("cancelled")


async def queue(talk: convo.AsyncConversation, group: TaskGroup, texts: list[str], outcomes: list[Any]) -> list[Any]:
    """Let tasks send one after the other; return the scopes that cancel them, when all stand in the line."""
    scopes = [anyio.CancelScope() for _ in texts]
    for text, scope in zip(texts, scopes, strict=True):
        group.start_soon(wait_in_line, talk, text, outcomes, scope)
        await anyio.wait_all_tasks_blocked()
    return scopes


async def test_twenty_tasks_are_answered_each_once_in_the_order_of_their_calls(talk: convo.AsyncConversation):
    texts, outcomes = [str(number) for number in range(20)], []
    async with anyio.create_task_group() as group:
        gate = await sending(talk, group)
        await queue(talk, group, texts, outcomes)
        gate.open.set()
    assert (texts, ["first", *texts], ["first", *texts]) == (outcomes, gate.asked, await told(talk))


async def test_a_task_that_is_cancelled_in_the_line_is_not_missed_by_those_behind(talk: convo.AsyncConversation):
    outcomes: list[Any] = []
    async with anyio.create_task_group() as group:
        gate = await sending(talk, group)
        scopes = await queue(talk, group, ["a", "b", "c"], outcomes)
        scopes[1].cancel()
        await anyio.wait_all_tasks_blocked()
        gate.open.set()
    assert (["cancelled", "a", "c"], ["first", "a", "c"]) == (outcomes, await told(talk))


async def test_a_task_that_is_cancelled_as_the_next_one_lets_the_one_behind_go_first(talk: convo.AsyncConversation):
    outcomes: list[Any] = []
    async with anyio.create_task_group() as group:
        gate = await sending(talk, group)
        scopes = await queue(talk, group, ["a", "b"], outcomes)
        gate.open.set()
        scopes[0].cancel()
    assert ("cancelled", "b") == tuple(outcomes)
    assert ["first", "b"] == await told(talk)


async def test_when_all_are_cancelled_nobody_is_left_in_the_line(talk: convo.AsyncConversation):
    async with anyio.create_task_group() as group:
        await sending(talk, group)
        await queue(talk, group, ["a", "b", "c"], [])
        group.cancel_scope.cancel()
    assert {} == talk._view.store.line._waiting
    [turn] = await talk.turns()
    assert ("failed", "cancelled") == (turn.state, turn.error)


async def test_those_behind_a_cancelled_turn_learn_that_it_is_unfinished(talk: convo.AsyncConversation):
    outcomes: list[Any] = []
    async with anyio.create_task_group() as group:
        [first] = await queue(talk, group, ["first"], outcomes)
        await talk._view.store.client.called.wait()
        await queue(talk, group, ["a", "b"], outcomes)
        first.cancel()
    assert ["cancelled", convo.TurnUnfinished, convo.TurnUnfinished] == outcomes


async def test_a_stream_that_is_cancelled_in_the_line_is_not_missed(talk: convo.AsyncConversation):
    outcomes: list[Any] = []

    async def stream(scope: anyio.CancelScope) -> None:
        with scope:
            async with aclosing(talk.stream("a", **WAITING)) as pieces:
                assert [] == [each async for each in pieces]

    async with anyio.create_task_group() as group:
        gate = await sending(talk, group)
        scope = anyio.CancelScope()
        group.start_soon(stream, scope)
        await anyio.wait_all_tasks_blocked()
        await queue(talk, group, ["b"], outcomes)
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        gate.open.set()
    assert (["b"], ["first", "b"]) == (outcomes, await told(talk))


async def test_a_stream_that_nobody_asked_for_a_piece_stands_in_no_line(talk: convo.AsyncConversation):
    pieces = talk.stream("never", **WAITING)
    talk._view.store.client.open.set()
    assert "a" == (await talk.send("a", **WAITING)).text
    await pieces.aclose()
    assert ["a"] == await told(talk)


async def test_one_who_waits_for_another_stores_turn_can_be_cancelled(
    store: convo.AsyncStore, talk: convo.AsyncConversation
):
    outcomes: list[Any] = []
    async with convo.AsyncStore(store.engine, client=ScriptedClient()) as other, anyio.create_task_group() as group:
        gate = await sending(talk, group)
        theirs = await other.get(talk.id)
        async with anyio.create_task_group() as others:
            [scope] = await queue(theirs, others, ["x"], outcomes)
            scope.cancel()
        gate.open.set()
    assert (["cancelled"], ["first"]) == (outcomes, await told(talk))


async def test_a_crowd_of_two_stores_on_one_conversation_is_answered_once_each(
    store: convo.AsyncStore, talk: convo.AsyncConversation
):
    store.client.open.set()
    async with convo.AsyncStore(store.engine, client=ScriptedClient()) as other:
        views = [talk, await other.get(talk.id)]
        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(partial(views[number % 2].send, str(number), **WAITING))
    assert sorted(map(str, range(10))) == sorted(await told(talk))


async def give_up_at_random(talk: convo.AsyncConversation, number: int, dice: random.Random) -> None:
    """Send or stream ten times, and be cancelled, or stop listening, at some moment or never."""
    for each in range(10):
        with anyio.move_on_after(dice.choice([0, 0.001, 0.003, 0.01, 0.05, 60])):
            if dice.random() < 0.5:
                await talk.send(f"{number}.{each}", **WAITING, on_unfinished="discard")
            else:
                await listen(talk, f"{number}.{each}", dice.randrange(8))


async def listen(talk: convo.AsyncConversation, text: str, count: int) -> None:
    """Take so many pieces of a stream at most."""
    async with aclosing(talk.stream(text, **WAITING, on_unfinished="discard")) as pieces:
        async for _ in pieces:
            if (count := count - 1) <= 0:
                return


async def test_tasks_that_give_up_at_random_leave_nothing_wrong_or_open(store: convo.AsyncStore):
    dice = random.Random(1)
    store.client = HistoryClient(delay_s=0.002)
    async with convo.AsyncStore(store.engine, client=store.client) as other:
        talks = [await store.create(name=str(number)) for number in range(3)]
        views = [*talks, *[await other.get(each.id) for each in talks]]
        async with anyio.create_task_group() as group:
            for number in range(18):
                group.start_soon(give_up_at_random, views[number % 6], number, dice)
    assert ({}, {}) == (talks[0]._view.store.line._waiting, views[-1]._view.store.line._waiting)
    assert ([], 0) == (wrong(store.engine), store.engine.pool.checkedout())
    assert set() == {turn.state for each in talks for turn in await each.turns()} - {"done", "failed"}


def wrong(engine: Engine) -> list[object]:
    with convo.Store(engine) as store:
        return list(violations(store))
