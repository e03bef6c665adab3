"""Turns that an error left without an answer: resume, discard, and what a bad answer of a model does."""

from __future__ import annotations

import asyncio
import enum

import pytest
from sqlalchemy import Engine, event

import convo
from convo.testing import ScriptedClient
from tests.test_conversation import asked, leave_open, talk_with
from tests.test_store import refusal, stored_rows, texts

BLOCKED = convo.ChatReply((), filters=(convo.Filter("SAFETY"), convo.Filter("OTHER", "no")))
CANCELLED = [KeyboardInterrupt(), SystemExit(3), GeneratorExit(), asyncio.CancelledError()]
FAILED = [ValueError("x"), StopIteration(), RecursionError(), ExceptionGroup("g", [ValueError()]), TimeoutError()]


def interrupt(engine: Engine, beginning: str) -> None:
    """Raise KeyboardInterrupt at the next statement that has this."""

    def execute(connection, cursor, statement, parameters, context, executemany):
        if beginning in statement:  # PostgreSQL has several writes in one
            event.remove(engine, "before_cursor_execute", execute)
            raise KeyboardInterrupt

    event.listen(engine, "before_cursor_execute", execute)


def open_talk(store: convo.Store, **settings: object) -> convo.Conversation:
    """Return a conversation whose second turn has no answer, and whose model works again."""
    talk = talk_with(store, messages=["a", "b"], **settings)
    leave_open(talk)
    store.client = ScriptedClient()
    return talk


def test_a_blocked_reply_tells_the_reasons(store: convo.Store):
    talk = talk_with(store, BLOCKED)
    with pytest.raises(convo.ReplyBlocked) as caught:
        talk.send("a")
    assert ("SAFETY", "OTHER") == caught.value.reasons


def test_a_blocked_reply_leaves_the_turn_unanswered(store: convo.Store):
    talk = talk_with(store, BLOCKED)
    refusal(talk.send, "a")
    turn = talk.turn(1)
    assert ("failed", "ReplyBlocked", "a", ()) == (turn.state, turn.error, turn.message.content, turn.candidates)


def test_an_error_of_convo_passes_as_it_is(store: convo.Store):
    error = convo.ModelError("down")
    talk = talk_with(store, error)
    with pytest.raises(convo.ModelError) as caught:
        talk.send("a")
    assert error is caught.value


@pytest.mark.parametrize("error", FAILED, ids=lambda error: type(error).__name__)
def test_any_other_error_is_the_cause_of_a_model_error(store: convo.Store, error: Exception):
    talk = talk_with(store, error)
    with pytest.raises(convo.ModelError) as caught:
        talk.send("a")
    cause = caught.value.__cause__
    assert error in (cause, cause.__cause__)  # a StopIteration leaves a coroutine as the cause of another one: PEP 479
    assert ("failed", "ModelError") == (talk.turn(1).state, talk.turn(1).error)


@pytest.mark.parametrize("error", CANCELLED, ids=lambda error: type(error).__name__)
def test_a_cancelled_call_passes_and_leaves_the_turn_unanswered(store: convo.Store, error: BaseException):
    talk = talk_with(store, error)
    with pytest.raises(type(error)) as caught:
        talk.send("a")
    assert (error, "failed", "cancelled") == (caught.value, talk.turn(1).state, talk.turn(1).error)


def test_an_interrupt_while_the_turn_begins_stores_nothing(store: convo.Store):
    talk = talk_with(store)
    before = stored_rows(store)
    for statement in ("SELECT convo_turns", "INSERT INTO convo_turns", "INSERT INTO convo_events", "UPDATE"):
        interrupt(store.engine, statement)
        with pytest.raises(KeyboardInterrupt):
            talk.send("a")
        assert (before, []) == (stored_rows(store), store.client.requests)


@pytest.mark.parametrize(
    "statement", ["UPDATE convo_turns", "INSERT INTO convo_messages", "UPDATE convo_conversations"]
)
def test_an_interrupt_while_the_answer_is_stored_leaves_it_beside_the_turn(store: convo.Store, statement: str):
    def answer(request: convo.ChatRequest) -> str:
        interrupt(store.engine, statement)
        return "one"

    talk = talk_with(store, answer)
    with pytest.raises(KeyboardInterrupt):
        talk.send("a")
    turn = talk.turn(1)
    assert ("failed", "cancelled", ["one"]) == (turn.state, turn.error, [each.content for each in turn.candidates])


def test_the_next_send_tells_of_the_unanswered_turn(store: convo.Store):
    talk = open_talk(store)
    with pytest.raises(convo.TurnUnfinished) as caught:
        talk.send("next", request_key="k")
    error = caught.value
    told = (error.conversation, error.turn, error.state, error.error, error.retryable)
    assert (talk.id, 2, "failed", "ModelError", False) == told


def test_an_error_never_tells_a_text_of_the_conversation(store: convo.Store):
    talk = open_talk(store)
    refused = []
    for use in (talk.send, talk.preview):
        with pytest.raises(convo.TurnUnfinished) as caught:
            use("my secret")
        refused.append(str(caught.value))
    assert [] == [each for each in refused if "secret" in each or "open'" in each]


