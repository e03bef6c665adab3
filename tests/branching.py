"""What convo promises of conversations that are asked again, chosen, forked and edited, written down once more.

A reference for tests: plain lists, in memory. It shares nothing with convo but the estimate of tokens and the form of
HistoryClient's answers; it trims by dropping one part after the other.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import convo
from convo.testing import expected_reply
from convo.tokens import estimate

Said = tuple[int, str]
"""A side, 0 for the user's and 1 for the model's, and a text."""


@dataclass(frozen=True)
class Kind:
    """A model, as far as prompts are made for it."""

    limit: int
    overhead: int = 0
    user_first: bool = False


KINDS = {"wide": Kind(1000), "narrow": Kind(70), "dear": Kind(120, overhead=3), "users": Kind(80, user_first=True)}


@dataclass(frozen=True)
class Given:
    """What a model is given."""

    context: str | None
    examples: tuple[tuple[str, str], ...]
    messages: tuple[Said, ...]

    def answer(self, candidate: int) -> str:
        """Return what HistoryClient answers."""
        examples = [convo.Example(*each) for each in self.examples]
        messages = [convo.Message("", text, side=side) for side, text in self.messages]
        return expected_reply(self.context, examples, messages, candidate=candidate)


@dataclass(frozen=True)
class Sent:
    """A prompt, and what is remembered of it."""

    given: Given
    start: int
    """The position of its first message."""
    first_example: int
    tokens: int
    limit: int


@dataclass(frozen=True)
class Reply:
    """A candidate."""

    text: str
    finish: str | None
    model: str | None
    at: int
    """When it came, by its conversation's clock."""
    sent: Sent | None
    """What it was given to, if that is known."""
    is_foreign: bool = False
    """Whether that was under another context, or with other examples, than its conversation has."""


@dataclass
class Round:
    """A turn."""

    text: str
    state: str = "in_flight"
    model: str | None = None
    replies: list[Reply] = field(default_factory=list)
    chosen: int | None = None
    sent: Sent | None = None
    begun: int = 0
    is_preferred: bool = False
    """Whether the user has chosen, here, what is chosen."""


class TooLong(Exception):
    """Nothing more can be dropped."""


