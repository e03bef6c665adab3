"""The Telegram bot against a fake of Telegram, which delivers again what was not answered with a 2xx."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

import convo
from examples import telegram_bot
from tests.examples.callers import turns
from tests.examples.fakes import FakeTelegram
from tests.examples.running import Program, client_of, command_of, running, serving

SECRET = "S3cret"
BOT = "tests.examples.served:telegram"
CHAT, PERSON = 77, 42


def update(id: int, text: str, **more: Any) -> dict[str, Any]:
    message = {"message_id": id, "chat": {"id": CHAT}, "from": {"id": PERSON}, "text": text}
    return {"update_id": id, "message": message | more}


def deliver(client: httpx.Client, given: dict[str, Any], secret: str = SECRET) -> httpx.Response:
    return client.post("/", json=given, headers={"X-Telegram-Bot-Api-Secret-Token": secret})


@pytest.fixture
def telegram() -> Iterator[FakeTelegram]:
    with FakeTelegram() as fake:
        yield fake


@pytest.fixture
def settings(settings: dict[str, str], telegram: FakeTelegram) -> dict[str, str]:
    return settings | {"TELEGRAM_API": telegram.url, "TELEGRAM_TOKEN": "123:abc", "TELEGRAM_SECRET": SECRET}


@pytest.fixture
def bot(settings: dict[str, str]) -> Iterator[httpx.Client]:
    with serving(BOT, **settings) as (_, client):
        yield client


@pytest.fixture
def stored(database: str) -> Callable[[], list[tuple[str, str, str | None]]]:
    """Return what tells the chat's turns."""
    return lambda: turns(database, f"telegram:{CHAT}", f"telegram:{PERSON}")


def test_the_command_in_its_docstring_answers_with_the_embedded_model(settings, telegram, stored):
    with running(*command_of(telegram_bot), **settings) as program, client_of(program) as client:
        assert 200 == deliver(client, update(1, "My mother is ill.")).status_code
    answer = stored()[0][2]
    assert [(CHAT, answer)] == telegram.told(1)


def test_the_token_stands_in_the_path(bot, telegram):
    deliver(bot, update(1, "hello"))
    assert ["/bot123:abc/sendMessage"] == [each.path for each in telegram.requests]


def test_a_redelivered_update_gets_the_same_answer_without_a_second_call(bot, telegram, model):
    assert [200, 200] == [deliver(bot, update(1, "hello")).status_code for _ in range(2)]
    assert ([(CHAT, "You say: hello")] * 2, ["hello"]) == (telegram.told(2), model.asked())


def test_an_update_that_is_redelivered_while_it_is_answered_waits_for_that_answer(bot, telegram, model, later):
    model.may_answer.clear()
    first = later(deliver, bot, update(1, "hello"))
    model.asked(1)
    second = later(deliver, bot, update(1, "hello"))
    model.may_answer.set()
    assert [200, 200] == [first.result().status_code, second.result().status_code]
    assert ([(CHAT, "You say: hello")] * 2, ["hello"]) == (telegram.told(2), model.asked())


def test_two_quick_messages_are_both_answered_in_order(bot, telegram, model, later, stored):
    model.may_answer.clear()
    first = later(deliver, bot, update(1, "one"))
    model.asked(1)
    second = later(deliver, bot, update(2, "two"))
    model.may_answer.set()
    assert [200, 200] == [first.result().status_code, second.result().status_code]
    assert {(CHAT, "You say: one"), (CHAT, "You say: two")} == set(telegram.told(2))
    assert [("done", "one", "You say: one"), ("done", "two", "You say: two")] == stored()


def test_messages_that_reach_two_processes_are_both_answered_in_order(settings, url, telegram, model, later):
    model.may_answer.clear()
    shared = settings | {"CONVO_DATABASE_URL": url}
    with serving(BOT, **shared) as (_, one), serving(BOT, **shared) as (_, another):
        first = later(deliver, one, update(1, "one"))
        model.asked(1)
        second = later(deliver, another, update(2, "two"))
        model.may_answer.set()
        assert [200, 200] == [first.result().status_code, second.result().status_code]
    assert [(CHAT, "You say: one"), (CHAT, "You say: two")] == telegram.told(2)


