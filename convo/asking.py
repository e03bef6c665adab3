"""What is asked of a model for a turn: the prompt, trimmed, and the attempt at getting it answered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from convo import journal
from convo.clients.base import ChatRequest
from convo.copies import replace
from convo.errors import PromptTooLong
from convo.prompt import Budget, Measured, fit, input_limit
from convo.store.answering import Attempt
from convo.store.conversations import not_erased
from convo.store.repository import ConversationRepository
from convo.store.rows import LatestTurn
from convo.store.windows import Window
from convo.values import MODEL, ConversationRecord, Example, Fit, Message, Model, Parameters, PromptRecord

LEASE_MARGIN_S = 10.0
"""How much longer than the call's deadline an attempt is taken to be alive."""


class Ask(NamedTuple):
    """How a turn is to be answered; prepared outside any transaction."""

    model: Model
    """Whose limits the prompt has to keep."""
    model_name: str
    """As it is stored and sent."""
    assumed_model: str | None
    """The conversation's model when `model` was resolved; None when the caller named one for this turn."""
    overrides: Parameters
    """For this turn only."""
    deadline_s: float
    factor: float = 1.0
    """How many of the model's own tokens one of the estimate is."""
    lease_owner: str = ""
    """Who takes the turn; nobody when it is only looked at."""
    is_streamed: bool = False
    """Whether the answer is asked for in pieces."""


class Begun(NamedTuple):
    """An open turn: what to send, and under which fence its answer may be stored."""

    record: ConversationRecord
    ask: Ask
    attempt: Attempt
    fit: Fit
    request: ChatRequest
    window: Window | None = None
    """What was known of the history, where the prompt was made of it."""


class ModelChanged(Exception):
    """The conversation has another model than the one that was prepared for."""


def asked(
    repository: ConversationRepository,
    record: ConversationRecord,
    last: LatestTurn | None,
    message: Message,
    ask: Ask,
    *,
    before: LatestTurn | None = None,
    **fields: Any,  # noqa: ANN401 - of several types
) -> Begun:
    """Trim the prompt that `message` ends, and make the attempt at answering it, with further `fields` of Attempt.

    `last` is the conversation's last turn; where that is the open one itself, `before` is the one before it.
    """
    sent, window = fitted(repository, record, last, message, ask, before=before)
    return _begun(record, message, ask, sent, window, **fields)


def asked_again(repository: ConversationRepository, record: ConversationRecord, last: LatestTurn, ask: Ask) -> Begun:
    """Make the attempt at another answer to the last turn: to the prompt that it remembers, else to one made now.

    Raises:
        PromptTooLong: the prompt does not fit the model that is to answer now.
    """
    if last.window_start is None:
        message, before = repository.user_message(record, last.number), repository.turn_before(record, last.number)
        begun = asked(repository, record, last, message, ask, before=before)
    else:
        sent = _sent_before(repository, record, last, last.window_start, ask)
        begun = _begun(record, sent.messages[-1], ask, sent)
        # By the same places, though what stood there first may be erased.
        start = last.window_start + (ask.model.user_first and last.window_start % 2 == 0)
        prompt = replace(begun.attempt.prompt, window_start=start, first_example=last.first_example or 0)
        begun = begun._replace(attempt=begun.attempt._replace(prompt=prompt, keeps_prompt=True))
    return begun._replace(attempt=begun.attempt._replace(is_regeneration=True))


def _begun(
    record: ConversationRecord,
    message: Message,
    ask: Ask,
    sent: Fit,
    window: Window | None = None,
    **fields: Any,  # noqa: ANN401 - of several types
) -> Begun:
    parameters = merged(record.parameters, ask.overrides)
    window = window and window.sealing(len(sent.messages) - 1)
    attempt = Attempt(
        turn=message.turn or 0,
        fence=record.fence + 1,
        message=message,
        model=ask.model_name,
        parameters=parameters,
        prompt=_remembered(sent, record, ask, parameters, window and window.sealed),
        lease_owner=ask.lease_owner,
        lease_s=ask.deadline_s + LEASE_MARGIN_S,
        is_streamed=ask.is_streamed,
        asked_as=ask.model.name if ask.model.name != ask.model_name else None,
        overhead=ask.model.message_overhead,
        is_user_first=ask.model.user_first,
        **fields,
    )
    request = ChatRequest(ask.model.name, sent.context, sent.examples, sent.messages, parameters)
    return Begun(record, ask, attempt, sent, request, window)


