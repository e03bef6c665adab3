"""Conversations read from files: what each one is, whether the store has it already, and what becomes of it.

A conversation is stored whole or not at all, and known again by its id: an import that was interrupted is run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from convo import drafting, exporting, options, prepare
from convo.drafting import Drafted
from convo.errors import AuthorError, InvalidFile, InvalidInput, NameTaken
from convo.formats import jsonl
from convo.formats.base import Draft, Line, Unread
from convo.formats.catalog import LOSSLESS, check_read, form_of, module_of, new_writer, sniffed
from convo.receiving import FileRow, Receiver, Rows
from convo.sources import Given, Source
from convo.store.database import Database
from convo.store.repository import ConversationRepository
from convo.transfers import ANOTHER_OF_ID, Fate, Imported

PAGE_TEXTS, PAGE_CONVERSATIONS = 2_000, 200
"""How many texts, and conversations, are stored in one transaction, if one conversation alone does not have more."""

Tick = Callable[[int, int], None]
"""Hears how many bytes of the file were read, and how many there are."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Terms:
    """How a file is to be imported."""

    owner: str | None
    """Whose conversations are taken, and whose those are that tell of no owner; None takes everyone's."""
    lenient: bool
    """Whether a file that was cut or changed is read as far as it can be."""
    dry_run: bool
    """Whether nothing is stored, and only told what would be."""
    new_ids: bool
    """Whether each conversation becomes another one than that of the file, with an id and a journal of its own."""


class _Undone(Exception):
    """Carries what came of a transaction out of it, so that it is rolled back."""


class Import:
    """A file that is imported, page by page; close it at the end."""

    def __init__(self, given: Given, form: str | None, terms: Terms, tick: Tick | None) -> None:
        """Open the file.

        Raises:
            InvalidFile: it cannot be read, or is of no form that is read.
            InvalidInput: there is no form of that name.
        """
        self._source, self._terms = Source(given), terms
        self._tick = tick or (lambda _done, _total: None)
        self._offset, self._number = 0, 1
        try:
            self._form = sniffed(self._lines(), self._source.name) if form is None else form_of(form, "")
            check_read(self._form)
        except BaseException:
            self.close()
            raise
        self._offset = 0
        self._read: Iterator[Draft | Unread] | None = None
        self.is_done = False

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def next_page(self, database: Database) -> list[Imported]:
        """Import the next conversations.

        Raises:
            InvalidFile: the file was cut or changed, and nothing of it was stored; or a line is too long.
            StoreError: the store failed; nothing of this page was stored.
        """
        found = self._rows(database) if self._form == LOSSLESS else self._drafts(database)
        self._tick(self._offset, self._source.size_bytes)
        return found

    def _write(self, database: Database, work: Callable[[ConversationRepository], Result]) -> Result:
        """Do some work in a transaction, which a dry run rolls back."""
        if not self._terms.dry_run:
            return database.write(work)

        def undone(repository: ConversationRepository) -> Result:
            raise _Undone(work(repository))

        try:
            return database.write(undone)
        except _Undone as end:
            return end.args[0]  # type: ignore[no-any-return]  # what came of the work

    def _lines(self, offset: int = 0) -> Iterator[Line]:
        for end, line in self._source.lines(offset):
            self._offset = end
            yield line

    # ---- convo's own form

    def _rows(self, database: Database) -> list[Imported]:
        if self._offset == 0 and not self._terms.lenient:
            self._check_whole()
        found, self._offset, self._number, self.is_done = self._write(database, self._receive)
        return found

    def _check_whole(self) -> None:
        try:
            jsonl.check_whole(self._lines())
        except InvalidFile as error:
            raise InvalidFile(f"{self._source.name}: {error}; what is whole of it is read when lenient") from None
        self._offset = 0

    def _receive(self, repository: ConversationRepository) -> tuple[list[Imported], int, int, bool]:
        """Store the next conversations, again from the same place when the transaction is run again."""
        receiver = Receiver(repository, self._terms.owner, self._terms.new_ids, _check)
        rows = Rows(map(_row, self._source.lines(self._offset, self._number)))
        found: list[Imported] = []
        texts = 0
        while rows.next is not None and texts < PAGE_TEXTS and len(found) < PAGE_CONVERSATIONS:
            each = receiver.conversation(rows)
            if each is not None:
                found.append(each)
                texts += each.texts
        ahead = rows.next
        return found, rows.end, ahead.line if ahead else 0, ahead is None

    # ---- the other forms

    def _drafts(self, database: Database) -> list[Imported]:
        if self._read is None:
            self._read = module_of(self._form).read(self._lines())
        items: list[Drafted | Imported] = []
        texts = 0
        for each in self._read:
            items.append(self._drafted(each))
            texts += getattr(items[-1], "texts", 0)
            if texts >= PAGE_TEXTS or len(items) == PAGE_CONVERSATIONS:
                break
        else:
            self.is_done = True
        return self._write(database, partial(self._take, items=items))

    def _drafted(self, read: Draft | Unread) -> Drafted | Imported:
        if isinstance(read, Unread):
            return Imported(Fate.REFUSED, read.line, why=read.why)
        try:
            return drafting.drafted(read, self._form, owner=self._terms.owner, new_id=self._terms.new_ids)
        except (InvalidInput, AuthorError) as error:
            return Imported(Fate.REFUSED, read.line, why=str(error))

    def _take(self, repository: ConversationRepository, items: Sequence[Drafted | Imported]) -> list[Imported]:
        return [each if isinstance(each, Imported) else self._create(repository, each) for each in items]

    def _create(self, repository: ConversationRepository, drafted: Drafted) -> Imported:
        """Store a conversation unless it is there."""
        new = drafted.new
        standing = repository.journal_of(new.id)
        if standing is not None:
            owner, _ = standing
            if owner == new.owner and self._is_same(repository, drafted):
                return drafted.outcome(Fate.PRESENT)
            return Imported(Fate.CONFLICT, drafted.draft.line, new.id, why=ANOTHER_OF_ID)
        try:
            repository.create(new)
        except NameTaken:
            repository.create(replace(new, name=None))
            drafted.dropped["names"] = 1
        return drafted.outcome(Fate.NEW)

    def _is_same(self, repository: ConversationRepository, drafted: Drafted) -> bool:
        """Return whether the store's conversation of a draft's id tells what the draft does."""
        if drafted.draft.id is None:
            return True  # the id is made of the contents
        record = repository.get(drafted.new.id, drafted.new.owner)
        text = "".join(new_writer(self._form).conversation(exporting.transcript(repository, record)))
        lines = (Line(number, each.encode()) for number, each in enumerate(text.split("\n"), start=1))
        stored = next(iter(module_of(self._form).read(lines)), None)
        return isinstance(stored, Draft) and drafting.says_the_same(drafted.draft, stored)


def _check(told: dict[str, Any]) -> None:
    """Raise InvalidInput or AuthorError when a conversation's own row has labels that none can have."""
    if (
        prepare.owner_of(told["owner"]) != told["owner"]
        or prepare.checked_metadata(told["metadata"]) != told["metadata"]
    ):
        raise InvalidInput("its owner or metadata cannot be kept as they are")
    for name in ("name", "title", "model"):
        if told[name] is not None:
            prepare.label(told[name], name)
    if told["name"] is not None:
        prepare.conversation_name(told["name"])
    options.authors((told["user_author"], told["model_author"]))


def _row(read: tuple[int, Line]) -> FileRow:
    end, line = read
    try:
        return FileRow(end, line.number, jsonl.read(line))
    except InvalidFile as error:
        return FileRow(end, line.number, {}, str(error))