def test_processes_that_share_a_store_ask_once_for_each_update(settings, url, telegram, model, later):
    shared = settings | {"CONVO_DATABASE_URL": url}
    updates = [update(id, f"message {id}", chat={"id": id}) for id in range(20)]
    with serving(BOT, **shared) as (_, one), serving(BOT, **shared) as (_, another):
        delivered = [later(deliver, client, each) for each in updates for client in (one, another)]
        assert {200} == {each.result().status_code for each in delivered}
    assert (40, 20) == (len(telegram.told(40)), len(model.asked()))


def test_a_message_whose_answer_a_kill_cut_off_is_answered_when_it_is_redelivered(
    settings, telegram, model, later, stored
):
    model.may_answer.clear()
    with serving(BOT, **settings) as (program, client):
        lost = later(deliver, client, update(1, "hello"))
        model.asked(1)
        program.end(signal.SIGKILL)
        assert isinstance(lost.exception(), httpx.TransportError)
    model.may_answer.set()
    with serving(BOT, **settings) as (_, client):
        assert 200 == deliver(client, update(1, "hello")).status_code
    assert [(CHAT, "You say: hello")] == telegram.told(1)
    assert [("done", "hello", "You say: hello")] == stored()


def test_the_next_message_after_a_kill_has_the_one_before_it_answered_first(settings, telegram, model, later, stored):
    model.may_answer.clear()
    with serving(BOT, **settings) as (program, client):
        later(deliver, client, update(1, "one"))
        model.asked(1)
        program.end(signal.SIGKILL)
    model.may_answer.set()
    with serving(BOT, **settings) as (_, client):
        deliver(client, update(2, "two"))
    assert [("done", "one", "You say: one"), ("done", "two", "You say: two")] == stored()


def test_at_sigterm_the_answer_that_is_under_way_is_finished_and_sent(settings, telegram, model, later):
    model.may_answer.clear()
    with serving(BOT, **settings) as (program, client):
        last = later(deliver, client, update(1, "hello"))
        model.asked(1)
        program.process.terminate()
        program.line("Shutting down")
        model.may_answer.set()
        assert (-signal.SIGTERM, 200) == (program.wait(), last.result().status_code)
        program.line("Application shutdown complete")
    assert [(CHAT, "You say: hello")] == telegram.told(1)


def test_what_outlasts_the_grace_at_sigterm_is_answered_when_it_is_redelivered(settings, telegram, model, later):
    model.may_answer.clear()
    with serving(BOT, "--timeout-graceful-shutdown", "1", **settings) as (program, client):
        lost = later(deliver, client, update(1, "hello"))
        model.asked(1)
        assert -signal.SIGTERM == program.end()
        assert isinstance(lost.exception(), httpx.TransportError) or lost.result().status_code == 500
    model.may_answer.set()
    with serving(BOT, **settings) as (_, client):
        assert 200 == deliver(client, update(1, "hello")).status_code
    assert [(CHAT, "You say: hello")] == telegram.told(1)


@pytest.mark.parametrize("secret", ["", "S3cre", "s3cret", "S3crets"])
def test_a_wrong_secret_is_refused(bot, model, telegram, secret):
    assert (403, [], []) == (deliver(bot, update(1, "hello"), secret).status_code, model.asked(), telegram.told())


def test_without_a_secret_of_its_own_it_refuses_everybody(settings):
    with serving(BOT, **settings | {"TELEGRAM_SECRET": ""}) as (_, client):
        assert 403 == deliver(client, update(1, "hello"), "").status_code


def test_a_huge_body_is_refused(bot):
    assert 413 == deliver(bot, update(1, "x" * telegram_bot.MAX_BODY_BYTES)).status_code


def test_what_is_no_json_is_refused(bot):
    headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
    assert 400 == bot.post("/", content=b'{"update_id": 1', headers=headers).status_code


