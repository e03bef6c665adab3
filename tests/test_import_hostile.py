"""Files from anywhere: whatever is in them, what is stored is sound, and what is not is told, with its line."""

from __future__ import annotations

import copy
import io
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

import convo
from convo import sources
from convo.store.rows import CONVERSATIONS
from convo.testing import ScriptedClient
from tests.test_verify import cells, is_missed
from tests.transferring import Line, exported, failure, fates, imported, parsed, relinked, small, unsound, written


@pytest.fixture
def file() -> bytes:
    """Return a file of two conversations, the first one of which has everything."""
    with convo.Store("sqlite://") as store:
        talk = small(store)
        talk.erase(1, scrub=False)
        store.create(name="second", messages=["a", "b"])
        return exported(store)


def count(store: convo.Store) -> int:
    return sum(1 for _ in store.heads())


def kinds(lines: list[Line]) -> list[str]:
    return [each["type"] for each in lines]


# ---- cut and changed


def test_a_file_that_was_cut_is_refused_wherever_it_was(file: bytes, memory: convo.Store):
    for end in [*range(0, len(file) - 1, 97), len(file) - 100, len(file) - 2]:
        assert outcome(lambda end=end: imported(memory, file[:end])) is convo.InvalidFile, end
    assert 0 == count(memory)
    assert (2, len(file)) == (imported(memory, file.removesuffix(b"\n"))[0].new, len(file))


def outcome(use: Callable[[], object]) -> type[Exception] | None:
    try:
        use()
    except Exception as error:  # noqa: BLE001 - the test tells which one it wants
        return type(error)
    return None


def test_of_a_file_that_was_cut_whole_conversations_are_taken_when_that_is_wanted(file: bytes):
    lines = file.splitlines(keepends=True)
    second = next(at for at, each in enumerate(parsed(file)) if each["type"] == "conversation" and at > 1)
    for end in range(2, len(lines)):
        with convo.Store("sqlite://") as store:
            report, told = imported(store, b"".join(lines[:end])[:-5], lenient=True)
            assert (int(end > second), True) == (report.new, report.refused > 0)
            assert (report.new, []) == (count(store), unsound(store))
            assert all(each.why for each in told if each.fate == "refused")


def test_any_changed_byte_is_found(file: bytes, memory: convo.Store):
    rng = random.Random(7)
    for _ in range(150):
        place = rng.randrange(len(file) - 1)
        changed = file[:place] + bytes([file[place] ^ (1 << rng.randrange(7))]) + file[place + 1 :]
        assert outcome(lambda changed=changed: imported(memory, changed)) is convo.InvalidFile, place
    assert 0 == count(memory)


def test_several_exports_may_stand_in_one_file(file: bytes, memory: convo.Store):
    with convo.Store("sqlite://") as other:
        other.create(name="third")
        assert 3 == imported(memory, file + exported(other))[0].new
    assert outcome(lambda: imported(memory, file + b'{"type":"convo","version":1}\n')) is convo.InvalidFile


# ---- values

BAD: list[Any] = [
    None, True, -1, 2**31, 2**63, 1e400, 0.5, "", "x", "\0", "x" * 1025, [], {}, [[]], {"a": {}}, "AA" * 40,
    "1970-01-01", "2026-02-30T00:00:00Z", "0000-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z", [1] * 100,
    {"x": float("nan")},
]  # fmt: skip


def test_whatever_stands_for_a_value_nothing_untyped_and_nothing_unsound_comes_of_it(file: bytes):
    lines, rng = parsed(file), random.Random(3)
    places = [(at, name) for at, line in enumerate(lines) for name in line]
    with convo.Store("sqlite://") as store:
        for at, name in places:
            for bad in rng.sample(BAD, 2):
                changed = copy.deepcopy(lines)
                if changed[at][name] == bad and type(changed[at][name]) is type(bad):
                    continue
                changed[at][name] = bad
                assert [] == wrongly_taken(store, written(changed)), (at, name, bad)


def wrongly_taken(store: convo.Store, file: bytes) -> list[object]:
    """Import a file that is not what it should be, and forget what came of it; return what should not have come."""
    try:
        _, told = imported(store, file, lenient=True)
    except convo.InvalidFile:  # its first line is none
        return []
    found = [each for each in told if each.fate in ("refused", "conflict") and not each.why]
    wrong = [*found, *unsound(store)]
    with store.engine.begin() as connection:
        connection.execute(delete(CONVERSATIONS))
    return wrong


