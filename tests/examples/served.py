"""The examples with another model: one that lives in the test, which decides when it answers, and counts.

uvicorn tests.examples.served:telegram
python -m tests.examples.served             # the Discord bot
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator

import anyio
import httpx

import convo
from convo.clients.base import Delta
from examples import asgi_app, discord_bot, telegram_bot

ERRORS = {
    "ReplyBlocked": convo.ReplyBlocked(["safety"]),
    "BadModelResponse": convo.BadModelResponse("no JSON"),
    "CallTimedOut": convo.CallTimedOut("offline/eliza", 30),
}


class RemoteModel:
    """Asks the FakeModel whose URL is in MODEL_URL."""

    def __init__(self) -> None:
        self._url = os.environ["MODEL_URL"]

    def get_model(self, name: str) -> convo.Model:
        return convo.Model(name=name, input_token_limit=4096)

    async def chat_async(self, request: convo.ChatRequest, **_: float) -> convo.ChatReply:
        said = [each.text async for each in self._ask(request, is_stream=False)]
        return convo.ChatReply((convo.Candidate(0, said[0], "stop"),))

    def stream_async(self, request: convo.ChatRequest, **_: float) -> AsyncIterator[Delta]:
        return self._ask(request, is_stream=True)

    async def _ask(self, request: convo.ChatRequest, *, is_stream: bool) -> AsyncIterator[Delta]:
        asked = {"text": request.messages[-1].content, "stream": is_stream}
        async with httpx.AsyncClient(timeout=None) as client, client.stream("POST", self._url, json=asked) as answered:
            async for line in answered.aiter_lines():
                told = json.loads(line)
                if error := told.pop("error", None):
                    raise ERRORS[error]
                yield Delta(**told)


store = convo.AsyncStore(client=RemoteModel())
telegram = telegram_bot.Bot(store, telegram_bot.app.api, telegram_bot.SECRET)
api = asgi_app.Api(store, asgi_app.app.tokens)

FASTER = float(os.environ.get("FASTER", "1"))
"""How many times as fast as it is, the Discord bot writes and tries again."""

discord_bot.EVERY_S /= FASTER
discord_bot.PAUSES_S = tuple(each / FASTER for each in discord_bot.PAUSES_S)
discord_bot.GRACE_S = float(os.environ.get("GRACE_S", discord_bot.GRACE_S))

if __name__ == "__main__":
    anyio.run(discord_bot.main, store)
