"""What leaves an answer behind without changing it, each a function of a repository inside one transaction.

    regenerate   ask the last turn's model again: the answer stands until another one is chosen
    fork         copy the conversation up to a turn, to go on from there in another one
    edit         fork before a turn, and ask something else in its place: both or nothing

Regenerating and editing go on as any turn: call, then turn.finish() or turn.fail().
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from convo import asking, turn
from convo.asking import Ask, Begun
from convo.errors import InvalidInput, TurnNotFound
from convo.store.branches import NewFork
from convo.store.repository import ConversationRepository
from convo.turn import Question
from convo.values import DONE, KEEP, ConversationRecord, Example, Keep, Turn


def regenerate(
    repository: ConversationRepository, id: str, owner: str, ask: Ask, expected_version: int | None = None
) -> Begun:
    """Take the last turn, which has an answer, to ask for another one to the very same prompt.

    Raises:
        TurnNotFound: there is no turn yet.
        TurnInFlight, TurnUnfinished: it has no answer, or somebody is asking for another one already.
        VersionConflict: the conversation is not at `expected_version`.
        InvalidInput: its message was erased.
        PromptTooLong: its prompt does not fit the model that is to answer now.
    """
    record = repository.lock(id, owner)
    turn.check_version(record, expected_version)
    latest = repository.latest_turns(record)
    if not latest:
        raise TurnNotFound(record.id, 1)
    if not latest[0].is_settled:
        raise turn.unsettled(record, latest[0])
    begun = asking.asked_again(repository, record, latest[0], ask)
    if begun.attempt.message.content is None:
        raise InvalidInput(f"the message of turn {latest[0].number} was erased: there is nothing to ask again")
    return begun._replace(record=repository.begin_regeneration(record, begun.attempt))


def fork(
    repository: ConversationRepository, id: str, owner: str, number: int | None, new: NewFork
) -> ConversationRecord:
    """Copy the conversation up to turn `number`, 0 for none of its turns, or to the last one that has an answer.

    Raises:
        TurnNotFound: there is no such turn.
        TurnInFlight, TurnUnfinished: it has no answer yet.
        NameTaken: the owner has a conversation of that name.
    """
    record = repository.lock(id, owner)
    latest = repository.latest_turns(record)
    answered = record.turn_count - (bool(latest) and latest[0].state != DONE)
    number = answered if number is None else number
    if not 0 <= number <= record.turn_count:
        raise TurnNotFound(record.id, number)
    if number > answered:
        raise turn.unsettled(record, latest[0])
    if not isinstance(new.examples, Keep) and _texts(new.examples) == _texts(repository.examples(record)):
        new = replace(new, examples=KEEP)
    return repository.fork(record, number, new)


def _texts(examples: Sequence[Example]) -> list[tuple[str | None, str | None]]:
    return [(each.input, each.output) for each in examples]


def edit(
    repository: ConversationRepository, id: str, owner: str, number: int, new: NewFork, question: Question, ask: Ask
) -> Begun | tuple[ConversationRecord, Turn]:
    """Fork the conversation before turn `number`, and open its next turn for `question`.

    A request key that was used for that turn before leads to the fork that was made then, and to its answer.

    Raises:
        TurnNotFound: there is no such turn.
        NameTaken, PromptTooLong, IdempotencyConflict: as fork() and turn.begin(); nothing was stored.
    """
    record = repository.lock(id, owner)
    if not 0 < number <= record.turn_count:
        raise TurnNotFound(record.id, number)
    made = None
    if question.request_key is not None:
        made = repository.fork_of_request(record, number - 1, question.request_key)
    made = made or fork(repository, id, owner, number - 1, new)
    return turn.begin(repository, made, question, ask)