@pytest.mark.parametrize(
    "given",
    [
        {"update_id": 1},
        {"update_id": 1, "edited_message": {"chat": {"id": CHAT}, "text": "hello"}},
        {"update_id": 1, "message": {"chat": {"id": CHAT}, "from": {"id": PERSON}, "photo": []}},
        {"update_id": 1, "message": {"chat": {"id": CHAT}, "text": "from nobody"}},
    ],
)
def test_an_update_that_asks_nothing_is_done_with(bot, model, telegram, given):
    assert (200, [], []) == (deliver(bot, given).status_code, model.asked(), telegram.told())


def test_a_model_that_fails_for_now_is_asked_again_when_the_update_is_redelivered(bot, telegram, model):
    model.errors = ["BadModelResponse"]
    failed = deliver(bot, update(1, "hello"))
    assert (503, "5") == (failed.status_code, failed.headers["retry-after"])
    assert 200 == deliver(bot, update(1, "hello")).status_code
    assert [(CHAT, "You say: hello")] == telegram.told(1)


def test_a_message_without_an_answer_is_dropped_and_told(bot, telegram, model, stored):
    model.errors = ["ReplyBlocked"]
    assert [200, 200] == [deliver(bot, update(1, "one")).status_code, deliver(bot, update(2, "two")).status_code]
    assert [(CHAT, telegram_bot.NO_ANSWER), (CHAT, "You say: two")] == telegram.told(2)
    assert [("done", "two", "You say: two")] == stored()


def test_an_older_message_that_has_no_answer_does_not_stand_in_the_way(settings, telegram, model, later, stored):
    model.may_answer.clear()
    with serving(BOT, **settings) as (program, client):
        later(deliver, client, update(1, "one"))
        model.asked(1)
        program.end(signal.SIGKILL)
    model.may_answer.set()
    model.errors = ["ReplyBlocked"]
    with serving(BOT, **settings) as (_, client):
        assert [503, 200] == [deliver(client, update(2, "two")).status_code for _ in range(2)]
    assert [("done", "two", "You say: two")] == stored()


def test_a_message_that_is_too_long_for_the_model_is_told_so(bot, telegram, model):
    assert 200 == deliver(bot, update(1, "ü" * 20_000)).status_code
    assert ([(CHAT, telegram_bot.UNREADABLE)], []) == (telegram.told(1), model.asked())


def test_an_update_id_with_another_text_asks_for_the_message_again(bot, telegram):
    deliver(bot, update(1, "hello"))
    assert 200 == deliver(bot, update(1, "something else")).status_code
    assert (CHAT, telegram_bot.SEND_AGAIN) == telegram.told(2)[1]


def test_an_answer_that_could_not_be_sent_is_sent_when_the_update_is_redelivered(bot, telegram, model):
    telegram.statuses = [502]
    assert [503, 200] == [deliver(bot, update(1, "hello")).status_code for _ in range(2)]
    assert ([(CHAT, "You say: hello")] * 2, ["hello"]) == (telegram.told(2), model.asked())


def test_a_person_who_has_blocked_the_bot_is_done_with(bot, telegram):
    telegram.statuses = [403]
    assert 200 == deliver(bot, update(1, "hello")).status_code


def test_a_long_answer_is_sent_in_pieces(bot, telegram):
    deliver(bot, update(1, "x" * 5000))
    assert [4096, 913] == [len(text) for _, text in telegram.told(2)]


def test_two_people_of_one_group_have_conversations_of_their_own(bot, database):
    for id, person in ((1, 42), (2, 43)):
        deliver(bot, update(id, "hello", **{"from": {"id": person}}))
    with convo.Store(database) as store:
        assert [1, 1] == [len(store.list(owner=f"telegram:{person}")) for person in (42, 43)]


def test_a_store_that_cannot_be_opened_ends_the_server_at_its_start(settings):
    broken = settings | {"CONVO_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    program = Program(command_of(telegram_bot), broken)
    assert 3 == program.wait()
