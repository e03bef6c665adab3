"""Markdown, to be read, edited and kept beside other documents: a document a conversation, and it can be read back.

    ---
    convo: 1
    id: "01890a5d-ac96-774b-bcce-b302099a8057"
    title: "The mouse"
    model: "offline/eliza"
    ---

    # The mouse

    <!-- role: user, turn: 1 -->
    ## 1. User

    Please catch that mouse.

    <!-- role: assistant, turn: 1 -->
    ## 1. Assistant

    Meow.

    <!-- end -->

Whose a text is, the comment before it tells; headings are for people. What is written and read and written again has
the same bytes: a text stands between a blank line before and one behind it as it is, but for a backslash before its
lines that look like one of our comments. Files that people write need no more than `<!-- role: user -->` and
`<!-- role: assistant -->`; there the blank lines around a text are no part of it.

A code block that a text leaves open goes on over the texts that follow, where the document is shown; not where it is
read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from convo.formats import front_matter, times
from convo.formats.base import Draft, Line, Lines, PlainWriter, Read, Transcript, Unread
from convo.formats.drafts import Dialogue, NoConversation
from convo.formats.json_text import BYTE_ORDER_MARK
from convo.formats.markers import END, first_marker, hide, is_end, marked, marker, shown
from convo.formats.sections import Sections, heading, is_heading
from convo.values import Turn

MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
"""The longest document that is read: it is held as a whole."""

BEFORE = "texts before the first role comment"

Values = dict[str, str | int | bool | None]


class MarkdownWriter(PlainWriter):
    """Writes everything that is said: all candidates, unanswered turns, and that a text was erased."""

    def conversation(self, shown: Transcript) -> Iterator[str]:
        """Yield its document; one without turns has a head only."""
        self.tally.conversations += 1
        yield from front_matter.head(shown.record)
        yield f"\n# {_plain(shown.record.title or 'Conversation')}\n\n"
        if shown.record.context:
            yield _section({"role": "context"}, shown.record.context)
        for number, each in enumerate(shown.examples):
            yield _section({"role": "example_input", "example": number}, each.input)
            yield _section({"role": "example_output", "example": number}, each.output)
        for turn in shown.turns:
            yield from self._turn(turn)
        yield f"{END}\n"

    def _turn(self, turn: Turn) -> Iterator[str]:
        self.tally.turns += 1
        if turn.message:
            self.tally.texts += turn.message.content is not None
            at = times.told(turn.message.created_at)
            yield _section({"role": "user", "turn": turn.number, "at": at}, turn.message.content)
        for index, each in enumerate(turn.candidates):
            self.tally.texts += each.content is not None
            yield _section(_of_candidate(turn, index), each.content)


def _plain(title: str) -> str:
    """Return a title as a heading shows it: on one line, and none of it taken for Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>&])", r"\\\1", " ".join(title.split()))


def _of_candidate(turn: Turn, index: int) -> Values:
    each = turn.candidates[index]
    is_one_of_several = len(turn.candidates) > 1
    is_chosen = each.index == turn.chosen
    has_time = is_chosen and turn.number > 0  # a draft's opening has none
    return {
        "role": "assistant",
        "turn": turn.number,
        "candidate": each.index if is_one_of_several else None,
        "chosen": is_chosen if is_one_of_several or turn.chosen is None else None,
        "finish": each.finish_reason,
        "model": each.model,
        "at": times.told(turn.finished_at) if has_time else None,
    }


def _section(values: Values, text: str | None) -> str:
    told = values if text is not None else values | {"erased": True}
    body = "" if text is None else f"{hide(text)}\n\n"
    return f"{marker(told)}\n{heading(told)}\n\n{body}"


def read(lines: Lines) -> Read:
    """Yield the conversation of each document: up to a comment that ends it, or to the end of the file.

    Where the first line ends in CRLF all lines do, and line ends of texts are read as LF.
    """
    for start, content, is_too_long in _documents(lines):
        try:
            yield _draft(start, _decoded(start, content, is_too_long=is_too_long))
        except NoConversation as error:
            yield Unread(start, str(error))


def _documents(lines: Lines) -> Iterator[tuple[int, bytearray, bool]]:
    """Yield each document: its first line's number, its lines, each with a newline, and whether it is too long.

    The comment at its end is one of its lines. Of a document that is too long only the beginning is held.
    """
    start, content, is_too_long = 0, bytearray(), False
    for number, line in _cleaned(lines):
        if not start and not line.strip():
            continue
        start = start or number
        is_too_long |= len(content) + len(line) > MAX_DOCUMENT_BYTES
        if not is_too_long:
            content += line
            content += b"\n"
        if is_end(line):
            yield start, content, is_too_long
            start, content, is_too_long = 0, bytearray(), False
    if start:
        yield start, content, is_too_long


def _cleaned(lines: Lines) -> Iterator[Line]:
    """Yield lines without a byte order mark, and without carriage returns where they belong to the line ends."""
    is_crlf = False
    for number, content in lines:
        line = content.removeprefix(BYTE_ORDER_MARK) if number == 1 else content
        if number == 1:
            is_crlf = line.endswith(b"\r")
        yield Line(number, line.removesuffix(b"\r") if is_crlf else line)


def _decoded(start: int, content: bytearray, *, is_too_long: bool) -> str:
    if is_too_long:
        raise NoConversation(f"longer than {MAX_DOCUMENT_BYTES:,} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise NoConversation(f"line {start + content.count(10, 0, error.start)}: not UTF-8") from None


def _draft(start: int, text: str) -> Draft:
    found = Dialogue()
    top = front_matter.end_of(text, start)
    told = front_matter.read(text[:top], start, found) if top else {}
    is_exact = told.pop("convo", None) is not None
    last = text.rfind("\n", 0, -1) + 1
    body_end = last if is_end(text[last:-1].encode()) else len(text)
    first = min(first_marker(text, top), body_end)
    if first == body_end and not is_exact:
        raise NoConversation("no role comment, as <!-- role: user -->, on a line of its own")
    found.drop(BEFORE, int(_has_text(text[top:first])))
    sections = Sections(found)
    for each in marked(text[first:body_end], start + text.count("\n", 0, first)):
        sections.take(each, _text(each.body, is_exact=is_exact))
    return sections.draft(start, told, is_exact=is_exact)


def _has_text(decoration: str) -> bool:
    return any(each.strip() and not each.startswith("# ") for each in decoration.split("\n"))


def _text(body: str, *, is_exact: bool) -> str:
    """Return the text behind a comment, without the heading."""
    first, newline, rest = body.partition("\n")
    if is_heading(first):
        body = rest if newline else ""
    return shown(body.removeprefix("\n").removesuffix("\n") if is_exact else body.strip("\n"))
