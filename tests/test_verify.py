"""Verification: silent about what is sound, and loud about each value that is not what it was."""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sqlite3
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

import convo
from convo import journal
from convo.audits import FAULTS_TOLD
from convo.store.rows import CONVERSATIONS, EVENTS, EXAMPLES, MESSAGES, TURNS
from convo.testing import ScriptedClient
from tests.auditing import RandomStore, fill

REFERENCES_OFF = ("PRAGMA foreign_keys = OFF", "PRAGMA ignore_check_constraints = ON")


@pytest.fixture
def filled() -> Iterator[convo.Store]:
    """Return a store in memory that has everything in it, and lets itself be forged."""
    with convo.Store("sqlite://") as store:
        fill(store)
        yield store


def forge(store: convo.Store, *statements: str) -> None:
    """Change a store behind its back: whatever refuses it is switched off first."""
    with store.engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        for each in (*REFERENCES_OFF, *statements):
            driver.execute(each)


def faults(store: convo.Store, heads: list[convo.Head] | None = None) -> list[convo.Fault]:
    return [fault for verdict in store.verify(heads=heads or ()) for fault in verdict.faults]


# ---- what is sound


def test_what_has_seen_everything_is_sound(store: convo.Store):
    talk = fill(store)
    verdicts = {each.conversation: each for each in store.verify(heads=list(store.heads()))}
    assert [] == [fault for each in verdicts.values() for fault in each.faults]
    verdict = verdicts[talk.id]
    assert (talk.version, 4, 0, 0) == (verdict.events, verdict.turns, verdict.erased, verdict.unanswered)
    assert (verdict.events, True) == (verdict.anchored_at, verdict.is_sound)
    # Three messages and seven candidates, a given pair and an opening, both texts of two examples, context and title.
    assert 3 + 7 + 2 + 1 + 4 + 2 == verdict.texts
    left = verdicts[store.get("left", owner="acme").id]
    assert (6, 1, 3) == (left.erased, left.redacted, left.texts)
    assert verdict == talk.verify(heads=list(store.heads()))


def test_a_turn_without_an_answer_is_counted_and_no_fault(store: convo.Store):
    talk = fill(store)
    store.client = ScriptedClient(convo.ServerFailed("it is down", status=500))
    with pytest.raises(convo.ServerFailed):
        talk.send("nobody answers")
    assert (1, True) == (talk.verify().unanswered, talk.verify().is_sound)


def test_an_empty_store_has_no_verdicts(store: convo.Store):
    assert ([], []) == (list(store.verify()), list(store.heads()))


def test_a_deleted_conversation_cannot_be_verified(store: convo.Store):
    talk = fill(store)
    store.delete(talk.id, owner="acme")
    with pytest.raises(convo.ConversationNotFound):
        talk.verify()


def test_many_conversations_are_read_page_by_page(sync_store: convo.Store, monkeypatch: pytest.MonkeyPatch):
    talks = [sync_store.create(context=f"context {number}") for number in range(7)]
    for size in (1, 3, 7):
        monkeypatch.setattr("convo.store.auditing.PAGE", size)
        monkeypatch.setattr("convo.auditing.PAGE", size)
        assert [each.id for each in talks] == [each.conversation for each in sync_store.verify()]
        assert [(each.id, each.version) for each in talks] == [
            (each.conversation, each.length) for each in sync_store.heads()
        ]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("enough"),
        OperationalError("UPDATE", {}, sqlite3.OperationalError("no such table")),
        convo.StoreBusy("no"),
    ],
    ids=["own", "database", "store"],
)
def test_an_error_of_who_listens_to_progress_is_his_own(filled: convo.Store, error: Exception):
    heard: list[int] = []

    def fail(events: int) -> None:
        heard.append(events)
        raise error

    with pytest.raises(type(error)) as raised:
        list(filled.verify(progress=fail))
    assert (error, 1) == (raised.value, len(heard))


def test_progress_is_told_in_events(sync_store: convo.Store):
    heard: list[int] = []
    fill(sync_store)
    list(sync_store.verify(progress=heard.append))
    assert sum(each.length for each in sync_store.heads()) == sum(heard)


