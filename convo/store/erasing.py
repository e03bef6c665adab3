"""The statements that take texts away, or put others in their place, in a conversation and in all copies of it.

A copy of a text in a fork stands at the same place under the same salt; a title, which has a salt of its own in each
fork, is known by its words. Whose fork a conversation is, its first event tells, which all of a family have in common:
so a copy is found whichever conversations between were deleted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    Text,
    and_,
    case,
    func,
    literal,
    null,
    or_,
    select,
    type_coerce,
    union,
    update,
)

from convo import journal
from convo.audits import Quote
from convo.store import bodies, rows
from convo.store.branches import Branches
from convo.store.columns import database_now_ms
from convo.store.ledger import BATCH, new_salt, utc_now
from convo.store.rows import CONVERSATIONS, EVENTS, EXAMPLES, MESSAGES, TURNS
from convo.store.scrubbing import SAMPLE_CHARACTERS, Sought
from convo.values import MODEL, USER, ConversationRecord

FORGOTTEN = "[forgotten]"
"""The owner of conversations whose owner was forgotten."""

FORGOTTEN_REASON, RETENTION_REASON = "forgotten", "retention"

Ref = list[str | int]
"""Which text an event tells of: ["content", turn, side, candidate], ["input", example], ["context"], …"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text stands, or all candidates of a reply."""

    field: str
    """content, input, output, context or title."""
    number: int = 0
    """Of the turn or the example."""
    side: int = USER
    candidate: int | None = None
    """None for all of that side."""

    @property
    def conditions(self) -> tuple[ColumnElement[bool], ...]:
        """What is true of its rows in a conversation."""
        if self.field == "content":
            of_it = (MESSAGES.c.turn == self.number, MESSAGES.c.side == self.side)
            return of_it if self.candidate is None else (*of_it, MESSAGES.c.candidate == self.candidate)
        return (EXAMPLES.c.position == self.number,) if self.field in ("input", "output") else ()

    def ref(self, candidate: int | None) -> Ref:
        """Return how events name one of its texts."""
        if self.field == "content":
            return [self.field, self.number, self.side, candidate or 0]
        return [self.field, self.number] if self.field in ("input", "output") else [self.field]


@dataclass(frozen=True, slots=True)
class Standing:
    """A text as it stands at a place."""

    place: Place
    candidate: int | None
    text: str | None
    """None once erased, and where there is no context or title."""
    salt: bytes | None
    tokens: int


@dataclass(frozen=True, slots=True)
class _Columns:
    text: Any
    salt: Any
    tokens: Any = None

    @property
    def table(self) -> Table:
        return self.text.table  # type: ignore[no-any-return]  # a column's

    @property
    def id(self) -> ColumnElement[str]:
        return self.table.c.id if self.table is CONVERSATIONS else self.table.c.conversation_id

    @property
    def candidate(self) -> ColumnElement[Any]:
        return self.table.c.candidate if self.table is MESSAGES else null()


_COLUMNS = {
    "content": _Columns(MESSAGES.c.content, MESSAGES.c.salt, MESSAGES.c.tokens),
    "input": _Columns(EXAMPLES.c.input, EXAMPLES.c.input_salt, EXAMPLES.c.tokens),
    "output": _Columns(EXAMPLES.c.output, EXAMPLES.c.output_salt, EXAMPLES.c.tokens),
    "context": _Columns(CONVERSATIONS.c.context, CONVERSATIONS.c.context_salt, CONVERSATIONS.c.context_tokens),
    "title": _Columns(CONVERSATIONS.c.title, CONVERSATIONS.c.title_salt),
}


