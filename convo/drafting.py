"""A conversation that a file tells of, checked and made ready for the store: nothing here waits."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import uuid_utils.compat

from convo import journal, prepare
from convo.call import ending
from convo.errors import InvalidInput
from convo.formats.base import Draft, DraftReply, DraftTurn
from convo.models import default_model
from convo.options import AUTHORS, authors
from convo.sampling import parameters
from convo.store.conversations import NewConversation
from convo.store.given import GivenTurn
from convo.text import clean_message
from convo.tokens import estimate
from convo.transfers import ANOTHER_OWNERS, Fate, Imported
from convo.values import MINIMAL, MODEL, USER, Example, Message

FIRST_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""What is said to be older is none of a chat's."""


@dataclass(slots=True)
class Drafted:
    """What is stored of a draft, and what is not."""

    draft: Draft
    new: NewConversation
    turns: int
    texts: int
    dropped: Counter[str] = field(default_factory=Counter)

    def outcome(self, fate: Fate) -> Imported:
        """Return what became of it."""
        return Imported(fate, self.draft.line, self.new.id, self.turns, self.texts, dict(self.dropped))


def drafted(draft: Draft, form: str, *, owner: str | None, new_id: bool) -> Drafted:
    """Return the conversation that a draft tells of: the owner's, or with None whose the file says.

    Its id is the one that the file tells, else one of its contents: the same ones have the same id. With `new_id` it
    has nothing to do with either.

    Raises:
        InvalidInput, AuthorError: it cannot be stored; the error tells why, and quotes no text of it.
    """
    told_owner = prepare.owner_of(draft.owner)
    whose = told_owner if owner is None else owner
    if draft.owner is not None and told_owner != whose:
        raise InvalidInput(ANOTHER_OWNERS)
    dropped = Counter(draft.dropped)
    names = authors(draft.authors) if draft.authors is not None else AUTHORS
    context = _message(draft.context, "context", "") if draft.context is not None else None
    history = list(_turns(draft, names, dropped))
    new = NewConversation(
        id=_id(draft, whose, new_id=new_id),
        model=prepare.model_label(draft.model or default_model()),
        context=context,
        examples=[_example(*each) for each in draft.examples],
        owner=whose,
        name=prepare.conversation_name(draft.name) if draft.name is not None else None,
        title=prepare.label(draft.title, "title") if draft.title is not None else None,
        metadata=prepare.checked_metadata(draft.metadata),
        opening=_opening(draft.opening, names),
        history=history,
        authors=names,
        parameters=parameters(draft.parameters.as_dict()),
        input_token_limit=prepare.token_limit(draft.input_token_limit, context.tokens if context else 0),
        trim=prepare.checked_trim(draft.trim or MINIMAL),
        created_at=_first_time(draft),
        imported=form,
    )
    texts = [each.content for turn in history for each in (turn.question, *turn.answers)]
    texts += [new.opening.content] if new.opening else []
    return Drafted(draft, new, len(history) + (new.opening is not None), len(texts) - texts.count(None), dropped)


def _turns(draft: Draft, names: tuple[str, str], dropped: Counter[str]) -> Iterator[GivenTurn]:
    """Yield the turns; if any time is told, each turn has some: what is not told is as late as what was said before."""
    last = _first_time(draft)
    for number, turn in enumerate(draft.turns, start=1):
        try:
            made = _turn(turn, names)
        except InvalidInput as error:
            raise InvalidInput(f"turn {number}: {error}") from None
        if last is not None:
            asked = _told_time(turn.asked_at, dropped, last)
            last = _told_time(turn.answered_at, dropped, asked)
            made = replace(made, asked_at=asked, answered_at=last)
        if made.chosen is None and number < len(draft.turns):
            raise InvalidInput(f"turn {number} has no answer, and others follow it")
        yield made


