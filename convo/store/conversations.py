"""The statements on conversations: create, find, list, update, delete."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import uuid_utils.compat
from sqlalchemy import Select, bindparam, delete, select, tuple_

from convo import journal
from convo.errors import AmbiguousId, ConversationNotFound, NameTaken
from convo.store import bodies, rows
from convo.store.given import Given, GivenTurn, salted
from convo.store.ledger import Trace, new_salt, utc_now
from convo.store.prepared import Prepared
from convo.store.rows import CONVERSATIONS, EXAMPLES
from convo.text import clean_text
from convo.values import MINIMAL, MODEL, USER, ConversationRecord, Example, Message, Parameters

MIN_PREFIX = 4
"""The shortest id prefix that is looked up, in hexadecimal digits."""

MATCHES_SHOWN = 5

Examples = list[Example]
Records = list[ConversationRecord]

_PREFIX = re.compile(r"[0-9a-f-]+", re.IGNORECASE)
_LABELS = ("owner", "name", "metadata")


class _Finding:
    """The statements that find an owner's conversation; built once, as each turn that is resumed executes one."""

    def __init__(self, *columns: Any) -> None:  # noqa: ANN401 - what select() takes
        of = CONVERSATIONS.c
        wanted = select(*columns).where(of.owner == bindparam("owner"))
        self.by_id = Prepared(wanted.where(of.id == bindparam("id")))
        self.locked = Prepared(wanted.where(of.id == bindparam("id")).with_for_update())
        self.by_name = Prepared(wanted.where(of.name == bindparam("name")))
        between = of.id.between(bindparam("low"), bindparam("high"))
        self.by_prefix = Prepared(wanted.where(between).order_by(of.id).limit(MATCHES_SHOWN + 1))


_ALL_COLUMNS, _ID_ALONE = _Finding(CONVERSATIONS), _Finding(CONVERSATIONS.c.id)
_LOCK = _Finding(CONVERSATIONS.c.journal_length, CONVERSATIONS.c.journal_head).locked
_EXAMPLES = Prepared(
    select(EXAMPLES).where(EXAMPLES.c.conversation_id == bindparam("id")).order_by(EXAMPLES.c.position)
)


