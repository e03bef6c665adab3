"""A process that dies at the n-th boundary of an operation, for every n; and what its client does then.

Each operation has what it needs beforehand, what is killed, and what a client does afterwards who cannot know how far
it came. Afterwards everything stands once, and the conversation goes on.
``python -m tests.faults boundaries`` kills each operation in both shells.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from unittest.mock import patch

from sqlalchemy import func, select

import convo
from convo import exchange
from convo.store.rows import MODELS
from convo.store.tables import Base
from convo.testing import Acknowledged, FaultPoints, HistoryClient, kill_at, violations
from tests.faults import branches
from tests.faults.cutting import CutClient
from tests.faults.database import DATABASES, expire_leases, open_database
from tests.faults.worker import Tell, Worker
from tests.shells import open_store

SHELLS = ("sync", "asyncio", "trio")

DEADLINE_S = 30
LEFT = "left open"
"""The text of a turn that has no answer when the operation begins."""
SETTINGS = {"context": "c", "examples": [("i", "o")], "opening": "hello", "messages": ["a", "b", "c", "d"]}

Recover = Callable[[convo.Store, str, int], list[Acknowledged]]
"""What a client does after a death: with a new store, the conversation's name, and the boundary's number."""


@dataclass(frozen=True)
class Operation:
    """What is killed; `needs` is what became of the turn before, or "nothing".

    It is done, failed, cut, killed, or done and killed when it was asked again.
    """

    run: Callable[[convo.Store, str], object]
    recover: Recover
    needs: str = "done"


# ---- what is killed


def send(store: convo.Store, name: str, **settings: object) -> convo.Reply:
    return store.get(name).send("text", deadline_s=DEADLINE_S, **settings)


def send_with_key(store: convo.Store, name: str, **settings: object) -> convo.Reply:
    return send(store, name, request_key="key", **settings)


def stream_with_key(store: convo.Store, name: str, **settings: object) -> convo.Reply:
    talk = store.get(name)
    pieces = [each.text for each in talk.stream("text", request_key="key", deadline_s=DEADLINE_S, **settings)]
    assert "".join(pieces) == talk.last_reply.text
    return talk.last_reply


def stream_renewing(store: convo.Store, name: str) -> convo.Reply:
    """Stream as if ten seconds lay between two pieces."""
    with patch.object(exchange, "RENEW_S", 0.0):
        return stream_with_key(store, name)


# ---- what a client does then


def repeat_send(store: convo.Store, name: str, number: int) -> list[Acknowledged]:
    """Send again with the same key; the model is called again only when the answer was not stored."""
    return _repeat(send_with_key, store, name, number)


def repeat_stream(store: convo.Store, name: str, number: int) -> list[Acknowledged]:
    """Stream again with the same key, or send, by turns."""
    return _repeat((send_with_key, stream_with_key)[number // 2 % 2], store, name, number)


def _repeat(again: Callable[..., convo.Reply], store: convo.Store, name: str, number: int) -> list[Acknowledged]:
    was_done = [each.state for each in store.get(name).turns() if each.request_key == "key"] == ["done"]
    unfinished = ("resume", "discard")[number % 2]
    reply = again(store, name, on_unfinished=unfinished)
    assert (0 if was_done else 1) <= store.client.calls <= (0 if was_done else 2), f"{store.client.calls} calls"
    return [Acknowledged(reply.conversation.id, "key", "text", reply.text)]


def settle(store: convo.Store, name: str, number: int) -> list[Acknowledged]:
    """Look whether the text is there; finish or discard the open turn, by turns, and send the text if it is gone."""
    talk = store.get(name)
    turn = talk.turns()[-1]
    if turn.state != "done":
        _ = talk.discard() if number % 2 else talk.resume(deadline_s=DEADLINE_S)
        turn = talk.turns()[-1]
    if turn.message.content != "text":
        return [Acknowledged(talk.id, None, "text", talk.send("text").text)]
    return [Acknowledged(talk.id, turn.request_key, "text", turn.reply.content)]


def settle_discarded(store: convo.Store, name: str, number: int) -> list[Acknowledged]:
    """Discard again; somebody whose discard was stored hears that there is nothing to discard."""
    talk = store.get(name)
    is_there = talk.turns()[-1].state != "done"
    try:
        assert is_there == (talk.discard() == LEFT)
    except convo.NoOpenTurn:
        assert not is_there
    return []


def create_again(store: convo.Store, name: str, number: int) -> list[Acknowledged]:
    talk = store.get_or_create(name, **SETTINGS)
    assert ["hello", "a", "b", "c", "d"] == [each.content for each in talk.messages()]
    return []


def choose_again(store: convo.Store, name: str, number: int) -> list[Acknowledged]:
    talk = store.get(name)
    assert 1 == talk.choose(1).turns()[-1].chosen
    return []


def update_again(store: convo.Store, name: str, number: int) -> list[Acknowledged]:
    talk = store.get(name).update(title="t", temperature=0.5)
    assert ("t", 0.5) == (talk.refresh().title, talk.parameters.temperature)
    return []


def delete_again(store: convo.Store, name: str, number: int) -> list[Acknowledged]:
    try:
        store.delete(name)
    except convo.ConversationNotFound:
        store.create(name=name)
        return []
    store.create(name=name)
    return []


OPERATIONS: dict[str, Operation] = {
    "create": Operation(lambda store, name: store.create(name=name), lambda *_: [], "nothing"),
    "create with a history": Operation(
        lambda store, name: store.create(name=name, **SETTINGS), create_again, "nothing"
    ),
    "send": Operation(send, settle),
    "send with a key": Operation(send_with_key, repeat_send),
    "send, resuming a dead turn": Operation(
        lambda store, name: send_with_key(store, name, on_unfinished="resume"), repeat_send, "killed"
    ),
    "send, discarding a failed turn": Operation(
        lambda store, name: send_with_key(store, name, on_unfinished="discard"), repeat_send, "failed"
    ),
    "stream with a key": Operation(stream_with_key, repeat_stream),
    "stream, renewing its lease": Operation(stream_renewing, repeat_stream),
    "stream, discarding a cut turn": Operation(
        lambda store, name: stream_with_key(store, name, on_unfinished="discard"), repeat_stream, "cut"
    ),
    "resume of a failed turn": Operation(lambda store, name: store.get(name).resume(), settle, "failed"),
    "resume of a dead turn": Operation(lambda store, name: store.get(name).resume(), settle, "killed"),
    "discard": Operation(lambda store, name: store.get(name).discard(), settle_discarded, "killed"),
    "choose": Operation(lambda store, name: store.get(name).choose(1), choose_again),
    "update": Operation(lambda store, name: store.get(name).update(title="t", temperature=0.5), update_again),
    "delete": Operation(lambda store, name: store.delete(name), delete_again),
    "regenerate": Operation(branches.regenerate, branches.regenerate_again),
    "regenerate after a dead regeneration": Operation(branches.regenerate, branches.regenerate_again, "asked again"),
    "send after a dead regeneration": Operation(send_with_key, repeat_send, "asked again"),
    "choose after a dead regeneration": Operation(
        lambda store, name: store.get(name).choose(1), choose_again, "asked again"
    ),
    "fork": Operation(branches.fork, branches.fork_again),
    "fork after a dead regeneration": Operation(branches.fork, branches.fork_again, "asked again"),
    "fork with another context": Operation(branches.fork_earlier, branches.fork_earlier_again),
    "edit": Operation(branches.edit, branches.edit_again),
    "edit of a failed last turn": Operation(branches.edit_last, branches.edit_last_again, "failed"),
}


# ---- before


def prepare(url: str, needs: str, names: Sequence[str]) -> list[Acknowledged]:
    """Make the conversations; return what their senders were told."""
    if needs == "nothing":
        return []
    with convo.Store(url, client=HistoryClient()) as store:
        talks = [store.create(name=name, **SETTINGS) for name in names]
        said = [(talk.id, "first", talk.send("first", request_key="first", candidate_count=2)) for talk in talks]
        for talk in talks if needs == "failed" else ():
            store.client = HistoryClient(before_answer=_refuse)
            with contextlib.suppress(convo.ModelError):
                talk.send(LEFT)
        for talk in talks if needs == "cut" else ():
            store.client = CutClient(2)
            with contextlib.suppress(convo.StreamCut):
                list(talk.stream(LEFT))
    if needs in DEADLY:
        killed = Worker(die_in_calls, url, names, needs)
        killed.end()
        assert killed.was_killed
        with convo.Store(url) as store:
            expire_leases(store)
    return [Acknowledged(id, "first", text, reply.text) for id, text, reply in said]


def _refuse(request: convo.ChatRequest) -> None:
    raise convo.ModelError


DEADLY: dict[str, Callable[[convo.Store, str], object]] = {
    "killed": lambda store, name: store.get(name).send(LEFT),
    "asked again": branches.regenerate,
}


def die_in_calls(tell: Tell, url: str, names: Sequence[str], needs: str) -> None:
    """Do what leaves what is needed in all the conversations, and die when all of them wait for the model."""
    everybody = threading.Barrier(len(names), lambda: os.kill(os.getpid(), signal.SIGKILL))
    client = HistoryClient(before_answer=lambda _: everybody.wait())
    with convo.Store(url, client=client) as store, ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: DEADLY[needs](store, name), names))


# ---- the sweep


def run_until(tell: Tell, url: str, operation: str, shell: str, name: str, number: int) -> None:
    """Run an operation that dies at boundary `number`; tell its boundaries when it does not."""
    with open_store(url, shell) as store:
        points = FaultPoints(store.engine, at=kill_at(number))
        store.client = points.client(HistoryClient())
        with points:
            OPERATIONS[operation].run(store, name)
    tell(points.names)


def boundaries_of(url: str, operation: str, shell: str) -> list[str]:
    """Return the boundaries of an operation that is left alone."""
    name = f"{operation}, {shell}, whole"
    prepare(url, OPERATIONS[operation].needs, [name])
    [boundaries] = Worker(run_until, url, operation, shell, name, 0).end()
    return boundaries


Pick = Callable[[Sequence[str]], Sequence[int]]
"""Which of an operation's boundaries are taken, by their numbers from 1."""


