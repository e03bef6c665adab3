"""How a store is verified: page by page, each in one transaction that reads, and holds up nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from convo.audits import Fault, Head, Promise, Verdict
from convo.errors import StoredDataError
from convo.evidence import Evidence
from convo.store.auditing import PAGE, Span
from convo.store.database import Database
from convo.store.repository import ConversationRepository
from convo.verifying import Tick, verify

Result = TypeVar("Result")

Heads = dict[str, list[Head]]
"""Those that were kept, by conversation."""


def by_conversation(heads: Iterable[Head]) -> Heads:
    """Return heads by their conversations."""
    kept: Heads = {}
    for each in heads:
        kept.setdefault(each.conversation, []).append(each)
    return kept


def heads_after(database: Database, last: Head | None) -> list[Head]:
    """Return where the next journals stand, by the ids of their conversations; none when there are no more."""
    after = None if last is None else last.conversation
    return database.read(partial(ConversationRepository.heads_after, after=after))


def verdict_of(database: Database, id: str, heads: Iterable[Head] = ()) -> Verdict | None:
    """Verify one conversation; None when there is none of that id."""
    return next(iter(_read(database, partial(_verified, span=Span(only=id), heads=by_conversation(heads)))), None)


class Audit:
    """Conversations that are verified: those that are named; or all by id, and at last those that had a head kept."""

    def __init__(self, references: Sequence[str], owner: str, heads: Iterable[Head], tick: Tick) -> None:
        """Compare with `heads` those that `references` name, or all; `tick` hears how many events were read."""
        self._references, self._owner = references, owner
        self._heads, self._tick = by_conversation(heads), _carrying(tick)
        self._gone = set(self._heads)
        self._after: str | None = None
        self.is_done = False

    def next_page(self, database: Database) -> list[Verdict]:
        """Verify the next conversations.

        Raises:
            ConversationNotFound, AmbiguousId: as find().
            Exception: whatever the caller's own `tick` raised.
        """
        try:
            return self._next(database)
        except _ListenerFailed as failed:
            raise failed.error from None

    def _next(self, database: Database) -> list[Verdict]:
        if self._references:
            self.is_done = True
            return self._named(database)
        found, self._after = _read(database, self._page)
        self._gone.difference_update(each.conversation for each in found)
        if self._after is not None:
            return found
        self.is_done = True
        return [*found, *map(self._missing, sorted(self._gone))]

    def _named(self, database: Database) -> list[Verdict]:
        def ids(repository: ConversationRepository) -> list[str]:
            return [repository.find_id(each, self._owner) for each in self._references]

        wanted = dict.fromkeys(database.read(ids))
        spans = [partial(_verified, span=Span(only=id), heads=self._heads, tick=self._tick) for id in wanted]
        return [verdict for span in spans for verdict in _read(database, span)]

    def _page(self, repository: ConversationRepository) -> tuple[list[Verdict], str | None]:
        """Verify a page; return the id behind which others follow, too."""
        ids = [each.conversation for each in repository.heads_after(self._after)]
        last = ids[-1] if len(ids) == PAGE else None
        return _verified(repository, Span(self._after, last), self._heads, self._tick), last

    def _missing(self, id: str) -> Verdict:
        length = max(each.length for each in self._heads[id])
        return _faulty(id, Fault(Promise.ANCHORED, f"it is not there, though a head of {length} events was kept"))


def _read(database: Database, work: Callable[[ConversationRepository], Result]) -> Result:
    """Run `work` on the store as it is at one moment; again, and slower, when a text in it cannot be read."""

    def lenient(repository: ConversationRepository) -> Result:
        with repository.reading_anything():
            return work(repository)

    try:
        return database.read(work)
    except StoredDataError:
        return database.read(lenient)


class _ListenerFailed(Exception):
    """Carries an error of whoever hears of the progress past what would take it for one of the store."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _carrying(tick: Tick) -> Tick:
    """Return `tick` with its errors carried."""

    def carried(events: int) -> None:
        try:
            tick(events)
        except Exception as error:
            raise _ListenerFailed(error) from error

    return carried


def _verified(
    repository: ConversationRepository, span: Span, heads: Heads, tick: Tick = lambda _: None
) -> list[Verdict]:
    with repository.leaving_nothing_open():
        return [_verdict(each, heads, tick) for each in repository.evidence(span)]


def _verdict(evidence: Evidence | str, heads: Heads, tick: Tick) -> Verdict:
    if isinstance(evidence, str):
        return _faulty(evidence, Fault(Promise.COMPLETENESS, "rows name it, and it is not there"))
    id = evidence.conversation.id
    try:
        return verify(evidence, heads.get(id, ()), tick)
    except (DBAPIError, _ListenerFailed):
        raise
    except Exception as error:  # noqa: BLE001 - whatever somebody has made of its rows, the others are verified
        what = f"it cannot be verified: its rows or events make no sense ({type(error).__name__})"
        return _faulty(id, Fault(Promise.CONTENT, what))


def _faulty(id: str, fault: Fault) -> Verdict:
    return Verdict(id, faults=(fault,), fault_count=1, broken=frozenset({fault.promise}))
