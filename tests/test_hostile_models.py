"""A server of models that answers with anything: each call ends in an answer or a typed error, in time, and the
conversation can take its next turn."""

from __future__ import annotations

import contextlib
import gzip
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest

import convo
from convo import Model
from convo.clients.http import HttpClient
from convo.clients.openai import OpenAI
from convo.clients.server import Server
from convo.retry import Retry
from tests.conftest import upgrade
from tests.model_server import Script, answer, chunk, chunked, events, head, serving

DEADLINE_S = 0.6
LATE_S = 4.0
"""How much later than its deadline a call may end: on a quiet machine it is 0.1 s, but the tests do not have one."""

KIND = "text/event-stream"
GOOD = {"choices": [{"index": 0, "message": {"content": "good"}, "finish_reason": "stop"}]}
GOOD_STREAM = events({"choices": [{"index": 0, "delta": {"content": "good"}, "finish_reason": "stop"}]}, "[DONE]")


def said(text: str) -> bytes:
    """Return an answer's JSON with `text` as it stands."""
    content = b'{"choices":[{"index":0,"message":{"content":%s},"delta":{"content":%s},"finish_reason":"stop"}]}'
    return content % (text.encode(), text.encode())


def both(body: bytes) -> dict[str, Script]:
    """Return a body as a whole answer, and as the one event of a stream."""
    return {"whole": answer(body), "stream": chunked(b"data: " + body + b"\n\n", kind=KIND)}


