"""What is exported: which conversations, as they are at one moment, and into what."""

from __future__ import annotations

import io
import os
import stat
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

import convo
from convo.audits import EVERYONE
from convo.formats.catalog import FORMS
from convo.testing.factories import ConversationFactory
from tests.auditing import fill
from tests.transferring import exported, failure, parsed, small

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def ids(file: bytes) -> list[str]:
    return [each["id"] for each in parsed(file) if each["type"] == "conversation"]


def test_the_owners_conversations_are_meant_unless_others_are(store: convo.Store):
    mine, his = store.create(name="mine"), store.create(name="his", owner="b")
    assert [mine.id] == ids(exported(store, owner=None))
    assert [his.id] == ids(exported(store, owner="b"))
    assert sorted([mine.id, his.id]) == ids(exported(store))
    assert [] == ids(exported(store, owner="c"))
    assert [his.id] == ids(exported(store, "his", his.id[:20], owner="b"))
    failure(convo.ConversationNotFound, lambda: exported(store, "mine", owner="b"))
    assert "name the owner" in failure(convo.InvalidInput, lambda: exported(store, "mine", owner=EVERYONE))


def test_those_in_which_nothing_happened_for_a_while_can_be_left_out(memory: convo.Store):
    old, new = memory.create(), memory.create()
    with memory.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE convo_conversations SET updated_at = updated_at - 86400000000 WHERE name IS NULL AND id = ?",
            (bytes.fromhex(old.id.replace("-", "")),),
        )
    assert [new.id] == ids(exported(memory, since=timedelta(hours=23)))
    assert [old.id, new.id] == ids(exported(memory, since=timedelta(hours=25)))
    assert [new.id] == ids(exported(memory, since=datetime.now(UTC) - timedelta(hours=1)))
    assert [] == ids(exported(memory, old.id, owner=None, since=timedelta(0)))
    assert [old.id, new.id] == ids(exported(memory, since=timedelta.max))
    failure(convo.InvalidParameter, lambda: exported(memory, since=timedelta(-1)))
    failure(convo.InvalidParameter, lambda: exported(memory, since=datetime(2026, 1, 1)))  # noqa: DTZ001 - the case


def test_an_export_changes_nothing_and_is_the_same_each_time(store: convo.Store):
    fill_store(store)
    before = exported(store)
    events = {each.id: len(each.events()) for each in store.list(owner="acme")}
    assert before == exported(store)
    assert events == {each.id: len(each.events()) for each in store.list(owner="acme")}


def fill_store(store: convo.Store) -> None:
    small(store)
    store.get("small", owner="acme").fork(at=1)


def test_it_tells_how_much_it_was(store: convo.Store, tmp_path: Path):
    small(store)
    done = store.export(tmp_path / "chats.jsonl", owner="acme")
    size_bytes = (tmp_path / "chats.jsonl").stat().st_size
    assert convo.Exported("jsonl", 1, 5, 9, files=1, size_bytes=size_bytes) == done
    done = store.export(tmp_path / "chats.x.jsonl", owner="acme", format="openai")
    assert ("openai", 1, 4, 7, {"unanswered turns": 1}) == (
        done.format, done.conversations, done.turns, done.texts, done.left_out
    )  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_each_form_is_written_of_a_store_that_has_everything(name: str, memory: convo.Store):
    fill(memory)
    file = io.BytesIO()
    done = memory.export(file, owner=EVERYONE, format=name)
    assert (name, len(file.getvalue())) == (done.format, done.size_bytes)
    assert done.conversations > 0
    file.getvalue().decode()


@pytest.mark.parametrize(
    ("target", "form"),
    [("a.md", "md"), ("a.HTML", "html"), ("a.csv", "csv"), ("a", "jsonl"), ("a.b/c", "jsonl"), ("x.jsonl", "jsonl")],
)
def test_the_files_ending_tells_the_form(target: str, form: str, memory: convo.Store, tmp_path: Path):
    (tmp_path / "a.b").mkdir()
    assert form == memory.export(f"{tmp_path}/{target}").format


def test_an_unknown_form_is_refused_before_anything_is_written(memory: convo.Store, tmp_path: Path):
    assert "there is no form 'pdf'" in failure(convo.InvalidInput, lambda: memory.export(tmp_path / "x", format="pdf"))
    assert "end with .docx" in failure(convo.InvalidInput, lambda: memory.export(tmp_path / "x.docx"))
    failure(convo.ConversationNotFound, lambda: memory.export(tmp_path / "x.md", "nobody"))
    assert set() == names(tmp_path)


