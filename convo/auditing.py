"""How a store is verified: page by page, each in one transaction that reads, and holds up nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from convo.audits import Fault, Head, Promise, Verdict
from convo.errors import StoredDataError
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


def verdict_of(database: Database, id: str, heads: Iterable[Head], tick: Tick = lambda _: None) -> Verdict | None:
    """Verify one conversation; None when there is none of that id."""
    kept = by_conversation(heads)

    def work(repository: ConversationRepository) -> list[Verdict]:
        return _verified(repository, Span(only=id), kept, tick)

    return next(iter(_read(database, work)), None)


class Audit:
    """A store that is verified: all its conversations by id, and at last those that are gone, and had a head kept."""

    def __init__(self, heads: Iterable[Head], tick: Tick) -> None:
        """Compare with `heads`; `tick` hears how many events were read."""
        self._heads, self._tick = by_conversation(heads), tick
        self._gone = set(self._heads)
        self._after: str | None = None
        self.is_done = False

    def next_page(self, database: Database) -> list[Verdict]:
        """Verify the next conversations."""
        found, self._after = _read(database, self._page)
        self._gone.difference_update(each.conversation for each in found)
        if self._after is not None:
            return found
        self.is_done = True
        return [*found, *map(self._missing, sorted(self._gone))]

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

    def usual(repository: ConversationRepository) -> Result:
        repository.take_snapshot()
        return work(repository)

    def lenient(repository: ConversationRepository) -> Result:
        with repository.reading_anything():
            return work(repository)

    try:
        return database.read(usual)
    except StoredDataError:
        return database.read(lenient)


def _verified(repository: ConversationRepository, span: Span, heads: Heads, tick: Tick) -> list[Verdict]:
    found = []
    for each in repository.evidence(span):
        if isinstance(each, str):
            found.append(_faulty(each, Fault(Promise.COMPLETENESS, "rows name it, and it is not there")))
        else:
            found.append(verify(each, heads.get(each.conversation.id, ()), tick))
    return found


def _faulty(id: str, fault: Fault) -> Verdict:
    return Verdict(id, faults=(fault,), fault_count=1)
