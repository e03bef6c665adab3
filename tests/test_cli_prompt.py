"""`convo prompt`: what was sent as it is read, why it is so, everything as JSON, and the bytes themselves."""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

import convo
from tests.recording import recorded
from tests.test_cli import Run, chats, error_line, run  # noqa: F401 - fixtures
from tests.test_requests import erase


@pytest.fixture
def filled(chats: str) -> str:  # noqa: F811 - a fixture
    """Return the URL of a store with a conversation of two turns, named a."""
    with convo.Store(chats) as store:
        talk = store.create(name="a", model="offline/echo", context="Be brief.", examples=[("in", "out")], opening="hi")
        talk.send("one")
        talk.send("two", temperature=0.5)
    return chats


@pytest.fixture
def posted(chats: str) -> tuple[str, list[bytes]]:  # noqa: F811 - a fixture
    """Return the URL of a store with a conversation of one turn with OpenAI's, and what was posted for it."""
    with recorded("openai") as client, convo.Store(chats, client=client) as store:
        store.create(name="a", model="openai/x", input_token_limit=900).send("“one”\x9b")
        return chats, [each.body for each in client.service.server.received]


def told(run: Run, *arguments: str) -> Any:  # noqa: F811 - a fixture
    ran = run("-d", *arguments, "--json")
    assert (0, "") == (ran.code, ran.err)
    return json.loads(ran.out)


def test_what_was_sent_is_listed_with_its_sides(run: Run, filled: str):  # noqa: F811
    ran = run("-d", filled, "prompt", "a", "--turn", "1")
    lines = ["# sent for turn 1: offline/echo", "context: Be brief.", "example: in => out"]
    lines += ["", "[0] 1 (model)", "hi", "", "[1] 0 (user)", "one"]
    assert (0, lines, "") == (ran.code, ran.out.splitlines(), ran.err)


def test_what_would_be_sent_next_is_listed_with_the_message_or_its_place(run: Run, filled: str):  # noqa: F811
    ran = run("-d", filled, "prompt", "a", "three")
    assert ("# to be sent for turn 3: offline/echo", "three") == (ran.out.splitlines()[0], ran.out.splitlines()[-1])
    assert "[not there yet]" == run("-d", filled, "prompt", "a").out.splitlines()[-1]


def test_why_tells_tokens_what_was_left_out_and_the_proof(run: Run, filled: str):  # noqa: F811
    with convo.Store(filled) as store:
        talk = store.get("a").update(input_token_limit=20)
        talk.send("long " * 12)
        digest = talk.turn(3).prompt.digest.hex()
        erase(talk, ("content", 1, 1, 0))
        talk.update(input_token_limit=None)
        talk.send("four")
    ran = run("-d", filled, "prompt", "a", "--turn", "3", "--why")
    lines = ran.out.splitlines()
    why = lines[[line.startswith("attempt") for line in lines].index(True) :]
    assert ["context: 3 tokens", "example 0: 2 tokens"] == why[1:3]
    assert "left out: messages 0 to 4: did not fit" in why
    assert f"digest: {digest}, proven" == why[-2]
    assert "requests: none, as offline/echo is not asked over HTTP" == why[-1]
    assert why[0].startswith("attempt: 1 of 1, begin, 20")
    ran = run("-d", filled, "prompt", "a", "--turn", "4", "--why")
    assert "left out: messages 1 to 2: erased" in ran.out.splitlines()
    ran = run("-d", filled, "prompt", "a", "--turn", "2", "--why")
    assert ["[erased]", "parameters: temperature=0.5"] == [
        each for each in ran.out.splitlines() if each in ("[erased]", "parameters: temperature=0.5")
    ]
    assert "requests: none, as a text of it is gone" in ran.out


def test_json_tells_everything(run: Run, posted: tuple[str, list[bytes]]):  # noqa: F811
    url, bodies = posted
    shown = told(run, url, "prompt", "a", "--turn", "1")
    assert ([bodies[0].decode()], ["/chat/completions"], None) == (shown["bodies"], shown["paths"], shown["no_bodies"])
    assert (True, "begin", 1, 900 - shown["tokens"]) == (
        *(shown[n] for n in ("proven", "kind", "attempts")),
        shown["margin"],
    )
    assert [("“one”\x9b", 1, 0)] == [(each["content"], each["position"], each["side"]) for each in shown["messages"]]


def test_raw_is_the_body_to_the_byte_and_nothing_else(run: Run, posted: tuple[str, list[bytes]]):  # noqa: F811
    url, (body,) = posted
    ran = run("-d", url, "prompt", "a", "--turn", "1", "--raw")
    assert (0, body.decode(), "") == (ran.code, ran.out, ran.err)


def test_raw_does_nothing_to_a_terminal(
    run: Run,  # noqa: F811
    posted: tuple[str, list[bytes]],
    monkeypatch: pytest.MonkeyPatch,
):
    class Screen(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    screen = Screen(io.BytesIO(), encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", screen)
        run("-d", posted[0], "prompt", "a", "--turn", "1", "--raw")
    screen.flush()
    assert "\\x9b" in screen.buffer.getvalue().decode()
    assert "\x9b" not in screen.buffer.getvalue().decode()


def test_raw_is_refused_when_there_is_not_just_one_body(run: Run, filled: str):  # noqa: F811
    with convo.Store(filled) as store:
        store.create(name="b", model="offline/echo").send("x")
        several = {"model": "anthropic/x", "candidate_count": 2, "input_token_limit": 900}
        with recorded("anthropic") as client:
            store.client = client
            store.create(name="c", **several).send("x")
    ran = run("-d", filled, "prompt", "b", "--turn", "1", "--raw")
    assert (1, "") == (ran.code, ran.out)
    assert "offline/echo is not asked over HTTP: --json tells the rest" in error_line(ran)
    ran = run("-d", filled, "prompt", "c", "--turn", "1", "--raw")
    assert (1, "") == (ran.code, ran.out)
    assert "2 requests are posted, one a candidate: --json has them all" in error_line(ran)
    assert 2 == len(told(run, filled, "prompt", "c", "--turn", "1")["bodies"])


def test_the_commands_of_the_guide_do_what_they_say(run: Run, chats: str):  # noqa: F811
    guide = (Path(__file__).parent.parent / "docs" / "audit.md").read_text()
    lines = re.findall(r"^\| `(convo prompt hello.*?)` \|", guide, re.MULTILINE)
    with recorded("openai") as client, convo.Store(chats, client=client) as store:
        talk = store.create(name="hello", model="openai/x", input_token_limit=900)
        for text in ("one", "two", "three"):
            talk.send(text)
    ran = [run("-d", chats, *shlex.split(line)[1:]) for line in lines]
    assert [0] * 5 == [each.code for each in ran]
    assert client.service.server.received[-1].body.decode() == ran[-1].out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["a", "--turn", "9"], 3, "has no turn 9"),
        (["b"], 3, "no conversation 'b'"),
        (["a", "three", "--turn", "1"], 2, "give either a turn or the text"),
        (["a", "--attempt", "2"], 2, "give the turn too"),
        (["a", "--turn", "1", "--attempt", "2"], 1, "was asked once"),
        (["a", "--turn", "0"], 2, ""),
        (["a", "--raw", "--json"], 2, "give --raw by itself"),
    ],
)
def test_what_cannot_be_shown_is_an_error(run: Run, filled: str, arguments: list[str], code: int, said: str):  # noqa: F811
    ran = run("-d", filled, "prompt", *arguments)
    assert (code, "") == (ran.code, ran.out)
    assert said in ran.err
