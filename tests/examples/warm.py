"""A Python that has loaded what the examples need and has nothing open: programs are forked from it in milliseconds.

It runs `python -W error -m MODULE …` as Python does, from the import of the module to the end of the interpreter. The
examples themselves are not loaded here, because they read their environment when they are.

This is no server of multiprocessing: there is one of them in a process, and tests.faults has told it what to load; and
its children skip the end of the interpreter, which complains of what a program has left open.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import runpy
import signal
import socket
import sys
from typing import Any

import httpx
import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401 - the driver
import uvicorn

import convo
from convo.testing import HistoryClient

Request = dict[str, Any]
LONGEST = 2**16


async def warm_up() -> None:
    """Do what the first turn, the first client and the first server of a process are slow for."""
    async with convo.AsyncStore("sqlite://", client=HistoryClient()) as store, httpx.AsyncClient():
        talk = await store.create(name="warm")
        await talk.send("a", request_key="a")
        [_ async for _ in talk.stream("b", request_key="b")]
    config = uvicorn.Config(application, lifespan="on", log_config=None)
    config.load()
    config.get_loop_factory()


async def application(_scope: object, _receive: object, _send: object) -> None: ...


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends when nobody can ask any more
    asyncio.run(warm_up())  # its threads have ended with it: none is there at a fork
    gc.collect()
    gc.freeze()  # or each program would copy what its collector touches
    channel = socket.socket(fileno=sys.stdin.fileno())
    program = serve(channel)
    channel.detach()
    if program is not None:
        run(*program)


def serve(channel: socket.socket) -> tuple[Request, int] | None:
    """Fork programs, and tell how they ended, until nobody can ask. In a fork, return what it is, and its log."""
    while request := receive(channel):
        told, files = request
        if files:
            answer = os.fork()
            if answer == 0:
                return told, files[0]
            os.close(files[0])
        else:
            pid, status = os.waitpid(told["pid"], told["options"])
            answer = os.waitstatus_to_exitcode(status) if pid else None
        channel.sendall(json.dumps(answer).encode() + b"\n")
    return None


def receive(channel: socket.socket) -> tuple[Request, list[int]] | None:
    """Return the next request, which is a line of JSON, and the files that came with it."""
    line, files, _, _ = socket.recv_fds(channel, LONGEST, 1)
    while line and not line.endswith(b"\n"):
        line += channel.recv(LONGEST)
    return (json.loads(line), files) if line else None


def run(program: Request, log: int) -> None:
    """Be `python -m MODULE …`, with this environment."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for file, number in ((nothing, 0), (nothing, 1), (log, 2)):
        os.dup2(file, number)
    os.close(nothing)
    os.close(log)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(program["environment"])
    _, module, *arguments = program["command"]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
