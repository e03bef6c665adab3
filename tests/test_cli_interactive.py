"""The conversation at the terminal, typed by a person: in a real pseudo-terminal."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

import convo
from convo.cli.chat import answer
from convo.testing import ScriptedClient, Streamed

SLOW = """
import sys, time
import convo
from convo.cli.interactive import converse
from convo.testing import ScriptedClient

def slow(request):
    print("thinking", flush=True)
    time.sleep(60)

with convo.Store(sys.argv[1], client=ScriptedClient(slow, "Here I am.")) as store:
    converse(store, store.get_or_create("a"))
"""

WORDS = """
import sys, time
import convo
from convo.cli.interactive import converse
from convo.testing import ScriptedClient

class Words(ScriptedClient):
    def stream(self, request, *, deadline_s):
        for each in super().stream(request, deadline_s=deadline_s):
            yield each
            if "slow" in each.text:
                time.sleep(60)

with convo.Store(sys.argv[1], client=Words("one slow word", "one \\x1b[31m two")) as store:
    converse(store, store.get_or_create("a"))
"""


@pytest.fixture
def chats(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'chats.db'}"


def say(child: pexpect.spawn, line: str, answer: str) -> None:
    """Type a line, and wait for the answer and the next prompt."""
    child.send(f"{line}\r")
    child.expect(f"\r\n{answer}\r\n")
    child.expect("> ")


def leave(child: pexpect.spawn) -> None:
    """Press Ctrl-D until the program has left: a key that comes before the editor listens is the terminal's own."""
    while child.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=1) and child.isalive():
        child.sendeof()


def terminal(*arguments: str) -> pexpect.spawn:
    """Start a Python program in a terminal of its own."""
    plain = os.environ | {"TERM": "dumb"}  # no escape sequences of the line editor's own
    return pexpect.spawn(
        sys.executable,
        [*arguments],
        dimensions=(40, 100),
        encoding="utf-8",
        env=plain,
        preexec_fn=_hear_ctrl_c,
        timeout=60,
    )


def _hear_ctrl_c() -> None:
    """A program that a shell runs in the background is born deaf to Ctrl-C, and so are the ones that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def talking(chats: str) -> Iterator[pexpect.spawn]:
    child = terminal("-m", "convo", "-d", chats, "chat", "--name", "a", "-m", "offline/echo")
    child.expect("> ")
    yield child
    child.close(force=True)


def texts(url: str) -> list[str | None]:
    with convo.Store(url) as store:
        return [each.content for each in store.get("a").messages()]


def test_lines_are_answered_until_ctrl_d(talking: pexpect.spawn, chats: str):
    say(talking, "hello there", "hello there")
    leave(talking)
    talking.close()
    assert 0 == talking.exitstatus
    assert ["hello there", "hello there"] == texts(chats)


def test_an_arrow_brings_back_what_was_said_before(talking: pexpect.spawn, chats: str):
    say(talking, "first", "first")
    say(talking, "\x1b[A", "first")
    talking.send("/exit\r")
    talking.expect(pexpect.EOF)
    assert ["first"] * 4 == texts(chats)


def test_a_slash_is_a_command_and_two_are_a_text(talking: pexpect.spawn, chats: str):
    talking.send("/nothing\r")
    talking.expect("there is no command /nothing")
    talking.expect("> ")
    say(talking, "//etc", "/etc")
    say(talking, "/show", "1> /etc\r\n/etc")
    talking.send("/exit\r")
    talking.expect(pexpect.EOF)
    assert ["/etc", "/etc"] == texts(chats)


def test_ctrl_c_while_typing_drops_the_line(talking: pexpect.spawn, chats: str):
    talking.send("nonsense\x03")
    talking.expect("> ")
    say(talking, "sense", "sense")
    talking.send("/exit\r")
    talking.expect(pexpect.EOF)
    assert ["sense", "sense"] == texts(chats)


def test_ctrl_c_while_answering_keeps_the_message_and_goes_on(chats: str):
    child = terminal("-c", SLOW, chats)
    child.expect("> ")
    child.send("are you there?\r")
    child.expect("thinking")
    child.sendintr()
    child.expect("stopped; the last message has no answer yet")
    child.send("hello?\r")
    child.expect("/resume asks again, /discard drops it")
    child.send("/resume\r")
    child.expect("Here I am.")
    child.send("/exit\r")
    child.expect(pexpect.EOF)
    child.close()
    assert 0 == child.exitstatus
    assert ["are you there?", "Here I am."] == texts(chats)


def test_an_answer_is_shown_as_it_comes_and_ctrl_c_keeps_what_came(chats: str):
    child = terminal("-c", WORDS, chats)
    child.expect("> ")
    child.send("go\r")
    child.expect("one slow")
    child.sendintr()
    child.expect("stopped; the last message has no answer yet")
    child.expect("> ")
    child.send("/discard\r")
    child.expect("dropped: go")
    child.expect("> ")
    say(child, "again", r"one \\x1b\[31m two")
    child.send("/exit\r")
    child.expect(pexpect.EOF)
    assert ["again", "one \x1b[31m two"] == texts(chats)


def test_what_came_of_an_answer_is_shown_with_the_conversation(chats: str):
    client = ScriptedClient(Streamed(["one", " two"], is_whole=False))
    with convo.Store(chats, client=client) as store, pytest.raises(convo.StreamCut):
        list(store.create(name="a").stream("go"))
    child = terminal("-m", "convo", "-d", chats, "show", "a")
    child.expect(r"\(no answer: stream_cut\)\r\n\(what came of one\) one two")
    child.expect(pexpect.EOF)


def test_ctrl_c_during_one_message_keeps_it_and_says_so(chats: str, capsys: pytest.CaptureFixture[str]):
    with convo.Store(chats, client=ScriptedClient(KeyboardInterrupt())) as store:
        talk = store.create(name="a")
        with pytest.raises(KeyboardInterrupt):
            answer(talk, "hello?")
        assert [("failed", "cancelled")] == [(each.state, each.error) for each in talk.turns()]
    assert "stopped; the message is kept" in capsys.readouterr().err


def test_ctrl_c_exits_with_130(chats: str):
    with convo.Store(chats) as store:
        store.create(name="a", model="offline/echo")
    child = terminal("-m", "convo", "-d", chats, "delete", "a")
    child.expect("Delete .* \\[y/N\\]")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert 130 == child.exitstatus
    assert [] == texts(chats)


def test_stored_text_cannot_act_on_the_terminal(chats: str):
    with convo.Store(chats) as store:
        store.create(name="a", model="offline/echo", messages=["\x1b]52;c;aGk=\x07 hi", "\x9b31m red \u202e"])
    child = terminal("-m", "convo", "-d", chats, "show", "a")
    child.expect(pexpect.EOF)
    shown = child.before
    assert r"\x1b]52;c;aGk=\x07 hi" in shown
    assert r"\x9b31m red \u202e" in shown
    assert not set("\x1b\x07\x9b\u202e") & set(shown)


def test_a_list_fits_the_terminal(chats: str):
    with convo.Store(chats) as store:
        store.create(name="a", model="offline/echo", messages=["word " * 100, "reply"])
    child = terminal("-m", "convo", "-d", chats, "list")
    child.expect(pexpect.EOF)
    lines = child.before.splitlines()
    assert ["ID", "NAME", "TURNS", "AGO", "ABOUT"] == lines[0].split()
    assert lines[1].endswith("…")
    assert max(map(len, lines)) <= 100
