"""Conversations in convo's own form, stored as a file tells of them, as functions of a repository.

What is stored is verified in the same transaction: a file may come from anywhere. So what an import brings is what its
journal tells, or it is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import Table
from sqlalchemy.exc import DataError, IntegrityError

from convo import journal
from convo.audits import Head
from convo.errors import AuthorError, InvalidInput, NameTaken
from convo.formats.catalog import LOSSLESS
from convo.store.auditing import Span
from convo.store.conversations import NewConversation
from convo.store.given import GivenTurn
from convo.store.importing import HOLDER
from convo.store.repository import ConversationRepository
from convo.store.rows import EVENTS, EXAMPLES, MESSAGES, TURNS, parameters
from convo.transfers import ANOTHER_OF_ID, ANOTHER_OWNERS, Fate, Imported
from convo.values import DONE, USER, Example, Message
from convo.verifying import verify

BATCH = 1000
"""How many rows are stored at once."""

HEADS = ("convo", "conversation", "end", None)
"""The kinds of lines that belong to no conversation which began before them; None is one that cannot be read."""

NEW_JOURNAL = "its journal begins anew: of what was sent, and of what was counted, nothing is kept"

Told = dict[str, Any]
Check = Callable[[Told], None]
"""Raises InvalidInput when a conversation has a name, metadata or other labels that none can have."""


class FileRow(NamedTuple):
    """A line of a file as it was read."""

    end: int
    """The offset behind it."""
    line: int
    told: Told
    """Empty when it is none of the form."""
    why: str = ""
    """Why it is none."""

    @property
    def kind(self) -> str | None:
        """What it tells of; None when it is none of the form."""
        return self.told.get("type")


class Refusal(Exception):
    """Why a conversation is not stored."""

    def __init__(self, why: str, fate: Fate = Fate.REFUSED) -> None:
        self.why, self.fate = why, fate


class Rows:
    """The lines of a file, one of which can be seen before it is taken."""

    def __init__(self, rows: Iterable[FileRow]) -> None:
        self._rows = iter(rows)
        self.next = next(self._rows, None)
        self.end = 0
        """The offset behind the last one that was taken."""

    def take(self) -> FileRow:
        """Take the one that comes next."""
        taken = self.next
        if taken is None:
            raise EOFError
        self.end = taken.end
        self.next = next(self._rows, None)
        return taken

    def of_one(self) -> Iterator[FileRow]:
        """Take those that belong to the conversation which began last, one by one."""
        while self.next is not None and self.next.kind not in HEADS:
            yield self.take()


@dataclass(slots=True)
class Receiver:
    """What stores the conversations of a file."""

    repository: ConversationRepository
    owner: str | None
    """Whose are taken; None for everyone's."""
    new_ids: bool
    check: Check

    def conversation(self, rows: Rows) -> Imported | None:
        """Take the conversation that comes next, and all lines of it; None when only the form's own lines came."""
        first = rows.take()
        if first.kind in ("convo", "end"):
            return None
        if first.kind != "conversation":
            for _ in rows.of_one():
                pass
            return Imported(Fate.REFUSED, first.line, why=first.why or "it is of no conversation")
        found = Found(first)
        rest = found.counted(rows.of_one())
        try:
            return self._received(found, rest)
        except Refusal as refusal:
            fate, why = refusal.fate, refusal.why
        except (InvalidInput, AuthorError) as error:
            fate, why = Fate.REFUSED, str(error)
        except (IntegrityError, DataError):
            fate, why = Fate.REFUSED, "it breaks a rule of the tables"
        for _ in rest:
            pass
        return Imported(fate, first.line, found.told["id"], why=why)

    def _received(self, found: Found, rest: Iterator[FileRow]) -> Imported:
        if self.owner is not None and found.told["owner"] != self.owner:
            raise Refusal(ANOTHER_OWNERS)
        self.check(found.told)
        if self.new_ids:
            with self.repository.undone_unless_whole():
                return self._anew(found, rest)
        standing = self.repository.journal_of(found.told["id"])
        if standing is not None:
            return self._compared(found, rest, *standing)
        with self.repository.undone_unless_whole():
            self._store(found.told, rest)
        return found.outcome(Fate.NEW)

    def _compared(self, found: Found, rest: Iterator[FileRow], owner: str, standing: Head) -> Imported:
        """Compare a conversation with the one of its id."""
        head = Head(standing.conversation, found.told["journal_length"], found.told["journal_head"])
        goes_on = False
        for each in rest:
            told = each.told
            goes_on |= (told.get("number"), told.get("digest")) == (standing.length, standing.digest)
        if owner != found.told["owner"]:
            raise Refusal(ANOTHER_OF_ID, Fate.CONFLICT)
        if standing == head:
            return found.outcome(Fate.PRESENT)
        if self.repository.goes_through(head):
            raise Refusal(f"the store's has gone on since, by {standing.length - head.length} events", Fate.CONFLICT)
        if goes_on:
            raise Refusal(f"the file's has gone on since, by {head.length - standing.length} events", Fate.CONFLICT)
        raise Refusal(ANOTHER_OF_ID, Fate.CONFLICT)

    # ---- as it is

    def _store(self, told: Told, rest: Iterable[FileRow]) -> None:
        columns = {name: value for name, value in told.items() if name != "type"}
        if not self.repository.insert_whole(columns):
            raise Refusal("the owner has another one of that name", Fate.CONFLICT)
        waiting: dict[Table, list[Told]] = {TURNS: [], MESSAGES: [], EVENTS: [], EXAMPLES: []}
        for each in rest:
            table = _TABLES[each.told["type"]]
            waiting[table].append(_columns(told["id"], each.told))
            if len(waiting[table]) == BATCH:
                self._flush(waiting)
        self._flush(waiting)
        with self.repository.leaving_nothing_open():
            found = next(iter(self.repository.evidence(Span(only=told["id"]))))
            verdict = verify(found)  # type: ignore[arg-type]  # it is there
        if not verdict.is_sound:
            raise Refusal(f"it is not what its journal tells: {verdict.faults[0]}")

    def _flush(self, waiting: dict[Table, list[Told]]) -> None:
        for table, rows in waiting.items():
            self.repository.insert_rows(table, rows)
            rows.clear()

    # ---- as another one

    def _anew(self, found: Found, rest: Iterator[FileRow]) -> Imported:
        """Store a new conversation of the same texts."""
        new = _new(found.told, rest)
        dropped = {}
        try:
            record = self.repository.create(new)
        except NameTaken:
            record, dropped = self.repository.create(replace(new, name=None)), {"names": 1}
        return found.outcome(Fate.NEW, record.id, dropped, NEW_JOURNAL)


