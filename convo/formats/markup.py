"""Texts and facts as pieces of HTML in which nothing acts: everything that is not of this file's making is escaped.

Each text of a conversation stands in an element of its own with ``dir="auto"``, so that its direction ends where it
ends, and with an empty ``lang``: nobody knows which language it is in (HTML Standard, sections 3.2.6.4 and 3.2.6.2).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from convo.text import ACTIVE, escape

ERASED = "[erased]"

LINE_END = "↵"
"""A carriage return before a newline; any other one is shown by its code."""

# A parser makes newlines of carriage returns; control characters and those that Unicode leaves unassigned for good
# may not stand in HTML at all (HTML Standard, section 13.2.3.5, and the parse errors of 13.2.2).
_UNASSIGNED = "\ufdd0-\ufdef" + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
_HIDDEN = re.compile(f"\r(?=\n)|[{ACTIVE}{_UNASSIGNED}]")

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""Not by the machine's locale: the same conversation has to be the same file everywhere."""


# What begins or ends a block of code in Markdown (CommonMark 0.31, section 4.5).
_FENCE = re.compile("^ {0,3}(`{3,}|~{3,})([^\n]*)\n?", re.MULTILINE)


def text(content: str) -> str:
    """Return a text as the content of an element.

    Characters that would act, that a parser would change or that HTML does not have stand as visible codes, each in a
    ``bdi`` element: no other ``bdi`` is written, so that they can be told from a text that has the same letters.
    """
    return _HIDDEN.sub(_marked, html.escape(content, quote=False))


def plain(content: str) -> str:
    """Return a text for where no element may stand, as in a title or an attribute."""
    return _HIDDEN.sub(_visible, html.escape(content))


def _marked(found: re.Match[str]) -> str:
    return f"<bdi>{_visible(found)}</bdi>"


def _visible(found: re.Match[str]) -> str:
    is_line_end = found[0] == "\r" and found.string.startswith("\n", found.end())
    return LINE_END if is_line_end else escape(found[0])


def block(content: str | None) -> str:
    """Return a text with its spaces and line ends; a mark in its place when it was erased.

    Nothing of it is rendered; only what is fenced as code is set in a font for code.
    """
    if content is None:
        return f'<p class="erased">{ERASED}</p>\n'
    shown = "".join(f"<code>{text(part)}</code>" if is_code else text(part) for part, is_code in _parts(content))
    return f'<div class="text" lang="" dir="auto">{shown}</div>\n'


def _parts(content: str) -> Iterator[tuple[str, bool]]:
    """Yield a text in parts, and whether each is a block of code with its fences; one that does not end goes on."""
    start, fence = 0, ""
    for found in _FENCE.finditer(content):
        if not fence and ("`" not in found[2] or found[1][0] == "~"):
            yield content[start : found.start()], False
            start, fence = found.start(), found[1]
        elif fence and found[1].startswith(fence) and not found[2].strip():
            yield content[start : found.end()], True
            start, fence = found.end(), ""
    yield content[start:], bool(fence)


def inline(content: str, kind: str = "") -> str:
    """Return a text within a line; `kind` is the class of its element, if it has one."""
    kind = kind and f' class="{kind}"'
    return f'<span{kind} lang="" dir="auto">{text(content)}</span>'


def facts(told: Iterable[tuple[str, str]]) -> str:
    """Return names with their values, which are HTML already."""
    rows = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>\n" for name, value in told)
    return f"<dl>\n{rows}</dl>\n"


def small(parts: Iterable[str]) -> str:
    """Return a line of small print of those parts that are not empty, HTML already; nothing when all are."""
    line = " · ".join(filter(None, parts))
    return f'<p class="small">{line}</p>\n' if line else ""


def counted(number: int, what: str) -> str:
    """Return a number of things, in words."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def day(at: datetime) -> str:
    """Return a time by its day, in UTC."""
    return _time(at, _day(at.astimezone(UTC)))


def moment(at: datetime, since: datetime | None = None) -> str:
    """Return a time by its minute, in UTC; without the day when that is the day of `since`."""
    at = at.astimezone(UTC)
    clock = f"{at:%H:%M}"
    is_same_day = since is not None and since.astimezone(UTC).date() == at.date()
    return _time(at, clock if is_same_day else f"{_day(at)}, {clock}")


def _day(at: datetime) -> str:
    return f"{at.day} {MONTHS[at.month - 1]} {at.year}"


def _time(at: datetime, shown: str) -> str:
    told = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f'<time datetime="{told}" title="{told}">{shown}</time>'
