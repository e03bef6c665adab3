"""What is known of a conversation as a whole, as HTML: title, labels, settings, and what its model is given."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from convo.formats import markup
from convo.values import ConversationRecord, Example, Turn

LONG_TEXT = 1_000
"""A context of more characters is folded, and so are examples that have more together."""

TITLE_CHARACTERS = 60
"""How much of its first message stands for the title of a conversation that has none."""


def name(record: ConversationRecord) -> str:
    """Return what a conversation is called by its record alone."""
    return record.title or record.name or record.short_id


def head(record: ConversationRecord, first: Turn | None, level: int) -> str:
    """Return the head of a conversation, with a heading of that level; `first` is the first of its turns.

    The heading has the id of the conversation with ``-title`` behind it.
    """
    anchor, title = markup.plain(record.id), record.title or _beginning(first) or name(record)
    words = "Settings and metadata" if record.metadata else "Settings"
    return (
        f'<header>\n<h{level} id="{anchor}-title" lang="" dir="auto">{markup.text(title)}</h{level}>\n'
        f"{markup.facts(_labels(record))}"
        f'<details class="more">\n<summary>{words}</summary>\n{markup.facts(_settings(record))}</details>\n</header>\n'
    )


def given(record: ConversationRecord, examples: Sequence[Example], level: int) -> Iterator[str]:
    """Yield the context and the examples, each under a heading of that level, where there are any."""
    if record.context is not None:
        count = len(record.context)
        yield _unfolding("Context", markup.counted(count, "character"), level, is_open=count <= LONG_TEXT)
        yield markup.block(record.context)
        yield "</details>\n"
    if examples:
        count = sum(len(each.input or "") + len(each.output or "") for each in examples)
        yield _unfolding("Examples", f"{len(examples):,}", level, is_open=count <= LONG_TEXT)
        yield "<ol>\n"
        yield from map(_example, examples)
        yield "</ol>\n</details>\n"


def _beginning(first: Turn | None) -> str:
    """Return the first words of the first message, on one line; nothing when it is erased."""
    said = first and (first.message or first.reply)
    words = " ".join(((said and said.content) or "").split())
    if len(words) <= TITLE_CHARACTERS:
        return words
    end = words.rfind(" ", TITLE_CHARACTERS // 2, TITLE_CHARACTERS)
    return words[: end if end > 0 else TITLE_CHARACTERS] + "…"


def _labels(record: ConversationRecord) -> Iterator[tuple[str, str]]:
    """Yield what tells a conversation from others."""
    if record.name:
        yield "Name", markup.inline(record.name)
    if record.owner:
        yield "Owner", markup.inline(record.owner)
    yield "Model", markup.inline(record.model)
    yield "Turns", f"{record.turn_count:,}"
    yield "Created", markup.moment(record.created_at)
    yield "Last active", markup.moment(record.updated_at)
    if record.forked_from:
        yield "Forked from", f"{markup.inline(record.forked_from, 'code')} after turn {record.forked_at}"
    yield "Id", markup.inline(record.id, "code")


def _settings(record: ConversationRecord) -> Iterator[tuple[str, str]]:
    """Yield how the model is to answer, what was noted of the conversation, and where its journal stands."""
    for key, value in record.parameters.as_dict().items():
        yield key.replace("_", " ").capitalize(), markup.inline(_json(value), "code")
    if record.input_token_limit is not None:
        yield "Input token limit", f"{record.input_token_limit:,}"
    yield "Trim", markup.inline(record.trim)
    if record.metadata:
        yield "Metadata", f'<div class="text code" lang="" dir="ltr">{markup.text(_json(record.metadata))}</div>'
    yield "Journal", markup.counted(record.version, "event")
    yield "Journal's head", markup.inline(record.journal_head.hex(), "code")


def _json(value: object) -> str:
    return json.dumps(value, indent=2 if isinstance(value, dict) else None, ensure_ascii=False)


def _unfolding(title: str, size: str, level: int, *, is_open: bool) -> str:
    """Return the beginning of a part that folds under its heading."""
    heading = f'<h{level}>{title}</h{level}> <span class="small">{size}</span>'
    return f'<details class="given"{" open" if is_open else ""}>\n<summary>{heading}</summary>\n'


def _example(example: Example) -> str:
    told = (("Input", example.input), ("Output", example.output))
    return f"<li>{markup.facts((name, markup.block(content)) for name, content in told)}</li>\n"
