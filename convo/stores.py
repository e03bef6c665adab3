"""A store as its users hold it: where conversations are created, found, listed and deleted."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack, cast

from sqlalchemy import URL, Engine

from convo import exporting, prepare, removal
from convo.auditing import Audit, heads_after
from convo.audits import EVERYONE, Erasure, Everyone, Head, Remains, Verdict
from convo.call import DEADLINE_S
from convo.clients.base import AnyClient, ChatClient, check_waiting
from convo.conversation import Conversation
from convo.discuss import ChatResponse
from convo.errors import NameTaken
from convo.facts import ConversationFacts
from convo.importing import Import, Terms
from convo.line import Line
from convo.shapes import CreateOptions, SettingOptions
from convo.sinks import Target
from convo.sources import Given
from convo.steps import Resolve, Steps, Work, outcome
from convo.store import forks
from convo.store.conversations import NewConversation
from convo.store.database import Database
from convo.store.preferences import START, Place
from convo.store.repository import ConversationRepository
from convo.store.urls import default_url
from convo.transfers import Exported, Imported, ImportReport
from convo.values import Branch, Candidate, ConversationRecord, Preference
from convo.view import Opened

Conversations = list[Conversation]
Tree = list[Branch]


class Store:
    """A database of conversations. Safe to share between threads; close it, or use it in a `with`."""

    def __init__(self, target: str | URL | Engine | None = None, *, client: ChatClient | None = None) -> None:
        """Open the store at `target`: sqlite:///path, sqlite:// (in memory), postgresql://…, or an Engine.

        Without one, CONVO_DATABASE_URL or the user's own store. A new SQLite file gets its tables at once. A given
        `client` answers for every model; without one, the model's name tells who does.

        Raises:
            SchemaOutOfDate: the store is of another release, or a PostgreSQL database has no tables yet.
            StoreError: it cannot be opened.
        """
        check_waiting(client, "a Store", "AsyncStore")
        self.database = Database(default_url() if target is None else target)
        self.client: AnyClient | None = client
        self.line = Line(threading.Event)
        forks.watch(self.line)
        try:
            self.database.check_schema()
        except BaseException:
            self.database.close()
            raise

    def __repr__(self) -> str:
        return f"<Store {self.database.where}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database's connections, unless they are an Engine's that was passed in."""
        self.database.close()

    @property
    def engine(self) -> Engine:
        """The engine, which follows convo's rules: for a ConversationRepository in a transaction of one's own."""
        return self.database.engine

    def create(
        self, *, name: str | None = None, owner: str | None = None, **settings: Unpack[CreateOptions]
    ) -> Conversation:
        """Store a new conversation; CreateOptions has the settings, none of which is needed.

        Raises:
            NameTaken: the owner has a conversation of that name.
            InvalidInput, AuthorError, ModelNotFound: what was given cannot be used; nothing was stored.
            ValueError: the history ends with the user's message.
        """
        return Conversation(self, outcome(creation(self, name, owner, settings)))

    def create_from(
        self,
        response: ChatResponse,
        *,
        name: str | None = None,
        owner: str | None = None,
        **settings: Unpack[SettingOptions],
    ) -> Conversation:
        """Store a chat as a new conversation: its context, examples and messages, and all candidates of its answer.

        The answer that `response.last` tells is chosen. Model and parameters are the chat's, unless `settings` has
        others.

        Raises:
            ReplyBlocked: the chat has no answer; set `response.last` first.
            AuthorError: both sides have one name.
            NameTaken, InvalidInput, ModelNotFound: as create().
        """
        return Conversation(self, outcome(creation_from(self, response, name, owner, settings)))

    def get(self, reference: str, *, owner: str | None = None) -> Conversation:
        """Return the owner's conversation of that id, that name, or that unique beginning of an id (4 digits or more).

        Raises:
            ConversationNotFound: there is none, or it is another owner's.
            AmbiguousId: several ids begin so.
        """
        whose = prepare.owner_of(owner)
        return Conversation(self, self.database.look(lambda repository: repository.find(reference, whose)))

    def find(self, name: str, *, owner: str | None = None) -> Conversation | None:
        """Return the owner's conversation of exactly that name; None when there is none."""
        found = finding(self, name, owner)
        return None if found is None else Conversation(self, found)

    def get_or_create(self, name: str, *, owner: str | None = None, **settings: Unpack[CreateOptions]) -> Conversation:
        """Return the owner's conversation of that name; created with `settings`, as by create(), if there is none.

        However many callers race, there is one row.
        """
        return Conversation(self, outcome(finding_or_creation(self, name, owner, settings)))

    def list(
        self, *, owner: str | None = None, limit: int = 50, after: ConversationFacts | None = None
    ) -> Conversations:
        """Return at most `limit` of the owner's conversations, the latest active first.

        `after` is the last one of the page before.
        """
        whose, limit = prepare.owner_of(owner), prepare.positive(limit, "limit")
        seen = after.record if after else None
        found = self.database.read(lambda repository: repository.list(whose, limit=limit, after=seen))
        return [Conversation(self, each) for each in found]

    def first_texts(self, conversations: Sequence[ConversationFacts]) -> dict[str, str]:
        """Return the beginning of each conversation's first message, by id; for lists of conversations."""
        ids = [each.id for each in conversations]
        return self.database.read(lambda repository: repository.first_texts(ids))

    def tree(self, reference: str, *, owner: str | None = None) -> Tree:
        """Return the whole tree of forks that a conversation belongs to, whichever one of it `reference` names.

        Its root comes first, and behind each conversation its forks, in the order in which they part from it. A
        deleted conversation is in no tree, and each of its forks is the root of one.

        Raises:
            ConversationNotFound, AmbiguousId: as get().
        """
        whose = prepare.owner_of(owner)
        return self.database.read(lambda repository: repository.family(repository.find(reference, whose)))

    def preferences(self, *, owner: str | None = None) -> Generator[Preference, None, None]:
        """Yield every turn of the owner's of which a person has chosen an answer: what was preferred to what.

        By conversation, and by turn. A choice is told once, where it was made: forks have copies of it. Answers to
        another prompt than the chosen one's are left out: those of a fork's turns under the context that it had
        before. They are read some at a time, as they are asked for.
        """
        return self._preferences(prepare.owner_of(owner))

    def _preferences(self, owner: str) -> Generator[Preference, None, None]:
        place: Place | None = START
        while place is not None:
            found, place = self.database.read(
                partial(ConversationRepository.next_preferences, owner=owner, after=place)
            )
            yield from found

    def verify(
        self,
        *references: str,
        owner: str | None = None,
        heads: Iterable[Head] = (),
        progress: Callable[[int], None] | None = None,
    ) -> Generator[Verdict, None, None]:
        """Yield what is found when everything that is stored of conversations is compared with their journals.

        `references` name conversations of the owner's, by id, name or id prefix; without any, all of every owner are
        verified, by id. `heads` are those that were kept elsewhere; among all, one that has a head and is not there
        gets a verdict too. A page of conversations is read in one transaction, when the first verdict of it is asked
        for; `progress` is called in it, with the number of events that were read since it was called last: it must
        not use the store.

        Raises:
            ConversationNotFound, AmbiguousId: as get().
        """
        return self._verdicts(Audit(references, prepare.owner_of(owner), heads, progress or (lambda _: None)))

    def _verdicts(self, audit: Audit) -> Generator[Verdict, None, None]:
        while not audit.is_done:
            yield from audit.next_page(self.database)

    def heads(self) -> Generator[Head, None, None]:
        """Yield where the journal of each conversation, of every owner, stands; by id, some read at a time.

        Kept elsewhere, they let verify() find what was cut off, written anew or taken away since.
        """
        last: Head | None = None
        while page := heads_after(self.database, last):
            yield from page
            last = page[-1]

    def export(
        self,
        target: Target,
        *references: str,
        format: str | None = None,  # noqa: A002 - what it is called everywhere
        owner: str | Everyone | None = None,
        since: datetime | timedelta | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Exported:
        """Write conversations, as they are at one moment, into a file, a folder or a stream of bytes.

        Those that `references` name, by id, name or id prefix, or else all of the owner's; of everyone's with
        `convo.audits.EVERYONE`. With `since`, those in which something has happened since a time, or within a span.
        `format` is one of jsonl (everything, to be read again: convo's own), md, html, csv, openai, dpo and sharegpt;
        without one the file's suffix tells, else it is jsonl. A file takes its place when it is whole, and is for its
        user's eyes only; in a folder (there, or ending with "/") each conversation has a file that its id names.
        `progress` hears how many turns were written, and how many there are: it must not use the store.

        Raises:
            ConversationNotFound, AmbiguousId: as get(); nothing was written.
            InvalidInput, InvalidParameter, InvalidFile: no such form, no such time, or it cannot be written there.
            StoreError: the store failed; a stream is not whole then, and a file not there.
        """
        return exporting.order(target, references, owner, since, format, progress).run(self.database)

    def import_(
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

        Each one whole or not at all; what the store has already is left as it is, so that the same call goes on when
        it was interrupted. Conversations keep their ids, owners and times; with an `owner` only his are taken, and
        what tells of no owner becomes his. With `new_ids` each becomes another one, with a journal of its own. A
        jsonl file that was cut or changed is refused, unless `lenient`; each conversation is verified in any case.
        With `dry_run` nothing is stored. `report` hears what became of each conversation, `progress` how many bytes
        were read, and how many there are.

        Raises:
            InvalidFile: it cannot be read, is of no form that is read, or was cut or changed.
            InvalidInput: there is no such form.
            StoreError: the store failed; what was told to `report` is stored.
        """
        terms = Terms(exporting.owner_of(owner), lenient, dry_run, new_ids)
        total = ImportReport()
        with contextlib.closing(Import(source, format, terms, progress)) as file:
            while not file.is_done:
                for each in file.next_page(self.database):
                    total.add(each)
                    if report is not None:
                        report(each)
        return total

    def backup(self, target: str | os.PathLike[str]) -> int:
        """Copy an SQLite store, as it is at one moment, into a new file; return its size in bytes.

        It can be opened as a store. Nobody has to wait meanwhile, and nothing of what was erased is copied.

        Raises:
            InvalidFile: there is a file of that name already, or none can be written there.
            InvalidInput: the store is in PostgreSQL: use pg_dump.
            StoreError: the store cannot be read.
        """
        return self.database.backup(Path(target))

    def delete(self, reference: str, *, owner: str | None = None) -> None:
        """Delete the conversation of that id, name or id prefix, with its journal.

        Raises:
            ConversationNotFound, AmbiguousId: as get().
        """
        whose = prepare.owner_of(owner)

        def work(repository: ConversationRepository) -> None:
            repository.delete(repository.lock(repository.find(reference, whose).id, whose))

        self.database.write(work)

    def forget(self, owner: str, *, scrub: bool = True) -> Erasure:
        """Erase everything of an owner: all texts of his conversations, their names, metadata, authors and keys.

        The conversations stay, as those of "[forgotten]", with journals that can be checked. Each is a transaction of
        its own: when it is interrupted, the same call goes on, and with `scrub` rebuilds the files though all texts
        are gone. A turn that is being answered is given up, and whoever waits for it gets ConversationNotFound.

        Raises:
            NotFound: no conversation is his, and nobody was forgotten yet. Whose those of "[forgotten]" were, nobody
                knows: with such the call only looks whether bytes are left.
            InvalidInput: nobody is meant.
            StoreError: the store failed; when it has a note, all is erased, and not looked for.
        """
        return outcome(removal.forgetting(self, owner, scrub=scrub))

    def prune(
        self,
        older_than: timedelta,
        *,
        owner: str | Everyone | None = EVERYONE,
        dry_run: bool = False,
        scrub: bool = True,
    ) -> Erasure:
        """Erase the texts of all turns that began longer ago, of an owner or of everyone; the journals stay.

        Everyone is `convo.audits.EVERYONE`, and None is nobody. Of conversations in which nothing happened since,
        context, examples and title go too; names, metadata, authors and request keys stay. A turn that is being
        answered is left as it is. Each conversation is a transaction of its own: when it is interrupted, the same
        call goes on, and with `scrub` rebuilds the files where anything was erased before. With `dry_run` nothing is
        written, and what would go is counted.

        Raises:
            InvalidParameter: a time below 0.
            StoreError: as forget().
        """
        return outcome(removal.pruning(self, older_than, owner, dry_run=dry_run, scrub=scrub))

    def scrub(self, texts: Sequence[str] = ()) -> Remains:
        """Look for texts that were erased: in the database's files, and in other texts of the store.

        If any of them stands in the files, these are rebuilt (SQLite's VACUUM, which needs room for two copies) and
        looked through again; without `texts` they are rebuilt, unseen. Writers wait for that. Of a store in memory or
        on a server only other texts are looked through. These are the texts of all owners: what is found is for
        whoever runs the store.

        Raises:
            StoreError: the files cannot be searched or rebuilt.
        """
        return outcome(removal.scrubbing(self, texts))


def finding(store: Opened, name: str, owner: str | None) -> ConversationRecord | None:
    """Do what find() does, for both shells."""
    wanted, whose = prepare.conversation_name(name), prepare.owner_of(owner)
    return store.database.read(lambda repository: repository.find_name(wanted, whose))


def creation(
    store: Opened, name: str | None, owner: str | None, settings: CreateOptions, candidates: Sequence[Candidate] = ()
) -> Steps[ConversationRecord]:
    """Return the steps of create(), for both shells."""
    wanted: NewConversation = yield Work(lambda: prepare.creation(name, owner, settings, candidates))
    yield Resolve(wanted.model, store.client, DEADLINE_S, wanted.input_token_limit, wanted.parameters)
    record: ConversationRecord = yield Work(lambda: store.database.write(lambda repository: repository.create(wanted)))
    return record


def creation_from(
    store: Opened, response: ChatResponse, name: str | None, owner: str | None, settings: SettingOptions
) -> Steps[ConversationRecord]:
    """Return the steps of create_from(), for both shells."""
    prepare.check_names(settings, SettingOptions)
    if not isinstance(response, ChatResponse):
        msg = (
            f"create_from() takes a ChatResponse, not a {type(response).__name__}: create() takes what was saved of one"
        )
        raise TypeError(msg)
    whole = cast("CreateOptions", {**response.as_settings(), **settings})
    return (yield from creation(store, name, owner, whole, response.candidates))


def finding_or_creation(
    store: Opened, name: str, owner: str | None, settings: CreateOptions
) -> Steps[ConversationRecord]:
    """Return the steps of get_or_create(), for both shells."""
    while True:
        found: ConversationRecord | None = yield Work(lambda: finding(store, name, owner))
        if found is not None:
            return found
        with contextlib.suppress(NameTaken):  # another caller was faster
            return (yield from creation(store, name, owner, settings))