def test_lines_that_are_missing_doubled_or_moved_are_found(file: bytes):
    lines = parsed(file)
    with convo.Store("sqlite://") as store:
        for at in range(1, len(lines) - 1):
            assert [] == wrongly_taken(store, written([*lines[:at], *lines[at + 1 :]])), f"without {at}"
            assert [] == wrongly_taken(store, written([*lines[:at], lines[at], *lines[at:]])), f"twice {at}"
            assert [] == wrongly_taken(
                store, written([*lines[: at - 1], lines[at], lines[at - 1], *lines[at + 1 :]])
            ), f"moved {at}"


@pytest.mark.parametrize("new_ids", [False, True])
def test_random_lines_are_typed_errors(file: bytes, new_ids: bool):
    lines, rng = file.splitlines(keepends=True), random.Random(5)
    with convo.Store("sqlite://") as store:
        for _ in range(60):
            made = b"".join(rng.choices(lines, k=rng.randint(1, 12)))
            report, told = imported(store, lines[0] + made, lenient=True, new_ids=new_ids)
            assert len(told) == report.new + report.present + report.conflicts + report.refused
            assert [] == unsound(store)


# ---- forgers


def test_what_a_forger_changed_is_not_what_the_journal_tells(file: bytes, memory: convo.Store):
    for at, line in enumerate(parsed(file)):
        if line["type"] == "message" and line["content"]:
            changed = parsed(file)
            changed[at]["content"] += "!"
            _, told = imported(memory, written(changed), dry_run=True)
            assert [convo.Fate.REFUSED] == [each.fate for each in told if each.fate != convo.Fate.NEW]
            assert "it is not what its journal tells: turn" in "".join(each.why or "" for each in told)


def test_a_journal_that_was_linked_anew_is_refused_when_it_tells_of_other_texts(file: bytes, memory: convo.Store):
    lines = parsed(file)
    second = next(at for at, each in enumerate(lines) if each["type"] == "conversation" and at > 1)
    forged = [lines[0], *relinked(copy.deepcopy(lines[second:-1])), lines[-1]]
    assert ["new"] == fates(imported(memory, written(forged), dry_run=True)[1])
    for each in forged:
        if each["type"] == "event" and each["kind"] == "history":
            each["body"]["tokens"] = [7, 7]
    forged = [forged[0], *relinked(forged[1:-1]), forged[-1]]
    assert ["refused"] == fates(imported(memory, written(forged))[1])


def test_an_event_that_was_not_linked_is_exported_as_it_is_and_refused(memory: convo.Store):
    memory.create(messages=["a", "b"])
    with memory.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE convo_events SET body = x'7b0a7d' WHERE number = 2")
    file = exported(memory)
    assert ["unlinked"] == [each for each in kinds(parsed(file)) if each == "unlinked"]
    with convo.Store("sqlite://") as other:
        _, [told] = imported(other, file)
        assert ("refused", 0) == (told.fate, count(other))
        assert 1 == imported(other, file, new_ids=True)[0].new


def test_whatever_is_changed_in_what_was_imported_is_found():
    """Its journal tells of the times of each turn, of the form, and of answers that were not chosen."""
    file = exported_as_markdown()
    with convo.Store("sqlite://") as store:
        imported(store, file)
        assert [] == unsound(store)
        with store.engine.connect() as connection:
            driver = connection.connection.dbapi_connection
            everything = list(cells(driver))
        assert [] == sorted({f"{each[:2]}" for each in everything if is_missed(store, *each)})
        assert 100 < len(everything)


def exported_as_markdown() -> bytes:
    """Return a file with all that a conversation of a file can have."""
    file = io.BytesIO()
    with convo.Store("sqlite://") as store:
        talk = small(store)
        talk.erase(3, scrub=False)
        store.export(file, owner="acme", format="md")
    return file.getvalue()


# ---- what is no file of conversations


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n\n  \n", "is empty"),
        (b"[]", "of no form that is read here"),
        (b'{"a":1}', "of no form that is read here"),
        (b'{"preferred_output":[]}', "dpo is written, and not read"),
        (b'{"type":"convo","version":2}\n{"type":"end"}\n', "is none of an export"),
        (b'{"type":"convo","version":1}', "it was cut"),
        (b"{" * 100_000, "of no form that is read here"),
    ],
)
def test_what_is_no_file_of_conversations_is_told(content: bytes, reason: str, memory: convo.Store):
    assert reason in failure(convo.InvalidFile, lambda: imported(memory, content))


def test_a_last_line_that_is_another_one_too_is_told(memory: convo.Store):
    file = b'{"type":"convo","version":1}\n{"type":"end","type":"convo","version":1}\n'
    assert "it was changed" in failure(convo.InvalidFile, lambda: imported(memory, file))


def test_a_file_of_a_later_version_is_told(file: bytes, memory: convo.Store):
    lines = parsed(file)
    lines[0]["version"] = 2
    _, told = imported(memory, written(lines))
    assert (3, "line 1 tells of version 2: this release reads 1") == (len(told), told[0].why)


