"""AsyncStore: a store that is opened, used and closed in an event loop."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Self, TypeVar, Unpack

import anyio
from sqlalchemy import URL, Engine
from sqlalchemy.pool import NullPool, QueuePool, SingletonThreadPool

from convo import exporting, prepare, removal
from convo.aio.conversation import AsyncConversation
from convo.auditing import Audit, heads_after
from convo.audits import EVERYONE, Erasure, Everyone, Head, Remains, Verdict
from convo.clients.base import AnyClient, check_awaited
from convo.discuss import ChatResponse
from convo.errors import InvalidInput, StoreUnavailable
from convo.facts import ConversationFacts
from convo.importing import Import, Terms
from convo.line import Line
from convo.performer import Performer
from convo.shapes import CreateOptions, SettingOptions
from convo.sinks import Target
from convo.sources import Given
from convo.store.database import Database
from convo.store.preferences import START, Place
from convo.store.repository import ConversationRepository
from convo.stores import Store, Tree, creation, creation_from, finding_or_creation
from convo.threads import Threads
from convo.transfers import Exported, Imported, ImportReport
from convo.values import ConversationRecord, Preference

Result = TypeVar("Result")

UNPOOLED = 5
"""How many transactions run at once where the pool sets no limit: as many as in a PostgreSQL store of convo's own."""

CLOSING_S = 2.0
"""How long turns that are under way are waited for when a store is closed."""


AsyncConversations = list[AsyncConversation]


