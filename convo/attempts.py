"""What the journal tells of the attempts at a turn, and of what became of texts: read from events alone.

An event of a kind that is not known here, and a key of one that is, tell of something else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from convo.audits import BEGIN, ERASED, REDACTED, REGENERATE, RESUME, SHORTENED, Field
from convo.values import MODEL, USER, Event, Message

Body = Mapping[str, Any]
Value = TypeVar("Value")

CONTEXT: Field = ("context",)

_OF_TURN = (BEGIN, RESUME, REGENERATE, "history", "finish", "fail", "late", "discard")
"""The kinds of events that tell of one turn."""


@dataclass(frozen=True, slots=True)
class ToldAttempt:
    """An attempt at a turn, as the journal tells of it; or one that would be the next."""

    number: int
    """Of the event that tells of it; what that event and later ones did to texts, it did not see."""
    since: int
    """Of the event that began the attempt: an earlier one, of a shortened prompt."""
    kind: str
    at: datetime | None
    turn: int
    model: str
    asked_as: str
    overhead: int
    is_user_first: bool
    """Whether the service wanted the user to speak first."""
    parameters: Body
    """As they stand in event bodies."""
    streamed: bool
    start: int
    """The position of the first message."""
    first_example: int
    """The position of the first example; their number when there was none."""
    tokens: int
    limit: int
    digest: str | None
    refused: bool = False


class Attempts:
    """The attempts at a turn, in the journal's order; those before it was discarded were at another one."""

    def __init__(self, events: Iterable[Event], turn: int) -> None:
        self.all: list[ToldAttempt] = []
        self._turn = turn
        self._of_fence: dict[int, int] = {}
        self._answers: list[int | None] = []
        """The place of the attempt that each candidate came of; None of one that was given."""
        for each in events:
            if each.kind in _OF_TURN and (body := json.loads(each.body))["turn"] == turn:
                self._take(each, body)

    def of_choice(self, chosen: int | None) -> int:
        """Return the place of the attempt that the chosen answer came of, else of the last one."""
        given_by = self._answers[chosen] if chosen is not None and chosen < len(self._answers) else None
        return len(self.all) - 1 if given_by is None else given_by

    def _take(self, event: Event, body: Body) -> None:
        if event.kind in (BEGIN, RESUME, REGENERATE):
            self._of_fence[body["fence"]] = len(self.all)
            self.all.append(_begun(event, body))
        elif event.kind == "discard":
            self.all, self._of_fence, self._answers = [], {}, []
        elif event.kind == "history":
            self._answers += [None] * len(body["texts"][1:])
        elif event.kind in ("finish", "fail", "late") and body["fence"] in self._of_fence:
            if "refused" in body:
                self._shorten(event, body)
            self._answers += [self._of_fence[body["fence"]]] * len(body.get("candidates", ()))

    def _shorten(self, event: Event, body: Body) -> None:
        place = self._of_fence[body["fence"]]
        before = self.all[place]
        self.all[place] = replace(before, refused=True)
        self._of_fence[body["fence"]] = len(self.all)
        when: dict[str, Any] = {"number": event.number, "kind": SHORTENED, "at": _time(body)}
        self.all.append(replace(before, **when, **_prompt(body)))


def _begun(event: Event, body: Body) -> ToldAttempt:
    return ToldAttempt(
        number=event.number,
        since=event.number,
        kind=event.kind,
        at=_time(body),
        turn=body["turn"],
        model=_checked(str, body["model"]),
        asked_as=_checked(str, body.get("as", body["model"])),
        overhead=_checked(int, body.get("overhead", 0)),
        is_user_first=body.get("user_first", False),
        parameters=body.get("parameters", {}),
        streamed=body.get("stream", False),
        **_prompt(body),
    )


def _prompt(body: Body) -> dict[str, Any]:
    start, first_example, tokens, limit = (_checked(int, each) for each in body["window"])
    told = {"start": start, "first_example": first_example, "tokens": tokens, "limit": limit}
    return told | {"digest": _checked(str, body["prompt"])}


def _checked(kind: type[Value], value: Any) -> Value:  # noqa: ANN401 - whatever stands in an event
    if not isinstance(value, kind):
        msg = f"an event has a {type(value).__name__} where a {kind.__name__} belongs"
        raise TypeError(msg)
    return value


def _time(body: Body) -> datetime:
    return datetime.fromisoformat(body["at"])


def ref_of(message: Message) -> Field:
    """Return the reference to a stored message."""
    return "content", message.turn or 0, message.side, message.candidate


class Change(NamedTuple):
    """What an event did to a text."""

    number: int
    commitment: str | None
    """To the text that took its place; None when it was taken away."""
    tokens: int | None = None
    is_anew: bool = False
    """Whether another text stands there from then on, of which others have to tell."""


