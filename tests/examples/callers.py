"""How the HTTP interface is called, and what is stored by it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import httpx

import convo

TOKENS = {hashlib.sha256(f"token of {owner}".encode()).hexdigest(): owner for owner in ("alice", "bob")}
FIRST = "/conversations/first/messages"
STREAM = {"Accept": "text/event-stream"}


def known(client: httpx.Client, owner: str = "alice") -> httpx.Client:
    """Return a client that shows an owner's token."""
    client.headers["Authorization"] = f"Bearer token of {owner}"
    return client


def ask(client: httpx.Client, text: str, key: str | None = None, **more: Any) -> httpx.Response:
    headers = more.pop("headers", {}) | ({"Idempotency-Key": key} if key else {})
    return client.post(FIRST, json={"text": text} | more, headers=headers)


def events(response: httpx.Response) -> list[tuple[str, Any]]:
    """Return the name and the content of each server-sent event."""
    blocks = [each.split("\n") for each in response.text.split("\n\n") if each]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def turns(url: str, name: str, owner: str) -> list[tuple[str, str, str | None]]:
    """Return what is stored of a conversation: each turn's state, question and answer."""
    with convo.Store(url) as store:
        told = store.get(name, owner=owner).turns()
        return [(each.state, each.message.content, each.reply and each.reply.content) for each in told]
