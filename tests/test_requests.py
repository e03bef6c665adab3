"""What was sent is what is shown: to the byte, of every attempt, whatever happened before and since.

`python -m tests.test_requests` takes 1,000 random turns with each service, and prints how many requests were compared.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import and_, update
from sqlalchemy.orm import Session

import convo
from convo import journal, models
from convo.cli.prompt import as_plain
from convo.clients.base import Posted
from convo.clients.http import HttpClient
from convo.clients.openai import OpenAI
from convo.clients.server import Server
from convo.errors import ContextLengthExceeded
from convo.store.ledger import new_salt, utc_now
from convo.store.repository import ConversationRepository
from convo.store.rows import CONVERSATIONS, EVENTS, EXAMPLES, MESSAGES
from convo.testing import ScriptedClient
from tests.faults.database import end_leases
from tests.recording import CUT, FAIL, LANGUAGES, MODELS, TOO_LONG, Asked, Recording, recorded
from tests.shells import open_store, store_of
from tests.test_cost import count_rows, traced

TURNS = 40
"""How many turns are taken with each service in the suite."""

Ref = tuple[Any, ...]

WORDS = ["one", "zwei", "три", "四五六", "🐈‍⬛", '"quoted"', "back\\slash", "line\nbreak", "\u2028", "</s>", "\x7f"]


# ---- texts that go, as `erase` and `redact` events tell


def of_ref(record: convo.ConversationRecord, ref: Ref) -> tuple[Any, Any, str]:
    """Return table and rows of a text, and the beginning of its columns' names."""
    kind, *place = ref
    if kind == "content":
        of_it = zip(("turn", "side", "candidate"), place, strict=True)
        return MESSAGES, and_(MESSAGES.c.conversation_id == record.id, *(MESSAGES.c[n] == v for n, v in of_it)), kind
    if kind in ("input", "output"):
        return EXAMPLES, and_(EXAMPLES.c.conversation_id == record.id, EXAMPLES.c.position == place[0]), kind
    return CONVERSATIONS, CONVERSATIONS.c.id == record.id, kind


def salt_of(kind: str) -> str:
    return "salt" if kind == "content" else f"{kind}_salt"


def erase(talk: convo.Conversation, *refs: Ref, turns: Sequence[tuple[int, int]] = (), **also: Any) -> None:
    """Take texts away, those of whole turns too."""

    def work(repository: ConversationRepository) -> None:
        record = repository.lock(talk.id, talk.owner)
        for ref in refs:
            table, rows, kind = of_ref(record, ref)
            repository._execute(update(table).where(rows).values({kind: None, salt_of(kind): None}))
        for first, last in turns:
            of_it = and_(MESSAGES.c.conversation_id == record.id, MESSAGES.c.turn.between(first, last))
            repository._execute(update(MESSAGES).where(of_it).values(content=None, salt=None))
        told = {"fields": refs} | ({"turns": turns} if turns else {}) | also
        repository._append(record, "erase", told, utc_now())

    database(talk).write(work)
    talk.refresh()


def redact(talk: convo.Conversation, ref: Ref, text: str, tokens: int) -> None:
    """Put another text in the place of one."""

    def work(repository: ConversationRepository) -> None:
        record, salt = repository.lock(talk.id, talk.owner), new_salt()
        table, rows, kind = of_ref(record, ref)
        counted = "context_tokens" if kind == "context" else "tokens"
        repository._execute(update(table).where(rows).values({kind: text, salt_of(kind): salt, counted: tokens}))
        told = [ref, journal.encode(journal.commit(kind, text, salt)), tokens]
        repository._append(record, "redact", {"fields": [told]}, utc_now())

    database(talk).write(work)
    talk.refresh()


def database(talk: convo.Conversation) -> Any:
    store = store_of(talk)
    return getattr(store, "_inner", store).database


# ---- random turns


@dataclass
class Attempt:
    """An attempt, as the client knows of it."""

    asked: Asked
    is_foreign: bool = False
    """Whether it was made in a conversation with another context."""


@dataclass
class Branch:
    """A conversation, and the attempts at its turns."""

    talk: convo.Conversation
    attempts: dict[int, list[Attempt]] = field(default_factory=dict)
    gone: set[Ref] = field(default_factory=set)

    @property
    def is_open(self) -> bool:
        last = self.talk.turns(1)
        return bool(last) and last[0].state != "done"


def gone_of(talk: convo.Conversation) -> Iterator[Ref]:
    """Yield the places at which no text stands, or one that took another's place."""
    texts: list[tuple[Ref, str | None]] = [(("context",), talk.refresh().context)]
    for turn in [*talk.turns(), *([talk.turn(0)] if talk.record.first_position == 0 else [])]:
        texts += [(("content", turn.number, 0, 0), turn.message.content)] if turn.message else []
        texts += [(("content", turn.number, 1, each.index), each.content) for each in turn.candidates]
    yield from (ref for ref, text in texts if text is None or text.endswith("[redacted]"))
    there = {each.position for each in talk.examples()}
    yield from ((side, place) for place in range(3) if place not in there for side in ("input", "output"))


