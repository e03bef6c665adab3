"""A Telegram bot: every message is answered once in the store, however often Telegram delivers it.

    export TELEGRAM_API=https://api.telegram.org TELEGRAM_TOKEN=… TELEGRAM_SECRET=…
    uvicorn --lifespan on examples.telegram_bot:app

Telegram posts an update to the webhook until it gets a 2xx (https://core.telegram.org/bots/api#setwebhook). So what the
bot tells Telegram is a status: 200 is "done with it", 503 is "deliver it again". People are told by sendMessage.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

import convo

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

API = os.environ.get("TELEGRAM_API", "http://localhost:8081")
TOKEN = os.environ.get("TELEGRAM_TOKEN", "0:none")
SECRET = os.environ.get("TELEGRAM_SECRET", "")  # as setWebhook was given it; without one, everybody is refused

WAIT_S, DEADLINE_S, SAY_S = 10, 20, 5
"""With a second deadline, for a message that was left open, less than the minute after which Telegram hangs up."""

MAX_BODY_BYTES = 1024 * 1024
MAX_MESSAGE = 4096
"""In characters: https://core.telegram.org/bots/api#sendmessage."""

UNREADABLE = "I cannot read that message. Is it very long?"
SEND_AGAIN = "Something went wrong here. Please send that again."
NO_ANSWER = "I have no answer to that."

log = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # its lines show URLs, and the token is in them


class Bot:
    """An ASGI application that takes Telegram's updates."""

    def __init__(self, store: convo.AsyncStore, api: httpx.AsyncClient, secret: str) -> None:
        self.store = store
        self.api = api
        self.secret = secret

    async def answer(self, update_id: int, chat_id: int, person_id: int, text: str) -> str:
        """Return what the person is to be told; an error says that a later delivery may have more luck."""
        talk = await self.store.get_or_create(f"telegram:{chat_id}", owner=f"telegram:{person_id}")
        try:
            reply = await talk.send(
                text,
                request_key=f"update-{update_id}",
                on_conflict="wait",
                wait_s=WAIT_S,
                on_unfinished="resume",
                deadline_s=DEADLINE_S,
            )
        except convo.InvalidInput:
            return UNREADABLE
        except convo.IdempotencyConflict:
            return SEND_AGAIN
        except convo.ModelError as error:
            if error.retryable or await talk.discard() != text:  # an older message stood in the way: it is gone now
                raise
            return NO_ANSWER
        return reply.text

    async def handle(self, update: dict[str, Any]) -> int:
        """Answer an update; return the status that tells Telegram whether to deliver it again."""
        message = update.get("message", {})
        if "text" not in message or "from" not in message:  # a picture, an edited message, a channel's post
            return 200
        chat_id = message["chat"]["id"]
        try:
            text = await self.answer(update["update_id"], chat_id, message["from"]["id"], message["text"])
            await self.say(chat_id, text)
        except (convo.ConvoError, httpx.HTTPError) as error:
            log.warning("update %s is to come again: %s", update["update_id"], type(error).__name__)
            return 503
        return 200

    async def say(self, chat_id: int, text: str) -> None:
        """Send a text, a long one in pieces."""
        for start in range(0, len(text), MAX_MESSAGE):
            piece = text[start : start + MAX_MESSAGE]
            sent = await self.api.post("sendMessage", json={"chat_id": chat_id, "text": piece})
            if sent.status_code not in (400, 403):  # the chat is gone, or the person has blocked the bot
                sent.raise_for_status()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request, or the server's own start and end (https://asgi.readthedocs.io)."""
        if scope["type"] == "lifespan":
            await receive()
            async with self.store, self.api:
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        status = await self.take(dict(scope["headers"]), receive)
        headers = [(b"retry-after", b"5")] if status == 503 else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body"})

    async def take(self, headers: dict[bytes, bytes], receive: Receive) -> int:
        """Read a request, if Telegram sent it, and handle the update in it; return the response's status."""
        told = headers.get(b"x-telegram-bot-api-secret-token", b"")
        if not self.secret or not hmac.compare_digest(told, self.secret.encode()):
            return 403
        body, is_more = b"", True
        while is_more:
            part = await receive()
            body += part.get("body", b"")
            if len(body) > MAX_BODY_BYTES:
                return 413
            is_more = part.get("more_body", False)
        try:
            update = json.loads(body)
        except ValueError:  # a connection that broke off, too
            return 400
        return await self.handle(update)


app = Bot(convo.AsyncStore(), httpx.AsyncClient(base_url=f"{API}/bot{TOKEN}/", timeout=SAY_S), SECRET)
