"""A stream holds its turn for as long as it flows and is read, and no longer."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

import convo
from convo import exchange
from convo.testing import FaultPoints, HistoryClient, violations
from convo.testing.history import PIECES
from tests.faults.database import end_leases


class Watched(HistoryClient):
    """Tells how its streams ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[str] = []

    def stream(self, request: convo.ChatRequest, *, deadline_s: float) -> Iterator[convo.Delta]:
        try:
            yield from super().stream(request, deadline_s=deadline_s)
        except GeneratorExit:
            self.ended.append("closed")
            raise
        self.ended.append("by itself")

    async def stream_async(self, request: convo.ChatRequest, *, deadline_s: float) -> AsyncIterator[convo.Delta]:
        try:
            async with contextlib.aclosing(super().stream_async(request, deadline_s=deadline_s)) as pieces:
                async for each in pieces:
                    yield each
        except GeneratorExit:
            self.ended.append("closed")
            raise
        self.ended.append("by itself")


@pytest.fixture
def talk(store: convo.Store) -> convo.Conversation:
    store.client = Watched()
    return store.create()


@pytest.fixture
def _renewing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a stream renew its lease at each piece, as if ten seconds lay between them."""
    monkeypatch.setattr(exchange, "RENEW_S", 0.0)


def renewals(store: convo.Store, talk: convo.Conversation) -> int:
    """Return how many transactions a stream of PIECES pieces has between its first and its last one."""
    with FaultPoints(store.engine) as points:
        list(talk.stream("text"))
    return points.names.count("after COMMIT") - 2


def test_a_stream_that_takes_no_ten_seconds_writes_nothing_while_it_flows(store: convo.Store, talk: convo.Conversation):
    assert 0 == renewals(store, talk)


@pytest.mark.usefixtures("_renewing")
def test_a_stream_renews_its_lease_in_one_transaction_each_time(store: convo.Store, talk: convo.Conversation):
    assert PIECES == renewals(store, talk)


@pytest.mark.usefixtures("_renewing")
def test_nobody_takes_a_turn_over_whose_stream_flows_longer_than_its_lease(
    store: convo.Store, talk: convo.Conversation
):
    refused = 0
    end_its_lease = FaultPoints(store.engine, at=lambda _, name: "before piece" in name and end_leases(store))
    store.client = end_its_lease.client(HistoryClient())
    with end_its_lease:
        for _ in talk.stream("text"):
            with pytest.raises(convo.TurnInFlight):
                store.get(talk.id).resume()
            refused += 1
    assert (PIECES, "done") == (refused, talk.turns()[-1].state)


@pytest.mark.usefixtures("_renewing")
def test_an_expired_lease_that_nobody_took_over_is_renewed(store: convo.Store, talk: convo.Conversation):
    for _ in talk.stream("text"):
        end_leases(store)
    assert ["done"] == [each.state for each in talk.turns()]


@pytest.mark.usefixtures("_renewing")
@pytest.mark.parametrize("takes", ["resume", "discard"])
def test_a_reader_who_dawdles_beyond_the_lease_loses_the_turn_at_the_next_piece(
    store: convo.Store, talk: convo.Conversation, takes: str
):
    watched = store.client
    pieces = talk.stream("text")
    next(pieces)
    store.client = HistoryClient()
    end_leases(store)
    getattr(store.get(talk.id), takes)()
    with pytest.raises(convo.LeaseLost):
        next(pieces)
    assert ["closed"] == watched.ended
    assert [] == violations(store, [talk.id])
    assert ([1] if takes == "resume" else []) == [len(each.candidates) for each in talk.turns()]


def test_an_answer_that_is_whole_after_a_takeover_is_kept_and_does_not_count(
    store: convo.Store, talk: convo.Conversation
):
    pieces = talk.stream("text")
    next(pieces)
    end_leases(store)
    store.get(talk.id).resume()
    with pytest.raises(convo.LeaseLost):
        list(pieces)
    [turn] = talk.turns()
    assert (0, 2) == (turn.chosen, len(turn.candidates))
    assert [] == violations(store, [talk.id])
