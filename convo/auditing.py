"""How a store is verified: page by page, each in one transaction that reads, and holds up nobody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

from convo.audits import Fault, Head, Promise, Verdict
from convo.store.auditing import PAGE, Span
from convo.store.database import Database
from convo.store.repository import ConversationRepository
from convo.verifying import Tick, verify

Heads = dict[str, list[Head]]
"""Those that were kept, by conversation."""


class Page(NamedTuple):
    """What was found in some conversations, and the id behind which others follow; None when none does."""

    verdicts: list[Verdict]
    after: str | None


def by_conversation(heads: Iterable[Head]) -> Heads:
    """Return heads by their conversations."""
    kept: Heads = {}
    for each in heads:
        kept.setdefault(each.conversation, []).append(each)
    return kept


def heads_of(database: Database) -> Iterator[Head]:
    """Yield where the journal of each conversation stands, by id; read some at a time."""
    after: str | None = None
    while page := database.read(partial(ConversationRepository.heads_after, after=after)):
        yield from page
        after = page[-1].conversation


def verdict_of(database: Database, id: str, heads: Heads, tick: Tick = lambda _: None) -> Verdict | None:
    """Verify one conversation; None when there is none of that id."""

    def work(repository: ConversationRepository) -> list[Verdict]:
        repository.take_snapshot()
        return _verified(repository, Span(only=id), heads, tick)

    return next(iter(database.read(work)), None)


def verdicts(database: Database, heads: Heads, tick: Tick = lambda _: None) -> Iterator[Verdict]:
    """Verify all conversations, by id; at last come those that are gone, and whose heads were kept."""
    gone = set(heads)
    after: str | None = None
    while True:
        page = database.read(partial(_page, after=after, heads=heads, tick=tick))
        for each in page.verdicts:
            gone.discard(each.conversation)
            yield each
        if (after := page.after) is None:
            break
    for id in sorted(gone):
        what = f"it is not there, though a head of {max(each.length for each in heads[id])} events was kept"
        yield _faulty(id, Fault(Promise.ANCHORED, what))


def _page(repository: ConversationRepository, after: str | None, heads: Heads, tick: Tick) -> Page:
    """Verify the next conversations, as they are at one moment."""
    repository.take_snapshot()
    ids = [each.conversation for each in repository.heads_after(after)]
    last = ids[-1] if len(ids) == PAGE else None
    return Page(_verified(repository, Span(after, last), heads, tick), last)


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
