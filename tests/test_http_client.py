"""Models over HTTP: connections, deadlines, retries, and what never happens; over real sockets, and httpx's double."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import time
import traceback
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

import convo
from convo import ChatRequest, Message, Model
from convo.clients.gemini import Gemini
from convo.clients.http import HttpClient
from convo.clients.openai import OpenAI
from convo.clients.server import Secret, Server, seconds, shown_url
from convo.retry import Retry
from tests.model_server import answer, chunk, events, head, serving

GOOD = {"choices": [{"index": 0, "message": {"content": "good"}, "finish_reason": "stop"}]}
ASKED = ChatRequest("openai/x", None, (), (Message("0", "hi"),))
QUICK = Retry(attempts=3, initial_s=0.01, maximum_s=0.01)
PIECE = 'data: {"choices":[{"index":0,"delta":{"content":"A"}}]}\n\n'
KEY = "sk-planted-7f3a"


def limits(name: str) -> Model:
    return Model(name, 4096)


def client_of(url: str, retry: Retry = QUICK, key: str | None = None, **given: Any) -> HttpClient:
    return HttpClient(Server(OpenAI(), url, Secret(key) if key else None), limits, retry=retry, **given)


def ask(client: HttpClient, way: str, deadline_s: float = 20.0) -> str:
    """Return the answer's text, asked for where we stand or on an event loop."""
    if way != "sync":
        return anyio.run(ask_async, client, deadline_s, backend=way)
    try:
        return str(client.chat(ASKED, deadline_s=deadline_s).candidates[0].content)
    finally:
        client.close()


async def ask_async(client: HttpClient, deadline_s: float) -> str:
    try:
        return str((await client.chat_async(ASKED, deadline_s=deadline_s)).candidates[0].content)
    finally:
        await client.aclose()


WAYS = pytest.mark.parametrize("way", ["sync", "asyncio", "trio"])


# ---- connections


def test_a_connection_is_used_again():
    with serving(answer(GOOD)) as server:
        client = client_of(server.url)
        for _ in range(3):
            client.chat(ASKED, deadline_s=5)
        client.close()
    assert (3, 1) == (len(server.received), server.connections)


def test_an_event_loop_has_connections_of_its_own_which_are_used_again():
    async def thrice(client: HttpClient) -> None:
        for _ in range(3):
            await client.chat_async(ASKED, deadline_s=5)
        await client.aclose()

    with serving(answer(GOOD)) as server:
        client = client_of(server.url)
        for _ in range(2):
            anyio.run(thrice, client)
    assert (6, 2) == (len(server.received), server.connections)


def test_a_connection_that_the_server_has_closed_meanwhile_is_made_anew():
    def once(connection: socket.socket) -> None:
        connection.sendall(answer(GOOD))

    with serving(once, answer(GOOD)) as server:
        client = client_of(server.url)
        for _ in range(2):
            assert "good" == client.chat(ASKED, deadline_s=5).candidates[0].content
        client.close()
    assert 2 == server.connections


@WAYS
def test_a_callers_own_client_is_used_as_it_is_and_stays_open(way: str):
    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"choices": [{"message": {"content": request.headers["x-mine"]}}]})

    transport, headers = httpx.MockTransport(handle), {"x-mine": "mine"}
    own, awaited = (
        httpx.Client(transport=transport, headers=headers),
        httpx.AsyncClient(transport=transport, headers=headers),
    )
    assert "mine" == ask(client_of("http://localhost", client=own, async_client=awaited), way)
    assert not own.is_closed
    assert not awaited.is_closed
    own.close()


def test_the_query_of_a_base_url_goes_with_each_request():
    with serving(answer(GOOD)) as server:
        ask(client_of(f"{server.url}/deployments/x/?api-version=2026-01-01"), "sync")
    assert "POST /deployments/x/chat/completions?api-version=2026-01-01 HTTP/1.1" == server.received[0].line


# ---- deadlines


def one_byte_at_a_time(first: bytes, rest: bytes = b" " * 100) -> Callable[[socket.socket], None]:
    def send(connection: socket.socket) -> None:
        connection.sendall(first)
        for each in rest:
            connection.sendall(bytes([each]))
            time.sleep(0.1)

    return send


