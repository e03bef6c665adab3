"""Other answers, other messages and forks while one talks: in a real pseudo-terminal."""

from __future__ import annotations

import termios
import time
from collections.abc import Iterator

import pexpect
import pytest

import convo
from convo.testing import ScriptedClient
from tests.test_cli_interactive import chats, leave, say, terminal  # noqa: F401 - a fixture

SLOW = """
import sys, time
import convo
from convo.cli.interactive import converse
from convo.testing import ScriptedClient

def slow(request):
    print("thinking", flush=True)
    time.sleep(60)

with convo.Store(sys.argv[1], client=ScriptedClient("first", slow, slow, "at last")) as store:
    converse(store, store.get_or_create("a"))
"""


@pytest.fixture
def talking(chats: str) -> Iterator[pexpect.spawn]:  # noqa: F811 - a fixture
    """Return a terminal in which a conversation of two turns goes on."""
    with convo.Store(chats) as store:
        store.create(name="a", model="offline/echo", messages=["one", "1", "two", "2"])
    child = terminal("-m", "convo", "-d", chats, "chat", "--name", "a")
    child.expect("leaves\\)\r\n")
    child.expect("> ")
    yield child
    child.close(force=True)


def tell(child: pexpect.spawn, line: str, *expected: str) -> None:
    """Type a line, and wait for what it leads to, and for the next prompt."""
    enter(child, line, *expected)
    child.expect("> ")


def enter(child: pexpect.spawn, line: str, *expected: str) -> None:
    """Type a line, and wait for what it leads to."""
    wait_for_the_editor(child)
    child.send(f"{line}\r")
    for each in expected:
        child.expect_exact(each)


def wait_for_the_editor(child: pexpect.spawn) -> None:
    """Wait until keys are the editor's: before, Ctrl-C and Ctrl-U are the terminal's own."""
    while termios.tcgetattr(child.fileno())[3] & termios.ISIG:
        time.sleep(0.01)


def tree(url: str) -> list[tuple[int | None, list[str | None]]]:
    """Return where the conversations part, the oldest first, and their texts."""
    with convo.Store(url) as store:
        talks = sorted(store.list(), key=lambda talk: talk.id)
        return [(talk.forked_at, [each.content for each in talk.messages()]) for talk in talks]


def test_answers_are_asked_for_compared_and_chosen(talking: pexpect.spawn, chats: str):  # noqa: F811
    tell(talking, "/regenerate 3", "two\r\n", "candidate 0: 2", "candidate 2 (offline/echo): two (1)")
    tell(talking, "/regenerate", "two\r\n", "the choice stands")
    tell(talking, "/choose 2", "candidate 2 is chosen")
    tell(talking, "/candidates", "  0\r\n  2\r\n", "* 2  offline/echo\r\n  two (1)\r\n")
    tell(talking, "/choose 9", "error: turn 2 of", "no whole candidate 9")
    tell(talking, "/choose", "/choose takes one number: that of a candidate")
    tell(talking, "/regenerate 1 2", "/regenerate takes one number: how many")
    tell(talking, "/regenerate 9", "error: candidate_count must be within [1, 8]")
    tell(talking, "/candidates all", "/candidates takes nothing behind it")
    leave(talking)
    assert [(None, ["one", "1", "two", "two (1)"])] == tree(chats)


def test_forks_are_gone_on_in_and_say_how_to_come_back(talking: pexpect.spawn, chats: str):  # noqa: F811
    with convo.Store(chats) as store:
        id = store.get("a").id
    enter(talking, "/edit 1", "edit> one")
    tell(talking, "\x15eins", f"(a fork of {id[:13]} after turn 0)", "\r\neins\r\n", f"back: convo chat --id {id})")
    tell(talking, "\x1b[A", "\r\neins\r\n")
    tell(talking, "/show", "1> eins\r\neins\r\n2> eins\r\neins\r\n")
    enter(talking, "/edit", "edit> eins")
    tell(talking, "!", "after turn 1)", "\r\neins!\r\n", "you are in it now")
    tell(talking, "/undo", "left out: eins!", "after turn 1)", "you are in it now")
    tell(talking, "/fork 0", "after turn 0)")
    tell(talking, "/undo", "nothing was said yet")
    say(talking, "neu", "neu")
    tell(talking, "/fork 2", "error: conversation", "has no turn 2")
    tell(talking, "/edit x", "/edit takes one number: that of a turn")
    tell(talking, "/edit 7", "error: conversation", "has no turn 7")
    tell(talking, "/tree", "  ID             0  1  2  TURNS  ABOUT\r\n", '○      2  a "one"', '●         1  "neu"')
    leave(talking)
    assert [
        (None, ["one", "1", "two", "2"]),
        (0, ["eins", "eins", "eins", "eins"]),
        (1, ["eins", "eins", "eins!", "eins!"]),
        (1, ["eins", "eins"]),
        (0, ["neu", "neu"]),
    ] == tree(chats)


