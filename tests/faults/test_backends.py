"""Backends that are terminated and servers that are killed, under clients that send: nothing that was heard is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import convo
from convo.testing import HistoryClient
from tests.conftest import upgrade
from tests.faults.backends import torment
from tests.faults.server import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as made:
        upgrade(made.url)
        yield made


def test_terminated_backends_and_killed_servers_lose_and_double_nothing(server: Server):
    report = torment(server, terminate=20, kills=2, crashes=2, seed=1)
    assert [] == report.broken
    assert 0 < len(report.heard)


def test_a_server_that_was_killed_has_what_was_acknowledged(server: Server):
    with convo.Store(server.url) as store:
        talk = store.create(model="offline/echo")
        talk.send("hello")
        server.restart()
        assert ["hello", "hello"] == [each.content for each in talk.messages()]


def test_a_store_goes_on_with_a_server_that_was_killed_and_came_back(server: Server):
    with convo.Store(server.url) as store:
        talk = store.create(model="offline/echo")
        server.restart()
        assert "hello" == talk.send("hello").text


def test_a_model_that_answers_after_the_server_was_killed_is_heard(server: Server):
    client = HistoryClient(before_answer=lambda request: server.restart())  # noqa: ARG005 - the signature of the hook
    with convo.Store(server.url, client=client) as store:
        talk = store.create()
        reply = talk.send("hello")
        assert [("done", reply.text)] == [(each.state, each.reply.content) for each in talk.turns()]


def test_a_server_that_is_killed_in_a_transaction_forgets_it_and_it_is_run_again(server: Server):
    with convo.Store(server.url) as store:
        talk, runs = store.create(), []

        def work(repository: convo.ConversationRepository) -> None:
            repository.update(repository.lock(talk.id), title="theirs")
            runs.append("run")
            if len(runs) == 1:
                server.restart()

        store.database.write(work)
        assert (["run"] * 2, ["create", "update"]) == (runs, [each.kind for each in talk.events()])
