"""Conversations written into files: what is meant, read as the store is at one moment, and where it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar, cast

from sqlalchemy.exc import DBAPIError

from convo import prepare, sinks
from convo.audits import Everyone
from convo.errors import InvalidInput, InvalidParameter, StoreUnavailable
from convo.formats.base import Tally, Transcript, Writer
from convo.formats.catalog import FORMS, LOSSLESS, form_of, new_writer
from convo.formats.jsonl import JsonLinesWriter
from convo.sinks import Sink, Target
from convo.store.auditing import Span
from convo.store.database import Database
from convo.store.exporting import Selection
from convo.store.ledger import utc_now
from convo.store.repository import ConversationRepository
from convo.transfers import Exported
from convo.values import ConversationRecord

Tick = Callable[[int, int], None]
"""Hears how many turns were written so far, and how many there are; an opening is one more."""

Each = TypeVar("Each")

TICK = 200
"""How many turns are written between two words of them."""


@dataclass(slots=True)
class Order:
    """An export as it was asked for, before any conversation was looked for."""

    target: Target
    references: Sequence[str]
    owner: str | None
    """None for everyone."""
    since: datetime | None
    format: str
    tick: Tick

    def run(self, database: Database) -> Exported:
        """Write the conversations that are meant, as they are at one moment.

        Raises:
            ConversationNotFound, AmbiguousId: nothing was written.
            InvalidFile: it cannot be written there.
            StoreError: the store failed; a file is not there then, and a stream not whole.
        """

        def work(repository: ConversationRepository) -> Exported:
            with repository.leaving_nothing_open():
                return _Export(self, repository).run()

        return database.read(work)


def order(
    target: Target,
    references: Sequence[str],
    owner: str | Everyone | None,
    since: datetime | timedelta | None,
    form: str | None,
    tick: Tick | None,
) -> Order:
    """Return what is to be exported, checked.

    Raises:
        InvalidInput: no such form; or conversations are named, and they are everyone's.
        InvalidParameter: a time without a zone, or a negative span.
    """
    if references and isinstance(owner, Everyone):
        raise InvalidInput("conversations that are named are somebody's: name the owner")
    form = form_of(form, sinks.file_name_of(target))
    return Order(target, references, owner_of(owner), _moment(since), form, tick or _unheard)


def owner_of(owner: str | Everyone | None) -> str | None:
    """Return whose conversations are meant; None for everyone's, where "" is nobody's."""
    return None if isinstance(owner, Everyone) else prepare.owner_of(owner)


def _unheard(done: int, total: int) -> None:
    """Nobody wants to know."""


def _moment(since: datetime | timedelta | None) -> datetime | None:
    if since is None:
        return None
    if isinstance(since, timedelta):
        if since < timedelta(0):
            raise InvalidParameter(f"since must be at least 0, not {since}")
        try:
            return utc_now() - since
        except OverflowError:
            return None
    if since.tzinfo is None:
        raise InvalidParameter(f"since has no time zone: {since}")
    return since.astimezone(UTC)


@dataclass(slots=True)
class _Export:
    order: Order
    repository: ConversationRepository
    tally: Tally = field(default_factory=Tally)
    files: int = 0
    size_bytes: int = 0
    done: int = 0
    total: int = 0

    def run(self) -> Exported:
        self.repository.wait_for_reader()
        which = self._which()
        self.total = self.repository.count_selected(which)
        folder = sinks.folder_of(self.order.target)
        if folder is None:
            self._write(self.order.target, which)
        else:
            self._write_each(folder, which)
        counts = (self.tally.conversations, self.tally.turns, self.tally.texts)
        return Exported(self.order.format, *counts, dict(self.tally.left_out), self.files, self.size_bytes)

    def _which(self) -> Selection:
        order = self.order
        if not order.references:
            return Selection(None, order.owner, order.since)
        ids = [self.repository.find_id(each, order.owner or "") for each in order.references]
        return Selection(sorted(set(ids)), order.owner, order.since)

    def _write_each(self, folder: Path, which: Selection) -> None:
        """Write each conversation into a file of its own, which its id names."""
        sinks.make_folder(folder)
        for id in self.repository.selected_ids(which):
            self._write(folder / f"{id}{FORMS[self.order.format].suffix}", Selection([id]))

    def _write(self, target: Target, which: Selection) -> None:
        with sinks.opened(target) as sink:
            writer = new_writer(self.order.format)
            try:
                for piece in self._pieces(writer, which):
                    sink.write(piece)
            except DBAPIError as error:
                if sink.is_kept_back or not sink.size_bytes:
                    raise
                raise _broken_off(sink) from error
        self.files += 1
        self.size_bytes += sink.size_bytes
        self.tally.add(writer.tally)

    def _pieces(self, writer: Writer, which: Selection) -> Iterator[str]:
        yield from writer.begin(self.repository.selected(which))
        if self.order.format == LOSSLESS:
            yield from self._rows(cast("JsonLinesWriter", writer), which)
        else:
            for record in self.repository.selected(which):
                shown = transcript(self.repository, record)
                yield from writer.conversation(replace(shown, turns=self._counted(shown.turns)))
        yield from writer.end()

    def _rows(self, writer: JsonLinesWriter, which: Selection) -> Iterator[str]:
        """Yield everything of conversations: of a whole store each table is read once."""
        ids = self.repository.selected_ids(which)
        spans: Iterator[Span] = iter([Span()]) if which.is_everything else (Span(only=id) for id in ids)
        for span in spans:
            for stored in self.repository.whole(span):
                yield from writer.whole(replace(stored, turns=self._counted(stored.turns)))

    def _counted(self, turns: Iterable[Each]) -> Iterator[Each]:
        """Yield turns, or rows of them, and tell now and then how many there were."""
        for each in turns:
            self.done += 1
            if self.done % TICK == 0:
                self.order.tick(self.done, self.total)
            yield each


def transcript(repository: ConversationRepository, record: ConversationRecord) -> Transcript:
    """Return a conversation to be written, which is read as it is written."""
    return Transcript(
        record, repository.all_examples(record), repository.all_turns(record), repository.preferences_of(record)
    )


def _broken_off(sink: Sink) -> StoreUnavailable:
    return StoreUnavailable(f"the database was lost, and what was written ({sink.size_bytes} bytes) is not whole")
