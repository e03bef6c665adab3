"""Whatever a task was doing when it was cancelled, its turn is settled, and the store is anybody's at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import anyio
import pytest

import convo
from convo.exchange import Exchange
from convo.testing import HistoryClient
from convo.threads import Threads
from tests.faults.boundaries import telling
from tests.faults.cancellations import OPERATIONS, Sweep
from tests.faults.worker import Tell, Worker

OFTEN = ("send", "stream")
"""What is cancelled in each manner at each step, on SQLite; all else in one manner at each place, which take turns."""

AT_STEPS = [name for name, each in OPERATIONS.items() if "step" in each.places]
AT_BOUNDARIES = ("send", "stream", "resume", "discard", "create", "send in a task group", "regenerate", "edit")
SAMPLED = ("regenerate", "edit")
"""What is cancelled at each fifth boundary: its transactions are those of the others."""


def pick(every: int, boundaries: Sequence[str]) -> Sequence[int]:
    """Leave out the boundaries after which a transaction only reads; steps have no names, and all are taken.

    A transaction is finished in its thread whenever a cancellation comes, so that the event loop and the store are
    the same at all its boundaries; its beginning and those at which it has written are among them.
    """
    return telling(boundaries)[::every]


@pytest.mark.parametrize("operation", AT_STEPS)
def test_an_operation_may_be_cancelled_at_each_of_its_steps(url: str, operation: str, every: int):
    places = [each for each in OPERATIONS[operation].places if each != "boundary"]
    in_turn = ["queue"] if operation in OFTEN and url.startswith("sqlite") else places
    ended = Sweep(url, operation, places, in_turn=in_turn, pick=partial(pick, every)).run()
    assert [] == ended.wrong
    assert ended.count > 1


@pytest.mark.parametrize("operation", AT_BOUNDARIES)
def test_an_operation_may_be_cancelled_at_each_of_its_boundaries(url: str, operation: str, every: int):
    every *= 5 if operation in SAMPLED else 1
    ended = Sweep(url, operation, ["boundary"], in_turn=["boundary"], pick=partial(pick, every)).run()
    assert [] == ended.wrong
    assert ended.count > 1


# ---- Ctrl-C, and a reader who goes away without a word


class Interrupted(HistoryClient):
    """Is asked, and then Ctrl-C comes."""

    async def chat_async(self, request: convo.ChatRequest, *, deadline_s: float) -> convo.ChatReply:
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep_forever()


def interrupt_in_loop(tell: Tell, url: str, loop: str, name: str) -> None:
    """Let Ctrl-C come while the model is awaited; tell what came out, and what became of the turn."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started us may have had it ignored

    async def main() -> None:
        async with convo.AsyncStore(url, client=Interrupted()) as store:
            await store.create(name="talk")
            await OPERATIONS[name].run(store, "talk")

    try:
        anyio.run(main, backend=loop)
    except KeyboardInterrupt:
        tell("Ctrl-C")
    with convo.Store(url) as store:
        [turn] = store.get("talk").turns()
        tell((turn.state, turn.error))


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@pytest.mark.parametrize("name", ["send", "stream"])
def test_ctrl_c_in_an_event_loop_settles_the_turn(url: str, loop: str, name: str):
    assert ["Ctrl-C", ("failed", "cancelled")] == Worker(interrupt_in_loop, url, loop, name).end()


def test_a_stream_that_nobody_closes_is_settled_by_its_event_loop(url: str):
    """asyncio closes it in a task of its own; trio does too, and complains."""

    async def main() -> tuple[str, str | None]:
        async with convo.AsyncStore(url, client=HistoryClient()) as store:
            talk = await store.create()
            async for _ in talk.stream("text"):
                break
            while (turn := (await talk.turns())[-1]).state == "in_flight":  # each look lets the other task go on
                pass
            return turn.state, turn.error

    assert ("failed", "cancelled") == anyio.run(main)


# ---- the sweep is worth something: without a safeguard it goes red


run = Threads.run


async def droppable(self: Threads, work: Callable[[], Any], *, must_run: bool = False) -> Any:
    """Drop what settles a turn, too, when it is cancelled before it has begun."""
    return await run(self, work)


def unmarked(self: Exchange, error: BaseException) -> None:
    """Do not tell the store that a turn was given up."""


SAFEGUARDS = {
    "what settles a turn is run in any case": (Threads, "run", droppable),
    "a turn that is given up is marked": (Exchange, "_fail", unmarked),
}


@pytest.mark.parametrize("safeguard", SAFEGUARDS)
def test_the_sweep_finds_what_a_missing_safeguard_lets_happen(
    url: str, monkeypatch: pytest.MonkeyPatch, safeguard: str
):
    home, name, instead = SAFEGUARDS[safeguard]
    monkeypatch.setattr(home, name, instead)
    wrong = Sweep(url, "send", ["step"], ["twice", "scope", "trio"]).run().wrong
    assert any("TurnInFlight" in each for each in wrong)