def all_of(boundaries: Sequence[str]) -> Sequence[int]:
    return range(1, len(boundaries) + 1)


def first_of(count: int, boundaries: Sequence[str]) -> Sequence[int]:
    return all_of(boundaries)[:count]


def telling(boundaries: Sequence[str]) -> Sequence[int]:
    """Leave out those between which and the next one nothing happens but reading: a death there is one at the next."""
    return [number for number, each in enumerate(boundaries, start=1) if not each.startswith(_BEFORE_NOTHING)]


_BEFORE_NOTHING = (
    "before SELECT",
    "at the beginning of a transaction",
    *(f"after {verb}" for verb in ("BEGIN", "SELECT", "INSERT", "UPDATE", "DELETE")),
)


def sweep(url: str, operation: str, shell: str, pick: Pick) -> tuple[int, list[str]]:
    """Kill an operation at boundaries of its; return at how many, and what was wrong, where."""
    boundaries = boundaries_of(url, operation, shell)
    names = {number: f"{operation}, {shell}, killed {number}" for number in pick(boundaries)}
    said = prepare(url, OPERATIONS[operation].needs, list(names.values()))
    wrong = []
    with convo.Store(url) as store:
        for index, (number, name) in enumerate(names.items()):
            store.engine.dispose()  # nobody has the file open but who dies: the next one has to recover it
            killed = Worker(run_until, url, operation, shell, name, number)
            found = _recover(store, killed, operation, name, number, said[index : index + 1])
            wrong += [f"{boundaries[number - 1]} ({number}): {each}" for each in found]
    return len(names), wrong


