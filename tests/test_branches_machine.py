"""Conversations to which everything happens at random: what is stored is what a reference says, on every branch.

`python -m tests.test_branches_machine --examples 300 --steps 50` takes longer, on both databases.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

import convo
from convo.testing import HistoryClient, violations
from tests.branching import KINDS, Given, Round, Sent, Talk, TooLong, preferred
from tests.faults.database import DATABASES, end_leases, open_database

PICK = st.integers(0, 10**6)
COUNTS = st.integers(1, 4)
LENGTHS = st.sampled_from([0, 20, 90, 280])
MODELS = st.sampled_from([None, None, None, *KINDS])
CONTEXTS = st.sampled_from([None, "c", "context " * 5])
EXAMPLES = st.sampled_from([(), (("i", "o"),), (("in " * 12, "out " * 8), ("x", "y"))])
FAILS = st.sampled_from([False, False, False, True])


class Recorder(HistoryClient):
    """A HistoryClient that knows what it was given, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__(before_answer=self._before)
        self.given: list[Given] = []
        self.fails = False
        self.meanwhile: Callable[[], object] | None = None
        """What happens while the next answer is waited for."""

    def get_model(self, name: str) -> convo.Model:
        kind = KINDS[name]
        return convo.Model(name, kind.limit, message_overhead=kind.overhead, user_first=kind.user_first)

    def chat(self, request: convo.ChatRequest, *, deadline_s: float) -> convo.ChatReply:
        return replace(super().chat(request, deadline_s=deadline_s), usage=None)  # or the store would learn from it

    def _before(self, request: convo.ChatRequest) -> None:
        self.given.append(given_of(request))
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        if self.fails:
            raise convo.ModelError("down")


def given_of(prompt: Any) -> Given:
    """Return what a request, or a prompt that was rebuilt from the store, gives to a model."""
    examples = tuple((each.input, each.output) for each in prompt.examples)
    return Given(prompt.context, examples, tuple((each.side, each.content) for each in prompt.messages))


