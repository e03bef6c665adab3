"""What the process that workers are forked from has done: everything that the first turn of a process is slow for.

It is imported there, once, and by nobody else. The store is in memory and closed again: nothing is open at a fork.
"""

from __future__ import annotations

import asyncio
import gc

import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401 - the driver, so that no worker has to load it

import convo
import tests.compiled  # noqa: F401 - what is compiled here no worker has to compile
from convo.testing import FaultPoints, HistoryClient

with convo.Store("sqlite://", client=HistoryClient()) as store, FaultPoints(store.engine):
    talk = store.create(name="warm", messages=["a", "b"], examples=[("i", "o")])
    talk.send("c", request_key="c")
    talk.update(title="t")
    list(talk.stream("d", request_key="d"))
    store.delete("warm")


async def warm_up() -> None:
    async with convo.AsyncStore("sqlite://", client=HistoryClient()) as store:
        talk = await store.create(name="warm")
        await talk.send("a", request_key="a")
        [_ async for _ in talk.stream("b", request_key="b")]


asyncio.run(warm_up())  # its threads have ended with it: none is there at a fork

gc.collect()
gc.freeze()  # or each worker would copy what its collector touches