def test_resume_asks_again_with_the_same_text(store: convo.Store):
    talk = open_talk(store)
    reply = talk.resume()
    assert (2, "open", [["a", "b", "open"]]) == (reply.turn, reply.text, asked(store))


def test_resume_stores_no_second_question(store: convo.Store):
    talk = open_talk(store)
    talk.resume()
    assert (["a", "b", "open", "open"], "done", None) == (texts(talk), talk.turn(2).state, talk.turn(2).error)


def test_resume_may_fail_again_and_again(store: convo.Store):
    talk = open_talk(store)
    store.client = ScriptedClient(BLOCKED, ValueError(), "one")
    assert [convo.ReplyBlocked, convo.ModelError, None] == [refusal(talk.resume) for _ in range(3)]
    assert ["a", "b", "open", "one"] == texts(talk)


def test_resume_uses_the_settings_as_they_are_now(store: convo.Store):
    talk = open_talk(store, temperature=0.5)
    talk.update(model="better", temperature=0.25)
    talk.resume(top_k=3)
    turn = talk.turn(2)
    assert ("better", convo.Parameters(temperature=0.25, top_k=3)) == (turn.model, turn.parameters)


def test_resume_may_ask_another_model_once(store: convo.Store):
    talk = open_talk(store)
    talk.resume(model="other")
    assert ("other", "scripted") == (talk.turn(2).model, talk.model)


def test_resume_and_discard_need_an_open_turn(store: convo.Store):
    talks = [store.create(), store.create(opening="o"), store.create(messages=["a", "b"])]
    refused = [refusal(use) for talk in talks for use in (talk.resume, talk.discard)]
    assert [convo.NoOpenTurn] * 6 == refused


def test_discard_returns_the_text_and_removes_the_turn(store: convo.Store):
    talk = open_talk(store)
    assert ("open", ["a", "b"], convo.TurnNotFound) == (talk.discard(), texts(talk), refusal(talk.turn, 2))


def test_the_number_of_a_discarded_turn_is_used_again(store: convo.Store):
    talk = open_talk(store)
    talk.discard()
    assert (2, ["a", "b", "c", "c"]) == (talk.send("c").turn, texts(talk))


def test_the_only_turn_can_be_discarded(store: convo.Store):
    talk = store.create(opening="o")
    leave_open(talk)
    talk.discard()
    assert (["o"], 0) == (texts(talk), talk.refresh().record.turn_count)


def test_on_unfinished_resume_answers_both(store: convo.Store):
    talk = open_talk(store)
    talk.send("next", on_unfinished="resume")
    assert ["a", "b", "open", "open", "next", "next"] == texts(talk)


def test_on_unfinished_resume_sends_nothing_when_the_model_fails_again(store: convo.Store):
    talk = open_talk(store)
    store.client = ScriptedClient(BLOCKED)
    assert convo.ReplyBlocked is refusal(talk.send, "next", on_unfinished="resume")
    assert ["a", "b", "open"] == texts(talk)


def test_on_unfinished_discard_answers_the_new_text_only(store: convo.Store):
    talk = open_talk(store)
    talk.send("next", on_unfinished="discard")
    assert (["a", "b", "next", "next"], [["a", "b", "next"]]) == (texts(talk), asked(store))


@pytest.mark.parametrize("on_unfinished", ["raise", "resume", "discard"])
def test_on_unfinished_changes_nothing_without_an_open_turn(store: convo.Store, on_unfinished: str):
    talk = talk_with(store, messages=["a", "b"])
    talk.send("next", on_unfinished=on_unfinished)
    assert ["a", "b", "next", "next"] == texts(talk)


def test_on_unfinished_discard_keeps_the_open_turn_when_the_new_text_is_too_long(store: convo.Store):
    talk = open_talk(store, input_token_limit=50)
    before = stored_rows(store)
    assert convo.PromptTooLong is refusal(talk.send, "x" * 400, on_unfinished="discard")
    assert (before, ["a", "b", "open"]) == (stored_rows(store), texts(talk))


@pytest.mark.parametrize("on_unfinished", ["resume", "discard"])
def test_on_unfinished_meets_the_version_that_the_caller_knows(store: convo.Store, on_unfinished: str):
    talk = open_talk(store)
    known = talk.refresh().version
    assert "next" == talk.send("next", on_unfinished=on_unfinished, expected_version=known).text


@pytest.mark.parametrize("on_unfinished", ["resume", "discard"])
def test_on_unfinished_does_nothing_at_another_version(store: convo.Store, on_unfinished: str):
    talk = open_talk(store)
    before = stored_rows(store)
    stale = talk.refresh().version - 1
    assert convo.VersionConflict is refusal(talk.send, "next", on_unfinished=on_unfinished, expected_version=stale)
    assert (before, []) == (stored_rows(store), store.client.requests)


