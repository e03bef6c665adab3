"""How well prompts are sized for models that count in tokens of their own: with exact tokenizers behind a server.

`python -m tests.test_calibration` runs the long form, 1,000 turns for each limit, and prints what came of it.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import pytest

import convo
from convo import ChatReply, ChatRequest, Usage
from convo.asking import Ask, _measured
from convo.clients.http import HttpClient
from convo.clients.openai import OpenAI
from convo.clients.server import Server
from convo.errors import ContextLengthExceeded
from convo.models import RETIRED
from convo.prompt import Measured
from convo.replay import Replay
from convo.store.rows import LatestTurn
from convo.testing import ScriptedClient
from convo.tokens import LOWEST, estimate, learned, raised, ratio
from tests.model_server import Received, answer, routing
from tests.test_store import refusal
from tests.test_tokens import encoder, sample


@pytest.fixture
def alone() -> Iterator[convo.Store]:
    """Return a store in memory, for what is the same in all."""
    with convo.Store("sqlite://") as store:
        yield store


LANGUAGES = ("arabic", "chinese", "english", "german", "russian")
PER_MESSAGE, PER_PROMPT = 4, 3
"""What the server's template adds."""

_SENTENCE = re.compile(r"[^.!?。！？؟\n]+[.!?。！？؟\n]*")


@cache
def sentences(language: str) -> list[str]:
    return _SENTENCE.findall(sample(language))


