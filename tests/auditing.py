"""Stores to verify: one that has everything in it, and random ones."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy import text

import convo
from convo.clients.base import as_pieces
from convo.testing import ScriptedClient

WORDS = ("a", "long words", "чай", "你好", "🙂", "tab\there", 'quote "', "\\", "line\nend", "word " * 30)
LABELS = {"owner": "acme", "title": "The title", "metadata": {"bot": "x", "n": 1.5, "ж": [True, None]}}
EXAMPLES = [("example in", "example out"), ("second in", "second out")]


class Moody:
    """A model whose answers, and troubles, are a random generator's."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.mood = "answer"
        self.meanwhile: Callable[[], object] = lambda: None
        """Called once, before the next answer."""

    def get_model(self, name: str) -> convo.Model:
        return convo.Model(name, 60 if name == "narrow" else 10_000, message_overhead=len(name) % 3)

    def chat(self, request: convo.ChatRequest, *, deadline_s: float) -> convo.ChatReply:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        if self.mood == "fail":
            raise convo.ServerFailed("it is down", status=500)
        if self.mood == "too long" and len(request.messages) > 1:
            raise convo.ContextLengthExceeded("it is too long", status=400)
        rng, count = self.rng, request.parameters.candidate_count or 1
        answers = [f"{rng.choice(WORDS)} {rng.randrange(5)}{rng.choice(['', chr(0)])}" for _ in range(count)]
        candidates = [convo.Candidate(0, each, rng.choice([None, "stop", "length"])) for each in answers]
        usage = rng.choice([None, convo.Usage(rng.randrange(9), None), convo.Usage(None, 3), convo.Usage(7, 8)])
        return convo.ChatReply(tuple(candidates), usage, served_by=rng.choice([None, "another/name"]))

    def stream(self, request: convo.ChatRequest, *, deadline_s: float) -> Iterator[convo.Delta]:
        for each in as_pieces(self.chat(request, deadline_s=deadline_s)):
            if self.mood == "cut" and each.text:
                yield convo.Delta(each.text, each.candidate)
                raise convo.ConnectionFailed("cut")
            yield each