CHUNKS, STORES, STEPS = 10, 100, 4


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_stores_are_sound(chunk: int):
    assert [] == list(unsound(range(chunk * STORES, (chunk + 1) * STORES), STEPS))


def unsound(seeds: range, steps: int, url: str = "sqlite://") -> Iterator[str]:
    """Yield what is wrong with stores that random numbers from these seeds made."""
    with convo.Store(url) as store:
        for seed in seeds:
            RandomStore(store, random.Random(seed)).run(steps)
            yield from (f"store {seed}: {each}" for each in faults(store, list(store.heads())))
            with store.engine.begin() as connection:
                connection.execute(text("DELETE FROM convo_conversations"))


# ---- what is forged

TURN_3 = "conversation_id = (SELECT id FROM convo_conversations WHERE name = 'talk') AND turn = 3"
TURN_2 = TURN_3.replace("turn = 3", "turn = 2")
NUMBER_4 = TURN_3.replace("turn = 3", "number = 4")
NUMBER_3 = TURN_3.replace("turn =", "number =")
FORGERIES: dict[str, tuple[list[str], tuple[str, int | None, str | None]]] = {
    "a byte of a message": (
        [f"UPDATE convo_messages SET content = 'The second' WHERE side = 0 AND {TURN_3}"],
        ("content", 3, "message.content"),
    ),
    "a byte of a rejected answer": (
        ["UPDATE convo_messages SET content = 'twO' WHERE content = 'two'"],
        ("content", 2, "candidate 1.content"),
    ),
    "a byte of the context": (["UPDATE convo_conversations SET context = 'be brief.'"], ("content", None, "context")),
    "a byte of an example": (
        ["UPDATE convo_examples SET output = 'Second out' WHERE position = 1"],
        ("content", None, "example 1.output"),
    ),
    "a byte of the title": (["UPDATE convo_conversations SET title = 'The titlE'"], ("content", None, "title")),
    "the owner": (["UPDATE convo_conversations SET owner = 'evil'"], ("content", None, "labels")),
    "two texts that are swapped": (
        [
            f"UPDATE convo_messages SET candidate = candidate + 8 WHERE side = 1 AND candidate < 2 AND {TURN_2}",
            f"UPDATE convo_messages SET candidate = 9 - candidate WHERE candidate >= 8 AND {TURN_2}",
        ],
        ("content", 2, "candidate 0.content"),
    ),
    "two messages that are swapped with their salts": (
        [
            "UPDATE convo_messages SET content = CASE turn WHEN 3 THEN 'the third' ELSE 'the second' END, salt ="
            " (SELECT salt FROM convo_messages other WHERE other.conversation_id = convo_messages.conversation_id"
            " AND other.turn = 7 - convo_messages.turn AND side = 0)"
            f" WHERE side = 0 AND {TURN_3.replace('turn = 3', 'turn IN (3, 4)')}"
        ],
        ("content", 3, "message.content"),
    ),
    "a model's name": ([f"UPDATE convo_turns SET model = 'm/1' WHERE {NUMBER_3}"], ("content", 3, "model")),
    "a candidate's model": (
        [f"UPDATE convo_messages SET model = 'm/1' WHERE candidate = 1 AND {TURN_3}"],
        ("content", 3, "candidate 1.model"),
    ),
    "who served": ([f"UPDATE convo_turns SET served_by = 'x' WHERE {NUMBER_3}"], ("content", 3, "served_by")),
    "a date": (
        [f"UPDATE convo_turns SET created_at = created_at - 1000 WHERE {NUMBER_3}"],
        ("content", 3, "created_at"),
    ),
    "a message's date": (
        [f"UPDATE convo_messages SET created_at = created_at - 1000 WHERE side = 0 AND {TURN_3}"],
        ("content", 3, "message.created_at"),
    ),
    "a parameter": (
        [f"""UPDATE convo_turns SET parameters = '{{"temperature":0.5}}' WHERE {NUMBER_3}"""],
        ("content", 3, "parameters"),
    ),
    "a count of tokens": (
        [f"UPDATE convo_turns SET prompt_tokens = prompt_tokens - 1 WHERE {NUMBER_3}"],
        ("content", 3, "prompt_tokens"),
    ),
    "a usage": ([f"UPDATE convo_turns SET output_tokens = 1 WHERE {NUMBER_3}"], ("content", 3, "output_tokens")),
    "a choice": (["UPDATE convo_turns SET chosen = 0 WHERE chosen = 1 AND number = 2"], ("content", 2, "chosen")),
    "an answer that is gone": (
        ["DELETE FROM convo_messages WHERE content = 'two'"],
        ("completeness", 2, "candidate 1"),
    ),
    "an answer that is emptied": (
        ["UPDATE convo_messages SET content = NULL, salt = NULL WHERE content = 'two'"],
        ("completeness", 2, "candidate 1.content"),
    ),
    "an answer that was never given": (
        [
            "INSERT INTO convo_messages (conversation_id, turn, side, candidate, author, tokens, repaired, created_at,"
            " salt, content) SELECT conversation_id, turn, 1, 9, author, tokens, 0, created_at, salt, content FROM"
            f" convo_messages WHERE side = 0 AND {TURN_3}"
        ],
        ("content", 3, "candidate 9"),
    ),
    "a turn that is gone": (
        [f"DELETE FROM convo_messages WHERE {TURN_3}", f"DELETE FROM convo_turns WHERE {NUMBER_3}"],
        ("completeness", 3, "message"),
    ),
    "an event that is gone": ([f"DELETE FROM convo_events WHERE {NUMBER_3}"], ("chain", None, None)),
    "an event's body": (
        [
            "UPDATE convo_events SET body = CAST(replace(CAST(body AS TEXT), 'm/one', 'm/0ne') AS BLOB)"
            f" WHERE {NUMBER_3}",
        ],
        ("chain", None, None),
    ),
    "the last event": (
        ["DELETE FROM convo_events WHERE number = (SELECT max(number) FROM convo_events)"],
        ("content", 4, "candidate 0"),
    ),
    "a conversation's own row": (["DELETE FROM convo_conversations WHERE name = 'talk'"], ("completeness", None, None)),
}
"""What is done to a store, and the first fault that is found: the promise that is broken, the turn and the field."""


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forgery_is_found_and_named(filled: convo.Store, forgery: str):
    statements, named = FORGERIES[forgery]
    forge(filled, *statements)
    first = faults(filled)[0]
    assert named == (first.promise, first.turn, first.field)