def _sent_before(
    repository: ConversationRepository, record: ConversationRecord, last: LatestTurn, start: int, ask: Ask
) -> Fit:
    """Return the prompt that the last turn remembers, whose window began at position `start`.

    The model that took it takes it again, whatever its limit or its factor may be now.
    """
    budget = _budget(record, ask)
    prompt = repository.prompt(record, last.number, start=start, first_example=last.first_example)
    messages = prompt.messages[budget.user_first and prompt.messages[0].side == MODEL :]
    estimate = budget.of_context(prompt.context, record.context_tokens)
    estimate += sum(map(budget.of_example, prompt.examples)) + sum(map(budget.of_message, messages))
    tokens, limit = math.ceil(estimate * ask.factor), budget.limit
    if last.model == ask.model_name == ask.model.name:
        tokens, limit = last.prompt_tokens or 0, last.prompt_limit or 0
    if tokens > limit:
        raise PromptTooLong(tokens=tokens, limit=limit, sent_before=True)
    left_out = (last.first_example or 0, start - record.first_position)
    return Fit(tokens, limit, prompt.context, prompt.examples, messages, *left_out, estimate=estimate)


def shortened(repository: ConversationRepository, begun: Begun, factor: float) -> Begun | None:
    """Trim the prompt of an open turn anew, with another factor; None when that makes it no shorter, or must not.

    Raises:
        PromptTooLong: the context and the newest message alone exceed the limit then.
    """
    ask, attempt = begun.ask._replace(factor=factor), begun.attempt
    if attempt.keeps_prompt:
        return None
    sent, _ = fitted(repository, begun.record, None, attempt.message, ask)
    if sent.estimate >= begun.fit.estimate:
        return None
    prompt = _remembered(sent, begun.record, ask, attempt.parameters)
    request = replace(begun.request, context=sent.context, examples=sent.examples, messages=sent.messages)
    return Begun(begun.record, ask, attempt._replace(prompt=prompt, refused=attempt.prompt), sent, request)


def fitted(
    repository: ConversationRepository,
    record: ConversationRecord,
    last: LatestTurn | None,
    message: Message,
    ask: Ask,
    *,
    before: LatestTurn | None = None,
) -> tuple[Fit, Window]:
    """Read as much of the history as can fit, and trim it; return what was read, too. The turns are those of asked().

    Raises:
        PromptTooLong: the context and the newest message alone exceed the limit.
        ModelChanged: to be prepared anew, as it has other limits.
    """
    known = repository.windows.of(record)
    all_examples = repository.all_examples(record) if known is None else known.examples
    examples = not_erased(all_examples)
    budget = _budget(record, ask, _measured(before or last, ask, examples))
    taken = budget.of_context(record.context, record.context_tokens) + budget.of_message(message)
    taken += sum(map(budget.of_example, examples))
    number = message.turn or 0
    cut = last.window_start if last else None
    length = None if cut is None else number - (cut + 1) // 2
    room = max(int(budget.limit / ask.factor) - taken, 0)
    window = repository.window(record, number, room, budget.overhead, last_length=length, known=known)
    sent = fit(
        record.context,
        examples,
        [*window.messages, message],
        context_tokens=record.context_tokens,
        budget=budget,
        first_position=record.first_position,
        trim=record.trim,
        cut=cut,
        example_count=len(all_examples),
    )
    return sent, window if known else window._replace(examples=all_examples)


def _budget(record: ConversationRecord, ask: Ask, measured: Measured | None = None) -> Budget:
    """Return what a prompt may hold.

    Raises:
        ModelChanged: as fitted().
    """
    if ask.assumed_model is not None and ask.assumed_model != record.model:
        raise ModelChanged
    output = merged(record.parameters, ask.overrides).max_output_tokens
    limit = record.input_token_limit or input_limit(ask.model, output)
    return Budget(limit, ask.model.message_overhead, ask.model.user_first, ask.factor, measured)


def _remembered(
    sent: Fit, record: ConversationRecord, ask: Ask, parameters: Parameters, sealed: Sequence[str] | None = None
) -> PromptRecord:
    """Return what the store remembers of a prompt; `sealed` are its messages but the last, where they are known so."""
    older = map(journal.sealed_message, sent.messages[:-1]) if sealed is None else sealed
    return PromptRecord(
        tokens=sent.tokens,
        limit=sent.limit,
        window_start=sent.messages[0].position or 0,
        first_example=sent.first_example,
        digest=journal.prompt_digest(
            sent,
            (*older, journal.sealed_message(sent.messages[-1])),
            context_salt=record.context_salt,
            model=ask.model_name,
            values=parameters,
        ),
    )


def merged(parameters: Parameters, overrides: Parameters) -> Parameters:
    """Return a conversation's parameters with those of this turn."""
    given = overrides.as_dict()
    return replace(parameters, **given) if given else parameters


def _measured(last: LatestTurn | None, ask: Ask, examples: Sequence[Example]) -> Measured | None:
    """Return what the model's service counted of the prompt of the turn before; None when it was another's.

    Of a model that another one stands in for, nobody knows who that was.
    """
    if last is None or last.input_tokens is None or not last.model == ask.model_name == ask.model.name:
        return None
    first = next((each.position for each in examples), None)
    if last.window_start is None or (first is not None and (last.first_example or 0) > first):  # not all were in it
        return None
    answer = last.output_tokens if last.chosen == 0 else None  # of another one it may have counted nothing
    return Measured(last.input_tokens, last.window_start, 2 * last.number - 1, answer)