class Erasing(Branches):
    """Everything about texts that go."""

    def standing(self, record: ConversationRecord, place: Place) -> list[Standing]:
        """Return what stands at a place, by candidate, erased texts included; nothing where there is no such row."""
        of = _COLUMNS[place.field]
        tokens = literal(0) if of.tokens is None else of.tokens
        columns = (
            of.candidate.label("candidate"),
            of.text.label("text"),
            of.salt.label("salt"),
            tokens.label("tokens"),
        )
        wanted = select(*columns).where(of.id == record.id, *place.conditions).order_by(*of.table.primary_key)
        return [Standing(place, row.candidate, row.text, row.salt, row.tokens) for row in self._execute(wanted)]

    def copies(self, record: ConversationRecord, standing: Sequence[Standing]) -> list[tuple[str, Ref]]:
        """Return all places at which the same texts stand, those of this conversation included: ids, and which text."""
        found: list[tuple[str, Ref]] = []
        first = self._execute(
            select(EVENTS.c.digest, EVENTS.c.body).where(EVENTS.c.conversation_id == record.id, EVENTS.c.number == 1)
        ).one()
        family = self._family(record, json.loads(first.body)["conversation"], first.digest).subquery("family")
        for place in dict.fromkeys(each.place for each in standing):
            of = _COLUMNS[place.field]
            texts = [each for each in standing if each.place == place and each.text is not None]
            same = select(of.id.label("id"), of.candidate.label("candidate")).join(family, family.c.id == of.id)
            if texts:
                copied = self._execute(same.where(*place.conditions, _same(of, texts)).order_by(of.id))
                found += [(row.id, place.ref(row.candidate)) for row in copied]
        return found

    def _family(self, record: ConversationRecord, origin: str, digest: bytes) -> Select[Any]:
        """Return the ids of all conversations of the owner that began as the one of id `origin`, itself included."""
        id = CONVERSATIONS.c.id
        forks = select(id).where(CONVERSATIONS.c.owner == record.owner, CONVERSATIONS.c.forked_from.is_not(None))
        root = select(id).where(CONVERSATIONS.c.owner == record.owner, id == literal(origin, id.type))
        all_of_them = union(forks, root).subquery()
        began = and_(EVENTS.c.conversation_id == all_of_them.c.id, EVENTS.c.number == 1)
        return select(all_of_them.c.id).join(EVENTS, began).where(EVENTS.c.digest == digest)

    def lock_all(self, ids: Collection[str], owner: str) -> dict[str, ConversationRecord]:
        """Return those conversations that are still there, locked to the transaction's end in the order of ids."""
        of_it = select(CONVERSATIONS).where(CONVERSATIONS.c.owner == owner).order_by(CONVERSATIONS.c.id)
        locked: dict[str, ConversationRecord] = {}
        for some in _batches(ids):
            found = self._execute(of_it.where(CONVERSATIONS.c.id.in_(some)).with_for_update())
            locked |= {row.id: rows.conversation(row) for row in found}
        return locked

    def has_erased(self, record: ConversationRecord, place: Place) -> bool:
        """Return whether the journal tells that a text was erased: of a context or a title the row does not."""
        of_it = (EVENTS.c.conversation_id == record.id, EVENTS.c.kind.in_(("erase", "fork")))
        for event in self._execute(select(EVENTS.c.kind, EVENTS.c.body).where(*of_it)):
            erased = json.loads(event.body).get("fields" if event.kind == "erase" else "erased", ())
            if place.ref(None) in erased:
                return True
        return False

    def has_erasures(self, owner: str | None) -> bool:
        """Return whether the journals of an owner's conversations, or with None any, tell of an erased text."""
        told = select(EVENTS.c.number).where(EVENTS.c.kind.in_(("erase", "redact")))
        if owner is not None:
            told = told.join(CONVERSATIONS, CONVERSATIONS.c.id == EVENTS.c.conversation_id)
            told = told.where(CONVERSATIONS.c.owner == owner)
        return self._execute(told.limit(1)).first() is not None

    def take_away(self, ids: Collection[str], standing: Sequence[Standing]) -> None:
        """Erase texts, with their salts, in locked conversations."""
        for place in dict.fromkeys(each.place for each in standing):
            of, texts = _COLUMNS[place.field], [each for each in standing if each.place == place]
            of_them = update(of.table).where(*place.conditions, _same(of, texts))
            for some in _batches(ids):
                self._execute(of_them.where(of.id.in_(some)).values({of.text: None, of.salt: None}))

    def put(self, ids: Collection[str], was: Standing, text: str, tokens: int) -> tuple[str, int | None]:
        """Put another text in the place of one, in locked conversations, under one fresh salt.

        Returns the commitment to it, and the row's count of tokens as it is then.
        """
        of, salt = _COLUMNS[was.place.field], new_salt()
        of_them = update(of.table).where(*was.place.conditions, _same(of, [was]))
        new: dict[Any, Any] = {of.text: text, of.salt: salt}
        if of.tokens is not None:
            new[of.tokens] = tokens
        for some in _batches(ids):
            self._execute(of_them.where(of.id.in_(some)).values(new))
        return str(journal.sealed(was.place.field, text, salt)), None if of.tokens is None else tokens

    def tell(self, record: ConversationRecord, kind: str, body: dict[str, Any], **columns: Any) -> ConversationRecord:  # noqa: ANN401 - of several types
        """Append an event of a locked conversation, without what is empty in it.

        Nothing was said and nobody was there: the conversation does not move up among those that are listed.
        """
        kept = {name: each for name, each in body.items() if each}
        told = self._append(record, kind, kept, utc_now(), updated_at=record.updated_at, **columns)
        self.windows.drop(record.id)
        return replace(told, updated_at=record.updated_at)

    def quotes(self, words: Sequence[str], limit: int, owner: str | None) -> list[Quote]:
        """Return at most `limit` texts of an owner's, or with None of all, that hold some of these words."""
        contains = func.strpos if self._is_postgresql else func.instr
        found: list[Quote] = []
        for where in _QUOTING if words else ():
            text = type_coerce(where.text, Text)
            written = map(_in_json, words) if where.target == "metadata" else words
            wanted = where.rows.where(or_(*(contains(text, literal(each, Text)) > 0 for each in written)))
            wanted = wanted if owner is None else wanted.where(CONVERSATIONS.c.owner == owner)
            for row in self._execute(wanted.limit(limit - len(found))):
                is_message, number = where.target == "content", row.number
                target = str(2 * number - 1 + row.side) if is_message else where.target.format(number)
                found.append(Quote(row.id, row.owner, target, row.candidate if row.side == MODEL else None))
        return found

    # ---- many at once

    def ids_of(
        self, owner: str | None, after: str | None, limit: int, before: datetime | None = None
    ) -> list[tuple[str, str]]:
        """Return the ids that come after one, at most `limit`, and whose they are: an owner's, or with None all.

        With `before`, only those that have a text that is older.
        """
        wanted = select(CONVERSATIONS.c.id, CONVERSATIONS.c.owner).order_by(CONVERSATIONS.c.id).limit(limit)
        if owner is not None:
            wanted = wanted.where(CONVERSATIONS.c.owner == owner)
        if after is not None:
            wanted = wanted.where(CONVERSATIONS.c.id > after)
        if before is not None:
            wanted = wanted.where(_has_older(before))
        return [(row.id, row.owner) for row in self._execute(wanted)]

    def standing_turns(self, record: ConversationRecord, before: datetime | None, but: int | None = None) -> list[int]:
        """Return the numbers of turns of which a text stands, in order: that began before a time; `but` is none."""
        wanted = select(MESSAGES.c.turn).distinct().where(*_old(record, before, but)).order_by(MESSAGES.c.turn)
        return list(self._execute(wanted).scalars())

    def count_turns(self, record: ConversationRecord, before: datetime | None, but: int | None = None) -> int:
        """Return how many texts stand in these turns."""
        wanted = select(func.count()).select_from(MESSAGES).where(*_old(record, before, but))
        return int(self._execute(wanted).scalar_one())

    def sample_turns(self, record: ConversationRecord, before: datetime | None, but: int | None, room: int) -> Sought:
        """Return the beginnings of at most `room` of these texts, to be looked for."""
        beginning = func.substr(MESSAGES.c.content, 1, SAMPLE_CHARACTERS).label("text")
        wanted = select(beginning, MESSAGES.c.salt).where(*_old(record, before, but)).limit(room)
        found = self._execute(wanted).all()
        return Sought([row.text for row in found], [row.salt for row in found])

    def clear_turns(self, record: ConversationRecord, before: datetime | None, but: int | None = None) -> int:
        """Erase all texts of these turns; return how many there were."""
        gone = update(MESSAGES).where(*_old(record, before, but)).values(content=None, salt=None)
        return self._execute(gone).rowcount  # type: ignore[attr-defined, no-any-return]  # of an UPDATE

    def rest(self, record: ConversationRecord) -> list[tuple[Ref, str, bytes]]:
        """Return the texts of a conversation that belong to no turn, with their salts."""
        of_it = EXAMPLES.c.conversation_id == record.id
        found: list[tuple[Ref, str | None, bytes | None]] = []
        for row in self._execute(select(EXAMPLES).where(of_it).order_by(EXAMPLES.c.position)):
            found.append((["input", row.position], row.input, row.input_salt))
            found.append((["output", row.position], row.output, row.output_salt))
        salt = self._execute(select(CONVERSATIONS.c.title_salt).where(CONVERSATIONS.c.id == record.id)).scalar_one()
        found += [(["context"], record.context, record.context_salt), (["title"], record.title, salt)]
        return [(ref, text, salt or b"") for ref, text, salt in found if text is not None]

    def clear_rest(self, record: ConversationRecord) -> tuple[list[Ref], Sought]:
        """Erase these texts, as far as they have rows of their own; return which there were, and what they said."""
        stood = self.rest(record)
        if any(ref[0] in ("input", "output") for ref, *_ in stood):
            nothing = dict.fromkeys(("input", "input_salt", "output", "output_salt"))
            self._execute(update(EXAMPLES).where(EXAMPLES.c.conversation_id == record.id).values(nothing))
        sought = Sought([text[:SAMPLE_CHARACTERS] for _, text, _ in stood], [salt for *_, salt in stood])
        return [ref for ref, *_ in stood], sought

    def forget_names(self, record: ConversationRecord) -> tuple[ConversationRecord, dict[str, Any], str]:
        """Take away who spoke in a conversation, and under which keys; the third value commits to what is left.

        The columns are those of the conversation's own row, which is yet to be written.
        """
        of_it = (MESSAGES.c.conversation_id == record.id, TURNS.c.conversation_id == record.id)
        named = update(MESSAGES).where(of_it[0], MESSAGES.c.author != _SIDE_NAME)
        self._execute(named.values(author=_SIDE_NAME))
        keys = update(TURNS).where(of_it[1], TURNS.c.request_key.is_not(None))
        self._execute(keys.values(request_key=None, request_hash=None))
        names = (str(USER), str(MODEL))
        left = replace(record, owner=FORGOTTEN, name=None, metadata={}, authors=names)
        salt = new_salt()
        columns: dict[str, Any] = {"owner": FORGOTTEN, "name": None, "metadata": {}, "label_salt": salt}
        columns |= {"user_author": names[USER], "model_author": names[MODEL]}
        return left, columns, str(journal.sealed("labels", bodies.labels(left), salt))


