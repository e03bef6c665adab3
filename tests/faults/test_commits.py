"""Cut COMMITs: the store settles by itself whether a transaction happened, and nobody sees a difference."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import convo
from convo.errors import CommitUnknown
from convo.testing import violations
from tests.conftest import new_database
from tests.faults.commits import CUTS, OPERATIONS, Bench, cut, send_from_threads, storm
from tests.faults.proxy import Fate, Nth, let_pass

COMMITS = [(name, number) for name, each in OPERATIONS.items() for number in range(1, each.commits + 1)]

SWEPT = [
    "create with a name",
    "send with a key",
    "send and discard",
    "stream in vain",
    "resume",
    "delete",
    "fork",
    "edit",
]


@pytest.fixture(scope="module")
def bench(postgres_server: str, postgres_template: str) -> Iterator[Bench]:
    with new_database(postgres_server, template=postgres_template) as url:
        made = Bench(url)
        yield made
        made.close()


@pytest.mark.parametrize("fate", CUTS, ids=lambda fate: fate.name.lower())
@pytest.mark.parametrize(("name", "number"), COMMITS, ids=lambda value: str(value).replace(" ", "-"))
def test_a_cut_commit_changes_nothing_that_anyone_can_see(bench: Bench, name: str, number: int, fate: Fate):
    rule = Nth(number, fate)
    assert bench.expected(name) == bench.outcome(name, rule)
    assert rule.has_struck


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_commits_as_often_as_it_is_said_to(bench: Bench, name: str):
    whole = Nth(10**6, Fate.PASS)
    bench.outcome(name, whole)
    assert OPERATIONS[name].commits == whole.seen


@pytest.mark.parametrize("name", OPERATIONS)
def test_cutting_three_commits_in_a_row_changes_nothing(bench: Bench, name: str):
    assert bench.expected(name) == bench.outcome(name, Nth(1, Fate.CUT_AFTER, times=3))


@pytest.mark.parametrize("fate", [Fate.CUT_AFTER, Fate.CUT_BEFORE], ids=lambda fate: fate.name.lower())
@pytest.mark.parametrize("name", SWEPT)
def test_a_cut_at_any_statement_changes_nothing(bench: Bench, name: str, fate: Fate, every: int):
    every *= 3 if name == "edit" else 1
    whole = Nth(10**6, fate, match=bool)
    expected, numbers = bench.outcome(name, whole), range(1, whole.seen + 1, every)
    outcomes = {number: bench.outcome(name, Nth(number, fate, match=bool)) for number in numbers}
    assert dict.fromkeys(outcomes, expected) == outcomes


def test_commits_cut_at_random_change_nothing(postgres_store_url: str):
    assert 0 == cut(postgres_store_url, count=30, seed=1)[1]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the store wait but a moment for a server that is not there."""
    monkeypatch.setattr("convo.store.database.PATIENCE_S", 0.5)
    monkeypatch.setattr("convo.exchange.FAILING_S", 0.1)


def test_four_threads_in_a_storm_of_cuts_are_each_answered_once(bench: Bench):
    ids, before = [bench.store.create().id for _ in range(3)], bench.client.calls
    bench.proxy.rule = storm(seed=1)
    told = send_from_threads(bench.store, ids, turns=15)
    bench.proxy.rule = let_pass
    assert (60, 60, []) == (len(told), bench.client.calls - before, violations(bench.truth, ids, acknowledged=told))


class Gone(Nth):
    """A rule: as Nth, and from then on the server refuses to be connected to."""

    def __init__(self, bench: Bench, number: int, fate: Fate) -> None:
        super().__init__(number, fate)
        self._proxy = bench.proxy

    def __call__(self, statement: str) -> Fate:
        fate = super().__call__(statement)
        if fate is not Fate.PASS:
            self._proxy.refuse()
        return fate


def out_of_reach(bench: Bench, number: int, talk: convo.Conversation) -> CommitUnknown:
    """Send while the n-th COMMIT's answer is lost, and the server with it; return the error."""
    bench.proxy.rule = Gone(bench, number, Fate.CUT_AFTER)
    with pytest.raises(CommitUnknown) as caught:
        talk.send("hello", request_key="k", deadline_s=60)
    bench.proxy.rule = let_pass
    bench.proxy.admit()
    return caught.value


@pytest.mark.parametrize("name", ["create", "fork"])
def test_a_commit_that_comes_late_after_an_outage_changes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setattr("tests.faults.proxy.LATE_S", 2.5)  # the second INSERT waits for the first one's transaction
    expected, back = bench.expected(name), threading.Timer(0.7, bench.proxy.admit)
    back.start()
    assert expected == bench.outcome(name, Gone(bench, 1, Fate.LATE))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("number", "turn"), [(1, None), (2, 1)], ids=["begin", "finish"])
def test_a_commit_of_which_nobody_can_be_asked_is_unknown(bench: Bench, number: int, turn: int | None):
    """The number of a turn that was to begin is not known."""
    talk = bench.store.create()
    error = out_of_reach(bench, number, talk)
    told = (error.conversation, error.turn, error.request_key, error.retryable)
    assert (talk.id, turn, "k", True) == told


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("number", [1, 2], ids=["begin", "finish"])
def test_the_same_key_settles_what_was_unknown(bench: Bench, number: int):
    talk = bench.store.create()
    out_of_reach(bench, number, talk)
    reply = talk.send("hello", request_key="k", deadline_s=60)
    assert [("done", reply.text)] == [(each.state, each.reply.content) for each in bench.truth.get(talk.id).turns()]


@pytest.mark.usefixtures("impatient")
def test_an_unknown_answer_is_not_asked_for_again(bench: Bench):
    talk, before = bench.store.create(), bench.client.calls
    out_of_reach(bench, 2, talk)
    talk.send("hello", request_key="k", deadline_s=60)
    assert 1 == bench.client.calls - before