PORTABLE = ("a byte of a message", "a model's name", "a usage", "a choice", "an answer that is gone", "the owner")


@pytest.mark.parametrize("forgery", PORTABLE)
def test_a_forgery_is_found_on_postgresql_too(postgres_store_url: str, forgery: str):
    statements, named = FORGERIES[forgery]
    with convo.Store(postgres_store_url) as store:
        fill(store)
        with store.engine.begin() as connection:
            connection.exec_driver_sql("SET session_replication_role = replica")  # no foreign keys
            for each in statements:
                connection.exec_driver_sql(each)
            connection.exec_driver_sql("SET session_replication_role = DEFAULT")
        first = faults(store)[0]
    assert named == (first.promise, first.turn, first.field)


def test_a_store_that_is_written_meanwhile_is_sound(url: str):
    def write(number: int) -> None:
        with convo.Store(url) as store:
            talk = store.create(model="offline/echo", name=f"talk {number}")
            for _ in range(8):
                talk.send("more", candidate_count=2)
                talk.choose(1)
                talk.fork(at=1)

    found = []
    with ThreadPoolExecutor(2) as threads, convo.Store(url) as store:
        writers = [threads.submit(write, number) for number in range(2)]
        while not all(each.done() for each in writers):
            found += faults(store)
        assert [None, None] == [each.result() for each in writers]
        assert [] == found + faults(store)


# ---- whatever is changed, in whichever row and column

HELD = ("lease_owner", "lease_expires")
"""Of which events tell only whether there is one: by whose name a turn is answered, and until when."""


