"""Which part of a conversation is sent: the window of messages that fits the model's limit.

The ranks are those of the reference page of `chat`: "Items will be dropped from `messages` before `examples`", the
oldest first, and the context takes precedence over both. Trimming is a view: it decides what is sent and changes
nothing that is stored. Everything here is a function of values.

What a prompt costs is not known before it was sent. But most of it was sent before, and then its service told how
many tokens that was. So the cost is what was told, and what has come since at its dearest, less what is left out now at
its cheapest; without such a report it is the estimate, times the model's factor. tests/test_calibration.py shows what
this comes to with exact tokenizers.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

from convo.errors import PromptTooLong
from convo.tokens import HIGHEST, LOWEST, ratio
from convo.values import MINIMAL, MODEL, STABLE, Example, Fit, Message, Model

STABLE_SHARE = 0.75
"""How much of the limit a stable cut keeps: consecutive prompts then share their beginning until it is full again."""

DEAREST, CHEAPEST = 1.5, 0.6
"""How much dearer, or cheaper, a single text may be than a whole prompt of many, which a factor tells of."""


class Measured(NamedTuple):
    """What a service counted of the prompt before, and which messages that had; all examples were in it."""

    tokens: int
    first: int
    """The position of its first message."""
    last: int
    """Of its last one."""
    answer: int | None = None
    """What it counted of the answer: of all its candidates."""


class Budget(NamedTuple):
    """How much a prompt may hold, and what each of its texts costs."""

    limit: int
    """The most tokens that the whole prompt may have."""
    overhead: int = 0
    """Tokens that the model's service adds to each text."""
    user_first: bool = False
    """Whether the window must begin with a user's message."""
    factor: float = 1.0
    """How many tokens of the model's own a token of the estimate is."""
    measured: Measured | None = None

    def of_message(self, message: Message) -> int:
        """Return the estimate of a message as sent."""
        return message.tokens + self.overhead

    def of_example(self, example: Example) -> int:
        """Return the estimate of an example as sent: two texts."""
        return example.tokens + 2 * self.overhead

    def of_context(self, context: str | None, tokens: int) -> int:
        """Return the estimate of the context as sent: none without one."""
        return tokens + self.overhead if context else 0


def input_limit(model: Model, output: int | None) -> int:
    """Return the most tokens of a prompt; where one window holds both, what an answer of at most `output` leaves."""
    if model.context_window is None or output is None:
        return model.input_token_limit
    return max(model.context_window - output, 1)


def fit(
    context: str | None,
    examples: Sequence[Example],
    messages: Sequence[Message],
    *,
    context_tokens: int,
    budget: Budget,
    first_position: int | None = None,
    trim: str = MINIMAL,
    cut: int | None = None,
    example_count: int | None = None,
) -> Fit:
    """Keep what fits: the context, the newest message, the examples, then messages from newest to oldest.

    `messages` and `examples` are oldest first, none of them erased, and the last message is the newest, the user's.
    `first_position` is that of the conversation's first message: what lies between it and the first one that is kept
    counts as dropped, whether it was read, erased or neither. `example_count` counts erased examples too.
    With ``trim="stable"``, `cut` is the position where the window began the last time, None when it never did: the
    window begins there again while it fits, and else is cut back to STABLE_SHARE of the limit.

    Returns a Fit with ``tokens <= limit``; no example is dropped while a message but the newest is kept.

    Raises:
        PromptTooLong: the context and the newest message alone exceed the limit.
    """
    older, limit = len(messages) - 1, budget.limit
    always = budget.of_context(context, context_tokens) + budget.of_message(messages[-1])
    kept = _estimates(always, messages[:-1], examples, budget)
    price = _price(kept, messages, budget)
    if (least := price(len(kept) - 1)) > limit:
        raise PromptTooLong(tokens=least, limit=limit)
    dropped = _least_dropped(price, len(kept) - 1, limit)
    if trim == STABLE and dropped <= older:
        dropped = _stable(dropped, 0 if cut is None else _index_at(messages, cut), older, price, limit)
    dropped += budget.user_first and dropped < older and messages[dropped].side == MODEL
    first_message, first_example = min(dropped, older), max(dropped - older, 0)
    sent = tuple(examples[first_example:]), tuple(messages[first_message:])
    left_out = first_example, _dropped_before(messages, first_message, first_position)
    first = _place_of(examples, first_example, example_count)
    return Fit(price(dropped), limit, context, *sent, *left_out, kept[dropped], first)


