"""Several processes on one store at once: nobody fails, and no answer belongs to another history."""

from __future__ import annotations

import hashlib

import convo
from tests.processes import run_at_once
from tests.test_store import texts

SENDER = """
import hashlib, random, sys, time
import convo
from convo.testing import ScriptedClient

url, id, name, turns = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])

def answer(request):
    return hashlib.sha256("\\0".join(each.content for each in request.messages).encode()).hexdigest()

client = ScriptedClient(answer, model=convo.Model("hash", 10**6))
store = convo.Store(url, client=client)
talk = store.get(id)
# go
for number in range(turns):
    while True:
        try:
            talk.send(f"{name}.{number}", request_key=f"{name}.{number}")
            break
        except convo.TurnInFlight:
            time.sleep(random.uniform(0.001, 0.01))
print(len(client.requests))
store.close()
"""

OPENER = """
import sys
import convo

# go
with convo.Store(sys.argv[1]) as store:
    print(store.get_or_create("a", opening="hi").id)
"""


def send_from_processes(url: str, ids: list[str], turns: int) -> list[tuple[int, str, str]]:
    """Send from one process for each of `ids`, all at once; return how each process ended, and its calls."""
    given = [(url, id, str(number), str(turns)) for number, id in enumerate(ids)]
    return [(code, said.split("\n")[-2], error) for code, said, error in run_at_once(SENDER, given)]


def answers(talk: convo.Conversation) -> tuple[list[str], list[str]]:
    """Return the answers that the stored history would have been given, and those that are stored."""
    said = texts(talk)
    hashes = [hashlib.sha256("\0".join(said[:end]).encode()).hexdigest() for end in range(1, len(said), 2)]
    return hashes, said[1::2]


def test_five_processes_send_to_five_conversations_without_an_error(url: str):
    with convo.Store(url) as store:
        talks = [store.create(name=str(number)) for number in range(5)]
        ended = send_from_processes(url, [each.id for each in talks], turns=50)
        assert [(0, "50", "")] * 5 == ended
        assert [50] * 5 == [len(each.turns()) for each in talks]
        assert {"done"} == {turn.state for each in talks for turn in each.turns()}
        for talk in talks:
            expected, stored = answers(talk)
            assert expected == stored


def test_four_processes_send_to_one_conversation_in_turn(url: str):
    with convo.Store(url) as store:
        talk = store.create()
        ended = send_from_processes(url, [talk.id] * 4, turns=15)
        assert [(0, "15", "")] * 4 == ended
        assert ["0", "1"] * 60 == [each.author for each in talk.messages()]
        assert {f"{name}.{number}" for name in range(4) for number in range(15)} == set(texts(talk)[::2])
        expected, stored = answers(talk)
        assert expected == stored


def test_six_processes_get_or_create_one_conversation(url: str):
    ended = run_at_once(OPENER, [(url,)] * 6)
    assert ([0] * 6, [""] * 6) == ([code for code, _, _ in ended], [error for _, _, error in ended])
    with convo.Store(url) as store:
        assert [each.id for each in store.list()] * 6 == [said.split("\n")[-2] for _, said, _ in ended]
