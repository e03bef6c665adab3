"""Connections that are cut at COMMIT, or at any statement: what a call did is the same as without the cut.

python -m tests.faults commits --count 1000      cuts at random, and says how many calls came out differently
"""

from __future__ import annotations

import argparse
import contextlib
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import convo
from convo import exchange
from convo.testing import Acknowledged, HistoryClient
from convo.testing.history import PIECES
from tests.conftest import upgrade
from tests.faults.cutting import CutClient
from tests.faults.proxy import Fate, Nth, Proxy, Rule, is_commit, let_pass
from tests.faults.server import Server
from tests.shells import store_of

CUTS = (Fate.CUT_AFTER, Fate.CUT_BEFORE, Fate.LATE)
Talk = convo.Conversation
Outcome = dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """A call that writes, on a conversation that `prepared` leaves; `act` returns what is the same in every run."""

    prepared: Callable[[convo.Store, str], Talk]
    act: Callable[[Talk], object]
    commits: int = 1


def new(store: convo.Store, owner: str) -> Talk:
    return store.create(owner=owner, name="prepared")


def answered(store: convo.Store, owner: str) -> Talk:
    talk = new(store, owner)
    talk.send("first", request_key="first", candidate_count=2)
    return talk


def failed(store: convo.Store, owner: str) -> Talk:
    talk = answered(store, owner)
    with failing(store), contextlib.suppress(convo.ModelError):
        talk.send("second", request_key="second")
    return talk


@contextlib.contextmanager
def failing(store: convo.Store) -> Iterator[None]:
    """Let the model fail for the time of a `with`."""

    def fail(request: convo.ChatRequest) -> None:
        raise convo.ModelError("down")

    client, store.client = store.client, HistoryClient(before_answer=fail)
    try:
        yield
    finally:
        store.client = client


def send_in_vain(talk: Talk) -> str:
    with failing(store_of(talk)):
        try:
            talk.send("hello", request_key="k")
        except convo.ModelError as error:
            return str(error)
    return "was answered"


def create(talk: Talk, **settings: object) -> object:
    made = store_of(talk).create(owner=talk.owner, messages=["a", "b"], examples=[("in", "out")], **settings)
    return made.name, made.version


def get_or_create(talk: Talk) -> object:
    made = store_of(talk).get_or_create("new", owner=talk.owner, messages=["a", "b"])
    return made.name, made.version


def send(talk: Talk, said: str = "hello", **settings: Any) -> object:
    reply = talk.send(said, **settings)
    return reply.text, talk.version


def stream(talk: Talk) -> object:
    return [each.text for each in talk.stream("hello", request_key="k")], talk.last_reply.text, talk.version


def stream_renewing(talk: Talk) -> object:
    """Stream as if ten seconds lay between two pieces."""
    with patch.object(exchange, "RENEW_S", 0.0):
        return stream(talk)


def stream_in_vain(talk: Talk) -> object:
    """Let the answer break off: what came of it is stored with the turn that failed."""
    store = store_of(talk)
    client, store.client = store.client, CutClient(2)
    try:
        return stream(talk)
    except convo.StreamCut as error:
        return str(error), talk.version
    finally:
        store.client = client


def regenerate(talk: Talk) -> object:
    reply = talk.regenerate(candidate_count=3)
    return reply.text, len(reply.candidates), talk.version


def regenerate_in_vain(talk: Talk) -> object:
    with failing(store_of(talk)):
        try:
            return regenerate(talk)
        except convo.ModelError as error:
            return str(error), talk.version


def fork(talk: Talk, **settings: Any) -> object:
    made = talk.fork(**settings)
    return made.name, made.forked_at, made.version


def edit(talk: Talk) -> object:
    reply = talk.edit(1, "hello", name="edited")
    return reply.text, reply.conversation.name, reply.conversation.version


OPERATIONS = {
    "create": Operation(new, create),
    "create with a name": Operation(new, lambda talk: create(talk, name="new")),
    "get_or_create": Operation(new, get_or_create),
    "send": Operation(answered, send, commits=2),
    "send with a key": Operation(answered, lambda talk: send(talk, request_key="k"), commits=2),
    "send a version": Operation(answered, lambda talk: send(talk, expected_version=talk.version), commits=2),
    "send a known key": Operation(answered, lambda talk: send(talk, "first", request_key="first", candidate_count=2)),
    "send a failed key": Operation(failed, lambda talk: send(talk, "second", request_key="second"), commits=2),
    "send and discard": Operation(failed, lambda talk: send(talk, on_unfinished="discard"), commits=2),
    "send and resume": Operation(failed, lambda talk: send(talk, on_unfinished="resume"), commits=4),
    "send in vain": Operation(answered, send_in_vain, commits=2),
    "stream": Operation(answered, stream, commits=2),
    "stream and renew": Operation(answered, stream_renewing, commits=2 + PIECES),
    "stream in vain": Operation(answered, stream_in_vain, commits=2),
    "resume": Operation(failed, lambda talk: (talk.resume().text, talk.version), commits=2),
    "discard": Operation(failed, lambda talk: (talk.discard(), talk.version)),
    "choose": Operation(answered, lambda talk: talk.choose(1).version),
    "update": Operation(answered, lambda talk: talk.update(title="t", temperature=0.5).version),
    "update nothing": Operation(answered, lambda talk: talk.update().version),
    "rename": Operation(answered, lambda talk: talk.update(name="other").version),
    "regenerate": Operation(answered, regenerate, commits=2),
    "regenerate in vain": Operation(answered, regenerate_in_vain, commits=2),
    "fork": Operation(answered, fork),
    "fork with a name": Operation(answered, lambda talk: fork(talk, name="forked", context="other")),
    "edit": Operation(answered, edit, commits=2),
    "delete": Operation(answered, lambda talk: store_of(talk).delete(talk.id, owner=talk.owner)),
}


