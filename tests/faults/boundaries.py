"""A process that dies at the n-th boundary of an operation, for every n; and what its client does then.

Each operation has what it needs beforehand, what is killed, and what a client does afterwards who cannot know how far
it came. Afterwards everything stands once, and the conversation goes on.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import func, select

import convo
from convo.store.tables import Base
from convo.testing import Acknowledged, FaultPoints, HistoryClient, kill_at, violations
from tests.faults.database import expire_leases
from tests.faults.worker import Tell, Worker

DEADLINE_S = 0.3
LEFT = "left open"
"""The text of a turn that has no answer when the operation begins."""
SETTINGS = {"context": "c", "examples": [("i", "o")], "opening": "hello", "messages": ["a", "b", "c", "d"]}

Recover = Callable[[convo.Store, str, int], list[Acknowledged]]
"""What a client does after a death: with a new store, the conversation's name, and the boundary's number."""


@dataclass(frozen=True)
class Operation:
    """What is killed; `needs` is what became of the turn before: done, failed, or its sender killed; or no talk."""

    run: Callable[[convo.Store, str], object]
    recover: Recover
    needs: str = "done"


# ---- what is killed


def send(store: convo.Store, name: str, **settings: object) -> convo.Reply:
    return store.get(name).send("text", deadline_s=DEADLINE_S, **settings)


def send_with_key(store: convo.Store, name: str, **settings: object) -> convo.Reply:
    return send(store, name, request_key="key", **settings)


# ---- what a client does then


def repeat_send(store: convo.Store, name: str, number: int) -> list[Acknowledged]:
    """Send again with the same key; the model is called again only when the answer was not stored."""
    was_done = [each.state for each in store.get(name).turns() if each.request_key == "key"] == ["done"]
    unfinished = ("resume", "discard")[number % 2]
    reply = send_with_key(store, name, on_unfinished=unfinished)
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
    "resume of a failed turn": Operation(lambda store, name: store.get(name).resume(), settle, "failed"),
    "resume of a dead turn": Operation(lambda store, name: store.get(name).resume(), settle, "killed"),
    "discard": Operation(lambda store, name: store.get(name).discard(), settle_discarded, "killed"),
    "choose": Operation(lambda store, name: store.get(name).choose(1), choose_again),
    "update": Operation(lambda store, name: store.get(name).update(title="t", temperature=0.5), update_again),
    "delete": Operation(lambda store, name: store.delete(name), delete_again),
}


# ---- before


def prepare(url: str, needs: str, names: Sequence[str]) -> list[Acknowledged]:
    """Make the conversations; return what their senders were told."""
    if needs == "nothing":
        return []
    with convo.Store(url, client=HistoryClient()) as store:
        talks = [store.create(name=name, **SETTINGS) for name in names]
        said = [(talk.id, "first", talk.send("first", request_key="first", candidate_count=2)) for talk in talks]
        if needs == "failed":
            store.client = HistoryClient(before_answer=_refuse)
            for talk in talks:
                _fail(talk)
    if needs == "killed":
        killed = Worker(die_in_calls, url, names)
        killed.end()
        assert killed.was_killed
        with convo.Store(url) as store:
            expire_leases(store)
    return [Acknowledged(id, "first", text, reply.text) for id, text, reply in said]


def _refuse(request: convo.ChatRequest) -> None:
    raise convo.ModelError


def _fail(talk: convo.Conversation) -> None:
    try:
        talk.send(LEFT)
    except convo.ModelError:
        return


def die_in_calls(tell: Tell, url: str, names: Sequence[str]) -> None:
    """Send to all the conversations, and die when all of them wait for the model."""
    everybody = threading.Barrier(len(names), lambda: os.kill(os.getpid(), signal.SIGKILL))
    client = HistoryClient(before_answer=lambda _: everybody.wait())
    with convo.Store(url, client=client) as store, ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: store.get(name).send(LEFT), names))


# ---- the sweep


def run_until(tell: Tell, url: str, operation: str, name: str, number: int) -> None:
    """Run an operation that dies at boundary `number`; tell its boundaries when it does not."""
    with convo.Store(url) as store:
        points = FaultPoints(store.engine, at=kill_at(number))
        store.client = points.client(HistoryClient())
        with points:
            OPERATIONS[operation].run(store, name)
    tell(points.names)


def sweep(url: str, operation: str) -> tuple[int, list[str]]:
    """Kill an operation at each of its boundaries; return how many there are, and what was wrong, where."""
    prepare(url, OPERATIONS[operation].needs, ["whole"])
    [boundaries] = Worker(run_until, url, operation, "whole", 0).end()
    names = [f"killed {number}" for number in range(1, len(boundaries) + 1)]
    said = prepare(url, OPERATIONS[operation].needs, names)
    wrong = []
    with convo.Store(url) as store:
        for number, (boundary, name) in enumerate(zip(boundaries, names, strict=True), start=1):
            heard = said[number - 1 : number]
            wrong += [f"{boundary} ({number}): {each}" for each in _die(store, operation, name, number, heard)]
    return len(boundaries), wrong


def _die(store: convo.Store, operation: str, name: str, number: int, heard: list[Acknowledged]) -> Iterator[str]:
    """Kill one process at one boundary, do what a client does then, and yield what is wrong."""
    store.engine.dispose()  # nobody has the file open but who dies: the next one has to recover it
    url = store.engine.url.render_as_string(hide_password=False)
    killed = Worker(run_until, url, operation, name, number)
    killed.end()
    if not killed.was_killed:
        yield "it was not killed"
    store.client = HistoryClient()
    expire_leases(store)
    found = store.find(name)
    ids = [found.id] if found else []
    yield from (f"at once: {each}" for each in violations(store, ids, acknowledged=heard if found else ()))
    yield from go_on(store, operation, name, number, heard)
    if found and operation == "delete":
        yield from _left_behind(store, found.id)


def go_on(store: convo.Store, operation: str, name: str, number: int, heard: list[Acknowledged]) -> Iterator[str]:
    try:
        heard = heard + OPERATIONS[operation].recover(store, name, number)
        talk = store.get_or_create(name)
        heard = [each for each in heard if each.conversation == talk.id]
        reply = talk.send("and on", request_key="on")
    except (convo.ConvoError, AssertionError) as error:
        yield f"the client got {type(error).__name__}: {error}"
        return
    heard.append(Acknowledged(talk.id, "on", "and on", reply.text))
    yield from (f"afterwards: {each}" for each in violations(store, [talk.id], acknowledged=heard))


def _left_behind(store: convo.Store, id: str) -> Iterator[str]:
    with store.engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            of_it = table.c.id == id if "id" in table.c else table.c.conversation_id == id
            if connection.execute(select(func.count()).select_from(table).where(of_it)).scalar():
                yield f"rows of {table.name} outlived their conversation"
