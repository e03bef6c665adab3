"""Whatever an operation was doing when it was killed, nothing is lost, nothing is doubled, and it can go on."""

from __future__ import annotations

import pytest

from tests.faults.boundaries import OPERATIONS, Pick, boundaries_of, sweep, telling

ASYNC = ("send with a key", "stream with a key")

SAMPLED = {
    "regenerate": 4,
    "regenerate after a dead regeneration": 8,
    "send after a dead regeneration": 8,
    "choose after a dead regeneration": 4,
    "fork": 2,
    "fork after a dead regeneration": 5,
    "fork with another context": 4,
    "edit": 5,
    "edit of a failed last turn": 8,
}
"""At each how manieth boundary an operation dies here, which is made of others; the long form takes all of them."""

ALIKE = [each for each in OPERATIONS if "after a dead" not in each and SAMPLED.get(each, 0) < 8]
"""What is compared between the shells: without those that only begin elsewhere."""


@pytest.fixture
def pick(every: int, operation: str) -> Pick:
    return lambda boundaries: telling(boundaries)[:: every * SAMPLED.get(operation, 1)]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_may_die_at_each_of_its_boundaries(url: str, operation: str, pick: Pick):
    killed, wrong = sweep(url, operation, "sync", pick)
    assert [] == wrong
    assert killed > 0


@pytest.mark.parametrize("operation", ASYNC)
def test_an_awaited_operation_may_die_at_each_of_its_boundaries(url: str, operation: str, pick: Pick):
    killed, wrong = sweep(url, operation, "asyncio", pick)
    assert [] == wrong
    assert killed > 0


def test_a_death_where_nothing_but_reading_follows_is_one_at_the_next_boundary():
    boundaries = ["before BEGIN", "after BEGIN", "before SELECT", "after SELECT", "before INSERT convo_turns"]
    assert [1, 5] == telling(boundaries)


@pytest.mark.parametrize(
    ("shell", "operation"), [("asyncio", each) for each in ALIKE] + [("trio", each) for each in ASYNC]
)
def test_an_awaited_operation_has_the_boundaries_of_the_other_shell(url: str, shell: str, operation: str):
    """So that what was shown of one, killed at each, is true of the other."""
    assert boundaries_of(url, operation, "sync") == boundaries_of(url, operation, shell)
