"""The command line, in real processes for the main job and in this one for the rest."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import convo
from convo.cli import main
from convo.testing.factories import ConversationFactory

HEAVY = ("sqlalchemy", "pydantic", "httpx", "alembic", "rich", "prompt_toolkit")


@dataclass
class Ran:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command in this process."""

    def command(*arguments: str, piped: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "argv", ["convo", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        return Ran(int(left.value.code or 0), out, err)

    return command


@pytest.fixture
def chats(tmp_path: Path) -> str:
    """Return the URL of a store that is not there yet."""
    return f"sqlite:///{tmp_path / 'chats.db'}"


def new_process(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "convo", *arguments], capture_output=True, text=True, **options)


def error_line(ran: Ran) -> str:
    """Return the error, which is the last line and has no traceback before it."""
    assert "Traceback" not in ran.err
    return ran.err.splitlines()[-1]


def test_a_named_conversation_goes_on_in_another_process():
    first = new_process("chat", "--name", "a", "My mother is ill")
    second = new_process("chat", "--name", "a", "I am sad")
    assert [0, 0] == [first.returncode, second.returncode], first.stderr + second.stderr
    shown = json.loads(new_process("show", "a", "--json").stdout)
    assert [1, 2, 3, 4] == [each["position"] for each in shown["messages"]]
    assert ["0", "1", "0", "1"] == [each["author"] for each in shown["messages"]]
    assert ["done", "done"] == [each["state"] for each in shown["turns"]]
    assert [first.stdout.strip(), second.stdout.strip()] == [each["content"] for each in shown["messages"][1::2]]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_help_imports_nothing_heavy(arguments: list[str]):
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "convo", *arguments], capture_output=True, text=True
    )
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in ran.stderr.splitlines()}
    assert "convo" in imported
    assert set() == imported & set(HEAVY)


