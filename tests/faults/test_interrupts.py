"""Ctrl-C at any moment leaves a store that can be used at once, by this process and by others."""

from __future__ import annotations

import pytest

from tests.faults.interrupts import INTERRUPTED, sweep

SAMPLED = ("regenerate", "fork", "edit")
"""What is interrupted at each fifth boundary."""


@pytest.mark.parametrize("operation", INTERRUPTED)
def test_an_operation_may_be_interrupted_at_each_of_its_boundaries(url: str, operation: str, every: int):
    boundaries, wrong = sweep(url, operation, every * 5 if operation in SAMPLED else every)
    assert [] == wrong
    assert boundaries > 10
