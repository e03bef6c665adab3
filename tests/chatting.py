"""chat() and chat_async() behind one face, so that one suite tells of both."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio

import convo
from convo import ChatResponse, Model
from convo.testing import ScriptedClient

SHELLS = ["sync", "asyncio", "trio"]


class Chatting:
    """Chats where it stands, or in an event loop of `asyncio` or `trio`."""

    def __init__(self, shell: str) -> None:
        self.shell = shell

    def chat(self, **arguments: Any) -> ChatResponse:
        if self.shell == "sync":
            return convo.chat(**arguments)
        return anyio.run(partial(convo.chat_async, **arguments), backend=self.shell)

    def reply(self, response: ChatResponse, *given: Any, **named: Any) -> ChatResponse:
        if self.shell == "sync":
            return response.reply(*given, **named)
        return anyio.run(partial(response.reply_async, *given, **named), backend=self.shell)

    def scripted(
        self, *answers: Any, model: Model | None = None, **arguments: Any
    ) -> tuple[ChatResponse, ScriptedClient]:
        """Chat with a model that follows a script; return its response, and the model."""
        client = ScriptedClient(*answers, model=model)
        return self.chat(**{"model": "test/model", "client": client, **arguments}), client


def said(messages: Any) -> list[tuple[str, str | None]]:
    """Return authors and texts."""
    return [(each.author, each.content) for each in messages]


def by(author: str, content: str) -> dict[str, str]:
    return {"author": author, "content": content}
