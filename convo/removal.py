"""How texts are taken out of a store: the steps of it, transaction after transaction, for both shells.

At the end of each, what went is looked for: in the database's files, where there are any, and in other texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

from convo import erasing, prepare
from convo.audits import Erasure, Everyone, Remains
from convo.erasing import Gone
from convo.errors import ConvoError, InvalidInput, InvalidParameter, NotFound
from convo.steps import Steps, Work
from convo.store.erasing import FORGOTTEN, Place
from convo.store.ledger import utc_now
from convo.store.scrubbing import Sought
from convo.text import clean_message, clean_text
from convo.view import Opened, View

PAGE = 200
"""How many ids of conversations are read at once."""


def erasure(
    view: View, targets: Sequence[int | str], candidate: int | None, reason: str | None, *, scrub: bool
) -> Steps[Erasure]:
    """Erase texts of a conversation, and their copies."""
    wanted = list(dict.fromkeys(place for target in targets for place in erasing.places(target, candidate)))
    erasing.check_reason(reason)
    return (yield from _of_one(view, partial(erasing.erase, wanted=wanted, reason=reason), scrub=scrub))


def redaction(
    view: View, target: int | str, replacement: str, candidate: int | None, reason: str | None, *, scrub: bool
) -> Steps[Erasure]:
    """Put another text in the place of one, and of its copies."""
    wanted = erasing.places(target, candidate)
    erasing.check_reason(reason)
    if len(wanted) > 1:
        raise InvalidInput(f"an example is two texts: redact {target}:input or {target}:output")
    text = _replacement(replacement, wanted[0])
    work = partial(erasing.redact, wanted=wanted[0], text=text, reason=reason, check_limit=prepare.token_limit)
    return (yield from _of_one(view, work, scrub=scrub))


def _replacement(text: str, place: Place) -> str:
    return prepare.label(text, "title") if place.field == "title" else clean_message(text, "replacement")


def _of_one(view: View, work: Callable[..., Gone], *, scrub: bool) -> Steps[Erasure]:
    id, owner = view.record.id, view.record.owner
    gone: Gone = yield Work(partial(view.write, partial(work, id=id, owner=owner)))
    view.record = gone.record
    remains = None
    if scrub:  # what went before may not have been looked for: who erased it may have died
        remains = yield Work(partial(_look, view.store, gone.sought, owner, must_rebuild=not gone.texts))
    return Erasure(gone.texts, gone.conversations, remains)


def forgetting(store: Opened, owner: str, *, scrub: bool) -> Steps[Erasure]:
    """Erase everything of an owner, conversation by conversation; what comes to him meanwhile, too."""
    whose = prepare.owner_of(owner)
    if whose in ("", FORGOTTEN):
        raise InvalidInput("name the owner who is to be forgotten: what is nobody's is erased or deleted one by one")

    def more() -> list[tuple[str, str]]:
        return store.database.read(lambda repository: repository.ids_of(whose, None, PAGE))

    total = _Total()
    while found := (yield Work(more)):
        for id, _ in found:
            gone = yield Work(
                partial(store.database.write, partial(erasing.forget, id=id, owner=whose, room=total.room))
            )
            total.add(gone)
    if not total.conversations and not (yield Work(partial(_was_erased, store, FORGOTTEN))):
        raise NotFound(f"no conversation is {whose!r}'s: `convo --owner {whose} list` would show them")
    return (yield from total.outcome(store, whose, scrub=scrub))


def pruning(
    store: Opened, older_than: timedelta, owner: str | Everyone | None, *, dry_run: bool, scrub: bool
) -> Steps[Erasure]:
    """Erase what is older than that, conversation by conversation, or count it."""
    if not isinstance(older_than, timedelta):
        msg = f"older_than must be a timedelta, not {type(older_than).__name__}"
        raise TypeError(msg)
    if older_than < timedelta(0):
        raise InvalidParameter(f"older_than must be at least 0, not {older_than}")
    whose = None if isinstance(owner, Everyone) else prepare.owner_of(owner)
    try:
        before = utc_now() - older_than
    except OverflowError:
        raise InvalidParameter(f"older_than is too long: {older_than}") from None
    total, last = _Total(), None

    def more() -> list[tuple[str, str]]:
        return store.database.read(lambda repository: repository.ids_of(whose, last, PAGE, before))

    while found := (yield Work(more)):
        for id, of in found:
            if dry_run:
                count = partial(erasing.prunable, id=id, owner=of, before=before)
                total.count((yield Work(partial(store.database.read, count))))
            else:
                prune = partial(erasing.prune, id=id, owner=of, before=before, room=total.room)
                total.add((yield Work(partial(store.database.write, prune))))
        last = found[-1][0]
    scrub = scrub and not dry_run and bool(total.texts or (yield Work(partial(_was_erased, store, whose))))
    return (yield from total.outcome(store, whose, scrub=scrub))


def scrubbing(store: Opened, texts: Sequence[str]) -> Steps[Remains]:
    """Look for texts that went; where there are none to look for, the files are rebuilt unseen."""
    sought = Sought()
    given = [texts] if isinstance(texts, str | bytes) else texts
    sought.add(Sought([clean_text(each, "what is looked for") for each in given]))
    remains: Remains = yield Work(partial(store.database.scrub, sought, None, must_rebuild=not sought.texts))
    return remains


class _Total:
    """What went so far."""

    def __init__(self) -> None:
        self.texts = self.conversations = 0
        self._sought = Sought()

    @property
    def room(self) -> int:
        return self._sought.room

    def add(self, gone: Gone | None) -> None:
        if gone is not None:
            self.texts += gone.texts
            self.conversations += gone.conversations
            self._sought.add(gone.sought)

    def count(self, texts: int) -> None:
        self.texts += texts
        self.conversations += bool(texts)

    def outcome(self, store: Opened, owner: str | None, *, scrub: bool) -> Steps[Erasure]:
        remains = None
        if scrub:
            remains = yield Work(partial(_look, store, self._sought, owner, must_rebuild=True))
        return Erasure(self.texts, self.conversations, remains)


def _was_erased(store: Opened, owner: str | None) -> bool:
    """Return whether something of an owner's, or of anybody's, was erased: its bytes may still be there."""
    return store.database.read(lambda repository: repository.has_erasures(owner))


def _look(store: Opened, sought: Sought, owner: str | None, *, must_rebuild: bool = False) -> Remains:
    """Look for what is erased already, in an owner's texts or in all; an error must not say that it is not."""
    try:
        return store.database.scrub(sought, owner, must_rebuild=must_rebuild)
    except ConvoError as error:
        error.add_note("what was to be erased is erased; scrub() looks once more for what is left in the files")
        raise
