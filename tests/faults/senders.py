"""Many senders on one conversation: none pays for a turn that another one gets, and no answer is to another history.

``python -m tests.faults senders --turns 200``: the long form, as threads of one process, as processes, and as tasks.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import convo
from convo.testing import Acknowledged, HistoryClient, violations
from tests.faults.database import DATABASES, open_database
from tests.faults.worker import CONTEXT, Tell, Worker

SETTINGS = {"context": "c", "examples": [("i", "o")], "input_token_limit": 600}
"""Longer histories than this limit are trimmed: the hash of a window must be right too."""


@dataclass(frozen=True)
class Race:
    """What came of senders that raced: the calls of the model, the turns that are stored, and what is wrong."""

    calls: int
    turns: int
    refusals: int
    """How often one was told that a turn is in flight."""
    wrong: list[str]
    seconds: float

    def __str__(self) -> str:
        facts = f"{self.calls} calls, {self.turns} turns, {self.refusals} refused before a call"
        return f"{facts}, {len(self.wrong)} violations, {self.seconds:.1f} s"


def take_turns(store: convo.Store, id: str, name: str, turns: int) -> tuple[list[Acknowledged], int]:
    """Send `turns` texts, each as often as it takes; return what was answered, and how often it was refused."""
    talk = store.get(id)
    heard, refused = [], 0
    while len(heard) < turns:
        text = f"{name} says {len(heard)}"
        try:
            reply = talk.send(text, request_key=text)
        except convo.TurnInFlight:
            refused += 1
            time.sleep(random.uniform(0.001, 0.01))
        else:
            heard.append(Acknowledged(id, text, text, reply.text))
    return heard, refused


def race(url: str, run: Callable[[str, str], tuple[int, list[Acknowledged], int]]) -> Race:
    """Let senders race on a new conversation, and look at what they left."""
    with convo.Store(url, client=HistoryClient()) as store:
        talk = store.create(**SETTINGS)
        began = time.monotonic()
        calls, heard, refused = run(url, talk.id)
        took = time.monotonic() - began
        wrong = violations(store, [talk.id], acknowledged=heard)
        return Race(calls, len(talk.turns()), refused, wrong, took)


# ---- senders with turns of their own


def race_of_threads(url: str, senders: int, turns: int) -> Race:
    def run(url: str, id: str) -> tuple[int, list[Acknowledged], int]:
        with convo.Store(url, client=HistoryClient(delay_s=0.002)) as store, ThreadPoolExecutor(senders) as pool:
            ended = list(pool.map(lambda name: take_turns(store, id, name, turns), _names(senders)))
        heard, refused = zip(*ended, strict=True)
        return store.client.calls, [each for some in heard for each in some], sum(refused)

    return race(url, run)


def race_of_processes(url: str, senders: int, turns: int) -> Race:
    def run(url: str, id: str) -> tuple[int, list[Acknowledged], int]:
        line = CONTEXT.Barrier(senders)
        workers = [Worker(send_in_process, line, url, id, name, turns) for name in _names(senders)]
        ended = [each.end()[0] for each in workers]
        calls, heard, refused = zip(*ended, strict=True)
        return sum(calls), [each for some in heard for each in some], sum(refused)

    return race(url, run)


def send_in_process(tell: Tell, line: object, url: str, id: str, name: str, turns: int) -> None:
    with convo.Store(url, client=HistoryClient(delay_s=0.002)) as store:
        line.wait()
        heard, refused = take_turns(store, id, name, turns)
        tell((store.client.calls, heard, refused))


def _names(senders: int) -> list[str]:
    return [f"sender {number}" for number in range(senders)]


def race_of_tasks(url: str, senders: int, turns: int) -> Race:
    """Let half of the senders be tasks of one AsyncStore that send and stream, and half threads of another Store."""
    names = _names(senders)

    def run(url: str, id: str) -> tuple[int, list[Acknowledged], int]:
        with convo.Store(url, client=HistoryClient(delay_s=0.002)) as store, ThreadPoolExecutor(senders) as pool:
            threads = [pool.submit(take_turns, store, id, name, turns) for name in names[::2]]
            calls, ended = asyncio.run(send_in_tasks(url, id, names[1::2], turns))
            heard, refused = zip(*ended, *(each.result() for each in threads), strict=True)
            return store.client.calls + calls, [each for some in heard for each in some], sum(refused)

    return race(url, run)


async def send_in_tasks(url: str, id: str, names: list[str], turns: int) -> tuple[int, list[Any]]:
    """Return how often the model was called, and what became of each sender."""
    async with convo.AsyncStore(url, client=HistoryClient(delay_s=0.002)) as store:
        ended = await asyncio.gather(*[take_turns_async(store, id, name, turns) for name in names])
        return store.client.calls, ended


async def take_turns_async(store: convo.AsyncStore, id: str, name: str, turns: int) -> tuple[list[Acknowledged], int]:
    """Send and stream by turns, as take_turns() sends."""
    talk = await store.get(id)
    heard, refused = [], 0
    while len(heard) < turns:
        text = f"{name} says {len(heard)}"
        try:
            reply = await (stream_whole if len(heard) % 2 else send_whole)(talk, text)
        except convo.TurnInFlight:
            refused += 1
            await asyncio.sleep(random.uniform(0.001, 0.01))
        else:
            heard.append(Acknowledged(id, text, text, reply.text))
    return heard, refused


async def send_whole(talk: convo.AsyncConversation, text: str) -> convo.Reply:
    return await talk.send(text, request_key=text)


async def stream_whole(talk: convo.AsyncConversation, text: str) -> convo.Reply:
    pieces = [each.text async for each in talk.stream(text, request_key=text)]
    assert "".join(pieces) == talk.last_reply.text
    return talk.last_reply


# ---- one request, many times at once


def same_request_from_threads(url: str, threads: int) -> tuple[int, int, list[str]]:
    """Send one request from many threads at once; return the calls, the turns, and what each one got."""
    with convo.Store(url, client=HistoryClient(delay_s=0.02)) as store:
        talk = store.create(**SETTINGS)
        got = at_once(store, talk.id, threads)
        return store.client.calls, len(talk.turns()), got


def same_request_from_processes(url: str, processes: int, threads: int) -> tuple[int, int, list[str]]:
    """Send one request from many threads of many processes at once; return as above."""
    with convo.Store(url) as store:
        talk = store.create(**SETTINGS)
        line = CONTEXT.Barrier(processes)
        workers = [Worker(same_request_in_process, line, url, talk.id, threads) for _ in range(processes)]
        ended = [each.end()[0] for each in workers]
        return sum(calls for calls, _ in ended), len(talk.turns()), [each for _, got in ended for each in got]


def same_request_in_process(tell: Tell, line: object, url: str, id: str, threads: int) -> None:
    with convo.Store(url, client=HistoryClient(delay_s=0.02)) as store:
        line.wait()
        got = at_once(store, id, threads)
        tell((store.client.calls, got))


def at_once(store: convo.Store, id: str, threads: int) -> list[str]:
    """Send one request from many threads; return each one's answer, or "TurnInFlight"."""

    def send(number: int) -> str:
        try:
            return store.get(id).send("text", request_key="key").text
        except convo.TurnInFlight:
            return "TurnInFlight"

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(send, range(threads)))


# ---- the long form

RACES = {
    "threads": race_of_threads,
    "processes": race_of_processes,
    "tasks and threads": race_of_tasks,
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults senders", description=__doc__.split("\n")[0])
    parser.add_argument("--database", choices=DATABASES, action="append", help="both without it")
    parser.add_argument("--senders", type=int, default=8)
    parser.add_argument("--turns", type=int, default=200, help="of each sender")
    given = parser.parse_args(arguments)
    failed = False
    for database in given.database or DATABASES:
        with open_database(database) as url:
            for kind, run in RACES.items():
                ended = run(url, given.senders, given.turns)
                _print(f"{database}, {given.senders} {kind}: {ended}", *ended.wrong[:10])
                failed |= bool(ended.wrong) or {ended.calls, ended.turns} != {given.senders * given.turns}
    return int(failed)


def _print(*lines: str) -> None:
    print(*lines, sep="\n  ", flush=True)  # noqa: T201 - the program's output
