"""What events tell of a conversation and of what it is given: their bodies, as functions of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from convo import journal
from convo.tokens import ESTIMATE_VERSION
from convo.values import ConversationRecord, Example, Message


def created(
    record: ConversationRecord, salts: Mapping[str, bytes], given: Sequence[Example], opening: Message | None
) -> dict[str, Any]:
    """Return the body of the first event: everything that the conversation is created with."""
    return {
        "conversation": record.id,
        **settings(record),
        "estimate": ESTIMATE_VERSION,
        "title": journal.sealed("title", record.title, salts["title"]),
        "labels": journal.sealed("labels", labels(record), salts["label"]),
        "opening": journal.sealed("content", opening.content, opening.salt) if opening else None,
        "opening_tokens": opening.tokens if opening else 0,
        **context(record),
        **examples(given),
    }


def context(record: ConversationRecord) -> dict[str, Any]:
    """Return what the journal tells of the context."""
    told = journal.sealed("context", record.context, record.context_salt)
    return {"context": told, "context_tokens": record.context_tokens}


def examples(given: Sequence[Example]) -> dict[str, Any]:
    """Return what the journal tells of the examples, oldest first."""
    told = [
        [journal.sealed("input", each.input, each.input_salt), journal.sealed("output", each.output, each.output_salt)]
        for each in given
    ]
    return {"examples": told, "example_tokens": [each.tokens for each in given]}


def settings(record: ConversationRecord) -> dict[str, Any]:
    """Return what the journal tells of the settings by which turns are answered; each may change later."""
    return {
        "model": record.model,
        "parameters": journal.parameters(record.parameters),
        "input_token_limit": record.input_token_limit,
        "trim": record.trim,
    }


def labels(record: ConversationRecord) -> str:
    """Return what a conversation is called, and by whom, as the text to which events commit."""
    return journal.labels(record.authors, record.metadata, record.name, record.owner)


def provenance(imported: str | None, since: datetime | None) -> dict[str, Any]:
    """Return what the journal tells of where a conversation was read from, and when it was begun there."""
    told = {"imported": imported, "since": None if since is None else journal.timestamp(since)}
    return {name: each for name, each in told.items() if each is not None}


def given(
    turn: int, texts: Sequence[Message], chosen: int | None, asked_at: datetime | None, answered_at: datetime | None
) -> dict[str, Any]:
    """Return the body of the event that tells of a turn of a history: its texts, the user's first, and their times."""
    answers = texts[1:]
    told: dict[str, Any] = {
        "turn": turn,
        "texts": [journal.sealed("content", each.content, each.salt) for each in texts],
        "tokens": [each.tokens for each in texts],
    }
    if len(answers) > 1 or any(each.finish_reason is not None for each in answers):
        told |= {"chosen": chosen, "finish": [each.finish_reason for each in answers]}
    if any(each.repaired for each in texts):
        told["repaired"] = [each.repaired for each in texts]
    if any(each.model is not None for each in answers):
        told["models"] = [each.model for each in answers]
    if asked_at is not None and answered_at is not None:
        told["times"] = [journal.timestamp(asked_at), journal.timestamp(answered_at)]
    return told