def _estimates(always: int, messages: Sequence[Message], examples: Sequence[Example], budget: Budget) -> Sequence[int]:
    """Return the estimate of a prompt, by how many of its parts are dropped; `always` is that of what never is."""
    overhead = budget.overhead
    # What of_message() tells of each: to ask it takes twice as long, for each message of each prompt.
    droppable = [*[each.tokens + overhead for each in messages], *map(budget.of_example, examples)]
    return [*accumulate(reversed(droppable), initial=always)][::-1]


def _dropped_before(messages: Sequence[Message], index: int, first_position: int | None) -> int:
    """Return how many messages are older than the one at `index`."""
    position = messages[index].position
    return index if position is None or first_position is None else position - first_position


def _place_of(examples: Sequence[Example], index: int, count: int | None) -> int:
    """Return the position of an example; behind the last one, how many there are."""
    if index == len(examples):
        return index if count is None else count
    position = examples[index].position
    return index if position is None else position


Price = Callable[[int], int]
"""What a prompt costs in the model's own tokens, by how many of its oldest parts are dropped; never more for more."""


def _price(kept: Sequence[int], messages: Sequence[Message], budget: Budget) -> Price:
    """Return the price of a prompt of which `kept` is the estimate, by how many of its oldest parts are dropped."""

    def by_estimate(dropped: int) -> int:
        return math.ceil(kept[dropped] * budget.factor)

    was = budget.measured
    if was is None or messages[0].position is None or messages[0].position > was.first:
        return by_estimate
    older, newest = len(messages) - 1, budget.of_message(messages[-1])
    first, end = _index_at(messages, was.first), _index_at(messages, was.last + 1)
    reply = kept[end] - kept[older]
    estimated = kept[first] - reply - newest
    found = ratio(was.tokens, estimated)
    if found is None or was.tokens == estimated:  # a model that counts as we do
        return by_estimate
    dearest = min(budget.factor * DEAREST, HIGHEST)
    cheapest = min(max(found * CHEAPEST, LOWEST), dearest)
    before = found * estimated + dearest * newest + min(dearest * reply, _answered(was, found * reply, budget))

    def by_measure(dropped: int) -> int:
        change = kept[dropped] - kept[first]
        price = math.ceil(min(before + change * (dearest if change > 0 else cheapest), kept[dropped] * dearest))
        price = max(price, math.ceil(kept[dropped] * LOWEST))
        # What has to be sent is not refused because it may be dear.
        return min(price, by_estimate(dropped)) if dropped == len(kept) - 1 else price

    return by_measure


def _answered(was: Measured, least: float, budget: Budget) -> float:
    """Return what an answer costs as a message, by what its service counted: perhaps of another one than was chosen."""
    return math.inf if was.answer is None else max(was.answer + budget.overhead, least)


def _stable(dropped: int, before: int, older: int, price: Price, limit: int) -> int:
    """Return how many messages are dropped when as many as `before` is enough, or else more than is needed now."""
    if dropped <= before:
        return before
    return _least_dropped(price, older, int(limit * STABLE_SHARE))


def _index_at(messages: Sequence[Message], position: int) -> int:
    """Return the index of the first message at `position` or after it; the newest one's when there is none."""
    found = (index for index, each in enumerate(messages) if each.position is None or each.position >= position)
    return next(found, len(messages) - 1)


def _least_dropped(price: Price, most: int, limit: int) -> int:
    """Return how many of the oldest parts have to be dropped; `most` when that is not enough."""
    return bisect_left(range(most), True, key=lambda dropped: price(dropped) <= limit)
