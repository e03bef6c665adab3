"""The statements on branches: fork a conversation, and find the forks of one.

A fork is copied where it is stored: no row of the copy passes through the client, however long the conversation is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import uuid_utils.compat
from sqlalchemy import ColumnElement, Table, and_, case, cast, func, insert, literal, not_, null, or_, select

from convo import journal
from convo.errors import TurnNotFound
from convo.store import bodies
from convo.store.columns import event_turn
from convo.store.conversations import Conversations
from convo.store.ledger import new_salt, utc_now
from convo.store.rows import CONVERSATIONS, EVENTS, EXAMPLES, MESSAGES, TURNS
from convo.store.turns import Turns, next_candidate
from convo.values import KEEP, MODEL, Branch, ConversationRecord, Example, Keep, Message

_OF_PROMPT = ("context", "context_tokens", "examples", "example_tokens")
Told = Sequence[tuple[str, dict[str, Any]]]
"""Events: their kinds and bodies, in order."""

Ref = tuple[Any, ...]
"""Which text an event tells of."""

_OF_REQUEST = ("request_key", "request_hash", "lease_owner", "lease_expires")
_OF_ATTEMPT = (
    *("window_start", "first_example", "prompt_tokens", "prompt_limit", "prompt_digest"),
    *("model", "served_by", "parameters", "input_tokens", "output_tokens", "latency_ms"),
)
_OF_TURN = (TURNS.c.conversation_id == MESSAGES.c.conversation_id) & (TURNS.c.number == MESSAGES.c.turn)
_MODEL_TOLD = {
    "model": case(
        (
            MESSAGES.c.side == MODEL,
            func.coalesce(MESSAGES.c.model, select(TURNS.c.model).where(_OF_TURN).scalar_subquery()),
        )
    )
}
"""The model of a candidate, where its turn does not tell it any more."""


def _nothing(table: Table, columns: Iterable[str]) -> dict[str, ColumnElement[Any]]:
    return {name: cast(null(), table.c[name].type) for name in columns}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFork:
    """What a fork has of its own; texts are cleaned and counted already, as convo.prepare does."""

    id: str = field(default_factory=lambda: str(uuid_utils.compat.uuid7()))
    """Made beforehand, as that of a NewConversation."""
    name: str | None = None
    model: str | None = None
    """None for the conversation's own."""
    context: Message | Keep | None = KEEP
    examples: Sequence[Example] | Keep = KEEP
    """Oldest first."""

    @property
    def has_other_prompt(self) -> bool:
        """Whether what it shares was answered under another context, or with other examples."""
        return self.context is not KEEP or self.examples is not KEEP

    def record(self, parent: ConversationRecord, turn: int) -> ConversationRecord:
        """Return the fork's row, as far as it does not depend on the journal."""
        made = replace(parent, id=self.id, name=self.name, model=self.model or parent.model)
        made = replace(made, forked_from=parent.id, forked_at=turn, turn_count=turn)
        if isinstance(self.context, Keep):
            return made
        content, tokens = (self.context.content, self.context.tokens) if self.context else (None, 0)
        return replace(made, context=content, context_tokens=tokens, context_salt=new_salt() if content else None)