def others(value: Any) -> list[Any]:
    """Return other values, of which a column takes one at least."""
    if value is None:
        return [1, bytes(32), bytes(16)]
    if isinstance(value, int):
        return [value + 1000]
    if isinstance(value, bytes):
        return [value[:-1] + bytes([value[-1] ^ 1])]
    return [value[:-1] + chr(ord(value[-1]) ^ 1) if value else "x"]


def cells(driver: Any) -> Iterator[tuple[str, str, Any, Any]]:
    """Yield table, column, key and value of everything that is stored."""
    for table in (CONVERSATIONS, TURNS, MESSAGES, EXAMPLES, EVENTS):
        keys = [each.name for each in table.primary_key.columns]
        for column in (each.name for each in table.c if each.computed is None and each.name not in HELD):
            quoted = f'"{column}"'
            for *key, value in driver.execute(f"SELECT {', '.join(keys)}, {quoted} FROM {table.name}").fetchall():
                yield table.name, column, dict(zip(keys, key, strict=True)), value


def test_whatever_is_changed_is_found(filled: convo.Store):
    with filled.engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        everything = list(cells(driver))
    missed = [f"{each[:2]}" for each in everything if is_missed(filled, *each)]
    assert [] == sorted(set(missed))
    assert 600 < len(everything)


def is_missed(store: convo.Store, table: str, column: str, key: dict[str, Any], value: Any) -> bool:
    """Change a value, and return whether nothing is found; change it back."""
    with store.engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        for each in REFERENCES_OFF:
            driver.execute(each)
        new = next(each for each in others(value) if is_taken(driver, table, column, key, each))
    is_found = bool(faults(store))
    with store.engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        assert is_taken(driver, table, column, {**key, column: new} if column in key else key, value)
    return not is_found


def is_taken(driver: Any, table: str, column: str, key: dict[str, Any], value: Any) -> bool:
    """Change a value, and return whether the table, which is STRICT, takes one of its type."""
    where = " AND ".join(f"{name} = ?" for name in key)
    try:
        changed = driver.execute(f'UPDATE {table} SET "{column}" = ? WHERE {where}', (value, *key.values()))
    except sqlite3.IntegrityError:
        return False
    return changed.rowcount == 1


# ---- what is written otherwise, put where nothing was, or hidden behind other faults

PARAMETERS = "UPDATE convo_turns SET parameters = "
UNUSUAL = {
    "a context where there was none": "UPDATE convo_conversations SET context = 'Obey.' WHERE name = 'bare'",
    "a salt where there was none": "UPDATE convo_conversations SET title_salt = zeroblob(32) WHERE name = 'bare'",
    "a text without its salt": f"UPDATE convo_messages SET salt = NULL WHERE side = 0 AND {TURN_3}",
    "a salt without its text": f"UPDATE convo_messages SET content = NULL WHERE side = 0 AND {TURN_3}",
    "a number as a text": f"""{PARAMETERS}'{{"temperature":"0.25"}}' WHERE {NUMBER_4}""",
    "a name that stands twice": f"""{PARAMETERS}'{{"temperature":9,"temperature":0.25}}' WHERE {NUMBER_4}""",
    "a space": f"""{PARAMETERS}'{{"temperature": 0.25}}' WHERE {NUMBER_4}""",
    "metadata that is written otherwise": """UPDATE convo_conversations SET metadata = '{"n":1.5, "bot":"x"}'""",
}


@pytest.mark.parametrize("forgery", UNUSUAL)
def test_an_unusual_forgery_is_found(filled: convo.Store, forgery: str):
    forge(filled, UNUSUAL[forgery])
    assert {"content"} == {str(each.promise) for each in faults(filled)}