def slowly(first: bytes, rest: bytes) -> Script:
    """Send `first` at once, and then a byte at a time."""

    def send(connection: socket.socket) -> None:
        connection.sendall(first)
        for each in rest:
            connection.sendall(bytes([each]))
            time.sleep(0.1)

    return send


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hang(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.recv(1)


def then(first: bytes, last: Callable[[socket.socket], None]) -> Script:
    def send(connection: socket.socket) -> None:
        connection.sendall(first)
        last(connection)

    return send


def endless(first: bytes, more: bytes) -> Script:
    """Send without an end, as fast as it is taken."""

    def send(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(more)

    return send


def nothing(connection: socket.socket) -> None:
    """Close the connection."""


STREAM_HEAD = head(200, {"content-type": KIND, "transfer-encoding": "chunked"})
PIECE = 'data: {"choices":[{"index":0,"delta":{"content":"ab"}}]}\n\n'
SPLIT = 'data: {"choices":[{"index":0,"delta":{"content":"ü"},"finish_reason":"stop"}]}\n\n'.encode()
AT = SPLIT.index(b"\xc3") + 1

CASES: dict[str, Script | dict[str, Script]] = {
    "429": answer({"error": {"message": "m"}}, 429),
    "429 in a second": answer({}, 429, {"retry-after": "1"}),
    "429 until a date": answer({}, 429, {"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"}),
    "429 until some day": answer({}, 429, {"retry-after": "soon"}),
    "429 for thirty years": answer({}, 429, {"retry-after": "1000000000"}),
    "429 for ever": answer({}, 429, {"retry-after": "9" * 400}),
    "500": answer(b"", 500),
    "503 of HTML": answer(b"<html>", 503),
    "a status that nobody knows": answer(b"", 799),
    "reset": reset,
    "closed": nothing,
    "no answer": hang,
    "headers, a byte at a time": slowly(b"", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"),
    "a body, a byte at a time": slowly(head(200, {"content-length": "1000"}), b" " * 1000),
    "headers, then nothing": then(head(200, {"content-length": "10"}), hang),
    "half a body, then closed": then(head(200, {"content-length": "10"}) + b"{", nothing),
    "half a body, then reset": then(head(200, {"content-length": "10"}) + b"{", reset),
    "no status line": b"hello\r\n\r\n",
    "a status without a number": b"HTTP/1.1 OK fine\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a header of a megabyte": then(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 2**20 + b"\r\n\r\n", nothing),
    "headers without an end": endless(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 1000),
    "a length below zero": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",
    "a chunk that is none": then(STREAM_HEAD + b"zz\r\n", nothing),
    "a body without an end": endless(STREAM_HEAD, chunk(b" " * 65536)),
    "a line without an end": endless(STREAM_HEAD + chunk(b"data: "), chunk(b"x" * 65536)),
    "a gigabyte": endless(head(200, {"content-length": str(2**30)}), b" " * 65536),
    "a bomb": answer(gzip.compress(b" " * 10**8), headers={"content-encoding": "gzip"}),
    "nothing": answer(b""),
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "a redirect": answer(b"", 302, {"location": "http://127.0.0.1:9/"}),
    "a redirect without a place": answer(b"", 307),
    "HTML": answer(b"<html>hello</html>"),
    "another type": answer(GOOD, headers={"content-type": "image/png"}),
    "invalid UTF-8": both(b'{"choices":[{"message":{"content":"\xff"},"delta":{"content":"\xff"}}]}'),
    "UTF-16": both("{}".encode("utf-16")),
    "half a character at the end": {"whole": answer(b'{"a":"\xc3'), "stream": chunked(b"data: \xc3", kind=KIND)},
    "a character in two chunks": {
        "whole": chunked(said('"ü"')[:50], said('"ü"')[50:], kind="application/json"),
        "stream": chunked(SPLIT[:AT], SPLIT[AT:], kind=KIND),
    },
    "a NUL": both(said(r'"a\u0000b"')),
    "half a surrogate pair": both(said(r'"a\ud800b"')),
    "an empty text": both(said('""')),
    "blank text": both(said('" \\n "')),
    "no text": both(said("null")),
    "a number for a text": both(said("5")),
    "a text of 5 MB": both(said('"' + "a" * 5 * 2**20 + '"')),
    "no choices": both(b'{"choices":[]}'),
    "choices of nothing": both(b'{"choices":[null]}'),
    "choices that are none": both(b'{"choices":{"a":1}}'),
    "a list": both(b"[]"),
    "a word": both(b'"hello"'),
    "null": both(b"null"),
    "JSON that nests too deep": both(b"[" * 200_000),
    "a number of 5,000 digits": both(b'{"choices":[],"usage":{"prompt_tokens":' + b"9" * 5000 + b"}}"),
    "not a number": both(b'{"choices":[],"usage":{"prompt_tokens":NaN}}'),
    "a count below zero": both(said('"a"')[:-1] + b',"usage":{"prompt_tokens":-5,"completion_tokens":1e300}}'),
    "keys that stand twice": both(b'{"choices":[],' + said('"a"')[1:]),
    "an index below zero": both(b'{"choices":[{"index":-1,"message":{"content":"a"},"delta":{"content":"a"}}]}'),
    "the same candidate twice": both(said('"a"').replace(b"]}", b',{"index":1,"message":{"content":"a"}}]}')),
    "an error with 200": both(b'{"error":{"message":"m","code":"server_error"}}'),
    "an error of another shape": both(b'{"error":[[[]]]}'),
    "a stream that ends in the middle": chunked(PIECE, kind=KIND),
    "a stream that ends without its last blank line": chunked(PIECE[:-1], kind=KIND),
    "a stream that is cut": then(STREAM_HEAD + chunk(PIECE), nothing),
    "a stream that is reset": then(STREAM_HEAD + chunk(PIECE), reset),
    "a stream that hangs": then(STREAM_HEAD + chunk(PIECE), hang),
    "a stream of comments": endless(STREAM_HEAD, chunk(": keep-alive\n\n")),
    "a stream of nothing": endless(STREAM_HEAD, chunk("data: {}\n\n")),
    "a stream that goes on after its end": chunked(PIECE, "data: [DONE]\n\n", PIECE, kind=KIND),
}

MODES = ["whole", "stream", "async-whole", "async-stream"]


def modes() -> Iterator[Any]:
    """Yield each case in each mode, with the script that the mode meets."""
    for name, case in CASES.items():
        for mode in MODES:
            script = case["stream" if "stream" in mode else "whole"] if isinstance(case, dict) else case
            yield pytest.param(mode, script, id=f"{mode} {name}")


def client_of(url: str) -> HttpClient:
    return HttpClient(Server(OpenAI(), url), lambda name: Model(name, 4096), retry=Retry(attempts=1))


@pytest.fixture(scope="module")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of a store that all tests share: making one takes longer than most of them."""
    url = f"sqlite:///{tmp_path_factory.mktemp('hostile') / 'convo.db'}"
    upgrade(url)
    return url


def take(mode: str, store_url: str, url: str) -> tuple[str | convo.ConvoError, float, str]:
    """Take a turn, and the next one; return what came of the first, how long it took, and the second's answer."""
    return anyio.run(take_async, mode, store_url, url) if "async" in mode else take_sync(mode, store_url, url)


def take_sync(mode: str, store_url: str, url: str) -> tuple[str | convo.ConvoError, float, str]:
    client = client_of(url)
    with convo.Store(store_url, client=client) as store:
        talk = store.create(model="openai/x")
        started = time.monotonic()
        try:
            if mode == "stream":
                list(talk.stream("hi", deadline_s=DEADLINE_S))
                came: str | convo.ConvoError = str(talk.last_reply and talk.last_reply.text)
            else:
                came = talk.send("hi", deadline_s=DEADLINE_S).text
        except convo.ConvoError as error:
            came = error
        took_s = time.monotonic() - started
        after = talk.send("and now?", on_unfinished="discard").text
    client.close()
    return came, took_s, after


async def take_async(mode: str, store_url: str, url: str) -> tuple[str | convo.ConvoError, float, str]:
    client = client_of(url)
    async with convo.AsyncStore(store_url, client=client) as store:
        talk = await store.create(model="openai/x")
        started = time.monotonic()
        try:
            if mode == "async-stream":
                async for _ in talk.stream("hi", deadline_s=DEADLINE_S):
                    pass
                came: str | convo.ConvoError = str(talk.last_reply and talk.last_reply.text)
            else:
                came = (await talk.send("hi", deadline_s=DEADLINE_S)).text
        except convo.ConvoError as error:
            came = error
        took_s = time.monotonic() - started
        after = (await talk.send("and now?", on_unfinished="discard")).text
    await client.aclose()
    return came, took_s, after


@pytest.mark.parametrize(("mode", "script"), list(modes()))
def test_whatever_a_server_answers_the_call_ends_in_time_and_the_next_turn_works(
    store_url: str, mode: str, script: Script
):
    with serving(script, answer(GOOD), last=b"and now?") as server:
        came, took_s, after = take(mode, store_url, server.url)
    assert took_s <= DEADLINE_S + LATE_S
    assert "good" == after
    assert isinstance(came, str | convo.ModelError), came
    if isinstance(came, str):
        assert came.strip()
