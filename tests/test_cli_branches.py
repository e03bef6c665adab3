"""`convo regenerate`, `choose`, `edit`, `fork` and `tree`: what they print, what they keep, and what they refuse."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pexpect
import pytest

import convo
from convo.testing import ScriptedClient
from tests.model_server import answer, serving
from tests.test_cli import Run, chats, error_line, run  # noqa: F401 - fixtures
from tests.test_cli_errors import contents
from tests.test_cli_interactive import terminal


@pytest.fixture
def filled(chats: str) -> str:  # noqa: F811 - a fixture
    """Return the URL of a store with a conversation of three turns, named a, of which the last one has candidates."""
    with convo.Store(chats) as store:
        talk = store.create(name="a", model="offline/echo", input_token_limit=4000, messages=["one", "1", "two", "2"])
        talk.send("three", candidate_count=2)
    return chats


@pytest.fixture
def unanswered(filled: str) -> str:
    """Return the URL of that store, with a fourth turn that has no answer."""
    with convo.Store(filled, client=ScriptedClient(convo.ModelError("down"))) as store, pytest.raises(convo.ModelError):
        store.get("a").send("four")
    return filled


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the name of a model whose service answers with an error."""
    with serving(answer({"error": {"message": "no such key"}}, status=401)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "a key")
        yield "openai/none"


def said(url: str, reference: str) -> list[str | None]:
    """Return the texts of a conversation, those that are chosen."""
    with convo.Store(url) as store:
        return [each.content for each in store.get(reference).messages()]


def test_another_answer_is_printed_and_chosen_and_the_others_are_notes(run: Run, filled: str):  # noqa: F811
    ran = run("-d", filled, "regenerate", "a", "--candidates", "3")
    assert (0, "three (2)\n") == (ran.code, ran.out)
    assert "candidate 0: three\ncandidate 1: three (1)\n" == ran.err
    assert ["one", "1", "two", "2", "three", "three (2)"] == said(filled, "a")


def test_an_answer_that_says_nothing_new_is_told_and_the_choice_stands(run: Run, filled: str):  # noqa: F811
    assert 0 == run("-d", filled, "choose", "a", "1").code
    ran = run("-d", filled, "regenerate", "a")
    assert ("three (1)\n", "candidate 0: three") == (ran.out, ran.err.splitlines()[0])
    assert "the choice stands" in ran.err
    assert "three (1)" == said(filled, "a")[-1]


def test_another_model_answers_for_this_time_and_is_named(run: Run, filled: str):  # noqa: F811
    ran = run("-d", filled, "regenerate", "a", "-m", "offline/eliza", "--temperature", "0.5", "--json")
    told = json.loads(ran.out)
    assert ("", 3, 2) == (ran.err, told["turn"], told["chosen"])
    assert ["offline/echo", "offline/echo", "offline/eliza"] == [each["model"] for each in told["candidates"]]
    assert told["text"] == told["candidates"][2]["content"]
    assert "candidate 0 (offline/echo): three" in run("-d", filled, "regenerate", "a", "--stop", "never said").err
    with convo.Store(filled) as store:
        assert "offline/echo" == store.get("a").model


def test_a_message_without_an_answer_gets_its_first_one(run: Run, unanswered: str):  # noqa: F811
    ran = run("-d", unanswered, "regenerate", "a")
    assert (0, "four\n", "") == (ran.code, ran.out, ran.err)


def test_when_the_model_fails_the_answer_stands(run: Run, filled: str, failing: str):  # noqa: F811
    ran = run("-d", filled, "regenerate", "a", "-m", failing)
    assert (1, "") == (ran.code, ran.out)
    assert "HTTP 401" in ran.err
    assert "three" == said(filled, "a")[-1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["regenerate", "a"], "stopped; the answers that there were stand"),
        (
            ["edit", "a", "2", "zwei", "--name", "b"],
            "stopped; the message is kept, without an answer: `convo regenerate ",
        ),
    ],
    ids=["regenerate", "edit"],
)
def test_ctrl_c_says_what_is_kept(filled: str, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str):
    asked, is_over = threading.Event(), threading.Event()
    monkeypatch.setenv("OPENAI_API_KEY", "a key")
    with serving(lambda _: (asked.set(), is_over.wait(60))) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        child = terminal("-m", "convo", "-d", filled, *arguments, "-m", "openai/slow")
        assert asked.wait(60)
        child.sendintr()
        child.expect_exact(told)
        child.expect(pexpect.EOF)
        child.close()
        is_over.set()
    assert 130 == child.exitstatus
    assert ["one", "1", "two", "2", "three", "three"] == said(filled, "a")


