"""Events that may change turns of long ago: answers that came late, erased and replaced texts, and forks.

They are read before all others, so that a turn is told for good when the turn after the next one begins.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from convo.told import Body

KINDS = ("late", "erase", "redact", "fork")

_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


class Afterthought(NamedTuple):
    """What such an event tells of a turn, or of all of them."""

    number: int
    kind: str
    body: Body


class Afterthoughts:
    """Those of a whole journal."""

    def __init__(self, events: Iterable[tuple[int, str, bytes]] = ()) -> None:
        """Take number, kind and body of each, in order; one that cannot be read is found when its turn comes."""
        self._of_turn: dict[int, list[Afterthought]] = {}
        self._of_all: list[Afterthought] = []
        for number, kind, body in events:
            try:
                self._take(number, kind, json.loads(body))
            except _UNREADABLE:
                continue

    def of(self, turn: int, since: int) -> list[Afterthought]:
        """Return those of a turn that were told after event `since`, in order."""
        found = [*self._of_turn.get(turn, ()), *self._of_all]
        return sorted((each for each in found if each.number > since), key=lambda each: each.number)

    def _take(self, number: int, kind: str, body: Body) -> None:
        if kind == "fork":
            self._of_all.append(Afterthought(number, kind, body))
        elif kind == "late":
            self._add(body["turn"], Afterthought(number, kind, body))
        else:
            for turn, part in _by_turn(body):
                self._add(turn, Afterthought(number, kind, part))
            if "turns" in body or "labels" in body:
                self._of_all.append(Afterthought(number, kind, body | {"fields": []}))

    def _add(self, turn: int, afterthought: Afterthought) -> None:
        self._of_turn.setdefault(turn, []).append(afterthought)


def _by_turn(body: Body) -> Iterator[tuple[int, Body]]:
    """Yield the turns of which an event lists texts, each with what it lists of it."""
    parts: dict[int, list[object]] = {}
    for each in body.get("fields", ()):
        what, *place = each if isinstance(each[0], str) else each[0]
        if what == "content":
            parts.setdefault(place[0], []).append(each)
    yield from ((turn, {"fields": fields}) for turn, fields in parts.items())
