"""From a chat to a conversation, and back: create_from() and as_prompt(), in both shells, on each database."""

from __future__ import annotations

import json
from typing import Any

import pytest

import convo
from convo import ChatReply, ChatResponse, Filter, Message, journal
from convo.replay import Replay
from convo.testing import ScriptedClient, violations
from convo.values import MODEL
from tests.chatting import by, said


def chat(*answers: Any, **arguments: Any) -> ChatResponse:
    return convo.chat(**{"model": "test/model", "client": ScriptedClient(*answers), "messages": "hi", **arguments})


def kept(store: convo.Store, response: ChatResponse, **settings: Any) -> convo.Conversation:
    store.client = ScriptedClient("next", "and next")
    return store.create_from(response, **settings)


def test_a_chat_is_kept_with_everything_that_it_was_told(store: convo.Store):
    told = {"context": "c", "examples": ["i", "o"], "temperature": 0.5, "candidate_count": 2, "top_p": 0.9, "top_k": 3}
    response = chat("a", "b", **told).reply("ho")
    talk = kept(store, response, name="n", owner="me", title="t", metadata={"k": 1}, trim="stable")
    assert ("n", "me", "t", {"k": 1}) == (talk.name, talk.owner, talk.title, talk.metadata)
    assert ("test/model", "c", [("i", "o")]) == (
        talk.model,
        talk.context,
        [(each.input, each.output) for each in talk.examples()],
    )
    assert {"temperature": 0.5, "candidate_count": 2, "top_p": 0.9, "top_k": 3} == talk.parameters.as_dict()
    assert [("0", "hi"), ("1", "a"), ("0", "ho"), ("1", "b")] == said(talk.messages())


def test_a_kept_chat_goes_on(store: convo.Store):
    response = chat("a")
    talk = kept(store, response)
    assert "next" == talk.send("ho").text
    assert ["hi", "a", "ho"] == [each.content for each in store.client.requests[0].messages]
    assert [("0", "hi"), ("1", "a")] == said(response.messages)  # which stays as it was


@pytest.mark.parametrize("chosen", [0, 1, 2])
def test_all_candidates_of_the_answer_are_kept_and_the_set_one_is_chosen(store: convo.Store, chosen: int):
    response = chat(["a", "b", "c"], candidate_count=3)
    response.last = response.candidates[chosen]
    talk = kept(store, response)
    turn = talk.turn(1)
    assert (["a", "b", "c"], chosen, "stop") == (
        [each.content for each in turn.candidates],
        turn.chosen,
        turn.candidates[chosen].finish_reason,
    )
    assert "next" == talk.send("ho").text
    assert ["hi", "abc"[chosen], "ho"] == [each.content for each in store.client.requests[0].messages]


def test_another_candidate_may_be_chosen_later(store: convo.Store):
    talk = kept(store, chat(["a", "b"], candidate_count=2)).choose(1)
    assert "b" == talk.messages()[-1].content


def test_an_answer_by_hand_is_one_more_candidate(store: convo.Store):
    response = chat(["a", "b"], candidate_count=2)
    response.last = "c"
    turn = kept(store, response).turn(1)
    assert (["a", "b", "c"], 2) == ([each.content for each in turn.candidates], turn.chosen)


def test_only_the_last_turn_has_other_candidates(store: convo.Store):
    response = chat(["a", "b"], ["c", "d"], candidate_count=2)
    response.last = response.candidates[1]
    talk = kept(store, response.reply("ho"))
    assert [["b"], ["c", "d"]] == [[each.content for each in turn.candidates] for turn in talk.turns()]


def test_the_journal_commits_to_every_candidate(store: convo.Store):
    response = chat(["a", "b"], candidate_count=2)
    response.last = response.candidates[1]
    talk = kept(store, response)
    [event] = [each for each in talk.events() if each.kind == "history"]
    turn = Replay(talk.events()).turns[1]
    assert (2, 1, 3) == (len(turn.candidates), turn.chosen, len(json.loads(event.body)["texts"]))
    assert len(talk.events()) == talk.version
    assert talk.record.journal_head == talk.events()[-1].digest
    assert journal.GENESIS != talk.record.journal_head


def test_what_is_kept_is_as_it_is_promised_to_be(sync_store: convo.Store):
    response = chat(["a", "b", "c"], candidate_count=3)
    response.last = response.candidates[1]
    kept(sync_store, response).choose(2)
    assert [] == list(violations(sync_store))


def test_names_and_an_opening_are_kept(store: convo.Store):
    opened = [Message("cat", "Meow?", side=MODEL), by("tom", "hi")]
    talk = kept(store, chat("a", "b", messages=opened).reply("ho"))
    assert [(0, "cat"), (1, "tom"), (2, "cat"), (3, "tom"), (4, "cat")] == [
        (each.position, each.author) for each in talk.messages()
    ]
    assert "next" == talk.send("more").text


def test_settings_come_before_those_of_the_chat(store: convo.Store):
    talk = kept(store, chat("a", temperature=0.5, top_k=3), model="another/model", temperature=0.7)
    assert ("another/model", {"temperature": 0.7, "top_k": 3}) == (talk.model, talk.parameters.as_dict())


@pytest.mark.parametrize(
    "edit",
    [
        lambda response: response.messages.append("next"),
        lambda response: response.messages.append(Message("", "next")),
        lambda response: response.messages.pop(),
    ],
)
def test_a_chat_that_does_not_end_with_an_answer_is_not_kept(store: convo.Store, edit: Any):
    response = chat("a")
    edit(response)
    with pytest.raises(convo.InvalidInput, match="ends with the model's answer"):
        kept(store, response)
    assert [] == store.list()


