"""Conversations as a page to read and to print: one file that holds everything it needs, and in which nothing acts.

No script, no handler, nothing that is fetched, no link but to places in the page itself; a policy in its head says so
to the browser (Content Security Policy Level 3), which then runs nothing even where a text were not escaped.
Texts stand as they were written: Markdown is not rendered, and the characters that nobody would see are shown.

The page is written as it is read: neither a conversation nor the list of all of them is ever held as a whole.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import chain, islice

from convo.formats import bubbles, markup, particulars
from convo.formats.base import Tally, Transcript
from convo.formats.stylesheet import STYLE
from convo.values import ConversationRecord, Turn

NEAR_TURNS = 500
"""How many turns of a page are laid out at once when it is opened: a browser needs less than a second for them."""


class HtmlWriter:
    """Writes a page: a list of contents where there are several conversations, and then each of them.

    Everything is shown, erased texts as a mark in their place, so that nothing is ever left out.
    """

    def __init__(self) -> None:
        self.tally = Tally()
        self._level = 1  # of the heading of a conversation

    def begin(self, contents: Iterable[ConversationRecord]) -> Iterator[str]:
        """Yield what stands before the first conversation; read two of `contents` before anything is written."""
        records = iter(contents)
        first = list(islice(records, 2))
        has_many = len(first) > 1
        self._level = 2 if has_many else 1
        yield _head(particulars.name(first[0]) if len(first) == 1 else "Conversations")
        if has_many:
            yield from _contents(chain(first, records))
        yield "<main>\n" if first else "<main>\n<h1>No conversations</h1>\n"

    def conversation(self, shown: Transcript) -> Iterator[str]:
        """Yield one conversation, in pieces as long as one text at most."""
        record, level = shown.record, self._level
        turns = iter(shown.turns)
        first = next(turns, None)
        anchor = markup.plain(record.id)
        self.tally.conversations += 1
        yield f'<article class="conversation" id="{anchor}" aria-labelledby="{anchor}-title">\n'
        yield particulars.head(record, first, level)
        yield from particulars.given(record, shown.examples, level + 1)
        for each in chain([first] if first else [], turns):
            yield from bubbles.turn(record, each, level + 1, is_far=self.tally.turns >= NEAR_TURNS)
            self._count(each)
        if level > 1:
            yield '<p class="back"><a href="#contents">Back to the contents</a></p>\n'
        yield "</article>\n"

    def end(self) -> Iterator[str]:
        """Yield what stands behind the last conversation."""
        yield '</main>\n<footer class="colophon"><p class="small">Kept by convo. All times are UTC.</p></footer>\n'
        yield "</body>\n</html>\n"

    def _count(self, shown: Turn) -> None:
        said = [each.content for each in (shown.message, *shown.candidates) if each is not None]
        self.tally.turns += 1
        self.tally.texts += sum(content is not None for content in said)


def policy() -> str:
    """Return what the page lets a browser do: use the one stylesheet that it has, known by its hash, and no more."""
    digest = b64encode(sha256(STYLE.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _head(title: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy()}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{markup.plain(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
    )


def _contents(records: Iterable[ConversationRecord]) -> Iterator[str]:
    """Yield the list of conversations, in the order in which they come."""
    yield '<header>\n<h1 id="contents">Conversations</h1>\n</header>\n'
    yield '<nav class="contents" aria-labelledby="contents">\n<ol>\n'
    for each in records:
        name = markup.inline(each.name) if each.title and each.name else ""
        facts = [name, markup.counted(each.turn_count, "turn"), markup.day(each.created_at)]
        link = f'<a href="#{markup.plain(each.id)}" lang="" dir="auto">{markup.text(particulars.name(each))}</a>'
        yield f'<li>{link} <span class="small">{" · ".join(filter(None, facts))}</span></li>\n'
    yield "</ol>\n</nav>\n"