_SIDE_NAME = case((MESSAGES.c.side == USER, str(USER)), else_=str(MODEL))

NOTHING: dict[str, Any] = {"context": None, "context_salt": None, "title": None, "title_salt": None}
"""The columns of a conversation whose own texts are erased."""


@dataclass(frozen=True, slots=True)
class _Quoting:
    text: Any
    target: str
    rows: Select[Any]


def _quoting(text: Any, target: str, *key: Any) -> _Quoting:  # noqa: ANN401 - columns
    """Return how a column is searched; `key` are the number, the side and the candidate of a row, as far as it has."""
    numbers = [*key, *[literal(0)] * (3 - len(key))]
    columns = [each.label(name) for each, name in zip(numbers, ("number", "side", "candidate"), strict=True)]
    wanted = select(CONVERSATIONS.c.id, CONVERSATIONS.c.owner, *columns)
    if text.table is not CONVERSATIONS:
        wanted = wanted.join(text.table, text.table.c.conversation_id == CONVERSATIONS.c.id)
    return _Quoting(text, target, wanted)


_QUOTING = (
    _quoting(MESSAGES.c.content, "content", MESSAGES.c.turn, MESSAGES.c.side, MESSAGES.c.candidate),
    _quoting(EXAMPLES.c.input, "example:{}:input", EXAMPLES.c.position),
    _quoting(EXAMPLES.c.output, "example:{}:output", EXAMPLES.c.position),
    *(_quoting(CONVERSATIONS.c[name], name) for name in ("context", "title", "name", "metadata")),
)
"""Where words are searched for."""


