"""An import that is killed at any statement is run again, and then the store is the one that it should be."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
from sqlalchemy import delete

import convo
from convo import importing
from convo.store.rows import CONVERSATIONS
from convo.testing import FaultPoints, kill_at
from tests.auditing import fill
from tests.faults.boundaries import telling
from tests.faults.worker import Tell, Worker
from tests.transferring import exported, unsound

CHATS = """\
{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}
{"messages":[{"role":"system","content":"c"},{"role":"user","content":"unanswered"}]}
{"messages":[{"role":"user","content":"d"},{"role":"assistant","content":"e"},{"role":"user","content":"f"}]}
"""


def import_until(tell: Tell, url: str, file: str, number: int) -> None:
    """Import a file, two conversations in each transaction, and die at point `number`; tell the points otherwise."""
    with patch.object(importing, "PAGE_CONVERSATIONS", 2), convo.Store(url) as store:
        with FaultPoints(store.engine, at=kill_at(number)) as points:
            store.import_(file)
        tell(points.names)


@pytest.fixture(params=["jsonl", "openai"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the name of a file of several conversations."""
    path = tmp_path / "chats"
    path.write_text(CHATS)
    if request.param == "jsonl":
        with convo.Store("sqlite://") as store:
            fill(store)
            path.write_bytes(exported(store))
    return str(path)


def test_an_import_that_was_killed_anywhere_is_run_again(url: str, file: str):
    [points] = Worker(import_until, url, file, 0).end()
    ends = [number for number, each in enumerate(points, start=1) if each == "after COMMIT"]
    assert len(ends) > 1
    with convo.Store(url) as store:
        whole = told(store)
    for number in telling(points):
        with convo.Store(url) as store, store.engine.begin() as connection:
            connection.execute(delete(CONVERSATIONS))
        killed = Worker(import_until, url, file, number)
        killed.end()
        assert killed.was_killed
        with convo.Store(url) as store:
            assert [] == unsound(store)
            found = store.import_(file)
            assert (found.is_whole, whole) == (True, told(store)), points[number - 1]
            assert (number >= ends[0]) == (found.present > 0), points[number - 1]


def told(store: convo.Store) -> object:
    """Return what a store has: to the byte, but for what each import makes anew of a file without salts and times."""
    file = exported(store)
    if b'"imported"' not in file:
        return file
    talks = {each.id: each for owner in (None, "acme") for each in store.list(owner=owner)}
    return {id: ([each.content for each in talk.messages()], talk.context) for id, talk in talks.items()}