@dataclass(slots=True)
class Found:
    """A conversation of a file, and what was read of it so far."""

    first: FileRow
    turns: int = 0
    texts: int = 0

    @property
    def told(self) -> Told:
        """Its own row."""
        return self.first.told

    def counted(self, rows: Iterable[FileRow]) -> Iterator[FileRow]:
        """Yield rows, and count what they tell."""
        for each in rows:
            self.turns += each.kind == "turn"
            self.texts += each.kind == "message" and each.told["content"] is not None
            yield each

    def outcome(
        self, fate: Fate, id: str | None = None, dropped: Told | None = None, why: str | None = None
    ) -> Imported:
        """Return what became of it, all of which was read."""
        return Imported(fate, self.first.line, id or self.told["id"], self.turns, self.texts, dropped or {}, why)


_TABLES = {"example": EXAMPLES, "turn": TURNS, "message": MESSAGES, "event": EVENTS, "unlinked": EVENTS}


def _columns(id: str, told: Told) -> Told:
    """Return the columns of a row, from the values of its line."""
    kind = told.pop("type")
    told["conversation_id"] = id
    if kind == "turn":
        is_held = told.pop("held")
        told["lease_owner"], told["lease_expires"] = (HOLDER, 0) if is_held else (None, None)
    elif kind == "event":
        told["body"] = journal.written(told["body"])
    return told


def _new(told: Told, rest: Iterable[FileRow]) -> NewConversation:
    """Return a new conversation of the same texts, whose turns are read as they are stored."""
    rows, authors = Rows(rest), (told["user_author"], told["model_author"])
    examples = [_example(row.told) for row in _while(rows, "example")]
    opening = None
    if rows.next is not None and rows.next.told.get("number") == 0:
        first = _turn(rows, authors).answers[0]
        opening = None if first.content is None else first  # of an erased one nothing is left to be told
    context = told["context"]
    return NewConversation(
        context=None if context is None else Message(content=context, tokens=told["context_tokens"]),
        examples=examples,
        opening=opening,
        history=_history(rows, authors, told["turn_count"]),
        metadata=told["metadata"],
        authors=authors,
        parameters=parameters(told["parameters"], told["id"]),
        created_at=journal.in_milliseconds(told["created_at"]),
        imported=LOSSLESS,
        **{name: told[name] for name in ("owner", "name", "title", "model", "input_token_limit", "trim")},
    )


def _history(rows: Rows, authors: tuple[str, str], count: int) -> Iterator[GivenTurn]:
    """Yield the turns, and leave the journal."""
    number = 1
    while rows.next is not None and rows.next.kind == "turn":
        if rows.next.told["number"] != number:
            raise Refusal(f"turn {number} is missing")
        yield _turn(rows, authors)
        number += 1
    for _ in _while(rows, "event", "unlinked"):
        pass
    if rows.next is not None:
        raise Refusal(f"line {rows.next.line} is out of place")
    if number <= count:
        raise Refusal(f"turn {number} is missing")


def _turn(rows: Rows, authors: tuple[str, str]) -> GivenTurn:
    told = rows.take().told
    texts = [_message(row.told, authors, told["model"]) for row in _while(rows, "message")]
    asked = next((each for each in texts if each.side == USER), None)
    if asked is None and told["number"] > 0:
        raise Refusal(f"turn {told['number']} has no message")
    answers = [each for each in texts if each.side != USER]
    chosen = told["chosen"] if told["state"] == DONE else None
    if [each.candidate for each in answers] != list(range(len(answers))) or (chosen or 0) > max(len(answers) - 1, 0):
        raise Refusal(f"turn {told['number']} has not the answers that it should have")
    began = journal.in_milliseconds(told["created_at"])
    return GivenTurn(asked or Message(), answers, chosen, began, journal.in_milliseconds(told["finished_at"] or began))


def _while(rows: Rows, *kinds: str) -> Iterator[FileRow]:
    while rows.next is not None and rows.next.kind in kinds:
        yield rows.take()


def _message(told: Told, authors: tuple[str, str], model: str | None) -> Message:
    same = ("content", "side", "tokens", "candidate", "finish_reason", "repaired")
    given_by = None if told["side"] == USER else told["model"] or model
    return Message(authors[told["side"]], **{name: told[name] for name in same}, model=given_by)


def _example(told: Told) -> Example:
    return Example(told["input"], told["output"], told["tokens"])
