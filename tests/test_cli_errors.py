"""Bad input on the command line: one line that says what to do, the right exit code, nothing stored, nothing lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

import convo
from tests.test_cli import Run, chats, error_line, run  # noqa: F401 - fixtures


@pytest.fixture
def filled(chats: str) -> str:  # noqa: F811 - a fixture
    """Return the URL of a store with one conversation of one turn, named a."""
    with convo.Store(chats) as store:
        store.create(name="a", model="offline/echo", context="x" * 400, messages=["one", "two"])
    return chats


def contents(url: str) -> list[object]:
    """Return what a store holds."""
    with convo.Store(url) as store:
        return [(talk.id, talk.version, [each.content for each in talk.messages()]) for talk in store.list()]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["show", "nope"], 3, "no conversation 'nope'"),
        (["show", "0000-0000"], 3, "no conversation"),
        (["delete", "--yes", "nope"], 3, "no conversation"),
        (["chat", "--id", "nope", "hi"], 3, "no conversation"),
        (["chat", "--id", "", "hi"], 3, "no conversation"),
        (["chat", "--name", "a", ""], 1, "message is empty"),
        (["chat", "--name", "a", " \n "], 1, "message is empty"),
        (["chat", "--name", "a", "x" * (4 * 1024 * 1024 + 1)], 1, "at most 4,194,304"),
        (["chat", "--name", "a", "ab\udcffc"], 1, "lone surrogate at position 2"),
        (["chat", "--name", "a", "--input-token-limit", "99", "hi"], 2, "the context alone has 100"),
        (["chat", "--name", "a", "-m", "nobody/none", "hi"], 3, "no model 'nobody/none'"),
        (["chat", "--name", "a", "--temperature", "-1", "hi"], 2, "temperature must be at least 0"),
        (["chat", "--name", "a", "--candidates", "9", "hi"], 2, "candidate_count must be within [1, 8]"),
        (["chat", "--name", "a", "--candidates", "x", "hi"], 2, "Input should be a valid integer"),
        (["chat", "--name", "a", "--on-unfinished", "maybe", "hi"], 2, "on_unfinished must be one of"),
        (["chat", "--name", "b", "--example", "no arrow", "hi"], 2, "INPUT => OUTPUT"),
        (["chat", "--name", "a", "--id", "a", "hi"], 2, "give one of --name, --id and --continue"),
        (["chat", "--name", "a\nb", "hi"], 1, "name must be one line"),
        (["chat", "--name", "01a2099d-b85c-76dc-984e-f57558cd61b0", "hi"], 1, "has the form of an id"),
        (["nothing"], 2, "No such command"),
    ],
)
def test_bad_input(run: Run, filled: str, arguments: list[str], code: int, words: str):  # noqa: F811 - a fixture
    before = contents(filled)
    ran = run("-d", filled, *arguments)
    assert code == ran.code, ran.err
    assert words in ran.err
    assert "" == ran.out
    assert "Traceback" not in ran.err
    assert before == contents(filled)


@pytest.mark.parametrize(
    "arguments",
    [[""], ["--on-unfinished", "bogus", "hi"], ["--input-token-limit", "3", "a message that does not fit"], []],
    ids=["blank", "unknown choice", "too long", "nothing piped"],
)
def test_a_new_conversation_is_not_kept_when_its_message_is_refused(run: Run, chats: str, arguments: list[str]):  # noqa: F811 - a fixture
    assert run("-d", chats, "chat", "--name", "new", *arguments).code
    assert [] == contents(chats)


def test_output_that_cannot_be_written_is_told(chats: str):  # noqa: F811 - a fixture
    ran = subprocess.run(
        f"{sys.executable} -m convo -d {chats} chat -m offline/echo hello >/dev/full",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert 1 == ran.returncode
    assert ran.stderr.endswith("error: the output could not be written: No space left on device\n")
    assert [["hello", "hello"]] == [texts for *_, texts in contents(chats)]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_closed_stream_is_no_reason_to_fail(filled: str, closed: str):
    ran = subprocess.run(
        f"{sys.executable} -m convo -d {filled} show a {closed}", shell=True, capture_output=True, text=True
    )
    assert (0, False) == (ran.returncode, "Traceback" in ran.stderr)


def test_a_nul_in_a_pipe_is_told_with_its_position(run: Run, filled: str):  # noqa: F811 - a fixture
    ran = run("-d", filled, "chat", "--name", "a", piped=b"ab\0c")
    assert (1, "error: message has a NUL character at position 2: remove it") == (ran.code, error_line(ran))


def test_an_ambiguous_prefix_lists_its_matches(run: Run, chats: str):  # noqa: F811 - a fixture
    with convo.Store(chats) as store:
        ids = [store.create(model="offline/echo").id for _ in range(2)]
    ran = run("-d", chats, "show", ids[0][:6])
    assert 5 == ran.code
    assert all(id in error_line(ran) for id in ids)


def test_a_folder_is_not_a_store(run: Run, tmp_path: Path):  # noqa: F811 - a fixture
    ran = run("-d", f"sqlite:///{tmp_path}", "list")
    assert (1, True) == (ran.code, "is a folder: name a file in it" in error_line(ran))


def test_a_file_that_is_no_database_is_left_as_it_is(run: Run, tmp_path: Path):  # noqa: F811 - a fixture
    notes = tmp_path / "notes.txt"
    notes.write_text("not a database, but somebody's notes\n" * 100)
    before = notes.read_bytes()
    ran = run("-d", f"sqlite:///{notes}", "chat", "hi")
    assert (1, True) == (ran.code, "not an SQLite database" in error_line(ran))
    assert before == notes.read_bytes()


def test_a_newer_schema_names_the_remedy(run: Run, filled: str):  # noqa: F811 - a fixture
    with convo.Store(filled) as store, store.engine.begin() as connection:
        connection.execute(text("UPDATE convo_schema SET version_num = '9999'"))
    ran = run("-d", filled, "chat", "--name", "a", "hi")
    assert (1, True) == (ran.code, "newer than this release's" in error_line(ran))


@pytest.mark.parametrize("url", ["nonsense", "mysql://me:secret@host/x", "postgresql://me:secret@127.0.0.1:1/x"])
def test_a_store_that_cannot_be_opened_is_told_without_its_password(run: Run, url: str):  # noqa: F811 - a fixture
    ran = run("-d", url, "list")
    assert 1 == ran.code
    assert "secret" not in ran.err
    assert 1 == len(ran.err.splitlines())