class Fates:
    """What became of texts after they were told of: which were taken away, or replaced, by which events."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._changes: dict[Field, list[Change]] = {}
        self._turns: list[tuple[Change, int, int]] = []
        self._anew: dict[str, list[int]] = {"context": [], "examples": []}
        self._nameless: list[int] = []
        for each in events:
            if each.kind in ("erase", "redact", "fork", "discard"):
                getattr(self, f"_{each.kind}")(each.number, json.loads(each.body))

    def _erase(self, number: int, body: Body) -> None:
        for each in body.get("fields", ()):
            self._change(each, Change(number, None))
        self._turns += [(Change(number, None), first, last) for first, last in body.get("turns", ())]
        self._nameless += [number] if "labels" in body else []

    def _redact(self, number: int, body: Body) -> None:
        for each, commitment, tokens in body["fields"]:
            self._change(each, Change(number, commitment, tokens))

    def _fork(self, number: int, body: Body) -> None:
        for what in self._anew.keys() & body.keys():
            self._anew[what].append(number)
        self._redact(number, {"fields": body.get("redacted", ())})
        self._erase(number, {"fields": body.get("erased", ())})

    def _discard(self, number: int, body: Body) -> None:
        self._turns.append((Change(number, None, is_anew=True), body["turn"], body["turn"]))

    def _change(self, ref: Sequence[Any], change: Change) -> None:
        self._changes.setdefault(tuple(ref), []).append(change)

    def of(self, ref: Field) -> list[Change]:
        """Return what became of a text, in order."""
        if ref[0] == "content":
            found = [change for change, first, last in self._turns if first <= int(ref[1]) <= last]
        else:
            anew = self._anew["context" if ref == CONTEXT else "examples"]
            found = [Change(number, None, is_anew=True) for number in anew]
        return sorted([*found, *self._changes.get(ref, ())], key=lambda each: each.number)

    def since_anew(self, ref: Field) -> list[Change]:
        """Return what became of the text that stands there now, in order: nothing of one that stood there before it."""
        found = self.of(ref)
        return found[max((place for place, each in enumerate(found, 1) if each.is_anew), default=0) :]

    def before(self, ref: Field, number: int) -> Change | None:
        """Return the last change of a text before event `number`; None when it was as it was first told."""
        found = [each for each in self.of(ref) if each.number < number]
        return found[-1] if found and not found[-1].is_anew else None

    def was_erased(self, ref: Field, number: int) -> bool:
        """Return whether a text was gone already at event `number`."""
        change = self.before(ref, number)
        return change is not None and change.commitment is None

    def gone(self, ref: Field, number: int) -> str | None:
        """Return what became of a text from event `number` on: ERASED, REDACTED, or None."""
        found = [each for each in self.of(ref) if each.number >= number and not each.is_anew]
        return None if not found else ERASED if found[-1].commitment is None else REDACTED

    def is_foreign(self, number: int) -> bool:
        """Return whether event `number` is of a conversation that had another context, or other examples."""
        return any(each > number for numbers in self._anew.values() for each in numbers)

    def is_nameless(self, number: int) -> bool:
        """Return whether the authors' names were taken away after event `number`."""
        return any(each > number for each in self._nameless)

    def has_erased(self, number: int) -> bool:
        """Return whether a message may have been gone at event `number`."""
        found = [(ref[0], each) for ref, changes in self._changes.items() for each in changes]
        found += [("content", each) for each, _, _ in self._turns if not each.is_anew]
        return any(kind == "content" and each.commitment is None and each.number < number for kind, each in found)

    def between(self, since: int, number: int) -> list[int]:
        """Return the numbers of the events from `since` to before `number` that changed a text, latest first."""
        changes = [each for found in self._changes.values() for each in found]
        changes += [each for each, _, _ in self._turns]
        return sorted({each.number for each in changes if since < each.number < number}, reverse=True)


class Told(NamedTuple):
    """A text, as an event told of it first."""

    commitment: str | None
    tokens: int | None = None


def told_texts(events: Iterable[Event]) -> dict[Field, Told]:
    """Return what events tell of the texts that they bring: all events of their turns, in order."""
    told: dict[Field, Told] = {}
    counts: dict[int, int] = {}
    for each in events:
        body = json.loads(each.body)
        if each.kind in ("create", "fork"):
            if "examples" in body:
                told = {ref: text for ref, text in told.items() if ref[0] not in ("input", "output")}
            told |= dict(_first_texts(body))
            continue
        turn = body.get("turn")
        if each.kind == "discard":
            told = {ref: text for ref, text in told.items() if ref[:2] != ("content", turn)}
            counts.pop(turn, None)
        elif each.kind == "begin":
            told["content", turn, USER, 0] = Told(body["text"], body["tokens"])
        elif each.kind == "history":
            asked, *answers = map(Told, body["texts"], body["tokens"])
            told["content", turn, USER, 0] = asked
            _add(told, counts, turn, answers)
        elif each.kind in ("finish", "fail", "late"):
            _add(told, counts, turn, [Told(new["text"], new["tokens"]) for new in body.get("candidates", ())])
    return told


def _add(told: dict[Field, Told], counts: dict[int, int], turn: int, answers: Iterable[Told]) -> None:
    for each in answers:
        told["content", turn, MODEL, counts.get(turn, 0)] = each
        counts[turn] = counts.get(turn, 0) + 1


def _first_texts(body: Body) -> Iterator[tuple[Field, Told]]:
    if "context" in body:
        yield CONTEXT, Told(body["context"], body["context_tokens"])
    counts = body.get("example_tokens", ())
    for position, ((asked, answered), tokens) in enumerate(zip(body.get("examples", ()), counts, strict=True)):
        yield ("input", position), Told(asked, tokens)
        yield ("output", position), Told(answered, tokens)
    if body.get("opening") is not None:
        yield ("content", 0, MODEL, 0), Told(body["opening"], body.get("opening_tokens"))
