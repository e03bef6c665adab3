"""The journal: its canonical form, its commitments and links, and a stored one verified by another hand.

What verifies here uses hashlib, hmac and json alone, and reads the rows by itself: it shares no code with convo.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Row, Table, select

import convo
from convo import journal
from convo.clients.base import ChatRequest
from convo.store.rows import CONVERSATIONS, EVENTS, EXAMPLES, MESSAGES, TURNS
from convo.testing import ScriptedClient
from convo.values import Example, Fit, Message, Parameters

SALT = bytes(range(32))

# ---- canonical form

ASCII_KEYS = st.text(st.characters(codec="ascii"), max_size=5)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ASCII_KEYS, inner, max_size=4), max_leaves=12
)
BODIES = st.dictionaries(ASCII_KEYS, VALUES, max_size=4)
SHORT_ESCAPES = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def jcs(value: Any) -> str:
    """Write `value` by the rules of RFC 8785, sections 3.2.2 and 3.2.3, without a JSON library."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + "".join(map(_escaped, value)) + '"'
    if isinstance(value, dict):
        ordered = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{jcs(key)}:{jcs(value[key])}" for key in ordered) + "}"
    return "[" + ",".join(map(jcs, value)) + "]"


def _escaped(character: str) -> str:
    code = ord(character)
    return SHORT_ESCAPES.get(code, f"\\u{code:04x}" if code < 0x20 else character)


@given(BODIES)
def test_the_canonical_form_is_that_of_rfc_8785(body: dict[str, Any]):
    assert jcs(body).encode() == journal.canonical(body)


@given(BODIES)
def test_the_canonical_form_reads_back_as_what_was_written(body: dict[str, Any]):
    assert body == json.loads(journal.canonical(body))


@given(BODIES)
def test_the_order_in_which_a_body_was_made_does_not_matter(body: dict[str, Any]):
    assert journal.canonical(body) == journal.canonical(dict(reversed(body.items())))


def test_the_strings_of_the_example_in_the_rfc():
    # RFC 8785, section 3.2.4: the bytes of its example, without the numbers, which have no place here.
    body = {"string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/", "literals": [None, True, False]}
    wanted = bytes.fromhex(
        "7b 22 6c 69 74 65 72 61 6c 73 22 3a 5b 6e 75 6c 6c 2c 74 72 75 65 2c 66 61 6c 73 65 5d 2c"
        "22 73 74 72 69 6e 67 22 3a 22 e2 82 ac 24 5c 75 30 30 30 66 5c 6e 41 27 42 5c 22 5c 5c 5c 5c 5c 22 2f 22 7d"
    )
    assert wanted == journal.canonical(body)


def test_control_characters_are_escaped_and_all_others_kept():
    body = {"\x7f": "\x00\x08\t\n\x0b\x0c\r\x1f\x7f\x80\u2028é😀"}
    assert '{"\x7f":"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f\x7f\x80\u2028é😀"}'.encode() == journal.canonical(body)


@pytest.mark.parametrize(
    "value",
    [0.0, 1.0, 0.5, float("nan"), float("inf"), 2**53, -(2**53), 10**400, "\ud800", {"é": 1}, {1: 2}, {None: 1}],
)
@pytest.mark.parametrize("nest", [lambda value: value, lambda value: [value], lambda value: {"a": [{"b": value}]}])
def test_what_has_no_single_form_is_refused_however_deep(nest: Callable[[object], object], value: object):
    with pytest.raises(ValueError, match=r"has no canonical form|cannot be a key|surrogates not allowed"):
        journal.canonical({"key": nest(value)})


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), Parameters()])
def test_what_is_no_json_is_refused(value: object):
    with pytest.raises(TypeError):
        journal.canonical({"key": value})


# ---- commitments, links and digests of prompts


