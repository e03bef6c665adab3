"""The Discord bot against fakes of the gateway and of the channels."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from examples import discord_bot
from tests.examples.callers import turns
from tests.examples.fakes import FakeDiscord, FakeGateway
from tests.examples.forks import Fork
from tests.examples.running import Program, command_of, running

BOT = ("-m", "tests.examples.served")


@pytest.fixture
def faster() -> float:
    """Return how many times as fast as on Discord it all goes; what is about the pace goes at Discord's own."""
    return 10


@pytest.fixture
def discord(faster: float) -> Iterator[FakeDiscord]:
    with FakeDiscord(faster) as fake:
        yield fake


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with FakeGateway() as fake:
        yield fake


@pytest.fixture
def settings(settings: dict[str, str], discord: FakeDiscord, gateway: FakeGateway, faster: float) -> dict[str, str]:
    addresses = {"DISCORD_API": discord.url, "DISCORD_GATEWAY": gateway.address}
    return settings | addresses | {"DISCORD_TOKEN": "abc", "FASTER": str(faster)}


@pytest.fixture
def bot(settings: dict[str, str]) -> Iterator[Program]:
    with talking(settings) as program:
        yield program


@contextmanager
def talking(settings: dict[str, str]) -> Iterator[Program]:
    with running(*BOT, start=Fork, **settings) as program:
        yield program
    assert not any("Traceback" in line for line in program.log), program.log


@pytest.fixture
def stored(database: str) -> Callable[[], list[tuple[str, str, str | None]]]:
    """Return what tells the channel's turns."""
    return lambda: turns(database, "discord:7", "discord")


def test_the_command_in_its_docstring_answers_with_the_embedded_model(settings, gateway, discord, stored):
    with running(*command_of(discord_bot), **settings) as program:
        gateway.say(1, "My mother is ill.")
        discord.wait_for(1)
        assert 0 == program.end()
    assert [stored()[0][2]] == list(discord.messages.values())


def test_the_token_stands_in_a_header(bot, gateway, discord):
    gateway.say(1, "hello")
    assert "Bot abc" == discord.wait_for(1)[0].headers["Authorization"]


def test_an_answer_is_shown_from_its_first_word_and_grows(bot, gateway, discord, model):
    model.may_answer.clear()
    gateway.say(1, "hello")
    assert discord.reads("You")
    model.may_answer.set()
    assert discord.reads("You say: hello")


@pytest.mark.parametrize("faster", [1])
def test_an_answer_of_many_words_is_edited_no_faster_than_discord_allows(bot, gateway, discord, model):
    model.pause_s = 0.1
    words = " ".join(["word"] * 40)
    gateway.say(1, words)
    assert discord.reads(f"You say: {words}")
    (versions,) = discord.versions.values()
    assert (0, True) == (discord.refused, len(versions) > 2)


def test_a_bot_that_is_told_to_be_slower_says_it_later(bot, gateway, discord):
    discord.statuses = [429, 429]
    gateway.say(1, "hello")
    assert discord.reads("You say: hello")


def test_a_redelivered_event_is_the_same_message_without_a_second_call(settings, bot, gateway, discord, model):
    gateway.say(1, "hello")
    assert discord.reads("You say: hello")
    gateway.say(1, "hello")
    gateway.say(2, "and")
    assert discord.reads("You say: hello", "You say: and")
    assert ["hello", "and"] == model.asked()


def test_two_quick_messages_are_both_answered_in_order(bot, gateway, discord, model, stored):
    model.may_answer.clear()
    gateway.say(1, "one")
    gateway.say(2, "two")
    model.asked(1)
    model.may_answer.set()
    assert discord.reads("You say: one", "You say: two")
    assert [("done", "one", "You say: one"), ("done", "two", "You say: two")] == stored()


@pytest.mark.parametrize("faster", [1])
def test_many_messages_at_once_are_answered_in_their_order_and_at_their_pace(bot, gateway, discord, model, stored):
    texts = [f"message {number}" for number in range(7)]
    for id, text in enumerate(texts):
        gateway.say(id, text)
    assert discord.reads(*[f"You say: {text}" for text in texts])
    assert (texts, texts) == (model.asked(), [question for _, question, _ in stored()])
    assert 0 == discord.refused


