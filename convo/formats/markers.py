r"""The comments of a Markdown file that tell whose text follows, each on a line of its own.

    <!-- role: user, turn: 1, at: "2026-01-01T12:00:00.000Z" -->

A value is a plain word or JSON's string. In a string ``>`` is written as an escape, so that none can close the comment.
A line of a text that looks like such a comment has a backslash before it, and so has one that looks like that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from convo.formats.drafts import NoConversation
from convo.formats.json_text import escaped, parsed, written

END = "<!-- end -->"
"""Stands behind a conversation, so that another one may follow."""

NAMES = frozenset(("role", "turn", "example", "candidate", "chosen", "finish", "model", "at", "erased"))
"""What a comment may tell."""

_COMMENT = r"<!--[ \t]*(?:role[ \t]*:|end[ \t]*-->[ \t\r]*$)"
_FLAGS = re.IGNORECASE | re.MULTILINE | re.ASCII
_TO_HIDE = re.compile(rf"^(?=\\*{_COMMENT})", _FLAGS)
_HIDDEN = re.compile(rf"^\\(?=\\*{_COMMENT})", _FLAGS)
_MARKER = re.compile(r"^<!--[ \t]*role[ \t]*:.*$", _FLAGS)
_END = re.compile(rb"<!--[ \t]*end[ \t]*-->[ \t\r]*", re.IGNORECASE)
_VALUE = re.compile(r'([A-Za-z_]+)[ \t]*:[ \t]*("(?:[^"\\]|\\.)*"|[^\s",]+)[ \t]*(?:,[ \t]*|$)')
_UNSAFE = re.compile("[>\x7f-\x9f]")
_WORD = re.compile(r"[a-z0-9_]+")

Values = Mapping[str, str]


class Marked(NamedTuple):
    """A text of a file, with the comment before it."""

    line: int
    """Where the comment is."""
    values: Values
    body: str
    """All lines behind it, as they stand there, without the newline that ends the last one."""


def marker(values: Mapping[str, str | int | bool | None]) -> str:
    """Return a comment, without the values that are None."""
    return f"<!-- {', '.join(f'{name}: {_value(each)}' for name, each in values.items() if each is not None)} -->"


def _value(value: str | int) -> str:
    if isinstance(value, str):
        return value if _WORD.fullmatch(value) else _UNSAFE.sub(escaped, written(value))
    return written(value)


def hide(text: str) -> str:
    """Return a text in which no line is taken for a comment of ours."""
    return _TO_HIDE.sub(r"\\", text)


def shown(body: str) -> str:
    """Return the text that hide() was given."""
    return _HIDDEN.sub("", body)


def is_end(line: bytes) -> bool:
    """Return whether a conversation ends with this line, which has no newline."""
    return _END.fullmatch(line) is not None


def first_marker(text: str, start: int) -> int:
    """Return where the first comment begins behind `start`; the length of the text when there is none."""
    found = _MARKER.search(text, start)
    return found.start() if found else len(text)


def marked(text: str, line: int) -> Iterator[Marked]:
    """Yield the texts of a conversation, in their order; all lines of `text` end in a newline, the first has a number.

    Raises:
        NoConversation: a comment cannot be read.
    """
    counted = 0
    marks = _MARKER.finditer(text)
    mark = next(marks, None)
    while mark:
        line += text.count("\n", counted, mark.start())
        counted = mark.start()
        following = next(marks, None)
        end = following.start() if following else len(text)
        yield Marked(line, _values(mark[0], line), text[mark.end() + 1 : end].removesuffix("\n"))
        mark = following


def _values(comment: str, line: int) -> Values:
    inside, closed, behind = comment.removeprefix("<!--").partition("-->")
    if not closed or behind.strip():
        raise NoConversation(f"line {line}: a role comment must be closed at the end of its line")
    inside = inside.strip()
    values: dict[str, str] = {}
    at = 0
    while at < len(inside):
        found = _VALUE.match(inside, at)
        if not found:
            raise NoConversation(f"line {line}: a role comment is a list of 'name: value', with commas between")
        values[found[1].lower()] = _read(found[2], line)
        at = found.end()
    return values


def _read(value: str, line: int) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(parsed(value))
    except ValueError:
        raise NoConversation(f"line {line}: a value of a role comment is no JSON") from None
