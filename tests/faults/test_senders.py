"""Many senders on one conversation: each turn is paid for once, and answers what stands before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import database_url, upgrade
from tests.faults.senders import (
    Race,
    race_of_processes,
    race_of_tasks,
    race_of_threads,
    same_request_from_processes,
    same_request_from_threads,
)
from tests.faults.server import SETTINGS, Server

SENDERS, TURNS = 8, 5


@pytest.fixture(params=["sqlite", "postgres"])
def roomy_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the URL of a store on a server of its own: that of all tests would have no connections left for them."""
    if request.param == "sqlite":
        yield database_url(request, "sqlite_store")
        return
    with Server({**SETTINGS, "max_connections": "130"}) as server:
        upgrade(server.url)
        yield server.url


@pytest.mark.parametrize(
    ("run", "senders"), [(race_of_threads, SENDERS), (race_of_processes, SENDERS), (race_of_tasks, 2 * SENDERS)]
)
def test_eight_senders_on_one_conversation_pay_once_a_turn(url: str, run: Callable[..., Race], senders: int):
    ended = run(url, senders, TURNS)
    assert [] == ended.wrong
    assert (senders * TURNS, senders * TURNS) == (ended.calls, ended.turns)


def test_one_request_from_100_threads_at_once_is_one_turn(url: str):
    calls, turns, got = same_request_from_threads(url, 100)
    assert (1, 1, 100) == (calls, turns, len(got))
    assert 1 == len(set(got) - {"TurnInFlight"})


def test_one_request_from_ten_processes_of_ten_threads_is_one_turn(roomy_url: str):
    calls, turns, got = same_request_from_processes(roomy_url, 10, 10)
    assert (1, 1, 100) == (calls, turns, len(got))
    assert 1 == len(set(got) - {"TurnInFlight"})
