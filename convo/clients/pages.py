"""A service's list of models, from its first page to its last: pure, as who asks is passed in."""

from __future__ import annotations

from collections.abc import Callable

from convo.clients.wire import Page
from convo.errors import BadModelResponse
from convo.values import Model

MAX_PAGES, MAX_MARK, MAX_NAME = 100, 2048, 1024
"""How many pages are asked for; the longest mark of a page, and the longest name in one, in characters."""


def all_of(ask: Callable[[str | None], Page], provider: str) -> list[Model]:
    """Return the models of all pages, each once; they end at a mark that came before, and after MAX_PAGES.

    Raises:
        BadModelResponse: a mark is too long for an address.
    """
    found: dict[str, Model] = {}
    marks: list[str | None] = [None]
    while True:
        page = ask(marks[-1])
        found |= {each.name: each for each in page.models if _is_name(each.name)}
        if page.next_mark is None or page.next_mark in marks or len(marks) == MAX_PAGES:
            return list(found.values())
        if len(page.next_mark) > MAX_MARK:
            raise BadModelResponse(f"{provider} names its next page with more than {MAX_MARK:,} characters")
        marks.append(page.next_mark)


def _is_name(name: str) -> bool:
    """Return whether a name can be one: of a line, and with nothing that acts on a terminal."""
    return name.isprintable() and not name.endswith("/") and len(name) <= MAX_NAME
