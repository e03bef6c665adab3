"""What the HTTP interface refuses, and what a kill leaves to it; on SQLite."""

from __future__ import annotations

import signal

import httpx

from tests.examples.callers import FIRST, STREAM, ask, known
from tests.examples.running import serving

BODIES = {
    b"": 400,
    b"{": 400,
    b"[]": 400,
    b"[" * 50_000: 400,
    b'{"text": 5}': 400,
    b'{"more": "hello"}': 400,
    b'{"text": "\xff"}': 400,
    b'{"text": ""}': 422,
    b'{"text": "\\u0000"}': 422,
    b'{"text": "\\ud800"}': 422,
    b'{"text": "hello", "on_unfinished": "explode"}': 422,
    b'{"text": "hello", "on_unfinished": ["resume"]}': 422,
    b'{"text": "%s"}' % ("ü" * 20_000).encode(): 422,
    b'{"text": "%s"}' % (b"x" * 70_000): 413,
}
"""What is sent, and the status that it comes to."""


def test_what_cannot_be_asked_is_refused(alice):
    assert BODIES == {each: alice.post(FIRST, content=each).status_code for each in BODIES}


def test_what_cannot_be_asked_is_refused_where_a_stream_is_wanted(alice):
    assert BODIES == {each: alice.post(FIRST, content=each, headers=STREAM).status_code for each in BODIES}


def test_what_is_refused_costs_no_call(alice, model):
    for each in BODIES:
        alice.post(FIRST, content=each)
    assert [] == model.asked()


def test_a_body_of_unknown_length_is_refused_where_it_becomes_too_long(alice):
    assert 413 == alice.post(FIRST, content=(b"x" * 1024 for _ in range(1024))).status_code


def test_headers_that_say_nothing_are_refused(alice):
    given = [("If-Match", "*"), ("If-Match", ""), ("If-Match", f'"{"9" * 5000}"'), ("Idempotency-Key", "x" * 2000)]
    assert [400, 400, 400, 422] == [ask(alice, "hello", headers=dict([each])).status_code for each in given]


def test_what_is_not_there_is_not_found(alice):
    expected = {
        ("GET", FIRST): 404,
        ("GET", "/"): 404,
        ("POST", "/conversations/a/b/messages"): 404,
        ("PUT", FIRST): 405,
    }
    assert expected == {each: alice.request(*each, json={"text": "hello"}).status_code for each in expected}


def test_without_a_token_nobody_is_served(alice, model):
    for token in ("", "Bearer", "Bearer token of carol", "Basic token of alice"):
        asked = ask(alice, "hello", headers={"Authorization": token}).status_code
        assert (401, 401) == (asked, alice.get(FIRST, headers={"Authorization": token}).status_code)
    assert [] == model.asked()


def test_an_owner_that_the_body_names_counts_for_nothing(alice):
    ask(alice, "hello", owner="bob")
    with httpx.Client(base_url=alice.base_url) as client:
        assert 404 == known(client, "bob").get(FIRST).status_code


def test_an_answer_that_a_kill_cut_off_is_given_to_the_same_key(settings, model, later):
    model.may_answer.clear()
    with serving("tests.examples.served:api", **settings) as (program, client):
        later(ask, known(client), "hello", "k")
        model.asked(1)
        program.end(signal.SIGKILL)
    model.may_answer.set()
    with serving("tests.examples.served:api", **settings) as (_, client):
        assert "You say: hello" == ask(known(client), "hello", "k").json()["text"]
