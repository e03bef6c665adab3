"""The turns of a conversation, as its journal tells of them: what `replay` makes, and `verifying` compares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from convo.values import BROKEN_OFF, IN_FLIGHT, MODEL, USER

Body = dict[str, Any]
"""What an event tells."""

Field = Sequence[Any]
"""A reference to one text: ["content", turn, side, candidate], ["input", example], ["output", example], ["context"] or
["title"]."""

_SETTINGS = (
    *("model", "parameters", "input_token_limit", "trim", "title", "labels"),
    *("context", "context_tokens", "examples", "example_tokens"),
)


class ToldPrompt(NamedTuple):
    """A prompt, as events tell of it."""

    digest: str | None
    start: int
    """The position of its first message."""
    first_example: int
    tokens: int
    limit: int

    @classmethod
    def of(cls, body: Body) -> ToldPrompt:
        """Return the prompt that an event, or a part of one, tells of."""
        return cls(body.get("prompt"), *body["window"])


class Sent(NamedTuple):
    """What was asked of a model, and which one it was."""

    prompt: ToldPrompt
    model: str | None
    parameters: Body


@dataclass(slots=True)
class ToldText:
    """A text of a turn, as events tell of it."""

    text: str | None
    """The commitment to it; None once it was erased."""
    tokens: int | None = None
    at: str = ""
    """When it was stored."""
    place: int = 0
    """Which one of its answer it was."""
    prompt: ToldPrompt | None = None
    """What was sent for it; None for a text that was given, and for a user's."""
    finish: str | None = None
    """Why it ends where it ends."""
    repaired: int = 0
    model: str | None = None
    """Who gave it, where that is another one than the turn's model."""
    is_first: bool = True
    """Whether none was replaced by it: then a request's key is sealed with its salt."""

    @property
    def is_rewritten(self) -> bool:
        """Whether it was erased, or is not the text that was there first."""
        return self.text is None or not self.is_first

    @property
    def is_partial(self) -> bool:
        """Whether it is what came of an answer that broke off, and so is none."""
        return self.finish in BROKEN_OFF


@dataclass(slots=True)
class ToldTurn:
    """A turn, as events tell of it."""

    number: int
    state: str
    fence: int
    at: str = ""
    """When it began."""
    question: ToldText | None = None
    """The user's text; None only for turn 0, the opening."""
    candidates: list[ToldText] = field(default_factory=list)
    repeated: list[tuple[int, ToldText]] = field(default_factory=list)
    """The candidates that were said once more, by index, with their places in the later answers."""
    chosen: int | None = None
    sent: dict[int, Sent] = field(default_factory=dict)
    """What was sent under each fence."""
    prompt: ToldPrompt | None = None
    """What it remembers of having been sent; None in a given history."""
    model: str | None = None
    parameters: Body | None = None
    served_by: str | None = None
    usage: Sequence[int | None] = (None, None)
    latency_ms: int | None = None
    error: str | None = None
    ended: str | None = None
    """When it was finished, or failed."""
    request: tuple[str, str] | None = None
    """The commitment to its request key, and the digest of its request."""
    is_reconsidered: bool = False
    """Whether its user has chosen, or asked for and got, another answer than he was told first."""
    is_asked_again: bool = False
    """Whether it has an answer, and somebody has begun to ask for another one."""

    @property
    def is_held(self) -> bool:
        """Whether somebody has its lease."""
        return self.state == IN_FLIGHT or self.is_asked_again

    def texts(self) -> Iterator[ToldText]:
        """Yield the user's text, and then the candidates by index."""
        if self.question is not None:
            yield self.question
        yield from self.candidates

    def prompt_under(self, fence: int) -> ToldPrompt | None:
        """Return what was sent under a fence; None when no attempt had it."""
        sent = self.sent.get(fence)
        return None if sent is None else sent.prompt

    def replace(self, fields: Iterable[tuple[Field, str, int]]) -> None:
        """Take notice of other texts in the place of its own, as an event lists them.

        Raises:
            LookupError: it had no text there, or that was erased.
        """
        for (what, *place), text, tokens in fields:
            if what == "content" and place[0] == self.number:
                said = self._text(place)
                if said.text is None:
                    raise LookupError
                said.text, said.tokens, said.is_first = text, tokens, False

    def erase(self, fields: Iterable[Field], ranges: Iterable[Sequence[int]] = ()) -> None:
        """Take notice of erased texts of its own, one by one or by ranges of turns, as an event lists them.

        Raises:
            LookupError: it had no text there.
        """
        for what, *place in fields:
            if what == "content" and place[0] == self.number:
                self._text(place).text = None
        if any(first <= self.number <= last for first, last in ranges):
            for said in self.texts():
                said.text = None

    def _text(self, place: Sequence[int]) -> ToldText:
        _, side, candidate = place
        said = self.text_at(side, candidate)
        if said is None:
            raise LookupError
        return said

    def forget_prompt(self) -> None:
        """Be a turn of a given history, as under another context: the candidates tell their model by themselves."""
        for each in self.candidates:
            each.model, each.prompt = each.model or self.model, None
        self.prompt = self.model = self.parameters = self.served_by = self.latency_ms = None
        self.usage = (None, None)
        self.repeated.clear()

    def places(self) -> set[tuple[int, int]]:
        """Return the sides and the candidates of its texts."""
        asked = {(USER, 0)} if self.question is not None else set()
        return asked | {(MODEL, index) for index in range(len(self.candidates))}

    def text_at(self, side: int, candidate: int) -> ToldText | None:
        """Return one text of it; None when there is none of that place."""
        if side == MODEL:
            return self.candidates[candidate] if 0 <= candidate < len(self.candidates) else None
        return self.question if (side, candidate) == (USER, 0) else None