class Wild:
    """Random conversations with one service, each attempt of which is known."""

    def __init__(self, store: convo.Store, client: Recording, seed: int, *, erases: bool = True) -> None:
        self.random = random.Random(seed)
        self.erases = erases
        """Whether texts are erased and redacted: requests with such a text are proven, and have no bodies any more."""
        self.store, self.service, self.language = store, client.service, client.service.language
        self.branches: list[Branch] = []
        self.turns = 0
        self.seen: Counter[str] = Counter()
        """How often what happened."""

    def run(self, turns: int) -> None:
        while self.turns < turns:
            if not self.branches or self.one_in(turns // 4 + 5):
                self.create()
            branch = self.random.choice(self.branches)
            if branch.is_open:
                self.settle(branch)
            else:
                steps = [self.send] * 8 + [self.regenerate, self.regenerate, self.choose, self.update]
                steps += [self.fork, self.edit, *([self.erase, self.redact] if self.erases else [])]
                self.random.choice(steps)(branch)

    def one_in(self, count: int) -> bool:
        return self.random.randrange(count) == 0

    def text(self, words: int = 12) -> str:
        return "a " + " ".join(self.random.choices(WORDS, k=self.random.randint(0, words)))

    def parameters(self) -> dict[str, Any]:
        known = {"temperature": self.random.choice([0, 0.1, 0.7, 1]), "top_p": self.random.random()}
        known |= {"candidate_count": self.random.randint(1, 3), "max_output_tokens": self.random.randint(5, 900)}
        known |= {"top_k": self.random.randint(1, 40), "stop_sequences": ["ü", "\n\n"]}
        lacking = LANGUAGES[self.language]().lacking()
        return {name: each for name, each in known.items() if name not in lacking and self.one_in(3)}

    def model(self) -> dict[str, str]:
        return {"model": self.random.choice(MODELS[self.language])} if self.one_in(3) else {}

    def mood(self) -> None:
        """Let the next call go wrong, perhaps; the one after a prompt that was too long as well."""
        wrong = [[FAIL], [CUT], [TOO_LONG], [TOO_LONG, FAIL], [TOO_LONG, CUT]]
        self.service.moods = self.random.choice([[]] * 6 + wrong)

    def create(self) -> None:
        given: dict[str, Any] = {"context": self.text()} if self.one_in(2) else {}
        given |= {"opening": self.text()} if self.one_in(3) else {}
        given |= {"messages": [self.text() for _ in range(4)]} if self.one_in(3) else {}
        given |= {"examples": [(self.text(3), self.text(3)) for _ in range(self.random.randint(0, 3))]}
        given |= {"input_token_limit": self.random.choice([120, 200, 400, 4000])}
        given |= {"trim": self.random.choice(["minimal", "stable"])}
        if self.language == "palm" and self.one_in(2):
            given["authors"] = ("ich", "du")
        model = self.random.choice(MODELS[self.language])
        self.branches.append(Branch(self.store.create(model=model, **given, **self.parameters())))

    def send(self, branch: Branch, **how: Any) -> None:
        self.turns += 1
        self.mood()
        text, how = self.text(self.random.choice([4, 40])), how | self.model() | self.parameters()
        if self.random.random() < 0.5:
            self.during(branch, lambda: self.stream(branch, text, how))
        else:
            self.during(branch, lambda: branch.talk.send(text, **how))

    def stream(self, branch: Branch, text: str, how: dict[str, Any]) -> None:
        leaves = self.one_in(6)
        with contextlib.closing(branch.talk.stream(text, **how)) as pieces:
            for _ in pieces:
                if leaves:
                    break

    def settle(self, branch: Branch) -> None:
        way = self.random.choice(["resume", "resume", "discard", "send"])
        if way == "discard":
            number = branch.talk.record.turn_count
            branch.talk.discard()
            branch.attempts.pop(number, None)
            branch.gone = {each for each in branch.gone if each[:2] != ("content", number)}
        elif way == "resume":
            self.mood()
            self.during(branch, lambda: branch.talk.resume(**self.model(), **self.parameters()))
        else:
            self.send(branch, on_unfinished="resume")

    def regenerate(self, branch: Branch) -> None:
        self.mood()
        self.during(branch, lambda: branch.talk.regenerate(**self.model(), **self.parameters()))

    def choose(self, branch: Branch) -> None:
        with contextlib.suppress(convo.NotFound):
            branch.talk.choose(self.random.randrange(4))

    def update(self, branch: Branch) -> None:
        with contextlib.suppress(convo.InvalidParameter):  # a context that alone is longer
            limit = self.random.choice([90, 200, 500])
            branch.talk.update(input_token_limit=limit, **self.model(), **self.parameters())

    def fork(self, branch: Branch) -> None:
        last = branch.talk.record.turn_count
        at = self.random.randint(0, last)
        others: dict[str, Any] = {"context": self.text()} if self.one_in(3) else {}
        others |= {"examples": [(self.text(3), self.text(3))]} if self.one_in(3) else {}
        with contextlib.suppress(convo.InvalidParameter):
            self.forked(branch, branch.talk.fork(at=at, **others), at, is_foreign=bool(others))

    def forked(self, branch: Branch, talk: convo.Conversation, at: int, *, is_foreign: bool = False) -> Branch:
        kept = {number: list(each) for number, each in branch.attempts.items() if number <= at}
        if is_foreign:
            kept = {number: [replace(each, is_foreign=True) for each in some] for number, some in kept.items()}
        self.branches.append(Branch(talk, kept, set(branch.gone)))
        self.seen["fork"] += 1
        return self.branches[-1]

    def edit(self, branch: Branch) -> None:
        last = branch.talk.record.turn_count
        if not last:
            return
        self.turns += 1
        self.mood()
        number, before = self.random.randint(1, last), {each.talk.id for each in self.branches}
        calls = len(self.service.calls)
        with contextlib.suppress(convo.ModelError, convo.PromptTooLong):
            branch.talk.edit(number, self.text(20), **self.model(), **self.parameters())
        (made,) = [each for each in self.store.list(limit=1) if each.id not in before] or [None]
        if made is not None:
            self.learn(self.forked(branch, made, number - 1), calls)

    def erase(self, branch: Branch) -> None:
        """Take something away of a turn that is not the last one, or an example, or the context."""
        turns = branch.talk.turns()[:-1]
        wanted: list[tuple[int | str, int | None]] = []
        if turns and not self.one_in(4):
            turn = self.random.choice(turns)
            both: list[tuple[int | str, int | None]] = [(2 * turn.number - 1, None), (2 * turn.number, None)]
            one: list[tuple[int | str, int | None]] = [self.random.choice([both[0], (2 * turn.number, turn.chosen)])]
            wanted = both if self.one_in(2) else one
        elif turns:
            wanted = [(self.random.choice([0, "context", "example:0", "example:1:output"]), None)]
        for target, candidate in wanted:
            with contextlib.suppress(convo.NotFound):
                gone = branch.talk.erase(target, candidate=candidate, scrub=False)
                self.seen["erasure"] += gone.texts
        self.look_for_gone()

    def redact(self, branch: Branch) -> None:
        turns = [each for each in branch.talk.turns() if each.message and each.message.content]
        if not turns:
            return
        turn = self.random.choice(turns)
        target, candidate = 2 * turn.number - 1, None
        if turn.reply is not None and turn.reply.content is not None and self.one_in(2):
            target, candidate = 2 * turn.number, turn.reply.index
        self.seen["redaction"] += 1
        text = f"{self.text(3)} {self.seen['redaction']} [redacted]"
        branch.talk.redact(target, text, candidate=candidate, scrub=False)
        self.look_for_gone()

    def look_for_gone(self) -> None:
        """Take notice of what is gone, in all branches that had it."""
        for each in self.branches:
            each.gone |= set(gone_of(each.talk))

    def during(self, branch: Branch, take: Callable[[], object]) -> None:
        calls = len(self.service.calls)
        with contextlib.suppress(convo.ModelError, convo.PromptTooLong, convo.TurnNotFound, convo.InvalidInput):
            take()
        self.learn(branch, calls)

    def learn(self, branch: Branch, calls: int) -> None:
        """Take notice of what was called for which attempt: in the order of both."""
        made = self.service.calls[calls:]
        self.service.moods = []
        last = branch.talk.refresh().record.turn_count
        for number in range(max(last - 1, 1), last + 1):
            known = branch.attempts.setdefault(number, [])
            with contextlib.suppress(convo.PromptUnknown):
                count = branch.talk.request(number, attempt=len(known) + 1).attempts
                known += [Attempt(made.pop(0)) for _ in range(count - len(known))]
        assert not made, "a call of which the journal does not tell"

    def compare(self) -> Counter[str]:
        """Return how much was compared: each attempt at each turn, as it is shown now."""
        for branch in self.branches:
            for number, attempts in branch.attempts.items():
                for place, each in enumerate(attempts):
                    self.compare_one(branch, number, place, each)
        return self.seen

    def compare_one(self, branch: Branch, number: int, place: int, attempt: Attempt) -> None:
        if attempt.is_foreign:
            with pytest.raises(convo.PromptUnknown, match=str(branch.talk.record.forked_from)):
                branch.talk.request(number, attempt=place + 1)
            self.seen["in forks with another context"] += 1
            return
        shown, asked = branch.talk.request(number, attempt=place + 1), attempt.asked
        assert shown.proven
        assert (place + 1, len(branch.attempts[number])) == (shown.attempt, shown.attempts)
        assert asked.is_streamed == shown.streamed
        assert shown.tokens <= shown.limit
        sent = [(each.side, each.content) for each in asked.request.messages]
        known = [(each.side, each.content) for each in shown.messages]
        assert len(sent) == len(known)
        assert [] == [one for one, two in zip(sent, known, strict=True) if one != two and two[1] is not None]
        assert set(shown.gone) <= branch.gone
        held = [each.position for each in shown.messages]
        for left_out in shown.left_out:
            self.seen[f"{left_out.what} {left_out.why}"] += 1
            held += range(left_out.first, left_out.last + 1) if left_out.what == "messages" else []
        assert sorted(held) == list(range(branch.talk.record.first_position, 2 * number))
        self.seen[shown.kind] += 1
        self.seen["streamed"] += shown.streamed
        if shown.gone:
            assert ((), "a text of it is gone") == (shown.bodies, shown.no_bodies)
            self.seen["with a text that is gone"] += 1
            return
        assert asked.bodies == sorted(shown.bodies), shown.no_bodies
        assert asked.paths == sorted(shown.paths)
        self.seen["compared"] += 1
        self.seen["bodies"] += len(shown.bodies)
        self.seen["bytes"] += sum(map(len, shown.bodies))


def wild(
    language: str, turns: int, seed: int, *, folds: bool = False, erases: bool = True, **where: str
) -> Counter[str]:
    """Take random turns; return what was compared."""
    with recorded(language, fold_examples=folds) as client, opened(client, **where) as store:
        run = Wild(store, client, seed, erases=erases)
        run.run(turns)
        return run.compare()


@contextlib.contextmanager
def opened(client: Recording, shell: str = "sync", url: str = "sqlite://") -> Iterator[convo.Store]:
    """Open a store with a client, whose connections of its event loop are closed at the end."""
    with open_store(url, shell) as store:
        store.client = client
        yield store
        if shell != "sync":
            store._portal.call(client.aclose)


@pytest.mark.parametrize("folds", [False, True], ids=["turns", "folded"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_shown_of_random_turns_is_what_was_posted(language: str, folds: bool):
    seen = wild(language, TURNS // 2, seed=int(folds), folds=folds)
    assert seen["compared"] + seen["with a text that is gone"] > TURNS // 4
    assert seen["compared"] > 5


@pytest.mark.parametrize(("shell", "seed"), [("asyncio", 7), ("trio", 1)])
def test_the_async_shell_shows_the_same(shell: str, seed: int):
    """On trio with no stream that breaks off: httpx leaves its generators to be collected then, and trio warns."""
    assert wild("openai", 12, seed, shell=shell)["compared"] > 5


def test_it_is_the_same_on_postgresql(postgres_store_url: str):
    assert wild("gemini", 12, 7, url=postgres_store_url)["compared"] > 5


# ---- one by one


@pytest.fixture
def quick() -> Iterator[convo.Store]:
    """Return a store for what no shell and no database makes a difference to."""
    with convo.Store("sqlite://") as store:
        yield store


@pytest.fixture
def talking(store: convo.Store) -> convo.Conversation:
    """Return a conversation with a model that repeats what it is told, in both shells and on each database."""
    return store.create(model="offline/echo", context="Be brief.", examples=[("in", "out")], temperature=0.5)


def texts(request: convo.SentRequest) -> list[str | None]:
    return [each.content for each in request.messages]


def test_a_turns_request_tells_all_that_was_sent(talking: convo.Conversation):
    talking.send("one")
    talking.send("two", candidate_count=2)
    shown = talking.request(2)
    assert (talking.id, 2, 1, 1, "begin") == (shown.conversation, shown.turn, shown.attempt, shown.attempts, shown.kind)
    assert ("offline/echo", "offline/echo", False, False) == (
        shown.model,
        shown.asked_as,
        shown.streamed,
        shown.refused,
    )
    assert convo.Parameters(temperature=0.5, candidate_count=2) == shown.parameters
    assert convo.SentText("Be brief.", 3) == shown.context
    assert (convo.SentExample(0, "in", "out", 2),) == shown.examples
    assert [(1, 1, 0, "0", 0, "one", 1), (2, 1, 1, "1", 0, "one", 1), (3, 2, 0, "0", 0, "two", 1)] == [
        (each.position, each.turn, each.side, each.author, each.candidate, each.content, each.tokens)
        for each in shown.messages
    ]
    fitted = talking.turn(2).prompt
    assert (8, 1_000_000 - 8) == (shown.tokens, shown.margin)
    assert (fitted.digest, True, (), ()) == (shown.digest, shown.proven, shown.left_out, shown.gone)
    assert "offline/echo is not asked over HTTP" == shown.no_bodies
    assert shown.at == talking.turn(2).created_at


def test_without_a_number_it_is_what_is_open_or_comes_next(sync_store: convo.Store):
    store = sync_store
    store.client = ScriptedClient("1", convo.ModelError("down"))
    talk = store.create(model="x/y", messages=["a", "b"])
    talk.send("c")
    following = talk.request(text="d")
    assert (3, 0, 0, "next", None, None) == (
        *(following.turn, following.attempt, following.attempts, following.kind),
        *(following.digest, following.proven),
    )
    unsaid = talk.request()
    assert ([*texts(following)[:-1], None], 0) == (texts(unsaid), unsaid.messages[-1].tokens)
    assert (following.tokens - 1, "there is no message yet") == (unsaid.tokens, unsaid.no_bodies)
    with pytest.raises(convo.ModelError):
        talk.send("d")
    shown = talk.request()
    assert (3, 1, "begin", True, texts(following)) == (
        shown.turn,
        shown.attempt,
        shown.kind,
        shown.proven,
        texts(shown),
    )
    with pytest.raises(convo.TurnUnfinished):
        talk.request(text="e")


def test_the_attempt_that_the_chosen_answer_came_of_is_shown(quick: convo.Store):
    quick.client = ScriptedClient(convo.ModelError("down"), "a", "b", "a", convo.ModelError("down"))
    talk = quick.create(model="x/y")
    with pytest.raises(convo.ModelError):
        talk.send("hi")
    talk.resume(temperature=0.1)
    talk.regenerate(temperature=0.2)
    talk.regenerate(temperature=0.3)  # which says again what was said
    with pytest.raises(convo.ModelError):
        talk.regenerate(temperature=0.4)
    of_choice = {}
    for chosen in (0, 1):
        of_choice[chosen] = talk.choose(chosen).request(1)
    assert {0: (2, 5, "resume", 0.1), 1: (3, 5, "regenerate", 0.2)} == {
        chosen: (each.attempt, each.attempts, each.kind, each.parameters.temperature)
        for chosen, each in of_choice.items()
    }
    assert [None, 0.1, 0.2, 0.3, 0.4] == [talk.request(1, attempt=n).parameters.temperature for n in range(1, 6)]


def test_attempts_of_a_turn_that_was_discarded_are_none_of_the_one_after_it(quick: convo.Store):
    quick.client = ScriptedClient(convo.ModelError("down"), "a")
    talk = quick.create(model="x/y")
    with pytest.raises(convo.ModelError):
        talk.send("hi", temperature=0.1)
    talk.discard()
    talk.send("ho", temperature=0.2)
    shown = talk.request(1)
    assert (1, 0.2, ["ho"], True) == (shown.attempts, shown.parameters.temperature, texts(shown), shown.proven)


def test_a_prompt_that_was_too_long_is_an_attempt_of_its_own(quick: convo.Store):
    talk = quick.create(model="offline/echo", input_token_limit=40)
    for text in ("one " * 10, "two"):
        talk.send(text)
    quick.client = ScriptedClient(ContextLengthExceeded("x", 400), "an answer")
    talk.send("three " * 5)
    first, second = (talk.request(3, attempt=number) for number in (1, 2))
    assert [(True, "begin", True), (False, "shortened", True)] == [
        (each.refused, each.kind, each.proven) for each in (first, second)
    ]
    assert (2, 2) == (talk.request(3).attempt, talk.request(3).attempts)
    assert len(second.messages) < len(first.messages)


def test_a_shortened_prompt_that_failed_as_well_is_told(quick: convo.Store):
    talk = quick.create(model="offline/echo", input_token_limit=40, messages=["one " * 10, "two"])
    quick.client = ScriptedClient(ContextLengthExceeded("x", 400), convo.ModelError("down"))
    with pytest.raises(convo.ModelError):
        talk.send("three " * 5)
    assert (2, "shortened", True) == (talk.request().attempts, talk.request().kind, talk.request().proven)


def test_attempts_are_numbered_as_the_journal_tells_of_them(quick: convo.Store):
    def late(request: convo.ChatRequest) -> str:
        end_leases(quick)
        quick.get(talk.id).resume(temperature=0.5)
        return "late"

    talk = quick.create(model="offline/echo", input_token_limit=40, messages=["one " * 10, "two"])
    quick.client = ScriptedClient(ContextLengthExceeded("x", 400), late, "in time")
    with pytest.raises(convo.LeaseLost):
        talk.send("three " * 5)
    shown = [talk.request(2, attempt=number) for number in (1, 2, 3)]
    assert ["begin", "resume", "shortened"] == [each.kind for each in shown]
    assert [True] * 3 == [each.proven for each in shown]
    assert ("in time", 2, 3) == (talk.turn(2).reply.content, talk.request(2).attempt, talk.choose(1).request(2).attempt)


def test_what_was_left_out_is_told_with_its_reason(quick: convo.Store):
    talk = quick.create(
        model="offline/echo", opening="a", examples=[("in " * 9, "out"), ("i", "o")], input_token_limit=30
    )
    for text in ("one", "two", "three"):
        talk.send(text)
    erase(talk, turns=[(1, 1)])
    talk.send("long " * 12)
    talk.send("last")
    assert [("messages", 0, 0, "did not fit"), ("messages", 1, 2, "erased"), ("messages", 3, 6, "did not fit")] == [
        (each.what, each.first, each.last, each.why) for each in talk.request(4).left_out if each.what == "messages"
    ]
    assert (convo.LeftOut("examples", 0, 0, "did not fit"),) == talk.request(4).left_out[:1]
    assert (True, 4) == (talk.request(4).proven, talk.request(4).turn)
    (before,) = [talk.request(3)]
    assert (True, [None, None, "two", "two", "three"]) == (before.proven, texts(before)[-5:])
    assert (("content", 1, 0, 0), ("content", 1, 1, 0)) == before.gone
    assert {"erased"} == {each.gone for each in before.messages if each.turn == 1}


class UserFirst(ScriptedClient):
    """A client of one's own whose service takes no opening."""

    def get_model(self, name: str) -> convo.Model:
        return convo.Model(name, 1000, user_first=True)


def test_an_opening_is_left_out_as_the_user_speaks_first_whoever_the_client_is(quick: convo.Store):
    quick.client = UserFirst("a", "b")
    talk = quick.create(model="m", opening="hello")
    following = talk.request(text="one")
    talk.send("one")
    talk.regenerate()
    told = (convo.LeftOut("messages", 0, 0, "the user speaks first"),)
    quick.client = ScriptedClient()
    assert [told] * 3 == [following.left_out, *(talk.request(1, attempt=number).left_out for number in (1, 2))]


def test_what_was_erased_before_at_the_beginning_did_not_fail_to_fit(sync_store: convo.Store):
    talk = sync_store.create(model="offline/echo", context="c", examples=[("a", "b"), ("c", "d")])
    talk.send("one")
    talk.send("two")
    erase(talk, ("content", 1, 1, 0), ("context",), ("input", 0))
    talk.send("three")
    told = [("context", 0, 0), ("examples", 0, 0), ("messages", 1, 2)]
    for shown in (talk.request(3), talk.request(text="four")):
        assert [(*each, "erased") for each in told] == [(e.what, e.first, e.last, e.why) for e in shown.left_out]
        assert (None, [1], ()) == (shown.context, [each.position for each in shown.examples], shown.gone)
    assert talk.request(3).proven
    before = talk.request(2)
    assert (True, convo.SentText(None, 1, "erased")) == (before.proven, before.context)
    assert [convo.SentExample(0, None, "b", 2, "erased"), convo.SentExample(1, "c", "d", 2)] == list(before.examples)
    assert ["one", None, "two"] == texts(before)


def test_a_text_that_was_replaced_is_shown_to_those_prompts_only_that_had_the_new_one(sync_store: convo.Store):
    talk = sync_store.create(model="offline/echo", context="old context", examples=[("old", "b")])
    talk.send("old text")
    talk.send("two")
    for ref in (("content", 1, 0, 0), ("context",), ("input", 0)):
        redact(talk, ref, "new", 7)
    talk.send("three")
    redact(talk, ("content", 1, 0, 0), "newest", 9)
    talk.send("four")
    second, third, fourth = (talk.request(number) for number in (2, 3, 4))
    assert [True] * 3 == [each.proven for each in (second, third, fourth)]
    assert [(None, 2, "redacted"), (None, 7, "redacted"), ("newest", 9, None)] == [
        (each.messages[0].content, each.messages[0].tokens, each.messages[0].gone) for each in (second, third, fourth)
    ]
    assert ["redacted", None, None] == [each.context.gone for each in (second, third, fourth) if each.context]
    assert [None, "new", "new"] == [each.examples[0].input for each in (second, third, fourth)]


def test_what_a_fork_tells_of_its_copies_is_taken_into_account(sync_store: convo.Store):
    class Forking(ConversationRepository):
        def _append(self, record: Any, kind: str, body: Any, at: Any, **changes: Any) -> Any:
            return super()._append(record, kind, body | (later if kind == "fork" else {}), at, **changes)

    talk = sync_store.create(model="offline/echo")
    for text in ("one", "two", "three"):
        talk.send(text)
    redact(talk, ("content", 1, 0, 0), "new", 5)
    erase(talk, ("content", 1, 1, 0))
    (told,) = [json.loads(each.body)["fields"][0] for each in talk.events() if each.kind == "redact"]
    later = {"erased": [("content", 1, 1, 0)], "redacted": [told]}
    with Session(sync_store.engine) as session, session.begin():
        repository = Forking(session)
        made = repository.fork(repository.lock(talk.id), 2, convo.NewFork())
    fork = sync_store.get(made.id)
    fork.send("other")
    shown = fork.request(2)
    assert (True, ["redacted", "erased", None]) == (shown.proven, [each.gone for each in shown.messages])
    assert (True, ["two", "two", "other"]) == (fork.request(3).proven, texts(fork.request(3)))


def test_tokens_are_those_of_what_was_sent_though_another_text_stood_there_before(quick: convo.Store):
    quick.client = ScriptedClient(convo.ModelError("down"), "a")
    talk = quick.create(model="x/y")
    with pytest.raises(convo.ModelError):
        talk.send("short")
    talk.redact(1, "y")
    talk.discard()
    talk.send("x" * 400)
    talk.redact(1, "[out]")
    assert (True, 100) == (talk.request(1).proven, talk.request(1).messages[0].tokens)


def test_tokens_of_a_forks_own_examples_are_not_those_of_its_parents(quick: convo.Store):
    talk = quick.create(model="offline/echo", examples=[("i", "o")])
    talk.redact("example:0:input", "yyyy")
    fork = talk.fork(examples=[("x" * 400, "o")])
    fork.send("one")
    fork.redact("example:0:input", "z")
    assert (True, 101) == (fork.request(1).proven, fork.request(1).examples[0].tokens)


def test_tokens_of_an_opening_are_told_though_it_was_redacted(quick: convo.Store):
    talk = quick.create(model="offline/echo", opening="x" * 40)
    talk.send("one")
    talk.redact(0, "[x]")
    assert (True, 10) == (talk.request(1).proven, talk.request(1).messages[0].tokens)


def test_a_text_that_is_not_the_one_that_was_sent_is_not_proven(quick: convo.Store):
    talk = quick.create(model="offline/echo")
    talk.send("one")
    talk.send("two")
    tampered = update(MESSAGES).where(MESSAGES.c.turn == 1, MESSAGES.c.side == 1)
    database(talk).write(lambda repository: repository._execute(tampered.values(content="nine")))
    assert (True, False, ()) == (talk.request(1).proven, talk.request(2).proven, talk.request(2).gone)
    database(talk).write(lambda repository: repository._execute(tampered.values(content=None, salt=None)))
    shown = talk.request(2)
    assert (False, "missing", (("content", 1, 1, 0),)) == (shown.proven, shown.messages[1].gone, shown.gone)


ODD = [None, "x", [], {}, -1, 2**70, [[1]], 0.5]
"""What stands in no event, or not everywhere."""


def tampered(talk: convo.Conversation, number: int, body: bytes) -> None:
    row = update(EVENTS).where(EVENTS.c.conversation_id == talk.id, EVENTS.c.number == number)
    database(talk).write(lambda repository: repository._execute(row.values(body=body)))


def meddled(most: int) -> Counter[str]:
    """Return what comes of looking at prompts while events have other bodies, at most so many each."""
    outcomes: Counter[str] = Counter()
    with recorded("openai") as client, opened(client) as store:
        given: dict[str, Any] = {"context": "c", "examples": [("i", "o")], "messages": ["a", "b"], "temperature": 0.5}
        talk = store.create(model="openai/x", input_token_limit=900, **given)
        client.service.moods = [FAIL]
        with pytest.raises(convo.ModelError):
            talk.send("one")
        talk.resume()
        talk.redact(3, "[out]")
        talk.erase("example:0")
        talk.send("two")
        for event in talk.events():
            body = json.loads(event.body)
            others: list[Any] = [*ODD, *({k: v for k, v in body.items() if k != key} for key in body)]
            others += [body | {key: odd} for key in body for odd in ODD]
            others = random.Random(event.number).sample(others, min(most, len(others)))
            for raw in [b"{", b"\xff", *(json.dumps(each).encode() for each in others)]:
                tampered(talk, event.number, raw)
                for look in (lambda: talk.request(2), lambda: talk.request(3), lambda: talk.request(text="three")):
                    try:
                        assert as_plain(look())
                        outcomes["shown"] += 1
                    except (convo.StoredDataError, convo.PromptUnknown) as error:
                        outcomes[type(error).__name__] += 1
            tampered(talk, event.number, event.body)
    return outcomes


def test_whatever_stands_in_a_journal_that_was_tampered_with_it_is_shown_or_one_error_tells():
    assert {"shown", "StoredDataError", "PromptUnknown"} == set(meddled(8))


@pytest.mark.parametrize("body", [b"{", b"null", b"\xff", b'{"turn":1}'])
def test_a_journal_that_cannot_be_read_is_one_error_on_each_database(sync_store: convo.Store, body: bytes):
    talk = sync_store.create(model="offline/echo")
    talk.send("one")
    tampered(talk, 2, body)
    with pytest.raises(convo.StoredDataError, match=f"`convo verify {talk.id}` tells"):
        talk.request(1)


def without_rows(store: convo.Store, which: str) -> None:
    """Delete rows though others may need them; outside SQLAlchemy, in whose transactions keys are always looked at."""
    connection = store.engine.raw_connection()
    for statement in ("PRAGMA foreign_keys = OFF", f"DELETE FROM {which}", "PRAGMA foreign_keys = ON"):
        connection.driver_connection.execute(statement)
    connection.close()


def test_a_row_that_is_gone_is_missing_in_its_place(quick: convo.Store):
    talk = quick.create(model="offline/echo", examples=[("a", "b"), ("c", "d")])
    talk.send("one")
    talk.send("two")
    without_rows(quick, "convo_examples WHERE position = 0")
    shown = talk.request(2)
    assert [(0, None, 2, "missing"), (1, "c", 2, None)] == [
        (each.position, each.input, each.tokens, each.gone) for each in shown.examples
    ]
    assert (False, (("input", 0), ("output", 0))) == (shown.proven, shown.gone)
    without_rows(quick, "convo_messages WHERE turn = 2 AND side = 0")
    shown = talk.request(2)
    assert (["one", "one", None], "missing") == (texts(shown), shown.messages[-1].gone)
    assert ((), "a text of it is gone") == (shown.bodies, shown.no_bodies)


def test_a_prompt_is_proven_though_a_text_went_while_its_turn_was_shortened(quick: convo.Store):
    talk = quick.create(model="offline/echo", input_token_limit=60)
    for text in ("one " * 20, "two", "three"):
        talk.send(text)

    def too_long(request: convo.ChatRequest) -> str:
        erase(talk.fork(), turns=[(1, 1)])
        redact(quick.get(talk.id), ("content", 2, 0, 0), "new", 1)
        raise ContextLengthExceeded("x", 400)

    quick.client = ScriptedClient(too_long, "an answer")
    talk.send("four")
    first, second = (talk.request(4, attempt=number) for number in (1, 2))
    assert (True, True, ["redacted"]) == (first.proven, second.proven, [e.gone for e in first.messages if e.gone])
    assert "new" in texts(second) or len(second.messages) == 1


def test_a_given_turn_and_an_attempt_that_was_not_made_are_refused(quick: convo.Store):
    talk = quick.create(model="offline/echo", opening="hi", messages=["a", "b"])
    talk.send("c")
    for number in (0, 1):
        with pytest.raises(convo.PromptUnknown, match=f"turn {number} .* was given: no model was asked") as caught:
            talk.request(number)
        assert (talk.id, number) == (caught.value.conversation, caught.value.turn)
    with pytest.raises(convo.PromptUnknown, match="a model was asked once for turn 2"):
        talk.request(2, attempt=2)
    for number in (3, -1, 2**70):
        with pytest.raises(convo.TurnNotFound):
            talk.request(number)
    for refused in ({"turn": 2, "text": "d"}, {"attempt": 1}, {"turn": 2, "attempt": 0}, {"turn": 2, "attempt": 2**31}):
        with pytest.raises(convo.InvalidParameter):
            talk.request(**refused)
    with pytest.raises(TypeError):
        talk.request("2")


def test_a_given_turn_that_was_answered_again_has_that_attempt(quick: convo.Store):
    talk = quick.create(model="offline/echo", messages=["a", "b"])
    talk.regenerate()
    assert (1, "regenerate", True) == (talk.request(1).attempts, talk.request(1).kind, talk.request(1).proven)
    assert 1 == talk.choose(0).request(1).attempt


def test_a_fork_with_another_context_cannot_tell_what_was_sent_before(quick: convo.Store):
    talk = quick.create(model="offline/echo", context="a")
    talk.send("one")
    for other in ({"context": "b"}, {"examples": [("i", "o")]}):
        fork = talk.fork(**other)
        with pytest.raises(convo.PromptUnknown, match=f"was forked from, {talk.id}"):
            fork.request(1)
        fork.regenerate(candidate_count=2)
        assert (2, True) == (fork.request(1).attempt, fork.request(1).proven)
        fork.send("two")
        assert fork.request(2).proven
    assert talk.fork(model="offline/eliza").request(1).proven


# ---- the bytes


def test_what_would_be_posted_next_is_what_is_posted_then():
    with recorded("gemini") as client, opened(client) as store:
        talk = store.create(model=MODELS["gemini"][1], opening="hi", input_token_limit=900, candidate_count=2)
        shown = talk.request(text="a “question”")
        talk.send("a “question”")
        (asked,) = client.service.calls
        assert asked.bodies == sorted(shown.bodies)
        assert 2 == len(shown.bodies)
        assert shown.bodies == talk.request(1).bodies
        assert (convo.LeftOut("messages", 0, 0, "the user speaks first"),) == shown.left_out == talk.request(1).left_out
        assert shown.tokens == sum(each.tokens or 0 for each in shown.messages)


def keyed(monkeypatch: pytest.MonkeyPatch, url: str | None) -> None:
    """Let the environment tell of OpenAI's service and a key for it, or of neither."""
    for name, value in (("OPENAI_BASE_URL", url), ("OPENAI_API_KEY", url and "a-key")):
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)


def test_no_key_is_needed_to_look(monkeypatch: pytest.MonkeyPatch, quick: convo.Store):
    with recorded("openai") as client:
        keyed(monkeypatch, client.service.server.url)
        talk = quick.create(model="openai/gpt-x", input_token_limit=900)
        unlimited = quick.create(model="openai/gpt-x", input_token_limit=900).update(input_token_limit=None)
        talk.send("one")
        list(talk.stream("two"))
        received = client.service.server.received
        models.resolve("openai/gpt-x", limit=900).client.close()
    keyed(monkeypatch, None)
    assert [each.body for each in received] == [talk.request(number).bodies[0] for number in (1, 2)]
    assert ("/chat/completions",) == talk.request(2).paths
    assert talk.request(text="three").bodies
    with pytest.raises(convo.InvalidInput, match="no key"):
        unlimited.request(text="three")


def test_a_service_of_the_configuration_folds_and_counts_as_it_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quick: convo.Store
):
    with recorded("ollama") as client:
        told = f"""[providers.mine]\nprotocol = "ollama"\nbase_url = "{client.service.server.url}"
num_ctx = 8192\nfold_examples = true\nstrict = false\n[limits]\n"mine/x" = 900\n"""
        (tmp_path / "config.toml").write_text(told)
        monkeypatch.setenv("CONVO_CONFIG", str(tmp_path / "config.toml"))
        talk = quick.create(model="mine/x", examples=[("in", "out")])
        talk.send("one")
        models.resolve("mine/x").client.close()
        shown = talk.request(1)
        assert (
            [each.body for each in client.service.server.received]
            == list(shown.bodies)
            == [talk.request(1, attempt=1).bodies[0]]
        )
        assert (15, 15) == (shown.tokens, sum(each.tokens or 0 for each in (*shown.examples, *shown.messages)))
    (tmp_path / "config.toml").write_text("")
    assert ((), "nobody here serves mine/x") == (talk.request(1).bodies, talk.request(1).no_bodies)
    assert talk.request(1).proven


def test_a_parameter_that_is_dropped_is_dropped_without_a_warning():
    client = HttpClient(Server(OpenAI(strict=False), "http://localhost"))
    asked = convo.ChatRequest("openai/x", None, (), (convo.Message("0", "hi"),), convo.Parameters(top_k=3, top_p=0.5))
    (posted,) = client.would_post(asked, streamed=False)
    assert {"model": "x", "messages": [{"role": "user", "content": "hi"}], "top_p": 0.5} == json.loads(posted.body)
    with pytest.raises(convo.InvalidParameter):
        HttpClient(Server(OpenAI(), "http://localhost")).would_post(asked, streamed=False)


def test_a_service_that_would_refuse_the_request_now_has_no_bodies(quick: convo.Store):
    quick.client = ScriptedClient("a")
    talk = quick.create(model="openai/x", top_k=3)
    talk.send("hi")
    quick.client = HttpClient(Server(OpenAI(), "http://localhost"))
    assert ((), True) == (talk.request(1).bodies, talk.request(1).proven)
    assert "openai has no top_k" in str(talk.request(1).no_bodies)


def test_the_model_that_stood_in_for_the_retired_one_is_told(monkeypatch: pytest.MonkeyPatch, quick: convo.Store):
    retired = "models/chat-bison-001"
    with warnings.catch_warnings(action="ignore", category=convo.RetiredModelWarning):
        talk = quick.create(model=retired)
        talk.send("hi")
        following = talk.request(text="ho")
    for shown in (talk.request(1), following):
        assert (retired, "offline/eliza") == (shown.model, shown.asked_as)
    assert talk.request(1).proven
    with recorded("palm") as client:
        monkeypatch.setenv("PALM_BASE_URL", client.service.server.url)
        other = quick.create(model=retired, input_token_limit=900)
        other.send("hi")
        models.resolve(retired, limit=900).client.close()
        (received,) = client.service.server.received
    monkeypatch.delenv("PALM_BASE_URL")
    assert (received.body,) == other.request(1).bodies


@pytest.mark.parametrize(("language", "count"), [("palm", 0), ("openai", 1)])
def test_without_the_authors_names_only_a_service_is_shown_that_is_not_told_them(language: str, count: int):
    with recorded(language) as client, opened(client) as store:
        talk = store.create(model=MODELS[language][0], input_token_limit=900, authors=("ich", "du"))
        talk.send("one")
        erase(talk, labels="commitment")
        talk.send("two")
        assert (count, 1) == (len(talk.request(1).bodies), len(talk.request(2).bodies))
        assert talk.request(1).no_bodies == (None if count else "the names of its authors are gone")


def test_a_client_of_ones_own_may_tell_what_it_posts(quick: convo.Store):
    class Posting(ScriptedClient):
        def would_post(self, request: convo.ChatRequest, *, streamed: bool) -> list[Posted]:
            return [Posted("/mine", f"{request.model} {request.parameters.candidate_count} {streamed}".encode())]

    quick.client = Posting("a")
    talk = quick.create(model="x/y")
    list(talk.stream("hi", candidate_count=3, temperature=0))
    assert (("/mine",), (b"x/y 1 True",)) == (talk.request(1).paths, talk.request(1).bodies)


# ---- what it costs


def test_the_length_of_a_conversation_costs_a_look_at_its_events_and_no_more(sqlite_store_url: str):
    found = {}
    with convo.Store(sqlite_store_url) as store:
        count_rows(store.engine)
        for length in (500, 5_000):
            talk = store.create(model="offline/echo", messages=["abc def"] * 2 * length, input_token_limit=100)
            talk.send("one")
            talk.send("two")
            with traced(store.engine) as trace:
                assert talk.request(length + 1).proven
            found[length] = (trace.kinds, trace.rows)
    statements = ["convo_conversations", "convo_turns", "convo_events", "convo_messages", "convo_examples"]
    assert [f"SELECT {name}" for name in statements] == found[500][0]
    assert found[500] == found[5_000]


def test_what_was_erased_costs_two_statements_more(sync_store: convo.Store):
    talk = sync_store.create(model="offline/echo", messages=["abc def"] * 1000)
    talk.send("one")
    erase(talk, turns=[(7, 7)])
    talk.send("two")
    for number, more in ((501, ["convo_events"]), (502, ["convo_messages"])):
        with traced(sync_store.engine) as trace:
            assert talk.request(number).proven
        statements = ["convo_conversations", "convo_turns", "convo_events", "convo_messages", *more, "convo_examples"]
        assert [f"SELECT {name}" for name in statements] == trace.kinds


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.test_requests", description=__doc__.split("\n")[0])
    parser.add_argument("--turns", type=int, default=1000, help="with each service")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="erase nothing, so that each request has its bytes")
    options = parser.parse_args(arguments)
    for language in LANGUAGES:
        total: Counter[str] = Counter()
        for place in range(10):
            how = {"folds": bool(place % 2), "erases": not options.keep}
            total += wild(language, -(-options.turns // 10), options.seed + place, **how)
        told = ", ".join(f"{count:,} {what}" for what, count in sorted(total.items()))
        sys.stdout.write(f"{language}: {told}\n")
    sys.stdout.write(f"tampered with: {dict(meddled(options.turns))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
