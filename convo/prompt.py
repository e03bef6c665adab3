"""Which part of a conversation is sent: the window of messages that fits the model's limit.

The ranks are those of the reference page of `chat`: "Items will be dropped from `messages` before `examples`", the
oldest first, and the context takes precedence over both. Trimming is a view: it decides what is sent and changes
nothing that is stored. Everything here is a function of values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convo.errors import PromptTooLong
from convo.values import MINIMAL, MODEL, STABLE, Example, Fit, Message

STABLE_SHARE = 0.75
"""How much of the limit a stable cut keeps: consecutive prompts then share their beginning until it is full again."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a prompt may hold, and what each of its texts costs."""

    limit: int
    """The most tokens that the whole prompt may have."""
    overhead: int = 0
    """Tokens that the model's service adds to each text."""
    user_first: bool = False
    """Whether the window must begin with a user's message."""

    def of_message(self, message: Message) -> int:
        """Return the tokens of a message as sent."""
        return message.tokens + self.overhead

    def of_example(self, example: Example) -> int:
        """Return the tokens of an example as sent: two texts."""
        return example.tokens + 2 * self.overhead

    def of_context(self, context: str | None, tokens: int) -> int:
        """Return the tokens of the context as sent: none without one."""
        return tokens + self.overhead if context else 0


def fit(
    context: str | None,
    examples: Sequence[Example],
    messages: Sequence[Message],
    *,
    context_tokens: int,
    budget: Budget,
    unread: int = 0,
    trim: str = MINIMAL,
    cut: int | None = None,
) -> Fit:
    """Keep what fits: the context, the newest message, the examples, then messages from newest to oldest.

    `messages` and `examples` are oldest first, none of them erased, and the last message is the newest, the user's.
    `unread` older messages were left out by a reader that had seen enough; they count as dropped.
    With ``trim="stable"``, `cut` is the position where the window began the last time, None when it never did: the
    window begins there again while it fits, and else is cut back to STABLE_SHARE of the limit.

    Returns a Fit with ``tokens <= limit``; no example is dropped while a message but the newest is kept.

    Raises:
        PromptTooLong: the context and the newest message alone exceed the limit.
    """
    used = budget.of_context(context, context_tokens) + budget.of_message(messages[-1])
    if used > budget.limit:
        raise PromptTooLong(tokens=used, limit=budget.limit)
    first_example, used = _first_kept([budget.of_example(each) for each in examples], budget.limit, used)
    start = len(messages) - 1
    if first_example == 0:
        costs = [budget.of_message(each) for each in messages[:-1]]
        start, used = _first_message(costs, messages, budget, used, trim=trim, cut=cut)
    return Fit(
        tokens=used,
        limit=budget.limit,
        context=context,
        examples=tuple(examples[first_example:]),
        messages=tuple(messages[start:]),
        dropped_examples=first_example,
        dropped_messages=start + unread,
    )


def _first_message(
    costs: Sequence[int], messages: Sequence[Message], budget: Budget, used: int, *, trim: str, cut: int | None
) -> tuple[int, int]:
    """Return the index of the first message that is kept, and the tokens then used."""
    start, total = _first_kept(costs, budget.limit, used)
    if trim == STABLE:
        kept = 0 if cut is None else _index_at(messages, cut)
        if start <= kept:
            start, total = kept, used + sum(costs[kept:])
        else:
            start, total = _first_kept(costs, int(budget.limit * STABLE_SHARE), used)
    if budget.user_first and start < len(costs) and messages[start].side == MODEL:
        total -= costs[start]
        start += 1
    return start, total


def _index_at(messages: Sequence[Message], position: int) -> int:
    """Return the index of the first message at `position` or after it; the newest one's when there is none."""
    found = (index for index, each in enumerate(messages) if each.position is None or each.position >= position)
    return next(found, len(messages) - 1)


def _first_kept(costs: Sequence[int], limit: int, used: int) -> tuple[int, int]:
    """Return the index from which the last of `costs` fit into the limit beside `used`, and the new sum."""
    start = len(costs)
    while start and used + costs[start - 1] <= limit:
        start -= 1
        used += costs[start]
    return start, used
