"""Whatever an operation was doing when it was killed, nothing is lost, nothing is doubled, and it can go on."""

from __future__ import annotations

import pytest

from tests.faults.boundaries import OPERATIONS, sweep


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_may_die_at_each_of_its_boundaries(url: str, operation: str):
    boundaries, wrong = sweep(url, operation)
    assert [] == wrong
    assert boundaries > 10
