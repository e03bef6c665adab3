"""A process that takes one turn: python -m benchmarks.once SYSTEM URL ID. `benchmarks.parts.start` times it."""

from __future__ import annotations

import sys
import warnings

from benchmarks import texts
from benchmarks.systems import load


def main(name: str, url: str, id: str) -> None:
    """Import, open, and take a turn."""
    warnings.simplefilter("ignore")  # the peers' own affair
    system = load(name)
    session = system.open(url)
    if not system.is_async:
        session.turn(id, texts.question(0), texts.answer(0))
        session.close()
        return
    import asyncio

    async def turn() -> None:
        await session.turn(id, texts.question(0), texts.answer(0))  # type: ignore[misc]  # a coroutine
        await session.close()  # type: ignore[misc]

    asyncio.run(turn())


if __name__ == "__main__":
    main(*sys.argv[1:])