class Branches(Conversations, Turns):
    """Everything about the forks of a conversation."""

    def fork(self, parent: ConversationRecord, turn: int, new: NewFork) -> ConversationRecord:
        """Copy a locked conversation up to `turn`, which is settled, or 0, with its journal, into a new one.

        The copied turns have no request keys. Under another context or other examples they are as those of a given
        history, with no prompt and no model; each candidate tells its own.

        Raises:
            NameTaken: the owner has a conversation of that name; nothing was stored.
            TurnNotFound: there is no such turn.
        """
        if not 0 <= turn <= parent.turn_count:
            raise TurnNotFound(parent.id, turn)
        at = utc_now()
        length, head = self._cut(parent, turn)
        record = replace(new.record(parent, turn), version=length, journal_head=head, created_at=at, updated_at=at)
        salts = {"title": new_salt(), "label": new_salt()}
        behind = self._behind(parent, turn, length)
        self._insert_conversation(record, salts)
        told: dict[str, Any] = {"from": parent.id, "conversation": new.id, "turn": turn, "fence": parent.fence}
        told |= bodies.settings(record)
        told |= {"title": journal.sealed("title", record.title, salts["title"])}
        told |= {"labels": journal.sealed("labels", bodies.labels(record), salts["label"])}
        told |= _other_prompt(behind)
        if new.context is not KEEP:
            told |= bodies.context(record)
        if isinstance(new.examples, Keep):
            self._copy(EXAMPLES, parent, record)
        else:
            told |= bodies.examples(self._insert_examples(record, new.examples))
        lost = (*_OF_REQUEST, *(_OF_ATTEMPT if new.has_other_prompt else ()))
        self._copy(TURNS, parent, record, TURNS.c.number <= turn, instead=_nothing(TURNS, lost))
        said = (MESSAGES.c.turn <= turn, *self._not_late(parent, behind))
        self._copy(MESSAGES, parent, record, *said, instead=_MODEL_TOLD if new.has_other_prompt else {})
        self._copy(EVENTS, parent, record, EVENTS.c.number <= length)
        told |= self._rewritten(record, new, behind)
        return self._append(record, "fork", told, at)

    def fork_of_request(self, parent: ConversationRecord, turn: int, request_key: str) -> ConversationRecord | None:
        """Return the fork after `turn` whose first turn of its own has that request key; None when there is none."""
        asked = (TURNS.c.conversation_id == CONVERSATIONS.c.id) & (TURNS.c.number == turn + 1)
        of_it = (CONVERSATIONS.c.owner == parent.owner, CONVERSATIONS.c.forked_from == parent.id)
        wanted = select(CONVERSATIONS).join(TURNS, asked).where(*of_it, CONVERSATIONS.c.forked_at == turn)
        return next(iter(self._records(wanted.where(TURNS.c.request_key == request_key))), None)

    def family(self, record: ConversationRecord) -> list[Branch]:
        """Return the tree that a conversation belongs to: its root, and behind each one its forks, as they part.

        The root is the oldest ancestor that is still there.
        """
        root = self._root(record)
        found = self._with_forks(root, record.owner)
        own = self.own_texts([each.id for each in found])
        forks: dict[str | None, list[ConversationRecord]] = {}
        for each in sorted(found, key=lambda each: (each.forked_at or 0, each.created_at, each.id), reverse=True):
            forks.setdefault(None if each.id == root else each.forked_from, []).append(each)
        tree, left = [], [(each, 0) for each in forks[None]]
        while left:
            each, depth = left.pop()
            tree.append(Branch(each, depth, own.get(each.id)))
            left += [(fork, depth + 1) for fork in forks.get(each.id, ())]
        return tree

    def _cut(self, parent: ConversationRecord, turn: int) -> tuple[int, bytes]:
        """Return the number and the digest of the last event before the turn after `turn` began."""
        if turn == parent.turn_count:
            return parent.version, parent.journal_head
        began = select(EVENTS.c.number - 1).where(
            EVENTS.c.conversation_id == parent.id,
            EVENTS.c.kind.in_(("begin", "history")),
            event_turn(EVENTS.c.body) == turn + 1,
        )
        last = began.order_by(EVENTS.c.number.desc()).limit(1).scalar_subquery()
        wanted = select(EVENTS.c.number, EVENTS.c.digest)
        row = self._execute(wanted.where(EVENTS.c.conversation_id == parent.id, EVENTS.c.number == last)).one()
        return row.number, row.digest

    def _behind(self, parent: ConversationRecord, turn: int, length: int) -> Told:
        """Return the events behind the first `length` that tell of what is copied, in order.

        An answer that came after its turn was taken over is stored with it; a text may be erased or redacted at any
        time; and a fork of a fork, which may part before that one did, has no copy of its fork event.
        """
        if turn == parent.turn_count:
            return []
        events = select(EVENTS.c.kind, EVENTS.c.body).where(EVENTS.c.conversation_id == parent.id)
        is_late = and_(EVENTS.c.kind == "late", event_turn(EVENTS.c.body) <= turn)
        of_it = or_(EVENTS.c.kind.in_(("erase", "redact", "fork")), is_late)
        found = self._execute(events.where(EVENTS.c.number > length, of_it).order_by(EVENTS.c.number))
        return [(row.kind, json.loads(row.body)) for row in found]

    def _rewritten(self, fork: ConversationRecord, new: NewFork, behind: Told) -> dict[str, Any]:
        """Return what was erased and redacted of the copied rows by events that are not copied."""
        redacted, erased = _rewritten(behind)
        ranges = [each for _, body in behind for each in body.get("turns", ()) if each[0] <= fork.turn_count]
        there: set[Ref] = {("context",)} if new.context is KEEP else set()
        if isinstance(new.examples, Keep):
            there |= {ref for ref in (*redacted, *erased) if ref[0] in ("input", "output")}
        turns = {ref[1] for ref in (*redacted, *erased) if ref[0] == "content" and ref[1] <= fork.turn_count}
        if turns or ranges:
            touched = [MESSAGES.c.turn.in_(sorted(turns))]
            touched += [MESSAGES.c.turn.between(min(ranges)[0], max(last for _, last in ranges))] if ranges else []
            key = (MESSAGES.c.turn, MESSAGES.c.side, MESSAGES.c.candidate)
            wanted = select(*key, MESSAGES.c.salt.is_(None).label("is_gone")).order_by(*key)
            for row in self._execute(wanted.where(MESSAGES.c.conversation_id == fork.id, or_(*touched))):
                there.add(ref := ("content", row.turn, row.side, row.candidate))
                if row.is_gone and any(first <= row.turn <= last for first, last in ranges):
                    erased[ref] = None
        told = {
            "redacted": [[ref, *put] for ref, put in redacted.items() if ref in there],
            "erased": [ref for ref in erased if ref in there],
        }
        return {name: each for name, each in told.items() if each}

    def _not_late(self, parent: ConversationRecord, behind: Told) -> list[ColumnElement[bool]]:
        """Return what is true of the texts of which the copied events tell, and not those behind them."""
        counts: Counter[int] = Counter()
        for kind, told in behind:
            if kind == "late":
                counts[told["turn"]] += len(told.get("candidates", ()))
        return [
            not_(
                and_(
                    MESSAGES.c.turn == number,
                    MESSAGES.c.side == MODEL,
                    MESSAGES.c.candidate >= next_candidate(parent.id, number).scalar_subquery() - count,
                )
            )
            for number, count in counts.items()
        ]

    def _copy(
        self,
        table: Table,
        parent: ConversationRecord,
        fork: ConversationRecord,
        *which: ColumnElement[bool],
        instead: Mapping[str, ColumnElement[Any]] = MappingProxyType({}),
    ) -> None:
        """Copy the rows of a conversation to its fork; some columns have something else `instead`."""
        id = table.c.conversation_id
        copied: dict[str, ColumnElement[Any]] = {each.name: each for each in table.c if each.computed is None}
        copied |= {id.name: literal(fork.id, id.type), **instead}
        self._execute(insert(table).from_select(list(copied), select(*copied.values()).where(id == parent.id, *which)))

    def _root(self, record: ConversationRecord) -> str:
        """Return the id of the oldest ancestor that is still there."""
        above = CONVERSATIONS.alias("above")
        start = select(CONVERSATIONS.c.id, CONVERSATIONS.c.forked_from).where(CONVERSATIONS.c.id == record.id)
        line = start.cte("line", recursive=True)
        step = select(above.c.id, above.c.forked_from).join(line, above.c.id == line.c.forked_from)
        line = line.union(step.where(above.c.owner == record.owner))  # not ALL: it ends, whatever the rows say
        parent_of = {row.id: row.forked_from for row in self._execute(select(line))}
        return next((id for id, parent in parent_of.items() if parent not in parent_of), record.id)

    def _with_forks(self, root: str, owner: str) -> list[ConversationRecord]:
        fork = CONVERSATIONS.alias("fork")
        tree = select(CONVERSATIONS.c.id).where(CONVERSATIONS.c.id == root).cte("tree", recursive=True)
        step = select(fork.c.id).join(tree, fork.c.forked_from == tree.c.id).where(fork.c.owner == owner)
        tree = tree.union(step)
        return self._records(select(CONVERSATIONS).join(tree, CONVERSATIONS.c.id == tree.c.id))