def _turn(turn: DraftTurn, names: tuple[str, str]) -> GivenTurn:
    asked = Message(names[USER], None) if turn.message is None else _message(turn.message, "message", names[USER])
    answers = [_reply(each, names, place) for place, each in enumerate(turn.replies)]
    if turn.chosen is None or not answers:
        return GivenTurn(asked, answers, None)
    if not 0 <= turn.chosen < len(answers):
        raise InvalidInput(f"answer {turn.chosen} is chosen, and there are {len(answers)}")
    chosen = answers[turn.chosen]
    answers[turn.chosen] = replace(chosen, finish_reason=ending(chosen.finish_reason))
    return GivenTurn(asked, answers, turn.chosen)


def _reply(reply: DraftReply, names: tuple[str, str], place: int) -> Message:
    made = Message(names[MODEL], None) if reply.content is None else _message(reply.content, "answer", names[MODEL])
    reason = prepare.label(reply.finish_reason, "finish_reason") if reply.finish_reason is not None else None
    model = prepare.label(reply.model, "model") if reply.model is not None else None
    return replace(made, side=MODEL, candidate=place, finish_reason=reason, model=model)


def _opening(opening: DraftReply | None, names: tuple[str, str]) -> Message | None:
    """Return a message before the first turn; of an erased one nothing is left to be told."""
    return None if opening is None or opening.content is None else _reply(opening, names, 0)


def _message(text: str, what: str, author: str) -> Message:
    content = clean_message(text, what)
    return Message(author, content, tokens=estimate(content))


def _example(asked: str | None, answer: str | None) -> Example:
    texts = [None if each is None else clean_message(each, "example") for each in (asked, answer)]
    return Example(texts[0], texts[1], sum(estimate(each) for each in texts if each is not None))


# ---- times


def _first_time(draft: Draft) -> datetime | None:
    """Return the first time that is told; None when none is, and nothing is known of any."""
    times = [draft.created_at, *(at for turn in draft.turns for at in (turn.asked_at, turn.answered_at))]
    return next((_whole(at) for at in times if at is not None and at >= FIRST_TIME), None)


def _told_time(at: datetime | None, dropped: Counter[str], otherwise: datetime) -> datetime:
    if at is not None and at < FIRST_TIME:
        dropped["times before 1970"] += 1
        at = None
    return otherwise if at is None else _whole(at)


def _whole(at: datetime) -> datetime:
    """Return a time in UTC, in the milliseconds in which the store has it."""
    return journal.in_milliseconds(at.astimezone(UTC))


# ---- ids, and what else tells conversations apart


def says_the_same(draft: Draft, stored: Draft) -> bool:
    """Return whether a conversation that was read tells, as far as it tells anything, what a stored one does."""
    names = ("title", "name", "context", "authors", "metadata", "examples", "model", "trim", "input_token_limit")
    told = {name: value for name in names if (value := getattr(draft, name))}
    return _said(draft) == _said(stored) and all(getattr(stored, name) == value for name, value in told.items())


def _said(draft: Draft) -> list[object]:
    """Return all that is said in a conversation, and which answers were chosen."""
    said: list[object] = [draft.opening and draft.opening.content]
    said += [(turn.message, [each.content for each in turn.replies], turn.chosen) for turn in draft.turns]
    return said


def _id(draft: Draft, owner: str, *, new_id: bool) -> str:
    if new_id:
        return str(uuid_utils.compat.uuid7())
    if draft.id is None:
        return _id_of_contents(draft, owner)
    try:
        return str(uuid.UUID(draft.id))
    except ValueError:
        raise InvalidInput("its id is no UUID") from None


def _id_of_contents(draft: Draft, owner: str) -> str:
    """Return an id that tells the contents apart, and nothing of where they were read (RFC 9562, section 5.8)."""
    digest = hashlib.sha256(b"convo/import/v1\0")
    told: list[object] = [owner, draft.name, draft.title, draft.authors, draft.context, draft.examples]
    for each in (*told, *_said(draft)):
        digest.update(json.dumps(each).encode())
    made = int.from_bytes(digest.digest()[:16])
    return str(uuid.UUID(int=made & ~(0xF << 76) & ~(0x3 << 62) | 0x8 << 76 | 0x2 << 62))