def test_choose_shows_the_candidates_or_takes_one(run: Run, filled: str):  # noqa: F811
    shown = run("-d", filled, "choose", "a")
    assert "0\tchosen\toffline/echo\tthree\n1\t\toffline/echo\tthree (1)\n" == shown.out
    chosen = run("-d", filled, "choose", "a", "1")
    assert ("three (1)\n", "candidate 1 of turn 3 is chosen\n") == (chosen.out, chosen.err)
    told = json.loads(run("-d", filled, "choose", "a", "--json").out)
    assert (3, 1, [0, 1]) == (told["turn"], told["chosen"], [each["index"] for each in told["candidates"]])


def test_edit_sends_another_message_in_a_fork(run: Run, filled: str):  # noqa: F811
    ran = run("-d", filled, "edit", "a", "2", "zwei", "--name", "b", "--candidates", "2")
    assert (0, "zwei\n") == (ran.code, ran.out)
    assert "candidate 1: zwei (1)" in ran.err
    with convo.Store(filled) as store:
        made, parent = store.get("b"), store.get("a")
        assert (
            f"conversation {made.id} 'b', offline/echo\n(a fork of {parent.record.short_id} after turn 1)\n" in ran.err
        )
        assert ["one", "1", "zwei", "zwei"] == said(filled, "b")
        assert f"\nforked from: {parent.id} after turn 1\n" in run("-d", filled, "show", "b").out
    assert ["one", "1", "two", "2", "three", "three"] == said(filled, "a")


def test_what_is_piped_in_takes_the_turns_place(run: Run, filled: str):  # noqa: F811
    told = json.loads(run("-d", filled, "edit", "a", "3", "--json", piped=b"drei\n").out)
    assert ("drei", 3, 0) == (told["text"], told["turn"], told["chosen"])
    assert "drei" == said(filled, told["conversation"])[-1]


def test_a_message_without_an_answer_can_be_edited(run: Run, unanswered: str):  # noqa: F811
    assert "vier\n" == run("-d", unanswered, "edit", "a", "4", "vier").out


def test_when_the_model_fails_the_fork_is_named_and_can_be_answered(run: Run, filled: str, failing: str):  # noqa: F811
    ran = run("-d", filled, "edit", "a", "2", "zwei", "-m", failing, "--name", "b")
    with convo.Store(filled) as store:
        id = store.get("b").id
    assert (1, "") == (ran.code, ran.out)
    assert f"turn 2 of {id} is kept, without an answer: `convo regenerate {id}` asks again" == error_line(ran)
    refused = run("-d", filled, "choose", "b")
    assert f"turn 2 of conversation {id} has no answer yet: `convo regenerate {id}` asks for one" in error_line(refused)
    assert 1 == run("-d", filled, "fork", "b", "--at", "2").code
    assert "zwei\n" == run("-d", filled, "regenerate", "b").out


def test_fork_prints_the_id_for_scripts_and_tells_the_rest(run: Run, filled: str):  # noqa: F811
    ran = run("-d", filled, "fork", "a", "--at", "1")
    id = ran.out.strip()
    assert f"conversation {id}, offline/echo\n(a fork of {said_id(filled)[:13]} after turn 1)\n" == ran.err
    assert ["one", "1"] == said(filled, id)
    given = ["--name", "b", "--context", "Be brief.", "--example", "c => d", "-m", "offline/eliza", "--json"]
    told = json.loads(run("-d", filled, "fork", "a", *given).out)
    assert ("b", "Be brief.", "offline/eliza") == (told["name"], told["context"], told["model"])
    assert (said_id(filled), 3) == (told["forked_from"], told["forked_at"])
    with convo.Store(filled) as store:
        assert [("c", "d")] == [(each.input, each.output) for each in store.get("b").examples()]