def _other_prompt(behind: Told) -> dict[str, Any]:
    """Return what the copied events do not tell of the context and the examples of a parent's own."""
    told: dict[str, Any] = {}
    for kind, body in behind:
        if kind == "fork":
            told |= {name: each for name, each in body.items() if name in _OF_PROMPT}
    return told


def _rewritten(behind: Told) -> tuple[dict[Ref, list[Any]], dict[Ref, None]]:
    """Return the texts that events name as redacted, with what was put in their place last; and those as erased.

    A text may be both, in that order. A title is none of them: a fork tells its own.
    """
    redacted: dict[Ref, list[Any]] = {}
    erased: dict[Ref, None] = {}
    for kind, body in behind:
        for replaced, fields in (("context", ("context",)), ("examples", ("input", "output"))):
            if kind == "fork" and replaced in body:
                redacted = {ref: put for ref, put in redacted.items() if ref[0] not in fields}
                erased = {ref: None for ref in erased if ref[0] not in fields}
        told = body.get("fields", ())
        for ref, *put in told if kind == "redact" else body.get("redacted", ()):
            redacted.pop(tuple(ref), None)  # the tokens that were told last of an example are those of both its texts
            redacted[tuple(ref)] = put
        erased |= dict.fromkeys(map(tuple, told if kind == "erase" else body.get("erased", ())))
    redacted.pop(("title",), None)
    erased.pop(("title",), None)
    return redacted, erased
