"""How many tokens a text has, estimated without a tokenizer, and by which factor a model's own count differs.

Counts are stored with the texts and decide what fits; they need to be local, quick and stable, and to rank texts
as a real tokenizer would. tests/test_tokens.py shows what the estimate is compared with, language by language.

A stored count is never changed. What a service reports of a whole prompt moves the model's factor only.
"""

from __future__ import annotations

ESTIMATE_VERSION = 1
"""Written into each conversation's journal, so that a later release knows how its texts were counted."""

LOWEST, HIGHEST = 0.5, 4.0
"""The range of a factor: how far an estimate may be off, in any language and with any tokenizer."""

USELESS = 0.4
"""A report below this share of the estimate is none: one token for ten bytes of ASCII. Servers that read most of a
prompt from their cache report the rest."""

FORGETTING = 1 / 32
"""How far one report below the factor brings it down: it is the upper envelope of the last few dozen."""

TELLING = 200
"""How many estimated tokens a prompt has to have, at least, to tell a factor: a shorter one tells of what the service
adds to every prompt."""

MARGIN = 1.25
"""By how much a prompt is shortened, at least, that a service found too long."""


def estimate(text: str) -> int:
    """Return the base estimate of the tokens of `text`: 0 for an empty one.

    ASCII text has about four characters a token; in other text a token covers about three UTF-8 bytes, which is one
    Chinese character.
    """
    if text.isascii():
        return -(-len(text) // 4)
    return -(-len(text.encode()) // 3)


def ratio(reported: int | None, estimated: int) -> float | None:
    """Return how many tokens a service counts for one that was estimated; None when its report is of no use."""
    if reported is None or estimated <= 0 or reported < USELESS * estimated:
        return None
    return min(max(reported / estimated, LOWEST), HIGHEST)


def learned(factor: float, found: float) -> float:
    """Return a model's factor after a report of `found`: up at once, down little by little."""
    return found if found >= factor else factor + (found - factor) * FORGETTING


def raised(limit: int, estimated: int) -> float:
    """Return the factor of a model that found a prompt too long which was taken to fit into `limit`."""
    return min(max(limit / max(estimated, 1) * MARGIN, LOWEST), HIGHEST)
