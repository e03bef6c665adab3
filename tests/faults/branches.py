"""Asking again, forking and editing, as operations that die: what is run, and what a client does afterwards.

All begin with the conversation that `boundaries.prepare` makes: an opening, two given turns, and turn 3, "first", with
two candidates. A fork has the name of what it is a fork of, and FORKED behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

import convo
from convo.testing import Acknowledged, violations

FORKED = ", forked"
CANDIDATES = 3
"""How many a model is asked for again: HistoryClient says then one thing that it did not say before."""
OTHERS = {"context": "other", "examples": [("x", "y"), ("z", "0")]}

# ---- what is killed


def regenerate(store: convo.Store, name: str) -> convo.Reply:
    return store.get(name).regenerate(candidate_count=CANDIDATES)


def fork(store: convo.Store, name: str) -> convo.Conversation:
    return store.get(name).fork(name=name + FORKED)


def fork_earlier(store: convo.Store, name: str) -> convo.Conversation:
    return store.get(name).fork(at=2, name=name + FORKED, **OTHERS)


def edit(store: convo.Store, name: str) -> convo.Reply:
    return store.get(name).edit(3, "text", name=name + FORKED)


def edit_last(store: convo.Store, name: str) -> convo.Reply:
    return store.get(name).edit(4, "text", name=name + FORKED)


# ---- what a client does then


def regenerate_again(store: convo.Store, name: str, number: int) -> list[Acknowledged]:
    """Ask again, send, or choose, by turns: the choice is the old one or the new one, and no text stands twice."""
    talk = store.get(name)
    turn = talk.turns()[-1]
    assert "done" == turn.state
    assert turn.chosen in (0, CANDIDATES - 1)
    is_there = len(turn.candidates) == CANDIDATES  # unchosen, when only the store failed
    if number % 3 == 0:
        talk.regenerate(candidate_count=CANDIDATES)
        assert (turn.chosen if is_there else CANDIDATES - 1) == talk.turns()[-1].chosen
        assert [0, 1, 2] == indexes(talk)
    elif number % 3 == 1:
        talk.send("text")
        assert turn.chosen == talk.turns()[-2].chosen
    else:
        assert 1 == talk.choose(1).turns()[-1].chosen
    return []


def indexes(talk: convo.Conversation) -> list[int]:
    return [each.index for each in talk.turns()[-1].candidates]


def fork_again(store: convo.Store, name: str, number: int) -> list[Acknowledged]:
    return _fork_again(store, store.find(name + FORKED) or fork(store, name), name, 3)


def fork_earlier_again(store: convo.Store, name: str, number: int) -> list[Acknowledged]:
    made = store.find(name + FORKED) or fork_earlier(store, name)
    examples = [(each["input"]["content"], each["output"]["content"]) for each in made.examples()]
    assert (OTHERS["context"], OTHERS["examples"]) == (made.context, examples)
    assert [None, None] == [each.prompt for each in made.turns()]
    return _fork_again(store, made, name, 2)


def _fork_again(store: convo.Store, made: convo.Conversation, name: str, at: int) -> list[Acknowledged]:
    """Look whether the fork is whole, and go on in it."""
    check_parent(store, name)
    check_copy(store, made, name, at)
    assert at == len(made.turns())
    _go_on(store, made, "text")
    return []


def edit_again(store: convo.Store, name: str, number: int) -> list[Acknowledged]:
    return _edit_again(store, name, number, 3)


def edit_last_again(store: convo.Store, name: str, number: int) -> list[Acknowledged]:
    _edit_again(store, name, number, 4)
    talk = store.get(name)
    assert "failed" == talk.turn(4).state
    _ = talk.resume() if number % 2 else talk.discard()
    return []


def _edit_again(store: convo.Store, name: str, number: int, turn: int) -> list[Acknowledged]:
    """Edit again if there is no fork; else settle its one turn of its own, and go on."""
    check_parent(store, name)
    made = store.find(name + FORKED) or store.get(name).edit(turn, "text", name=name + FORKED).conversation
    check_copy(store, made, name, turn - 1)
    [own] = made.turns()[turn - 1 :]
    assert "text" == own.message.content
    if own.state != "done":
        _ = made.discard() and made.send("text") if number % 2 else made.resume()
    _go_on(store, made, "more")
    return []


def check_parent(store: convo.Store, name: str) -> None:
    """Whatever became of a fork, what it was made of stands as it stood."""
    kinds = [each.kind for each in store.get(name).events()]
    assert ["create", "history", "history", "begin", "finish"] == kinds[:5]
    assert kinds[5:] in ([], ["begin", "fail"], ["regenerate"])


def check_copy(store: convo.Store, made: convo.Conversation, name: str, at: int) -> None:
    """A fork is there as a whole: the turns up to `at` with all that was said, and the same opening."""
    parent = store.get(name)
    assert (parent.id, at) == (made.forked_from, made.forked_at)
    assert said(parent.turns()[:at]) == said(made.turns()[:at])
    assert parent.turn(0).candidates == made.turn(0).candidates


def said(turns: Sequence[convo.Turn]) -> list[object]:
    return [(each.number, each.state, each.message, each.candidates, each.chosen, each.model) for each in turns]


def _go_on(store: convo.Store, made: convo.Conversation, text: str) -> None:
    reply = made.send(text)
    heard = [Acknowledged(made.id, None, text, reply.text)]
    assert [] == violations(store, [made.id], acknowledged=heard)