def test_candidates_that_were_edited_are_kept_once_each(store: convo.Store):
    response = chat(["a", "b"], candidate_count=2)
    response.candidates += [response.candidates[0], {"content": "z"}]
    assert ["a", "b", "z"] == [each.content for each in kept(store, response).turn(1).candidates]


def test_what_was_repaired_is_told(store: convo.Store):
    [candidate] = kept(store, chat("a\ud800b")).turn(1).candidates
    assert ("a\ufffdb", 1) == (candidate.content, candidate.repaired)


@pytest.mark.parametrize("response", [None, {}, {"messages": ["a", "b"]}, "hi"])
def test_only_a_response_is_kept(store: convo.Store, response: Any):
    with pytest.raises(TypeError, match="takes a ChatResponse, not a"):
        kept(store, response)


@pytest.mark.parametrize("name", ["context", "examples", "messages", "opening", "authors", "prompt"])
def test_what_was_said_cannot_be_set(store: convo.Store, name: str):
    with pytest.raises(TypeError, match=f"unknown argument '{name}'"):
        kept(store, chat("a"), **{name: "x"})
    assert [] == store.list()


def test_a_blocked_chat_is_not_kept_before_it_has_an_answer(store: convo.Store):
    response = chat(ChatReply((), filters=(Filter("SAFETY"),)))
    with pytest.raises(convo.ReplyBlocked, match="SAFETY"):
        kept(store, response)
    assert [] == store.list()
    response.last = "by hand"
    assert [("0", "hi"), ("1", "by hand")] == said(kept(store, response).messages())


def test_one_name_on_both_sides_is_not_kept(store: convo.Store):
    with pytest.raises(convo.AuthorError):
        kept(store, chat("a", messages=[by("1", "hi")]))


def test_a_name_that_is_taken_stays_with_its_owner(store: convo.Store):
    kept(store, chat("a"), name="n")
    with pytest.raises(convo.NameTaken):
        kept(store, chat("b"), name="n")


def test_a_retired_model_is_kept_under_its_name(store: convo.Store):
    with pytest.warns(convo.RetiredModelWarning):
        response = convo.chat(messages="hi")
    with pytest.warns(convo.RetiredModelWarning):
        talk = store.create_from(response)
    assert "models/chat-bison-001" == talk.model
    assert "offline/eliza" == store.create_from(response, model=response.served_by).model


# ---- and back


def test_a_conversation_is_a_prompt(store: convo.Store):
    store.client = ScriptedClient("a")
    talk = store.create(model="test/model", context="c", examples=[("i", "o")])
    talk.send("hi")
    prompt = talk.as_prompt()
    assert {
        "context": "c",
        "examples": [{"input": {"author": "", "content": "i"}, "output": {"author": "", "content": "o"}}],
        "messages": [by("0", "hi"), by("1", "a")],
    } == prompt


def test_chat_goes_on_with_a_conversation(store: convo.Store):
    store.client = ScriptedClient("a", "b")
    talk = store.create(model="test/model", opening="Meow?", context="c", examples=["i", "o"], authors=("tom", "cat"))
    talk.send("hi")
    client = ScriptedClient("c")
    response = convo.chat(model=talk.model, prompt=talk.as_prompt("ho"), client=client)
    [request] = client.requests
    assert [("cat", "Meow?"), ("tom", "hi"), ("cat", "a"), ("tom", "ho")] == said(request.messages)
    assert [1, 0, 1, 0] == [each.side for each in request.messages]
    assert ("c", 1, "c", "cat") == (request.context, len(request.examples), response.last, response.messages[-1].author)
    assert 3 == len(talk.messages())  # nothing was stored


def test_a_conversation_comes_back_as_it_was_kept(store: convo.Store):
    response = chat("a", "b", context="c", examples=["i", "o"], temperature=0.5).reply("ho")
    prompt = kept(store, response).as_prompt()
    assert (response.context, response.examples, response.messages) == (
        prompt["context"],
        prompt["examples"],
        [{"author": each.author, "content": each.content} for each in prompt.messages],
    )


@pytest.mark.parametrize("settings", [{}, {"opening": "Meow?"}, {"authors": ("tom", "cat")}])
def test_a_conversation_that_ends_with_an_answer_has_nothing_to_answer(store: convo.Store, settings: dict[str, Any]):
    store.client = client = ScriptedClient("a")
    talk = store.create(model="test/model", **settings)
    talk.send("hi")
    with pytest.raises(convo.InvalidInput, match="the last one is the model's"):
        convo.chat(model=talk.model, prompt=talk.as_prompt(), client=client)
    assert 1 == len(client.requests)


def test_an_open_turn_ends_the_prompt(store: convo.Store):
    store.client = ScriptedClient(RuntimeError("x"))
    talk = store.create(model="test/model")
    with pytest.raises(convo.ModelError):
        talk.send("hi")
    assert [("0", "hi")] == said(talk.as_prompt().messages)
    with pytest.raises(convo.TurnUnfinished):
        talk.as_prompt("ho")


def test_a_new_conversation_is_an_empty_prompt(store: convo.Store):
    talk = store.create(model="offline/echo")
    assert ({"examples": [], "messages": []}, "hi") == (
        talk.as_prompt(),
        convo.chat(model=talk.model, prompt=talk.as_prompt("hi")).last,
    )


@pytest.mark.parametrize("text", ["", " ", "a\0"])
def test_a_text_that_cannot_be_sent_is_refused(store: convo.Store, text: str):
    with pytest.raises(convo.InvalidText):
        store.create(model="offline/echo").as_prompt(text)
