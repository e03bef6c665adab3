"""A turn whose answer is taken as it comes: the same turn as send() makes, and what is left when it breaks off."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

import convo
from convo import Delta
from convo.testing import ScriptedClient, Streamed
from tests.faults.database import end_leases
from tests.shells import store_of
from tests.test_store import refusal, stored_rows, texts


def talk_with(store: convo.Store, *script: object, **settings: object) -> convo.Conversation:
    store.client = ScriptedClient(*script)
    return store.create(name="talk", **settings)


def heard(talk: convo.Conversation, text: str = "hi", **settings: object) -> list[str]:
    return [each.text for each in talk.stream(text, **settings)]


def last_turn(talk: convo.Conversation) -> tuple[object, ...]:
    turn = talk.turns()[-1]
    return turn.state, turn.error, [(each.content, each.finish_reason) for each in turn.candidates]


def answered(pieces: list[str], is_whole: bool = True) -> list[object]:
    return [Streamed(pieces, is_whole=is_whole), "next"]


# ---- whole answers


def test_pieces_come_one_by_one_and_the_whole_is_stored(store: convo.Store):
    talk = talk_with(store, "one two")
    assert ["one", " two"] == heard(talk)
    assert ["hi", "one two"] == texts(talk)


def test_a_streamed_turn_is_stored_as_a_sent_one_is(store: convo.Store):
    sent, streamed = (store.create(context="c", examples=[("i", "o")], model="offline/eliza") for _ in range(2))
    sent.send("I am sad.", candidate_count=2)
    heard(streamed, "I am sad.", candidate_count=2)

    def told(talk: convo.Conversation) -> list[object]:
        turns = talk.turns()
        kinds = [each.kind for each in talk.events()]
        return [kinds, *((each.state, each.chosen, each.usage, texts(talk), each.served_by) for each in turns)]

    assert told(sent) == told(streamed)


def test_the_last_reply_is_the_one_that_send_returns(store: convo.Store):
    talk = talk_with(store, "one two")
    assert talk.last_reply is None
    reply = talk.send("first")
    assert reply.text == talk.last_reply.text
    heard(talk, "second")
    assert ("one two", 2, talk.id) == (talk.last_reply.text, talk.last_reply.turn, talk.last_reply.conversation.id)


def test_the_version_is_known_afterwards(store: convo.Store):
    talk = talk_with(store, "one two")
    heard(talk)
    assert talk.version == store.get("talk").version


def test_nothing_is_held_between_two_pieces(store: convo.Store):
    talk = talk_with(store, "one two three")
    assert [0, 0, 0] == [store.engine.pool.checkedout() for _ in talk.stream("hi")]


def test_a_text_that_was_answered_before_comes_in_one_piece_and_is_not_asked_again(store: convo.Store):
    talk = talk_with(store, "one two", "another")
    first = heard(talk, request_key="k")
    again = heard(store.get("talk"), request_key="k")
    assert (["one", " two"], ["one two"], 1) == (first, again, len(store.client.requests))


def test_an_open_turn_is_resumed_or_discarded_first(store: convo.Store):
    talk = talk_with(store, convo.ModelError("down"), "one", "two")
    with pytest.raises(convo.ModelError):
        talk.send("a")
    heard(talk, "b", on_unfinished="resume")
    assert ["a", "one", "b", "two"] == texts(talk)


def test_wrong_arguments_are_refused_at_the_call(store: convo.Store):
    talk = talk_with(store, "one")
    before = stored_rows(store_of(talk))
    settings = [{"deadline_s": 0}, {"on_conflict": "no"}, {"wait_s": -1}, {"temperature": -1}]
    refused = [refusal(talk.stream, ""), *(refusal(talk.stream, "a", **each) for each in settings)]
    assert ([convo.InvalidText, *[convo.InvalidParameter] * 4], before) == (refused, stored_rows(store_of(talk)))


def test_a_stream_that_nobody_reads_does_nothing(store: convo.Store):
    talk = talk_with(store, "one")
    talk.stream("hi").close()
    assert ([], 0) == (texts(talk), len(store.client.requests))


def test_a_prompt_that_is_too_long_costs_nothing(store: convo.Store):
    talk = talk_with(store, "one", input_token_limit=5)
    with pytest.raises(convo.PromptTooLong):
        heard(talk, "word " * 50)
    assert ([], 0) == (texts(talk), len(store.client.requests))


# ---- answers that broke off


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (Streamed(["a", "b"], is_whole=False), convo.StreamCut),
        (Streamed(["a", "b"], convo.ModelError("down")), convo.StreamCut),
        (Streamed(["a", "b"], RuntimeError("bug")), convo.StreamCut),
    ],
    ids=["no end", "a model's error", "a bug"],
)
def test_what_came_of_an_answer_is_kept_beside_an_open_turn(
    store: convo.Store, script: Streamed, error: type[Exception]
):
    talk = talk_with(store, script)
    with pytest.raises(error):
        heard(talk)
    assert ("failed", "stream_cut", [("ab", "stream_cut")]) == last_turn(talk)


def test_an_error_before_the_first_piece_is_the_models_own(store: convo.Store):
    talk = talk_with(store, Streamed([], convo.BadModelResponse("nonsense")))
    with pytest.raises(convo.BadModelResponse):
        heard(talk)
    assert ("failed", "BadModelResponse", []) == last_turn(talk)


def test_a_stream_that_ends_at_once_was_cut(store: convo.Store):
    talk = talk_with(store, Streamed([], is_whole=False))
    with pytest.raises(convo.StreamCut):
        heard(talk)
    assert ("failed", "stream_cut", []) == last_turn(talk)


def close(pieces: object) -> None:
    pieces.close()


def throw(pieces: object) -> None:
    with contextlib.suppress(ValueError):
        pieces.throw(ValueError("the reader's own"))


def drop(pieces: object) -> None:
    """Do nothing: the last reference goes, as it does after a `break`."""


@pytest.mark.parametrize("leave", [close, throw, drop])
def test_a_reader_who_leaves_settles_the_turn(sync_store: convo.Store, leave: Callable[[object], None]):
    talk = talk_with(sync_store, "one two three")
    pieces = talk.stream("hi")
    assert "one" == next(pieces).text
    leave(pieces)
    del pieces
    assert ("failed", "cancelled", [("one", "cancelled")]) == last_turn(talk)


def test_closing_a_stream_twice_or_at_its_end_changes_nothing(store: convo.Store):
    talk = talk_with(store, "one")
    pieces = talk.stream("hi")
    list(pieces)
    pieces.close()
    pieces.close()
    assert ("done", None, [("one", "stop")]) == last_turn(talk)


@pytest.mark.parametrize("settle", ["resume", "discard"])
def test_what_broke_off_is_in_no_later_prompt(store: convo.Store, settle: str):
    talk = talk_with(store, *answered(["bro", "ken"], is_whole=False))
    with pytest.raises(convo.StreamCut):
        heard(talk)
    heard(talk, "again", on_unfinished=settle)
    sent = [each.content for request in store.client.requests for each in request.messages]
    assert ({True}, "next") == ({"broken" not in str(each) for each in sent}, texts(talk)[-1])


def test_what_broke_off_cannot_be_chosen(store: convo.Store):
    talk = talk_with(store, *answered(["bro", "ken"], is_whole=False))
    with pytest.raises(convo.StreamCut):
        heard(talk)
    talk.resume()
    with pytest.raises(convo.CandidateNotFound, match=r"turn 1 .* has no whole candidate 0"):
        talk.choose(0)
    assert (1, ["hi", "next"]) == (talk.turns()[-1].chosen, texts(talk))


def test_a_candidate_beside_one_that_broke_off_can_be_chosen(store: convo.Store):
    talk = talk_with(store, Streamed(["x"], is_whole=False), ["one", "two"])
    with pytest.raises(convo.StreamCut):
        heard(talk)
    talk.resume(candidate_count=2)
    assert ["hi", "two"] == texts(talk.choose(2))


def test_the_journal_tells_what_broke_off(store: convo.Store):
    talk = talk_with(store, Streamed(["x"], is_whole=False))
    with pytest.raises(convo.StreamCut):
        heard(talk)
    assert b'"finish":"stream_cut"' in talk.events()[-1].body


@pytest.mark.parametrize("error", [convo.ModelError("down"), RuntimeError("bug")])
def test_an_answer_that_was_whole_before_its_connection_broke_is_stored(store: convo.Store, error: Exception):
    class Breaking(ScriptedClient):
        def stream(self, request: convo.ChatRequest, *, deadline_s: float) -> Iterator[Delta]:
            yield Delta("one", finish_reason="stop")
            raise error

    store.client = Breaking()
    talk = store.create()
    assert (["one"], ("done", None, [("one", "stop")])) == (heard(talk), last_turn(talk))


def test_a_reader_who_leaves_after_the_last_word_has_his_answer_stored(store: convo.Store):
    talk = talk_with(store, "one two")
    pieces = talk.stream("hi")
    assert ["one", " two"] == [next(pieces).text, next(pieces).text]
    pieces.close()
    assert ("done", None, [("one two", "stop")]) == last_turn(talk)


def test_a_blank_candidate_is_not_shown_and_the_next_one_is(store: convo.Store):
    talk = talk_with(store, [" \n", "two"])
    assert ["two"] == heard(talk, candidate_count=2)
    assert ["hi", "two"] == texts(talk)


def test_a_stored_answer_comes_in_one_piece_with_its_own_end(store: convo.Store):
    talk = talk_with(store, convo.ChatReply((convo.Candidate(0, "one two", "length"),)))
    talk.send("hi", request_key="k")
    assert (["one two"], "length") == (heard(talk, request_key="k"), talk.last_reply.finish_reason)


def test_whole_candidates_of_a_cut_answer_are_kept_beside_it(store: convo.Store):
    class Halves(ScriptedClient):
        def stream(self, request: convo.ChatRequest, *, deadline_s: float) -> Iterator[Delta]:
            yield Delta("half")
            yield Delta("whole", 1, "stop")

    store.client = Halves()
    talk = store.create()
    with pytest.raises(convo.StreamCut):
        heard(talk, candidate_count=2)
    assert ("failed", "stream_cut", [("half", "stream_cut"), ("whole", "stop")]) == last_turn(talk)


# ---- the lease


def lease_left(store: convo.Store, talk: convo.Conversation) -> int:
    [turn] = store.database.read(lambda repository: repository.latest_turns(talk.record))
    return turn.lease_left_ms


@pytest.mark.parametrize(("renew_s", "is_renewed"), [(0.0, True), (10.0, False)])
def test_a_lease_is_renewed_as_pieces_come_and_not_with_each(
    sync_store: convo.Store, monkeypatch: pytest.MonkeyPatch, renew_s: float, is_renewed: bool
):
    monkeypatch.setattr("convo.exchange.RENEW_S", renew_s)
    talk = talk_with(sync_store, "one two three")
    pieces = talk.stream("hi")
    next(pieces)
    end_leases(sync_store)
    next(pieces)
    assert is_renewed == (lease_left(sync_store, talk) > 0)
    pieces.close()


def test_a_turn_that_was_taken_over_stops_the_model(sync_store: convo.Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("convo.exchange.RENEW_S", 0.0)
    talk = talk_with(sync_store, "one two three", "another")
    pieces = talk.stream("hi")
    next(pieces)
    end_leases(sync_store)
    sync_store.get("talk").resume()
    with pytest.raises(convo.LeaseLost, match="what came of its answer is dropped"):
        next(pieces)
    assert ("done", None, [("another", "stop")]) == last_turn(talk)


def test_a_store_that_fails_while_a_lease_is_renewed_does_not_cost_the_answer(
    sync_store: convo.Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("convo.exchange.RENEW_S", 0.0)
    talk = talk_with(sync_store, "one two three")
    pieces, write = talk.stream("hi"), sync_store.database.write
    first = next(pieces)

    def fail(*given: object, **settings: object) -> None:
        raise convo.StoreBusy("busy")

    monkeypatch.setattr(sync_store.database, "write", fail)
    second = next(pieces)
    monkeypatch.setattr(sync_store.database, "write", write)
    assert ["one", " two", " three"] == [first.text, second.text, *(each.text for each in pieces)]


def test_a_piece_is_a_delta(store: convo.Store):
    assert [Delta("one")] == list(talk_with(store, "one").stream("hi"))


# ---- what is told beside the text


def test_a_reply_tells_why_its_answer_ends(store: convo.Store):
    talk = talk_with(store, Streamed(["one"]))
    heard(talk)
    assert "stop" == talk.last_reply.finish_reason


def test_a_stored_reply_has_only_what_may_be_chosen(store: convo.Store):
    talk = talk_with(store, Streamed(["one"], is_whole=False), "one")
    with pytest.raises(convo.StreamCut):
        heard(talk, request_key="k")
    first = talk.send("hi", request_key="k")
    again = talk.send("hi", request_key="k")
    assert ["stop"] == [each.finish_reason for each in again.candidates]
    assert (first.candidates[0].index, first.finish_reason) == (again.candidates[0].index, again.finish_reason)


def test_a_cut_is_as_worth_another_try_as_what_broke_it_off(store: convo.Store):
    talk = talk_with(store, Streamed(["one"], error=convo.ReplyBlocked(["SAFETY"])))
    with pytest.raises(convo.StreamCut) as caught:
        heard(talk)
    assert not caught.value.retryable


def test_a_piece_that_came_is_kept_when_the_reader_leaves_while_the_lease_is_renewed(
    sync_store: convo.Store, monkeypatch: pytest.MonkeyPatch
):
    def leave(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("convo.exchange.RENEW_S", 0.0)
    monkeypatch.setattr(convo.ConversationRepository, "renew_lease", leave)
    talk = talk_with(sync_store, "one")
    with pytest.raises(KeyboardInterrupt):
        heard(talk)
    assert ("failed", "cancelled", [("one", "stop")]) == last_turn(talk)
