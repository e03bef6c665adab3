"""A server of models on a raw socket: it records what it is sent, and answers with exactly the bytes it is told."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Script = bytes | Callable[[socket.socket], None]
"""What is sent back, or what is done with the connection."""


@dataclass(frozen=True)
class Received:
    """A request, as it came."""

    line: str
    headers: dict[str, str]
    """By name, in small letters."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Route = Callable[[Received], Script]
"""What is sent back to which request."""


class ModelServer:
    """Answers the n-th request with the n-th script, and all later ones, and those that say `last`, with the last."""

    def __init__(self, scripts: Sequence[Script], last: bytes = b"\0", route: Route | None = None) -> None:
        self._scripts, self._last, self._route = list(scripts), last, route
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self.received: list[Received] = []
        self.connections = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> ModelServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            left = list(self._open)
        for each in left:
            hang_up(each)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with self._lock:
                    self.connections += 1
                    self._open.add(connection)
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            reader = connection.makefile("rb")
            while (received := read(reader)) is not None:
                with self._lock:
                    self.received.append(received)
                    if self._route is not None:
                        self._scripts = [self._route(received)]
                    number = len(self._scripts) if self._last in received.body else len(self.received)
                    script = self._scripts[min(number, len(self._scripts)) - 1]
                if callable(script):
                    script(connection)
                    return
                connection.sendall(script)
        with self._lock:
            self._open.discard(connection)


def read(reader: Any) -> Received | None:
    """Return the next request of a connection; None at its end."""
    line = reader.readline().decode().strip()
    if not line:
        return None
    headers = {}
    while (header := reader.readline().decode().strip()) != "":
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    return Received(line, headers, reader.read(int(headers.get("content-length", 0))))


def hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """Return a whole answer: JSON, or bytes as they are."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {"content-type": "application/json", "content-length": str(len(content)), **(headers or {})}
    return head(status, told) + content


def head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


def events(*pieces: Any, names: Sequence[str] = ()) -> bytes:
    """Return a whole stream of server-sent events, in one chunk each."""
    told = [f"event: {name}\n" for name in names] or [""] * len(pieces)
    texts = [each if isinstance(each, str) else json.dumps(each) for each in pieces]
    return chunked(
        *(f"{name}data: {text}\n\n" for name, text in zip(told, texts, strict=True)), kind="text/event-stream"
    )


def lines(*pieces: Any) -> bytes:
    """Return a whole stream of JSON, an object a line."""
    return chunked(*(json.dumps(each) + "\n" for each in pieces), kind="application/x-ndjson")


def chunked(*chunks: str | bytes, kind: str, is_whole: bool = True) -> bytes:
    """Return a body in chunks."""
    return head(200, {"content-type": kind, "transfer-encoding": "chunked"}) + b"".join(
        chunk(each) for each in (*chunks, *([""] if is_whole else []))
    )


def chunk(content: str | bytes) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


@contextlib.contextmanager
def routing(route: Route) -> Iterator[ModelServer]:
    """Yield a server that answers each request as `route` says."""
    with ModelServer([], route=route) as server:
        yield server


@contextlib.contextmanager
def serving(*scripts: Script, last: bytes = b"\0") -> Iterator[ModelServer]:
    """Yield a server that follows the scripts; a request that says `last` gets the last one."""
    with ModelServer(scripts, last) as server:
        yield server
