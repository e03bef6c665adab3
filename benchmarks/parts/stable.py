"""How much of a prompt is the beginning of the prompt before: what a provider's cache need not read again.

The conversation is longer than the limit from the first turn on. With trim="minimal" the window moves on with each
turn; with trim="stable" it stays where it is for as long as it can. The database is of no account: it is in memory.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal

import convo
from benchmarks import texts
from benchmarks.parts.rounds import Figures
from benchmarks.places import Places
from benchmarks.plan import Plan
from benchmarks.systems.convo import Instant

BEFORE = 200
"""How many messages there are before the first turn: more than fit."""

Said = list[tuple[str, int]]
"""The texts of a prompt, and how many tokens each has."""


def measure(plan: Plan, places: Places) -> Figures:  # noqa: ARG001 - as the other parts
    """Measure both ways to trim."""
    return {"minimal": _with(plan, "minimal"), "stable": _with(plan, "stable")}


def _with(plan: Plan, trim: Literal["minimal", "stable"]) -> Figures:
    plan.told(f"stable: {plan.stable_turns} turns with trim={trim!r}")
    shares: list[float] = []
    tokens: list[int] = []
    client = Instant()
    with convo.Store("sqlite://", client=client) as store:
        talk = store.create(
            model="instant", input_token_limit=texts.LIMIT, trim=trim, messages=list(texts.history(BEFORE))
        )
        before: Said = []
        for number in range(BEFORE, BEFORE + plan.stable_turns):
            client.answer = texts.answer(number)
            prompt = talk.send(texts.question(number)).prompt
            said = [(str(each.content), each.tokens) for each in prompt.messages]  # type: ignore[union-attr]  # a new one's
            if before:
                shares.append(common(before, said) / sum(cost for _, cost in said))
            tokens.append(sum(cost for _, cost in said))
            before = said
    return {
        "mean": statistics.mean(shares),
        "median": statistics.median(shares),
        "minimum": min(shares),
        "mean_tokens": statistics.mean(tokens),
        "turns": plan.stable_turns,
    }


def common(before: Sequence[tuple[str, int]], said: Sequence[tuple[str, int]]) -> int:
    """Return the tokens of the texts with which both prompts begin."""
    total = 0
    for (old, _), (new, cost) in zip(before, said, strict=False):
        if old != new:
            break
        total += cost
    return total
