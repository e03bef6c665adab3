"""What is imported: the same store again, whole or not at all, once however often; and made of what others write.

``python -m tests.test_importing --stores 300`` compares that many random stores, on SQLite and, with --url, elsewhere.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, event

import convo
from convo.store.rows import CONVERSATIONS
from convo.testing import ScriptedClient
from tests.auditing import fill
from tests.transferring import (
    exported,
    fates,
    imported,
    parsed,
    random_store,
    small,
    unsound,
)

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60) | st.sampled_from(
    [
        '{"type":"end"}',
        "\n",
        "\r\n",
        "\u2028\x85\u2029",
        "\x1b[31m",
        "\u202e",
        "🙂" * 30,
        '"}\n{"type":"convo"',
        "\ufeff",
    ]
)
SAID = TEXTS.filter(lambda text: bool(text.strip()))
PAIRS = st.lists(SAID, min_size=2, max_size=2, unique=True)


# ---- the same again


def copied(store: convo.Store, other: convo.Store) -> bytes:
    """Import what a store has into another one, twice; return what that is exported as then."""
    file = exported(store)
    report, told = imported(other, file)
    assert report.is_whole, told
    again, told = imported(other, file)
    assert (0, report.new) == (again.new, again.present)
    assert [] == unsound(other)
    return exported(other)


def test_a_store_that_has_everything_comes_back_to_the_byte(memory: convo.Store, both: convo.Store):
    fill(memory)
    assert exported(memory) == copied(memory, both)
    with convo.Store("sqlite://") as third:
        assert exported(both) == copied(both, third)


@pytest.mark.parametrize("seed", range(12))
def test_a_random_store_comes_back_to_the_byte(seed: int, memory: convo.Store):
    with random_store(seed) as store:
        assert exported(store) == copied(store, memory)


@pytest.mark.parametrize("seed", range(100, 103))
def test_a_random_store_goes_to_postgresql_and_back(seed: int, postgres_store_url: str):
    with random_store(seed) as store, convo.Store(postgres_store_url) as other, convo.Store("sqlite://") as third:
        assert exported(store) == copied(store, other)
        assert exported(other) == copied(other, third)


@settings(max_examples=40)
@given(
    st.lists(SAID, min_size=1, max_size=4), st.lists(SAID, min_size=2, max_size=2, unique=True), SAID, st.integers(0, 3)
)
def test_hostile_texts_come_back_to_the_byte(said: list[str], answers: list[str], context: str, erased: int):
    with convo.Store("sqlite://") as store, convo.Store("sqlite://") as other:
        talk = store.create(context=context, opening=context, examples=[(context, said[0])], metadata={context: said})
        for each in said:
            store.client = ScriptedClient(tuple(answers))
            talk.send(each, candidate_count=2)
        talk.choose(1)
        if erased:
            talk.erase(min(erased, 2 * len(said)), scrub=False)
        talk.fork(at=len(said) - 1)
        assert exported(store) == copied(store, other)


def test_long_texts_come_back_to_the_byte(memory: convo.Store, both: convo.Store):
    long = ["x" * 100_000, "🙂\u2028\x01" * 15_000, '{"type":"end"}\n' * 7_000]
    talk = memory.create(context=long[2], messages=long + long[:1], model="offline/echo")
    talk.erase(1, scrub=False)
    assert exported(memory) == copied(memory, both)
    assert long[1:] == [each.content for each in both.get(talk.id).messages()][1:3]


def test_a_turn_that_was_being_answered_is_nobodys_there(memory: convo.Store, both: convo.Store):
    talk = memory.create(name="talk", model="offline/echo", messages=["a", "b"])
    files: list[bytes] = []

    class Looking(ScriptedClient):
        def chat(self, request: convo.ChatRequest, *, deadline_s: float) -> convo.ChatReply:
            files.append(exported(memory))
            return super().chat(request, deadline_s=deadline_s)

    memory.client = Looking("c", "d")
    talk.send("asked")
    talk.regenerate()
    held = [[each["state"] for each in parsed(file) if each.get("held")] for file in files]
    assert [["in_flight"], ["done"]] == held
    imported(both, files[0])
    assert [] == unsound(both)
    again = both.get(talk.id)
    assert files[0] == exported(both)
    assert convo.TurnUnfinished is outcome(lambda: again.send("next"))
    both.client = ScriptedClient("at last")
    assert "at last" == again.resume().text
    both.delete(talk.id)
    imported(both, files[1])
    assert "at last" == both.get(talk.id).send("next").text
    assert [] == unsound(both)


def outcome(use: object) -> type[Exception] | None:
    try:
        use()  # type: ignore[operator]
    except convo.ConvoError as error:
        return type(error)
    return None


def test_what_was_imported_goes_on(memory: convo.Store, both: convo.Store):
    talk = small(memory)
    imported(both, exported(memory))
    both.client = ScriptedClient("later", ("again",))
    again = both.get("small", owner="acme")
    assert [each.content for each in talk.messages()] == [each.content for each in again.messages()]
    assert "later" == again.resume().text
    assert ("Title", {"n": [1, 1.5, None]}, "Context") == (again.title, again.metadata, again.context)
    assert (talk.created_at, talk.record.parameters) == (again.created_at, again.record.parameters)
    again.fork(at=2)
    assert [] == unsound(both)


# ---- once, however often


def test_a_dry_run_tells_the_same_and_changes_nothing(memory: convo.Store, both: convo.Store):
    small(memory)
    both.create(name="there")
    before, file = exported(both), exported(memory)
    report, told = imported(both, file, dry_run=True)
    assert (before, 1) == (exported(both), report.new)
    assert (report, told) == imported(both, file)
    assert (0, 1) == tuple(getattr(imported(both, file, dry_run=True)[0], name) for name in ("new", "present"))


def test_a_dry_run_commits_nothing(memory: convo.Store, both: convo.Store):
    small(memory)
    commits: list[object] = []
    file = exported(memory)
    event.listen(both.engine, "commit", commits.append)
    for terms in ({}, {"new_ids": True}):
        imported(both, file, dry_run=True, **terms)
    assert [] == commits
    imported(both, file)
    assert commits


@pytest.mark.parametrize(
    ("happened", "why"),
    [
        ("the store's goes on", "the store's has gone on since, by 2 events"),
        ("the file's goes on", "the file's has gone on since, by 2 events"),
        ("both go on", "the store has another one of that id"),
        ("erased", "the store's has gone on since, by 1 events"),
    ],
)
def test_an_id_with_another_journal_is_a_conflict(happened: str, why: str, memory: convo.Store, both: convo.Store):
    talk = memory.create(name="talk", model="offline/echo", messages=["secret", "b"])
    file = exported(memory)
    imported(both, file)
    there = both.get("talk")
    if happened in ("the file's goes on", "both go on"):
        talk.send("here")
        file = exported(memory)
    if happened in ("the store's goes on", "both go on"):
        there.send("there")
    if happened == "erased":
        there.erase(1, scrub=False)
    before = exported(both)
    report, [told] = imported(both, file)
    assert (convo.Fate.CONFLICT, talk.id, why) == (told.fate, told.conversation, why and told.why)
    assert (before, 1, False) == (exported(both), report.conflicts, report.is_whole)
    report, [told] = imported(both, file, new_ids=True)
    assert (1, {"names": 1}) == (report.new, report.dropped)
    assert [] == unsound(both)


def test_a_name_that_is_taken_is_a_conflict(memory: convo.Store, both: convo.Store):
    small(memory)
    both.create(name="small", owner="acme")
    _, [told] = imported(both, exported(memory))
    assert ("conflict", "the owner has another one of that name") == (told.fate, told.why)
    shown = io.BytesIO()
    memory.export(shown, owner="acme", format="md")
    without_id = b"".join(each for each in shown.getvalue().splitlines(keepends=True) if not each.startswith(b"id:"))
    report, [told] = imported(both, without_id)
    assert (1, {"names": 1}) == (report.new, told.dropped)
    assert [] == unsound(both)


def test_only_the_owners_are_taken(memory: convo.Store, both: convo.Store):
    memory.create(owner="a")
    memory.create(owner="b")
    memory.create()
    file = exported(memory)
    report, told = imported(both, file, owner="a")
    assert (1, 2, {"it is another owner's", None}) == (report.new, report.refused, {each.why for each in told})
    assert (["a"], []) == ([each.record.owner for each in both.list(owner="a")], both.list())
    assert (1, 2) == (imported(both, file, owner=None)[0].new, imported(both, file, owner=None)[0].refused)
    given_file = b'{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"}]}'
    imported(both, given_file, owner="c")
    assert 1 == len(both.list(owner="c"))
    assert (1, 0) == (imported(both, given_file, owner="d")[0].new, imported(both, given_file, owner="c")[0].new)


# ---- as others


def test_with_new_ids_the_texts_are_those_of_new_conversations(both: convo.Store):
    talk = small(both)
    talk.erase("example:0:input", scrub=False)
    fork = talk.fork(at=2)
    file = exported(both)
    report, told = imported(both, file, new_ids=True)
    assert (2, {"names": 1}) == (report.new, dict(report.dropped))
    assert [] == unsound(both)
    for before, after in zip((talk, fork), told, strict=True):
        again = both.get(str(after.conversation), owner="acme")
        assert before.id != again.id
        for was, now in zip(before.turns(), again.turns(), strict=True):
            assert [(each.content, each.finish_reason, each.model) for each in was.candidates] == [
                (each.content, each.finish_reason, each.model) for each in now.candidates
            ]
            assert (was.chosen, was.created_at) == (now.chosen, now.created_at)
        assert (before.created_at, before.title, before.context) == (again.created_at, again.title, again.context)
        assert before.examples() == again.examples()
    both.client = ScriptedClient("answered")
    assert "answered" == both.get(str(told[0].conversation), owner="acme").resume().text
    assert 2 == imported(both, file, new_ids=True)[0].new


def test_a_history_that_ends_with_the_users_message_is_answered_by_resume(both: convo.Store):
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a"}]
    said += [{"role": "assistant", "content": "b"}, {"role": "user", "content": "and now?"}]
    file = json.dumps({"messages": said}).encode()
    report, [told] = imported(both, file)
    assert (1, 2, 3) == (report.new, report.turns, report.texts)
    talk = both.get(str(told.conversation))
    assert ("failed", "unanswered", "Be brief.") == (talk.turn(2).state, talk.turn(2).error, talk.context)
    assert convo.TurnUnfinished is outcome(lambda: talk.send("x"))
    assert [] == unsound(both)
    talk.update(model="offline/echo")
    assert "and now?" == talk.resume().text
    assert 4 == len(talk.messages())
    assert 1 == imported(both, file)[0].present
    assert [] == unsound(both)
    both.delete(talk.id)
    imported(both, file)
    assert "and now?" == both.get(talk.id).discard()
    assert [] == unsound(both)


def test_times_that_a_file_tells_are_kept(both: convo.Store):
    at = datetime(2024, 5, 6, 7, 8, 9, 123000, UTC)
    file = f"""---
