"""How many tokens a text has, estimated without a tokenizer.

Counts are stored with the texts and decide what fits; they need to be local, quick and stable, and to rank texts
as a real tokenizer would. tests/test_tokens.py shows what the estimate is compared with, language by language.
"""

from __future__ import annotations

ESTIMATE_VERSION = 1
"""Written into each conversation's journal, so that a later release knows how its texts were counted."""


def estimate(text: str) -> int:
    """Return the base estimate of the tokens of `text`: 0 for an empty one.

    ASCII text has about four characters a token; in other text a token covers about three UTF-8 bytes, which is one
    Chinese character.
    """
    if text.isascii():
        return -(-len(text) // 4)
    return -(-len(text.encode()) // 3)