class Branching(RuleBasedStateMachine):
    """Conversations of one owner, and what is expected of each."""

    store: convo.Store
    """Open, with a Recorder; all machines share it."""
    compared = 0
    """How often a conversation was found to be what is expected of it, by all machines."""

    def __init__(self) -> None:
        super().__init__()
        self.owner = uuid.uuid4().hex
        self.client = self.store.client = Recorder()
        self.talks: dict[str, Talk] = {}
        self.shown: dict[str, convo.Conversation] = {}
        self.numbers = itertools.count()

    # ---- what is told

    def pick(self, which: int | str, wanted: Callable[[Talk], bool] = lambda _: True) -> str:
        """Return the id of a conversation, mostly of one that is `wanted`; what is an id already is meant."""
        if isinstance(which, str):
            return which
        found = [id for id, talk in self.talks.items() if which % 8 == 0 or wanted(talk)] or list(self.talks)
        return found[which % len(found)]

    @property
    def is_any_open(self) -> bool:
        return not all(each.is_settled for each in self.talks.values())

    def text(self, length: int) -> str:
        """Return a text that nobody has said."""
        return f"{next(self.numbers)} ".ljust(length, "x")

    def keep(self, shown: convo.Conversation, talk: Talk) -> None:
        self.shown[shown.id], self.talks[shown.id] = shown, talk
        self.check(shown.id)

    @initialize(data=st.data())
    def create(self, data: st.DataObject) -> None:
        talk = Talk(
            model=data.draw(st.sampled_from(sorted(KINDS))),
            context=data.draw(CONTEXTS),
            examples=data.draw(EXAMPLES),
            opening=data.draw(st.sampled_from([None, "hello"])),
            limit=data.draw(st.sampled_from([None, None, 60, 100])),
            trim=data.draw(st.sampled_from(["minimal", "stable"])),
        )
        said = [self.text(20) for _ in range(2 * data.draw(st.integers(0, 2)))]
        for asked, answered in zip(said[::2], said[1::2], strict=True):
            begun = next(talk.clock)
            turn = Round(asked, "done", chosen=0, begun=begun)
            talk.rounds.append(turn)
            talk._add(turn, [answered], None, None)
            turn.replies = [replace(each, finish=None) for each in turn.replies]
        made = self.store.create(
            owner=self.owner,
            model=talk.model,
            context=talk.context,
            examples=list(talk.examples),
            opening=talk.opening,
            messages=said,
            input_token_limit=talk.limit,
            trim=talk.trim,
        )
        self.keep(made, talk)

    # ---- turns

    @rule(
        which=PICK,
        length=LENGTHS,
        count=COUNTS,
        model=MODELS,
        fails=FAILS,
        settle=st.sampled_from(["raise", "resume", "discard"]),
    )
    def send(self, which: int | str, length: int, count: int, model: str | None, fails: bool, settle: str) -> None:
        id = self.pick(which)
        talk, text = self.talks[id], self.text(length)

        def act() -> object:
            named = {} if model is None else {"model": model}
            return self.shown[id].send(text, candidate_count=count, on_unfinished=settle, **named)

        if not talk.is_settled and settle == "raise":
            return self.refused(id, convo.TurnUnfinished, act)
        open_turn = None if talk.is_settled else talk.rounds[-1]
        expected: list[Sent] = []
        try:
            if open_turn is not None and settle == "resume":
                expected.append(talk.resume(talk.model))
                if fails:
                    open_turn.state = "failed"
                    return self.failed(id, act, expected)
                talk.finish(len(talk.rounds), [expected[0].given.answer(0)])
            if open_turn is not None and settle == "discard":
                talk.rounds.pop()
            expected.append(sent := talk.begin(text, model or talk.model))
        except TooLong:
            if open_turn is not None and settle == "discard":
                talk.rounds.append(open_turn)
            return self.refused(id, convo.PromptTooLong, act, expected)
        return self.answered(id, act, expected, fails, lambda: talk.finish(len(talk.rounds), answers(sent, count)))

    @precondition(lambda self: self.is_any_open)
    @rule(which=PICK, count=COUNTS, model=MODELS, fails=FAILS)
    def resume(self, which: int | str, count: int, model: str | None, fails: bool) -> None:
        id = self.pick(which, lambda talk: not talk.is_settled)
        talk = self.talks[id]

        def act() -> object:
            return self.shown[id].resume(candidate_count=count, model=model)

        if talk.last is None or talk.last.state == "done":
            return self.refused(id, convo.NoOpenTurn, act)
        try:
            sent = talk.resume(model or talk.model)
        except TooLong:
            return self.refused(id, convo.PromptTooLong, act)
        return self.answered(id, act, [sent], fails, lambda: talk.finish(len(talk.rounds), answers(sent, count)))

    @precondition(lambda self: self.is_any_open)
    @rule(which=PICK)
    def discard(self, which: int | str) -> None:
        id = self.pick(which, lambda talk: not talk.is_settled)
        talk = self.talks[id]
        if talk.last is None or talk.last.state == "done":
            return self.refused(id, convo.NoOpenTurn, self.shown[id].discard)
        assert talk.rounds.pop().text == self.shown[id].discard()
        return self.check(id)

    @rule(which=PICK, candidate=st.integers(0, 4))
    def choose(self, which: int | str, candidate: int) -> None:
        id = self.pick(which, lambda talk: bool(talk.rounds))
        talk = self.talks[id]

        def act() -> object:
            return self.shown[id].choose(candidate)

        if talk.last is None:
            return self.refused(id, convo.TurnNotFound, act)
        if talk.last.state != "done":
            return self.refused(id, convo.TurnUnfinished, act)
        if candidate >= len(talk.last.replies):
            return self.refused(id, convo.CandidateNotFound, act)
        act()
        talk.last.chosen, talk.last.is_preferred = candidate, True
        return self.check(id)

    @rule(which=PICK, count=COUNTS, model=MODELS, fails=FAILS)
    def regenerate(self, which: int | str, count: int, model: str | None, fails: bool) -> None:
        id = self.pick(which, lambda talk: bool(talk.rounds))
        talk, name = self.talks[id], model or self.talks[id].model

        def act() -> object:
            return self.shown[id].regenerate(candidate_count=count, model=model)

        if talk.last is None:
            return self.refused(id, convo.TurnNotFound, act)
        if talk.last.state != "done":
            return self.refused(id, convo.TurnUnfinished, act)
        try:
            sent = talk.prompt_again(name)
        except TooLong:
            return self.refused(id, convo.PromptTooLong, act)
        return self.answered(id, act, [sent], fails, lambda: talk.finish_again(answers(sent, count), name, sent))

    @rule(which=PICK, count=COUNTS, candidate=st.integers(0, 1), by=st.sampled_from(["choose", "send", "regenerate"]))
    def overtake(self, which: int, count: int, candidate: int, by: str) -> None:
        """Ask again; while that takes too long, somebody else does something, and the answer comes late."""
        id = self.pick(which, lambda talk: bool(talk.rounds))
        talk = self.talks[id]
        if talk.last is None or talk.last.state != "done":
            return
        try:
            sent = talk.prompt_again(talk.model)
        except TooLong:
            return
        turn, version = talk.last, 0

        def meanwhile() -> None:
            nonlocal version
            assert sent.given == self.client.given.pop()
            end_leases(self.store, id)
            version = self.shown[id].refresh().version
            if by == "choose":
                self.choose(id, candidate)
            elif by == "send":
                self.send(id, 20, 2, None, False, "raise")
            else:
                self.regenerate(id, count + 1, None, False)

        self.client.meanwhile = meanwhile
        try:
            self.store.get(id, owner=self.owner).regenerate(candidate_count=count)
            is_late = False
        except convo.LeaseLost:
            is_late = True
        texts = answers(sent, count)
        if is_late:
            assert version < self.shown[id].version
            talk.come_late(turn, texts, talk.model, sent, is_again=True)
        else:  # what came meanwhile was refused
            talk.finish_again(texts, talk.model, sent)
        self.check(id)

    @rule(which=PICK, count=COUNTS, by=st.sampled_from(["resume", "discard", "send"]))
    def overtake_send(self, which: int, count: int, by: str) -> None:
        """Send; while that takes too long, somebody else settles the turn, and the answer comes late."""
        id = self.pick(which)
        talk, text = self.talks[id], self.text(20)
        if not talk.is_settled:
            return
        try:
            sent = talk.begin(text, talk.model)
        except TooLong:
            return
        turn = talk.rounds[-1]

        def meanwhile() -> None:
            assert sent.given == self.client.given.pop()
            end_leases(self.store, id)
            if by == "resume":
                self.resume(id, 1, None, False)
            elif by == "discard":
                self.discard(id)
            else:
                self.send(id, 20, 1, None, False, "discard")

        self.client.meanwhile = meanwhile
        with pytest.raises(convo.LeaseLost):
            self.store.get(id, owner=self.owner).send(text, candidate_count=count)
        talk.come_late(turn, answers(sent, count), talk.model, sent, is_again=False)
        self.check(id)

    # ---- branches

    @rule(
        which=PICK,
        at=st.none() | PICK,
        other=st.sampled_from(["", "", "context", "examples", "both"]),
        model=MODELS,
        data=st.data(),
    )
    def fork(self, which: int, at: int | None, other: str, model: str | None, data: st.DataObject) -> None:
        id = self.pick(which)
        talk, shown = self.talks[id], self.shown[id]
        at = None if at is None else at % (len(talk.rounds) + 2)
        changed: dict[str, Any] = {}
        if other in ("context", "both"):
            changed["context"] = data.draw(CONTEXTS)
        if other in ("examples", "both"):
            changed["examples"] = data.draw(EXAMPLES)
        named = {} if model is None else {"model": model}

        def act() -> convo.Conversation:
            return shown.fork(at=at, **changed, **named)

        answered = len(talk.rounds) - (not talk.is_settled)
        number = answered if at is None else at
        if number > len(talk.rounds):
            return self.refused(id, convo.TurnNotFound, act)
        if number > answered:
            return self.refused(id, convo.TurnUnfinished, act)
        self.keep(act(), talk.fork(id, number, **changed, **named))
        return self.check(id)

    @rule(which=PICK, number=PICK, length=LENGTHS, count=COUNTS, model=MODELS, fails=FAILS, is_repeated=st.booleans())
    def edit(
        self, which: int, number: int, length: int, count: int, model: str | None, fails: bool, is_repeated: bool
    ) -> None:
        id = self.pick(which, lambda talk: bool(talk.rounds))
        talk, shown, text = self.talks[id], self.shown[id], self.text(length)
        number = 1 + number % (len(talk.rounds) + 1)

        def act() -> convo.Reply[convo.Conversation]:
            named = {} if model is None else {"model": model}
            return shown.edit(number, text, candidate_count=count, request_key=text, **named)

        if number > len(talk.rounds):
            return self.refused(id, convo.TurnNotFound, act)
        made = talk.fork(id, number - 1)
        try:
            sent = made.begin(text, model or made.model)
        except TooLong:
            return self.refused(id, convo.PromptTooLong, act)
        self.client.fails = fails
        try:
            reply = act()
        except convo.ModelError as error:
            assert fails
            new = self.store.get(error.conversation, owner=self.owner)
            made.rounds[-1].state = "failed"
        else:
            made.finish(number, answers(sent, count))
            new = reply.conversation
            assert made.rounds[-1].replies[0].text == reply.text
        self.client.fails = False
        assert [sent.given] == self.taken()
        self.keep(new, made)
        if is_repeated:
            self._repeat(new.id, act, model, count)
        return self.check(id)

    def _repeat(
        self, id: str, act: Callable[[], convo.Reply[convo.Conversation]], model: str | None, count: int
    ) -> None:
        """Edit once more with the same key: the fork is there, and its answer too unless the model had failed."""
        made, again = self.talks[id], []
        if made.rounds[-1].state == "failed":
            again = [made.resume(model or made.model)]
            made.finish(len(made.rounds), answers(again[0], count))
        reply = act()
        assert (id, made.rounds[-1].replies[0].text) == (reply.conversation.id, reply.text)
        assert [each.given for each in again] == self.taken()
        self.check(id)

    @rule(
        which=PICK,
        model=st.none() | st.sampled_from(sorted(KINDS)),
        limit=st.sampled_from([None, 60, 100, 300]),
        trim=st.sampled_from(["minimal", "stable"]),
    )
    def update(self, which: int, model: str | None, limit: int | None, trim: str) -> None:
        id = self.pick(which)
        talk = self.talks[id]
        talk.model, talk.limit, talk.trim = model or talk.model, limit, trim
        self.shown[id].update(model=talk.model, input_token_limit=limit, trim=trim)
        self.check(id)

    @precondition(lambda self: len(self.talks) > 2)
    @rule(which=PICK)
    def delete(self, which: int) -> None:
        id = self.pick(which)
        self.store.delete(id, owner=self.owner)
        del self.talks[id], self.shown[id]

    # ---- what came of it

    def taken(self) -> list[Given]:
        given, self.client.given = self.client.given, []
        return given

    def refused(
        self, id: str, error: type[Exception], act: Callable[[], object], sent: list[Sent] | None = None
    ) -> None:
        """Do what is refused after what else was `sent`."""
        with pytest.raises(error):
            act()
        assert [each.given for each in sent or []] == self.taken()
        self.check(id)

    def failed(self, id: str, act: Callable[[], object], sent: list[Sent]) -> None:
        self.client.fails = True
        self.refused(id, convo.ModelError, act, sent)
        self.client.fails = False

    def answered(
        self, id: str, act: Callable[[], object], sent: list[Sent], fails: bool, finish: Callable[[], object]
    ) -> None:
        """Do what is answered, or fails at last."""
        if fails:
            if self.talks[id].rounds[-1].state == "in_flight":
                self.talks[id].rounds[-1].state = "failed"
            return self.failed(id, act, sent)
        act()
        finish()
        assert [each.given for each in sent] == self.taken()
        return self.check(id)

    def check(self, id: str) -> None:
        """Compare a conversation with what is expected of it, and the prompt of its last turn."""
        talk = self.talks[id]
        last = [number for number, each in enumerate(talk.rounds) if each.sent][-1:]

        def look(repository: Any, record: convo.ConversationRecord) -> tuple[Any, ...]:
            turns = repository.turns(record)
            prompts = [_prompt(repository, record, turns[each]) for each in last]
            return record, turns, repository.messages(record), prompts

        record, turns, messages, prompts = self.shown[id]._view.read(look)
        assert talk.messages() == [(each.side, each.content) for each in messages]
        assert [facts(each) for each in talk.rounds] == [stored_facts(each) for each in turns]
        assert (talk.parent, talk.shared) == (record.forked_from, record.forked_at)
        assert [talk.rounds[each].sent.given for each in last] == [given_of(each) for each in prompts]
        type(self).compared += 1

    def check_whole(self, id: str) -> None:
        """Compare what a conversation shows with what is expected of it, and the prompts of all its turns."""
        self.check(id)
        talk, shown = self.talks[id], self.store.get(id, owner=self.owner)
        assert talk.messages() == [(each.side, each.content) for each in shown.messages()]
        known = [number for number, each in enumerate(talk.rounds, start=1) if each.sent]
        turns = [shown.turn(each) for each in known]
        prompts = shown._view.read(lambda repository, record: [_prompt(repository, record, each) for each in turns])
        assert [talk.rounds[each - 1].sent.given for each in known] == [given_of(each) for each in prompts]

    def teardown(self) -> None:
        try:
            for id in self.talks:
                self.check_whole(id)
                assert self.tree(id) == [
                    (each.record.id, each.depth, each.beginning) for each in self.store.tree(id, owner=self.owner)
                ]
            assert self.preferences() == [stored_preference(each) for each in self.store.preferences(owner=self.owner)]
            assert [] == violations(self.store, list(self.talks))
        finally:
            for each in self.store.list(owner=self.owner, limit=1000):
                self.store.delete(each.id, owner=self.owner)

    def tree(self, id: str) -> list[tuple[str, int, str | None]]:
        """Return the forks of a conversation's oldest ancestor, each behind what it is a fork of."""
        while (parent := self.talks[id].parent) in self.talks:
            id = parent
        born = {id: (self.shown[id].created_at, id) for id in self.talks}

        def below(id: str, depth: int) -> Iterator[tuple[str, int, str | None]]:
            talk = self.talks[id]
            own = talk.rounds[talk.shared or 0 :]
            yield id, depth, own[0].text[:200] if own else None
            forks = [each for each, fork in self.talks.items() if fork.parent == id]
            for each in sorted(forks, key=lambda each: (self.talks[each].shared, born[each])):
                yield from below(each, depth + 1)

        return list(below(id, 0))

    def preferences(self) -> list[tuple[object, ...]]:
        """Return what the user has chosen where there was a choice."""
        found = [
            (id, number, preferred(talk, number))
            for id, talk in sorted(self.talks.items())
            for number in range(1, len(talk.rounds) + 1)
        ]
        return [(id, number, *each) for id, number, each in found if each is not None]