@dataclass
class Counting:
    """A server of a model that counts with an exact tokenizer, and remembers every prompt's tokens."""

    encoding: str
    seed: int = 0
    prompts: list[int] = field(default_factory=list)
    _counted: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.language = self.dice.choice(LANGUAGES)

    def count(self, text: str) -> int:
        if text not in self._counted:
            self._counted[text] = len(encoder(self.encoding)(text)) + PER_MESSAGE
        return self._counted[text]

    def text(self) -> str:
        """Return up to five sentences, of a language that stays for some turns, or for one."""
        if self.dice.random() < 0.3:
            self.language = self.dice.choice(LANGUAGES)
        return "".join(self.dice.choices(sentences(self.language), k=self.dice.randint(1, 5))).strip()

    def answer(self, received: Received) -> bytes:
        tokens = PER_PROMPT + sum(self.count(each["content"]) for each in received.json["messages"])
        self.prompts.append(tokens)
        text = self.text()
        choice = {"index": 0, "message": {"content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": tokens, "completion_tokens": self.count(text)}
        return answer({"choices": [choice], "usage": usage})


@dataclass
class Outcome:
    """How many prompts of a conversation were over the limit, and how much of it was used, once it was met."""

    over: int
    used: float


def converse(folder: Path, encoding: str, limit: int, turns: int, seed: int = 0) -> Outcome:
    """Take turns in five languages with a model of that limit, after a history of half of it."""
    model = Counting(encoding, seed)
    history = [model.text() for _ in range(2 * (limit // 160))]
    url = f"sqlite:///{folder / f'{encoding}-{limit}.db'}"
    with routing(model.answer) as server:
        client = HttpClient(Server(OpenAI(), server.url), lambda name: convo.Model(name, limit, message_overhead=4))
        with convo.Store(url, client=client) as store:
            talk = store.create(model="openai/bpe", messages=history)
            trimmed = [bool(talk.send(model.text()).prompt.dropped_messages) for _ in range(turns)]
        client.close()
    met = trimmed.index(True)
    return Outcome(
        over=sum(tokens > limit for tokens in model.prompts[1:]),
        used=sum(model.prompts[met:]) / len(model.prompts[met:]) / limit,
    )


@pytest.mark.parametrize(
    ("encoding", "limit", "turns"),
    [("o200k_base", 1_000, 400), ("cl100k_base", 4_000, 400), ("o200k_base", 32_000, 200)],
)
def test_no_prompt_is_over_the_limit_and_three_quarters_of_it_are_used(
    tmp_path: Path, encoding: str, limit: int, turns: int
):
    outcome = converse(tmp_path, encoding, limit, turns)
    assert 0 == outcome.over
    assert outcome.used >= 0.75


# ---- the factor


@pytest.mark.parametrize(
    ("reported", "estimated", "found"),
    [
        (100, 100, 1.0),
        (150, 100, 1.5),
        (900, 100, 4.0),
        (45, 100, 0.5),
        (40, 100, 0.5),
        (39, 100, None),
        (0, 100, None),
        (None, 100, None),
        (5, 0, None),
    ],
)
def test_a_report_is_within_the_range_of_a_factor_or_ignored(reported: int | None, estimated: int, found: float | None):
    assert found == ratio(reported, estimated)


def test_a_factor_goes_up_at_once_and_down_little_by_little():
    assert 1.5 == learned(1.0, 1.5)
    assert 1.5 - 1 / 32 == learned(1.5, 0.5)


@pytest.mark.parametrize(("limit", "estimated", "factor"), [(1000, 1000, 1.25), (1000, 250, 4.0), (100, 1000, 0.5)])
def test_a_prompt_that_was_too_long_tells_a_factor(limit: int, estimated: int, factor: float):
    assert factor == raised(limit, estimated)


def counting(share: float) -> ScriptedClient:
    """Return a client that counts `share` tokens for each that is estimated."""

    def reply(request: ChatRequest) -> ChatReply:
        estimated = sum(each.tokens for each in request.messages)
        return ChatReply((convo.Candidate(0, "an answer"),), Usage(round(share * estimated), 3))

    return ScriptedClient(reply)


def test_a_model_is_known_in_another_conversation(alone: convo.Store):
    alone.client = counting(2)
    alone.create(messages=HISTORY).send("a question of some words")
    assert 2 * alone.create().preview("question").estimate == alone.create().preview("question").tokens


def test_another_model_is_not_taken_for_it(alone: convo.Store):
    alone.client = counting(2)
    alone.create(messages=HISTORY, model="a/model").send("a question of some words")
    assert 2 == alone.create(model="another/model").preview("question").tokens


def test_a_model_is_known_after_the_store_was_closed(url: str):
    with convo.Store(url, client=counting(2)) as store:
        store.create(messages=HISTORY).send("a question of some words")
    with convo.Store(url) as store:
        assert 4 == store.create().preview("question").tokens


def test_what_another_process_has_learnt_is_not_forgotten(url: str):
    with convo.Store(url, client=counting(1.5)) as one, convo.Store(url, client=counting(0.9)) as other:
        ours, theirs = one.create(messages=HISTORY), other.create(messages=HISTORY)
        for talk in (theirs, ours):
            talk.send("a question of some words")
        for _ in range(9):
            theirs.send("a question of some words")
    with convo.Store(url) as store:
        fit = store.create().preview("word " * 800)
    assert 1.4 < fit.tokens / fit.estimate <= 1.5


def test_a_useless_report_changes_nothing(alone: convo.Store):
    alone.client = counting(0.1)
    talk = alone.create(messages=HISTORY)
    talk.send("a question of some words")
    fit = talk.preview("question")
    assert fit.estimate == fit.tokens


def test_a_prompt_is_what_was_counted_before_and_what_came_since(alone: convo.Store):
    alone.client = counting(2)
    talk = alone.create(messages=HISTORY)
    first = talk.send("a question of some words")
    fit = talk.preview("question")
    assert first.usage.input_tokens + 2 * 3 + 2 * estimate("question") * 1.5 == fit.tokens


def test_a_model_that_counts_as_estimated_is_taken_at_its_word(alone: convo.Store):
    talk = alone.create(messages=HISTORY, model="offline/echo")
    talk.send("a question of some words")
    fit = talk.preview("question")
    assert fit.estimate == fit.tokens


def test_what_was_counted_of_another_model_is_not_used(alone: convo.Store):
    alone.client = counting(2)
    talk = alone.create(messages=HISTORY, model="a/model")
    talk.send("a question of some words")
    fit = talk.preview("question", model="another/model")
    assert fit.estimate == fit.tokens


def test_a_short_prompt_tells_no_factor(alone: convo.Store):
    """What a service adds to each prompt would be most of it: a greeting would make the next message too long."""
    alone.client = counting(4)
    alone.create().send("hi")
    fit = alone.create().preview("a question of some more words than that")
    assert fit.estimate == fit.tokens


def test_a_model_that_stands_in_is_not_taken_for_the_one_before():
    before = LatestTurn(1, "done", 1, None, None, None, 0, None, None, 1, 0, 90, 4096, RETIRED, 100, 5)
    ask = Ask(convo.Model("offline/echo", 4096), RETIRED, RETIRED, convo.Parameters(), 1)
    assert _measured(before, ask, ()) is None
    served = ask._replace(model=convo.Model(RETIRED, 4096))
    assert Measured(100, first=1, last=1, answer=5) == _measured(before, served, ())


def test_a_prompt_has_a_price_whatever_was_counted_before(alone: convo.Store):
    """A prompt of one short word is dear, and a long answer to it may be cheap."""
    answer = ChatReply((convo.Candidate(0, "word " * 1500),), Usage(8, 1500))
    alone.client = ScriptedClient(answer, model=convo.Model("m", 1000))
    talk = alone.create(model="m")
    talk.send("hi")
    found = [talk.preview(text) for text in ("next", "word " * 400)]
    assert all(each.tokens >= each.estimate * LOWEST for each in found)
    assert convo.PromptTooLong is refusal(talk.preview, "word " * 2400)


def test_another_answer_than_the_one_that_was_counted_has_its_own_price(alone: convo.Store):
    """It may come of an attempt that was counted by nobody."""
    long = "a much longer answer than the other " * 40
    both = ChatReply((convo.Candidate(0, "yes"), convo.Candidate(1, long)), Usage(900, 1))
    alone.client = ScriptedClient("short", both)
    talk = alone.create(messages=HISTORY, candidate_count=2)
    talk.send("a")
    talk.send("b")
    talk.choose(1)
    assert talk.preview("c").tokens > 900 + estimate(long)


def test_a_prompt_that_is_resumed_is_what_was_counted_before(alone: convo.Store):
    alone.client = counting(2)
    talk = alone.create(messages=HISTORY)
    talk.send("a question of some words")
    wanted = talk.preview("question").tokens
    alone.client = ScriptedClient(convo.ServerFailed("x", 503), "an answer")
    with pytest.raises(convo.ServerFailed):
        talk.send("question")
    assert wanted == talk.resume().prompt.tokens


# ---- a service that finds a prompt too long

HISTORY = [f"message {number}, of some ten tokens or so" for number in range(40)]
TOO_LONG = ContextLengthExceeded("openai", 400, code="context_length_exceeded")


class Narrow(ScriptedClient):
    """A model that takes no more than `room` tokens of the estimate, though it has a limit of 400."""

    def __init__(self, room: int) -> None:
        super().__init__(self.reply, model=convo.Model("x/narrow", 400))
        self.room = room

    def reply(self, request: ChatRequest) -> ChatReply:
        if sum(each.tokens for each in request.messages) > self.room:
            raise TOO_LONG
        return ChatReply((convo.Candidate(0, "an answer"),))


def ask(store: convo.Store, talk: convo.Conversation, text: str, *, streamed: bool) -> convo.Reply[Any]:
    if not streamed:
        return talk.send(text)
    list(talk.stream(text))
    return talk.last_reply


STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


@STREAMED
def test_a_prompt_that_was_too_long_is_sent_once_more_with_less(store: convo.Store, streamed: bool):
    store.client = Narrow(350)
    reply = ask(store, store.create(messages=HISTORY), "hi", streamed=streamed)
    assert 2 == len(store.client.requests)
    assert len(store.client.requests[1].messages) == len(reply.prompt.messages) < len(store.client.requests[0].messages)


@STREAMED
def test_the_figures_of_the_prompt_that_was_answered_are_stored(store: convo.Store, streamed: bool):
    store.client = Narrow(350)
    talk = store.create(messages=HISTORY)
    reply = ask(store, talk, "hi", streamed=streamed)
    kept = talk.turn(reply.turn).prompt
    assert (reply.prompt.tokens, reply.prompt.messages[0].position) == (kept.tokens, kept.window_start)


def test_the_journal_tells_of_both_prompts(store: convo.Store):
    store.client = Narrow(350)
    talk = store.create(messages=HISTORY)
    talk.send("hi")
    begin, finish = (json.loads(each.body) for each in talk.events()[-2:])
    assert begin["window"] == finish["refused"]["window"] != finish["window"]
    assert begin["prompt"] == finish["refused"]["prompt"] != finish["prompt"]
    assert [] == Replay(talk.events()).faults


def test_the_factor_is_raised_for_the_next_prompt(alone: convo.Store):
    alone.client = Narrow(350)
    talk = alone.create(messages=HISTORY)
    for _ in range(3):
        talk.send("hi")
    assert 4 == len(alone.client.requests)


def test_a_prompt_that_is_too_long_twice_fails_the_turn(alone: convo.Store):
    alone.client = Narrow(20)
    talk = alone.create(messages=HISTORY)
    with pytest.raises(ContextLengthExceeded):
        talk.send("hi")
    assert (2, "ContextLengthExceeded") == (len(alone.client.requests), talk.turns(last=1)[0].error)


def test_a_prompt_of_one_message_is_not_sent_again(alone: convo.Store):
    alone.client = Narrow(0)
    with pytest.raises(ContextLengthExceeded):
        alone.create().send("hi")
    assert 1 == len(alone.client.requests)


def test_a_message_that_leaves_no_room_when_the_factor_rises_is_not_sent_again(alone: convo.Store):
    alone.client = Narrow(0)
    with pytest.raises(ContextLengthExceeded):
        alone.create(messages=HISTORY).send("long " * 300)
    assert 1 == len(alone.client.requests)


def test_both_calls_have_one_deadline(store: convo.Store):
    class Slow(Narrow):
        """A model that takes its time, and is told how much there is."""

        def __init__(self) -> None:
            super().__init__(350)
            self.deadlines: list[float] = []

        def chat(self, request: ChatRequest, *, deadline_s: float) -> ChatReply:
            self.deadlines.append(deadline_s)
            time.sleep(0.3)
            return super().chat(request, deadline_s=deadline_s)

        async def chat_async(self, request: ChatRequest, *, deadline_s: float) -> ChatReply:
            return self.chat(request, deadline_s=deadline_s)

    store.client = client = Slow()
    store.create(messages=HISTORY).send("hi", deadline_s=20)
    assert 20 == client.deadlines[0]
    assert client.deadlines[1] <= 19.7


def test_the_next_turn_can_be_taken_after_that(alone: convo.Store):
    alone.client = Narrow(20)
    talk = alone.create(messages=HISTORY)
    with pytest.raises(ContextLengthExceeded):
        talk.send("hi")
    alone.client.room = 1000
    assert "an answer" == talk.resume().text


def test_chat_asks_once_more_with_less():
    client = Narrow(350)
    response = convo.chat(model="x/narrow", client=client, messages=[*HISTORY, "hi"])
    assert ("an answer", 2) == (response.last, len(client.requests))
    assert len(client.requests[1].messages) == len(response.prompt.messages) < len(client.requests[0].messages)


def test_chat_async_asks_once_more_with_less():
    client = Narrow(350)

    async def ask() -> str | None:
        return (await convo.chat_async(model="x/narrow", client=client, messages=[*HISTORY, "hi"])).last

    assert ("an answer", 2) == (anyio.run(ask), len(client.requests))


def test_chat_gives_up_when_less_is_too_long_as_well():
    client = Narrow(0)
    with pytest.raises(ContextLengthExceeded):
        convo.chat(model="x/narrow", client=client, messages=[*HISTORY, "hi"])
    assert 2 == len(client.requests)


if __name__ == "__main__":
    import tempfile

    for encoding in ("o200k_base", "cl100k_base"):
        for limit in (1_000, 4_000, 32_000):
            with tempfile.TemporaryDirectory() as folder:
                print(encoding, f"{limit:,}", converse(Path(folder), encoding, limit, 1_000))  # noqa: T201
