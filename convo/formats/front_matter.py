"""What stands at the head of a Markdown file, between two lines of ``---``: a value a line, as YAML.

Values are written as JSON, which is YAML too (YAML 1.2, section 1.3), and read as that, or as the plain and quoted
scalars of one line that people write. That is all of YAML that is read: nothing here can be asked to make an object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from convo.errors import ConvoError
from convo.formats import times
from convo.formats.drafts import NO_UUID, Dialogue, NoConversation, uuid_in
from convo.formats.json_text import escaped, parsed
from convo.sampling import parameters
from convo.values import MINIMAL, ConversationRecord, Parameters

FENCE = "---"
UNKNOWN = "unknown front matter"
UNKNOWN_PARAMETERS = "unknown parameters"

VERSION = 1
"""Of the form: a file that tells it has all texts to the last blank line."""

_AUTHORS = ("0", "1")
_NOTHING = ("", "~", "null")

_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")  # in YAML: section 5.1
_FENCE = re.compile(r"^---[ \t\r]*\n", re.MULTILINE)
_ENTRY = re.compile(r"([A-Za-z_][\w.-]*)[ \t]*:(?:[ \t]+(.*))?")
_COMMENT = re.compile(r"(?:^|[ \t])#.*$")


def head(record: ConversationRecord) -> Iterator[str]:
    """Yield the lines of the front matter, without what is unset or as always."""
    values: dict[str, Any] = {
        "convo": VERSION,
        "id": record.id,
        "name": record.name,
        "owner": record.owner or None,
        "title": record.title,
        "model": record.model,
        "parameters": record.parameters.as_dict() or None,
        "authors": None if record.authors == _AUTHORS else record.authors,
        "metadata": record.metadata or None,
        "input_token_limit": record.input_token_limit,
        "trim": None if record.trim == MINIMAL else record.trim,
        "created_at": times.told(record.created_at),
    }
    yield f"{FENCE}\n"
    for name, value in values.items():
        if value is not None:
            yield f"{name}: {_UNPRINTABLE.sub(escaped, json.dumps(value, ensure_ascii=False))}\n"
    yield f"{FENCE}\n"


def end_of(text: str, line: int) -> int:
    """Return where the front matter of a document ends; 0 when there is none. `line` is that of its beginning.

    Raises:
        NoConversation: it has no end.
    """
    first = _FENCE.match(text)
    if not first:
        return 0
    last = _FENCE.search(text, first.end())
    if not last:
        raise NoConversation(f"line {line}: the front matter has no end, a line of '{FENCE}'")
    return last.end()


def read(text: str, line: int, found: Dialogue) -> dict[str, Any]:
    """Return what front matter tells, by the names of a draft's fields; and `convo`, the form's version, where told.

    Raises:
        NoConversation: a value cannot be what it should be.
    """
    told: dict[str, Any] = {}
    for number, name, raw in _entries(text.split("\n")[1:-2], line + 1):
        if name not in _KINDS:
            found.drop(UNKNOWN)
            continue
        try:
            told[name] = _KINDS[name](raw, found)
        except ValueError as error:
            raise NoConversation(f"line {number}: {name} {error}") from None
    return {name: value for name, value in told.items() if value is not None}


def _entries(lines: Iterable[str], first: int) -> Iterator[tuple[int, str, str]]:
    """Yield line, name and value of each entry; of one that goes on over several lines, only unknown ones may."""
    name = ""
    for number, line in enumerate(lines, start=first):
        if not line.strip() or line.startswith("#"):
            continue
        if line[0] in " \t-":
            if name in _KINDS:
                raise NoConversation(f"line {number}: write the value of {name} on one line")
            continue
        entry = _ENTRY.fullmatch(line.rstrip())
        if not entry:
            raise NoConversation(f"line {number}: no 'name: value'")
        name = entry[1]
        yield number, name, (entry[2] or "").strip()


def _scalar(raw: str) -> str:
    """Return the text of a plain or quoted scalar."""
    if raw.startswith('"'):
        return str(_json(raw))
    if raw.startswith("'"):
        if not re.fullmatch("'(?:[^']|'')*'", raw):
            raise ValueError("has a quote that is not closed")
        return raw[1:-1].replace("''", "'")
    return _COMMENT.sub("", raw).strip()


def _json(raw: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return parsed(raw)
    except ValueError:
        raise ValueError("is no JSON of one line") from None


def _text(raw: str, found: Dialogue) -> str | None:  # noqa: ARG001 - as all kinds
    text = _scalar(raw)
    return None if text in _NOTHING and text == _COMMENT.sub("", raw).strip() else text


def _id(raw: str, found: Dialogue) -> str | None:
    text = _text(raw, found)
    known = uuid_in(text)
    found.drop(NO_UUID, int(known is None and text is not None))
    return known


def _number(raw: str, found: Dialogue) -> int | None:
    text = _text(raw, found)
    if text is not None and not re.fullmatch("[0-9]{1,15}", text):
        raise ValueError("is no whole number")
    return None if text is None else int(text)


def _time(raw: str, found: Dialogue) -> datetime | None:
    text = _text(raw, found)
    try:
        return None if text is None else times.understood(text)
    except ValueError:
        raise ValueError("is no time, as 2026-01-01T12:00:00Z") from None


def _version(raw: str, found: Dialogue) -> int:
    number = _number(raw, found)
    if number != VERSION:
        raise ValueError(f"is not {VERSION}: this release reads no other version of the form")
    return number


def _names(raw: str, found: Dialogue) -> tuple[str, str] | None:
    value = None if _text(raw, found) is None else _json(raw)
    if value is None:
        return None
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(each, str) for each in value)):
        raise ValueError("are not two names")
    return value[0], value[1]


def _object(raw: str, found: Dialogue) -> Mapping[str, Any] | None:
    value = None if _text(raw, found) is None else _json(raw)
    if value is not None and not isinstance(value, dict):
        raise ValueError("is no JSON object")
    return value


def _parameters(raw: str, found: Dialogue) -> Parameters | None:
    value = _object(raw, found) or {}
    known = {name: each for name, each in value.items() if name in Parameters.__dataclass_fields__}
    found.drop(UNKNOWN_PARAMETERS, len(value) - len(known))
    try:
        return parameters(known)
    except (TypeError, ConvoError) as error:
        raise ValueError(f"cannot be: {error}") from None


_KINDS = {
    **dict.fromkeys(("name", "owner", "title", "model", "trim"), _text),
    "id": _id,
    "input_token_limit": _number,
    "created_at": _time,
    "convo": _version,
    "authors": _names,
    "metadata": _object,
    "parameters": _parameters,
}
"""How the value of each entry is read."""
