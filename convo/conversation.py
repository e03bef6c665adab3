"""Conversations as their users hold them: a thin shell that waits, around `turn`, which decides.

Nothing is held between two calls, and no transaction while a model answers. A Conversation is a view of what is
stored: it may be used from several threads, beside others of the same conversation in other processes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, Protocol, Self, TypeVar, Unpack, get_args

from convo import options, prepare, turn
from convo.call import DEADLINE_S, call
from convo.clients.base import ChatClient
from convo.errors import ConvoError, NoOpenTurn, StoreError, TurnUnfinished
from convo.facts import ConversationFacts, Reply, reply_of_answer, reply_of_turn
from convo.models import Service, resolve
from convo.options import ParameterOptions
from convo.prepare import KEEP, Keep
from convo.store.database import Database
from convo.store.repository import ConversationRepository
from convo.turn import Ask, Begun, ModelChanged, Question
from convo.types import ConversationRecord, Event, Example, Fit, Message, Parameters, Turn

Result = TypeVar("Result")

Unfinished = Literal["raise", "resume", "discard"]
"""What send() does about a turn that was left without an answer."""


FAILING_S = 2.0
"""How long a caller whose turn failed tries to have that stored; what one PostgreSQL statement waits comes on top."""


class Opened(Protocol):
    """What a conversation needs of its store."""

    database: Database
    client: ChatClient | None


class Conversation(ConversationFacts):
    """A stored conversation; made by Store.create(), get(), get_or_create() and list()."""

    def __init__(self, store: Opened, record: ConversationRecord) -> None:
        super().__init__(record)
        self._store = store

    def refresh(self) -> Self:
        """Read the conversation's row again; returns the same object."""
        self._read(lambda *_: None)
        return self

    def messages(self, last: int | None = None) -> list[Message]:
        """Return the newest `last` messages, or all, oldest first; an unanswered one included."""
        last = prepare.newest(last)
        return self._read(lambda repository, record: repository.messages(record, last))

    def turns(self, last: int | None = None) -> list[Turn]:
        """Return the newest `last` turns, or all, oldest first, with all their candidates."""
        last = prepare.newest(last)
        return self._read(lambda repository, record: repository.turns(record, last))

    def turn(self, number: int) -> Turn:
        """Return turn `number`, from 1; 0 is an opening message.

        Raises:
            TurnNotFound: there is none of that number.
        """
        return self._read(lambda repository, record: repository.turn(record, number))

    def examples(self) -> list[Example]:
        """Return the examples, oldest first, without erased ones."""
        return self._read(lambda repository, record: repository.examples(record))

    def events(self) -> list[Event]:
        """Return the journal, oldest first."""
        return self._read(lambda repository, record: repository.events(record))

    def preview(self, text: str, *, model: str | None = None) -> Fit:
        """Return what would be sent for `text`, without calling a model or storing anything.

        Raises:
            PromptTooLong, InvalidText, ModelNotFound: as send().
        """
        question = prepare.question(text)

        def work(ask: Ask) -> Fit:
            with self._named():
                return self._database.read(
                    lambda repository: turn.preview(repository, self.id, self.owner, question, ask)
                )

        return self._with_model(model, Parameters(), DEADLINE_S, work)[1]

    def send(
        self,
        text: str,
        *,
        request_key: str | None = None,
        expected_version: int | None = None,
        on_unfinished: Unfinished = "raise",
        deadline_s: float = DEADLINE_S,
        model: str | None = None,
        **parameters: Unpack[ParameterOptions],
    ) -> Reply[Conversation]:
        """Send the user's next message; return the model's answer, stored.

        A `request_key` makes the call safe to repeat: the same key with the same text returns the stored answer.
        `model` and the parameters (temperature, top_p, top_k, candidate_count, max_output_tokens) are for this turn
        only. The model is asked to answer within `deadline_s` seconds, over all its attempts.

        Raises:
            InvalidInput, ModelNotFound: nothing was stored, no model was called.
            TurnInFlight: the turn before is being answered.
            TurnUnfinished: it was left without an answer, and `on_unfinished` does not say what to do about that.
            VersionConflict, IdempotencyConflict: the conversation or the request is not what the caller thinks.
            ModelError: the model failed; the turn is kept, to be resumed or discarded.
            LeaseLost: the turn was taken over while the model answered.
        """
        question = prepare.question(text, request_key, expected_version)
        prepare.check_choice("on_unfinished", on_unfinished, get_args(Unfinished))
        return self._take(model, parameters, deadline_s, lambda ask: self._begin(question, ask, on_unfinished))

    def resume(
        self, *, deadline_s: float = DEADLINE_S, model: str | None = None, **parameters: Unpack[ParameterOptions]
    ) -> Reply[Conversation]:
        """Ask the model again for the turn that an error or a crash left without an answer.

        The conversation's settings hold as they are now; `model` and the parameters are for this turn only.

        Raises:
            NoOpenTurn: every turn has its answer.
            TurnInFlight: somebody is still waiting for it.
            ModelError, LeaseLost: as send().
        """

        def begin(ask: Ask) -> Begun:
            return self._write(lambda repository: turn.resume(repository, self.id, self.owner, ask))

        return self._take(model, parameters, deadline_s, begin)

    def discard(self) -> str | None:
        """Delete the turn that was left without an answer; return its text. The journal keeps that it was there.

        Raises:
            NoOpenTurn, TurnInFlight: as resume().
        """
        self._record, text = self._write(lambda repository: turn.discard(repository, self.id, self.owner))
        return text

    def choose(self, candidate: int, *, turn_number: int | None = None) -> Self:
        """Make another candidate of the last turn the one that later turns follow; returns the same object.

        Raises:
            CandidateNotFound: the turn has none of that index.
            ChoiceClosed: `turn_number` is not the last one.
            TurnInFlight, TurnUnfinished: the last turn has no answer yet.
        """
        candidate = prepare.whole_number(candidate, "candidate")

        def work(repository: ConversationRepository) -> ConversationRecord:
            return turn.choose(repository, self.id, self.owner, candidate, turn_number)

        self._record = self._write(work)
        return self

    def update(
        self,
        *,
        model: str | Keep = KEEP,
        title: str | Keep | None = KEEP,
        name: str | Keep | None = KEEP,
        metadata: Mapping[str, Any] | Keep = KEEP,
        input_token_limit: int | Keep | None = KEEP,
        trim: str | Keep = KEEP,
        **parameters: Unpack[ParameterOptions],
    ) -> Self:
        """Change settings from now on; None takes a title, a name, a limit or a parameter away.

        Context and examples are fixed, as every turn was answered with them. Returns the same object.

        Raises:
            NameTaken: the owner has another conversation of that name.
            InvalidInput, ModelNotFound: what was given cannot be used; nothing was changed.
        """
        given = {"model": model, "title": title, "name": name, "metadata": metadata, **parameters}
        given |= {"input_token_limit": input_token_limit, "trim": trim}
        options.parameters(parameters)  # refuses a name that is none of them
        if isinstance(model, str):
            resolve(model, self._store.client)

        def work(repository: ConversationRepository) -> ConversationRecord:
            record = repository.lock(self.id, self.owner)
            changes = prepare.changes(record, given)
            return repository.update(record, **changes) if changes else record

        self._record = self._write(work)
        return self

    @property
    def _database(self) -> Database:
        return self._store.database

    def _read(self, work: Callable[[ConversationRepository, ConversationRecord], Result]) -> Result:
        """Run `work` on the conversation as it is stored now."""

        def whole(repository: ConversationRepository) -> tuple[ConversationRecord, Result]:
            record = repository.get(self.id, self.owner)
            return record, work(repository, record)

        with self._named():
            self._record, result = self._database.read(whole)
        return result

    def _write(
        self,
        work: Callable[[ConversationRepository], Result],
        *,
        turn_number: int | None = None,
        request_key: str | None = None,
        within_s: float | None = None,
    ) -> Result:
        """Run `work` in a transaction and commit it."""
        with self._named(turn_number, request_key):
            return self._database.write(work, within_s=within_s)

    @contextlib.contextmanager
    def _named(self, turn_number: int | None = None, request_key: str | None = None) -> Iterator[None]:
        """Let an error of the store tell which turn it hit."""
        try:
            yield
        except StoreError as error:
            error.conversation, error.turn, error.request_key = self.id, turn_number, request_key
            raise

    def _with_model(
        self,
        model: str | None,
        overrides: Parameters,
        deadline_s: float,
        work: Callable[[Ask], Result],
        holder: str = "",
    ) -> tuple[Service, Result]:
        """Run `work` for the model that is to answer; again when the conversation got another one meanwhile."""
        while True:
            known = self.model  # once: another thread may learn of a new one meanwhile
            name = prepare.label(model, "model") if model else known
            service = resolve(name, self._store.client)
            ask = Ask(service.model, name, None if model else known, overrides, holder, deadline_s)
            try:
                return service, work(ask)
            except ModelChanged:
                self.refresh()

    def _take(
        self,
        model: str | None,
        parameters: ParameterOptions,
        deadline_s: float,
        begin: Callable[[Ask], Begun | tuple[ConversationRecord, Turn]],
    ) -> Reply[Conversation]:
        """Begin a turn, or find it answered; ask the model, and store what it says."""
        overrides = options.parameters(parameters)
        prepare.check_deadline(deadline_s)
        is_begun = False
        with self._database.owner.attempt() as holder:
            try:
                service, begun = self._with_model(model, overrides, deadline_s, begin, holder)
                is_begun = isinstance(begun, Begun)
                if isinstance(begun, Begun):
                    return self._answer(service.client, begun, deadline_s)
                self._record, answered = begun
                return reply_of_turn(answered, self)
            except BaseException as error:
                if is_begun or not isinstance(error, Exception):  # Ctrl-C may come right after the commit
                    self._fail(holder, error)
                raise

    def _begin(
        self, question: Question, ask: Ask, on_unfinished: Unfinished
    ) -> Begun | tuple[ConversationRecord, Turn]:
        begin = turn.begin_instead if on_unfinished == "discard" else turn.begin

        def work(repository: ConversationRepository) -> Begun | tuple[ConversationRecord, Turn]:
            return begin(repository, self.id, self.owner, question, ask)

        try:
            return self._write(work, request_key=question.request_key)
        except TurnUnfinished:
            if on_unfinished != "resume":
                raise
        question = self._resumed(question, ask.deadline_s)
        return self._write(work, request_key=question.request_key)

    def _resumed(self, question: Question, deadline_s: float) -> Question:
        """Answer the open turn first; return `question` as it is to be asked after that."""
        view = Conversation(self._store, self._record)  # of our own: its version is the one that this answer leaves
        try:
            view.resume(deadline_s=deadline_s)
        except NoOpenTurn:  # somebody else settled it
            return question
        return question if question.expected_version is None else replace(question, expected_version=view.version)

    def _answer(self, client: ChatClient, begun: Begun, deadline_s: float) -> Reply[Conversation]:
        """Call the model, holding nothing, and store what it answers."""
        self._record = begun.record
        started = time.monotonic()
        reply = call(client, begun.request, deadline_s=deadline_s)
        answer = prepare.answer(reply, round((time.monotonic() - started) * 1000))
        stored, counts = self._write(
            lambda repository: turn.finish(repository, begun, answer),
            turn_number=begun.attempt.turn,
            request_key=begun.attempt.request_key,
        )
        self._record = stored.record
        if not counts:
            raise turn.lease_lost(begun)
        return reply_of_answer(begun, answer, stored, self)

    def _fail(self, holder: str, error: BaseException) -> None:
        """Mark the turn as left without an answer; should that fail too, this attempt is at its end all the same."""
        name = type(error).__name__ if isinstance(error, Exception) else "cancelled"

        def work(repository: ConversationRepository) -> ConversationRecord | None:
            return turn.fail(repository, self.id, self.owner, holder, name)

        try:
            self._record = self._write(work, within_s=FAILING_S) or self._record
        except ConvoError as second:
            error.add_note(f"the turn could not be marked as failed: {second}")
