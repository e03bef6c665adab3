"""A table of texts, to be looked at in a spreadsheet or by a statistician: CSV (RFC 4180), one row a text.

It is UTF-8 and begins with a byte order mark, without which Excel takes it for the code page of its machine; rows end
in CRLF, cells are put in quotes where they must be. Excel, LibreOffice and pandas read it so. Excel cuts what is
longer than 32,767 characters, and where its list separator is not the comma it has to be told of the comma.

A cell that a spreadsheet might take for a formula has an apostrophe before it. So has what stands at the beginning of
a line, or behind a tab or semicolon, and might be one: where the semicolon is the list separator, Excel begins a cell
there, quotes or not. So **such texts are changed**, the items of lists for instance: a table is to be looked at, and is
no way to take conversations to another store. https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from convo.formats.base import Tally, Transcript
from convo.formats.times import told
from convo.values import Candidate, ConversationRecord, Example, Message, Turn

COLUMNS = (
    *("conversation", "owner", "name", "title", "turn", "position", "role", "author", "candidate", "chosen"),
    *("content", "erased", "finish_reason", "model", "tokens", "created_at"),
)
"""`turn` is empty beside the context and the examples. `position` is a message's, from 0 with an opening and from 1
without, and of an example which one it is, from 0. `role` is user, model, context, example input or example output.
`chosen` is yes or no beside a reply, `erased` is yes where the text is gone. `tokens` are the estimate; those of an
example stand beside its input, for both texts. `created_at` is in UTC; of a reply, when the chosen one was there."""

NO_TEXT = "conversations without any text"

_FORMULA = "[=+\\-@\uff1d\uff0b\uff0d\uff20]"  # what one may begin with, and the full-width twins
_UNSEEN = (
    "\x00-\x08\x0b\x0c\x0e-\x20\x7f-\xa0\xad\u061c\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f"
    "\u3000\ufe00-\ufe0f\ufeff\U000e0000-\U000e01ef"
)
_AT_START = re.compile(f"[\t\r\n]|[{_UNSEEN}]*{_FORMULA}")
# A program with another separator than the comma, or that ends rows at every line end, sees cells begin here too.
_INSIDE = re.compile(f'([;\t\r\n][{_UNSEEN}"]*)(?={_FORMULA})')

Cells = dict[str, Any]


class CSVWriter:
    """Writes every text: all candidates, unanswered turns, and rows without a text for erased ones."""

    def __init__(self) -> None:
        self.tally = Tally()

    def begin(self, contents: Iterable[ConversationRecord]) -> Iterator[str]:  # noqa: ARG002 - as all writers
        """Yield the byte order mark and the names of the columns."""
        yield "\ufeff" + _row(COLUMNS)

    def conversation(self, shown: Transcript) -> Iterator[str]:
        """Yield its rows, one by one."""
        record = shown.record
        whose = {"conversation": record.id, "owner": record.owner, "name": record.name, "title": record.title}
        is_empty = True
        for cells in self._all(shown):
            is_empty = False
            yield _row([inert(_told(whose | cells, column)) for column in COLUMNS])
        if is_empty:
            self.tally.left_out[NO_TEXT] += 1
        else:
            self.tally.conversations += 1

    def _all(self, shown: Transcript) -> Iterator[Cells]:
        if shown.record.context:
            yield _text("context", shown.record.context, shown.record.context_tokens)
        for number, example in enumerate(shown.examples):
            yield from _of_example(number, example)
        for turn in shown.turns:
            self.tally.turns += 1
            for cells in _of_turn(turn, shown.record.authors):
                self.tally.texts += cells["content"] is not None
                yield cells

    def end(self) -> Iterator[str]:
        """Yield nothing."""
        return iter(())


def inert(cell: str) -> str:
    """Return what a cell says so that no spreadsheet reckons with it: with an apostrophe wherever one might begin to.

    At the beginning it stands first of all; elsewhere right before what might be taken for the sign of a formula.
    """
    safe = _INSIDE.sub(r"\1'", cell)
    return f"'{safe}" if _AT_START.match(cell) else safe


def _told(cells: Cells, column: str) -> str:
    value = cells.get(column)
    return "" if value is None else str(value)


def _row(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _text(role: str, content: str | None, tokens: int | None = None) -> Cells:
    return {"role": role, "content": content, "erased": "yes" if content is None else None, "tokens": tokens}


def _of_example(number: int, example: Example) -> Iterator[Cells]:
    yield _text("example input", example.input, example.tokens) | {"position": number}
    yield _text("example output", example.output) | {"position": number}


def _of_turn(turn: Turn, authors: tuple[str, str]) -> Iterator[Cells]:
    if turn.message:
        yield _of_message(turn.number, turn.message, authors[0])
    for each in turn.candidates:
        yield _of_candidate(turn, each, authors[1])


def _of_message(number: int, message: Message, author: str) -> Cells:
    place = {"turn": number, "position": 2 * number - 1, "author": message.author or author}
    return _text("user", message.content, message.tokens) | place | {"created_at": told(message.created_at)}


def _of_candidate(turn: Turn, each: Candidate, author: str) -> Cells:
    is_chosen = each.index == turn.chosen
    return _text("model", each.content, each.tokens) | {
        "turn": turn.number,
        "position": 2 * turn.number,
        "author": each.author or author,
        "candidate": each.index,
        "chosen": "yes" if is_chosen else "no",
        "finish_reason": each.finish_reason,
        "model": each.model,
        "created_at": told(turn.finished_at) if is_chosen else None,
    }
