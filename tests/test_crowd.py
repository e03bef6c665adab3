"""A thousand conversations that send at once through one AsyncStore: all are stored, over a few connections."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.crowd import Crowd, Result, engine_on, run, told

POOL = 10
SQLITE_POOL = 5
"""What SQLAlchemy's own pool keeps."""


def run_and_report(name: str, target: object, crowd: Crowd) -> Result:
    """Let the crowd send; tell how late the loop was, which says more of the machine than of convo."""
    result = run(target, crowd)
    sys.stdout.write(told(name, crowd, result))
    return result


def counts(result: Result) -> tuple[int, int, int, list[object]]:
    return result.turns, result.calls, result.left, result.faults


@pytest.mark.parametrize("crowd", [Crowd(1000, 0.2), Crowd(200, 0.2, is_streamed=True)], ids=["sent", "streamed"])
def test_a_crowd_on_postgresql_is_served_over_one_small_pool(postgres_url: str, crowd: Crowd):
    engine = engine_on(postgres_url, POOL)
    result = run_and_report("postgres", engine, crowd)
    engine.dispose()
    assert ((crowd.conversations, crowd.conversations, 0, []), POOL) == (counts(result), result.connections)


@pytest.mark.parametrize("crowd", [Crowd(1000, 0.2), Crowd(200, 0.2, is_streamed=True)], ids=["sent", "streamed"])
def test_a_crowd_on_sqlite_is_served_over_one_small_pool(tmp_path: Path, crowd: Crowd):
    result = run_and_report("sqlite", f"sqlite:///{tmp_path / 'convo.db'}", crowd)
    assert (crowd.conversations, crowd.conversations, 0, []) == counts(result)
    assert result.connections <= SQLITE_POOL
