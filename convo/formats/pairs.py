"""What forms for training can hold of a conversation: pairs of a user's message and the chosen reply, both whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from convo.formats.base import Tally
from convo.values import Example, Turn

NO_TURN = "conversations without a complete turn"
UNANSWERED = "unanswered turns"
ERASED = "turns with erased texts"
ERASED_EXAMPLES = "erased examples"


class Pair(NamedTuple):
    """A turn, or an example."""

    asked: str | None
    """None only in the opening, which answers nothing."""
    answer: str


def complete(turns: Iterable[Turn], tally: Tally) -> Iterator[Pair] | None:
    """Return the complete turns, the opening too; None, and tell the tally, when there is none but an opening.

    Reads no further than the first of them before it returns. Turns that are skipped are told to the tally as they
    are passed; those of a conversation of which nothing is written are not, it counts as a whole.
    """
    skipped: Counter[str] = Counter()
    pairs = _pairs(turns, skipped)
    head: list[Pair] = []
    for pair in pairs:
        head.append(pair)
        if pair.asked is not None:
            return _told(chain(head, pairs), skipped, tally)
    tally.left_out[NO_TURN] += 1
    return None


def _pairs(turns: Iterable[Turn], skipped: Counter[str]) -> Iterator[Pair]:
    for turn in turns:
        reply, asked = turn.reply, turn.message.content if turn.message else None
        if reply is None:
            skipped[UNANSWERED] += 1
        elif reply.content is None or (turn.message and asked is None):
            skipped[ERASED] += 1
        else:
            yield Pair(asked, reply.content)


def _told(pairs: Iterable[Pair], skipped: Counter[str], tally: Tally) -> Iterator[Pair]:
    tally.conversations += 1
    yield from pairs
    tally.left_out.update(skipped)


def whole(examples: Iterable[Example], tally: Tally) -> Iterator[Pair]:
    """Yield the examples of which both texts are there, and tell the tally of the others."""
    for each in examples:
        if each.input is None or each.output is None:
            tally.left_out[ERASED_EXAMPLES] += 1
        else:
            yield Pair(each.input, each.output)


def count(pair: Pair, tally: Tally) -> None:
    """Tell the tally of a turn that was written."""
    tally.turns += 1
    tally.texts += 1 if pair.asked is None else 2
