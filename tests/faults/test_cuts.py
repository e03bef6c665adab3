"""A stream that ends too early, after each of its pieces: what came is kept, and never taken for an answer."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable

import pytest

import convo
from convo.testing import Acknowledged, FaultPoints, HistoryClient, expected_reply, violations
from convo.testing.history import PIECES
from tests.faults.cutting import Broken, CutClient


class Raised(Exception):
    """What a reader raises."""


Way = Callable[[convo.Store, convo.Conversation, int], object]
"""Streams "text", and lets the stream end after so many pieces."""


def read(talk: convo.Conversation) -> None:
    list(talk.stream("text"))


def the_client_raises(store: convo.Store, talk: convo.Conversation, number: int) -> None:
    store.client = CutClient(number, error=Broken())
    with pytest.raises(convo.StreamCut if number else convo.ModelError):
        read(talk)


def the_client_ends(store: convo.Store, talk: convo.Conversation, number: int) -> None:
    store.client = CutClient(number)
    with pytest.raises(convo.StreamCut):
        read(talk)


def the_reader_leaves(store: convo.Store, talk: convo.Conversation, number: int) -> None:
    with contextlib.closing(talk.stream("text")) as pieces:
        for _ in range(number):
            next(pieces)


def the_reader_raises(store: convo.Store, talk: convo.Conversation, number: int) -> None:
    def raise_after(number: int) -> None:
        with contextlib.closing(talk.stream("text")) as pieces:
            for _ in range(number):
                next(pieces)
            raise Raised

    with pytest.raises(Raised):
        raise_after(number)


def ctrl_c_stops_the_client(store: convo.Store, talk: convo.Conversation, number: int) -> None:
    def at(reached: int, name: str) -> None:
        if name == f"after piece {number}":
            raise KeyboardInterrupt

    points = FaultPoints(store.engine, at=at)
    store.client = points.client(HistoryClient())
    with points, pytest.raises(KeyboardInterrupt):
        read(talk)


WAYS = {
    the_client_raises: "stream_cut",
    the_client_ends: "stream_cut",
    the_reader_leaves: "cancelled",
    the_reader_raises: "cancelled",
    ctrl_c_stops_the_client: "cancelled",
}
"""How a stream ends too early, and what its turn says then."""


CUTS = range(1, PIECES)
"""After how many pieces: with the last one the answer is whole."""


def cut(store: convo.Store, way: Way) -> list[convo.Conversation]:
    """Return conversations of one turn whose second one was cut after each of its pieces."""
    talks = []
    for number in CUTS:
        store.client = HistoryClient()
        talks.append(talk := store.create(context="c"))
        talk.send("before")
        way(store, talk, number)
    store.client = HistoryClient()
    return talks


def beginning(talk: convo.Conversation, pieces: int, candidate: int = 0) -> str:
    """Return what comes in the first pieces of the answer to the conversation as it is."""
    text = expected_reply("c", [], talk.messages(), candidate=candidate)
    return text[: pieces * len(text) // PIECES]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_what_came_of_a_cut_stream_is_kept_beside_its_turn(store: convo.Store, way: Way):
    talks, why = cut(store, way), WAYS[way]
    turns = [talk.turns()[-1] for talk in talks]
    assert len(talks) * [("failed", why, None)] == [(each.state, each.error, each.chosen) for each in turns]
    kept = [[(each.content, each.finish_reason) for each in turn.candidates] for turn in turns]
    assert [[(beginning(talk, number), why)] for talk, number in zip(talks, CUTS, strict=True)] == kept


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_what_came_of_a_cut_stream_enters_no_later_prompt(store: convo.Store, way: Way):
    heard, settle = [], itertools.cycle(["resume", "discard"])
    for talk in cut(store, way):
        assert [] == violations(store, [talk.id])
        getattr(talk, next(settle))()
        heard.append(Acknowledged(talk.id, None, "after", talk.send("after").text))
    assert [] == violations(store, acknowledged=heard)


def test_what_came_of_a_cut_stream_can_not_be_chosen(store: convo.Store):
    for talk in cut(store, the_client_ends):
        talk.resume()
        with pytest.raises(convo.CandidateNotFound):
            talk.choose(0)


def test_a_whole_text_of_which_nobody_says_that_it_is_whole_was_cut(store: convo.Store):
    talk = store.create(context="c")
    the_client_ends(store, talk, PIECES)
    [turn] = talk.turns()
    assert [(beginning(talk, PIECES), "stream_cut")] == [(each.content, each.finish_reason) for each in turn.candidates]


@pytest.mark.parametrize("way", [the_reader_leaves, the_reader_raises], ids=lambda way: way.__name__)
def test_a_reader_who_leaves_with_the_last_piece_has_read_the_whole_answer(store: convo.Store, way: Way):
    store.client = HistoryClient()
    talk = store.create(context="c")
    way(store, talk, PIECES)
    assert [("done", 0)] == [(each.state, each.chosen) for each in talk.turns()]
    assert [] == violations(store, [talk.id])


def test_ctrl_c_after_the_last_piece_leaves_a_whole_answer_that_can_be_chosen_later(store: convo.Store):
    talk = store.create(context="c")
    ctrl_c_stops_the_client(store, talk, PIECES)
    [turn] = talk.turns()
    assert ("failed", "cancelled", ["stop"]) == (
        turn.state,
        turn.error,
        [each.finish_reason for each in turn.candidates],
    )
    talk.resume()
    talk.choose(0)
    assert [] == violations(store, [talk.id])


def test_one_whole_answer_of_several_is_kept_as_such(store: convo.Store):
    talk = store.create(context="c", candidate_count=2)
    store.client = CutClient(2 * PIECES - 1, tells_ends=True)
    with pytest.raises(convo.StreamCut):
        read(talk)
    assert [["stop", "stream_cut"]] == [[each.finish_reason for each in turn.candidates] for turn in talk.turns()]
    assert [] == violations(store, [talk.id])


def test_a_stream_of_several_candidates_is_cut_until_the_last_one_is_whole(store: convo.Store):
    for number in range(1, 2 * PIECES + 1):
        talk = store.create(context="c", candidate_count=2)
        the_client_raises(store, talk, number)
        came = [beginning(talk, (number + 1) // 2), beginning(talk, number // 2, 1)]
        assert [each for each in came if each] == [each.content for each in talk.turns()[-1].candidates]


@pytest.mark.parametrize(("way", "error"), [(the_client_raises, "ModelError"), (the_client_ends, "stream_cut")])
def test_a_stream_without_a_piece_leaves_its_error_alone(store: convo.Store, way: Way, error: str):
    talk = store.create()
    way(store, talk, 0)
    [turn] = talk.turns()
    assert ("failed", error, ()) == (turn.state, turn.error, turn.candidates)


def test_a_stream_that_is_closed_before_its_first_piece_was_asked_for_has_not_begun(store: convo.Store):
    talk = store.create()
    the_reader_leaves(store, talk, 0)
    assert [] == talk.turns()