created_at: {at.isoformat()}
---
<!-- role: user, at: "{(at + timedelta(hours=1)).isoformat()}" -->
first
<!-- role: assistant, at: "{(at + timedelta(hours=2)).isoformat()}" -->
answer
<!-- role: user -->
second
<!-- role: assistant -->
answer
"""
    _, [told] = imported(both, file.encode())
    talk = both.get(str(told.conversation))
    times = [at + timedelta(hours=hours) for hours in (1, 2, 2, 2)]
    assert times == [each.created_at for each in talk.messages()]
    assert (at, times[-1]) == (talk.created_at, talk.updated_at)
    assert [] == unsound(both)
    assert [talk.id] == [each.id for each in both.list()]


def test_the_id_of_a_file_is_kept_and_the_same_one_is_known_again(memory: convo.Store, both: convo.Store):
    talk = memory.create(name="talk", title="T", messages=["a", "b"], context="c", examples=[("x", "y")])
    file = io.BytesIO()
    memory.export(file, format="md")
    assert ["new"] == fates(imported(both, file.getvalue())[1])
    assert ("T", "talk") == (both.get(talk.id).title, both.get(talk.id).name)
    assert ["present"] == fates(imported(both, file.getvalue())[1])
    assert ["conflict"] == fates(imported(both, file.getvalue().replace(b"\na\n", b"\nother\n"))[1])
    assert ["conflict"] == fates(imported(both, exported(memory))[1])
    assert ["new"] == fates(imported(both, file.getvalue(), new_ids=True)[1])
    shown = io.BytesIO()
    both.export(shown, talk.id, format="md")
    assert file.getvalue() == shown.getvalue()


# ---- how long it takes


def test_an_import_takes_as_many_statements_as_there_are_batches(memory: convo.Store):
    counts = []
    for turns in (10, 400, 1000):
        with convo.Store("sqlite://") as store:
            store.create(messages=["x"] * 2 * turns)
            file = exported(store)
        taken: list[str] = []
        event.listen(memory.engine, "before_cursor_execute", lambda *given, taken=taken: taken.append(given[2]))
        imported(memory, file)
        counts.append(len(taken))
    assert counts[0] == counts[1]
    assert counts[1] < counts[2] <= counts[1] + 6


def test_progress_is_told_in_bytes(memory: convo.Store):
    small(memory)
    file, told = exported(memory), []
    with convo.Store("sqlite://") as other:
        imported(other, file, progress=lambda done, total: told.append((done, total)))
    assert [(len(file), len(file))] == told


# ---- the long form


def main() -> None:
    """Compare random stores."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--stores", type=int, default=300)
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--url", help="an empty database that may be filled and emptied, else SQLite in memory")
    asked = parser.parse_args()
    texts = 0
    for seed in range(asked.first, asked.first + asked.stores):
        with random_store(seed, asked.steps) as store, convo.Store(asked.url or "sqlite://") as other:
            assert exported(store) == copied(store, other)
            texts += sum(each.texts for each in other.verify())
            with other.engine.begin() as connection:
                connection.execute(delete(CONVERSATIONS))
    sys.stdout.write(f"{asked.stores} stores, {texts:,} texts: all came back to the byte\n")


if __name__ == "__main__":
    main()
