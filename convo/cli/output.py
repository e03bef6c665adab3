"""What the commands print: answers on standard output, everything else on standard error, nothing that acts."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from convo.text import inert

if TYPE_CHECKING:
    from convo.errors import ConvoError
    from convo.values import Fit, PromptRecord

_UNTOLD = ("salt", "context_salt", "input_salt", "output_salt", "citation_metadata")
"""Salts are secret, and citations are not stored."""


def say(text: str) -> None:
    """Print an answer; on a terminal its control characters as visible escapes, in a pipe as they are."""
    _print(text, sys.stdout)


def say_piece(text: str) -> None:
    """Print what has come of an answer, on the line where the last piece ended."""
    _print(text, sys.stdout, end="")


def note(text: str) -> None:
    """Print something about the answer, for a person."""
    _print(text, sys.stderr)


def note_error(error: ConvoError) -> None:
    """Print what went wrong, what a service said about it in its own words, and what has become of the turn."""
    note(f"error: {error}")
    if detail := getattr(error, "detail", None):
        note(f"it says: {detail}")
    for each in getattr(error, "__notes__", ()):
        note(each)


def _print(text: str, stream: TextIO, end: str = "\n") -> None:
    print(inert(text) if stream.isatty() or stream is sys.stderr else text, file=stream, flush=True, end=end)


def say_json(value: object) -> None:
    """Print a value as JSON; what is not ASCII stays readable, what could act on a terminal is escaped."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False)
    print("".join(each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text))


def plain(value: Any) -> Any:  # noqa: ANN401 - any of convo's values
    """Return a value as JSON can hold it: times in ISO 8601 with Z, digests in hexadecimal, no salts."""
    if dataclasses.is_dataclass(value):
        names = (each.name for each in dataclasses.fields(value) if each.name not in _UNTOLD)
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value.hex() if isinstance(value, bytes) else value


def counted(number: int, what: str) -> str:
    """Return a number of things, in words."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def age(at: datetime, now: datetime) -> str:
    """Return how long ago something was, in its largest unit."""
    seconds = max(int((now - at).total_seconds()), 0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def cut(text: str, width: int, ellipsis: str = "…") -> str:
    """Return the beginning of a text on one inert line of at most `width` columns, an ellipsis where it was cut."""
    from rich.cells import cell_len, set_cell_size

    line = inert(" ".join(text.split()))
    if cell_len(line) <= width:
        return line
    return set_cell_size(line, max(width - len(ellipsis), 0)).rstrip() + ellipsis


def padded(text: str, width: int) -> str:
    """Return a text with spaces after it, `width` columns wide; Chinese characters take two."""
    from rich.cells import cell_len

    return text + " " * (width - cell_len(text))


Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""The head, which a pipe does not get, and the rows."""


def say_table(table: Table) -> None:
    """Print rows: on a terminal in columns under their head, in a pipe as fields with tabs between them."""
    head, rows = table
    if sys.stdout.isatty():
        for line in columns(head, rows, shutil.get_terminal_size().columns):
            say(line)
        return
    for row in rows:
        print("\t".join(" ".join(each.splitlines()).replace("\t", " ") for each in row))


def say_tables(tables: Mapping[str, Table]) -> None:
    """Print several tables: on a terminal one below the other, in a pipe each row with the table's name before it."""
    for number, (name, (head, rows)) in enumerate(tables.items()):
        if not sys.stdout.isatty():
            say_table((head, [(name, *row) for row in rows]))
            continue
        if number:
            say("")
        say_table((head, rows))


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return rows under their head, each on a line; the last column gets what room is left, and is cut."""
    from rich.cells import cell_len

    sizes = [max(cell_len(row[place]) for row in (head, *rows)) for place in range(len(head) - 1)]
    room = max(width - sum(sizes) - 2 * len(sizes), 10)
    return ["  ".join([*map(padded, row, sizes), cut(row[-1], room)]).rstrip() for row in (head, *rows)]


def dropped(prompt: Fit | PromptRecord | None) -> str | None:
    """Return what did not fit into a prompt, in words; None when everything did."""
    left_out = [
        f"{count} {what}{'' if count == 1 else 's'}"
        for what, count in (
            ("message", getattr(prompt, "dropped_messages", 0)),
            ("example", getattr(prompt, "dropped_examples", 0)),
        )
        if count
    ]
    return f"the oldest {' and '.join(left_out)} did not fit" if left_out else None