class RandomStore:
    """What people do with the conversations of a store, at random: each step is one that may fail."""

    def __init__(self, store: convo.Store, rng: random.Random) -> None:
        self.store, self.rng, self.model = store, rng, Moody(rng)
        store.client = self.model
        self.talks = [self.create()]
        self.steps = [getattr(self, name) for name in STEPS]

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.model.mood = self.rng.choice(["answer"] * 9 + ["too long"])
            with contextlib.suppress(convo.ConvoError):
                self.rng.choice(self.steps)(self.rng.choice(self.talks))

    def word(self) -> str:
        return self.rng.choice(WORDS)

    def settings(self) -> dict[str, Any]:
        """Return settings of a turn, as they may be given with any."""
        rng = self.rng
        given = {
            "temperature": rng.choice([0.1, 1, 0.7]),
            "candidate_count": rng.randint(1, 3),
            "top_k": 40,
            "stop_sequences": ["#", "ж"],
            "model": rng.choice(["wide", "narrow", "other/model"]),
        }
        return {name: given[name] for name in rng.sample(sorted(given), rng.randint(0, 2))}

    def create(self, *_: object) -> convo.Conversation:
        rng = self.rng
        given: dict[str, Any] = {
            "context": self.word(),
            "examples": EXAMPLES,
            "opening": "Hello?",
            "authors": ("Ann", "Bot"),
            "messages": ["a history", "to start from", "and", "more"],
            "input_token_limit": 80,
            "trim": "stable",
            "title": "A title",
            "metadata": {"x": 1.5},
            "temperature": 0.5,
        }
        given = {name: given[name] for name in rng.sample(sorted(given), rng.randint(0, 6))}
        talk = self.store.create(model=rng.choice(["wide", "narrow"]), owner="acme", **given)
        self.talks = [*getattr(self, "talks", ()), talk]
        return talk

    def send(self, talk: convo.Conversation) -> None:
        key = self.rng.choice([None, f"key {self.rng.randrange(99)}"])
        talk.send(self.word(), request_key=key, on_unfinished=self.rng.choice(["discard", "resume"]), **self.settings())

    def stream(self, talk: convo.Conversation) -> None:
        self.model.mood = self.rng.choice(["answer", "cut"])
        pieces = talk.stream(self.word(), on_unfinished="discard", **self.settings())
        next(pieces)
        if self.rng.random() < 0.5:
            pieces.close()
        else:
            list(pieces)

    def fail(self, talk: convo.Conversation) -> None:
        self.model.mood = "fail"
        talk.send(self.word(), request_key=self.rng.choice([None, "failed"]))

    def settle(self, talk: convo.Conversation) -> None:
        self.rng.choice([talk.resume, talk.discard])()

    def overtaken(self, talk: convo.Conversation) -> None:
        """Send, or ask again, and let somebody else go on before the answer comes."""
        overtaking = self.rng.choice([self.resume, self.send, self.discard])

        def meanwhile() -> None:
            with self.store.engine.begin() as connection:
                connection.execute(text("UPDATE convo_turns SET lease_expires = 1 WHERE lease_owner IS NOT NULL"))
            with contextlib.suppress(convo.ConvoError):
                overtaking(other.get(talk.id, owner="acme"))

        other = convo.Store(self.store.engine, client=self.model)
        self.model.meanwhile = meanwhile
        self.rng.choice([lambda: talk.send(self.word()), talk.regenerate])()

    def resume(self, talk: convo.Conversation) -> None:
        talk.resume()

    def discard(self, talk: convo.Conversation) -> None:
        talk.discard()

    def regenerate(self, talk: convo.Conversation) -> None:
        self.model.mood = self.rng.choice(["answer", "answer", "fail"])
        talk.regenerate(**self.settings())

    def choose(self, talk: convo.Conversation) -> None:
        talk.choose(self.rng.randrange(3))

    def fork(self, talk: convo.Conversation) -> None:
        given = {"context": self.rng.choice([None, "Another context"]), "examples": [("other", "example")]}
        given = {name: given[name] for name in self.rng.sample(sorted(given), self.rng.choice([0, 0, 1, 2]))}
        self.talks.append(talk.fork(at=self.rng.randint(0, talk.refresh().record.turn_count), **given))

    def edit(self, talk: convo.Conversation) -> None:
        turn = self.rng.randint(1, max(talk.refresh().record.turn_count, 1))
        self.talks.append(talk.edit(turn, self.word(), **self.settings()).conversation)

    def update(self, talk: convo.Conversation) -> None:
        given: dict[str, Any] = {"title": self.rng.choice([None, self.word()]), "temperature": None, "model": "wide"}
        given |= {"metadata": {"y": 2}, "input_token_limit": 90, "name": f"name {self.rng.random()}"}
        talk.update(**{name: given[name] for name in self.rng.sample(sorted(given), 2)})

    def erase(self, talk: convo.Conversation) -> None:
        target, candidate = self.target(talk)
        talk.erase(target, candidate=candidate, reason=self.rng.choice([None, "gdpr-17"]), scrub=False)

    def redact(self, talk: convo.Conversation) -> None:
        target, candidate = self.target(talk)
        if target == "example:0":
            target = self.rng.choice(["example:0:input", "example:1:output"])
        talk.redact(target, self.word(), candidate=candidate, scrub=False)

    def target(self, talk: convo.Conversation) -> tuple[int | str, int | None]:
        """Return what may be erased: mostly a message."""
        position = self.rng.randint(0, 2 * talk.refresh().record.turn_count)
        target = self.rng.choice([position, position, position, "context", "title", "example:0"])
        is_reply = isinstance(target, int) and target % 2 == 0
        return target, self.rng.choice([None, 0, 1]) if is_reply else None

    def prune(self, *_: object) -> None:
        self.store.prune(timedelta(0), owner="acme", scrub=False)

    def forget(self, *_: object) -> None:
        if self.rng.random() < 0.2:
            self.store.forget("acme", scrub=False)

    def keep_a_chat(self, *_: object) -> None:
        response = convo.chat(messages="Hi", client=self.model, candidate_count=3, model="wide")
        self.talks.append(self.store.create_from(response, owner="acme"))


STEPS = (
    *("create", "send", "send", "send", "stream", "fail", "settle", "overtaken", "regenerate", "choose", "fork"),
    *("edit", "update", "keep_a_chat", "erase", "erase", "erase", "redact", "redact", "prune", "forget"),
)


def fill(store: convo.Store) -> convo.Conversation:
    """Let there be a conversation in which everything has happened that events tell of, and return it."""
    trouble = convo.ServerFailed("it is down", status=500)
    store.client = ScriptedClient(["one", "two", "three"], trouble, "four", ["five", "six"], "seven", "eight")
    given = {"context": "Be brief.", "examples": EXAMPLES, "opening": "Hello?", "messages": ["given", "as well"]}
    talk = store.create(model="m/one", name="talk", **LABELS, **given, temperature=0.25, authors=("Ann", "Bot"))
    talk.send("the first", request_key="a key", candidate_count=3)
    talk.choose(1)
    with contextlib.suppress(convo.ServiceError):
        talk.send("the second", temperature=0.75)
    talk.resume()
    talk.regenerate(model="m/two", candidate_count=2)
    talk.update(input_token_limit=5000)
    talk.send("the third", request_key="another key")
    fork = talk.fork(at=2, name="fork")
    fork.send("in the fork")
    store.create(model="m/one", name="bare", owner="acme")
    left = store.create(model="m/one", name="left", **LABELS, **given)
    for target in ("context", "title", "example:0", "example:1:output", 1):
        left.erase(target, scrub=False)
    left.redact(2, "[another]", scrub=False)
    return talk
