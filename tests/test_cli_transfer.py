"""`convo export`, `convo import` and `convo db backup`: what they write, print, and leave with."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

import convo
from tests.terminals import on_terminal
from tests.test_cli import Run, chats, error_line, run  # noqa: F401 - fixtures
from tests.transferring import exported, small

CHAT = '{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"hello"}]}\n'
CALLING = '{"messages":[{"role":"user","content":"hi"},{"role":"tool"},{"role":"assistant","content":"y"}]}\n'


@pytest.fixture
def filled(chats: str) -> str:  # noqa: F811 - a fixture
    """Return the URL of a store with a conversation of acme's, and one of nobody's."""
    with convo.Store(chats) as store:
        small(store)
        store.create(name="mine", model="offline/echo", messages=["\x1b[31mred", "b"])
    return chats


@pytest.fixture
def empty(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'empty.db'}"


def everything(url: str) -> bytes:
    with convo.Store(url) as store:
        return exported(store)


# ---- export


def test_what_is_exported_is_on_standard_output_and_how_much_beside_it(filled: str):
    command = [sys.executable, "-m", "convo", "-d", filled, "export", "--all"]
    ran = subprocess.run(command, capture_output=True)
    assert (0, everything(filled)) == (ran.returncode, ran.stdout)
    assert b"exported 2 conversations, 6 turns, 11 texts\n" == ran.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["mine", "--format", "md"], "exported 1 conversation, 1 turn, 2 texts"),
        (["--owner", "acme", "-f", "csv"], "exported 1 conversation, 5 turns, 9 texts"),
        (["small", "--owner", "acme"], "exported 1 conversation, 5 turns, 9 texts"),
        (["--since", "1h"], "exported 1 conversation, 1 turn, 2 texts"),
        (["--all", "--since", "2w"], "exported 2 conversations, 6 turns, 11 texts"),
        (["--all", "--format", "openai"], "5 turns, 9 texts (left out: unanswered turns: 1)"),
        (["mine", "-f", "dpo"], "0 conversations, 0 turns, 0 texts (left out: conversations without a preference: 1)"),
    ],
)
def test_which_ones_are_meant_and_what_a_form_leaves_out(arguments: list[str], told: str, run: Run, filled: str):  # noqa: F811
    ran = run("-d", filled, "export", *arguments, "-o", os.devnull)
    assert (0, "") == (ran.code, ran.out)
    assert told in ran.err.replace(f" to {os.devnull}", "")


def test_the_owner_before_the_command_is_meant_too(run: Run, filled: str, tmp_path: Path):  # noqa: F811
    ran = run("-d", filled, "--owner", "acme", "export", "small", "-o", str(tmp_path / "x.html"))
    assert f"exported 1 conversation, 5 turns, 9 texts to {tmp_path}/x.html\n" == ran.err
    assert "<!doctype html>" in (tmp_path / "x.html").read_text()[:20].lower()


def test_a_folder_gets_a_file_for_each(run: Run, filled: str, tmp_path: Path):  # noqa: F811
    ran = run("-d", filled, "export", "--all", "-o", f"{tmp_path}/pages/", "--format", "html")
    assert ran.err.endswith("pages/, in 2 files\n")
    assert 2 == len(list((tmp_path / "pages").glob("*.html")))


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "name conversations, or say --all, --owner or --since"),
        (["--all", "mine"], 2, "--all means everyone's"),
        (["--all", "--owner", "acme"], 2, "--all means everyone's"),
        (["--since", "soon"], 2, "write a number and s, min, h, d or w"),
        (["nobody"], 3, "no conversation 'nobody'"),
        (["--all", "--format", "pdf"], 2, "there is no form 'pdf'"),
        (["--all", "-o", "x.pdf"], 2, "no form has files that end with .pdf"),
        (["--all", "-o", "none/x.md"], 1, "cannot be written (No such file or directory)"),
    ],
)
def test_what_cannot_be_exported_is_told(arguments: list[str], code: int, told: str, run: Run, filled: str):  # noqa: F811
    ran = run("-d", filled, "export", *arguments)
    assert (code, "") == (ran.code, ran.out)
    assert told in ran.err


def test_the_name_of_a_folder_tells_of_no_form(run: Run, filled: str, tmp_path: Path):  # noqa: F811
    (tmp_path / "chats.2026").mkdir()
    assert 0 == run("-d", filled, "export", "--all", "-o", str(tmp_path / "chats.2026")).code
    assert 2 == len(list((tmp_path / "chats.2026").glob("*.jsonl")))


def test_nothing_acts_on_a_terminal(filled: str):
    command = f"{sys.executable} -m convo -d {filled} export mine --format md"
    printed = pexpect.run(command, encoding="utf-8", timeout=60)
    assert "\\x1b[31mred" in printed
    assert "\x1b[31m" not in printed


def test_a_reader_that_leaves_ends_it(filled: str):
    command = f"{sys.executable} -m convo -d {filled} export --all | head -n 1"
    ran = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (0, '{"type":"convo","version":1}\n') == (ran.returncode, ran.stdout)
    assert "Traceback" not in ran.stderr


# ---- import


def test_it_comes_back_and_is_told_exactly(run: Run, filled: str, empty: str, tmp_path: Path):  # noqa: F811
    file = tmp_path / "chats.jsonl"
    assert 0 == run("-d", filled, "export", "--all", "-o", str(file)).code
    ran = run("-d", empty, "import", "--dry-run", str(file))
    assert (0, "", f"would import 2 conversations, 6 turns, 11 texts from {file}\n") == (ran.code, ran.out, ran.err)
    ran = run("-d", empty, "import", str(file))
    assert (0, "", f"imported 2 conversations, 6 turns, 11 texts from {file}\n") == (ran.code, ran.out, ran.err)
    assert everything(filled) == everything(empty)
    ran = run("-d", empty, "import", str(file))
    assert (0, f"imported 0 conversations, 0 turns, 0 texts from {file}; 2 there already\n") == (ran.code, ran.err)
    assert "self-consistent\n" in run("-d", empty, "verify", "--all").out


def test_what_was_dropped_is_told_and_fails(run: Run, empty: str):  # noqa: F811
    ran = run("-d", empty, "import", "-", piped=(CHAT + CALLING + "{}\n").encode())
    lines = ran.out.splitlines()
    assert (1, 2) == (ran.code, len(lines))
    assert lines[0].startswith("line 2: new ")
    assert lines[0].endswith(": dropped: tool messages: 1")
    assert lines[1].startswith("line 3: refused: ")
    told = "imported 2 conversations, 2 turns, 4 texts from -; 1 refused; dropped: tool messages: 1\n"
    assert told == ran.err
    ran = run("-d", empty, "import", "-", "--lenient", piped=(CHAT + CALLING).encode())
    assert (0, "imported 0 conversations, 0 turns, 0 texts from -; 2 there already\n") == (ran.code, ran.err)


def test_json_tells_the_same(run: Run, empty: str, tmp_path: Path):  # noqa: F811
    (tmp_path / "cut.jsonl").write_text('{"type":"convo","version":1}\n')
    files = ["-", str(tmp_path / "cut.jsonl")]
    ran = run("-d", empty, "import", *files, "--json", piped=(CALLING + "{}\n").encode())
    told = json.loads(ran.out)
    assert (1, 1, 1, {"tool messages": 1}) == (ran.code, told["new"], told["refused"], told["dropped"])
    piped, cut = told["files"]
    assert [("new", 1), ("refused", 2)] == [(each["fate"], each["line"]) for each in piped["faults"]]
    assert (None, True) == (piped["error"], "it was cut" in cut["error"])


def test_each_time_what_was_dropped_is_told_and_fails(run: Run, empty: str):  # noqa: F811
    for fate in ("new", "present"):
        ran = run("-d", empty, "import", "-", piped=CALLING.encode())
        assert (1, True) == (ran.code, ran.out.startswith(f"line 1: {fate} "))


def test_of_several_files_each_is_named(run: Run, empty: str, tmp_path: Path):  # noqa: F811
    files = [str(tmp_path / name) for name in ("one.jsonl", "two.jsonl")]
    for each in files:
        Path(each).write_text(CHAT + "{}\n")
    ran = run("-d", empty, "import", *files)
    assert [f"{each}, line 2: refused: no list of 'messages'" for each in files] == ran.out.splitlines()


def test_what_came_before_a_file_broke_off_is_told(
    run: Run,  # noqa: F811
    empty: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("convo.sources.MAX_LINE_BYTES", 1000)
    lines = [CHAT.replace("hi", f"hi {number}") for number in range(300)]
    (tmp_path / "long.jsonl").write_text("".join([*lines, "x" * 2000]))
    ran = run("-d", empty, "import", str(tmp_path / "long.jsonl"), "--lenient")
    assert (1, True) == (ran.code, "line 301 of" in ran.err)
    with convo.Store(empty) as store:
        count = len(store.list(limit=400))
    assert f"imported {count} conversations, {count} turns, {2 * count} texts from" in error_line(ran)


def test_all_files_are_read_and_one_that_cannot_be_fails(run: Run, empty: str, tmp_path: Path):  # noqa: F811
    (tmp_path / "chat.jsonl").write_text(CHAT)
    (tmp_path / "cut.jsonl").write_text('{"type":"convo","version":1}\n')
    files = [str(tmp_path / name) for name in ("none.jsonl", "cut.jsonl", "chat.jsonl")]
    ran = run("-d", empty, "import", *files, "--owner", "acme")
    assert 1 == ran.code
    assert "none.jsonl cannot be read" in ran.err
    assert "cut.jsonl: it has no last line that counts the others: it was cut" in ran.err
    assert "imported 1 conversation, 1 turn, 2 texts" in ran.err
    with convo.Store(empty) as store:
        assert 1 == len(store.list(owner="acme"))


def test_a_conflict_is_told_and_new_ids_make_another_one(run: Run, filled: str, tmp_path: Path):  # noqa: F811
    file = str(tmp_path / "mine.jsonl")
    run("-d", filled, "export", "mine", "-o", file)
    run("-d", filled, "chat", "--name", "mine", "more")
    ran = run("-d", filled, "import", file)
    assert (1, True) == (ran.code, "the store's has gone on since, by 2 events" in ran.out)
    assert ran.err.endswith("; 1 conflict\n")
    ran = run("-d", filled, "import", file, "--new-ids", "--lenient")
    assert (0, True) == (ran.code, "dropped: names: 1" in ran.err)


def test_an_unknown_form_is_told(run: Run, empty: str):  # noqa: F811
    ran = run("-d", empty, "import", "-", "--format", "pdf", piped=b"x")
    assert (2, True) == (ran.code, "there is no form 'pdf'" in error_line(ran))
    ran = run("-d", empty, "import", "-", "--format", "html", piped=b"x")
    assert (2, True) == (ran.code, "html is written, and not read" in error_line(ran))
    assert not Path(empty.removeprefix("sqlite:///")).exists()


def test_a_bar_is_shown_on_a_terminal_and_is_gone_at_the_end(filled: str, empty: str, tmp_path: Path):
    file = tmp_path / "chats.jsonl"
    file.write_bytes(everything(filled))
    code, printed = on_terminal("-d", empty, "import", str(file))
    assert (0, True) == (code, "importing" in printed)
    assert "imported 2 conversations" in printed.splitlines()[-1]


def test_what_takes_no_time_has_no_bar(filled: str, empty: str, tmp_path: Path):
    file = tmp_path / "chats.jsonl"
    file.write_bytes(everything(filled))
    command = f"{sys.executable} -m convo -d {empty} import {file}"
    assert "importing" not in pexpect.run(command, encoding="utf-8", timeout=60)


def test_what_is_meant_for_a_file_gets_there_while_a_bar_is_shown(filled: str, empty: str, tmp_path: Path):
    written, told = tmp_path / "written.jsonl", tmp_path / "told.txt"
    with convo.Store(filled) as store:
        store.create(name="long", messages=["a", "b"] * 400)
    code, printed = on_terminal("-d", filled, "export", "--all", rest=f"> {written}")
    assert (0, True, everything(filled)) == (code, "exporting" in printed, written.read_bytes())
    (tmp_path / "chat.jsonl").write_text(CALLING)
    code, printed = on_terminal("-d", empty, "import", str(tmp_path / "chat.jsonl"), rest=f"> {told}")
    assert (1, True) == (code, told.read_text().endswith(": dropped: tool messages: 1\n"))
    assert "line 1" not in printed


# ---- backup


def test_a_backup_is_a_store(run: Run, filled: str, tmp_path: Path):  # noqa: F811
    file = tmp_path / "backup.db"
    ran = run("-d", filled, "db", "backup", str(file))
    assert (0, "", f"{file} has {file.stat().st_size:,} bytes\n") == (ran.code, ran.out, ran.err)
    assert everything(filled) == everything(f"sqlite:///{file}")
    if sys.platform != "win32":
        assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    ran = run("-d", filled, "db", "backup", str(file))
    assert (1, f"error: {file} is there already: name another file, or remove it first") == (ran.code, error_line(ran))


def test_for_postgresql_the_program_for_it_is_named(run: Run, postgres_store_url: str, tmp_path: Path):  # noqa: F811
    ran = run("-d", postgres_store_url, "db", "backup", str(tmp_path / "x"))
    assert (1, True) == (ran.code, "use pg_dump" in ran.err)
