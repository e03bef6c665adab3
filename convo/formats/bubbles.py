"""A turn as HTML: what the user said, the answer that was chosen, and the others folded beneath it.

Yields pieces as long as one text at most: a turn of many long candidates never stands in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from convo.formats import markup
from convo.values import BROKEN_OFF, IN_FLIGHT, USER, Candidate, ConversationRecord, Message, Turn, Usage

SHORT_TEXT = 1_200
"""A message of no more characters, and of no more lines than there are hundreds of them, is printed on one page."""

SIDES = ("User", "Model")
"""What the sides are called where their authors have no other names than "0" and "1"."""


def turn(record: ConversationRecord, shown: Turn, level: int, *, is_far: bool) -> Iterator[str]:
    """Yield a turn as a section, with a heading of that level that is a link to itself.

    One that is far down a long page is laid out only when it comes into sight.
    """
    anchor = f"{markup.plain(record.id)}-turn-{shown.number}"
    name = f'<span class="word">Turn </span>{shown.number}' if shown.number else "Opening"
    yield f'<section class="turn{" far" if is_far else ""}" id="{anchor}">\n'
    yield f'<h{level} class="number"><a href="#{anchor}">{name}</a></h{level}>\n'
    if shown.message is not None:
        yield from _question(shown, shown.message)
    yield from _answers(shown)
    yield "</section>\n"


def author(name: str, side: int) -> str:
    """Return who speaks: by his name, with his side where he has one of his own."""
    word = SIDES[side]
    if name in ("", str(side)):
        return f'<b class="author">{word}</b>'
    return f'{markup.inline(name, "author")} <span class="role">{word.lower()}</span>'


def _question(shown: Turn, message: Message) -> Iterator[str]:
    asked_at = message.created_at or shown.created_at
    head = [author(message.author, USER), markup.moment(asked_at) if asked_at else ""]
    yield from _bubble("user", head, message.content, "")


def _answers(shown: Turn) -> Iterator[str]:
    """Yield the chosen answer, or why there is none, and the others."""
    others = [each for each in shown.candidates if each.index != shown.chosen]
    if (reply := shown.reply) is None:
        yield _unanswered(shown)
    else:
        asked_at = shown.message.created_at if shown.message else None
        head = [author(reply.author, 1), _answered(shown, asked_at)]
        place = f"candidate {reply.index}, chosen" if others else ""
        served = _served(shown) if reply.model in (None, shown.model) else markup.inline(reply.model or "")
        facts = [place, served, _ending(reply), _usage(shown.usage), _latency(shown.latency_ms), _repaired(reply)]
        yield from _bubble("model", head, reply.content, markup.small(facts))
    if others:
        yield from _folded(others, is_open=reply is None)


def _folded(others: Sequence[Candidate], *, is_open: bool) -> Iterator[str]:
    """Yield the answers that were not chosen; they are unfolded where there is no other."""
    count = len(others)
    words = f"{markup.counted(count, 'answer')}, not chosen" if is_open else markup.counted(count, "other answer")
    yield f'<details class="others"{" open" if is_open else ""}>\n<summary>{words}</summary>\n'
    for each in others:
        head = [author(each.author, 1), f'<span class="role">candidate {each.index}</span>']
        facts = [markup.inline(each.model) if each.model else "", _ending(each), _repaired(each)]
        yield from _bubble("model other", head, each.content, markup.small(facts))
    yield "</details>\n"


def _bubble(kind: str, head: Sequence[str], content: str | None, foot: str) -> Iterator[str]:
    is_short = content is None or len(content) <= SHORT_TEXT >= 100 * content.count("\n")
    yield f'<article class="message {kind}{" short" if is_short else ""}">\n'
    yield f"<header>{' '.join(filter(None, head))}</header>\n"
    yield markup.block(content)
    yield f"{foot}</article>\n"


def _unanswered(shown: Turn) -> str:
    if shown.error:
        return f'<p class="unanswered"><b class="alarm">Not answered:</b> {markup.inline(shown.error)}</p>\n'
    words = "Not answered yet." if shown.state == IN_FLIGHT else "Not answered."
    return f'<p class="unanswered"><b class="alarm">{words}</b></p>\n'


def _answered(shown: Turn, asked_at: datetime | None) -> str:
    at = shown.finished_at or (shown.created_at if shown.message is None else None)
    return markup.moment(at, asked_at or shown.created_at if shown.message else None) if at else ""


def _served(shown: Turn) -> str:
    """Return the model of a turn, and how the service calls it where that is another name."""
    if not shown.model:
        return ""
    is_known = not shown.served_by or shown.served_by in shown.model
    return markup.inline(shown.model) + ("" if is_known else f", served by {markup.inline(shown.served_by or '')}")


def _ending(candidate: Candidate) -> str:
    """Return why an answer ends, and that it broke off."""
    if candidate.finish_reason in BROKEN_OFF:
        return f'<b class="alarm">broken off</b> ({markup.inline(candidate.finish_reason)})'
    return f"finished: {markup.inline(candidate.finish_reason)}" if candidate.finish_reason else ""


def _usage(usage: Usage | None) -> str:
    if usage is None:
        return ""
    told = ((usage.input_tokens, "in"), (usage.output_tokens, "out"))
    line = ", ".join(f"{tokens:,} {way}" for tokens, way in told if tokens is not None)
    return f"tokens: {line}" if line else ""


def _latency(latency_ms: int | None) -> str:
    return "" if latency_ms is None else f"{latency_ms / 1000:,.1f} s"


def _repaired(candidate: Candidate) -> str:
    return f"{markup.counted(candidate.repaired, 'character')} replaced" if candidate.repaired else ""