def _batches(ids: Collection[str]) -> Iterable[list[str]]:
    """Yield ids in order, as many at a time as one statement takes."""
    whole = sorted(ids)
    for place in range(0, len(whole), BATCH):
        yield whole[place : place + BATCH]


def _in_json(words: str) -> str:
    """Return words as they stand inside a string of JSON."""
    return json.dumps(words, ensure_ascii=False)[1:-1]


def _same(of: _Columns, texts: Sequence[Standing]) -> ColumnElement[bool]:
    """Return what is true of the copies of texts at one place."""
    if of.text is CONVERSATIONS.c.title:
        return or_(*(of.text == each.text for each in texts))
    return of.salt.in_([each.salt for each in texts])  # type: ignore[no-any-return]  # a column's


def _old(record: ConversationRecord, before: datetime | None, but: int | None) -> tuple[ColumnElement[bool], ...]:
    """Return what is true of the texts that stand in turns which began before a time."""
    of_it: tuple[ColumnElement[bool], ...] = (MESSAGES.c.conversation_id == record.id, MESSAGES.c.content.is_not(None))
    if but is not None:
        of_it = (*of_it, MESSAGES.c.turn != but)
    if before is None:
        return of_it
    numbers = select(TURNS.c.number).where(TURNS.c.conversation_id == record.id, TURNS.c.created_at < before)
    return (*of_it, MESSAGES.c.turn.in_(numbers))


def _has_older(before: datetime) -> ColumnElement[bool]:
    """Return what is true of conversations that have texts older than a time, which nobody is answering."""
    id = CONVERSATIONS.c.id
    free = or_(TURNS.c.lease_owner.is_(None), TURNS.c.lease_expires <= database_now_ms())
    said = select(MESSAGES.c.turn).join(
        TURNS, and_(TURNS.c.conversation_id == MESSAGES.c.conversation_id, TURNS.c.number == MESSAGES.c.turn)
    )
    said = said.where(MESSAGES.c.conversation_id == id, MESSAGES.c.content.is_not(None))
    shown = select(EXAMPLES.c.position).where(
        EXAMPLES.c.conversation_id == id, or_(EXAMPLES.c.input.is_not(None), EXAMPLES.c.output.is_not(None))
    )
    told = or_(CONVERSATIONS.c.context.is_not(None), CONVERSATIONS.c.title.is_not(None), shown.exists())
    return or_(said.where(TURNS.c.created_at < before, free).exists(), and_(CONVERSATIONS.c.updated_at < before, told))