# ---- where to


def test_a_file_takes_its_place_when_it_is_whole_and_is_its_users_own(memory: convo.Store, tmp_path: Path):
    small(memory)
    other, file = tmp_path / "other", tmp_path / "chats.md"
    other.write_text("precious")
    file.symlink_to(other)
    memory.export(file, owner="acme")
    assert ("precious", False) == (other.read_text(), file.is_symlink())
    if sys.platform != "win32":
        assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    before = file.read_bytes()

    def fail(done: int, total: int) -> None:
        raise RuntimeError

    ConversationFactory(store=memory, owner="acme", turns=300)
    with pytest.raises(RuntimeError):
        memory.export(file, owner="acme", progress=fail)
    assert (before, {"other", "chats.md"}) == (file.read_bytes(), (names(tmp_path)))


def test_in_a_folder_each_conversation_has_a_file_that_its_id_names(store: convo.Store, tmp_path: Path):
    talks = [store.create(name=name, messages=["a", "b"]) for name in ("../../etc/passwd", "CON", ".hidden")]
    done = store.export(f"{tmp_path}/new/folder/", format="md")
    assert (3, 3) == (done.files, done.conversations)
    assert {f"{each.id}.md" for each in talks} == (names(tmp_path / "new/folder"))
    assert 1 == store.export(tmp_path, talks[0].id, format="html").files
    assert (tmp_path / f"{talks[0].id}.html").exists()


@pytest.mark.parametrize("path", ["none/x.md", "file/x.md", "file/folder/", "folder/../folder"])
def test_where_no_file_can_be_a_typed_error_tells(path: str, memory: convo.Store, tmp_path: Path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    memory.create()
    if path == "folder/../folder":
        assert 1 == memory.export(f"{tmp_path}/{path}", format="md").files
        return
    assert "name another place" in failure(convo.InvalidFile, lambda: memory.export(f"{tmp_path}/{path}"))


@pytest.mark.skipif(sys.platform != "linux", reason="NOT RUN: there is no /dev/full")
def test_a_full_disk_is_a_typed_error(memory: convo.Store):
    small(memory)
    assert "No space left" in failure(convo.InvalidFile, lambda: memory.export("/dev/full", owner="acme"))


@pytest.mark.skipif(sys.platform == "win32", reason="NOT RUN: there are no named pipes")
def test_a_named_pipe_is_written_to(memory: convo.Store, tmp_path: Path):
    small(memory)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    memory.export(pipe, owner="acme", format="jsonl")
    reader.join()
    assert [exported(memory, owner="acme")] == read


@pytest.mark.skipif(sys.platform != "linux", reason="NOT RUN: there is no /proc")
@pytest.mark.parametrize("folder", ["/dev/fd", "/proc/self/fd"])
def test_an_open_file_is_written_to_as_it_was_opened(folder: str, memory: convo.Store, tmp_path: Path):
    small(memory)
    with (tmp_path / "log").open("ab") as log:
        log.write(b"before\n")
        log.flush()
        memory.export(f"{folder}/{log.fileno()}", owner="acme", format="jsonl")
    assert b"before\n" + exported(memory, owner="acme") == (tmp_path / "log").read_bytes()
    assert {"log"} == names(tmp_path)


def test_what_a_stream_raises_comes_out_as_it_is(memory: convo.Store):
    class Gone:
        def write(self, content: bytes) -> None:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        memory.export(Gone())
    assert memory.create().id


# ---- what it costs


def statements(store: convo.Store, **asked: object) -> int:
    taken: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *given: taken.append(given[2]))
    exported(store, **asked)
    return len(taken)


def test_a_whole_store_takes_as_many_statements_however_large_it_is(memory: convo.Store):
    ConversationFactory(store=memory, turns=3)
    few = statements(memory)
    for _ in range(5):
        ConversationFactory(store=memory, turns=120)
    assert few == statements(memory)


def test_progress_is_told_in_turns(memory: convo.Store):
    ConversationFactory(store=memory, turns=450)
    told: list[tuple[int, int]] = []
    exported(memory, progress=lambda done, total: told.append((done, total)))
    assert [(200, 450), (400, 450)] == told
