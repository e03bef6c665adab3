"""Models whose streams break off: after any piece, by an error or by an end that comes too early."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace
from itertools import islice

import convo
from convo.testing import HistoryClient


class Broken(ConnectionError):
    """What a client of a service raises that is no error of convo's."""


class CutClient(HistoryClient):
    """Answers as HistoryClient does, and breaks off after `pieces` pieces: with an error, or without a word.

    Unless it `tells_ends`, nothing says of the last piece either that it is the last one.
    """

    def __init__(self, pieces: int, *, error: Exception | None = None, tells_ends: bool = False) -> None:
        super().__init__()
        self._pieces = pieces
        self._error = error
        self._tells_ends = tells_ends

    def stream(self, request: convo.ChatRequest, *, deadline_s: float) -> Iterator[convo.Delta]:
        for each in islice(super().stream(request, deadline_s=deadline_s), self._pieces):
            yield self._cut(each)
        self._break_off()

    async def stream_async(self, request: convo.ChatRequest, *, deadline_s: float) -> AsyncIterator[convo.Delta]:
        async with aclosing(super().stream_async(request, deadline_s=deadline_s)) as pieces:
            for _ in range(self._pieces):
                yield self._cut(await anext(pieces))
        self._break_off()

    def _cut(self, piece: convo.Delta) -> convo.Delta:
        return piece if self._tells_ends else replace(piece, finish_reason=None)

    def _break_off(self) -> None:
        if self._error is not None:
            raise self._error
