"""The HTTP interface, over real sockets, on SQLite and on PostgreSQL."""

from __future__ import annotations

import signal
import time

import httpx
import pytest

import convo
from examples import asgi_app
from tests.examples.callers import FIRST, STREAM, ask, events, known, turns
from tests.examples.running import client_of, command_of, running, serving

API = "tests.examples.served:api"


@pytest.fixture
def database(url: str) -> str:
    return url


def left_behind(database: str) -> convo.Turn:
    """Return the last turn, as soon as it is no longer in flight."""
    with convo.Store(database) as store:
        talk = store.get("first", owner="alice")
        while (last := talk.turns(last=1)[0]).state == "in_flight":
            time.sleep(0.02)
        return last


def test_the_command_in_its_docstring_answers_with_the_embedded_model(settings, database):
    with running(*command_of(asgi_app), **settings) as program, client_of(program) as client:
        answer = ask(known(client), "My mother is ill.").json()["text"]
    assert [("done", "My mother is ill.", answer)] == turns(database, "first", "alice")


def test_a_message_is_answered_and_read(alice):
    answered, read = ask(alice, "hello"), alice.get(FIRST)
    assert (200, {"text": "You say: hello", "turn": 1}) == (answered.status_code, answered.json())
    said = [{"author": "0", "text": "hello"}, {"author": "1", "text": "You say: hello"}]
    assert (200, said, answered.headers["etag"]) == (read.status_code, read.json(), read.headers["etag"])


def test_a_request_sent_again_with_its_key_has_the_same_answer_without_a_second_call(alice, model):
    assert ask(alice, "hello", "k").json() == ask(alice, "hello", "k").json()
    assert ["hello"] == model.asked()


def test_a_stream_comes_in_pieces_and_ends_with_what_is_stored(alice, model):
    streamed = ask(alice, "hello", headers=STREAM)
    pieces = [("piece", {"text": text}) for text in ("You", " say:", " hello")]
    stored = ("stored", {"version": int(alice.get(FIRST).headers["etag"].strip('"'))})
    assert ("text/event-stream", [*pieces, stored]) == (streamed.headers["content-type"], events(streamed))


def test_the_first_piece_comes_before_the_answer_is_whole(alice, model):
    model.may_answer.clear()
    with alice.stream("POST", FIRST, json={"text": "hello"}, headers=STREAM) as streamed:
        lines = streamed.iter_lines()
        assert ["event: piece", 'data: {"text": "You"}'] == [next(lines), next(lines)]
        model.may_answer.set()
        assert "event: stored" in list(lines)


def test_a_stream_that_is_asked_for_again_comes_from_the_store(alice, model):
    first, second = (events(ask(alice, "hello", "k", headers=STREAM)) for _ in range(2))
    assert (["hello"], [("piece", {"text": "You say: hello"}), first[-1]]) == (model.asked(), second)


@pytest.mark.parametrize("again", [{"key": "k"}, {"on_unfinished": "resume"}, {"on_unfinished": "discard"}])
def test_a_reader_who_hangs_up_leaves_the_turn_failed_and_the_next_message_works(alice, model, database, again):
    model.may_answer.clear()
    with alice.stream("POST", FIRST, json={"text": "hello"}, headers=STREAM | {"Idempotency-Key": "k"}) as streamed:
        assert "event: piece" == next(streamed.iter_lines())
    left = left_behind(database)
    assert ("failed", "cancelled", ["You"]) == (left.state, left.error, [each.content for each in left.candidates])
    model.may_answer.set()
    answered = ask(alice, "hello" if "key" in again else "and", **again)
    assert 200 == answered.status_code
    assert ("done", "You say: and" if "key" not in again else "You say: hello") == turns(database, "first", "alice")[
        -1
    ][::2]


def test_after_a_hang_up_another_message_is_told_of_it(alice, model, database):
    model.may_answer.clear()
    with alice.stream("POST", FIRST, json={"text": "hello"}, headers=STREAM) as streamed:
        next(streamed.iter_lines())
    left_behind(database)
    refused = ask(alice, "and")
    assert (409, "TurnUnfinished") == (refused.status_code, refused.json()["error"])


def test_a_caller_who_hangs_up_without_a_stream_finds_the_answer_later(alice, model, database):
    model.may_answer.clear()
    with pytest.raises(httpx.ReadTimeout):
        alice.post(FIRST, json={"text": "hello"}, headers={"Idempotency-Key": "k"}, timeout=0.5)
    model.asked(1)
    model.may_answer.set()
    while (again := ask(alice, "hello", "k")).status_code == 409:
        time.sleep(0.02)
    assert ("You say: hello", ["hello"]) == (again.json()["text"], model.asked())


def test_a_second_message_at_once_is_told_to_come_back(alice, model, later):
    model.may_answer.clear()
    first = later(ask, alice, "one")
    model.asked(1)
    second = ask(alice, "two")
    assert (409, "TurnInFlight", "2") == (second.status_code, second.json()["error"], second.headers["retry-after"])
    model.may_answer.set()
    assert ([200, 200], ["one", "two"]) == (
        [first.result().status_code, ask(alice, "two").status_code],
        model.asked(),
    )


def test_two_messages_of_which_each_is_repeated_until_it_is_answered_are_both_stored_once(alice, later, database):
    def insist(text: str) -> str:
        while (answered := ask(alice, text, f"key of {text}")).status_code == 409:
            time.sleep(0.02)
        return answered.json()["text"]

    told = [later(insist, f"message {number}") for number in range(8)]
    assert {f"You say: message {number}" for number in range(8)} == {each.result() for each in told}
    assert (8, {"done"}) == (
        len(turns(database, "first", "alice")),
        {state for state, _, _ in turns(database, "first", "alice")},
    )


def test_a_message_to_another_version_is_refused(alice):
    seen = ask(alice, "one").headers["etag"]
    assert [200, 412] == [ask(alice, text, headers={"If-Match": seen}).status_code for text in ("two", "three")]


def test_a_key_with_another_text_is_refused(alice):
    assert [200, 422] == [ask(alice, text, "k").status_code for text in ("one", "two")]


@pytest.mark.parametrize(
    ("error", "status", "again"),
    [("BadModelResponse", 502, "2"), ("CallTimedOut", 504, "2"), ("ReplyBlocked", 502, None)],
)
def test_a_model_that_fails_is_told_by_the_status(alice, model, error, status, again):
    model.errors = [error] * 2
    whole, streamed = ask(alice, "hello", "k"), ask(alice, "hello", "k", headers=STREAM)
    told = [(each.status_code, each.json(), each.headers.get("retry-after")) for each in (whole, streamed)]
    assert [(status, {"error": error, "status": status}, again)] * 2 == told
    assert 200 == ask(alice, "hello", "k").status_code


def test_a_stream_that_breaks_off_says_so_in_its_last_event(alice, model):
    model.breaks = True
    broken = ask(alice, "hello", "k", headers=STREAM)
    assert [("piece", {"text": "You"}), ("error", {"error": "StreamCut", "status": 502})] == events(broken)
    assert 200 == ask(alice, "hello", "k").status_code


def test_at_sigterm_a_stream_comes_to_its_end(settings, model):
    model.may_answer.clear()
    with serving(API, **settings) as (program, client):
        with known(client).stream("POST", FIRST, json={"text": "hello"}, headers=STREAM) as streamed:
            lines = streamed.iter_lines()
            next(lines)
            program.process.terminate()
            program.line("Shutting down")
            model.may_answer.set()
            assert "event: stored" in list(lines)
        assert -signal.SIGTERM == program.wait()
        program.line("Application shutdown complete")
