"""How the candidates of a turn are set out to be compared: side by side where there is room, else one below another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from convo.cli.output import padded
from convo.text import inert

if TYPE_CHECKING:
    from convo.values import Candidate

NARROWEST = 30
"""How many columns a candidate has at least beside another one."""

GAP, INDENT = 3, 2

ERASED = "[erased]"


def set_out(candidates: Sequence[Candidate], chosen: int | None, width: int) -> list[str]:
    """Return the lines that show candidates in `width` columns: an asterisk at the chosen one, texts wrapped and inert.

    Models are named where there are several.
    """
    count = len(candidates)
    size = (width - GAP * (count - 1)) // count
    has_models = len({each.model for each in candidates}) > 1
    if count > 1 and size < NARROWEST:
        stacked = [_block(each, chosen, width, has_model=has_models) for each in candidates]
        return [line for block in stacked for line in (*block, "")][:-1]
    blocks = [_block(each, chosen, size, has_model=has_models) for each in candidates]
    gap = " " * GAP
    return [gap.join(padded(each, size) for each in row).rstrip() for row in zip_longest(*blocks, fillvalue="")]


def _block(candidate: Candidate, chosen: int | None, size: int, *, has_model: bool) -> list[str]:
    """Return a candidate in `size` columns: its index, and its text below."""
    head = f"{'*' if candidate.index == chosen else ' '} {candidate.index}"
    if has_model and candidate.model:
        head += f"  {inert(candidate.model)}"
    text = ERASED if candidate.content is None else candidate.content
    return [*_wrapped(head, size), *(" " * INDENT + line for line in _wrapped(text, max(size - INDENT, 1)))]


def _wrapped(text: str, size: int) -> list[str]:
    """Return a text as lines of at most `size` columns, broken between words where that is possible."""
    from rich.console import Console
    from rich.text import Text

    return [line.plain.rstrip() for line in Text(inert(text)).wrap(Console(width=size), size)]