def answers(sent: Sent, count: int) -> list[str]:
    return [sent.given.answer(each) for each in range(count)]


def facts(turn: Round) -> tuple[object, ...]:
    """Return what is seen of a turn; a turn's own model is that of its first answer."""
    replies = [(index, each.text, each.finish, each.model) for index, each in enumerate(turn.replies)]
    sent = turn.sent and (turn.sent.start, turn.sent.first_example, turn.sent.tokens, turn.sent.limit)
    return turn.text, turn.state, turn.model, turn.chosen, replies, sent


def stored_facts(turn: convo.Turn) -> tuple[object, ...]:
    replies = [(each.index, each.content, each.finish_reason, each.model) for each in turn.candidates]
    prompt = turn.prompt and (
        turn.prompt.window_start,
        turn.prompt.first_example,
        turn.prompt.tokens,
        turn.prompt.limit,
    )
    return turn.message.content, turn.state, turn.model, turn.chosen, replies, prompt


def _prompt(repository: Any, record: convo.ConversationRecord, turn: convo.Turn) -> convo.MessagePrompt:
    """Return what was sent for a turn, rebuilt from what the store remembers."""
    first = {"start": turn.prompt.window_start, "first_example": turn.prompt.first_example}
    return repository.prompt(record, turn.number, **first)