def history_texts(body: Body) -> list[ToldText]:
    """Return the texts of a turn that was given: the user's, and the answers by candidate.

    Raises:
        ValueError: it tells of no texts, or not of as many of each.
    """
    began, ended = body.get("times", (body["at"], body["at"]))
    count = len(body["texts"])
    others = count - 1
    told = zip(
        body["texts"],
        body["tokens"],
        [began, *[ended] * others],
        [0, *range(others)],
        [None, *body.get("finish", [None] * others)],
        body.get("repaired", [0] * count),
        [None, *body.get("models", [None] * others)],
        strict=True,
    )
    return [ToldText(text, tokens, at, place, None, *rest) for text, tokens, at, place, *rest in told]


class ToldSettings:
    """What belongs to no turn, as events told it last."""

    def __init__(self) -> None:
        self.values: Body = {}
        """By name; the context, the title and the examples as commitments, the labels as one."""
        self.erased: set[str] = set()
        """Which of context and title are gone."""
        self.is_rewritten = False
        """Whether the context or an example was erased, or replaced by another text."""

    def set(self, told: Body) -> None:
        """Take notice of what an event tells of them.

        Raises:
            ValueError, TypeError: it tells of no examples, or not of the tokens of each.
        """
        self.values |= {name: told[name] for name in _SETTINGS if name in told}
        if "examples" in told:
            self.values["examples"] = [[asked, answered] for asked, answered in told["examples"]]
            if len(told["example_tokens"]) != len(told["examples"]):
                raise ValueError
        self.erased.difference_update(told)

    def replace(self, fields: Iterable[tuple[Field, str, int | None]]) -> None:
        """Take notice of other texts in the place of these, as an event lists them.

        Raises:
            LookupError, ValueError: there was none.
        """
        for each, text, tokens in fields:
            self._change(each, text)
            if each[0] == "context":
                self.values["context_tokens"] = tokens
            elif each[0] in ("input", "output"):
                self.values["example_tokens"][each[1]] = tokens

    def erase(self, fields: Iterable[Field]) -> None:
        """Take notice of erased texts, as an event lists them.

        Raises:
            LookupError, ValueError: there was none.
        """
        for each in fields:
            self._change(each, None)
            if each[0] in ("context", "title"):
                self.erased.add(each[0])

    def _change(self, changed: Field, text: str | None) -> None:
        what, *place = changed
        self.is_rewritten = self.is_rewritten or what in ("context", "input", "output")
        if what in ("context", "title"):
            if self.values[what] is None:
                raise LookupError(what)
            self.values[what] = text
        elif what in ("input", "output"):
            pair = self.values["examples"][place[0]]
            if pair[what == "output"] is None:
                raise LookupError(what)
            pair[what == "output"] = text
        elif what != "content":
            raise ValueError(what)