SLOW = [
    one_byte_at_a_time(b"", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"),
    one_byte_at_a_time(b"HTTP/1.1 200 OK\r\nx: "),
    one_byte_at_a_time(head(200, {"content-length": "1000"})),
]


@WAYS
@pytest.mark.parametrize("script", SLOW, ids=["all", "headers", "body"])
def test_a_server_that_sends_a_byte_now_and_then_is_left_at_the_deadline(way: str, script: Any):
    started = time.monotonic()
    with serving(script) as server, pytest.raises(convo.CallTimedOut, match=r"within 0\.5 s"):
        ask(client_of(server.url), way, deadline_s=0.5)
    assert 0.5 <= time.monotonic() - started < 8  # and not the 10 s of a hundred bytes


@WAYS
def test_the_deadline_is_for_all_attempts_and_pauses_together(way: str):
    with serving(answer({}, 503)) as server, pytest.raises(convo.ModelError):
        ask(client_of(server.url, Retry(attempts=1000, initial_s=0.05, multiplier=1, maximum_s=0.05)), way, 0.5)
    assert 2 <= len(server.received) <= 11


def slow_reader(connection: socket.socket) -> None:
    time.sleep(30)


def test_a_server_that_does_not_read_is_left_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        request = ChatRequest("openai/x", None, (), (Message("0", "x" * 30_000_000),))
        client, started = client_of(url), time.monotonic()
        with pytest.raises(convo.CallTimedOut):
            client.chat(request, deadline_s=1)
        client.close()
    assert time.monotonic() - started < 5


def test_all_addresses_of_a_host_have_one_deadline(monkeypatch: pytest.MonkeyPatch):
    """Nobody answers at the addresses for documentation (RFC 5737); a name may have several."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"192.0.2.{number}", 80)) for number in range(1, 5)]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    client, started = client_of("http://example.org", Retry(attempts=1)), time.monotonic()
    with pytest.raises((convo.CallTimedOut, convo.ConnectionFailed)):
        client.chat(ASKED, deadline_s=1)
    client.close()
    assert time.monotonic() - started < 4


def test_a_host_without_an_address_is_not_reached():
    client = client_of("http://nowhere.invalid", Retry(attempts=1))
    with pytest.raises((convo.ConnectionFailed, convo.CallTimedOut)):
        client.chat(ASKED, deadline_s=20)
    client.close()


def test_a_turn_asks_for_limits_within_its_own_deadline(monkeypatch: pytest.MonkeyPatch):
    with serving(slow_reader) as server, convo.Store("sqlite://") as store:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        talk = store.create()
        started = time.monotonic()
        for call in (
            lambda: talk.send("hi", model="openai/x", deadline_s=0.5),
            lambda: convo.chat(model="openai/x", messages="hi", request_options={"timeout": 0.5}),
            lambda: convo.count_message_tokens(model="openai/x", messages="hi", request_options={"timeout": 0.5}),
        ):
            with pytest.raises(convo.CallTimedOut):
                call()
    assert time.monotonic() - started < 6


WAITING = pytest.mark.parametrize("way", ["sync", "async"])
STREAM_HEAD = head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})


def stream_of(client: HttpClient, way: str, deadline_s: float) -> list[convo.Delta]:
    async def pieces() -> list[convo.Delta]:
        try:
            return [each async for each in client.stream_async(ASKED, deadline_s=deadline_s)]
        finally:
            await client.aclose()

    if way == "async":
        return anyio.run(pieces)
    try:
        return list(client.stream(ASKED, deadline_s=deadline_s))
    finally:
        client.close()


@WAITING
def test_candidates_that_nobody_asked_for_do_not_keep_a_stream_alive(way: str):
    def forever(connection: socket.socket) -> None:
        connection.sendall(STREAM_HEAD)
        for number in range(1, 1000):
            connection.sendall(chunk(f'data: {{"choices":[{{"index":{number},"delta":{{"content":"A"}}}}]}}\n\n'))
            time.sleep(0.02)

    started = time.monotonic()
    with serving(forever) as server, pytest.raises(convo.CallTimedOut):
        stream_of(client_of(server.url), way, 0.5)
    assert time.monotonic() - started < 4


@WAITING
def test_a_stream_that_has_said_its_last_word_is_not_waited_for(way: str):
    def lingers(connection: socket.socket) -> None:
        connection.sendall(STREAM_HEAD + chunk(PIECE) + chunk("data: [DONE]\n\n"))
        time.sleep(30)

    started = time.monotonic()
    with serving(lingers) as server, pytest.raises(convo.CallTimedOut):
        stream_of(client_of(server.url), way, 20)
    assert time.monotonic() - started < 6


@WAITING
def test_an_event_without_an_end_is_refused(way: str):
    def forever(connection: socket.socket) -> None:
        connection.sendall(STREAM_HEAD)
        while True:
            connection.sendall(chunk(b"data: " + b"x" * 2**20 + b"\n"))

    with serving(forever) as server, pytest.raises(convo.BadModelResponse, match="an event of more than 16,777,216"):
        stream_of(client_of(server.url), way, 60)


@pytest.mark.parametrize("way", ["sync", "asyncio"])
def test_each_piece_of_a_stream_has_the_whole_deadline(way: str):
    def slowly(connection: socket.socket) -> None:
        connection.sendall(head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
        for text in "abcd":
            time.sleep(0.6)
            connection.sendall(chunk(PIECE.replace("A", text)))
        connection.sendall(chunk(""))

    async def collected(client: HttpClient) -> list[str]:
        pieces = [each.text async for each in client.stream_async(ASKED, deadline_s=2)]
        await client.aclose()
        return pieces

    with serving(slowly) as server:
        client = client_of(server.url)
        if way == "sync":
            pieces = [each.text for each in client.stream(ASKED, deadline_s=2)]
            client.close()
        else:
            pieces = anyio.run(collected, client)
    assert ["a", "b", "c", "d"] == pieces


@pytest.mark.parametrize("way", ["sync", "asyncio"])
def test_a_stream_that_says_nothing_again_and_again_is_left_at_the_deadline(way: str):
    def chatter(connection: socket.socket) -> None:
        connection.sendall(head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
        while True:
            connection.sendall(chunk('data: {"usageMetadata":{"promptTokenCount":1}}\n\n'))
            time.sleep(0.01)

    async def read_async(client: HttpClient) -> None:
        try:
            async for _ in client.stream_async(ASKED, deadline_s=0.5):
                pass
        finally:
            await client.aclose()

    with serving(chatter) as server:
        client = HttpClient(Server(Gemini(), server.url), limits)
        with pytest.raises(convo.CallTimedOut):
            list(client.stream(ASKED, deadline_s=0.5)) if way == "sync" else anyio.run(read_async, client)
        client.close()


def test_a_reader_who_leaves_hangs_up():
    hung_up: list[bool] = []

    def listen(connection: socket.socket) -> None:
        connection.sendall(head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
        connection.sendall(chunk(PIECE))
        connection.settimeout(5)
        hung_up.append(connection.recv(1) == b"")

    with serving(listen) as server:
        client = client_of(server.url)
        pieces = client.stream(ASKED, deadline_s=5)
        next(pieces)
        pieces.close()
        client.close()
        for _ in range(500):
            if hung_up:
                break
            time.sleep(0.01)
    assert [True] == hung_up


# ---- again


@WAYS
@pytest.mark.parametrize("first", [answer({}, 429), answer({}, 500), answer({}, 503), answer({}, 529), b""])
def test_what_may_pass_is_tried_again(way: str, first: bytes):
    def close(connection: socket.socket) -> None:
        connection.sendall(first)

    with serving(first or close, answer(GOOD)) as server:
        assert "good" == ask(client_of(server.url), way)
    assert 2 == len(server.received)


@WAYS
@pytest.mark.parametrize("status", [400, 401, 403, 413, 302])
def test_what_will_not_pass_is_not(way: str, status: int):
    with serving(answer({}, status), answer(GOOD)) as server, pytest.raises(convo.ModelError):
        ask(client_of(server.url), way)
    assert 1 == len(server.received)


@WAYS
def test_an_answer_that_was_paid_for_is_not_asked_for_again(way: str):
    with serving(answer(b"<html>"), answer(GOOD)) as server, pytest.raises(convo.BadModelResponse):
        ask(client_of(server.url), way)
    assert 1 == len(server.received)


@WAYS
def test_an_answer_that_breaks_off_is_not_asked_for_again(way: str):
    broken = head(200, {"content-length": "1000"}) + b'{"choices"'
    first = lambda connection: connection.sendall(broken)  # noqa: E731 - and hangs up
    with serving(first, answer(GOOD)) as server, pytest.raises(convo.ConnectionFailed):
        ask(client_of(server.url), way)
    assert 1 == len(server.received)


@WAYS
def test_an_error_may_come_with_status_200(way: str):
    body = {"error": {"message": f"no more of {KEY}", "code": 402}}
    with serving(answer(body)) as server, pytest.raises(convo.ServerFailed) as caught:
        ask(client_of(server.url, key=KEY), way)
    assert (200, "no more of …") == (caught.value.status, caught.value.detail)


@WAYS
@pytest.mark.parametrize("body", [{}, {"choices": []}, {"object": "chat.completion"}])
def test_an_answer_without_choices_is_none(way: str, body: Any):
    with serving(answer(body)) as server, pytest.raises(convo.BadModelResponse):
        ask(client_of(server.url), way)


@WAYS
@pytest.mark.parametrize(
    "usage", ["many", 5, {"prompt_tokens": "many"}, {"prompt_tokens": -1, "completion_tokens": 1e9}]
)
def test_an_answer_is_not_lost_for_what_is_told_of_it(way: str, usage: Any):
    with serving(answer({**GOOD, "usage": usage})) as server:
        assert "good" == ask(client_of(server.url), way)


@WAYS
def test_a_service_may_ask_not_to_be_asked_again(way: str):
    told = answer({}, 500, {"x-should-retry": "false"})
    with serving(told, answer(GOOD)) as server, pytest.raises(convo.ServerFailed):
        ask(client_of(server.url), way)
    assert 1 == len(server.received)


@WAYS
def test_a_service_is_waited_for_as_long_as_it_asks(way: str):
    started = time.monotonic()
    with serving(answer({}, 429, {"retry-after": "1"}), answer(GOOD)) as server:
        assert "good" == ask(client_of(server.url), way)
    assert time.monotonic() - started >= 1


@WAYS
def test_a_service_that_asks_for_more_time_than_there_is_is_not_waited_for(way: str):
    started = time.monotonic()
    with serving(answer({}, 429, {"retry-after": "60"})) as server, pytest.raises(convo.RateLimited) as caught:
        ask(client_of(server.url), way)
    assert (60, 1) == (caught.value.retry_after_s, len(server.received))
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (None, None),
        ("0", 0),
        ("5", 5),
        (" 5 ", 5),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("9" * 400, 9999999999),
    ],
)
def test_a_service_says_how_long_to_wait_in_seconds(told: str | None, wanted: float | None):
    assert wanted == seconds(told)


@pytest.mark.parametrize("way", ["sync", "asyncio"])
def test_nothing_is_asked_for_again_once_a_piece_has_come(way: str):
    def cut(connection: socket.socket) -> None:
        connection.sendall(head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
        connection.sendall(chunk(PIECE))

    pieces: list[str] = []

    def read(client: HttpClient) -> None:
        for each in client.stream(ASKED, deadline_s=5):
            pieces.append(each.text)  # noqa: PERF401 - what came before the error counts

    async def read_async(client: HttpClient) -> None:
        try:
            async for each in client.stream_async(ASKED, deadline_s=5):
                pieces.append(each.text)  # noqa: PERF401
        finally:
            await client.aclose()

    with serving(cut, events(GOOD)) as server:
        client = client_of(server.url)
        with pytest.raises(convo.ConnectionFailed):
            read(client) if way == "sync" else anyio.run(read_async, client)
        client.close()
    assert (["A"], 1) == (pieces, len(server.received))


# ---- where a key may go


@pytest.mark.parametrize(
    "url",
    ["http://example.org", "http://10.0.0.1:8000", "http://localhost.example.org", "ftp://localhost", "localhost", ""],
)
def test_a_key_goes_nowhere_in_the_clear(url: str):
    with pytest.raises(convo.InvalidInput, match="the base URL of openai must be http"):
        Server(OpenAI(), url, Secret(KEY))


@pytest.mark.parametrize("url", ["https://example.org", "http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1"])
def test_a_key_goes_over_tls_or_to_this_machine(url: str):
    assert KEY not in repr(Server(OpenAI(), url, Secret(KEY)))


def test_a_key_does_not_stand_in_an_address():
    with pytest.raises(convo.InvalidInput) as caught:
        Server(OpenAI(), f"https://user:{KEY}@example.org")
    assert KEY not in str(caught.value)


def test_a_redirect_is_not_followed_with_a_key():
    with serving(answer(GOOD)) as other:
        with serving(answer({}, 307, {"location": other.url})) as server, pytest.raises(convo.BadModelResponse):
            ask(client_of(server.url, key=KEY), "sync")
        assert [] == other.received


@WAYS
def test_a_redirect_is_not_followed_by_a_callers_own_client_either(way: str):
    def handle(request: httpx.Request) -> httpx.Response:
        assert "there" != request.url.host, "the key was taken elsewhere"
        return httpx.Response(302, headers={"location": "https://there/"})

    transport = httpx.MockTransport(handle)
    own = httpx.Client(transport=transport, follow_redirects=True)
    awaited = httpx.AsyncClient(transport=transport, follow_redirects=True)
    with pytest.raises(convo.BadModelResponse, match="a redirect"):
        ask(client_of("https://here", key=KEY, client=own, async_client=awaited), way)


@WAYS
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_key_for_this_machine_goes_through_no_proxy(way: str, host: str, monkeypatch: pytest.MonkeyPatch):
    with serving(answer(GOOD)) as server, serving(answer(GOOD)) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert "good" == ask(client_of(server.url.replace("127.0.0.1", host), key=KEY), way)
    assert (1, 0) == (len(server.received), len(proxy.received))


@pytest.mark.parametrize("key", ["", "sk-é", "sk a\n", " sk", "sk\0", "sk\x7f"])
def test_a_key_that_no_header_can_have_is_refused_unseen(key: str):
    with pytest.raises(convo.InvalidInput) as caught:
        Secret(key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://xn--a/", "https://h/\x7f", f"https://{'a' * 300}/", f"https://h/{'a' * 70_000}"]
)
def test_an_address_that_cannot_be_asked_is_refused(url: str):
    with pytest.raises(convo.InvalidInput, match="the base URL of openai"):
        client_of(url)


def test_what_looks_like_a_key_in_the_place_of_an_address_is_not_shown():
    assert "no URL" == shown_url(KEY)


def test_a_key_is_cut_out_of_an_error_and_nothing_else():
    """A usual dummy for servers that want none may be a word of an answer."""
    said = {
        "choices": [{"index": 0, "delta": {"content": 'The "error" is that ollama is off.'}, "finish_reason": "stop"}]
    }
    with serving(events(said, "[DONE]")) as server:
        pieces = stream_of(client_of(server.url, key="ollama"), "sync", 5)
    assert 'The "error" is that ollama is off.' == pieces[0].text


@WAITING
def test_a_key_is_found_however_it_is_written(way: str):
    told = '{"error": {"message": "no key sk\\/canary", "code": "sk\\u002fcanary"}}'
    with serving(events(told)) as server, pytest.raises(convo.ServiceError) as caught:
        stream_of(client_of(server.url, key="sk/canary"), way, 5)
    assert ("no key …", "…") == (caught.value.detail, caught.value.code)


def test_a_client_that_was_closed_in_its_event_loop_opens_again():
    async def twice(client: HttpClient) -> str:
        await client.chat_async(ASKED, deadline_s=5)
        await client.aclose()
        reply = await client.chat_async(ASKED, deadline_s=5)
        await client.aclose()
        return str(reply.candidates[0].content)

    with serving(answer(GOOD)) as server:
        assert "good" == anyio.run(twice, client_of(server.url))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
def test_a_child_has_connections_of_its_own():
    with serving(answer(GOOD)) as server:
        client = client_of(server.url)
        client.chat(ASKED, deadline_s=5)
        child = os.fork()
        if not child:
            client.chat(ASKED, deadline_s=5)
            os._exit(0)
        assert 0 == os.waitpid(child, 0)[1]
        client.chat(ASKED, deadline_s=5)
        client.close()
    assert (3, 2) == (len(server.received), server.connections)


def test_a_secret_shows_itself_to_nobody():
    secret = Secret(KEY)
    assert KEY not in f"{secret} {secret!r} {vars(Secret)}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert secret != Secret(KEY)


@WAYS
@pytest.mark.parametrize(
    "script",
    [
        answer({}, 401),
        answer({}, 503),
        answer({}, 302, {"location": "/"}),
        answer(b"<html>"),
        head(200, {"content-length": "10"}) + b"{",
        b"nonsense\r\n\r\n",
        lambda connection: connection.close(),
        SLOW[0],
    ],
)
def test_a_key_appears_in_no_log_traceback_or_repr(way: str, script: Any, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    with serving(script) as server:
        client = client_of(server.url, Retry(attempts=1), key=KEY)
        with pytest.raises(convo.ModelError) as caught:
            ask(client, way, deadline_s=0.5)
    error = caught.value
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert KEY not in f"{shown} {error!r} {vars(error)} {client!r}"
    assert KEY not in caplog.text


def test_a_service_that_repeats_the_key_is_not_quoted_with_it():
    script = answer({"error": {"message": f"no key {KEY}", "code": "x"}}, 401)
    with serving(script) as server, pytest.raises(convo.AuthenticationFailed) as caught:
        ask(client_of(server.url, key=KEY), "sync")
    assert "no key …" == caught.value.detail
    assert KEY not in "".join(traceback.format_exception(caught.value))
