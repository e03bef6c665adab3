"""Which forms there are: by name, with the suffix of their files, and who writes and reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from itertools import islice
from typing import Any, NamedTuple

from convo.errors import InvalidFile, InvalidInput
from convo.formats.base import Line, Writer

LOSSLESS = "jsonl"
"""convo's own form, of rows rather than of transcripts."""


class Form(NamedTuple):
    """A form of files."""

    suffix: str
    writer: str
    """The name of its class, in the module of the form's own name."""
    module: str
    is_read: bool = False


FORMS = {
    LOSSLESS: Form(".jsonl", "JsonLinesWriter", "jsonl", is_read=True),
    "md": Form(".md", "MarkdownWriter", "markdown", is_read=True),
    "html": Form(".html", "HtmlWriter", "html"),
    "csv": Form(".csv", "CSVWriter", "csv"),
    "openai": Form(".jsonl", "OpenAIWriter", "openai", is_read=True),
    "dpo": Form(".jsonl", "DPOWriter", "dpo"),
    "sharegpt": Form(".jsonl", "ShareGPTWriter", "sharegpt", is_read=True),
}
"""By name. The first one of a suffix is meant where nothing but a file's name tells."""


def module_of(name: str) -> Any:  # noqa: ANN401 - a module
    """Return the module of a form, imported now."""
    return import_module(f"convo.formats.{FORMS[name].module}")


def new_writer(name: str) -> Writer:
    """Return a new writer of a form."""
    writer: Writer = getattr(module_of(name), FORMS[name].writer)()
    return writer


def sniffed(lines: Iterator[Line], file_name: str) -> str:
    """Return the form that a file seems to be of, by its first lines and its name.

    Raises:
        InvalidFile: it is empty, or of no form that is read.
    """
    first = next((line.content.strip() for line in islice(lines, _LOOKED_AT) if line.content.strip()), None)
    if first is None:
        raise InvalidFile(f"{file_name} is empty")
    first = first.removeprefix(b"\xef\xbb\xbf")
    if not first.startswith((b"{", b"[")):
        return "md"
    try:
        told = json.loads(first)
    except (ValueError, RecursionError):
        told = None
    if isinstance(told, dict):
        if told.get("type") in ("convo", "conversation"):
            return LOSSLESS
        found = next((name for name, key in _MARKS.items() if key in told), None)
        if found is not None:
            return found
    raise InvalidFile(f"{file_name} is of no form that is read here: {', '.join(_read_forms())}; name one if it is")


_LOOKED_AT = 1000
"""How many lines may be blank at the beginning."""

_MARKS = {"dpo": "preferred_output", "openai": "messages", "sharegpt": "conversations"}
"""What a line of each form has."""


def _read_forms() -> list[str]:
    return [name for name, form in FORMS.items() if form.is_read]


def check_read(name: str) -> None:
    """Raise InvalidFile for a form that is written only."""
    if not FORMS[name].is_read:
        raise InvalidFile(f"{name} is written, and not read: there are {', '.join(_read_forms())}")


def form_of(named: str | None, file_name: str) -> str:
    """Return the form that is meant: the one that was named, else that of a file's suffix, else convo's own.

    Raises:
        InvalidInput: there is none of that name, or none for that suffix.
    """
    if named is None:
        _, dot, ending = file_name.rpartition(".")
        if not dot or "/" in ending:
            return LOSSLESS
        found = next((name for name, form in FORMS.items() if form.suffix == f".{ending.lower()}"), None)
        if found is None:
            raise InvalidInput(f"no form has files that end with .{ending}: name one of {', '.join(FORMS)}")
        return found
    if named not in FORMS:
        raise InvalidInput(f"there is no form {named!r}: there are {', '.join(FORMS)}")
    return named
