"""One system in a process of its own: python -m benchmarks.worker SYSTEM URL.

It reads commands as JSON lines and answers each with a line; --seed fills a new database instead, and prints the ids.
The benchmarks start it and talk to it through `benchmarks.workers`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TextIO

from benchmarks import texts
from benchmarks.counting import counted
from benchmarks.systems import load
from benchmarks.systems.base import Session, System
from benchmarks.verifying import peak_megabytes

WARM_UP = 5
"""How many turns are taken before any is timed."""

COUNTING = 3
"""Over how many turns statements are counted, after one that is not."""

Answer = dict[str, Any]


class Served:
    """A system whose store is open, and what it can be told to do."""

    def __init__(self, system: System, url: str) -> None:
        self._system, self._url = system, url
        self._session = system.open(url)
        self._number = 0

    async def warm(self, id: str) -> Answer:
        """Take some turns, untimed."""
        for _ in range(WARM_UP):
            await self._turn(self._session, id, *self._said())
        return {}

    async def turns(self, id: str, count: int, budget_s: float) -> Answer:
        """Take turns until there are so many or the time is up; tell what each took, and how long its prompt was."""
        wall_s: list[float] = []
        cpu_s: list[float] = []
        prompts: list[int] = []
        while len(wall_s) < count and (not wall_s or sum(wall_s) < budget_s):
            question, answer = self._said()
            cpu, wall = time.process_time(), time.perf_counter()
            prompt = await self._turn(self._session, id, question, answer)
            wall_s.append(time.perf_counter() - wall)
            cpu_s.append(time.process_time() - cpu)
            prompts.append(prompt)
        return {"wall_s": wall_s, "cpu_s": cpu_s, "prompts": prompts}

    async def resume(self, id: str, count: int, budget_s: float) -> Answer:
        """Resume the conversation so many times; tell what each took."""
        wall_s: list[float] = []
        while len(wall_s) < count and (not wall_s or sum(wall_s) < budget_s):
            wall = time.perf_counter()
            resumed = self._session.resume(id)
            if self._system.is_async:
                await resumed  # type: ignore[misc]  # of an async system it is a coroutine
            wall_s.append(time.perf_counter() - wall)
        return {"wall_s": wall_s}

    async def count(self, id: str) -> Answer:
        """Tell how many statements, commits and rows the average turn is, in a store that is opened for that."""
        with counted(self._url) as counts:
            session = self._system.open(self._url)
            await self._turn(session, id, *self._said())
            counts.statements = counts.commits = counts.rows = 0
            for _ in range(COUNTING):
                await self._turn(session, id, *self._said())
            found = {name: round(value / COUNTING, 1) for name, value in vars(counts).items()}
            await self._close(session)
        return found

    async def crowd(self, ids: Sequence[str], turns: int) -> Answer:
        """Take so many turns in each of the conversations, in all of them at once; tell what each took."""
        crowd = self._tasks if self._system.is_async else self._threads
        started = time.perf_counter()
        wall_s = await crowd(ids, turns)
        return {"wall_s": wall_s, "elapsed_s": time.perf_counter() - started}

    async def export(self, id: str, file: str) -> Answer:
        """Export the conversation; tell how many messages it has and what that took."""
        started = time.perf_counter()
        exported: Any = self._session.export(id, file)
        count = await exported if self._system.is_async else exported
        return {"messages": count, "wall_s": time.perf_counter() - started}

    async def memory(self) -> Answer:
        """Tell how much memory this process has had at most."""
        return {"megabytes": peak_megabytes()}

    async def close(self) -> Answer:
        """Close the store."""
        await self._close(self._session)
        return {}

    def _said(self) -> tuple[str, str]:
        self._number += 1
        return texts.question(self._number), texts.answer(self._number)

    async def _turn(self, session: Session, id: str, question: str, answer: str) -> int:
        taken: Any = session.turn(id, question, answer)
        count: int = await taken if self._system.is_async else taken
        return count

    async def _close(self, session: Session) -> None:
        closed = session.close()
        if self._system.is_async:
            await closed  # type: ignore[misc]  # of an async system it is a coroutine

    async def _tasks(self, ids: Sequence[str], turns: int) -> list[float]:
        wall_s: list[float] = []

        async def talk(id: str) -> None:
            for number in range(turns):
                question, answer = texts.question(number), texts.answer(number)
                started = time.perf_counter()
                await self._turn(self._session, id, question, answer)
                wall_s.append(time.perf_counter() - started)

        async with asyncio.TaskGroup() as group:
            for each in ids:
                group.create_task(talk(each))
        return wall_s

    async def _threads(self, ids: Sequence[str], turns: int) -> list[float]:
        sessions = [self._session if self._system.is_shared else self._system.open(self._url) for _ in ids]
        wall_s: list[float] = []
        errors: list[Exception] = []

        def talk(session: Session, id: str) -> None:
            try:
                for number in range(turns):
                    question, answer = texts.question(number), texts.answer(number)
                    started = time.perf_counter()
                    session.turn(id, question, answer)
                    wall_s.append(time.perf_counter() - started)
            except Exception as error:  # noqa: BLE001 - is raised in the thread that waits
                errors.append(error)

        threads = [threading.Thread(target=talk, args=each) for each in zip(sessions, ids, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if not self._system.is_shared:
            for session in sessions:
                session.close()
        if errors:
            raise errors[0]
        return wall_s


async def serve(system: System, url: str, answers: TextIO) -> None:
    """Do what standard input says, a line at a time."""
    served = Served(system, url)
    _tell(answers, {})
    for line in sys.stdin:
        command: dict[str, Any] = json.loads(line)
        do: Callable[..., Coroutine[Any, Any, Answer]] = getattr(served, command.pop("do"))
        try:
            answer = await do(**command)
        except Exception as error:  # noqa: BLE001 - a system that fails is told, and left out
            answer = {"failed": f"{type(error).__name__}: {error}"}
        _tell(answers, answer)


def _tell(answers: TextIO, answer: Answer) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def main() -> None:
    """Seed, or serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system")
    parser.add_argument("url")
    parser.add_argument("--seed", type=int, metavar="MESSAGES")
    parser.add_argument("--conversations", type=int, default=1)
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # the peers' own affair
    answers, sys.stdout = sys.stdout, sys.stderr  # what a peer prints is no answer
    system = load(given.system)
    if given.seed is not None:
        _tell(answers, {"ids": system.seed(given.url, given.seed, given.conversations)})
        return
    asyncio.run(serve(system, given.url, answers))


if __name__ == "__main__":
    main()
