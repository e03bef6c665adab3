"""A Discord bot that shows an answer while it comes: it posts the beginning, and edits its message as there is more.

    export DISCORD_API=https://discord.com/api/v10 DISCORD_TOKEN=… DISCORD_GATEWAY=localhost:8082
    python examples/discord_bot.py

A real bot gets its events from its library, which speaks the gateway's protocol. Here they come over TCP, one payload
of the gateway a line: {"t": "MESSAGE_CREATE", "d": {…}}. Either may bring an event again after a lost connection.
"""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import anyio
import httpx
from anyio.streams.buffered import BufferedByteReceiveStream

import convo

API = os.environ.get("DISCORD_API", "http://localhost:8083")
TOKEN = os.environ.get("DISCORD_TOKEN", "none")
GATEWAY = os.environ.get("DISCORD_GATEWAY", "localhost:8082")

EVERY_S = 1.1  # Discord takes five messages and edits of a channel within five seconds; a little more for the way there
PAUSES_S = (1, 5, 0)  # after each attempt that failed: nobody brings an event again because of an error here
GRACE_S = 20  # what the answers that are under way may still take when the bot is told to stop
MAX_MESSAGE = 2000  # characters: https://discord.com/developers/docs/resources/message#create-message
MAX_LINE_BYTES = 1024 * 1024

UNREADABLE = "I cannot read that message. Is it very long?"
SEND_AGAIN = "I have no answer to that. You may send it again."

log = logging.getLogger(__name__)


class Screen:
    """What the bot writes below a question: a text that grows."""

    def __init__(self, api: httpx.AsyncClient, question: dict[str, Any], free_at: dict[str, float]) -> None:
        """Write when the question's channel is free again; `free_at` tells it, for all screens."""
        self.api = api
        self.channel, self.nonce = question["channel_id"], question["id"]
        self.free_at = free_at
        self.posted: list[dict[str, Any]] = []
        """The messages that show the text: one, unless it is long."""

    async def show(self, text: str) -> None:
        """Show a text that may still grow, or leave it for later."""
        if anyio.current_time() >= self.free_at.get(self.channel, 0):
            await self.write(0, text[:MAX_MESSAGE])

    async def end(self, text: str) -> None:
        """Show the whole text."""
        for place, start in enumerate(range(0, len(text), MAX_MESSAGE)):
            await self.write(place, text[start : start + MAX_MESSAGE])

    async def write(self, place: int, content: str) -> None:
        """Post a message, or edit the one that was posted, when the channel is free."""
        path, fields = f"channels/{self.channel}/messages", {"content": content}
        if place == len(self.posted):  # a nonce is posted once, however often it is sent within some minutes
            nonce = {"nonce": f"{self.nonce}-{place}", "enforce_nonce": True}
            self.posted.append(await self.call("POST", path, fields | nonce))
        if self.posted[place]["content"] != content:  # as it is when another process has posted it
            self.posted[place] = await self.call("PATCH", f"{path}/{self.posted[place]['id']}", fields)

    async def call(self, method: str, path: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Call Discord when the channel is free; later, if it says so."""
        at = max(anyio.current_time(), self.free_at.get(self.channel, 0))
        self.free_at[self.channel] = at + EVERY_S
        await anyio.sleep_until(at)
        answered = await self.api.request(method, path, json=fields)
        while answered.status_code == 429:
            await anyio.sleep(float(answered.headers.get("Retry-After", EVERY_S)))
            answered = await self.api.request(method, path, json=fields)
        message: dict[str, Any] = answered.raise_for_status().json()
        return message


class Bot:
    """Answers what people say, in each channel in its order."""

    def __init__(self, store: convo.AsyncStore, api: httpx.AsyncClient) -> None:
        self.store = store
        self.api = api
        self.free_at: dict[str, float] = {}
        self.door = anyio.Lock()

    async def hear(self, events: AsyncIterator[dict[str, Any]], answers: anyio.abc.TaskGroup) -> None:
        """Answer each message in a task of its own, until the events end."""
        async for event in events:
            if event["t"] == "MESSAGE_CREATE" and not event["d"]["author"].get("bot") and event["d"]["content"]:
                answers.start_soon(self.answer, event["d"])

    async def answer(self, question: dict[str, Any]) -> None:
        """Answer a message; when that fails for good, say so and drop it."""
        screen = Screen(self.api, question, self.free_at)
        for pause_s in PAUSES_S:
            try:
                await screen.end(await self.reply(question, screen))
            except (convo.ConvoError, httpx.HTTPError) as error:
                log.warning("message %s: %s", question["id"], error)
                if isinstance(error, convo.ModelError) and not error.retryable and await self.drop(question):
                    break
                await anyio.sleep(pause_s)
            else:
                return
        await self.drop(question)
        with suppress(httpx.HTTPError):
            await screen.end(SEND_AGAIN)

    async def reply(self, question: dict[str, Any], screen: Screen) -> str:
        """Ask the model, and show what it says while it does; return the whole, which is stored by then."""
        talk = await self.talk(question)
        text, key = "", f"message-{question['id']}"
        try:
            stream = talk.stream(question["content"], request_key=key, on_conflict="wait", on_unfinished="resume")
            async with aclosing(stream) as pieces:
                async for piece in pieces:
                    text += piece.text
                    with suppress(httpx.HTTPError):  # the answer is worth more than a look at half of it
                        await screen.show(text)
        except convo.InvalidInput:
            return UNREADABLE
        return text

    async def drop(self, question: dict[str, Any]) -> bool:
        """Drop the message that is without an answer; tell whether it was this one, or an older one in its way."""
        with suppress(convo.ConvoError):
            return bool(await (await self.talk(question)).discard() == question["content"])
        return False

    async def talk(self, question: dict[str, Any]) -> convo.AsyncConversation:
        """Return the channel's conversation; through a door, so that messages are asked in the order they came."""
        async with self.door:
            return await self.store.get_or_create(f"discord:{question['channel_id']}", owner="discord")


async def gateway() -> AsyncGenerator[dict[str, Any], None]:
    """Yield the gateway's events, until it hangs up."""
    host, _, port = GATEWAY.rpartition(":")
    async with await anyio.connect_tcp(host, int(port)) as connection:
        lines = BufferedByteReceiveStream(connection)
        with suppress(anyio.IncompleteRead):
            while True:
                yield json.loads(await lines.receive_until(b"\n", MAX_LINE_BYTES))


async def main(store: convo.AsyncStore) -> None:
    """Listen until the gateway hangs up or a signal comes; then let the answers under way come to their end."""

    async def stop() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            await anext(signals)
            listening.cancel_scope.cancel()

    api = httpx.AsyncClient(base_url=API, headers={"Authorization": f"Bot {TOKEN}"})
    async with store, api, anyio.create_task_group() as answers:
        async with anyio.create_task_group() as listening, aclosing(gateway()) as events:
            listening.start_soon(stop)
            await Bot(store, api).hear(events, answers)
            listening.cancel_scope.cancel()
        answers.cancel_scope.deadline = anyio.current_time() + GRACE_S


if __name__ == "__main__":
    anyio.run(main, convo.AsyncStore())