def test_many_faults_hide_no_broken_promise(filled: convo.Store):
    heads, talk = list(filled.heads()), filled.get("talk", owner="acme")
    forge(filled, "UPDATE convo_messages SET author = 'nobody', repaired = 7")
    with filled.engine.begin() as connection:
        connection.execute(delete(EVENTS).where(EVENTS.c.conversation_id == talk.id, EVENTS.c.number == talk.version))
    verdict = next(each for each in filled.verify(heads=heads) if each.conversation == talk.id)
    assert {"chain", "content", "anchored"} == verdict.broken == {each.promise for each in verdict.faults}
    assert FAULTS_TOLD < len(verdict.faults) < verdict.fault_count


# ---- what only a head that was kept can tell


def relinked(store: convo.Store, change: Callable[[dict[str, Any]], None], number: int) -> None:
    """Change an event of the conversation `talk`, and link its journal anew."""
    talk, head = store.get("talk", owner="acme"), journal.GENESIS
    events = talk.events()
    with store.engine.begin() as connection:
        for each in events:
            told = json.loads(each.body)
            if each.number == number:
                change(told)
            body = journal.canonical(told)
            head = hashlib.sha256(
                b"\0" + head + each.number.to_bytes(8, "big") + each.kind.encode() + b"\0" + body
            ).digest()
            of_it = (EVENTS.c.conversation_id == talk.id, EVENTS.c.number == each.number)
            connection.execute(update(EVENTS).where(*of_it).values(body=body, digest=head))
        connection.execute(update(CONVERSATIONS).where(CONVERSATIONS.c.id == talk.id).values(journal_head=head))


def only_fault(store: convo.Store, heads: list[convo.Head]) -> tuple[str, int | None]:
    [fault] = faults(store, heads)
    return fault.promise, fault.event


def test_a_journal_that_was_written_anew_is_found_by_its_head(filled: convo.Store):
    heads, talk = list(filled.heads()), filled.get("talk", owner="acme")

    def forge_latency(told: dict[str, Any]) -> None:
        told["latency_ms"] = 1

    [number, *_] = [each.number for each in talk.events() if each.kind == "finish"]
    relinked(filled, forge_latency, number)
    forge(filled, f"UPDATE convo_turns SET latency_ms = 1 WHERE {NUMBER_3.replace('= 3', '= 2')}")
    assert [] == faults(filled)
    assert ("anchored", talk.version) == only_fault(filled, heads)


def test_an_end_that_was_cut_off_is_found_by_its_head(filled: convo.Store):
    heads, talk = list(filled.heads()), filled.get("talk", owner="acme")
    last = talk.version
    cut_off_last_turn(filled, talk)
    assert [] == faults(filled)
    assert ("anchored", last) == only_fault(filled, heads)
    # A head that was kept before the cut turn began still stands.
    assert [] == faults(filled, [convo.Head(talk.id, last - 2, talk.events()[-1].digest)])


def cut_off_last_turn(store: convo.Store, talk: convo.Conversation) -> None:
    """Take the last turn away, and make everything look as it did before that."""
    events = talk.events()[:-2]
    turn, fence = talk.record.turn_count, talk.record.fence
    at = json.loads(events[-1].body)["at"]
    with store.engine.connect() as connection:
        connection.execute(delete(EVENTS).where(EVENTS.c.conversation_id == talk.id, EVENTS.c.number > len(events)))
        connection.execute(delete(TURNS).where(TURNS.c.conversation_id == talk.id, TURNS.c.number == turn))
        row = {"turn_count": turn - 1, "fence": fence - 1, "journal_length": len(events)}
        row |= {"journal_head": events[-1].digest, "updated_at": datetime.fromisoformat(at)}
        connection.execute(update(CONVERSATIONS).where(CONVERSATIONS.c.id == talk.id).values(row))
        connection.commit()


def test_a_conversation_that_was_taken_away_is_found_by_its_head(filled: convo.Store):
    heads, talk = list(filled.heads()), filled.get("talk", owner="acme")
    filled.delete(talk.id, owner="acme")
    assert [] == faults(filled)
    assert ("anchored", None) == only_fault(filled, heads)
    assert [talk.id] == [each.conversation for each in filled.verify(heads=heads) if not each.is_sound]


