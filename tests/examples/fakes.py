"""The platforms and the model that the examples talk to: servers on localhost that remember what they were asked."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

HANGS_S = 60
"""After this time a test that waits has failed; nothing takes nearly as long."""


@dataclass(frozen=True)
class Request:
    """What a fake was asked."""

    method: str
    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    at: float = field(default_factory=time.monotonic)


class Fake:
    """A server that takes JSON and answers with JSON; a subclass says with which."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._arrived = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: Request, write: Callable[[int, object], None]) -> None:
        """Write a status and JSON; more lines of JSON may follow with status 0."""
        raise NotImplementedError

    def wait_for(self, count: int) -> list[Request]:
        """Return all requests, as soon as there are `count`."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.requests) >= count, HANGS_S), len(self.requests)
            return list(self.requests)

    def _take(self, request: Request) -> None:
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                request = Request(self.command, self.path, body, dict(self.headers))
                fake._take(request)
                with suppress(OSError):  # who asked may be dead
                    fake.answer(request, self._write)

            do_PATCH = do_POST  # noqa: N815 - the name is http.server's

            def _write(self, status: int, content: object) -> None:
                if status:
                    self.send_response(status)
                    if status == 429:
                        self.send_header("Retry-After", str(content["retry_after"]))
                    self.end_headers()
                self.wfile.write(json.dumps(content).encode() + b"\n")
                self.wfile.flush()

        return Handler


class FakeTelegram(Fake):
    """The Bot API, as far as a bot answers by it."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[int] = []
        """What the next calls come to; 200 when there is nothing."""

    def answer(self, _: Request, write: Callable[[int, object], None]) -> None:
        status = self.statuses.pop(0) if self.statuses else 200
        write(status, {"ok": status == 200})

    def told(self, count: int = 0) -> list[tuple[int, str]]:
        """Return which chats were told what, as soon as there are `count` messages."""
        return [(each.body["chat_id"], each.body["text"]) for each in self.wait_for(count)]


class FakeDiscord(Fake):
    """Channels that take five messages and edits in five seconds, or so many times as fast."""

    def __init__(self, faster: float = 1) -> None:
        super().__init__()
        self._period_s = 5 / faster
        self.messages: dict[str, str] = {}
        """What is to be read, by the message's id."""
        self.nonces: dict[str, str] = {}
        self.versions: dict[str, list[str]] = defaultdict(list)
        """Everything that a message ever said."""
        self.statuses: list[int] = []
        self.refused = 0
        self._calls: dict[str, list[float]] = defaultdict(list)
        self._guard = threading.Lock()

    def answer(self, request: Request, write: Callable[[int, object], None]) -> None:
        with self._guard:
            if self.statuses:
                write(self.statuses.pop(0), {"retry_after": 0.01})
            elif self._is_too_fast(request):
                self.refused += 1
                write(429, {"retry_after": 0.5})
            else:
                id = self._show(request)
                write(200, {"id": id, "content": self.messages[id]})

    def reads(self, *texts: str) -> bool:
        """Wait until these are the messages, in their order."""
        until = time.monotonic() + HANGS_S
        while list(self.messages.values()) != list(texts):
            assert time.monotonic() < until, self.messages
            time.sleep(0.02)
        return True

    def _is_too_fast(self, request: Request) -> bool:
        calls = self._calls[request.path.split("/")[2]]
        calls[:] = [each for each in calls if request.at - each < self._period_s]
        calls.append(request.at)
        return len(calls) > 5

    def _show(self, request: Request) -> str:
        place = request.path.split("/")[4:]
        id = place[0] if place else self.nonces.setdefault(request.body["nonce"], str(1000 + len(self.nonces)))
        if place or id not in self.messages:
            self.messages[id] = request.body["content"]
            self.versions[id].append(request.body["content"])
        return id


class FakeGateway:
    """The end of the gateway that a bot connects to: events are lines."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(HANGS_S)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._connection: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        self._listener.close()

    def say(self, id: int, content: str, *, is_bot: bool = False, channel: str = "7") -> None:
        """Bring a person's message, or a bot's."""
        author = {"id": "9", "bot": True} if is_bot else {"id": "4"}
        self.send("MESSAGE_CREATE", {"id": str(id), "channel_id": channel, "author": author, "content": content})

    def send(self, kind: str, data: object) -> None:
        """Bring an event."""
        if self._connection is None:
            self._connection, _ = self._listener.accept()
        self._connection.sendall(json.dumps({"op": 0, "t": kind, "d": data}).encode() + b"\n")

    def hang_up(self) -> None:
        """Close the connection; the next event waits for a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class FakeModel(Fake):
    """A model that echoes, when the test lets it; asked to stream, it says the first word at once."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.errors: list[str] = []
        """Names of convo's errors that the next calls come to."""
        self.pause_s = 0.0
        """Between two words."""
        self.breaks = False
        """Whether the next stream ends after its first word."""

    def asked(self, count: int = 0) -> list[str]:
        """Return what the model was asked, as soon as there are `count` questions."""
        return [each.body["text"] for each in self.wait_for(count)]

    def answer(self, request: Request, write: Callable[[int, object], None]) -> None:
        text = f"You say: {request.body['text']}"
        if self.errors:
            write(200, {"error": self.errors.pop(0)})
        elif request.body["stream"]:
            first, *others = text.split(" ")
            write(200, {"text": first})
            self.may_answer.wait(HANGS_S)
            if self.breaks:
                self.breaks = False
                return
            for each in others:
                time.sleep(self.pause_s)
                write(0, {"text": f" {each}"})
            write(0, {"finish_reason": "stop"})
        else:
            self.may_answer.wait(HANGS_S)
            write(200, {"text": text})