def test_without_its_extra_the_command_says_what_to_install(tmp_path: Path):
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError('No module named typer', name='typer')")
    ran = new_process("--help", env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert (1, "error: the command line needs its extra: pip install 'convo[cli]'\n") == (ran.returncode, ran.stderr)


def test_the_answer_alone_is_on_standard_output(run: Run, chats: str):
    ran = run("-d", chats, "chat", "--name", "a", "-m", "offline/echo", "hello")
    assert "hello\n" == ran.out
    assert "'a', offline/echo" in ran.err


def test_eliza_is_said_not_to_be_a_language_model(run: Run, chats: str):
    assert "not a language model" in run("-d", chats, "chat", "hello").err


def test_json_tells_everything_of_the_answer(run: Run, chats: str):
    told = json.loads(run("-d", chats, "chat", "-m", "offline/echo", "--candidates", "2", "--json", "hi").out)
    assert ("hi", 1, ["hi", "hi (1)"]) == (told["text"], told["turn"], [each["content"] for each in told["candidates"]])
    assert {"tokens": 1, "limit": 1_000_000, "dropped_messages": 0, "dropped_examples": 0} == told["prompt"]


def test_json_says_every_character_as_it_is(run: Run, chats: str):
    text = "\U0001f3f4\U000e0067\U000e007f \x1b[31m \u202e \ud7ff é"
    assert text == json.loads(run("-d", chats, "chat", "-m", "offline/echo", "--json", text).out)["text"]


def test_a_context_that_is_the_same_may_be_given_again(run: Run, chats: str):
    given = ["chat", "--name", "a", "--context", "Be brief.", "--example", "a => b", "hi"]
    assert [0, 0] == [run("-d", chats, *given).code for _ in range(2)]


def test_the_retired_model_is_told_with_the_one_that_answers(run: Run, chats: str):
    told = run("-d", chats, "chat", "-m", "models/chat-bison-001", "hi").err
    assert "switched off in 2024: offline/eliza answers instead" in told
    assert "not a language model" in told
    assert "Warning" not in told


def test_settings_reach_the_conversation(run: Run, chats: str):
    settings = ["--temperature", "0.5", "--candidates", "2", "--top-p", "0.9", "--top-k", "40"]
    settings += ["--max-output-tokens", "9", "--stop", "END", "--stop", "###"]
    fixed = ["--context", "Be brief.", "--example", "a => b", "--example", "c=>d => e", "--input-token-limit", "500"]
    run("-d", chats, "chat", "--name", "a", "-m", "offline/echo", *settings, *fixed, "hi")
    with convo.Store(chats) as store:
        talk = store.get("a")
        assert convo.Parameters(0.5, 0.9, 40, 2, 9, ("END", "###")) == talk.parameters
        assert ("Be brief.", 500) == (talk.context, talk.record.input_token_limit)
        assert [("a", "b"), ("c", "d => e")] == [(each.input, each.output) for each in talk.examples()]


def test_a_model_given_for_an_existing_conversation_stays_and_is_told(run: Run, chats: str):
    run("-d", chats, "chat", "--name", "a", "hi")
    ran = run("-d", chats, "chat", "--name", "a", "-m", "offline/echo", "hi")
    assert "hi\n" == ran.out
    assert "from now on: model=offline/echo" in ran.err
    again = run("-d", chats, "chat", "--name", "a", "-m", "offline/echo", "there")
    assert "there\n" == again.out
    assert "from now on" not in again.err


def test_context_of_an_existing_conversation_is_refused(run: Run, chats: str):
    run("-d", chats, "chat", "--name", "a", "hi")
    ran = run("-d", chats, "chat", "--name", "a", "--context", "x", "hi")
    assert 1 == ran.code
    assert "fixed: begin another one" in error_line(ran)


def test_text_is_read_from_a_pipe(run: Run, chats: str):
    ran = run("-d", chats, "chat", "-m", "offline/echo", piped="héllo\nthere\n".encode())
    assert "héllo\nthere\n" == ran.out


def test_piped_bytes_that_are_not_utf8_are_refused(run: Run, chats: str):
    ran = run("-d", chats, "chat", piped=b"ab\xff")
    assert (1, "error: standard input is not UTF-8 at byte 2") == (ran.code, error_line(ran))


def test_continue_takes_the_latest_active_conversation(run: Run, chats: str):
    for name in ("old", "new", "old"):
        run("-d", chats, "chat", "--name", name, "-m", "offline/echo", "x")
    assert "'old'" in run("-d", chats, "chat", "-c", "y").err


def test_continue_without_conversations_is_not_found(run: Run, chats: str):
    assert 3 == run("-d", chats, "chat", "-c", "y").code


def test_an_id_or_its_beginning_goes_on(run: Run, chats: str):
    with convo.Store(chats) as store:
        talk = store.create(model="offline/echo")
    for reference in (talk.id, talk.id[:8]):
        assert 0 == run("-d", chats, "chat", "--id", reference, "x").code
    assert "\n[3] 0 (turn 2)\nx\n" in run("-d", chats, "show", talk.id[:8]).out


def test_list_is_made_for_pipes_where_there_is_no_terminal(run: Run, chats: str):
    with convo.Store(chats) as store:
        talk = ConversationFactory(store=store, name="a\tb", turns=2)
    fields = run("-d", chats, "list").out.rstrip("\n").split("\t")
    assert [talk.id, "a b", "2"] == fields[:3]
    assert talk.id == json.loads(run("-d", chats, "list", "--json").out)[0]["id"]


def test_show_tells_of_an_unanswered_turn_and_of_other_candidates(run: Run, chats: str):
    client = convo.testing.ScriptedClient(["one", "two"], convo.ModelError("down"))
    with convo.Store(chats, client=client) as store:
        talk = store.create(name="a", opening="Hello.", candidate_count=2)
        talk.send("first")
        with pytest.raises(convo.ModelError):
            talk.send("second")
    shown = run("-d", chats, "show", "a").out
    assert "[0] 1\nHello." in shown
    assert "[2] 1\none\n(1 other candidate)" in shown
    assert shown.endswith("[3] 0 (turn 2)\nsecond\n\n(no answer: ModelError)\n")
    last = json.loads(run("-d", chats, "show", "a", "--json", "-n", "1").out)
    assert ([3], ["failed"]) == (
        [each["position"] for each in last["messages"]],
        [each["state"] for each in last["turns"]],
    )


def test_an_unanswered_turn_is_told_with_what_to_do_and_can_be_settled(run: Run, chats: str):
    with convo.Store(chats, client=convo.testing.ScriptedClient(convo.ModelError("down"))) as store:
        talk = store.create(name="a", model="offline/echo")
        with pytest.raises(convo.ModelError):
            talk.send("first")
    told = run("-d", chats, "chat", "--name", "a", "second")
    assert 1 == told.code
    assert "--on-unfinished resume" in error_line(told)
    assert "second\n" == run("-d", chats, "chat", "--name", "a", "--on-unfinished", "resume", "second").out
    texts = [each["content"] for each in json.loads(run("-d", chats, "show", "a", "--json").out)["messages"]]
    assert ["first", "first", "second", "second"] == texts


def test_delete_asks_or_needs_to_be_told(run: Run, chats: str):
    with convo.Store(chats) as store:
        ConversationFactory(store=store, name="a")
    refused = run("-d", chats, "delete", "a")
    assert 1 == refused.code
    assert "add --yes" in error_line(refused)
    assert 0 == run("-d", chats, "delete", "a", "--yes").code
    assert 3 == run("-d", chats, "show", "a").code


def test_owners_see_their_own_conversations_only(run: Run, chats: str):
    run("-d", chats, "--owner", "acme", "chat", "--name", "a", "hi")
    assert 0 == run("-d", chats, "--owner", "acme", "show", "a").code
    assert 3 == run("-d", chats, "show", "a").code
    assert "" == run("-d", chats, "list").out


def test_db_path_hides_the_password(run: Run):
    assert "postgresql://me:***@host/db\n" == run("-d", "postgresql://me:secret@host/db", "db", "path").out


def test_db_check_does_not_create_a_store(run: Run, chats: str, tmp_path: Path):
    assert "the first `convo chat` creates it" in run("-d", chats, "db", "check").err
    assert [] == list(tmp_path.glob("chats*"))


def test_db_upgrade_and_check(run: Run, empty_url: str):
    assert "now has schema" in run("-d", empty_url, "db", "upgrade").err
    assert "has already schema" in run("-d", empty_url, "db", "upgrade").err
    assert (0, True) == ((ran := run("-d", empty_url, "db", "check")).code, "as this release needs" in ran.err)


def test_an_empty_postgresql_names_the_command(run: Run, postgres_url: str):
    ran = run("-d", postgres_url, "chat", "hi")
    assert 1 == ran.code
    assert "run `convo db upgrade`" in error_line(ran)
