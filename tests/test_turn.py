"""The protocol of a turn: request keys, expected versions, and prompts that are too long."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event

import convo
from convo.testing import ScriptedClient
from tests.test_conversation import asked, leave_open, talk_with
from tests.test_store import refusal, stored_rows, texts


def test_a_repeated_key_returns_the_stored_reply(store: convo.Store):
    talk = talk_with(store, ["one", "two"], "three", candidate_count=2)
    first = talk.send("a", request_key="k")
    again = talk.send("a", request_key="k")
    assert (first.text, first.candidates, first.usage, first.turn) == (
        again.text,
        again.candidates,
        again.usage,
        again.turn,
    )


def test_a_repeated_key_calls_nobody_and_stores_nothing(store: convo.Store):
    talk = talk_with(store)
    talk.send("a", request_key="k")
    before = stored_rows(store)
    talk.send("a", request_key="k")
    assert (before, 1) == (stored_rows(store), len(asked(store)))


def test_a_repeated_reply_remembers_the_figures_of_its_prompt(store: convo.Store):
    talk = talk_with(store)
    talk.send("a", request_key="k")
    assert talk.turn(1).prompt == talk.send("a", request_key="k").prompt


def test_a_repeated_key_is_known_after_later_turns(store: convo.Store):
    talk = talk_with(store)
    talk.send("a", request_key="k")
    talk.send("b")
    talk.send("c", request_key="l")
    assert [(1, "a"), (3, "c")] == [
        (each.turn, each.text) for each in (talk.send("a", request_key="k"), talk.send("c", request_key="l"))
    ]


def test_a_repeated_key_is_known_to_another_store(store: convo.Store):
    talk = talk_with(store)
    talk.send("a", request_key="k")
    other = convo.Store(store.engine, client=ScriptedClient("other"))
    assert "a" == other.get(talk.id).send("a", request_key="k").text


def test_a_repeated_key_is_known_while_a_later_turn_is_open(store: convo.Store):
    talk = talk_with(store)
    talk.send("a", request_key="k")
    leave_open(talk)
    assert "a" == talk.send("a", request_key="k").text


def test_a_repeated_key_is_known_under_new_settings(store: convo.Store):
    talk = talk_with(store)
    talk.send("a", request_key="k")
    talk.update(model="better", temperature=0.5)
    assert "a" == talk.send("a", request_key="k").text


def test_a_repeated_reply_follows_the_choice(store: convo.Store):
    talk = talk_with(store, ["one", "two"], candidate_count=2)
    talk.send("a", request_key="k")
    talk.choose(1)
    assert "two" == talk.send("a", request_key="k").text


def test_a_key_with_another_request_is_a_conflict(store: convo.Store):
    talk = talk_with(store)
    talk.send("a", request_key="k", temperature=0.5, model="other")
    before = stored_rows(store)
    same = {"text": "a", "temperature": 0.5, "model": "other"}
    different = [{"text": "b"}, {"text": "a "}, {"temperature": 0.25}, {"temperature": None}, {"top_k": 1}]
    different += [{"model": "third"}, {"model": None}]
    refused = [refusal(talk.send, request_key="k", **(same | each)) for each in different]
    assert [convo.IdempotencyConflict] * len(different) == refused
    assert (before, 1) == (stored_rows(store), len(asked(store)))


def test_what_is_no_part_of_the_request_is_no_conflict(store: convo.Store):
    talk = talk_with(store)
    talk.send("a", request_key="k")
    others = [{"deadline_s": 5}, {"on_unfinished": "discard"}, {"expected_version": 1}, {"temperature": None}]
    assert ["a"] * 4 == [talk.send("a", request_key="k", **each).text for each in others]


def test_a_conflict_tells_the_turn_and_the_key(store: convo.Store):
    talk = talk_with(store)
    talk.send("a")
    talk.send("b", request_key="k")
    with pytest.raises(convo.IdempotencyConflict) as caught:
        talk.send("c", request_key="k")
    error = caught.value
    assert (talk.id, 2, "k", False) == (error.conversation, error.turn, error.request_key, error.retryable)


def test_the_key_of_a_failed_turn_repeats_the_call_in_place(store: convo.Store):
    talk = talk_with(store, ValueError(), "one")
    assert convo.ModelError is refusal(talk.send, "a", request_key="k")
    reply = talk.send("a", request_key="k")
    assert (1, "one", ["a", "one"], [["a"], ["a"]]) == (reply.turn, reply.text, texts(talk), asked(store))


def test_the_key_of_a_failed_turn_repeats_it_with_its_own_settings(store: convo.Store):
    talk = talk_with(store, ValueError(), "one")
    settings = {"model": "other", "temperature": 0.5}
    refusal(talk.send, "a", request_key="k", **settings)
    talk.send("a", request_key="k", **settings)
    assert ("other", convo.Parameters(temperature=0.5)) == (talk.turn(1).model, talk.turn(1).parameters)


def test_the_key_of_a_failed_turn_wants_the_same_text(store: convo.Store):
    talk = talk_with(store, ValueError())
    refusal(talk.send, "a", request_key="k")
    refused = [refusal(talk.send, "b", request_key="k", on_unfinished=each) for each in ("raise", "resume", "discard")]
    assert [convo.IdempotencyConflict] * 3 == refused


def test_the_unfinished_turn_tells_its_key(store: convo.Store):
    talk = talk_with(store, ValueError())
    refusal(talk.send, "a", request_key="k")
    with pytest.raises(convo.TurnUnfinished) as caught:
        talk.send("b", request_key="l")
    assert "k" == caught.value.request_key


def test_resume_answers_the_key_too(store: convo.Store):
    talk = talk_with(store, ValueError(), "one", "two")
    refusal(talk.send, "a", request_key="k")
    talk.resume()
    assert ("one", 2) == (talk.send("a", request_key="k").text, len(asked(store)))


def test_the_key_of_a_discarded_turn_is_free_again(store: convo.Store):
    talk = talk_with(store, ValueError(), "one")
    refusal(talk.send, "a", request_key="k")
    talk.discard()
    assert (1, "one") == (talk.send("b", request_key="k").turn, texts(talk)[1])


def test_another_conversation_may_use_the_same_key(store: convo.Store):
    first, second = talk_with(store), talk_with(store)
    assert ["a", "b"] == [first.send("a", request_key="k").text, second.send("b", request_key="k").text]


def test_one_key_sent_by_many_at_once_is_one_turn(url: str):
    client = ScriptedClient()
    with convo.Store(url, client=client) as store, ThreadPoolExecutor(16) as pool:
        id = store.create().id
        outcomes = list(pool.map(lambda _: refusal(store.get(id).send, "a", request_key="k"), range(32)))
        assert {None, convo.TurnInFlight} >= set(outcomes)
        assert (1, ["a", "a"]) == (len(client.requests), texts(store.get(id)))


def test_the_expected_version_is_met(store: convo.Store):
    talk = talk_with(store, messages=["a", "b"])
    assert "c" == talk.send("c", expected_version=talk.version).text
    assert "d" == talk.send("d", expected_version=talk.version).text


@pytest.mark.parametrize("change", ["send", "update", "choose"])
def test_any_change_since_is_a_version_conflict(store: convo.Store, change: str):
    talk = talk_with(store, messages=["a", "b"])
    known, other = talk.version, store.get(talk.id)
    {"send": lambda: other.send("x"), "update": lambda: other.update(title="t"), "choose": lambda: other.choose(0)}[
        change
    ]()
    before, calls = stored_rows(store), len(asked(store))
    assert convo.VersionConflict is refusal(talk.send, "c", expected_version=known)
    assert (before, calls) == (stored_rows(store), len(asked(store)))


def test_a_version_conflict_tells_both_versions(store: convo.Store):
    talk = talk_with(store)
    with pytest.raises(convo.VersionConflict) as caught:
        talk.send("a", expected_version=7)
    assert (talk.id, 1, 7) == (caught.value.conversation, caught.value.version, caught.value.expected)


def test_a_repeated_key_needs_no_version(store: convo.Store):
    talk = talk_with(store)
    known = talk.version
    talk.send("a", request_key="k", expected_version=known)
    assert "a" == talk.send("a", request_key="k", expected_version=known).text


def test_a_prompt_that_is_too_long_stores_nothing_and_calls_nobody(store: convo.Store):
    talk = talk_with(store, messages=["a", "b"], context="c" * 40, input_token_limit=20)
    before = stored_rows(store)
    with pytest.raises(convo.PromptTooLong) as caught:
        talk.send("x" * 44, request_key="k")
    assert (before, [], (21, 20)) == (stored_rows(store), asked(store), (caught.value.tokens, caught.value.limit))


def test_a_shorter_text_goes_through_after_one_that_was_too_long(store: convo.Store):
    talk = talk_with(store, context="c" * 40, input_token_limit=20)
    refusal(talk.send, "x" * 44, request_key="k")
    assert "x" * 40 == talk.send("x" * 40, request_key="k").text


def test_a_turn_that_no_longer_fits_can_be_discarded(store: convo.Store):
    talk = talk_with(store, ValueError(), "one")
    refusal(talk.send, "x" * 400)
    talk.update(input_token_limit=20)
    assert (convo.PromptTooLong, "x" * 400) == (refusal(talk.resume), talk.discard())


def test_a_turn_is_read_as_of_one_moment(url: str):
    """Between the two statements of a read, another process replaces the turn by one of the same number."""
    with convo.Store(url) as reader, convo.Store(url, client=ScriptedClient("one")) as writer:
        talk = writer.create()
        leave_open(talk)
        writer.client = ScriptedClient("answer")

        def replace_turn(connection, cursor, statement, parameters, context, executemany):
            if "FROM convo_messages" in statement and not writer.client.requests:
                talk.send("new", on_unfinished="discard")

        event.listen(reader.engine, "before_cursor_execute", replace_turn)
        turn = reader.get(talk.id).turn(1)
    assert ("failed", "open", ()) == (turn.state, turn.message.content, turn.candidates)
