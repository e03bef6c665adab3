"""The commands that take texts away, and how they tell what is left."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

import convo
from convo.cli.options import span
from tests.test_cli import Run, chats, error_line, run  # noqa: F401 - fixtures
from tests.test_erasing import grow_old

SECRET = "the passport X4711-0815 of Mr Miller"


@pytest.fixture
def filled(chats: str) -> str:  # noqa: F811 - a fixture
    """Return the URL of a store with a conversation of each of two owners, and a fork of the first one."""
    with convo.Store(chats) as store:
        for owner, said in (("", SECRET), ("acme", "no passport at all")):
            talk = store.create(
                owner=owner, name="a", context=f"Be brief, {owner or 'nobody'}.", messages=[said, "what?", "x", "y"]
            )
            talk.fork(name="b", at=1)
    return chats


def test_what_went_and_what_is_left_of_it_is_told(run: Run, filled: str):  # noqa: F811
    ran = run("-d", filled, "erase", "b", "1", "context", "--reason", "gdpr-17")
    first, left = ran.out.splitlines()
    assert "erased 4 texts in 2 conversations" == first
    assert left.startswith("0 bytes of it left in chats.db, chats.db-wal, chats.db-shm (3 files, 0.")
    assert left.endswith(" MB searched)")
    assert "nothing is there to erase\n" == run("-d", filled, "erase", "a", "1", "--no-scrub").out
    nothing, anew = run("-d", filled, "erase", "a", "1").out.splitlines()
    assert ("nothing is there to erase", True) == (
        nothing,
        anew.endswith(" MB) written anew, and not searched for any text"),
    )
    shown = run("-d", filled, "show", "a").out
    assert (SECRET in shown, "context: [erased]" in shown, "\n[erased]\n" in shown) == (False, True, True)
    told = json.loads(run("-d", filled, "show", "a", "--json").out)
    assert [None, "what?", "x", "y"] == [each["content"] for each in told["messages"]]


def test_where_the_same_words_stand_is_told(run: Run, chats: str):  # noqa: F811
    run("-d", chats, "chat", "--name", "a", "-m", "offline/echo", SECRET)
    out = run("-d", chats, "erase", "a", "1").out.splitlines()
    assert out[1].startswith(f"{len(SECRET)} bytes of it left in chats.db")
    assert out[2].startswith("the same words stand in ")
    assert out[2].endswith(" 2 --candidate 0")
    assert "nothing" not in run("-d", chats, "erase", "a", "2", "--candidate", "0").out
    assert "[erased]" in run("-d", chats, "show", "a").out


def test_a_text_that_is_redacted_reads_otherwise_everywhere(run: Run, filled: str):  # noqa: F811
    told = json.loads(run("-d", filled, "redact", "a", "1", "[a passport]", "--json").out)
    assert (2, 2, 0) == (told["texts"], told["conversations"], told["remains"]["found_bytes"])
    for name in ("a", "b"):
        assert "[a passport]" in run("-d", filled, "show", name).out
    told = json.loads(run("-d", filled, "erase", "a", "1", "context", "3", "--json").out)
    assert (5, 2) == (told["texts"], told["conversations"])


def test_what_is_no_text_is_an_error_before_any_goes(run: Run, filled: str):  # noqa: F811
    ran = run("-d", filled, "erase", "a", "1", "foo")
    assert (1, "") == (ran.code, ran.out)
    assert "example:N:input" in error_line(ran)
    assert [3, 3] == [run("-d", filled, "erase", "a", *each).code for each in ("9", ("1", "99", "3"))]
    assert SECRET in run("-d", filled, "show", "a").out


def test_an_owner_is_forgotten_when_somebody_says_yes(run: Run, filled: str):  # noqa: F811
    refused = run("-d", filled, "forget", "--owner", "acme")
    assert (1, True) == (refused.code, error_line(refused).endswith("add --yes to forget everything of acme"))
    assert run("-d", filled, "forget", "--owner", "acme", "-y").out.startswith("erased 8 texts in 2 conversations\n")
    assert "" == run("-d", filled, "--owner", "acme", "list").out
    assert run("-d", filled, "--owner", "acme", "forget", "-y").out.startswith("nothing is there to erase\n")
    assert 2 == run("-d", filled, "forget", "-y").code
    assert SECRET in run("-d", filled, "show", "a").out


def test_nobody_and_somebody_else_are_not_forgotten(run: Run, filled: str):  # noqa: F811
    owners = [("acme", ""), ("acme", "b"), ("", "acme"), ("", ""), (None, "")]
    for before, behind in owners:
        given = [] if before is None else ["--owner", before]
        assert 2 == run("-d", filled, *given, "forget", "--owner", behind, "-y").code
    assert "no passport" in run("-d", filled, "--owner", "acme", "show", "a").out
    assert 0 == run("-d", filled, "--owner", "acme", "forget", "--owner", "acme", "-y").code


def test_old_texts_are_counted_and_pruned(run: Run, filled: str):  # noqa: F811
    with convo.Store(filled) as store:
        grow_old(store)
    prune = ("prune", "--older-than", "90d")
    assert "would erase 16 texts in 4 conversations\n" == run("-d", filled, *prune, "--dry-run").out
    assert 1 == run("-d", filled, *prune).code
    of_one = json.loads(run("-d", filled, "--owner", "acme", *prune, "-y", "--json").out)
    assert (8, 2) == (of_one["texts"], of_one["conversations"])
    assert run("-d", filled, *prune, "-y").out.startswith("erased 8 texts in 2 conversations\n")
    assert "nothing is there to erase\n" == run("-d", filled, *prune, "--no-scrub").out
    listed = [line.split("\t") for line in run("-d", filled, "list").out.splitlines()]
    assert ["b", "a"] == [each[1] for each in listed]


def test_the_files_are_looked_through_for_what_is_given(run: Run, filled: str):  # noqa: F811
    out = run("-d", filled, "db", "scrub", piped=f"{SECRET}\n\nno passport at all\n".encode()).out.splitlines()
    assert "of it left in chats.db" in out[0]
    assert {" 1", " 1 of acme"} == {each[-10 if each.endswith("acme") else -2 :] for each in out[1:]}
    assert "written anew" in run("-d", filled, "db", "scrub").out
    told = json.loads(run("-d", filled, "db", "scrub", "--json", piped=b"nowhere is this\n").out)
    assert (1, 0, []) == (told["texts"], told["found_bytes"], told["quotes"])


@pytest.mark.parametrize("age", ["90", "d", "-1d", "1.5h", "3 years", "9999999w", "1m"])
def test_an_age_that_is_none_is_a_usage_error(run: Run, filled: str, age: str):  # noqa: F811
    assert 2 == run("-d", filled, "prune", "--older-than", age).code


def test_ages_are_of_these_units():
    units = {"90s": 90, "2min": 120, "3h": 3 * 3600, "1 d": 86400, "2w": 14 * 86400}
    assert {each: timedelta(seconds=length) for each, length in units.items()} == {each: span(each) for each in units}