def test_what_is_said_after_a_head_was_kept_is_no_fault(store: convo.Store):
    talk = fill(store)
    heads = list(store.heads())
    known = {each.conversation for each in heads}
    talk.send("more")
    store.create()
    verdicts = {each.conversation: each for each in store.verify(heads=heads)}
    assert {True} == {each.is_sound for each in verdicts.values()}
    assert talk.version - 2 == verdicts[talk.id].anchored_at
    assert [None] == [each.anchored_at for id, each in verdicts.items() if id not in known]


SOME_ID = "01a219ca-b69e-73c0-94c2-57717685ee7d"
DIGEST = 64 * "0"


def test_heads_that_contradict_each_other_are_a_fault(filled: convo.Store):
    heads, talk = list(filled.heads()), filled.get("talk", owner="acme")
    another = convo.Head(talk.id, talk.version, bytes(32))
    assert ("anchored", talk.version) == only_fault(filled, [another, *heads])
    assert ("anchored", talk.version) == only_fault(filled, [*heads, another])
    assert [None] == [each.anchored_at for each in filled.verify("talk", owner="acme", heads=[another])]


def test_a_head_reads_as_it_was_written():
    head = convo.Head(SOME_ID, 12, bytes(range(32)))
    assert head == convo.Head.parse(str(head)) == convo.Head.parse(f" {head}\n")


@pytest.mark.parametrize("line", ["", "x", f"{SOME_ID} 0 {DIGEST}", f"{36 * '-'} 1 {DIGEST}", f"{SOME_ID} 1 {DIGEST}0"])
def test_what_is_no_head_is_refused(line: str):
    with pytest.raises(convo.InvalidInput):
        convo.Head.parse(line)


# ---- hostile rows

DEEP = "[" * 50_000 + "]" * 50_000


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE convo_events SET body = CAST('no json' AS BLOB)",
        "UPDATE convo_events SET body = CAST('[1]' AS BLOB)",
        f"UPDATE convo_events SET body = CAST('{DEEP}' AS BLOB)",
        "UPDATE convo_events SET body = x'ff'",
        "UPDATE convo_events SET kind = '_init__'",
        "UPDATE convo_events SET kind = CAST(x'ff' AS TEXT)",
        "UPDATE convo_events SET number = -number",
        "UPDATE convo_conversations SET parameters = 'no json', metadata = 'none', created_at = 9223372036854775807",
        "UPDATE convo_conversations SET parameters = '[]', journal_length = 9223372036854775807",
        f"UPDATE convo_conversations SET metadata = '{DEEP}'",
        "UPDATE convo_turns SET parameters = '[]', created_at = -9223372036854775808",
        "UPDATE convo_messages SET salt = x'00'",
        "UPDATE convo_messages SET side = 7 WHERE side = 1 AND candidate = 0",
        "UPDATE convo_messages SET content = CAST(x'ff' AS TEXT) WHERE turn = 3 AND side = 0",
        f"UPDATE convo_turns SET conversation_id = x'00' WHERE {NUMBER_3}",
        "UPDATE convo_conversations SET id = x'0102' WHERE name = 'talk'",
    ],
)
def test_rows_that_cannot_be_read_are_faults_and_no_errors(filled: convo.Store, statement: str):
    ids = {each.conversation for each in filled.heads()}
    forge(filled, statement)
    verdicts = list(filled.verify())
    assert any(not each.is_sound for each in verdicts)
    assert len(ids) <= len(verdicts)
    named = [] if "SET id" in statement else list(filled.verify("talk", owner="acme"))
    assert not any(each.is_sound for each in named)


HOSTILE: dict[str, dict[str, Any]] = {
    "create": {"examples": 5},
    "history": {"texts": {}},
    "begin": {"request": 5},
    "resume": {"turn": "x"},
    "finish": {"usage": [1, 2, 3]},
    "fail": {"fence": 99},
    "choose": {"chosen": "x"},
    "update": {"changes": None},
    "regenerate": {"window": None},
}
OF_ALL: list[dict[str, Any]] = [
    {"at": []},
    {"at": None},
    {"turn": None},
    {"turn": -1},
    {"turn": 10**12},
    {"fence": "1"},
]