def _recover(
    store: convo.Store, killed: Worker, operation: str, name: str, number: int, heard: list[Acknowledged]
) -> Iterator[str]:
    """Do what a client does after a death, and yield what is wrong."""
    killed.end()
    if not killed.was_killed:
        yield "it was not killed"
    store.client = HistoryClient()
    expire_leases(store)
    found = store.find(name)
    ids = family(store, found.id) if found else []
    yield from (f"at once: {each}" for each in violations(store, ids, acknowledged=heard if found else ()))
    yield from go_on(store, OPERATIONS[operation].recover, name, number, heard)
    if found and operation == "delete":
        yield from _left_behind(store, found.id)


def go_on(store: convo.Store, recover: Recover, name: str, number: int, heard: list[Acknowledged]) -> Iterator[str]:
    """Do what a client does who does not know how far it came, then send; yield what is wrong."""
    try:
        heard = heard + recover(store, name, number)
        talk = store.get_or_create(name)
        heard = [each for each in heard if each.conversation == talk.id]
        reply = talk.send("and on", request_key="on")
    except (convo.ConvoError, AssertionError) as error:
        yield f"the client got {type(error).__name__}: {error}"
        return
    heard.append(Acknowledged(talk.id, "on", "and on", reply.text))
    yield from (f"afterwards: {each}" for each in violations(store, family(store, talk.id), acknowledged=heard))


def family(store: convo.Store, id: str) -> list[str]:
    """Return the ids of a conversation and of its forks."""
    return [each.record.id for each in store.tree(id)]


def _left_behind(store: convo.Store, id: str) -> Iterator[str]:
    with store.engine.connect() as connection:
        for table in [each for each in Base.metadata.sorted_tables if each is not MODELS]:
            of_it = table.c.id == id if "id" in table.c else table.c.conversation_id == id
            if connection.execute(select(func.count()).select_from(table).where(of_it)).scalar():
                yield f"rows of {table.name} outlived their conversation"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults boundaries", description=__doc__.split("\n")[0])
    parser.add_argument("--database", choices=DATABASES, action="append", help="both without it")
    parser.add_argument("--shell", choices=SHELLS, action="append", help="all without it")
    parser.add_argument("--operation", choices=OPERATIONS, action="append", help="all without it")
    parser.add_argument("--count", type=int, default=10_000, help="of kills, at most")
    given = parser.parse_args(arguments)
    killed, failed = 0, False
    for database in given.database or DATABASES:
        with open_database(database) as url:
            for shell, operation in itertools.product(given.shell or SHELLS, given.operation or OPERATIONS):
                if killed == given.count:
                    break
                count, wrong = sweep(url, operation, shell, functools.partial(first_of, given.count - killed))
                _print(f"{database}, {shell}, {operation}: {count} kills, {len(wrong)} wrong", *wrong[:10])
                killed, failed = killed + count, failed or bool(wrong)
    _print(f"{killed} kills")
    return int(failed)


def _print(*lines: str) -> None:
    print(*lines, sep="\n  ", flush=True)  # noqa: T201 - the program's output
