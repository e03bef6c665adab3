"""Branches: further answers, forks, and other texts in the place of old ones; what was said stays as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise

import pytest
import uuid_utils.compat
from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

import convo
from convo.store import preferences
from convo.store.rows import CONVERSATIONS
from convo.testing import HistoryClient, ScriptedClient, violations
from convo.values import USER
from tests.shells import store_of
from tests.test_conversation import asked, leave_open, talk_with
from tests.test_lease import kinds
from tests.test_store import refusal, stored_rows, texts
from tests.test_window import erase

SMALL = convo.Model("small", input_token_limit=3)


def contents(turn: convo.Turn) -> list[str | None]:
    return [each.content for each in turn.candidates]


def bodies(talk: convo.Conversation, kind: str) -> list[dict[str, object]]:
    """Return what the events of a kind tell."""
    return [json.loads(each.body) for each in talk.events() if each.kind == kind]


def without_key(turns: list[convo.Turn]) -> list[tuple[object, ...]]:
    """Return everything of turns but their request keys."""
    names = [name for name in convo.Turn.__slots__ if name != "request_key"]
    return [tuple(getattr(each, name) for name in names) for each in turns]


def long_talk(store: convo.Store, turns: int = 4, **settings: object) -> convo.Conversation:
    """Return a conversation whose turns have two candidates each, the second one chosen; its texts tell its history."""
    store.client = HistoryClient()
    talk = store.create(context="c", examples=[("i", "o")], opening="hello", candidate_count=2, **settings)
    for number in range(1, turns + 1):
        talk.send(f"text {number}", request_key=f"key {number}")
        talk.choose(1)
    return talk


def everything(store: convo.Store, talk: convo.Conversation) -> tuple[object, ...]:
    """Return all that is stored of a conversation."""
    stored = store.get(talk.id, owner=talk.owner)
    return stored.record, stored.turns(), stored.messages(), stored.examples(), stored.events()


# ---- regenerate


def test_another_answer_is_stored_beside_the_first_and_chosen(store: convo.Store):
    talk = talk_with(store, "one", "two")
    talk.send("a")
    reply = talk.regenerate()
    turn = talk.turn(1)
    assert ("two", ["one", "two"], 1) == (reply.text, contents(turn), turn.chosen)
    assert (turn.candidates, 1, True) == (reply.candidates, reply.turn, reply.conversation is talk)
    assert "two" == talk.last_reply.text


def test_the_model_is_given_what_it_was_given_before(store: convo.Store):
    talk = talk_with(store, context="c", examples=[("i", "o")], input_token_limit=12)
    for text in ("first", "second", "third"):
        talk.send(text)
    talk.update(input_token_limit=1000)
    talk.regenerate()
    before, after = store.client.requests[-2:]
    assert (before.context, before.examples, asked(store)[-2]) == (after.context, after.examples, asked(store)[-1])
    assert len(after.messages) < 5


def test_a_model_takes_again_what_it_has_taken_whatever_its_limit_is_now(store: convo.Store):
    talk = talk_with(store, "one", "two", "three")
    talk.send("some text of several tokens")
    before = talk.turn(1).prompt
    talk.update(input_token_limit=3)
    fit = talk.regenerate().prompt
    assert (before.tokens, before.limit) == (fit.tokens, fit.limit)
    store_of_rows(store).database.write(lambda repository: repository.keep_factor("scripted", 4.0))
    assert "three" == talk.regenerate().text


def test_an_answer_is_asked_for_of_a_version(store: convo.Store):
    talk = talk_with(store, "one", "two", "three")
    talk.send("a")
    version = talk.version
    talk.regenerate(expected_version=version)
    assert convo.VersionConflict is refusal(talk.regenerate, expected_version=version)
    assert 2 == len(store.client.requests)


def test_a_text_that_is_there_already_is_not_stored_again(store: convo.Store):
    talk = talk_with(store, ["one", "two"], ["two", "three", "one", "four"], candidate_count=4)
    talk.send("a")
    reply = talk.regenerate()
    assert (["one", "two", "three", "four"], "three") == (contents(talk.turn(1)), reply.text)
    assert [[0, 1], [2, 0]] == bodies(talk, "finish")[1]["repeats"]


def test_an_answer_without_anything_new_leaves_the_choice(store: convo.Store):
    talk = talk_with(store, ["one", "two"], "one", candidate_count=2)
    talk.send("a")
    talk.choose(1)
    reply = talk.regenerate()
    assert ("two", ["one", "two"], 1) == (reply.text, contents(talk.turn(1)), talk.turn(1).chosen)


def test_a_failure_leaves_the_choice(store: convo.Store):
    talk = talk_with(store, ["one", "two"], convo.ModelError("down"), "next", candidate_count=2)
    talk.send("a")
    talk.choose(1)
    with pytest.raises(convo.ModelError) as caught:
        talk.regenerate()
    turn = talk.turn(1)
    assert ("done", 1, None, ["one", "two"]) == (turn.state, turn.chosen, turn.error, contents(turn))
    assert (talk.id, 1) == (caught.value.conversation, caught.value.turn)
    assert "next" == talk.send("b").text
    assert ["create", "begin", "finish", "choose", "regenerate", "fail", "begin", "finish"] == kinds(talk)


def test_the_next_turn_follows_the_new_answer(store: convo.Store):
    talk = talk_with(store, "one", "two", "three")
    talk.send("a")
    talk.regenerate()
    talk.send("b")
    assert ["a", "two", "b"] == asked(store)[-1]


def test_a_turn_may_be_asked_again_and_again(store: convo.Store):
    talk = talk_with(store, "one", "two", "three", "four")
    talk.send("a")
    texts = [talk.regenerate().text for _ in range(3)]
    assert (["two", "three", "four"], 3) == (texts, talk.turn(1).chosen)


def test_a_model_and_parameters_may_be_given_for_one_time(store: convo.Store):
    talk = talk_with(store, "one", ["two", "three"], "four", temperature=0.5)
    talk.send("a")
    talk.regenerate(model="other", candidate_count=2, temperature=1.0)
    sent = store.client.requests[-1]
    assert ("other", 2, 1.0) == (sent.model, sent.parameters.candidate_count, sent.parameters.temperature)
    assert ["scripted", "other", "other"] == [each.model for each in talk.turn(1).candidates]
    assert ("scripted", "scripted", 0.5) == (talk.turn(1).model, talk.model, talk.parameters.temperature)
    talk.send("b")
    assert "scripted" == store.client.requests[-1].model


def test_the_turn_keeps_the_figures_of_its_first_answer(store: convo.Store):
    talk = talk_with(store, "one", "two")
    talk.send("a")
    before = talk.turn(1)
    talk.regenerate(temperature=0.1)
    after = talk.turn(1)
    names = ("prompt", "usage", "parameters", "latency_ms", "created_at", "finished_at", "served_by")
    assert [getattr(before, each) for each in names] == [getattr(after, each) for each in names]


def test_an_erased_text_is_not_sent_again(sync_store: convo.Store):
    talk = talk_with(sync_store, "one", "two", "three", "four")
    talk.send("a")
    talk.send("b")
    erase(sync_store, talk, 1, USER)
    talk.regenerate()
    assert ["b"] == asked(sync_store)[-1]
    erase(sync_store, talk, 2, USER)
    assert convo.InvalidInput is refusal(talk.regenerate)
    assert "four" == talk.send("c").text


def test_a_prompt_that_another_model_cannot_take_is_not_sent(store: convo.Store):
    talk = talk_with(store, "one")
    talk.send("a text of more than three tokens")
    store.client = ScriptedClient("two", model=SMALL)
    before = everything(store, talk)
    with pytest.raises(convo.PromptTooLong, match=r"needs 8 tokens, and the limit is 3: edit\(\) the turn"):
        talk.regenerate(model="small")
    assert (before, []) == (everything(store, talk), store.client.requests)


def test_a_prompt_that_the_service_finds_too_long_is_not_shortened(store: convo.Store):
    talk = talk_with(store, "one", "two", convo.ContextLengthExceeded("x", 400), "never")
    talk.send("a")
    talk.send("b")
    with pytest.raises(convo.ContextLengthExceeded):
        talk.regenerate()
    assert (3, "two") == (len(store.client.requests), talk.turn(2).reply.content)


def test_a_turn_of_a_given_history_is_given_a_prompt(store: convo.Store):
    talk = talk_with(store, "two", context="c", messages=["a", "b", "c", "d"])
    assert "two" == talk.regenerate().text
    turn = talk.turn(2)
    assert ([["a", "b", "c"]], ["d", "two"], 1) == (asked(store), contents(turn), turn.chosen)
    assert (1, [None, "scripted"]) == (turn.prompt.window_start, [each.model for each in turn.candidates])


def test_an_answer_that_was_not_counted_is_priced_at_its_dearest(store: convo.Store):
    texts = ["word " * 100, "wort " * 100]
    talk = talk_with(store, *[convo.ChatReply((convo.Candidate(0, each),), convo.Usage(150, 156)) for each in texts])
    talk.send("word " * 100)
    talk.regenerate()
    prices = [talk.choose(index).preview("next").tokens for index in (0, 1)]
    assert prices[0] + 25 < prices[1]


def test_without_a_turn_there_is_nothing_to_ask_again(store: convo.Store):
    talk = talk_with(store, opening="hello")
    with pytest.raises(convo.TurnNotFound):
        talk.regenerate()
    assert [] == store.client.requests


def test_a_turn_without_an_answer_is_not_regenerated(store: convo.Store):
    talk = talk_with(store)
    leave_open(talk)
    assert convo.TurnUnfinished is refusal(talk.regenerate)


@pytest.mark.parametrize("wrong", [{"candidate_count": 9}, {"temperature": -1}, {"deadline_s": 0}, {"model": "a/b/c"}])
def test_a_wrong_wish_is_refused_before_anything_is_stored(sync_store: convo.Store, wrong: dict[str, object]):
    sync_store.client = None
    talk = sync_store.create(model="offline/echo", messages=["a", "b"])
    before = everything(sync_store, talk)
    with pytest.raises((convo.InvalidInput, convo.ModelNotFound)):
        talk.regenerate(**wrong)
    assert before == everything(sync_store, talk)


def test_the_journal_tells_who_has_chosen(store: convo.Store):
    talk = talk_with(store, "one", "two")
    talk.send("a")
    talk.regenerate()
    talk.choose(0)
    told = [(each["by"], each["chosen"]) for each in bodies(talk, "finish") + bodies(talk, "choose")]
    assert [("model", 0), ("model", 1), ("user", 0)] == told


# ---- fork


def test_a_fork_has_everything_up_to_its_turn(store: convo.Store):
    talk = long_talk(store)
    fork = talk.fork(at=2)
    assert without_key(talk.turns()[:2]) == without_key(fork.turns())
    assert (talk.messages()[:5], talk.examples()) == (fork.messages(), fork.examples())
    assert (talk.id, 2, 2) == (fork.forked_from, fork.forked_at, fork.record.turn_count)
    assert [] == violations(store_of_rows(store))


def test_a_fork_has_the_settings_of_its_conversation(store: convo.Store):
    given = {"title": "t", "metadata": {"k": 1}, "owner": "o", "authors": ("me", "you"), "input_token_limit": 900}
    talk = talk_with(store, messages=["a", "b"], trim="stable", temperature=0.5, name="n", **given)
    fork = talk.fork(name="m").record
    same = ("title", "metadata", "owner", "authors", "input_token_limit", "trim", "parameters", "model")
    assert [getattr(talk.record, each) for each in same] == [getattr(fork, each) for each in same]
    assert ("n", "m") == (talk.name, fork.name)


def test_a_fork_leaves_its_conversation_as_it_was(store: convo.Store):
    talk = long_talk(store)
    before = everything(store, talk)
    fork = talk.fork(at=2)
    fork.send("another")
    fork.regenerate(candidate_count=3)
    store.delete(fork.id)
    assert before == everything(store, talk)


def test_a_fork_stands_by_itself(store: convo.Store):
    talk = long_talk(store)
    fork = talk.fork(at=3)
    before = everything(store, fork)
    store.delete(talk.id)
    assert before == everything(store, fork)
    assert 4 == fork.send("and on").turn


@pytest.mark.parametrize(("at", "kept"), [(None, 9), (4, 9), (1, 3), (0, 1)])
def test_a_fork_keeps_the_messages_up_to_the_turn(store: convo.Store, at: int | None, kept: int):
    talk = long_talk(store)
    fork = talk.fork(at=at)
    assert texts(talk)[:kept] == texts(fork)
    fork.send("and on")
    assert [] == violations(store_of_rows(store))


def test_a_fork_of_nothing_is_an_empty_conversation(store: convo.Store):
    talk = talk_with(store, "one", context="c")
    fork = talk.fork()
    assert ([], "c", 0) == (fork.messages(), fork.context, fork.forked_at)
    assert "one" == fork.send("a").text


def test_a_fork_leaves_a_turn_without_an_answer_out(store: convo.Store):
    talk = talk_with(store, messages=["a", "b"])
    leave_open(talk)
    assert ["a", "b"] == texts(talk.fork())
    assert convo.TurnUnfinished is refusal(talk.fork, at=2)


@pytest.mark.parametrize(("at", "error"), [(-1, convo.TurnNotFound), (3, convo.TurnNotFound), ("1", TypeError)])
def test_a_turn_that_is_not_there_cannot_be_forked_at(store: convo.Store, at: object, error: type[Exception]):
    talk = talk_with(store, messages=["a", "b", "c", "d"])
    before = stored_rows(store)
    assert (error, before) == (refusal(talk.fork, at=at), stored_rows(store))


def test_a_fork_with_a_taken_name_stores_nothing(store: convo.Store):
    talk = talk_with(store, messages=["a", "b"], name="taken")
    before = stored_rows(store)
    assert (convo.NameTaken, before) == (refusal(talk.fork, name="taken"), stored_rows(store))


def test_the_request_keys_stay_with_the_conversation(store: convo.Store):
    talk = long_talk(store, turns=2)
    fork = talk.fork()
    assert [None, None] == [each.request_key for each in fork.turns()]
    assert 3 == fork.send("text 1", request_key="key 1").turn
    assert 1 == talk.send("text 1", request_key="key 1").turn


def test_another_context_and_other_examples_hold_for_what_comes(store: convo.Store):
    talk = talk_with(store, "one", "two", context="c", examples=[("i", "o")])
    talk.send("a")
    fork = talk.fork(context="d", examples=[("j", "p"), ("k", "q")])
    fork.send("b")
    sent = store.client.requests[-1]
    assert ("d", [("j", "p"), ("k", "q")]) == (sent.context, [(each.input, each.output) for each in sent.examples])
    assert (["a", "one", "b"], None) == (asked(store)[-1], fork.turn(1).prompt)
    assert "c" == talk.refresh().context


def test_a_context_and_examples_may_be_left_out(store: convo.Store):
    talk = talk_with(store, "one", "two", context="c", examples=[("i", "o")], messages=["a", "b"])
    fork = talk.fork(context=None, examples=None)
    fork.send("x")
    sent = store.client.requests[-1]
    assert (None, (), None, []) == (sent.context, sent.examples, fork.context, fork.examples())


def test_the_last_answer_may_be_asked_for_under_another_context(store: convo.Store):
    store.client = HistoryClient()
    talk = store.create(context="c")
    talk.send("a")
    fork = talk.fork(context="d")
    fork.regenerate()
    assert (2, 1) == (len(fork.turn(1).candidates), fork.turn(1).chosen)
    assert [] == violations(store_of_rows(store))


def test_a_prompt_that_is_unknown_is_not_taken_for_counted(store: convo.Store):
    usages = [convo.Usage(400, 5), convo.Usage(1300, 5), convo.Usage(1300, 5)]
    answers = [convo.ChatReply((convo.Candidate(0, f"answer {n}"),), each) for n, each in enumerate(usages)]
    talk = talk_with(store, *answers, context="old " * 300)
    talk.send("a")
    fork = talk.fork(context="new " * 1000)
    fork.regenerate()
    assert fork.turn(1).usage is None
    assert fork.preview("b").tokens > 1000


def test_the_same_context_and_examples_are_no_others(store: convo.Store):
    talk = long_talk(store, turns=2)
    fork = talk.fork(context="c", examples=[("i", "o")])
    assert [each.prompt for each in talk.turns()] == [each.prompt for each in fork.turns()]


def test_a_fork_may_have_another_model(store: convo.Store):
    talk = talk_with(store, "one", "two", messages=["a", "b"])
    fork = talk.fork(model="other")
    fork.send("c")
    assert ("other", "other", "scripted") == (fork.model, store.client.requests[-1].model, talk.refresh().model)


def test_what_a_fork_cannot_be_stores_nothing(sync_store: convo.Store):
    talk = sync_store.create(model="offline/echo", input_token_limit=10, messages=["a", "b"])
    before = stored_rows(sync_store)
    wrong: list[dict[str, object]] = [{"model": "nobody/x"}, {"context": "x" * 100}, {"name": talk.id}, {"context": 5}]
    wrong += [{"examples": 5}, {"examples": [("a", "")]}, {"name": "a\nb"}]
    refused = [refusal(talk.fork, **each) for each in wrong]
    assert None not in refused
    assert before == stored_rows(sync_store)


def test_a_fork_takes_the_journal_with_it(store: convo.Store):
    talk = long_talk(store)
    fork = talk.fork(at=2, name="fork")
    own = fork.events()
    assert talk.events()[: len(own) - 1] == own[:-1]
    [told] = bodies(fork, "fork")
    assert (talk.id, fork.id, 2, talk.model) == (told["from"], told["conversation"], told["turn"], told["model"])
    assert (len(own), own[-1].digest) == (fork.version, fork.record.journal_head)


def test_a_fork_of_a_fork_at_a_turn_of_its_own(store: convo.Store):
    talk = long_talk(store)
    first = talk.fork(at=2)
    first.send("mine 3")
    first.send("mine 4")
    second = first.fork(at=3)
    third = second.fork(at=1)
    assert ["hello", "text 1", "text 2", "mine 3"] == [each for each in texts(second) if each is None or len(each) < 60]
    assert ["create", "begin", "finish", "choose", "fork"] == kinds(third)
    second.send("and on")
    third.send("and on")
    assert [] == violations(store_of_rows(store))


def test_a_fork_is_cut_where_the_turn_began_that_is_there_now(store: convo.Store):
    talk = long_talk(store, turns=1)
    for text in ("lost 1", "lost 2"):
        leave_open_as(talk, text)
        talk.discard()
    store.client = HistoryClient()
    talk.send("text 2")
    fork = talk.fork(at=1)
    assert (2, 2) == (kinds(fork).count("discard"), kinds(fork).count("fail"))
    fork.send("and on")
    assert [] == violations(store_of_rows(store))


def test_a_given_history_is_forked_within(store: convo.Store):
    store.client = HistoryClient()
    talk = store.create(messages=[str(number) for number in range(20)])
    fork = talk.fork(at=7)
    assert (14, ["create", *["history"] * 7, "fork"]) == (len(fork.messages()), kinds(fork))
    fork.send("and on")
    assert [] == violations(store_of_rows(store))


def test_a_fork_remembers_its_prompts(store: convo.Store):
    talk = long_talk(store, input_token_limit=100)
    fork = talk.fork(at=3)
    assert [each.prompt for each in talk.turns()[:3]] == [each.prompt for each in fork.turns()]
    fork.regenerate(candidate_count=3)
    assert ([], 3) == (violations(store_of_rows(store)), len(fork.turn(3).candidates))


def test_a_fork_may_be_made_in_a_transaction_of_ones_own(sync_store: convo.Store):
    talk = long_talk(sync_store, turns=2)
    with Session(sync_store.engine) as session, session.begin():
        repository = convo.ConversationRepository(session)
        assert convo.TurnNotFound is refusal(repository.fork, repository.lock(talk.id), 3, convo.NewFork())
        fork = repository.fork(repository.lock(talk.id), 1, convo.NewFork(name="fork"))
    assert (fork, talk.id) == (sync_store.get("fork").record, fork.forked_from)


# ---- edit


def test_an_edit_asks_something_else_in_a_turns_place(store: convo.Store):
    talk = talk_with(store, "one", "two", "three")
    talk.send("a")
    talk.send("b")
    before = everything(store, talk)
    reply = talk.edit(2, "c")
    assert (["a", "one", "c", "three"], 2) == (texts(reply.conversation), reply.turn)
    assert (["a", "one", "c"], talk.id, 1) == (
        asked(store)[-1],
        reply.conversation.forked_from,
        reply.conversation.forked_at,
    )
    assert before == everything(store, talk)
    assert "three" == reply.conversation.last_reply.text


def test_the_first_turn_may_be_edited(store: convo.Store):
    talk = talk_with(store, "one", "two", opening="hello")
    talk.send("a")
    assert ["hello", "b", "two"] == texts(talk.edit(1, "b").conversation)


def test_a_turn_without_an_answer_may_be_edited(store: convo.Store):
    talk = talk_with(store, messages=["a", "b"])
    leave_open(talk)
    store.client = ScriptedClient("two")
    assert ["a", "b", "c", "two"] == texts(talk.edit(2, "c").conversation)
    assert "failed" == talk.turn(2).state


def test_an_edit_has_a_name_a_model_and_parameters(store: convo.Store):
    talk = talk_with(store, "one", ["two", "three"])
    talk.send("a")
    reply = talk.edit(1, "b", name="edit", model="other", candidate_count=2)
    assert ("edit", "scripted", "other", 2) == (
        reply.conversation.name,
        reply.conversation.model,
        store.client.requests[-1].model,
        len(reply.candidates),
    )


def test_an_edit_that_cannot_begin_leaves_no_fork(store: convo.Store):
    talk = talk_with(store, messages=["a", "b"], input_token_limit=20, name="taken")
    before = stored_rows(store)
    uses: list[tuple[Callable[[], object], type[Exception]]] = [
        (lambda: talk.edit(1, "long " * 40), convo.PromptTooLong),
        (lambda: talk.edit(2, "c"), convo.TurnNotFound),
        (lambda: talk.edit(0, "c"), convo.TurnNotFound),
        (lambda: talk.edit(1, "c", name="taken"), convo.NameTaken),
        (lambda: talk.edit(1, ""), convo.InvalidText),
        (lambda: talk.edit(1, "c", candidate_count=0), convo.InvalidParameter),
    ]
    assert [error for _, error in uses] == [refusal(use) for use, _ in uses]
    assert (before, []) == (stored_rows(store), store.client.requests)


def test_an_edit_whose_model_fails_keeps_its_text(store: convo.Store):
    talk = talk_with(store, "one", convo.ModelError("down"), "two")
    talk.send("a")
    with pytest.raises(convo.ModelError) as caught:
        talk.edit(1, "b")
    fork = store.get(str(caught.value.conversation))
    assert (1, talk.id, "failed") == (caught.value.turn, fork.forked_from, fork.turn(1).state)
    assert ("two", ["b", "two"]) == (fork.resume().text, texts(fork))


def test_an_edit_may_be_repeated_with_its_key(store: convo.Store):
    talk = talk_with(store, "one", "two", "three")
    talk.send("a")
    first, again = (talk.edit(1, "b", request_key="k") for _ in range(2))
    assert (first.conversation.id, "two", 2) == (again.conversation.id, again.text, len(store.client.requests))
    assert convo.IdempotencyConflict is refusal(talk.edit, 1, "c", request_key="k")
    assert first.conversation.id != talk.edit(1, "b", request_key="l").conversation.id


def test_an_edit_that_failed_is_asked_again_with_its_key(store: convo.Store):
    talk = talk_with(store, "one", convo.ModelError("down"), "two")
    talk.send("a")
    assert convo.ModelError is refusal(talk.edit, 1, "b", request_key="k")
    reply = talk.edit(1, "b", request_key="k")
    assert ("two", 2) == (reply.text, len(store.tree(talk.id)))


# ---- the tree


def test_the_tree_has_the_root_first_and_forks_behind_their_conversation(store: convo.Store):
    talk = long_talk(store, name="root")
    late, early = talk.fork(at=3, name="late"), talk.fork(at=1, name="early")
    talk.fork(at=1, name="second")
    early.edit(1, "edited", name="deep")
    late.send("own text")
    store.create(name="stranger")
    found = [(each.record.name, each.depth, each.beginning) for each in store.tree(talk.id)]
    expected = [("root", 0, "text 1"), ("early", 1, None), ("deep", 2, "edited"), ("second", 1, None)]
    assert [*expected, ("late", 1, "own text")] == found
    assert [store.tree(talk.id)] * 4 == [store.tree(each) for each in ("root", "deep", "late", "second")]


def test_a_conversation_without_forks_is_a_tree(store: convo.Store):
    talk = talk_with(store)
    assert [(talk.record, 0, None)] == [(each.record, each.depth, each.beginning) for each in store.tree(talk.id)]


def test_a_tree_begins_at_the_oldest_that_is_left(store: convo.Store):
    talk = long_talk(store, turns=2)
    fork, other = talk.fork(at=1), talk.fork(at=1)
    deep = fork.fork()
    store.delete(talk.id)
    assert [[fork.id, deep.id], [other.id]] == [
        [each.record.id for each in store.tree(id)] for id in (deep.id, other.id)
    ]


def test_whatever_the_rows_say_a_tree_ends(sync_store: convo.Store):
    talk = talk_with(sync_store)
    fork = talk.fork()
    with sync_store.engine.begin() as connection:
        of_it = update(CONVERSATIONS).where(CONVERSATIONS.c.id == talk.id)
        connection.execute(of_it.values(forked_from=fork.id, forked_at=0))
    assert {talk.id, fork.id} == {each.record.id for each in sync_store.tree(talk.id)}


def test_a_tree_may_be_deep(sync_store: convo.Store):
    ids = [talk_with(sync_store).id, *[str(uuid_utils.compat.uuid7()) for _ in range(1200)]]
    with sync_store.engine.begin() as connection:
        row = connection.execute(select(CONVERSATIONS)).one()._asdict()
        rows = [row | {"id": id, "forked_from": parent, "forked_at": 0} for parent, id in pairwise(ids)]
        connection.execute(insert(CONVERSATIONS), rows)
    assert list(enumerate(ids)) == [(each.depth, each.record.id) for each in sync_store.tree(ids[-1])]


# ---- preferences


def test_a_preference_is_what_a_person_chose_and_rejected(store: convo.Store):
    talk = talk_with(store, ["one", "two", "three"], "four", context="c", examples=[("i", "o")], candidate_count=3)
    talk.send("a")
    talk.choose(1)
    talk.send("b")
    [found] = store.preferences()
    assert (talk.id, 1, "two", ["one", "three"]) == (
        found.conversation,
        found.turn,
        found.chosen.content,
        [each.content for each in found.rejected],
    )
    prompt = found.prompt
    assert ("c", ["o"], ["a"]) == (
        prompt.context,
        [each.output for each in prompt.examples],
        [each.content for each in prompt.messages],
    )


def test_the_prompt_of_a_preference_is_the_one_that_was_sent(store: convo.Store):
    talk = long_talk(store, input_token_limit=60)
    store.client = ScriptedClient(["one", "two"])
    talk.send("last")
    talk.choose(1)
    *_, found = store.preferences()
    assert tuple(asked(store)[-1]) == tuple(each.content for each in found.prompt.messages)
    assert len(found.prompt.messages) < len(talk.messages()) - 1


def test_a_choice_of_the_model_is_no_preference(store: convo.Store):
    talk = talk_with(store, ["one", "two"], ["three", "four"], candidate_count=2)
    talk.send("a")
    assert [] == list(store.preferences())
    talk.choose(1)
    talk.regenerate()
    assert [] == list(store.preferences())
    talk.choose(0)
    assert ["one"] == [each.chosen.content for each in store.preferences()]


def test_a_choice_is_told_once_whatever_was_forked_since(store: convo.Store):
    talk = long_talk(store, turns=2)
    fork = talk.fork()
    assert [(talk.id, 1), (talk.id, 2)] == [(each.conversation, each.turn) for each in store.preferences()]
    fork.choose(0)
    told = [(each.conversation, each.turn, each.chosen.index) for each in store.preferences()]
    assert [(talk.id, 1, 1), (talk.id, 2, 1), (fork.id, 2, 0)] == told


def test_what_was_answered_to_another_context_is_compared_with_nothing(store: convo.Store):
    talk = talk_with(store, ["one", "two"], ["three", "four"], context="c", candidate_count=2)
    talk.send("a")
    fork = talk.fork(context="d")
    fork.choose(1)
    assert [] == list(store.preferences())
    fork.regenerate()
    fork.choose(3)
    [found] = store.preferences()
    assert ("d", "four", ["three"]) == (
        found.prompt.context,
        found.chosen.content,
        [each.content for each in found.rejected],
    )


def test_a_given_answer_and_one_to_a_prompt_are_not_compared(store: convo.Store):
    talk = talk_with(store, ["one", "two"], messages=["a", "b"])
    talk.regenerate(candidate_count=2)
    talk.choose(0)
    assert [] == list(store.preferences())
    talk.choose(2)
    assert ["one"] == [each.content for found in store.preferences() for each in found.rejected]


def test_preferences_are_read_page_by_page(store: convo.Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(preferences, "PAGE", 2)
    talks = [long_talk(store, turns=turns) for turns in (5, 2, 4)]
    told = [(talk.id, turn) for talk in talks for turn in range(1, talk.record.turn_count + 1)]
    assert told == [(each.conversation, each.turn) for each in store.preferences()]


def test_what_broke_off_was_not_rejected(store: convo.Store):
    talk = talk_with(store, ["one", "two"], candidate_count=2)
    store.client = ScriptedClient(convo.testing.Streamed(["br", "oken"], convo.ModelError("cut")), ["one", "two"])
    with pytest.raises(convo.StreamCut):
        list(talk.stream("a"))
    talk.resume()
    talk.choose(2)
    [found] = store.preferences()
    assert ("two", ["one"]) == (found.chosen.content, [each.content for each in found.rejected])


def test_preferences_of_many_conversations_come_by_their_ids(store: convo.Store):
    talks = [long_talk(store, turns=1) for _ in range(3)]
    found = store.preferences()
    first = next(found)
    store.delete(talks[2].id)
    assert [talks[0].id, talks[1].id] == [first.conversation, *[each.conversation for each in found]]


def leave_open_as(talk: convo.Conversation, text: str) -> None:
    """Leave a turn of that text without an answer."""
    store_of(talk).client = ScriptedClient(convo.ModelError("down"))
    assert convo.ModelError is refusal(talk.send, text)


def store_of_rows(store: convo.Store) -> convo.Store:
    """Return a sync store on the same database, as the checker takes."""
    return convo.Store(store.engine)