def test_channels_do_not_wait_for_each_other(bot, gateway, discord, model):
    model.may_answer.clear()
    gateway.say(1, "one", channel="7")
    gateway.say(2, "two", channel="8")
    assert {"one", "two"} == set(model.asked(2))
    model.may_answer.set()


def test_its_own_messages_and_those_of_other_bots_are_ignored(bot, gateway, discord, model):
    gateway.say(1, "I am a bot", is_bot=True)
    gateway.say(2, "")
    gateway.send("READY", {"v": 10})
    gateway.say(3, "hello")
    assert discord.reads("You say: hello")
    assert ["hello"] == model.asked()


def test_a_message_whose_answer_a_kill_cut_off_is_answered_in_the_same_message(
    settings, gateway, discord, model, stored
):
    model.may_answer.clear()
    with talking(settings) as program:
        gateway.say(1, "hello")
        assert discord.reads("You")
        program.end(signal.SIGKILL)
    gateway.hang_up()
    model.may_answer.set()
    with talking(settings):
        gateway.say(1, "hello")
        assert discord.reads("You say: hello")
    assert [("done", "hello", "You say: hello")] == stored()


def test_at_sigterm_the_answer_that_is_under_way_comes_to_its_end(settings, gateway, discord, model):
    model.may_answer.clear()
    with talking(settings) as program:
        gateway.say(1, "hello")
        assert discord.reads("You")
        program.process.terminate()
        model.may_answer.set()
        assert 0 == program.wait()
    assert discord.reads("You say: hello")


def test_what_outlasts_the_grace_at_sigterm_is_left_to_be_answered_when_it_comes_again(
    settings, gateway, discord, model, stored
):
    model.may_answer.clear()
    with talking(settings | {"GRACE_S": "0.1"}) as program:
        gateway.say(1, "hello")
        assert discord.reads("You")
        assert 0 == program.end()
    assert [("failed", "hello", None)] == stored()
    gateway.hang_up()
    model.may_answer.set()
    with talking(settings):
        gateway.say(1, "hello")
        assert discord.reads("You say: hello")


def test_it_ends_when_the_gateway_hangs_up(bot, gateway, discord):
    gateway.say(1, "hello")
    gateway.hang_up()
    assert (0, True) == (bot.wait(), discord.reads("You say: hello"))


def test_a_model_that_fails_for_now_is_asked_again(bot, gateway, discord, model):
    model.errors = ["BadModelResponse"]
    gateway.say(1, "hello")
    assert discord.reads("You say: hello")


def test_a_message_without_an_answer_is_dropped_and_told(bot, gateway, discord, model, stored):
    model.errors = ["ReplyBlocked"]
    gateway.say(1, "one")
    assert discord.reads(discord_bot.SEND_AGAIN)
    gateway.say(2, "two")
    assert discord.reads(discord_bot.SEND_AGAIN, "You say: two")
    assert [("done", "two", "You say: two")] == stored()


def test_an_older_message_that_has_no_answer_does_not_stand_in_the_way(settings, gateway, discord, model, stored):
    model.may_answer.clear()
    with talking(settings) as program:
        gateway.say(1, "one")
        assert discord.reads("You")
        program.end(signal.SIGKILL)
    gateway.hang_up()
    model.may_answer.set()
    model.errors = ["ReplyBlocked"]
    with talking(settings):
        gateway.say(2, "two")
        assert discord.reads("You", "You say: two")
    assert [("done", "two", "You say: two")] == stored()


def test_a_message_that_is_too_long_for_the_model_is_told_so(bot, gateway, discord, model):
    gateway.say(1, "ü" * 20_000)
    assert (True, []) == (discord.reads(discord_bot.UNREADABLE), model.asked())


def test_a_long_answer_takes_several_messages(bot, gateway, discord):
    gateway.say(1, "x" * 3000)
    whole = f"You say: {'x' * 3000}"
    assert discord.reads(whole[:2000], whole[2000:])


def test_an_answer_that_cannot_be_shown_for_now_is_shown_later(bot, gateway, discord, model):
    discord.statuses = [500] * 2
    gateway.say(1, "hello")
    assert discord.reads("You say: hello")
    assert ["hello"] == model.asked()