def not_erased(examples: Iterable[Example]) -> Examples:
    """Return the examples that have both their texts."""
    return [each for each in examples if each.input is not None and each.output is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewConversation:
    """What a conversation is created with; texts are cleaned and counted already, as convo.prepare does."""

    model: str
    id: str = field(default_factory=lambda: str(uuid_utils.compat.uuid7()))
    """Made beforehand, so that one that is stored again after its COMMIT was not answered is the same one."""
    context: Message | None = None
    examples: Sequence[Example] = ()
    """Oldest first."""
    owner: str = ""
    name: str | None = None
    title: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    opening: Message | None = None
    """By the model."""
    history: Iterable[GivenTurn] = ()
    """Oldest first, read once."""
    authors: tuple[str, str] = ("0", "1")
    parameters: Parameters = Parameters()
    input_token_limit: int | None = None
    trim: str = MINIMAL
    created_at: datetime | None = None
    """In milliseconds; None for now."""
    imported: str | None = None
    """The form of the file that it was read from; None when it was not."""

    def record(self, at: datetime, context_salt: bytes) -> ConversationRecord:
        """Return the conversation's row as it begins, before its first event."""
        same = ("model", "owner", "name", "title", "metadata", "authors", "parameters", "input_token_limit", "trim")
        return ConversationRecord(
            **{name: getattr(self, name) for name in same},
            id=self.id,
            context=self.context.content if self.context else None,
            context_tokens=self.context.tokens if self.context else 0,
            context_salt=context_salt if self.context else None,
            first_position=0 if self.opening else 1,
            turn_count=0,
            fence=1 if self.opening else 0,
            version=0,
            journal_head=journal.GENESIS,
            created_at=self.created_at or at,
            updated_at=self.created_at or at,
        )


class Conversations(Given):
    """Everything about a conversation but its turns."""

    def create(self, new: NewConversation) -> ConversationRecord:
        """Store a new conversation.

        Raises:
            NameTaken: the owner has a conversation of that name; nothing was stored.
        """
        at = utc_now()
        salts = {"context": new_salt(), "title": new_salt(), "label": new_salt()}
        record = new.record(at, salts["context"])
        self._insert_conversation(record, salts)
        examples = self._insert_examples(record, new.examples)
        opening = salted(new.opening) if new.opening else None
        told = bodies.created(record, salts, examples, opening) | bodies.provenance(new.imported, new.created_at)
        return self._insert_given(
            self._append(record, "create", told, at, updated_at=record.updated_at), opening, new.history, at
        )

    def find(self, reference: str, owner: str = "") -> ConversationRecord:
        """Return the owner's conversation of that id, that name, or that unique beginning of an id.

        Raises:
            ConversationNotFound: there is none, or it is another owner's.
            AmbiguousId: a prefix of several ids; the first MATCHES_SHOWN are told.
            InvalidText: nothing can have that name.
        """
        return rows.conversation(self._one(_ALL_COLUMNS, reference, owner))

    def find_id(self, reference: str, owner: str = "") -> str:
        """Return the id of what find() finds, and read no more of it.

        Raises:
            ConversationNotFound, AmbiguousId, InvalidText: as find().
        """
        return str(self._one(_ID_ALONE, reference, owner)[0])

    def get(self, id: str, owner: str = "") -> ConversationRecord:
        """Return the owner's conversation of that whole id.

        Raises:
            ConversationNotFound: there is none, or it is another owner's.
        """
        found = self._run(_ALL_COLUMNS.by_id, {"id": whole_id(id), "owner": owner})
        if not found:
            raise ConversationNotFound(id)
        return rows.conversation(found[0])

    def lock(self, id: str, owner: str = "", *, seen: ConversationRecord | None = None) -> ConversationRecord:
        """Return the conversation, locked until the end of the transaction: what is read after this is current.

        The lock is a statement of its own: with a join, PostgreSQL would return the new conversation beside an old
        turn. One that was `seen` before is not read again when its journal stands where it stood: it has all changes.

        Raises:
            ConversationNotFound: there is none, or it is another owner's.
        """
        if seen is None:
            found = self._run(_ALL_COLUMNS.locked, {"id": whole_id(id), "owner": owner})
            if not found:
                raise ConversationNotFound(id)
            return rows.conversation(found[0])
        found = self._run(_LOCK, {"id": id, "owner": owner})
        if not found:
            raise ConversationNotFound(id)
        return seen if found[0] == (seen.version, seen.journal_head) else self.get(id, owner)

    def list(self, owner: str = "", *, limit: int = 50, after: ConversationRecord | None = None) -> Records:
        """Return at most `limit` conversations, the latest active first; `after` is the last one of the page before."""
        activity = (CONVERSATIONS.c.updated_at, CONVERSATIONS.c.id)
        wanted = select(CONVERSATIONS).where(CONVERSATIONS.c.owner == owner)
        if after is not None:
            seen = tuple_(after.updated_at, after.id, types=[each.type for each in activity])
            wanted = wanted.where(tuple_(*activity) < seen)
        return self._records(wanted.order_by(*(each.desc() for each in activity)).limit(limit))

    def examples(self, record: ConversationRecord) -> Examples:
        """Return the conversation's examples, oldest first, without those of which a text was erased."""
        return not_erased(self.all_examples(record))

    def all_examples(self, record: ConversationRecord) -> Examples:
        """Return the conversation's examples by position, erased ones too."""
        return [rows.example(row) for row in self._run(_EXAMPLES, {"id": record.id})]

    def update(self, record: ConversationRecord, **changes: Any) -> ConversationRecord:  # noqa: ANN401 - columns of several types
        """Change what may change of a locked conversation, named as in its record.

        Raises:
            NameTaken: the owner has another conversation of that name.
        """
        at = utc_now()
        name = changes.get("name", record.name)
        if name is not None and name != record.name and self.find_name(name, record.owner):
            raise NameTaken(name)
        changed = replace(record, **changes)
        columns, told = _columns(changed, changes)
        appended = self._append(record, "update", {"changes": told}, at, **columns)
        return replace(changed, version=appended.version, journal_head=appended.journal_head, updated_at=at)

    def delete(self, record: ConversationRecord) -> None:
        """Delete the conversation with its turns, messages, examples and journal."""
        self._execute(delete(CONVERSATIONS).where(CONVERSATIONS.c.id == record.id))
        self.windows.drop(record.id)
        self.trace = Trace(record.id, None)

    def find_name(self, name: str, owner: str = "") -> ConversationRecord | None:
        """Return the owner's conversation of exactly that name; None when there is none."""
        return next(iter(self._select(CONVERSATIONS.c.name == name, CONVERSATIONS.c.owner == owner)), None)

    def _select(self, *conditions: Any) -> Records:  # noqa: ANN401 - SQL expressions
        return self._records(select(CONVERSATIONS).where(*conditions))

    def _records(self, wanted: Select[Any]) -> Records:
        return [rows.conversation(row) for row in self._execute(wanted)]

    def _one(self, columns: _Finding, reference: str, owner: str) -> rows.Columns:
        """Return the row of the one conversation that is meant."""
        reference = clean_text(reference, "id or name")
        whole = whole_id(reference)
        if whole is not None:
            found = self._run(columns.by_id, {"owner": owner, "id": whole})
        else:
            found = self._run(columns.by_name, {"owner": owner, "name": reference})
        if not found and whole is None and (between := _beginning(reference)) is not None:
            low, high = between
            found = self._run(columns.by_prefix, {"owner": owner, "low": low, "high": high})
        if not found:
            raise ConversationNotFound(reference)
        if len(found) > 1:
            shown = [id for id, *_ in found[:MATCHES_SHOWN]]
            raise AmbiguousId(reference, [*shown, *(["…"] if len(found) > MATCHES_SHOWN else [])])
        return found[0]

    def _insert_conversation(self, record: ConversationRecord, salts: Mapping[str, bytes]) -> None:
        columns = {name: getattr(record, name) for name in _SAME_NAMES} | {
            "parameters": record.parameters.as_dict(),
            "user_author": record.authors[USER],
            "model_author": record.authors[MODEL],
            "journal_length": record.version,
            "context_salt": record.context_salt,
            "title_salt": salts["title"] if record.title is not None else None,
            "label_salt": salts["label"],
        }
        if not self._insert_unless_taken(columns):
            raise NameTaken(str(record.name))

    def _insert_examples(self, record: ConversationRecord, examples: Sequence[Example]) -> Examples:
        salted = [
            replace(each, input_salt=_salt_of(each.input), output_salt=_salt_of(each.output), position=position)
            for position, each in enumerate(examples)
        ]
        self._insert_many(
            EXAMPLES,
            (
                {
                    "conversation_id": record.id,
                    "position": each.position,
                    "tokens": each.tokens,
                    "input": each.input,
                    "input_salt": each.input_salt,
                    "output": each.output,
                    "output_salt": each.output_salt,
                }
                for each in salted
            ),
        )
        return salted


_SAME_NAMES = (
    *("id", "owner", "name", "title", "model", "context", "context_tokens", "input_token_limit", "trim"),
    *("metadata", "first_position", "turn_count", "fence", "journal_head", "created_at", "updated_at"),
    *("forked_from", "forked_at"),
)


def whole_id(reference: str) -> str | None:
    """Return `reference` in the form of ids when it is a whole one."""
    try:
        return str(uuid.UUID(reference))
    except ValueError:
        return None


def _beginning(prefix: str) -> tuple[str, str] | None:
    """Return the first and the last id that begin so; None for what is no beginning of an id, or too short."""
    digits = prefix.replace("-", "")
    if not _PREFIX.fullmatch(prefix) or not MIN_PREFIX <= len(digits) <= len(uuid.UUID(int=0).hex):
        return None
    low, high = (str(uuid.UUID(digits.ljust(32, fill))) for fill in "0f")
    return low, high


def _salt_of(text: str | None) -> bytes | None:
    return None if text is None else new_salt()


def _columns(changed: ConversationRecord, changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the columns to write for `changes`, and what the event tells of them."""
    columns: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for name, value in changes.items():
        columns[name] = value.as_dict() if isinstance(value, Parameters) else value
        if name == "title":
            columns["title_salt"] = new_salt() if value is not None else None
            told["title"] = journal.sealed("title", value, columns["title_salt"])
        elif name == "parameters":
            told["parameters"] = journal.parameters(value)
        elif name not in _LABELS:
            told[name] = value
    if any(name in changes for name in _LABELS):
        columns["label_salt"] = new_salt()
        told["labels"] = journal.sealed("labels", bodies.labels(changed), columns["label_salt"])
    return columns, told