def test_an_edit_that_is_given_up_or_refused_leaves_all_as_it_was(talking: pexpect.spawn, chats: str):  # noqa: F811
    before = tree(chats)
    enter(talking, "/edit", "edit> two")
    tell(talking, "\x15", "nothing was changed")
    enter(talking, "/edit", "edit> two")
    wait_for_the_editor(talking)
    talking.send("!\x03")
    talking.expect("nothing was changed")
    talking.expect("> ")
    with convo.Store(chats) as store:
        store.get("a").update(input_token_limit=10)
    enter(talking, "/edit", "edit> two")
    tell(talking, " and" * 40, "error: the context and the newest message need", "nothing was changed")
    leave(talking)
    assert before == tree(chats)


def test_ctrl_c_while_a_model_is_asked_again(chats: str):  # noqa: F811
    child = terminal("-c", SLOW, chats)
    child.expect("> ")
    say(child, "hello", "first")
    enter(child, "/regenerate", "thinking")
    child.sendintr()
    child.expect_exact("stopped; the answers that there were stand\r\n")
    child.expect("> ")
    enter(child, "/edit", "edit> hello")
    enter(child, "?", "thinking")
    child.sendintr()
    child.expect("stopped; the last message has no answer yet")
    child.expect("you are in it now")
    child.expect("> ")
    tell(child, "/candidates", "the last message has no answer yet")
    tell(child, "/regenerate", "at last\r\n")
    leave(child)
    assert [(None, ["hello", "first"]), (0, ["hello?", "at last"])] == tree(chats)


def test_nothing_is_left_of_a_fork_without_any_turn(chats: str):  # noqa: F811
    client = ScriptedClient(convo.ModelError("down"))
    with convo.Store(chats, client=client) as store, pytest.raises(convo.ModelError):
        store.create(name="a", model="offline/echo").send("hello?")
    child = terminal("-m", "convo", "-d", chats, "chat", "--name", "a")
    child.expect("/discard drops it\r\n")
    child.expect("> ")
    tell(child, "/undo", "left out: hello?", "after turn 0)", "you are in it now")
    tell(child, "/regenerate", "nothing was said yet")
    leave(child)
    assert [(None, ["hello?"])] == tree(chats)


def test_an_old_message_is_changed_and_the_tree_shown_on_the_terminal(chats: str):  # noqa: F811
    with convo.Store(chats) as store:
        store.create(name="a", model="offline/echo", messages=["one", "1", "two", "2"]).send("three", candidate_count=2)
    child = terminal("-m", "convo", "-d", chats, "edit", "a", "2", "--name", "b")
    child.expect("edit> two")
    enter(child, "!", "\r\ntwo!\r\n")
    child.expect(pexpect.EOF)
    child = terminal("-m", "convo", "-d", chats, "tree", "b")
    child.expect(pexpect.EOF)
    head, parent, fork = child.before.splitlines()
    assert "  ID             1  2  3  TURNS  ABOUT" == head
    assert parent.endswith('  ●──○──○      3  a "one"')
    assert fork.startswith("* ")
    assert fork.endswith('  ╰──●         2  b "two!"')
    child = terminal("-m", "convo", "-d", chats, "choose", "a")
    child.expect(pexpect.EOF)
    assert ["* 0", "1", "three", "three (1)"] == [
        each.strip() for line in child.before.splitlines() for each in line.split("   ") if each.strip()
    ]
    child = terminal("-m", "convo", "-d", chats, "list")
    child.expect(r"b +2 +\d+ s +\(fork at 1\) one\r\n")
    child.expect(pexpect.EOF)
