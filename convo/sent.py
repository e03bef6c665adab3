"""What a model was given for a turn, or would be given next, as functions of a repository in one transaction.

    sent       what there is to know of what was sent at an attempt at a turn
    told       what was sent, of that; without a transaction, as the one after the next
    upcoming   what the next turn would send
    posted     a request, with the bytes that a client posts for it

No model is called here, and nothing is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from convo import asking, journal, sampling, turn
from convo.asking import Ask
from convo.attempts import Attempts, Fates, ToldAttempt, ref_of, told_texts
from convo.audits import NEXT, Field, SentRequest
from convo.call import asked
from convo.clients.base import AnyClient, ChatRequest, PostingClient
from convo.errors import InvalidInput, PromptUnknown, StoredDataError, StoreError, TurnError
from convo.rebuild import Stored, rebuilt
from convo.store.repository import ConversationRepository
from convo.turn import Question
from convo.values import ConversationRecord, Event, Example, Message

LAST = 0
"""Stands for the last attempt, whichever one was answered."""


@dataclass(frozen=True, slots=True)
class Found:
    """What there is to know of an attempt."""

    attempt: ToldAttempt
    stored: Stored
    fates: Fates
    number: int
    """Of the attempt, from 1."""
    count: int
    """How many attempts there were."""


def open_turn(repository: ConversationRepository, record: ConversationRecord) -> int | None:
    """Return the number of the last turn when it is being answered, or was left without an answer; else None."""
    latest = repository.latest_turns(record)
    return latest[0].number if latest and not latest[0].is_settled else None


def sent(
    repository: ConversationRepository,
    record: ConversationRecord,
    number: int,
    attempt: int | None,
) -> Found:
    """Find an attempt at a turn: from 1, or LAST; without one, that which the chosen answer came of, else the last.

    Raises:
        TurnNotFound: there is no such turn.
        PromptUnknown: there was no such attempt, or it was one of another conversation, under another context.
        StoredDataError: the journal cannot be read.
    """
    chosen = repository.choice(record, number)
    with _reading(record):
        events = repository.events_of_prompts(record, number)
        attempts = Attempts(events, number)
        place = _place(record, number, attempts, attempt, chosen)
        fates, found = Fates(events), attempts.all[place]
        if fates.is_foreign(found.number):
            raise _foreign(record, number)
        messages = repository.messages_from(record, found.start, number)
        told_events = [*events, *_telling(repository, record, messages, fates, found)]
        stored = _stored(repository, record, found, fates, messages, told_events)
    return Found(found, stored, fates, place + 1, len(attempts.all))


def told(found: Found, client: AnyClient | None) -> SentRequest:
    """Return what was sent at an attempt, and what `client` would post for it now.

    Raises:
        StoredDataError: the journal cannot be read.
    """
    attempt, fates = found.attempt, found.fates
    with _reading(found.stored.record):
        request = rebuilt(found.stored, attempt, fates)
        sampling.parameters(request.parameters.as_dict())  # which a codec takes to be what they should be
    request = replace(request, attempt=found.number, attempts=found.count)
    return posted(request, client, has_authors=not fates.is_nameless(attempt.number))


def upcoming(
    repository: ConversationRepository, record: ConversationRecord, question: Question | None, ask: Ask
) -> SentRequest:
    """Return what the next turn would send for `question`; without one, all but its message, which costs nothing then.

    Raises:
        PromptTooLong, TurnInFlight, TurnUnfinished: as turn.begin().
        StoredDataError: the journal cannot be read.
    """
    overhead = ask.model.message_overhead
    last, message = turn.next_message(repository, record, question or Question("", -overhead))
    fit, _ = asking.fitted(repository, record, last, message, ask)
    number = message.turn or 0
    attempt = ToldAttempt(
        number=record.version + 1,
        since=record.version + 1,
        kind=NEXT,
        at=None,
        turn=number,
        model=ask.model_name,
        asked_as=ask.model.name,
        overhead=overhead,
        is_user_first=ask.model.user_first,
        parameters=journal.parameters(asking.merged(record.parameters, ask.overrides)),
        streamed=False,
        start=fit.messages[0].position or 0,
        first_example=fit.first_example,
        tokens=fit.tokens,
        limit=fit.limit,
        digest=None,
    )
    window = repository.messages_from(record, attempt.start, number)
    window.append(message if question else replace(message, content=None))
    with _reading(record):
        events = repository.events_of_prompts(record, number)
        fates = Fates(events)
        return rebuilt(_stored(repository, record, attempt, fates, window, events), attempt, fates)


@contextmanager
def _reading(record: ConversationRecord) -> Iterator[None]:
    """Make what goes wrong while events are read, whatever somebody has made of them, one error.

    Raises:
        StoredDataError: the journal cannot be read.
    """
    try:
        yield
    except (TurnError, StoreError):
        raise
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        told = f"the journal of conversation {record.id} cannot be read: `convo verify {record.id}` tells what is wrong"
        raise StoredDataError(told) from error


def posted(request: SentRequest, client: AnyClient | None, *, has_authors: bool = True) -> SentRequest:
    """Return a request with what `client` posts for it, or with the reason why that cannot be told."""
    if request.gone:
        return replace(request, no_bodies="a text of it is gone")
    if request.messages[-1].content is None:
        return replace(request, no_bodies="there is no message yet")
    if client is None:
        return replace(request, no_bodies=f"nobody here serves {request.asked_as}")
    if not isinstance(client, PostingClient):
        return replace(request, no_bodies=f"{request.asked_as} is not asked over HTTP")
    whole = _as_asked(request)
    try:
        made = client.would_post(whole, streamed=request.streamed)
        renamed = tuple(replace(each, author=f"not {each.author}") for each in whole.messages)
        if not has_authors and made != client.would_post(replace(whole, messages=renamed), streamed=request.streamed):
            return replace(request, no_bodies="the names of its authors are gone")
    except InvalidInput as error:  # the service, or its configuration, is another one by now
        return replace(request, no_bodies=str(error))
    return replace(request, paths=tuple(each.path for each in made), bodies=tuple(each.body for each in made))


def _as_asked(request: SentRequest) -> ChatRequest:
    context = request.context.content if request.context else None
    examples = tuple(Example(each.input, each.output) for each in request.examples)
    messages = tuple(Message(each.author, each.content, each.side) for each in request.messages)
    return asked(ChatRequest(request.asked_as, context, examples, messages, request.parameters))


def _place(record: ConversationRecord, number: int, attempts: Attempts, attempt: int | None, chosen: int | None) -> int:
    """Return the place of the attempt that is meant."""
    count = len(attempts.all)
    if not count:
        raise _unknown(
            record, number, f"turn {number} of conversation {record.id} was given: no model was asked for it"
        )
    if attempt is None:
        return attempts.of_choice(chosen)
    if attempt > count:
        times = "once" if count == 1 else f"{count} times"
        raise _unknown(record, number, f"a model was asked {times} for turn {number} of conversation {record.id}")
    return (attempt or count) - 1


def _unknown(record: ConversationRecord, number: int, told: str) -> PromptUnknown:
    return PromptUnknown(told, conversation=record.id, turn=number)


def _foreign(record: ConversationRecord, number: int) -> PromptUnknown:
    told = f"turn {number} of conversation {record.id} was answered under another context, or with other examples"
    return _unknown(record, number, f"{told}: look at the conversation that it was forked from, {record.forked_from}")


def _telling(
    repository: ConversationRepository,
    record: ConversationRecord,
    messages: Sequence[Message],
    fates: Fates,
    attempt: ToldAttempt,
) -> Sequence[Event]:
    """Return the events that told of those messages first of which another text, or none, stands there now."""
    changed = [ref_of(each) for each in messages if fates.gone(ref_of(each), attempt.since)]
    turns = {int(ref[1]) for ref in changed} - {attempt.turn}
    return repository.events_of_texts(record, min(turns), max(turns)) if turns else ()


def _stored(
    repository: ConversationRepository,
    record: ConversationRecord,
    attempt: ToldAttempt,
    fates: Fates,
    messages: Sequence[Message],
    events: Sequence[Event],
) -> Stored:
    erased: list[Field] = []
    if fates.has_erased(attempt.number):
        erased = [("content", *each) for each in repository.erased_messages(record, attempt.start)]
    by_number = {each.number: each for each in events}
    told = told_texts(by_number[number] for number in sorted(by_number))
    return Stored(record, repository.all_examples(record), messages, told, erased)
