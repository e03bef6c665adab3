"""What takes texts out of conversations, each a function of a repository inside one transaction.

    erase    a text is gone from every copy, with the salt that made its commitment checkable
    redact   another text stands in its place, in every copy
    forget   everything that an owner said, was told and is called goes, from one conversation of his
    prune    what is older than a time goes, from one conversation

The journal keeps its commitments to what went, and tells that it went; the chain stays whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from convo import turn
from convo.errors import CandidateNotFound, ConversationNotFound, InvalidInput, NotFound, TurnNotFound
from convo.options import whole_number
from convo.store.erasing import FORGOTTEN_REASON, NOTHING, RETENTION_REASON, Place, Ref, Standing
from convo.store.repository import ConversationRepository
from convo.store.scrubbing import Sought
from convo.tokens import estimate
from convo.values import USER, ConversationRecord

GRAMMAR = (
    "name what is meant by the position of a message (as `convo show` numbers them), or by context, title, example:N, "
    "example:N:input or example:N:output (examples are numbered from 0)"
)

LARGE = 10**9
"""Positions and candidates are lower."""

_EXAMPLE = re.compile(r"example:([0-9]{1,9})(?::(input|output))?")
_POSITION = re.compile(r"[0-9]{1,9}")
_REASON = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Gone:
    """What went, and the conversation after it."""

    record: ConversationRecord
    texts: int = 0
    """How many, copies included."""
    conversations: int = 0
    sought: Sought = field(default_factory=Sought)
    """The texts themselves, to be looked for."""


def places(target: int | str, candidate: int | None = None) -> list[Place]:
    """Return where the texts stand that a caller means.

    Raises:
        InvalidInput: it names no text; the error tells what does.
        TypeError: a target or a candidate of another type.
    """
    if isinstance(target, bool) or not isinstance(target, int | str):
        msg = f"target must be a position or a text, not {type(target).__name__}"
        raise TypeError(msg)
    if candidate is not None and not 0 <= whole_number(candidate, "candidate") < LARGE:
        raise InvalidInput("candidates are numbered from 0: that is none")
    if isinstance(target, int) and target >= LARGE:  # Python refuses to write some of them
        raise InvalidInput(f"no message is at such a position: {GRAMMAR}")
    written = str(max(target, -1) if isinstance(target, int) else target).strip()
    if _POSITION.fullmatch(written):
        return [_of_message(int(written), candidate)]
    if candidate is not None:
        raise InvalidInput("only the replies of a model have candidates: name one by its position")
    if written in ("context", "title"):
        return [Place(written)]
    if named := _EXAMPLE.fullmatch(written):
        return [Place(each, int(named[1])) for each in ("input", "output") if named[2] in (None, each)]
    raise InvalidInput(f"{written[:40]!r} is no text of a conversation: {GRAMMAR}")


def _of_message(position: int, candidate: int | None) -> Place:
    number, side = (position + 1) // 2, 1 - position % 2
    if side == USER and candidate is not None:
        raise InvalidInput(f"position {position} is the user's, and has no candidates: leave the candidate out")
    return Place("content", number, side, candidate)


def check_reason(reason: str | None) -> None:
    """Raise InvalidInput unless a reason is a short code: it stays in the journal, where no text may be."""
    if not isinstance(reason, str | None):
        msg = f"reason must be a string, not {type(reason).__name__}"
        raise TypeError(msg)
    if reason is not None and not _REASON.fullmatch(reason):
        raise InvalidInput("reason must be a short code, such as gdpr-17: 1 to 64 of a-z, 0-9, '.', '_' and '-'")


def erase(repository: ConversationRepository, id: str, owner: str, wanted: Sequence[Place], reason: str | None) -> Gone:
    """Erase texts, with all their copies in forks; those that are erased already are left as they are.

    Raises:
        ConversationNotFound, TurnNotFound, CandidateNotFound, NotFound: there is no such text, and was none.
        TurnInFlight: it is a message of a turn that is being answered.
    """
    found = _find(repository, id, owner, wanted)
    if not found.standing:
        return Gone(found.record)
    repository.take_away(found.holders, found.standing)
    return _told(repository, found, "erase", lambda ref: ref, reason)


def redact(
    repository: ConversationRepository,
    id: str,
    owner: str,
    wanted: Place,
    text: str,
    reason: str | None,
    check_limit: Callable[[int | None, int], object],
) -> Gone:
    """Put another text in the place of one, in all its copies; a context has to pass `check_limit` in each of them.

    Raises:
        InvalidInput: it is erased, and nothing stands in its place.
        ConversationNotFound, TurnNotFound, CandidateNotFound, NotFound, TurnInFlight: as erase().
    """
    found = _find(repository, id, owner, [wanted])
    if not found.standing:
        raise InvalidInput("that text is erased: nothing can be put in its place")
    if wanted.field == "context":
        for each in found.holders.values():
            check_limit(each.input_token_limit, estimate(text))
    new: dict[str, list[Any]] = {}
    for was in found.standing:
        before = estimate(was.text or "")
        tokens = was.tokens - before + estimate(text) if wanted.field in ("input", "output") else estimate(text)
        ref = wanted.ref(was.candidate)
        new[repr(ref)] = [ref, *repository.put(found.holders, was, text, tokens)]
    return _told(repository, found, "redact", lambda ref: new[repr(ref)], reason)


@dataclass(frozen=True, slots=True)
class _Found:
    """Texts, and the locked conversations in which they stand."""

    record: ConversationRecord
    standing: list[Standing]
    holders: dict[str, ConversationRecord]
    refs: dict[str, list[Ref]]
    """Which ones, by conversation."""


def _find(repository: ConversationRepository, id: str, owner: str, wanted: Sequence[Place]) -> _Found:
    """Find texts and their copies; lock the conversations that have them in the order of their ids.

    A fork that was under way when we looked is seen once its parent is locked: so we look until nothing new comes.
    """
    record = repository.get(id, owner)
    locked: dict[str, ConversationRecord] = {}
    seen: set[str] = set()
    while True:
        standing = [each for place in wanted for each in _standing(repository, record, place)]
        copies = repository.copies(record, standing) if standing else []
        new = {record.id, *(each for each, _ in copies)} - seen
        if not new:
            break
        locked |= repository.lock_all(new, owner)
        seen |= new
        if record.id not in locked:
            raise ConversationNotFound(id)
        record = locked[record.id]
    refs: dict[str, list[Ref]] = {}
    for each, ref in copies:
        refs.setdefault(each, []).append(ref)
    holders = {each: _settled(repository, locked[each], standing) for each in sorted(refs)}
    return _Found(holders.get(record.id, record), standing, holders, refs)


def _standing(repository: ConversationRepository, record: ConversationRecord, place: Place) -> list[Standing]:
    """Return the texts at a place that are not erased.

    Raises:
        NotFound: there is no such text, and was none.
    """
    found = repository.standing(record, place)
    standing = [each for each in found if each.text is not None]
    if standing or (found and place.field in ("content", "input", "output")):
        return standing
    if place.field == "content":
        if place.side == USER or not record.first_position <= 2 * place.number <= 2 * record.turn_count:
            raise TurnNotFound(record.id, place.number)
        raise CandidateNotFound(record.id, place.number, place.candidate or 0)
    if place.field in ("input", "output"):
        raise NotFound(f"conversation {record.id} has no example {place.number}: {GRAMMAR}")
    if not repository.has_erased(record, place):
        raise NotFound(f"conversation {record.id} has no {place.field}")
    return []


def _settled(
    repository: ConversationRepository, record: ConversationRecord, standing: Sequence[Standing]
) -> ConversationRecord:
    """Return a locked conversation in which nobody is answering a turn of which a text goes.

    Whoever died while he did so is shut out: an answer that comes all the same is told by the journal alone.

    Raises:
        TurnInFlight: somebody is.
    """
    last = record.turn_count
    if not last or all(each.place.field != "content" or each.place.number != last for each in standing):
        return record
    latest = repository.latest_turns(record)[0]
    if latest.is_alive:
        raise turn.unsettled(record, latest)
    return _given_up(repository, record, "Erased")


def _given_up(repository: ConversationRepository, record: ConversationRecord, error: str) -> ConversationRecord:
    """Return a locked conversation whose last turn nobody holds: its holder has lost it, for `error`."""
    latest = repository.latest_turns(record)
    if latest and latest[0].lease_owner is not None:
        return repository.fail_turn(record, latest[0], error) or record
    return record


def _told(
    repository: ConversationRepository, found: _Found, kind: str, as_told: Callable[[Ref], Any], reason: str | None
) -> Gone:
    """Tell each conversation that had a text what became of it."""
    for id, record in found.holders.items():
        repository.tell(record, kind, {"fields": list(map(as_told, found.refs[id])), "reason": reason})
    count = sum(map(len, found.refs.values()))
    sought = Sought([str(each.text) for each in found.standing], [each.salt for each in found.standing if each.salt])
    return Gone(repository.get(found.record.id, found.record.owner), count, len(found.holders), sought)


def forget(repository: ConversationRepository, id: str, owner: str, room: int) -> Gone | None:
    """Erase all texts, names and keys of a conversation, which is nobody's from then on; None when it is not there.

    Whoever is answering its last turn has lost it. At most `room` of the texts are returned.
    """
    record = repository.lock_all([id], owner).get(id)
    if record is None:
        return None
    record = _given_up(repository, record, "Forgotten")
    turns = repository.standing_turns(record, None)
    sought = repository.sample_turns(record, None, None, room)
    count = repository.clear_turns(record, None)
    fields, rest = repository.clear_rest(record)
    names = Sought([each for each in (record.owner, record.name) if each])
    left, columns, labels = repository.forget_names(record)
    body = {"fields": fields, "turns": _ranges(turns), "labels": labels, "reason": FORGOTTEN_REASON}
    told = repository.tell(record, "erase", body, **columns, **NOTHING)
    after = replace(told, owner=left.owner, name=None, metadata={}, authors=left.authors, title=None, context=None)
    return Gone(after, count + len(fields), 1, _all_of(count, sought, rest, names))


def prune(repository: ConversationRepository, id: str, owner: str, before: datetime, room: int) -> Gone | None:
    """Erase the texts of turns that began before a time; None when there was nothing to do.

    Where nothing happened since, context, examples and title go too. A turn that is being answered is left as it is.
    """
    record = repository.lock_all([id], owner).get(id)
    if record is None:
        return None
    latest = repository.latest_turns(record)
    but = latest[0].number if latest and latest[0].is_alive else None
    turns = repository.standing_turns(record, before, but)
    is_idle = record.updated_at < before and but is None
    if record.turn_count in turns and record.turn_count:
        record = _given_up(repository, record, "Erased")
    sought = repository.sample_turns(record, before, but, room)
    count = repository.clear_turns(record, before, but) if turns else 0
    fields, rest = repository.clear_rest(record) if is_idle else ([], Sought())
    if not turns and not fields:
        return None
    body = {"fields": fields, "turns": _ranges(turns), "reason": RETENTION_REASON}
    told = repository.tell(record, "erase", body, **(NOTHING if is_idle else {}))
    return Gone(told, count + len(fields), 1, _all_of(count, sought, rest))


def prunable(repository: ConversationRepository, id: str, owner: str, before: datetime) -> int:
    """Return how many texts prune() would erase, none of a conversation that is not there; nothing is written."""
    try:
        record = repository.get(id, owner)
    except ConversationNotFound:
        return 0
    latest = repository.latest_turns(record)
    but = latest[0].number if latest and latest[0].is_alive else None
    count = repository.count_turns(record, before, but)
    if record.updated_at >= before or but is not None:
        return count
    return count + len(repository.rest(record))


def _all_of(count: int, *found: Sought) -> Sought:
    """Return together what is looked for, of `count` texts of turns, of which the first one has a sample."""
    whole = Sought()
    for each in found:
        whole.add(each)
    whole.left_out += count - len(found[0].texts)
    return whole


def _ranges(numbers: Sequence[int]) -> list[list[int]]:
    """Return ascending numbers as ranges, both ends included."""
    ranges: list[list[int]] = []
    for each in numbers:
        if ranges and each == ranges[-1][1] + 1:
            ranges[-1][1] = each
        else:
            ranges.append([each, each])
    return ranges