class Bench:
    """A store behind a proxy, a pooler when it has `sessions`; and one beside it that sees what is stored."""

    def __init__(self, url: str, *, sessions: int = 0) -> None:
        self.proxy = Proxy(url, sessions=sessions)
        self.client = HistoryClient()
        self.store = convo.Store(self.proxy.url, client=self.client)
        self.truth = convo.Store(url)
        self._expected: dict[str, Outcome] = {}

    def close(self) -> None:
        self.store.close()
        self.truth.close()
        self.proxy.close()

    def expected(self, name: str) -> Outcome:
        """Return the outcome of an operation to which nothing happens."""
        if name not in self._expected:
            self._expected[name] = self.outcome(name)
        return self._expected[name]

    def outcome(self, name: str, rule: Rule = let_pass) -> Outcome:
        """Prepare and run an operation, its statements under `rule`; return all that can be seen of it."""
        operation, owner = OPERATIONS[name], uuid.uuid4().hex
        talk = operation.prepared(self.store, owner)
        before = self.client.calls
        self.proxy.rule = rule
        try:
            result = operation.act(talk)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome
            result = f"{type(error).__name__}: {error}"
        finally:
            self.proxy.rule = let_pass
        return {"result": result, "calls": self.client.calls - before, "stored": self._stored(owner)}

    def _stored(self, owner: str) -> list[object]:
        return [
            (talk.name, talk.title, [each.kind for each in talk.events()], told(talk.turns()))
            for talk in sorted(self.truth.list(owner=owner), key=lambda each: each.created_at)
        ]


def told(turns: Sequence[convo.Turn]) -> list[object]:
    return [(each.number, each.state, each.chosen, [reply.content for reply in each.candidates]) for each in turns]


def heard(talk: Talk, said: str) -> Acknowledged:
    """Send until it is this sender's turn."""
    while True:
        try:
            return Acknowledged(talk.id, said, said, talk.send(said, request_key=said).text)
        except convo.TurnInFlight:
            time.sleep(random.uniform(0.001, 0.01))


def send_from_threads(store: convo.Store, ids: Sequence[str], turns: int) -> list[Acknowledged]:
    """Send `turns` times from each of four threads to these conversations; return what they heard."""

    def sender(number: int) -> list[Acknowledged]:
        views = [store.get(id) for id in ids]
        return [heard(views[(number + place) % len(views)], f"{number}.{place}") for place in range(turns)]

    with ThreadPoolExecutor(4) as senders:
        return [each for some in senders.map(sender, range(4)) for each in some]


def storm(seed: int) -> Rule:
    """Return a rule by which one COMMIT in seven is cut, and one other statement in a hundred."""
    random_ = random.Random(seed)

    def rule(statement: str) -> Fate:
        is_struck = random_.random() < (1 / 7 if is_commit(statement) else 1 / 100)
        return random_.choice(CUTS) if is_struck else Fate.PASS

    return rule


def one_cut(bench: Bench, random_: random.Random) -> tuple[Fate, bool]:
    """Cut one COMMIT of one operation; return how, and whether the outcome was the right one."""
    name, fate = random_.choice(sorted(OPERATIONS)), random_.choice((*CUTS, Fate.CUT_AFTER, Fate.CUT_AFTER))
    rule = Nth(random_.randint(1, OPERATIONS[name].commits), fate, times=random_.choice((1, 1, 1, 2)))
    actual = bench.outcome(name, rule)
    is_right = rule.has_struck and bench.expected(name) == actual
    if not is_right:
        print(f"{name}, {fate.name}: {actual} instead of {bench.expected(name)}")  # noqa: T201 - of a command
    return fate, is_right


def cut(url: str, count: int, seed: int) -> tuple[Counter[str], int]:
    """Cut `count` COMMITs at random; return how often each way, and how many calls came out wrong."""
    random_, fates, wrong = random.Random(seed), Counter[str](), 0
    bench = Bench(url)
    for _ in range(count):
        fate, is_right = one_cut(bench, random_)
        fates[fate.name.lower()] += 1
        wrong += not is_right
    bench.close()
    return fates, wrong


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests.faults commits")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    given = parser.parse_args(arguments)
    started = time.monotonic()
    with Server() as server:
        upgrade(server.url)
        fates, wrong = cut(server.url, given.count, given.seed)
    ways = ", ".join(f"{number} {fate}" for fate, number in sorted(fates.items()))
    took = f"{given.count} COMMITs cut ({ways}) in {time.monotonic() - started:.0f} s"
    print(f"{took}: {wrong} calls came out wrong; seed {given.seed}")  # noqa: T201 - of a command
    return 1 if wrong else 0
