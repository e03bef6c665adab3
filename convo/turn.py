"""The phases of a turn, each a function of a repository inside one transaction: begin, renew, finish, fail.

    begin   lock the conversation, look whether the turn may begin, trim, store the question       one transaction
    call    ask the model; nothing is held                                                         none
    renew   while the answer comes in pieces: stay the turn's holder                               one transaction
    finish  store the answer, if the fence is still ours; or fail, and say why                     one transaction

Where nothing but this turn happens to a conversation, begin and finish are a stroke each: their writes, which take
place if the conversation's journal still stands where it was seen. Else they lock, and look.

The promise: an answer that was acknowledged is never lost, and stored once; whoever loses a race learns it before a
model was called. Each attempt takes the next fence; what was begun under an older one can no longer finish.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from convo import asking, journal
from convo.asking import Ask, Begun
from convo.copies import replace
from convo.errors import (
    ChoiceClosed,
    IdempotencyConflict,
    InvalidInput,
    LeaseLost,
    NoOpenTurn,
    PromptTooLong,
    TurnError,
    TurnInFlight,
    TurnNotFound,
    TurnUnfinished,
    VersionConflict,
)
from convo.store.answering import Answer, Attempt, Stored
from convo.store.ledger import Stroke, new_salt
from convo.store.repository import ConversationRepository
from convo.store.rows import LatestTurn
from convo.store.turns import beginning, finishing
from convo.values import DONE, USER, Candidate, ConversationRecord, Fit, Message, Turn


class Question(NamedTuple):
    """A new user message, and what the caller expects of the conversation."""

    content: str
    tokens: int
    request_key: str | None = None
    expected_version: int | None = None


def begin(
    repository: ConversationRepository, seen: ConversationRecord, question: Question, ask: Ask
) -> Begun | tuple[ConversationRecord, Turn]:
    """Open the next turn of a conversation for `question`; or return the turn that already answered its request key.

    Raises:
        TurnInFlight, TurnUnfinished: the turn before has no answer yet.
        VersionConflict, IdempotencyConflict, PromptTooLong, ConversationNotFound: nothing was stored.
    """
    record = repository.lock(seen.id, seen.owner, seen=seen)
    latest = repository.latest_turns(record, question.request_key)
    for known in latest:
        if question.request_key is not None and known.request_key == question.request_key:
            return _repeat(repository, record, known, question, ask)
    check_version(record, question.expected_version)
    last = latest[0] if latest else None
    if last is not None and not last.is_settled:
        raise unsettled(record, last)
    if last is not None and last.lease_owner is not None:
        repository.release(record, last.number)
    begun = _next(repository, record, last, question, ask)
    return begun._replace(record=repository.begin_turn(record, begun.attempt))


def begin_at_once(
    repository: ConversationRepository, seen: ConversationRecord, question: Question, ask: Ask
) -> Stroke[Begun] | None:
    """Return the stroke that opens the next turn, if all that matters is remembered; None where begin() must look."""
    window = repository.windows.of(seen)
    if window is None or window.latest is None or question.expected_version not in (None, seen.version):
        return None
    key, last = question.request_key, window.latest
    if key is not None:
        known = [last] if key == last.request_key else repository.latest_turns(seen, key)
        if key in [each.request_key for each in known]:
            return None
    try:
        begun = _next(repository, seen, last, question, ask)
    except PromptTooLong:  # or somebody has changed the limit
        return None
    stroke = beginning(seen, begun.attempt)
    return stroke.leading_to(begun._replace(record=stroke.outcome))


def _next(
    repository: ConversationRepository,
    record: ConversationRecord,
    last: LatestTurn | None,
    question: Question,
    ask: Ask,
) -> Begun:
    """Return the next turn with its prompt, trimmed; it is not stored yet.

    Raises:
        PromptTooLong: as begin().
    """
    salt = new_salt()
    fields: dict[str, Any] = {"is_first": True, "prev_chosen": _follows(record, last)}
    if question.request_key is not None:
        fields |= {"request_key": question.request_key, "request_hash": _request_hash(question, ask, salt)}
    return asking.asked(repository, record, last, _message(record, question, salt), ask, **fields)


def begin_instead(
    repository: ConversationRepository, seen: ConversationRecord, question: Question, ask: Ask
) -> Begun | tuple[ConversationRecord, Turn]:
    """Open the next turn as begin() does, in the place of one that was left without an answer: both or nothing.

    Raises:
        TurnInFlight: the turn before is being answered.
        VersionConflict, IdempotencyConflict, PromptTooLong, ConversationNotFound: as begin(); nothing was discarded.
    """
    try:
        return begin(repository, seen, question, ask)
    except TurnUnfinished:
        discard(repository, seen.id, seen.owner)
    return begin(repository, seen, question._replace(expected_version=None), ask)  # which was met, under the lock


def resume(repository: ConversationRepository, id: str, owner: str, ask: Ask) -> Begun:
    """Take the unanswered last turn over, to ask the model again.

    Raises:
        NoOpenTurn: every turn has its answer.
        TurnInFlight: somebody is still waiting for it.
        InvalidInput: its message was erased.
    """
    record = repository.lock(id, owner)
    return _again(repository, record, _open_turn(repository, record), ask)


def finish(repository: ConversationRepository, begun: Begun, answer: Answer) -> tuple[Stored, bool]:
    """Store the answer of an open turn; the second value tells whether it counts.

    It does not when the turn was taken over meanwhile: then it is kept beside the one that does.
    """
    record = repository.lock(begun.record.id, begun.record.owner, seen=begun.record)
    store = repository.finish_regeneration if begun.attempt.is_regeneration else repository.finish_turn
    stored = store(record, begun.attempt, answer)
    if stored is not None:
        return stored, True
    return Stored(repository.keep_late(record, begun.attempt, answer), 0), False


def finish_at_once(
    repository: ConversationRepository, begun: Begun, answer: Answer
) -> Stroke[tuple[Stored, bool]] | None:
    """Return the stroke that stores the answer to a turn's first attempt; None where finish() must look.

    What the next prompt can be made of is remembered; whoever makes the stroke in vain has to forget it.
    """
    if not begun.attempt.is_first:
        return None
    stroke = finishing(begun.record, begun.attempt, answer)
    _keep_window(repository, begun, answer, stroke.outcome)
    return stroke.leading_to((stroke.outcome, True))


def _keep_window(repository: ConversationRepository, begun: Begun, answer: Answer, stored: Stored) -> None:
    """Keep what the next prompt can be made of, after a turn during which nothing else happened."""
    attempt, usage = begun.attempt, answer.usage
    if begun.window is None or stored.reply is None:
        return
    latest = LatestTurn(
        number=attempt.turn,
        state=DONE,
        fence=attempt.fence,
        request_key=attempt.request_key,
        request_hash=attempt.request_hash,
        error=None,
        chosen=stored.first,
        lease_owner=None,
        lease_left_ms=None,
        window_start=attempt.prompt.window_start,
        first_example=attempt.prompt.first_example,
        prompt_tokens=attempt.prompt.tokens,
        prompt_limit=attempt.prompt.limit,
        model=attempt.model,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
    )
    asked = replace(attempt.message, created_at=begun.record.updated_at)
    repository.windows.keep(stored.record, begun.window.followed_by(latest, asked, stored.reply))


KEPT_LATE = "the late answer is kept beside the one that counts, or told by the journal alone if its message is gone"


def lease_lost(begun: Begun, fate: str = KEPT_LATE) -> LeaseLost:
    """Return the error for an answer that came too late, and became of it what `fate` says."""
    return LeaseLost(
        f"turn {begun.attempt.turn} of conversation {begun.record.id} was taken over while the model answered: {fate}",
        conversation=begun.record.id,
        turn=begun.attempt.turn,
        request_key=begun.attempt.request_key,
    )


def shortened(repository: ConversationRepository, begun: Begun, factor: float) -> Begun | None:
    """Trim the prompt of an open turn anew, as the conversation is now: None when that makes it no shorter.

    A text that was erased while the model had the longer one is not sent again.

    Raises:
        LeaseLost: the turn was taken over, or its message forgotten.
        ConversationNotFound: it was deleted, or its owner forgotten.
        PromptTooLong: the context and the newest message alone exceed the limit then.
    """
    record = repository.get(begun.record.id, begun.record.owner)
    latest = repository.latest_turns(record)
    held = [each.number for each in latest if each.lease_owner is not None and each.fence == begun.attempt.fence]
    if held != [begun.attempt.turn]:
        raise lease_lost(begun, "its prompt was too long, and is not sent again")
    message = repository.user_message(record, begun.attempt.turn)
    now = begun._replace(record=record, attempt=begun.attempt._replace(message=message))
    return asking.shortened(repository, now, factor)


def renew(repository: ConversationRepository, begun: Begun) -> bool:
    """Let the lease of an open turn begin anew; False when the turn was taken over."""
    return repository.renew_lease(begun.record, begun.attempt)


def fail(
    repository: ConversationRepository,
    id: str,
    owner: str,
    holder: str,
    error: str,
    came: Sequence[Candidate] = (),
    *,
    attempt: Attempt | None = None,
) -> ConversationRecord | None:
    """Leave the turn that `holder` has open unanswered, for `error`; None, and nothing done, when he has none.

    What `came` of the answer to `attempt` is kept, as candidates that nobody chose. A turn that was to be answered
    again keeps the answer that it has.
    """
    record = repository.lock(id, owner)
    latest = repository.latest_turns(record)
    if not latest or latest[0].lease_owner != holder:
        return None
    return repository.fail_turn(record, latest[0], error, came, attempt)


def discard(repository: ConversationRepository, id: str, owner: str) -> tuple[ConversationRecord, str | None]:
    """Delete the unanswered last turn; return the conversation without it, and the user's text.

    Raises:
        NoOpenTurn, TurnInFlight: as resume().
    """
    record = repository.lock(id, owner)
    turn = repository.turn(record, _open_turn(repository, record).number)
    return repository.discard_turn(record, turn), turn.message.content if turn.message else None


def choose(
    repository: ConversationRepository, id: str, owner: str, candidate: int, number: int | None
) -> ConversationRecord:
    """Make another candidate of the last turn the one that later turns follow.

    Raises:
        ChoiceClosed: `number` is an earlier turn.
        TurnNotFound, CandidateNotFound: there is no such turn or candidate.
        TurnInFlight, TurnUnfinished: the last turn has no answer yet.
    """
    record = repository.lock(id, owner)
    number = record.turn_count if number is None else number
    if 0 < number < record.turn_count:
        raise ChoiceClosed(conversation=record.id, turn=number)
    latest = repository.latest_turns(record)
    if not latest or latest[0].number != number:
        raise TurnNotFound(record.id, number)
    if not latest[0].is_settled:
        raise unsettled(record, latest[0])
    return repository.choose(record, number, candidate)


def preview(repository: ConversationRepository, record: ConversationRecord, question: Question, ask: Ask) -> Fit:
    """Return what would be sent for `question`; nothing is stored.

    Raises:
        PromptTooLong, TurnInFlight, TurnUnfinished: as begin().
    """
    latest, message = next_message(repository, record, question)
    return asking.fitted(repository, record, latest, message, ask)[0]


def next_message(
    repository: ConversationRepository, record: ConversationRecord, question: Question
) -> tuple[LatestTurn | None, Message]:
    """Return the last turn, and the message that would follow it.

    Raises:
        TurnInFlight, TurnUnfinished: as begin().
    """
    latest = repository.latest_turns(record)
    if latest and not latest[0].is_settled:
        raise unsettled(record, latest[0])
    return latest[0] if latest else None, _message(record, question)


def _message(record: ConversationRecord, question: Question, salt: bytes | None = None) -> Message:
    return Message(
        author=record.authors[USER],
        content=question.content,
        tokens=question.tokens,
        position=2 * record.turn_count + 1,
        turn=record.turn_count + 1,
        salt=salt,
    )


def _repeat(
    repository: ConversationRepository, record: ConversationRecord, known: LatestTurn, question: Question, ask: Ask
) -> Begun | tuple[ConversationRecord, Turn]:
    """Answer a request key that was used before: with the stored reply, or by taking the open turn over."""
    asked = repository.user_message(record, known.number)
    digest = _request_hash(question, ask, asked.salt) if asked.salt else b""
    if not hmac.compare_digest(digest, known.request_hash or b""):
        raise IdempotencyConflict(conversation=record.id, turn=known.number, request_key=str(question.request_key))
    if known.state == DONE:
        return record, repository.turn(record, known.number)
    if known.is_alive:
        raise unsettled(record, known)
    return _again(repository, record, known, ask)


def _again(repository: ConversationRepository, record: ConversationRecord, open_turn: LatestTurn, ask: Ask) -> Begun:
    message = repository.user_message(record, open_turn.number)
    if message.content is None:
        raise InvalidInput(f"the message of turn {open_turn.number} was erased: discard() it, nothing is left to ask")
    before = repository.turn_before(record, open_turn.number)
    begun = asking.asked(repository, record, open_turn, message, ask, before=before)
    return begun._replace(record=repository.begin_again(record, begun.attempt))


def _open_turn(repository: ConversationRepository, record: ConversationRecord) -> LatestTurn:
    latest = repository.latest_turns(record)
    if not latest or latest[0].state == DONE:
        raise NoOpenTurn(conversation=record.id, turn=record.turn_count)
    if latest[0].is_alive:
        raise unsettled(record, latest[0])
    return latest[0]


def check_version(record: ConversationRecord, expected: int | None) -> None:
    """Raise VersionConflict when the caller has seen another version of the conversation."""
    if expected is not None and expected != record.version:
        raise VersionConflict(conversation=record.id, turn=record.turn_count, version=record.version, expected=expected)


def unsettled(record: ConversationRecord, turn: LatestTurn) -> TurnError:
    """Return the error for a turn that must be settled first."""
    if turn.is_alive:
        return TurnInFlight(
            conversation=record.id,
            turn=turn.number,
            request_key=turn.request_key,
            retry_after_s=(turn.lease_left_ms or 0) / 1000,
        )
    return TurnUnfinished(
        conversation=record.id,
        turn=turn.number,
        request_key=turn.request_key,
        state=turn.state,
        error=turn.error,
    )


def _follows(record: ConversationRecord, last: LatestTurn | None) -> int | None:
    """Return the candidate that the next turn follows; None when it is the first."""
    if last is not None:
        return last.chosen
    return 0 if record.first_position == 0 else None


def _request_hash(question: Question, ask: Ask, salt: bytes) -> bytes:
    """Return what tells two requests of one key apart; under the message's salt, so that it tells nothing else."""
    named = ask.model_name if ask.assumed_model is None else None
    asked = [question.content, named, ask.overrides.as_dict()]
    return journal.commit("request", json.dumps(asked, sort_keys=True), salt)