@pytest.mark.parametrize("told", OF_ALL, ids=str)
@pytest.mark.parametrize("kind", HOSTILE)
def test_an_event_that_makes_no_sense_is_a_fault_though_it_is_linked(
    filled: convo.Store, kind: str, told: dict[str, Any]
):
    for each in (HOSTILE[kind], told):
        [number, *_] = [event.number for event in filled.get("talk", owner="acme").events() if event.kind == kind]
        relinked(filled, lambda body, each=each: body.update(each), number)
        assert 4 == len(list(filled.verify()))
        assert any(not verdict.is_sound for verdict in filled.verify())


NEVER = {
    "a turn": {"fields": [["content", 99, 0, 0]]},
    "a candidate": {"fields": [["content", 2, 1, 7]]},
    "a candidate of the last turn": {"fields": [["content", 4, 1, 7]]},
    "turns": {"turns": [[3, 60]]},
    "turns that go backwards": {"turns": [[3, 1]]},
    "an example": {"fields": [["input", 7]]},
    "something else": {"fields": [["label", 1]]},
    "a number": {"fields": [5]},
}


@pytest.mark.parametrize("fields", NEVER)
@pytest.mark.parametrize("kind", ["erase", "redact"])
def test_what_was_never_there_cannot_be_taken_away(filled: convo.Store, kind: str, fields: str):
    body = dict(NEVER[fields])
    if kind == "redact":
        body = {
            "fields": [[each, journal.encode(bytes(32)), 1] for each in body.get("fields", [["content", 77, 0, 0]])]
        }
    append(filled, "talk", kind, body)
    assert {"content"} == {str(each.promise) for each in faults(filled)}


@pytest.mark.parametrize("part", ["context", "title"])
def test_a_part_that_was_never_there_cannot_be_erased(filled: convo.Store, part: str):
    append(filled, "bare", "erase", {"fields": [[part]]})
    assert {"content"} == {str(each.promise) for each in faults(filled)}


def append(store: convo.Store, name: str, kind: str, body: dict[str, Any]) -> None:
    """Append an event of which no row tells."""
    with Session(store.engine) as session:
        repository = convo.ConversationRepository(session)
        record = repository.find(name, "acme")
        repository._append(record, kind, body, record.updated_at)
        session.commit()


@pytest.mark.parametrize("time", ["infinity", "20000-01-01", "2026-01-01 BC"])
def test_a_time_that_python_does_not_know_is_a_fault_on_postgresql(postgres_store_url: str, time: str):
    with convo.Store(postgres_store_url) as store:
        fill(store)
        with store.engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE convo_turns SET created_at = '{time}' WHERE number = 3")
        assert {("content", 3, "created_at")} == {(each.promise, each.turn, each.field) for each in faults(store)}


def test_a_conversation_with_many_faults_tells_the_first_and_counts_all(filled: convo.Store):
    forge(filled, "UPDATE convo_messages SET content = 'other', tokens = 77, author = 'nobody', repaired = 5")
    verdict = next(each for each in filled.verify() if not each.is_sound)
    assert len(verdict.faults) == FAULTS_TOLD < verdict.fault_count
    assert frozenset({"content"}) == verdict.broken
    assert (True, False) == (verdict.keeps(convo.Promise.CHAIN), verdict.keeps(convo.Promise.CONTENT))


def test_a_fault_reads_as_a_sentence_without_any_text(filled: convo.Store):
    forge(filled, *FORGERIES["a byte of a message"][0])
    [fault] = faults(filled)
    assert "turn 3, message.content: it is another text than was told" == str(fault)


def main() -> None:
    """Verify random stores, 10,000 when nothing else is said, and tell what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the seed of the first store")
    parser.add_argument("--url", default="sqlite://")
    given = parser.parse_args()
    found = list(unsound(range(given.first, given.first + given.stores), given.steps, given.url))
    sys.stdout.write("".join(f"{each}\n" for each in found[:20]))
    sys.stdout.write(f"{given.stores:,} random stores, {len(found)} faults\n")


if __name__ == "__main__":
    main()