def test_the_tree_has_a_row_a_conversation_whichever_one_is_named(run: Run, filled: str):  # noqa: F811
    run("-d", filled, "edit", "a", "3", "drei\tand\nmore", "--name", "b")
    run("-d", filled, "fork", "b", "--at", "1", "--name", "c")
    a, b, c = (said_id(filled, name) for name in "abc")
    rows = [line.split("\t") for line in run("-d", filled, "tree", "c").out.splitlines()]
    assert [
        [a, "0", "", "", "3", "a", "one"],
        [b, "1", a, "2", "3", "b", "drei and more"],
        [c, "2", b, "1", "1", "c", ""],
    ] == rows
    told = json.loads(run("-d", filled, "tree", "a", "--json").out)
    assert [(a, 0, "one"), (b, 1, "drei\tand\nmore"), (c, 2, None)] == [
        (each["id"], each["depth"], each["beginning"]) for each in told
    ]


def said_id(url: str, name: str = "a") -> str:
    with convo.Store(url) as store:
        return store.get(name).id


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["regenerate", "nope"], 3, "no conversation 'nope'"),
        (["regenerate", "empty"], 3, "has no turn 1"),
        (["regenerate", "a", "--candidates", "9"], 2, "candidate_count must be within [1, 8]"),
        (["regenerate", "a", "-m", "nobody/none"], 3, "no model 'nobody/none'"),
        (["choose", "nope"], 3, "no conversation 'nope'"),
        (["choose", "empty"], 3, "has no turn 1"),
        (["choose", "empty", "0"], 3, "has no turn 1"),
        (["choose", "a", "2"], 3, "no whole candidate 2"),
        (["choose", "a", "x"], 2, "Input should be a valid integer"),
        (["edit", "nope", "1", "x"], 3, "no conversation 'nope'"),
        (["edit", "a", "4", "x"], 3, "has no turn 4"),
        (["edit", "a", "0", "x"], 3, "has no turn 0"),
        (["edit", "opened", "0", "x"], 3, "has no turn 0"),
        (["edit", "a", "1", " "], 1, "message is empty"),
        (["edit", "a", "1"], 1, "message is empty"),
        (["edit", "a", "1", "x", "--name", "empty"], 1, "there is a conversation named 'empty'"),
        (["edit", "a", "1", "x" * 20_000], 1, "and the limit is 4000"),
        (["edit", "a", "1", "x", "-m", "nobody/none"], 3, "no model 'nobody/none'"),
        (["edit", "a", "1", "x", "--temperature", "-1"], 2, "temperature must be at least 0"),
        (["fork", "nope"], 3, "no conversation 'nope'"),
        (["fork", "a", "--at", "4"], 3, "has no turn 4"),
        (["fork", "a", "--at", "-1"], 3, "has no turn -1"),
        (["fork", "a", "--name", "a"], 1, "there is a conversation named 'a'"),
        (["fork", "a", "--example", "no arrow"], 2, "INPUT => OUTPUT"),
        (["fork", "a", "-m", "nobody/none"], 3, "no model 'nobody/none'"),
        (["tree", "nope"], 3, "no conversation 'nope'"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing_behind(
    run: Run,  # noqa: F811
    filled: str,
    arguments: list[str],
    code: int,
    words: str,
):
    with convo.Store(filled) as store:
        store.create(name="empty", model="offline/echo")
        store.create(name="opened", model="offline/echo", opening="Hello.")
    before = contents(filled)
    ran = run("-d", filled, *arguments)
    assert (code, "") == (ran.code, ran.out), ran.err
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert before == contents(filled)


def test_others_forks_are_not_seen(run: Run, filled: str):  # noqa: F811
    for command in (["regenerate", "a"], ["choose", "a"], ["edit", "a", "1", "x"], ["fork", "a"], ["tree", "a"]):
        assert 3 == run("-d", filled, "--owner", "acme", *command).code
