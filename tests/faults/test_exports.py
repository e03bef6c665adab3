"""A connection that is lost while conversations are exported: a file is whole all the same, and a reader is told."""

from __future__ import annotations

import gc
import io
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

import convo
from tests.faults.proxy import Fate, Nth, Proxy, let_pass
from tests.transferring import exported, failure

TURNS = 600
BROKEN_OFF = "what was written"


@pytest.fixture
def proxy(postgres_store_url: str) -> Iterator[Proxy]:
    """Return a proxy before a store with a conversation that takes several readings."""
    with convo.Store(postgres_store_url) as store:
        store.create(name="long", messages=["x" * 100] * 2 * TURNS)
    with Proxy(postgres_store_url) as made:
        yield made


@pytest.fixture
def lost(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[convo.Store]:
    """Return a store whose connection is lost when something was read already; its answer is not heard."""
    with convo.Store(proxy.url) as store:
        whole = exported(store)
        assert len(whole) > 100_000
        proxy.rule = Nth(fetches(proxy) - 1, Fate.CUT_AFTER, match=is_fetch)
        yield store


def is_fetch(statement: str) -> bool:
    return "FETCH" in statement.upper() or "convo_messages" in statement


def cut_again(lost: convo.Store, proxy: Proxy, form: str) -> None:
    """Let the connection be lost at the last reading of an export in a form."""
    proxy.rule, before = let_pass, fetches(proxy)
    lost.export(io.BytesIO(), format=form)
    proxy.rule = Nth(fetches(proxy) - before - 1, Fate.CUT_AFTER, match=is_fetch)


def fetches(proxy: Proxy) -> int:
    return sum(map(is_fetch, proxy.statements))


@pytest.mark.parametrize("form", ["jsonl", "md"])
def test_a_file_is_written_again_from_its_beginning(form: str, lost: convo.Store, proxy: Proxy, tmp_path: Path):
    cut_again(lost, proxy, form)
    done = lost.export(tmp_path / f"chats.{form}")
    assert proxy.rule.has_struck
    written = (tmp_path / f"chats.{form}").read_bytes()
    expected = io.BytesIO()
    lost.export(expected, format=form)
    assert (expected.getvalue(), len(written), 1) == (written, done.size_bytes, done.files)
    assert [f"chats.{form}"] == [each.name for each in tmp_path.iterdir()]


def test_files_of_a_folder_are_written_again(lost: convo.Store, proxy: Proxy, tmp_path: Path):
    done = lost.export(tmp_path)
    assert (True, 1, 1) == (proxy.rule.has_struck, done.files, done.conversations)
    assert [f"{lost.get('long').id}.jsonl"] == [each.name for each in tmp_path.iterdir()]


def test_the_reader_of_a_stream_is_told_that_it_is_not_whole(lost: convo.Store, proxy: Proxy):
    stream = io.BytesIO()
    assert BROKEN_OFF in failure(convo.StoreUnavailable, lambda: lost.export(stream))
    assert proxy.rule.has_struck
    whole = exported(lost)
    assert whole.startswith(stream.getvalue())
    assert len(stream.getvalue()) < len(whole)
    failure(convo.InvalidFile, lambda: lost.import_(io.BytesIO(stream.getvalue())))


@pytest.mark.skipif(sys.platform == "win32", reason="NOT RUN: there are no named pipes")
def test_the_reader_of_a_pipe_is_told_too_and_hears_nothing_twice(lost: convo.Store, proxy: Proxy, tmp_path: Path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    assert BROKEN_OFF in failure(convo.StoreUnavailable, lambda: lost.export(pipe, format="jsonl"))
    reader.join(10)
    assert proxy.rule.has_struck
    assert exported(lost).startswith(read[0])
    assert read[0].count(b'{"type":"convo"') == 1


def test_what_was_not_read_is_closed_before_somebody_else_has_the_connection(postgres_store_url: str):
    """Closing a cursor of the server's later would be a statement in another one's transaction, and end that."""
    with convo.Store(
        create_engine(postgres_store_url.replace("postgresql:", "postgresql+psycopg:"), pool_size=1)
    ) as store:
        store.create(messages=["x"] * 2000)
        try:
            store.export(io.BytesIO(), progress=lambda *_: 1 // 0)
        except ZeroDivisionError as error:
            kept = [error]
        with store.engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            kept.clear()  # and what stands in the frames of its traceback
            gc.collect()
            assert 1 == connection.scalar(text("SELECT 1"))
        store.engine.dispose()
