"""`convo verify` and `convo heads`: what they print, and with which exit code they leave."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

import convo
from tests.auditing import fill
from tests.terminals import on_terminal
from tests.test_cli import Run, chats, error_line, run  # noqa: F401 - fixtures
from tests.test_verify import FORGERIES, forge

SOUND = """\
4 conversations: 31 events, 8 turns, 37 texts, 6 erased, 1 redacted
chain         kept
content       kept
completeness  kept
anchored      no heads were given: an end that was cut off, or a journal written anew as a whole, is not found
self-consistent
"""


@pytest.fixture
def filled(chats: str) -> str:  # noqa: F811 - a fixture
    """Return the URL of a store that has everything in it."""
    with convo.Store(chats) as store:
        fill(store)
    return chats


def spoil(url: str, forgery: str) -> None:
    with convo.Store(url) as store:
        forge(store, *FORGERIES[forgery][0])


def kept_heads(url: str, folder: Path) -> str:
    """Return the name of a file with all heads."""
    file = folder / "heads.txt"
    with convo.Store(url) as store:
        file.write_text("".join(f"{each}\n" for each in store.heads()))
    return str(file)


def test_a_sound_store_is_self_consistent_and_no_more(run: Run, filled: str):  # noqa: F811
    ran = run("-d", filled, "verify", "--all")
    assert (0, SOUND, "") == (ran.code, ran.out, ran.err)


def test_heads_are_lines_that_verify_reads(run: Run, filled: str, tmp_path: Path):  # noqa: F811
    ran = run("-d", filled, "heads")
    assert Path(kept_heads(filled, tmp_path)).read_text() == ran.out
    ran = run("-d", filled, "verify", "--all", "--heads", "-", piped=ran.out.encode())
    assert ran.out.endswith(
        "a head of 4 of 4 was given\nas it was when the heads were kept, and self-consistent since\n"
    )


def test_conversations_without_a_head_are_told(run: Run, filled: str, tmp_path: Path):  # noqa: F811
    heads = kept_heads(filled, tmp_path)
    with convo.Store(filled) as store:
        store.create()
    ran = run("-d", filled, "verify", "--all", "--heads", heads)
    assert ran.out.endswith(
        "a head of 4 of 5 was given\nself-consistent; those that had a head are as they were when it was kept\n"
    )


def test_a_forgery_is_named_by_conversation_turn_and_field(run: Run, filled: str):  # noqa: F811
    spoil(filled, "a model's name")
    ran = run("-d", filled, "verify", "--all")
    with convo.Store(filled) as store:
        id = store.get("talk", owner="acme").id
    assert 6 == ran.code
    first, fault, *_, count = ran.out.splitlines()
    assert (f"conversation {id}", "  content: turn 3, model: it is not what was told") == (first, fault)
    assert "1 fault in 1 conversation" == count
    assert "content       broken in 1 conversation" in ran.out.splitlines()


def test_only_those_that_were_named_are_looked_at(run: Run, filled: str):  # noqa: F811
    spoil(filled, "a model's name")
    assert 0 == run("-d", filled, "--owner", "acme", "verify", "fork").code
    assert 6 == run("-d", filled, "--owner", "acme", "verify", "fork", "talk").code
    assert 3 == run("-d", filled, "verify", "talk").code


def test_a_store_for_programs(run: Run, filled: str, tmp_path: Path):  # noqa: F811
    told = json.loads(run("-d", filled, "verify", "--all", "--json").out)
    assert {"chain": True, "content": True, "completeness": True, "anchored": None} == told["promises"]
    assert (True, 4, 31, []) == (told["sound"], told["conversations"], told["events"], told["verdicts"])
    heads = kept_heads(filled, tmp_path)
    with convo.Store(filled) as store:
        store.delete("talk", owner="acme")
    ran = run("-d", filled, "verify", "--all", "--heads", heads, "--json")
    told = json.loads(ran.out)
    assert (6, False, False) == (ran.code, told["sound"], told["promises"]["anchored"])
    [verdict] = told["verdicts"]
    assert ["anchored"] == [each["promise"] for each in verdict["faults"]]


def test_named_conversations_for_programs_are_all_told(run: Run, filled: str):  # noqa: F811
    told = json.loads(run("-d", filled, "--owner", "acme", "verify", "talk", "talk", "--json").out)
    assert [14] == [each["events"] for each in told["verdicts"]]
    assert [14, 8, 1, 8] == [each["length"] for each in json.loads(run("-d", filled, "heads", "--json").out)]


def test_heads_of_other_conversations_prove_nothing(run: Run, filled: str, tmp_path: Path):  # noqa: F811
    heads = kept_heads(filled, tmp_path)
    with convo.Store(filled) as store:
        store.delete("talk", owner="acme")
        store.create(owner="acme", name="talk")
    for file in (heads, os.devnull):
        ran = run("-d", filled, "--owner", "acme", "verify", "talk", "--heads", file)
        assert (0, "self-consistent") == (ran.code, ran.out.splitlines()[-1])
        assert "anchored      none of the heads is of these conversations" in ran.out.splitlines()
    assert 6 == run("-d", filled, "verify", "--all", "--heads", heads).code


def test_a_row_that_cannot_be_read_is_named(run: Run, filled: str):  # noqa: F811
    with convo.Store(filled) as store:
        forge(store, "UPDATE convo_conversations SET parameters = '[]', created_at = 9223372036854775807")
    ran = run("-d", filled, "--owner", "acme", "verify", "talk")
    assert (6, ["content: created_at", "content: parameters"]) == (
        ran.code,
        sorted(each.strip().rpartition(":")[0] for each in ran.out.splitlines() if each.startswith("  content")),
    )


def test_an_empty_store_for_programs(run: Run, chats: str):  # noqa: F811
    told = json.loads(run("-d", chats, "verify", "--all", "--json").out)
    assert (True, 0, 0) == (told["sound"], told["conversations"], told["faults"])


@pytest.mark.parametrize("arguments", [(), ("talk", "--all")])
def test_it_is_said_what_is_to_be_verified(run: Run, filled: str, arguments: tuple[str, ...]):  # noqa: F811
    assert 2 == run("-d", filled, "verify", *arguments).code


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"no head\n", "line 1: that is no head"), (b"\n\n\xff", "it is no UTF-8"), (None, "No such file")],
)
def test_what_is_no_file_of_heads_is_refused(
    run: Run,  # noqa: F811
    filled: str,
    tmp_path: Path,
    content: bytes | None,
    told: str,
):
    file = tmp_path / "other.txt"
    if content is not None:
        file.write_bytes(content)
    ran = run("-d", filled, "verify", "--all", "--heads", str(file))
    assert 1 == ran.code
    assert told in error_line(ran)


def test_on_a_terminal_a_bar_shows_how_far_it_is(filled: str):
    code, printed = on_terminal("-d", filled, "verify", "--all")
    assert 0 == code
    assert re.search("verifying.*100%.*self-consistent", printed, re.DOTALL)


def test_what_is_meant_for_a_file_gets_there_while_a_bar_is_shown(filled: str, tmp_path: Path):
    spoil(filled, "a model's name")
    file = tmp_path / "faults.txt"
    code, printed = on_terminal("-d", filled, "verify", "--all", rest=f"> {file}")
    assert (6, True) == (code, "verifying" in printed)
    assert "content: turn 3, model: it is not what was told\n" in file.read_text()
    assert "content: turn 3" not in printed
