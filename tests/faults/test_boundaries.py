"""Whatever an operation was doing when it was killed, nothing is lost, nothing is doubled, and it can go on."""

from __future__ import annotations

import pytest

from tests.faults.boundaries import OPERATIONS, boundaries_of, sweep

ASYNC = ("send with a key", "send, resuming a dead turn", "stream with a key")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_may_die_at_each_of_its_boundaries(url: str, operation: str):
    boundaries, wrong = sweep(url, operation)
    assert [] == wrong
    assert boundaries > 10


@pytest.mark.parametrize("operation", ASYNC)
def test_an_awaited_operation_may_die_at_each_of_its_boundaries(url: str, operation: str):
    boundaries, wrong = sweep(url, operation, "asyncio")
    assert [] == wrong
    assert boundaries > 10


@pytest.mark.parametrize(
    ("shell", "operation"), [("asyncio", each) for each in OPERATIONS] + [("trio", each) for each in ASYNC]
)
def test_an_awaited_operation_has_the_boundaries_of_the_other_shell(url: str, shell: str, operation: str):
    """So that what was shown of one, killed at each, is true of the other."""
    assert boundaries_of(url, operation, "sync") == boundaries_of(url, operation, shell)
