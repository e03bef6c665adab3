"""An HTTP interface to a store, as a plain ASGI application: conversations by name, every caller his own.

    export API_TOKENS='{"<SHA-256 of a token, in hexadecimal>": "alice"}'
    uvicorn --lifespan on examples.asgi_app:app

POST /conversations/NAME/messages with {"text": "…"} asks; with `Accept: text/event-stream` the answer comes in pieces.
GET of the same reads. A request with an Idempotency-Key may be sent again until it is answered.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import anyio

import convo

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

PATH = re.compile("/conversations/([^/]+)/messages")
ETAG = re.compile('"([0-9]{1,18})"')
MAX_BODY_BYTES = 64 * 1024
STATUSES = (  # the first that fits; where none does, 503 if it may pass, else 500
    (convo.VersionConflict, 412),
    (convo.IdempotencyConflict, 422),
    (convo.TurnError, 409),
    (convo.InvalidInput, 422),
    (convo.NotFound, 404),
    (convo.CallTimedOut, 504),
    (convo.ModelError, 502),
)

log = logging.getLogger(__name__)


class Refused(Exception):
    """A request that does not come as far as the store."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Exchange:
    """A request, and the response to it."""

    def __init__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.method, self.path = scope["method"], scope["path"]
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.receive, self.send = receive, send
        self.has_begun = False

    async def body(self) -> dict[str, Any]:
        """Return the JSON object that was sent."""
        body, is_more = b"", True
        while is_more:
            part = await self.receive()
            body += part.get("body", b"")
            is_more = part.get("more_body", False)
            if len(body) > MAX_BODY_BYTES:
                raise Refused(413, f"more than {MAX_BODY_BYTES} bytes")
        try:
            given = json.loads(body)
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict) or not isinstance(given.get("text"), str):
            raise Refused(400, 'not {"text": "…"}')
        return given

    async def write(self, text: str, status: int, headers: dict[str, str], *, is_last: bool = True) -> None:
        """Send a part of the response's body; before the first one, the status and the headers."""
        if not self.has_begun:
            self.has_begun = True
            told = [(name.encode(), value.encode()) for name, value in headers.items()]
            await self.send({"type": "http.response.start", "status": status, "headers": told})
        await self.send({"type": "http.response.body", "body": text.encode(), "more_body": not is_last})

    async def respond(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        """Send a whole response."""
        await self.write(json.dumps(content), status, {"content-type": "application/json"} | (headers or {}))

    async def event(self, name: str, content: object, *, is_last: bool = True) -> None:
        """Send a server-sent event."""
        headers = {"content-type": "text/event-stream", "cache-control": "no-store"}
        await self.write(f"event: {name}\ndata: {json.dumps(content)}\n\n", 200, headers, is_last=is_last)

    async def fail(self, error: convo.ConvoError) -> None:
        """Tell what went wrong: by the status, or by the last event if the status is out already."""
        status = next((status for kind, status in STATUSES if isinstance(error, kind)), 503 if error.retryable else 500)
        told = {"error": type(error).__name__, "detail": str(error), "status": status}
        if status >= 500:
            log.error("%s %s: %s", self.method, self.path, told)
            del told["detail"]  # what goes on in here is nothing for callers
        if self.has_begun:
            await self.event("error", told)
        else:
            await self.respond(status, told, {"retry-after": "2"} if error.retryable else {})

    async def until_gone(self, scope: anyio.CancelScope) -> None:
        """Cancel what is done for a caller when he hangs up."""
        while (await self.receive())["type"] != "http.disconnect":
            pass
        scope.cancel()


class Api:
    """The application; `tokens` tells whose a token is, by the token's SHA-256."""

    def __init__(self, store: convo.AsyncStore, tokens: dict[str, str]) -> None:
        self.store = store
        self.tokens = tokens

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request, or the server's own start and end (https://asgi.readthedocs.io)."""
        if scope["type"] == "lifespan":
            await receive()
            async with self.store:
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        exchange = Exchange(scope, receive, send)
        try:
            await self.serve(exchange)
        except Refused as refused:
            await exchange.respond(refused.status, {"error": "Refused", "detail": str(refused)})
        except convo.ConvoError as error:
            await exchange.fail(error)

    async def serve(self, exchange: Exchange) -> None:
        """Let an owner do what he asks for."""
        token = exchange.headers.get("authorization", "").removeprefix("Bearer ")
        owner = self.tokens.get(hashlib.sha256(token.encode()).hexdigest())
        path, method = PATH.fullmatch(exchange.path), exchange.method
        if owner is None:
            raise Refused(401, "no such token")
        if path is None or method not in ("GET", "POST"):
            raise Refused(404 if path is None else 405, "POST or GET /conversations/NAME/messages")
        await (self.ask if method == "POST" else self.read)(exchange, path[1], owner)

    async def read(self, exchange: Exchange, name: str, owner: str) -> None:
        """Send the newest messages, oldest first."""
        talk = await self.store.find(name, owner=owner)
        if talk is None:
            raise convo.ConversationNotFound(name)
        told = [{"author": each.author, "text": each.content} for each in await talk.messages(last=100)]
        await exchange.respond(200, told, {"etag": f'"{talk.version}"'})

    async def ask(self, exchange: Exchange, name: str, owner: str) -> None:
        """Send the answer to a message, whole or as it comes."""
        given, headers = await exchange.body(), exchange.headers
        expected = ETAG.fullmatch(headers.get("if-match", ""))
        if "if-match" in headers and expected is None:
            raise Refused(400, "If-Match takes the ETag of an earlier response")
        talk = await self.store.get_or_create(name, owner=owner)
        asked: dict[str, Any] = {
            "request_key": headers.get("idempotency-key"),
            "expected_version": int(expected[1]) if expected else None,
            "on_unfinished": given.get("on_unfinished", "raise"),
        }
        if "text/event-stream" in headers.get("accept", ""):
            await self.stream(exchange, talk, given["text"], asked)
        else:
            reply = await talk.send(given["text"], **asked)
            await exchange.respond(200, {"text": reply.text, "turn": reply.turn}, {"etag": f'"{talk.version}"'})

    async def stream(self, exchange: Exchange, talk: convo.AsyncConversation, text: str, asked: dict[str, Any]) -> None:
        """Send the pieces of an answer, and in the end that it is stored; stop the model when nobody listens."""
        async with anyio.create_task_group() as watching:
            watching.start_soon(exchange.until_gone, watching.cancel_scope)
            try:
                async with aclosing(talk.stream(text, **asked)) as pieces:
                    async for piece in pieces:
                        await exchange.event("piece", {"text": piece.text}, is_last=False)
                await exchange.event("stored", {"version": talk.version})
            except convo.ConvoError as error:
                await exchange.fail(error)
            watching.cancel_scope.cancel()


app = Api(convo.AsyncStore(), json.loads(os.environ.get("API_TOKENS", "{}")))