class AsyncStore:
    """A database of conversations, for one event loop; close it, or use it in an `async with`.

    Each method does what the one of the same name of Store does, and raises the same errors.
    """

    def __init__(self, target: str | URL | Engine | None = None, *, client: AnyClient | None = None) -> None:
        """Take the arguments of Store. It is opened by `async with`, else at its first use, which may raise.

        As many transactions run at once as the engine's pool has connections. A given `client` is awaited when it is
        an AsyncChatClient, else it is called in a thread: at most 40 at once in one event loop.
        """
        check_awaited(client)
        self._target = target
        self.client = client
        self._store: Store | None = None
        self._opening = anyio.Lock()
        self._door = threading.Lock()
        """Held while the store is opened or closed: one that is closed in the middle of it would stay open."""
        self._performer = Performer()
        self.line = Line(anyio.Event)

    def __repr__(self) -> str:
        return f"<AsyncStore {self._store.database.where if self._store else '(not open yet)'}>"

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:  # cancelled when it was open already: nobody else will close it
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the database's connections, unless they are an Engine's that was passed in.

        Turns that are under way have CLOSING_S seconds to be settled, and transactions are waited for to their end.
        A turn that takes longer opens the database again to be stored: await your tasks first.
        """
        try:
            await self._performer.quiet(CLOSING_S)
        finally:
            await _alone(self._close_now)

    @property
    def database(self) -> Database:
        """Where the conversations are.

        Raises:
            StoreUnavailable: the store is not open yet.
        """
        if self._store is None:
            raise StoreUnavailable("the store is not open yet: use it in an `async with`")
        return self._store.database

    @property
    def engine(self) -> Engine:
        """The engine, which follows convo's rules; raises as `database` does. It blocks whoever uses it."""
        return self.database.engine

    async def create(
        self, *, name: str | None = None, owner: str | None = None, **settings: Unpack[CreateOptions]
    ) -> AsyncConversation:
        """Store a new conversation; CreateOptions has the settings, none of which is needed."""
        await self._open()
        return self._shown(await self._performer.outcome(creation(self, name, owner, settings)))

    async def create_from(
        self,
        response: ChatResponse,
        *,
        name: str | None = None,
        owner: str | None = None,
        **settings: Unpack[SettingOptions],
    ) -> AsyncConversation:
        """Store a chat as a new conversation: its context, examples and messages, and all candidates of its answer."""
        await self._open()
        return self._shown(await self._performer.outcome(creation_from(self, response, name, owner, settings)))

    async def get(self, reference: str, *, owner: str | None = None) -> AsyncConversation:
        """Return the owner's conversation of that id or name, or that unique beginning of an id, 4 digits or more."""
        return await self._run(lambda store: self._shown(store.get(reference, owner=owner).record))

    async def find(self, name: str, *, owner: str | None = None) -> AsyncConversation | None:
        """Return the owner's conversation of exactly that name; None when there is none."""

        def work(store: Store) -> AsyncConversation | None:
            found = store.find(name, owner=owner)
            return None if found is None else self._shown(found.record)

        return await self._run(work)

    async def get_or_create(
        self, name: str, *, owner: str | None = None, **settings: Unpack[CreateOptions]
    ) -> AsyncConversation:
        """Return the owner's conversation of that name; created with `settings`, as by create(), if there is none."""
        await self._open()
        return self._shown(await self._performer.outcome(finding_or_creation(self, name, owner, settings)))

    async def list(
        self, *, owner: str | None = None, limit: int = 50, after: ConversationFacts | None = None
    ) -> AsyncConversations:
        """Return at most `limit` of the owner's conversations, the latest active first."""

        def work(store: Store) -> AsyncConversations:
            return [self._shown(each.record) for each in store.list(owner=owner, limit=limit, after=after)]

        return await self._run(work)

    async def first_texts(self, conversations: Sequence[ConversationFacts]) -> dict[str, str]:
        """Return the beginning of each conversation's first message, by id; for lists of conversations."""
        return await self._run(lambda store: store.first_texts(conversations))

    async def tree(self, reference: str, *, owner: str | None = None) -> Tree:
        """Return the whole tree of forks that a conversation belongs to, whichever one of it `reference` names."""
        return await self._run(lambda store: store.tree(reference, owner=owner))

    def preferences(self, *, owner: str | None = None) -> AsyncGenerator[Preference, None]:
        """Yield every turn of the owner's of which a person has chosen an answer: what was preferred to what."""
        return self._preferences(prepare.owner_of(owner))

    async def _preferences(self, owner: str) -> AsyncGenerator[Preference, None]:
        place: Place | None = START
        while place is not None:
            read = partial(ConversationRepository.next_preferences, owner=owner, after=place)
            found, place = await self._run(partial(_read, read))
            for each in found:
                yield each

    def verify(
        self,
        *references: str,
        owner: str | None = None,
        heads: Iterable[Head] = (),
        progress: Callable[[int], None] | None = None,
    ) -> AsyncGenerator[Verdict, None]:
        """Yield what is found when everything that is stored of conversations is compared with their journals.

        `progress` is called in a thread.
        """
        return self._verdicts(Audit(references, prepare.owner_of(owner), heads, progress or (lambda _: None)))

    async def _verdicts(self, audit: Audit) -> AsyncGenerator[Verdict, None]:
        while not audit.is_done:
            for each in await self._run(lambda store: audit.next_page(store.database)):
                yield each

    async def heads(self) -> AsyncGenerator[Head, None]:
        """Yield where the journal of each conversation, of every owner, stands; by id, some read at a time."""
        last: Head | None = None
        while page := await self._run(partial(_heads, last)):
            for each in page:
                yield each
            last = page[-1]

    async def export(
        self,
        target: Target,
        *references: str,
        format: str | None = None,  # noqa: A002 - what it is called everywhere
        owner: str | Everyone | None = None,
        since: datetime | timedelta | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Exported:
        """Write conversations, as they are at one moment, into a file, a folder or a stream of bytes.

        All of it is done in one thread, in which `progress` is called, and which a cancellation waits for.
        """

        def work(store: Store) -> Exported:
            return store.export(target, *references, format=format, owner=owner, since=since, progress=progress)

        return await self._run(work)

    async def import_(
        self,
        source: Given,
        *,
        format: str | None = None,  # noqa: A002 - what it is called everywhere
        owner: str | Everyone | None = EVERYONE,
        lenient: bool = False,
        dry_run: bool = False,
        new_ids: bool = False,
        report: Callable[[Imported], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> ImportReport:
        """Store the conversations of a file, or of a stream of bytes: jsonl, md, openai or sharegpt.

        The file is read in a thread, page by page; `progress` is called there, and `report` in the event loop.
        Cancelled, it leaves each conversation whole, or not there.
        """
        terms = Terms(exporting.owner_of(owner), lenient, dry_run, new_ids)
        total = ImportReport()
        with await self._run(lambda _: contextlib.closing(Import(source, format, terms, progress))) as file:
            while not file.is_done:
                for each in await self._run(lambda store: file.next_page(store.database)):
                    total.add(each)
                    if report is not None:
                        report(each)
        return total

    async def backup(self, target: str | os.PathLike[str]) -> int:
        """Copy an SQLite store, as it is at one moment, into a new file; return its size in bytes."""
        return await self._run(lambda store: store.backup(target))

    async def delete(self, reference: str, *, owner: str | None = None) -> None:
        """Delete the conversation of that id, name or id prefix, with its journal."""
        await self._run(lambda store: store.delete(reference, owner=owner))

    async def forget(self, owner: str, *, scrub: bool = True) -> Erasure:
        """Erase everything of an owner: all texts of his conversations, their names, metadata, authors and keys.

        Cancelled, it leaves each conversation whole or forgotten.
        """
        await self._open()
        return await self._performer.outcome(removal.forgetting(self, owner, scrub=scrub))

    async def prune(
        self,
        older_than: timedelta,
        *,
        owner: str | Everyone | None = EVERYONE,
        dry_run: bool = False,
        scrub: bool = True,
    ) -> Erasure:
        """Erase the texts of all turns that began longer ago, of an owner or of everyone; the journals stay."""
        await self._open()
        return await self._performer.outcome(removal.pruning(self, older_than, owner, dry_run=dry_run, scrub=scrub))

    async def scrub(self, texts: Sequence[str] = ()) -> Remains:
        """Look for texts that were erased: in the database's files, and in other texts of the store."""
        await self._open()
        return await self._performer.outcome(removal.scrubbing(self, texts))

    async def _run(self, work: Callable[[Store], Result]) -> Result:
        store = await self._open()
        return await self._performer.run(partial(work, store))

    def _shown(self, record: ConversationRecord) -> AsyncConversation:
        return AsyncConversation(self._performer, self, record)

    async def _open(self) -> Store:
        """Return the store; of many tasks that come at once, the first one opens it."""
        while self._store is None:
            async with self._opening:
                if self._store is None:
                    await _alone(self._open_now)
        return self._store

    def _open_now(self) -> None:
        with self._door:
            store = Store(self._target)
            try:
                self._performer.threads.size = _size_of(store.engine)
            except InvalidInput:
                store.close()
                raise
            self._store = store

    def _close_now(self) -> None:
        self._performer.threads.close()
        with self._door:
            if self._store is not None:
                self._store.close()


def _read(work: Callable[[ConversationRepository], Result], store: Store) -> Result:
    return store.database.read(work)


def _heads(last: Head | None, store: Store) -> list[Head]:
    return heads_after(store.database, last)


async def _alone(work: Callable[[], None]) -> None:
    """Run `work` to its end in a thread that is there for nothing else."""
    threads = Threads(1)
    try:
        await threads.run(work, must_run=True)
    finally:
        threads.close()


def _size_of(engine: Engine) -> int:
    """Return how many transactions may run at once: as many as the engine's pool keeps connections.

    Raises:
        InvalidInput: each thread would have a database of its own.
    """
    pool = engine.pool
    if isinstance(pool, SingletonThreadPool):
        raise InvalidInput(
            "each thread of this engine has a database of its own: pass the URL, or poolclass=StaticPool"
        )
    if isinstance(pool, NullPool) or (isinstance(pool, QueuePool) and pool.size() == 0):
        return UNPOOLED
    return pool.size() if isinstance(pool, QueuePool) else 1
