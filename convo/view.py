"""A conversation as it was last seen in its store, and the transactions on it: below both shells."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol, TypeVar

from convo import auditing, branching, options, prepare, sampling, sent, turn
from convo.asking import Ask, ModelChanged, merged
from convo.audits import Head, SentRequest, Verdict
from convo.call import DEADLINE_S
from convo.clients.base import AnyClient
from convo.errors import ConversationNotFound, InvalidParameter, StoreError
from convo.facts import Reply
from convo.line import Line
from convo.models import Service, looked_at
from convo.shapes import ExamplesOptions, ParameterOptions
from convo.steps import Resolve, Steps, Work
from convo.store.database import Database
from convo.store.ledger import Stroke
from convo.store.repository import ConversationRepository
from convo.turn import Question
from convo.values import ConversationRecord, Event, Example, Fit, Keep, Message, MessagePrompt, Parameters, Turn

Result = TypeVar("Result")


class Opened(Protocol):
    """What a conversation needs of its store."""

    line: Line

    @property
    def database(self) -> Database:
        """Where the conversations are."""
        ...

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

    def refresh(self) -> None:
        """Look again."""
        self.read(lambda *_: None)

    def messages(self, last: int | None) -> list[Message]:
        """Return the newest `last` messages, or all."""
        last = prepare.newest(last)
        return self.read(lambda repository, record: repository.messages(record, last))

    def turns(self, last: int | None) -> list[Turn]:
        """Return the newest `last` turns, or all."""
        last = prepare.newest(last)
        return self.read(lambda repository, record: repository.turns(record, last))

    def turn(self, number: int) -> Turn:
        """Return one turn."""
        number = options.whole_number(number, "number")
        return self.read(lambda repository, record: repository.turn(record, number))

    def examples(self) -> list[Example]:
        """Return the examples."""
        return self.read(lambda repository, record: repository.examples(record))

    def events(self) -> list[Event]:
        """Return the journal."""
        return self.read(lambda repository, record: repository.events(record))

    def verify(self, heads: Iterable[Head]) -> Verdict:
        """Compare everything that is stored with the journal; its row is not read for it, as that may be forged."""
        id, owner = self.record.id, self.record.owner
        with self.named():
            self.database.read(lambda repository: repository.find_id(id, owner))
            verdict = auditing.verdict_of(self.database, id, heads)
        if verdict is None:
            raise ConversationNotFound(id)
        return verdict

    def as_prompt(self, text: str | None) -> MessagePrompt:
        """Return what chat() takes to go on from here, with `text` if there is one."""
        question = None if text is None else prepare.question(text)

        def work(repository: ConversationRepository, record: ConversationRecord) -> MessagePrompt:
            said = repository.messages(record)
            erased = {each.turn for each in said if each.content is None}
            kept = [each for each in said if each.turn not in erased]
            if question is not None:
                kept.append(turn.next_message(repository, record, question)[1])
            return MessagePrompt(record.context, tuple(repository.examples(record)), tuple(kept))

        return self.read(work)

    def discard(self) -> str | None:
        """Delete the turn that was left without an answer; return its text."""
        id, owner = self.record.id, self.record.owner
        self.record, text = self.write(lambda repository: turn.discard(repository, id, owner))
        return text

    def choose(self, candidate: int, turn_number: int | None) -> None:
        """Make another candidate of the last turn the one that counts."""
        candidate = options.whole_number(candidate, "candidate")
        turn_number = None if turn_number is None else options.whole_number(turn_number, "turn_number")
        id, owner = self.record.id, self.record.owner
        self.record = self.write(lambda repository: turn.choose(repository, id, owner, candidate, turn_number))

    def fork(
        self,
        at: int | None,
        *,
        name: str | None,
        context: str | Keep | None,
        examples: ExamplesOptions | Keep | None,
        model: str | None,
    ) -> Steps[ConversationRecord]:
        """Copy the conversation up to a turn; a model that nobody serves is refused before."""
        number = None if at is None else options.whole_number(at, "at")
        record = self.record
        new = prepare.forking(record, name=name, context=context, examples=examples, model=model)
        if new.model is not None:
            limit = record.input_token_limit
            yield Resolve(new.model, self.store.client, DEADLINE_S, limit, record.parameters)

        def work(repository: ConversationRepository) -> ConversationRecord:
            return branching.fork(repository, record.id, record.owner, number, new)

        made: ConversationRecord = yield Work(partial(self.write, work))
        return made

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
        strike: Callable[[ConversationRepository], Stroke[Result] | None] | None = None,
        turn_number: int | None = None,
        request_key: str | None = None,
        within_s: float | None = None,
    ) -> Result:
        """Run `work` in a transaction and commit it; or make the stroke that `strike` returns."""
        with self.named(turn_number, request_key):
            return self.database.write(work, strike=strike, within_s=within_s)

    @contextlib.contextmanager
    def named(self, turn_number: int | None = None, request_key: str | None = None) -> Iterator[None]:
        """Let an error of the store tell which turn it hit."""
        try:
            yield
        except StoreError as error:
            error.conversation, error.turn, error.request_key = self.record.id, turn_number, request_key
            raise

    def for_model(
        self,
        model: str | None,
        overrides: Parameters,
        deadline_s: float,
        work: Callable[[Ask], Result],
        *,
        needs_key: bool = True,
    ) -> Steps[tuple[Service[AnyClient], Result]]:
        """Run `work` for the model that is to answer; again when the conversation got another one meanwhile.

        Without `needs_key` the service's client may be one that is only looked at.
        """
        while True:
            record = self.record  # once: another thread may learn of a new one meanwhile
            known = record.model
            name = prepare.model_label(model) if model else known
            parameters = merged(record.parameters, overrides)
            service: Service[AnyClient] = yield Resolve(
                name, self.store.client, deadline_s, record.input_token_limit, parameters, needs_key
            )
            ask = Ask(service.model, name, None if model else known, overrides, deadline_s)
            try:
                return service, (yield Work(partial(self._calibrated, ask, work)))
            except ModelChanged:
                yield Work(self.refresh)

    def _calibrated(self, ask: Ask, work: Callable[[Ask], Result]) -> Result:
        with self.named():
            factor = self.database.calibration.factor(ask.model.name)
        return work(ask._replace(factor=factor))

    def preview(self, question: Question, model: str | None) -> Steps[Fit]:
        """Trim the prompt that `question` would end; nothing is stored."""

        def work(ask: Ask) -> Fit:
            return self.read(lambda repository, record: turn.preview(repository, record, question, ask))

        return (yield from self.for_model(model, Parameters(), DEADLINE_S, work))[1]

    def request(self, number: int | None, text: str | None, attempt: int | None) -> Steps[SentRequest]:
        """Rebuild what was sent for turn `number`; without one, for an open turn, else what the next one would send."""
        question = None if text is None else prepare.question(text)
        attempt = None if attempt is None else prepare.positive(attempt, "attempt")
        if number is not None:
            number = options.whole_number(number, "turn")
            if question is not None:
                raise InvalidParameter("a turn has its text: give either a turn or the text of the next one")
        elif question is None:
            number = yield Work(lambda: self.read(sent.open_turn))
            attempt = sent.LAST if attempt is None else attempt
        if number is not None:
            return (yield from self._sent(number, attempt))
        if attempt:
            raise InvalidParameter("an attempt is one at a turn: give the turn too")

        def work(ask: Ask) -> SentRequest:
            return self.read(lambda repository, record: sent.upcoming(repository, record, question, ask))

        service, request = yield from self.for_model(None, Parameters(), DEADLINE_S, work, needs_key=False)
        return (yield Work(lambda: sent.posted(request, service.client)))  # type: ignore[no-any-return]

    def _sent(self, number: int, attempt: int | None) -> Steps[SentRequest]:
        """Rebuild what was sent at an attempt at a turn; nobody is asked for it, and no key is needed."""

        def whole() -> SentRequest:
            found = self.read(lambda repository, record: sent.sent(repository, record, number, attempt))
            return sent.told(found, self.store.client or looked_at(found.attempt.asked_as))

        request: SentRequest = yield Work(whole)
        return request

    def update(self, parameters: ParameterOptions, **settings: Any) -> Steps[None]:  # noqa: ANN401 - of several types
        """Change settings; a model that nobody serves is refused before."""
        sampling.parameters(parameters)  # refuses a name that is none of them
        given = settings | dict(parameters)
        if isinstance(given["model"], str):
            limit = given["input_token_limit"]
            limit = limit if isinstance(limit, int) else self.record.input_token_limit
            wanted: Parameters = prepare.changes(self.record, given).get("parameters", self.record.parameters)
            yield Resolve(given["model"], self.store.client, DEADLINE_S, limit, wanted)

        def work(repository: ConversationRepository) -> ConversationRecord:
            record = repository.lock(self.record.id, self.record.owner)
            changes = prepare.changes(record, given)
            return repository.update(record, **changes) if changes else record

        def whole() -> None:
            self.record = self.write(work)

        yield Work(whole)
