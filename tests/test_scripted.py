"""The model for tests: it follows its script, remembers what it was asked, and may be shared by threads."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

import convo
from convo import Candidate, ChatReply, ChatRequest, Filter, Message, Model, Usage
from convo.testing import ScriptedClient


def request(text: str = "hi") -> ChatRequest:
    return ChatRequest("test/model", None, (), (Message("0", text),))


def ask(client: ScriptedClient, text: str = "hi") -> list[str | None]:
    return [each.content for each in client.chat(request(text), deadline_s=1).candidates]


def test_answers_come_in_order_and_the_last_one_ever_after():
    client = ScriptedClient("a", "b")
    assert [["a"], ["b"], ["b"], ["b"]] == [ask(client) for _ in range(4)]


def test_without_a_script_the_newest_message_comes_back():
    client = ScriptedClient()
    assert [["one"], ["two"]] == [ask(client, "one"), ask(client, "two")]


@pytest.mark.parametrize("texts", [["a", "b"], ("a", "b")])
def test_several_texts_are_several_candidates(texts: list[str]):
    found = ScriptedClient(texts).chat(request(), deadline_s=1)
    assert ChatReply((Candidate(0, "a", "stop"), Candidate(1, "b", "stop"))) == found


def test_no_texts_are_no_candidates():
    assert [] == ask(ScriptedClient([]))


def test_a_whole_reply_is_given_as_it_is():
    reply = ChatReply((Candidate(5, "a\0"),), Usage(1, 2), (Filter("OTHER"),), "someone/else")
    assert reply is ScriptedClient(reply).chat(request(), deadline_s=1)


@pytest.mark.parametrize("error", [convo.ModelError("down"), RuntimeError("bug"), KeyboardInterrupt()])
def test_an_error_is_raised_and_the_script_goes_on(error: BaseException):
    client = ScriptedClient(error, "better now")
    with pytest.raises(type(error)) as caught:
        ask(client)
    assert (error, ["better now"]) == (caught.value, ask(client))


def test_a_function_answers_from_the_request():
    client = ScriptedClient(lambda asked: str(asked.messages[-1].content).upper())
    assert [["HI"], ["HO"]] == [ask(client, "hi"), ask(client, "ho")]


def test_a_function_may_give_a_whole_reply():
    assert ["a", "b"] == ask(ScriptedClient(lambda _: ChatReply((Candidate(0, "a"), Candidate(1, "b")))))


def test_an_empty_text_is_an_answer_and_not_the_end_of_the_script():
    client = ScriptedClient("", "b")
    assert [[""], ["b"]] == [ask(client), ask(client)]


def test_every_request_is_remembered_failed_ones_too():
    client = ScriptedClient("a", convo.ModelError("down"))
    ask(client, "one")
    with pytest.raises(convo.ModelError):
        ask(client, "two")
    assert [request("one"), request("two")] == client.requests


def test_it_serves_any_name_with_a_limit_of_4096():
    assert Model("any/name", 4096) == ScriptedClient("a").get_model("any/name")


def test_a_given_model_has_the_limits_for_every_name():
    model = Model("small", 10, message_overhead=2, user_first=True)
    assert model is ScriptedClient("a", model=model).get_model("any/name")


def test_it_is_a_chat_client():
    assert isinstance(ScriptedClient(), convo.ChatClient)


def test_threads_share_the_script_and_each_answer_is_given_once():
    script = [f"answer {number}" for number in range(400)]
    client = ScriptedClient(*script)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: ask(client, f"question {number}")[0], range(400)))
    asked = Counter(each.messages[-1].content for each in client.requests)
    assert (Counter(script), 400, {1}) == (Counter(found), len(asked), set(asked.values()))


def test_a_function_may_call_its_own_client():
    client = ScriptedClient(lambda _: f"{ask(client, 'inner')[0]} and outer", "inner")
    assert ["inner and outer"] == ask(client)


def test_a_store_talks_to_it_turn_by_turn(store: convo.Store):
    store.client = ScriptedClient("Hello.", convo.ModelError("down"), "Better now.")
    talk = store.create()
    with pytest.raises(convo.ModelError, match="down"):
        [talk.send(text) for text in ("hi", "are you there?")]
    assert ("Better now.", 2) == (talk.resume().text, len(talk.turns()))
