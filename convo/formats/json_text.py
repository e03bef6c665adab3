"""JSON (RFC 8259) as files of conversations have it: written so that all readers see the same lines, read strictly."""

from __future__ import annotations

import json
import re
from typing import Any

from convo.formats.base import Line

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# Python's str.splitlines(), and readers that are built like it, see a line end in each of these.
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def written(value: Any) -> str:  # noqa: ANN401 - JSON
    """Return a value as compact JSON of one line, whatever a reader takes for a line end; other text stays readable."""
    text = _encode(value)
    return text if text.isascii() else _LINE_ENDS.sub(escaped, text)


def escaped(found: re.Match[str]) -> str:
    """Return a character of the basic plane as JSON escapes it; for re.sub()."""
    return f"\\u{ord(found[0]):04x}"


def parsed(text: str) -> Any:  # noqa: ANN401 - JSON
    """Return the value that a JSON text is of.

    Raises:
        ValueError: it is none, has a NaN or an infinity, or nests deeper or has longer numbers than Python can read.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        msg = "it nests too deep"
        raise ValueError(msg) from None


def _refuse(name: str) -> None:
    msg = f"{name} is no JSON"
    raise ValueError(msg)


def text_of(line: Line) -> str:
    """Return a line's text, without the byte order mark that a file may begin with.

    Raises:
        UnicodeDecodeError: it is not UTF-8. As every such error, a ValueError.
    """
    content = line.content.removeprefix(BYTE_ORDER_MARK) if line.number == 1 else line.content
    return content.decode()
