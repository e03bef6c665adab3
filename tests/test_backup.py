"""A backup is the store as it was at one moment, without what was erased, and nobody has to wait for it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import convo
from convo.testing.factories import ConversationFactory
from tests.auditing import fill
from tests.conftest import opened
from tests.faults.worker import Tell, Worker
from tests.transferring import exported, failure, unsound

if sys.platform != "win32":
    import resource

LITE = {"file": ("sync", "sqlite_store"), "trio": ("trio", "sqlite_store"), "memory": ("sync", "memory")}


@pytest.fixture(params=LITE.values(), ids=LITE)
def lite(request: pytest.FixtureRequest) -> Iterator[convo.Store]:
    """Return a store in SQLite, of each shell, and in memory."""
    yield from opened(request)


def test_a_backup_opens_as_the_same_store(lite: convo.Store, tmp_path: Path):
    talk = lite.create(name="talk", model="offline/echo", context="c", messages=["a", "b"])
    talk.send("more")
    file = tmp_path / "backup.db"
    assert lite.backup(file) == file.stat().st_size
    with convo.Store(f"sqlite:///{file}") as copy:
        assert exported(lite) == exported(copy)
        assert "on" == copy.get("talk").send("on").text
        assert [] == unsound(copy)
    assert {file.name} == {each.name for each in tmp_path.iterdir() if each.name.startswith(("backup", "."))} - {
        f"backup.db{end}" for end in (".lock", ".lock.next", ".owners", "-wal", "-shm")
    }


def test_nothing_of_what_was_erased_is_in_it(tmp_path: Path):
    with convo.Store(f"sqlite:///{tmp_path / 'chats.db'}") as store:
        talk = store.create(model="offline/echo", messages=["planted words of somebody", "b"] * 3)
        talk.erase(1, 3, 5, scrub=False)
        store.backup(tmp_path / "backup.db")
    assert b"planted words" not in (tmp_path / "backup.db").read_bytes()


def send_until_told(tell: Tell, url: str, flag: str) -> None:
    """Send until a file is there; tell how often."""
    count = 0
    with convo.Store(url) as store:
        talk = store.get("busy")
        while not Path(flag).exists():
            talk.send(f"text {count}")
            count += 1
            if count == 3:
                tell("begun")
    tell(count)


def test_it_is_one_moments_while_another_process_writes(tmp_path: Path):
    url, flag = f"sqlite:///{tmp_path / 'chats.db'}", tmp_path / "flag"
    with convo.Store(url) as store:
        fill(store)
        store.create(name="busy", model="offline/echo")
        ConversationFactory(store=store, turns=500)
        writer = Worker(send_until_told, url, str(flag))
        assert "begun" == writer._ear.recv()
        for number in range(5):
            store.backup(tmp_path / f"{number}.db")
        flag.touch()
        [sent] = writer.end()
        lengths = []
        for number in range(5):
            with convo.Store(f"sqlite:///{tmp_path / f'{number}.db'}") as copy:
                assert [] == unsound(copy)
                lengths.append(copy.get("busy").version)
        assert 6 < lengths[0] <= lengths[-1] <= 2 * sent + 1
        assert lengths == sorted(lengths)


def test_what_is_there_already_is_never_replaced(lite: convo.Store, tmp_path: Path):
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link", "."):
        assert "is there already" in failure(convo.InvalidFile, lambda name=name: lite.backup(tmp_path / name))
    assert "precious" == (tmp_path / "file").read_text()
    assert "cannot be written" in failure(convo.InvalidFile, lambda: lite.backup(tmp_path / "none" / "x"))


@pytest.mark.skipif(sys.platform == "win32", reason="NOT RUN: no file can be limited")
def test_a_backup_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with convo.Store(f"sqlite:///{tmp_path / 'chats.db'}") as store:
        ConversationFactory(store=store, turns=500)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        try:
            with pytest.raises(convo.StoreError):
                store.backup(tmp_path / "backup.db")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert [] == [each.name for each in tmp_path.iterdir() if "backup" in each.name]


def test_threads_may_go_on_writing(tmp_path: Path):
    with convo.Store(f"sqlite:///{tmp_path / 'chats.db'}") as store:
        talk = store.create(model="offline/echo")
        threads = [threading.Thread(target=talk.send, args=("a",), kwargs={"on_conflict": "wait"}) for _ in range(4)]
        for each in threads:
            each.start()
        store.backup(tmp_path / "backup.db")
        for each in threads:
            each.join()
        assert 4 == talk.refresh().record.turn_count


def test_for_postgresql_there_is_a_program(postgres_store_url: str, tmp_path: Path):
    with convo.Store(postgres_store_url) as store:
        assert "pg_dump" in failure(convo.InvalidInput, lambda: store.backup(tmp_path / "x"))
