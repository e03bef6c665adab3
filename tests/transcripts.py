"""Conversations to be written in a form, made of values: boring by default, a test says what matters to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from convo.formats.base import Line, Transcript, Writer
from convo.tokens import estimate
from convo.values import (
    BROKEN_OFF,
    DONE,
    FAILED,
    MODEL,
    USER,
    Candidate,
    ConversationRecord,
    Example,
    Message,
    Parameters,
    Preference,
    Turn,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ID = "01890a5d-ac96-774b-bcce-b302099a8057"

Answer = str | Candidate | None
"""A text, a whole candidate, or None for an erased text."""


def record(**fields: Any) -> ConversationRecord:
    """Return a conversation's record; `fields` are those that matter."""
    boring: dict[str, Any] = {
        "id": ID, "owner": "", "name": None, "title": None, "metadata": {}, "model": "offline/echo",
        "context": None, "context_tokens": 0, "parameters": Parameters(), "authors": ("0", "1"),
        "input_token_limit": None, "trim": "minimal", "first_position": 1, "turn_count": 0, "fence": 0, "version": 1,
        "journal_head": bytes(32), "created_at": NOON, "updated_at": NOON,
    }  # fmt: skip
    made = boring | fields
    return ConversationRecord(**made)


def candidate(content: str | None, index: int = 0, finish_reason: str | None = None, **fields: Any) -> Candidate:
    """Return one of a turn's replies."""
    return Candidate(index, content, finish_reason, estimate(content or ""), **fields)


def turn(number: int, asked: str | None, *answers: Answer, chosen: int | None = 0, **fields: Any) -> Turn:
    """Return a turn; `chosen` counts only when one of the answers is whole. Turn 0 has no message, only an answer."""
    replies = tuple(
        each if isinstance(each, Candidate) else candidate(each, index) for index, each in enumerate(answers)
    )
    is_done = any(each.finish_reason not in BROKEN_OFF for each in replies)
    at = NOON + timedelta(minutes=number)
    message = Message("0", asked, USER, estimate(asked or ""), 2 * number - 1, number, created_at=at)
    settled = {
        "state": DONE if is_done else FAILED,
        "chosen": chosen if is_done else None,
        "created_at": at,
        "finished_at": at + timedelta(seconds=30),
    }
    return Turn(number, **{"message": message if number else None, "candidates": replies, **settled, **fields})  # type: ignore[arg-type]  # of many types


def opening(content: str | None) -> Turn:
    """Return a first message by the model."""
    return turn(0, None, content)


def transcript(
    *turns: Turn,
    examples: Sequence[tuple[str | None, str | None]] = (),
    preferences: Iterable[Preference] = (),
    **fields: Any,
) -> Transcript:
    """Return a conversation of these turns; `fields` are of its record. Its iterables can be read once."""
    given = [Example(*each, tokens=sum(estimate(text or "") for text in each)) for each in examples]
    counts = {"first_position": 0 if turns and turns[0].number == 0 else 1, "turn_count": len(turns)}
    return Transcript(record(**{**counts, **fields}), given, iter(turns), iter(preferences))


def said(*texts: str | None) -> list[Message]:
    """Return alternating messages of which the last one is the user's."""
    first = USER if len(texts) % 2 else MODEL
    return [Message("01"[(first + at) % 2], text, (first + at) % 2) for at, text in enumerate(texts)]


def written(writer: Writer, *shown: Transcript) -> str:
    """Return a whole file of these conversations."""
    contents = [each.record for each in shown]
    pieces = [*writer.begin(iter(contents))]
    for each in shown:
        pieces += writer.conversation(each)
    return "".join([*pieces, *writer.end()])


def lines(file: str | bytes) -> Iterator[Line]:
    """Yield the lines of a file, as its reader does: a line ends at a newline, and a last one may have none."""
    content = file.encode() if isinstance(file, str) else file
    pieces = content.split(b"\n")
    for number, each in enumerate(pieces if pieces[-1] else pieces[:-1], start=1):
        yield Line(number, each)