@pytest.mark.parametrize(
    "line",
    [
        b'{"messages":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"messages":[{"role":"user","content":NaN}]}',
        b'{"messages":[{"role":"user","content":' + b"9" * 5000 + b"}]}",
        b'{"messages":[{"role":"user","content":"\\ud800"},{"role":"assistant","content":"x"}]}',
        b'{"messages":[{"role":"user","content":"a\\u0000"},{"role":"assistant","content":"x"}]}',
        b'{"messages":[{"role":"user","content":"\xff"}]}',
        b'{"conversations":[{"from":"human","value":"x"},{"from":"gpt","value":5}]}',
        b'{"messages":[]}',
        b"# only a title",
        b"<!-- role: user -->\n",
    ],
)
def test_a_conversation_that_cannot_be_kept_is_refused_and_the_others_are_not(line: bytes, memory: convo.Store):
    good = b'{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"hello"}]}\n'
    if line.startswith((b"#", b"<")):
        report, told = imported(memory, line)
        assert (0, 1) == (report.new, report.refused)
    elif b"conversations" in line:
        good = b'{"conversations":[{"from":"human","value":"hi"},{"from":"gpt","value":"hello"}]}\n'
        report, told = imported(memory, good + line + b"\n" + good)
        assert (1, 1, 1) == (report.new, report.present, report.refused or len(report.dropped))
    else:
        report, told = imported(memory, good + line + b"\n" + good)
        assert (1, 1, 1) == (report.new, report.present, report.refused)
        assert [2] == [each.line for each in told if each.fate == "refused"]
    assert [] == unsound(memory)


def test_a_line_that_is_too_long_is_told(memory: convo.Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "MAX_LINE_BYTES", 200)
    line = json.dumps({"messages": [{"role": "user", "content": "x" * 300}]}).encode()
    assert "line 1 of" in failure(convo.InvalidFile, lambda: imported(memory, line))


def test_nothing_of_a_file_is_followed_or_quoted(memory: convo.Store, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("precious")
    said = [
        {"role": "user", "content": f"file://{secret}"},
        {"role": "assistant", "content": [{"image_url": str(secret)}]},
    ]
    _, [told] = imported(memory, json.dumps({"messages": said}).encode())
    assert ("precious" in repr(told), str(secret) in repr(told)) == (False, False)
    _, told = imported(memory, b'{"messages":[{"role":"user","content":"top secret \\u0000"}]}\n')
    assert "top secret" not in repr(told)


# ---- where from


def test_a_file_that_cannot_be_read_is_told(memory: convo.Store, tmp_path: Path):
    assert "No such file" in failure(convo.InvalidFile, lambda: memory.import_(tmp_path / "none"))
    assert "directory" in failure(convo.InvalidFile, lambda: memory.import_(tmp_path))
    (tmp_path / "x").write_bytes(b"x")
    assert "there is no form" in failure(convo.InvalidInput, lambda: memory.import_(tmp_path / "x", format="pdf"))
    assert "written, and not read" in failure(convo.InvalidFile, lambda: memory.import_(tmp_path / "x", format="csv"))


@pytest.mark.skipif(sys.platform == "win32", reason="NOT RUN: a pipe of another kind")
def test_a_pipe_and_the_rest_of_a_stream_are_read(file: bytes, memory: convo.Store):
    read, write = os.pipe()
    with os.fdopen(write, "wb") as end:
        end.write(file)
    with os.fdopen(read, "rb") as pipe:
        assert 2 == memory.import_(pipe).new
        assert not pipe.closed
    stream = io.BytesIO(b"something before" + file)
    stream.seek(len("something before"))
    assert 2 == memory.import_(stream).present


def test_windows_line_ends_and_a_byte_order_mark_are_read_where_they_change_nothing(file: bytes, memory: convo.Store):
    assert outcome(lambda: imported(memory, file.replace(b"\n", b"\r\n"))) is convo.InvalidFile
    assert 2 == imported(memory, file.replace(b"\n", b"\r\n"), lenient=True)[0].new
    chat = b'{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"hello"}]}'
    assert 1 == imported(memory, b"\xef\xbb\xbf" + chat + b"\r\n\r\n")[0].new
    assert 1 == imported(memory, chat)[0].present


def test_a_model_that_is_not_here_is_none_of_the_imports_business(file: bytes, memory: convo.Store):
    said = b"---\nmodel: openai/not-here\n---\n<!-- role: user -->\na\n<!-- role: assistant -->\nb\n"
    _, [told] = imported(memory, said)
    talk = memory.get(str(told.conversation))
    memory.client = ScriptedClient("c")
    assert ("openai/not-here", "c") == (talk.model, talk.send("x", model="offline/echo").text)