def stored_preference(found: convo.Preference) -> tuple[object, ...]:
    rejected = [each.content for each in found.rejected]
    return found.conversation, found.turn, given_of(found.prompt), found.chosen.content, rejected


@contextmanager
def machine(url: str) -> Iterator[type[Branching]]:
    """Yield the machine on a store of its own."""
    with convo.Store(url) as opened:
        yield type("Branching", (Branching,), {"store": opened})


def run(url: str, examples: int, steps: int) -> int:
    """Let a number of examples happen, each of at most `steps` steps, in one database; return how much was compared."""
    wanted = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
    )
    with machine(url) as made:
        run_state_machine_as_test(made, settings=wanted)
    return made.compared


def test_branches_are_what_a_reference_says(postgres_store_url: str):
    assert run(postgres_store_url, 30, 15) > 30


def test_branches_are_what_a_reference_says_in_memory():
    assert run("sqlite://", 30, 15) > 30


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.test_branches_machine", description=__doc__.split("\n")[0])
    parser.add_argument("--examples", type=int, default=300)
    parser.add_argument("--steps", type=int, default=50, help="of an example, at most")
    parser.add_argument("--database", choices=(*DATABASES, "both"), default="both")
    given = parser.parse_args(arguments)
    for database in DATABASES if given.database == "both" else (given.database,):
        began = time.monotonic()
        in_memory = contextlib.nullcontext("sqlite://")
        with in_memory if database == "sqlite" else open_database(database) as url:
            run(url, given.examples, given.steps)
        took = f"{time.monotonic() - began:.0f} s"
        print(f"{database}: {given.examples} examples of at most {given.steps} steps, {took}")  # noqa: T201 - its output
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