def committed(field: str, text: str, salt: bytes) -> str:
    """Commit as point 2 of the design's audit log says it."""
    sealed = hmac.new(salt, b"convo/field/v1\x00" + field.encode() + b"\x00" + text.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def test_a_commitment_is_an_hmac_under_its_salt():
    assert committed("content", "hällo", SALT) == journal.encode(journal.commit("content", "hällo", SALT))


def test_a_commitment_has_32_bytes_and_another_value_for_another_field_salt_or_text():
    made = [journal.commit(*each) for each in [("a", "b", SALT), ("b", "b", SALT), ("a", "c", SALT), ("ab", "", SALT)]]
    made += [journal.commit("a", "b", bytes(32)), journal.commit("a", "", SALT), journal.commit("", "ab", SALT)]
    assert ({32}, len(made)) == ({len(each) for each in made}, len(set(made)))


@pytest.mark.parametrize("salt", [b"", bytes(31), bytes(33), bytes(64)])
def test_a_salt_of_another_length_is_refused_as_it_would_open_two_commitments(salt: bytes):
    with pytest.raises(ValueError, match="a salt has 32 bytes"):
        journal.commit("content", "text", salt)


def linked(previous: bytes, number: int, kind: str, body: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + previous + number.to_bytes(8, "big") + kind.encode() + b"\x00" + body).digest()


def test_a_link_binds_what_came_before_the_number_the_kind_and_the_body():
    first = (bytes(32), 1, "create", b"{}")
    others = [(SALT, 1, "create", b"{}"), (bytes(32), 2, "create", b"{}"), (bytes(32), 1, "begin", b"{}")]
    others.append((bytes(32), 1, "create", b'{"a":1}'))
    made = [journal.link(*each) for each in (first, *others)]
    assert (linked(*first), len(made)) == (made[0], len(set(made)))


def prompt(**changes: Any) -> bytes:
    """Return the digest of a prompt with `changes` to its parts."""
    parts: dict[str, Any] = {"context": "c", "salt": SALT, "model": "m", "values": Parameters(temperature=0.5)}
    parts |= {"examples": (Example("i", "o", 1, SALT, SALT),), "messages": (Message("0", "hi", salt=SALT),), **changes}
    fit = Fit(1, 2, parts["context"], parts["examples"], parts["messages"])
    messages = map(journal.sealed_message, fit.messages)
    return journal.prompt_digest(
        fit, messages, context_salt=parts["salt"], model=parts["model"], values=parts["values"]
    )


def test_the_digest_of_a_prompt_changes_with_each_part_of_it():
    message, example = Message("0", "hi", salt=SALT), Example("i", "o", 1, SALT, SALT)
    made = [
        prompt(),
        prompt(context="d"),
        prompt(context=None),
        prompt(model="n"),
        prompt(values=Parameters(temperature=0.7)),
        prompt(values=Parameters()),
        prompt(examples=()),
        prompt(examples=(example, example)),
        prompt(examples=(Example("o", "i", 1, SALT, SALT),)),
        prompt(messages=(message, message)),
        prompt(messages=(Message("0", "ho", salt=SALT),)),
        prompt(messages=(Message("0", "hi", side=1, salt=SALT),)),
    ]
    assert len(made) == len(set(made))


def test_the_digest_of_a_prompt_is_that_of_its_commitments_in_their_canonical_form():
    messages = (Message("0", 'say "hi"', salt=SALT), Message("1", None, side=1), Message("0", "hi", salt=bytes(32)))
    seals = [journal.sealed("content", each.content, each.salt) for each in messages]
    parts = {
        "context": journal.sealed("context", "c", SALT),
        "examples": [[journal.sealed("input", "i", SALT), journal.sealed("output", "o", SALT)]],
        "messages": [[0, seals[0]], [1, None], [0, seals[2]]],
        "model": 'the "m" ü',
        "parameters": {"temperature": "0.5"},
    }
    told = hashlib.sha256(b"convo/prompt/v1\0" + journal.canonical(parts)).digest()
    given = [parts["context"], parts["examples"], [(0, seals[0]), (1, None), (0, seals[2])]]
    assert told == prompt(messages=messages, model=parts["model"])
    assert told == journal.sealed_digest(*given, parts["model"], parts["parameters"])


def test_the_digest_of_a_prompt_does_not_depend_on_names():
    assert prompt() == prompt(messages=(Message("somebody", "hi", salt=SALT),))


@pytest.mark.parametrize(("value", "told"), [(0.7, "0.7"), (1.0, "1.0"), (0, "0.0"), (1e-7, "1e-07")])
def test_a_float_stands_in_the_journal_as_its_shortest_text(value: float, told: str):
    assert {"temperature": told, "top_k": 3} == journal.parameters(Parameters(temperature=float(value), top_k=3))


# ---- a stored journal, read and verified without convo

CANARIES = {
    "context": "canary context",
    "title": "canary title",
    "name": "canary name",
    "owner": "canary owner",
    "opening": "canary opening",
    "authors": ("canary user", "canary model"),
    "examples": [("canary in 1", "canary out 1"), ("canary in 2", "canary out 2")],
    "metadata": {"canary key": ["canary value", 1.5, None]},
    "messages": ["canary 1", "canary 2", "canary 3", "canary 4"],
}


@pytest.fixture
def client() -> ScriptedClient:
    """Return a model that answers, fails, answers after all, fails again, and goes on."""
    answers = ("canary a", "canary b", "canary c")
    failures = (RuntimeError("canary trace"), convo.ModelError("canary refusal"))
    return ScriptedClient(answers, failures[0], "canary late", failures[1], ["canary end", "canary end 2"])


@pytest.fixture
def talk(store: convo.Store, client: ScriptedClient) -> convo.Conversation:
    """Return a conversation to which everything happened that can happen to one."""
    store.client = client
    talk = store.create(**CANARIES, temperature=0.5, candidate_count=3, input_token_limit=28, trim="stable")
    talk.send("canary 5", request_key="canary request", top_k=7)
    talk.choose(1)
    talk.update(title="canary title 2", name="canary name 2", metadata={"canary": 2}, temperature=None, top_p=0.25)
    with pytest.raises(convo.ModelError):
        talk.send("canary 6")
    talk.resume(candidate_count=1)
    with pytest.raises(convo.ModelError):
        talk.send("canary 7")
    talk.discard()
    talk.send("canary 8")
    return talk


def rows_of(store: convo.Store, talk: convo.Conversation, table: Table) -> list[Row[Any]]:
    """Return the conversation's rows of a table, in the order of their key."""
    key = CONVERSATIONS.c.id if table is CONVERSATIONS else table.c.conversation_id
    with store.engine.connect() as connection:
        found = connection.execute(select(table).where(key == talk.id).order_by(*table.primary_key))
        return list(found)


def bodies(store: convo.Store, talk: convo.Conversation, *kinds: str) -> list[dict[str, Any]]:
    return [json.loads(each.body) for each in rows_of(store, talk, EVENTS) if each.kind in kinds]


def sealed(row: Row[Any], field: str = "content", text: str = "content", salt: str = "salt") -> str:
    """Return the commitment to a stored text."""
    return committed(field, getattr(row, text), getattr(row, salt))


def texts_of(store: convo.Store, talk: convo.Conversation) -> dict[tuple[int, int], list[str]]:
    """Return the commitments to the stored messages, by turn and side, in the order of the candidates."""
    found: dict[tuple[int, int], list[str]] = {}
    for row in rows_of(store, talk, MESSAGES):
        found.setdefault((row.turn, row.side), []).append(sealed(row))
    return found


def test_every_kind_of_event_is_in_the_journal(store: convo.Store, talk: convo.Conversation):
    told = ["create", "history", "history", "begin", "finish", "choose", "update", "begin", "fail", "resume", "finish"]
    told += ["begin", "fail", "discard", "begin", "finish"]
    assert told == [each.kind for each in rows_of(store, talk, EVENTS)]


def test_the_chain_holds_from_the_first_event_to_the_head(store: convo.Store, talk: convo.Conversation):
    events, row = rows_of(store, talk, EVENTS), rows_of(store, talk, CONVERSATIONS)[0]
    digest = bytes(32)
    for number, each in enumerate(events, 1):
        digest = linked(digest, number, each.kind, each.body)
        assert (number, digest) == (each.number, each.digest)
    assert (len(events), digest, talk.version) == (row.journal_length, row.journal_head, len(events))


def test_every_stored_body_is_canonical(store: convo.Store, talk: convo.Conversation):
    stored = [each.body for each in rows_of(store, talk, EVENTS)]
    assert [jcs(json.loads(body)).encode() for body in stored] == stored


def test_no_body_holds_a_text_a_name_or_a_key(store: convo.Store, talk: convo.Conversation):
    assert [] == [each.body for each in rows_of(store, talk, EVENTS) if b"canary" in each.body.lower()]


def test_a_new_conversations_first_event_commits_to_all_that_it_was_created_with(store: convo.Store):
    talk = store.create(**CANARIES, model="offline/echo")
    row, [body] = rows_of(store, talk, CONVERSATIONS)[0], bodies(store, talk, "create")
    labels = {"authors": list(CANARIES["authors"]), "metadata": CANARIES["metadata"]}
    labels |= {"name": CANARIES["name"], "owner": CANARIES["owner"]}
    told = json.dumps(labels, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    examples = [
        [sealed(each, "input", "input", "input_salt"), sealed(each, "output", "output", "output_salt")]
        for each in rows_of(store, talk, EXAMPLES)
    ]
    assert {
        "context": sealed(row, "context", "context", "context_salt"),
        "title": sealed(row, "title", "title", "title_salt"),
        "labels": committed("labels", told, row.label_salt),
        "examples": examples,
        "opening": texts_of(store, talk)[0, 1][0],
    } == {name: body[name] for name in ("context", "title", "labels", "examples", "opening")}


def test_an_update_commits_to_the_new_title_and_labels(store: convo.Store, talk: convo.Conversation):
    row, [body] = rows_of(store, talk, CONVERSATIONS)[0], bodies(store, talk, "update")
    labels = {"authors": ["canary user", "canary model"], "metadata": {"canary": 2}}
    labels |= {"name": "canary name 2", "owner": "canary owner"}
    told = json.dumps(labels, sort_keys=True, separators=(",", ":"))
    assert {
        "title": sealed(row, "title", "title", "title_salt"),
        "labels": committed("labels", told, row.label_salt),
        "parameters": {"candidate_count": 3, "top_p": "0.25"},
    } == body["changes"]


def test_every_message_is_committed_to_where_it_was_said(store: convo.Store, talk: convo.Conversation):
    told = {(0, 1): [body["opening"] for body in bodies(store, talk, "create")]}
    for body in bodies(store, talk, "history"):
        told[body["turn"], 0], told[body["turn"], 1] = [body["texts"][0]], [body["texts"][1]]
    for body in bodies(store, talk, "begin"):
        told[body["turn"], 0] = [body["text"]]
    for body in bodies(store, talk, "finish"):
        told[body["turn"], 1] = [each["text"] for each in body["candidates"]]
    assert told == texts_of(store, talk)


def test_a_discarded_text_is_gone_and_its_commitment_stays(store: convo.Store, talk: convo.Conversation):
    [gone] = bodies(store, talk, "discard")
    begun = [body["text"] for body in bodies(store, talk, "begin") if body["turn"] == gone["turn"]]
    assert "canary 7" not in [row.content for row in rows_of(store, talk, MESSAGES)]
    assert (begun[:1], 2) == (gone["texts"], len(begun))


def rebuilt(store: convo.Store, talk: convo.Conversation, request: ChatRequest, told: dict[str, Any]) -> str:
    """Return the digest of what a model received, from its texts, the stored salts and what the event tells."""
    chosen = {row.number: row.chosen for row in rows_of(store, talk, TURNS)}
    said = [row for row in rows_of(store, talk, MESSAGES) if row.side == 0 or row.candidate == chosen[row.turn]]
    salts = {row.position: row.salt for row in said}
    start, first_example, *_ = told["window"]
    shown = zip(request.examples, rows_of(store, talk, EXAMPLES)[first_example:], strict=True)
    parts = {
        "context": committed("context", str(request.context), rows_of(store, talk, CONVERSATIONS)[0].context_salt),
        "examples": [
            [committed("input", sent.input, row.input_salt), committed("output", sent.output, row.output_salt)]
            for sent, row in shown
        ],
        "messages": [
            [sent.side, committed("content", sent.content, salts[start + index])]
            for index, sent in enumerate(request.messages)
        ],
        "model": told["model"],
        "parameters": told["parameters"],
    }
    digest = hashlib.sha256(b"convo/prompt/v1\x00" + jcs(parts).encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def test_the_prompts_that_a_model_received_are_those_of_the_journal(
    store: convo.Store, talk: convo.Conversation, client: ScriptedClient
):
    told = bodies(store, talk, "begin", "resume")
    kept = [index for index, request in enumerate(client.requests) if request.messages[-1].content != "canary 7"]
    assert [told[index]["prompt"] for index in kept] == [
        rebuilt(store, talk, client.requests[index], told[index]) for index in kept
    ]


def test_a_turn_keeps_the_digest_and_the_window_of_its_last_prompt(store: convo.Store, talk: convo.Conversation):
    told = {body["turn"]: body for body in bodies(store, talk, "begin", "resume")}
    turns = [row for row in rows_of(store, talk, TURNS) if row.prompt_digest]
    assert [3, 4, 5] == [row.number for row in turns]
    for row in turns:
        window = [row.window_start, row.first_example, row.prompt_tokens, row.prompt_limit]
        assert (told[row.number]["prompt"], told[row.number]["window"]) == (journal.encode(row.prompt_digest), window)


def test_the_digest_of_a_prompt_that_lost_an_example_is_rebuilt_too(store: convo.Store):
    store.client = ScriptedClient("answer")
    talk = store.create(**CANARIES, input_token_limit=12, temperature=0)
    talk.send("canary 5")
    [told] = bodies(store, talk, "begin")
    assert ([5, 1, 12, 12], told["prompt"]) == (told["window"], rebuilt(store, talk, store.client.requests[0], told))


def test_the_answers_are_told_with_their_counts_and_how_they_came(store: convo.Store, talk: convo.Conversation):
    told = [
        (body["turn"], body["by"], body["chosen"], len(body["candidates"])) for body in bodies(store, talk, "finish")
    ]
    assert [(3, "model", 0, 3), (4, "model", 0, 1), (5, "model", 0, 2)] == told


def test_a_failure_tells_the_type_of_the_error_alone(store: convo.Store, talk: convo.Conversation):
    told = [{name: body[name] for name in body if name != "at"} for body in bodies(store, talk, "fail")]
    assert [{"turn": 4, "fence": 3, "error": "ModelError"}, {"turn": 5, "fence": 5, "error": "ModelError"}] == told
