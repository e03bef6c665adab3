"""The model for tests: it follows its script, remembers what it was asked, and may be shared by threads."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

import convo
from convo import Candidate, ChatReply, ChatRequest, Delta, Filter, Message, Model, Usage
from convo.testing import ScriptedClient, Streamed


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


def test_it_can_be_asked_in_every_way():
    ways = (convo.ChatClient, convo.StreamingClient, convo.AsyncChatClient, convo.AsyncStreamingClient)
    assert 4 * [True] == [isinstance(ScriptedClient(), each) for each in ways]


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


# ---- in pieces, and in an event loop


def pieces(client: ScriptedClient) -> list[Delta]:
    return list(client.stream(request(), deadline_s=1))


def async_pieces(client: ScriptedClient) -> list[Delta]:
    async def read() -> list[Delta]:
        return [each async for each in client.stream_async(request(), deadline_s=1)]

    return asyncio.run(read())


def async_reply(client: ScriptedClient) -> ChatReply:
    return asyncio.run(client.chat_async(request(), deadline_s=1))


Read = Callable[[ScriptedClient], list[Delta]]
READS = [pytest.param(pieces, id="sync"), pytest.param(async_pieces, id="async")]


def shown(read: Read, client: ScriptedClient) -> list[tuple[str, int, str | None]]:
    return [(each.text, each.candidate, each.finish_reason) for each in read(client) if each.text or each.finish_reason]


@pytest.mark.parametrize("read", READS)
def test_a_text_comes_word_by_word(read: Read):
    found = shown(read, ScriptedClient("Where is it?"))
    assert ("Where is it?", 3) == ("".join(text for text, _, _ in found), len(found))
    assert [None, None, "stop"] == [why for _, _, why in found]


@pytest.mark.parametrize("read", READS)
def test_each_candidate_has_its_own_end(read: Read):
    found = shown(read, ScriptedClient(["a b", "c"]))
    assert {0: "a b", 1: "c"} == {index: "".join(text for text, of, _ in found if of == index) for index in (0, 1)}
    assert [0, 1] == [index for _, index, why in found if why]


@pytest.mark.parametrize("read", READS)
def test_a_whole_reply_keeps_what_it_tells_in_pieces_too(read: Read):
    reply = ChatReply((Candidate(0, "a", "length"),), Usage(1, 2), (Filter("OTHER"),), "someone/else")
    found = read(ScriptedClient(reply))
    assert [("a", "length")] == [(each.text, each.finish_reason) for each in found if each.text]
    assert [(Usage(1, 2), (Filter("OTHER"),), "someone/else")] == [
        (each.usage, each.filters, each.served_by) for each in found if each.usage
    ]


@pytest.mark.parametrize("read", READS)
def test_pieces_come_as_they_were_scripted(read: Read):
    assert [("a ", 0, None), ("b", 0, "stop")] == shown(read, ScriptedClient(Streamed(["a ", "b"])))


@pytest.mark.parametrize("read", READS)
def test_pieces_may_end_without_an_end(read: Read):
    assert [("a ", 0, None), ("b", 0, None)] == shown(read, ScriptedClient(Streamed(["a ", "b"], is_whole=False)))


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("error", [convo.ModelError("down"), RuntimeError("bug")])
def test_pieces_may_end_with_an_error(read: Read, error: Exception):
    with pytest.raises(type(error)) as caught:
        read(ScriptedClient(Streamed(["a ", "b"], error)))
    assert error is caught.value


def test_the_pieces_come_before_the_error():
    found = ScriptedClient(Streamed(["a ", "b"], RuntimeError("bug"))).stream(request(), deadline_s=1)
    assert ["a ", "b"] == [next(found).text, next(found).text]


@pytest.mark.parametrize("read", READS)
def test_a_scripted_error_comes_before_any_piece_and_the_script_goes_on(read: Read):
    client = ScriptedClient(convo.ModelError("down"), "better now")
    with pytest.raises(convo.ModelError):
        read(client)
    assert "better now" == "".join(each.text for each in read(client))


@pytest.mark.parametrize("answer", ["Hello.", ["a", "b"], ChatReply((Candidate(5, "a"),), Usage(1, 2))])
def test_an_awaited_answer_is_the_same(answer: object):
    assert ScriptedClient(answer).chat(request(), deadline_s=1) == async_reply(ScriptedClient(answer))


def test_pieces_that_are_asked_for_at_once_come_as_a_whole():
    assert ["a b"] == ask(ScriptedClient(Streamed(["a ", "b"])))


@pytest.mark.parametrize(
    ("streamed", "error"),
    [
        (Streamed(["a"], is_whole=False), convo.StreamCut),
        (Streamed(["a"], RuntimeError("bug")), RuntimeError),
        (Streamed([], convo.ModelError("down")), convo.ModelError),
    ],
)
def test_pieces_that_break_off_are_no_answer_when_they_are_asked_for_at_once(
    streamed: Streamed, error: type[Exception]
):
    with pytest.raises(error):
        ask(ScriptedClient(streamed))


def test_every_way_of_asking_takes_the_next_answer():
    client = ScriptedClient("a", "b", "c", "d")
    found = [ask(client)[0], pieces(client)[0].text, async_reply(client).candidates[0].content]
    assert ["a", "b", "c", "d"] == [*found, async_pieces(client)[0].text]
    assert 4 == len(client.requests)
