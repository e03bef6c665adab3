"""`convo chat` after `kill -9`: it says that a message has no answer, and offers what can be done, at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import convo
from tests.test_cli_interactive import leave, say, terminal

HANG = """
import sys, time
import convo
from convo.testing import ScriptedClient

def hang(request):
    print("asked", flush=True)
    time.sleep(3600)

with convo.Store(sys.argv[1], client=ScriptedClient(hang)) as store:
    store.create(name="a", model="offline/echo").send("first")
"""


@pytest.fixture
def chats(tmp_path: Path) -> str:
    """Return the URL of a store in which a process was killed while the model answered."""
    url = f"sqlite:///{tmp_path / 'chats.db'}"
    with subprocess.Popen([sys.executable, "-c", HANG, url], stdout=subprocess.PIPE, text=True) as process:
        assert "asked\n" == process.stdout.readline()
        process.kill()
    return url


def chat(chats: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "convo", "-d", chats, "chat", "--name", "a", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_message_after_it_is_refused_with_both_ways_out(chats: str):
    refused = chat(chats, "second")
    told = refused.stderr.splitlines()[-1]
    assert (1, "", True, True) == (
        refused.returncode,
        refused.stdout,
        "--on-unfinished resume" in told,
        "--on-unfinished discard" in told,
    )


@pytest.mark.parametrize("way", ["resume", "discard"])
def test_each_way_out_leads_on(chats: str, way: str):
    assert "second\n" == chat(chats, "--on-unfinished", way, "second").stdout


def test_a_conversation_at_the_terminal_offers_to_ask_again(chats: str):
    talk = terminal("-m", "convo", "-d", chats, "chat", "--name", "a")
    talk.expect("no answer yet: /resume asks again, /discard drops it")
    talk.expect("leaves\\)\r\n")
    talk.expect("> ")
    say(talk, "/resume", "first")
    leave(talk)
    with convo.Store(chats) as store:
        assert "done" == store.get("a").turn(1).state