def test_what_cannot_be_stored_of_a_reply_is_replaced(store: convo.Store):
    hostile = convo.Candidate(7, "a\0\ud800b", "st\0p\udfff", author="\0")
    talk = talk_with(store, convo.ChatReply((hostile,), served_by="m\0\ud800"))
    talk.send("a")
    turn = talk.turn(1)
    told = (turn.reply.content, turn.reply.repaired, turn.reply.finish_reason, turn.served_by)
    assert ("a\ufffd\ufffdb", 2, "st\ufffdp\ufffd", "m\ufffd\ufffd") == told


def test_counts_that_cannot_be_stored_are_left_out(store: convo.Store):
    wrong = [2**31, 2**60, 2**100, -1, 1.5, "7", [7], float("nan")]
    replies = [convo.ChatReply((convo.Candidate(0, "x"),), convo.Usage(each, 7)) for each in wrong]
    talk = talk_with(store, *replies)
    for reply in replies:
        talk.send("a")
        assert (None, 7) == (talk.turns(1)[0].usage.input_tokens, talk.turns(1)[0].usage.output_tokens), reply


GARBAGE = {
    "over the cap": "x" * 5_000_000,
    "over the cap in UTF-8": "é" * 2_100_000,
    "blank": "  \n",
    "nothing": [],
    "no reply": lambda _: None,
    "a number": lambda _: 7,
    "content of bytes": convo.ChatReply((convo.Candidate(0, b"x"),)),
    "candidates of None": convo.ChatReply(None),
}


def test_an_answer_that_is_none_is_a_model_error_and_bricks_nothing(store: convo.Store):
    for name, answer in GARBAGE.items():
        talk = talk_with(store, answer, "better")
        with pytest.raises(convo.ModelError):
            talk.send("a")
        assert ("failed", "better", ["a", "better"]) == (talk.turn(1).state, talk.resume().text, texts(talk)), name


class Reason(enum.IntEnum):
    STOP = 1


@pytest.mark.parametrize(("reason", "stored"), [(7, "7"), (Reason.STOP, "STOP"), (b"\xff", "b'\\xff'")], ids=repr)
def test_an_answer_is_not_lost_for_what_is_told_of_it(store: convo.Store, reason: object, stored: str):
    reply = convo.ChatReply((convo.Candidate(0, "x", reason),), usage="much", served_by=reason)
    talk = talk_with(store, reply)
    for send in (talk.send, lambda text: list(talk.stream(text))):
        send("a")
        turn = talk.turns()[-1]
        assert ("x", stored, stored, None) == (
            turn.reply.content,
            turn.reply.finish_reason,
            turn.served_by,
            turn.usage,
        )


def test_equal_and_blank_candidates_are_kept_once_or_not_at_all(store: convo.Store):
    talk = talk_with(store, ["x", "x", "", "y", " ", "x\0"], candidate_count=8)
    assert ["x", "y", "x\ufffd"] == [each.content for each in talk.send("a").candidates]


OWN_ERRORS = {
    "in flight": convo.TurnInFlight(conversation="c", turn=1, request_key=None, retry_after_s=1.0),
    "unfinished": convo.TurnUnfinished(conversation="c", turn=1, request_key=None, state="failed", error="E"),
    "nothing open": convo.NoOpenTurn(conversation="c", turn=1),
    "invalid": convo.InvalidInput("no"),
}


@pytest.mark.parametrize("error", OWN_ERRORS.values(), ids=OWN_ERRORS)
def test_an_error_of_convos_that_a_client_raises_is_one_of_its_model(store: convo.Store, error: convo.ConvoError):
    """A model may be a program that uses convo itself: what goes wrong there is not about this conversation."""
    talk = talk_with(store, error)
    for _ in range(2):
        with pytest.raises(convo.ModelError) as caught:
            talk.send("a", on_unfinished="resume", on_conflict="wait", wait_s=5)
        assert error is caught.value.__cause__
    assert (2, 1) == (len(asked(store)), talk.refresh().record.turn_count)


@pytest.mark.parametrize("model", [None, "offline/echo", 7], ids=repr)
def test_what_is_no_model_is_refused_before_anything_is_stored(store: convo.Store, model: object):
    talk = talk_with(store, "one")
    store.client.get_model = lambda _: model
    with pytest.raises(convo.BadModelResponse, match=f"must return a Model, not a {type(model).__name__}"):
        talk.send("a")
    assert [] == talk.turns()


@pytest.mark.parametrize("way", ["send", "stream"])
def test_an_answer_that_the_store_could_not_take_stands_beside_its_turn(
    store: convo.Store, monkeypatch: pytest.MonkeyPatch, way: str
):
    def fail(*given: object) -> None:
        raise convo.StoreFull("full")

    talk = talk_with(store, ["one", "two"], candidate_count=2)
    ask = talk.send if way == "send" else lambda text: list(talk.stream(text))
    monkeypatch.setattr("convo.store.prepared.OwnDriver.write_if", fail)
    with pytest.raises(convo.StoreFull):
        ask("a")
    turn = talk.turn(1)
    told = [(each.content, each.finish_reason) for each in turn.candidates]
    assert ("failed", "StoreFull", [("one", "stop"), ("two", "stop")]) == (turn.state, turn.error, told)
