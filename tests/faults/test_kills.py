"""Senders that are killed at any moment lose nothing that they were told."""

from __future__ import annotations

from tests.faults.kills import kill_senders

KILLS = 100


def test_killed_senders_lose_double_and_change_no_acknowledged_turn(url: str):
    figures = kill_senders(url, KILLS)
    assert [] == figures.wrong
    assert figures.acknowledged > 0
