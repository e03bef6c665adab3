"""A conversation as it was last seen in its store, and the transactions on it: below both shells."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from convo import prepare
from convo.clients.base import AnyClient
from convo.errors import StoreError
from convo.facts import Reply
from convo.line import Line
from convo.models import Service, resolve
from convo.store.database import Database
from convo.store.repository import ConversationRepository
from convo.turn import Ask, ModelChanged
from convo.types import ConversationRecord, Parameters

Result = TypeVar("Result")


class Opened(Protocol):
    """What a conversation needs of its store."""

    database: Database
    line: Line

    @property
    def client(self) -> AnyClient | None:
        """Who answers for every model, if one was given."""
        ...


class View:
    """A conversation as it was last seen; what is read or written through it is what it shows afterwards."""

    def __init__(self, store: Opened, record: ConversationRecord) -> None:
        self.store = store
        self.record = record
        self.last_reply: Reply[Any] | None = None

    @property
    def database(self) -> Database:
        """Where the conversation is stored."""
        return self.store.database

    def read(self, work: Callable[[ConversationRepository, ConversationRecord], Result]) -> Result:
        """Run `work` on the conversation as it is stored now."""

        def whole(repository: ConversationRepository) -> tuple[ConversationRecord, Result]:
            record = repository.get(self.record.id, self.record.owner)
            return record, work(repository, record)

        with self.named():
            self.record, result = self.database.read(whole)
        return result

    def write(
        self,
        work: Callable[[ConversationRepository], Result],
        *,
        turn_number: int | None = None,
        request_key: str | None = None,
        within_s: float | None = None,
    ) -> Result:
        """Run `work` in a transaction and commit it."""
        with self.named(turn_number, request_key):
            return self.database.write(work, within_s=within_s)

    @contextlib.contextmanager
    def named(self, turn_number: int | None = None, request_key: str | None = None) -> Iterator[None]:
        """Let an error of the store tell which turn it hit."""
        try:
            yield
        except StoreError as error:
            error.conversation, error.turn, error.request_key = self.record.id, turn_number, request_key
            raise

    def with_model(
        self,
        model: str | None,
        overrides: Parameters,
        deadline_s: float,
        work: Callable[[Ask], Result],
        holder: str = "",
    ) -> tuple[Service[AnyClient], Result]:
        """Run `work` for the model that is to answer; again when the conversation got another one meanwhile."""
        while True:
            known = self.record.model  # once: another thread may learn of a new one meanwhile
            name = prepare.label(model, "model") if model else known
            service = resolve(name, self.store.client)
            ask = Ask(service.model, name, None if model else known, overrides, holder, deadline_s)
            try:
                return service, work(ask)
            except ModelChanged:
                self.read(lambda *_: None)