@dataclass
class Talk:
    """A conversation."""

    model: str = "wide"
    context: str | None = None
    examples: tuple[tuple[str, str], ...] = ()
    opening: str | None = None
    limit: int | None = None
    trim: str = "minimal"
    rounds: list[Round] = field(default_factory=list)
    parent: str | None = None
    shared: int | None = None
    clock: itertools.count[int] = field(default_factory=itertools.count)

    # ---- what is said

    def messages(self) -> list[Said]:
        """Return the conversation as it reads."""
        said: list[Said] = [] if self.opening is None else [(1, self.opening)]
        for each in self.rounds:
            said.append((0, each.text))
            said += [] if each.chosen is None else [(1, each.replies[each.chosen].text)]
        return said

    def before(self, number: int) -> list[Said]:
        """Return what was said before a turn."""
        return self.messages()[: 2 * (number - 1) + (self.opening is not None)]

    @property
    def last(self) -> Round | None:
        return self.rounds[-1] if self.rounds else None

    @property
    def is_settled(self) -> bool:
        return self.last is None or self.last.state == "done"

    # ---- what is sent

    def prompt(self, number: int, text: str, model: str, cut: int | None) -> Sent:
        """Return what is sent for `text` as turn `number`; the window began at position `cut` the last time."""
        said, kind = [*self.before(number), (0, text)], KINDS[model]
        limit, first = self.limit or kind.limit, self.first

        def cost(messages: int, examples: int) -> int:
            return cost_of(kind, Given(self.context, self.examples[examples:], tuple(said[messages:])))

        messages = examples = 0
        while cost(messages, examples) > limit:
            if messages < len(said) - 1:
                messages += 1
            elif examples < len(self.examples):
                examples += 1
            else:
                raise TooLong
        if self.trim == "stable" and not examples:
            was = 0 if cut is None else min(cut - first, len(said) - 1)
            if messages <= was:
                messages = was
            else:
                while messages < len(said) - 1 and cost(messages, 0) > int(limit * 0.75):
                    messages += 1
        if kind.user_first and messages < len(said) - 1 and said[messages][0] == 1:
            messages += 1
        given = Given(self.context, self.examples[examples:], tuple(said[messages:]))
        return Sent(given, first + messages, examples, cost(messages, examples), limit)

    @property
    def first(self) -> int:
        """The position of the first message."""
        return 1 if self.opening is None else 0

    def prompt_again(self, model: str) -> Sent:
        """Return what is sent when the last turn is asked again: what was sent for it, if that is known."""
        was, kind, number = self.rounds[-1], KINDS[model], len(self.rounds)
        if was.sent is None:
            return self.prompt(number, was.text, model, None)
        given, start, limit = was.sent.given, was.sent.start, self.limit or kind.limit
        if kind.user_first and given.messages[0][0] == 1:
            given, start = replace(given, messages=given.messages[1:]), start + 1
        tokens = cost_of(kind, given)
        if model == was.model:  # it takes again what it has taken
            tokens, limit = was.sent.tokens, was.sent.limit
        if tokens > limit:
            raise TooLong
        return Sent(given, start, was.sent.first_example, tokens, limit)

    # ---- what happens

    def begin(self, text: str, model: str) -> Sent:
        """Open the next turn."""
        cut = self.last.sent.start if self.last and self.last.sent else None
        sent = self.prompt(len(self.rounds) + 1, text, model, cut)
        self.rounds.append(Round(text, model=model, sent=sent, begun=next(self.clock)))
        return sent

    def resume(self, model: str) -> Sent:
        """Open the last turn again."""
        turn = self.rounds[-1]
        turn.sent = self.prompt(len(self.rounds), turn.text, model, turn.sent.start if turn.sent else None)
        turn.state, turn.model = "in_flight", model
        return turn.sent

    def finish(self, number: int, texts: Sequence[str]) -> None:
        """Answer an open turn."""
        turn = self.rounds[number - 1]
        turn.state, turn.chosen = "done", len(turn.replies)
        self._add(turn, texts, turn.model, turn.sent)

    def finish_again(self, texts: Sequence[str], model: str, sent: Sent) -> None:
        """Answer the last turn once more."""
        turn = self.rounds[-1]
        new = self._new(turn, texts)
        if new:
            turn.chosen, turn.is_preferred = len(turn.replies), False
        turn.sent = turn.sent or sent
        self._add(turn, new, model, sent)

    def come_late(self, turn: Round, texts: Sequence[str], model: str, sent: Sent, *, is_again: bool) -> None:
        """Keep what came when its turn was another's."""
        if any(turn is each for each in self.rounds):
            self._add(turn, self._new(turn, texts) if is_again else texts, model, sent)

    def _new(self, turn: Round, texts: Sequence[str]) -> list[str]:
        return [each for each in texts if each not in [known.text for known in turn.replies]]

    def _add(self, turn: Round, texts: Sequence[str], model: str | None, sent: Sent | None) -> None:
        at = next(self.clock)
        turn.replies += [Reply(each, "stop", model, at, sent) for each in texts]

    def fork(self, id: str, number: int, **other: object) -> Talk:
        """Return a copy up to a turn, of what was there when the turn after it began."""
        other = {name: each for name, each in other.items() if each != getattr(self, name)}
        made = replace(self, parent=id, shared=number, rounds=copy.deepcopy(self.rounds[:number]))
        made.clock = itertools.count(next(self.clock))
        until = self.rounds[number].begun if number < len(self.rounds) else None
        for each in made.rounds:
            each.is_preferred = False
            each.replies = [reply for reply in each.replies if until is None or reply.at < until]
            if "context" in other or "examples" in other:
                each.sent = each.model = None
                each.replies = [replace(reply, is_foreign=True) for reply in each.replies]
        return replace(made, **other)  # type: ignore[arg-type]


def cost_of(kind: Kind, given: Given) -> int:
    """Return how many tokens a prompt has."""
    texts = [text for pair in given.examples for text in pair] + [text for _, text in given.messages]
    texts += [given.context] if given.context else []
    return sum(estimate(each) + kind.overhead for each in texts)


def preferred(talk: Talk, number: int) -> tuple[Given, str, list[str]] | None:
    """Return to which prompt the user has preferred what to what, at a turn."""
    turn = talk.rounds[number - 1]
    if turn.chosen is None or not turn.is_preferred or turn.replies[turn.chosen].is_foreign:
        return None
    chosen = turn.replies[turn.chosen]
    of_it = [each for each in turn.replies if not each.is_foreign and _window(each) == _window(chosen)]
    others = [each.text for each in of_it if each.text != chosen.text]
    whole = Given(talk.context, talk.examples, (*talk.before(number), (0, turn.text)))
    return (chosen.sent.given if chosen.sent else whole, chosen.text, others) if others else None


def _window(reply: Reply) -> tuple[int, int] | None:
    return reply.sent and (reply.sent.start, reply.sent.first_example)
