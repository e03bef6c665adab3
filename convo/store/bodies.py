"""What events tell of a conversation and of what it is given: their bodies, as functions of values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


def history(said: Sequence[Message], unchosen: Sequence[Message]) -> Iterable[dict[str, Any]]:
    """Yield the bodies of the events that tell of a history, one for each turn."""
    for index in range(0, len(said), 2):
        asked, answer = said[index : index + 2]
        others = unchosen if index + 2 == len(said) else ()
        texts = [asked, *sorted((answer, *others), key=lambda each: each.candidate)]
        told = {
            "turn": index // 2 + 1,
            "texts": [journal.sealed("content", each.content, each.salt) for each in texts],
            "tokens": [each.tokens for each in texts],
        }
        if others or answer.finish_reason is not None:  # of a chat, whose candidates are known
            told |= {"chosen": answer.candidate, "finish": [each.finish_reason for each in texts[1:]]}
        if any(each.repaired for each in texts):
            told |= {"repaired": [each.repaired for each in texts]}
        yield told
