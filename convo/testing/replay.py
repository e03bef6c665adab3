"""What a journal tells of the turns of its conversation, worked out from its events alone.

Whoever changes a conversation appends an event in the same transaction; so the turns that come out here must be those
that are stored, and an event that could not have happened where it stands is a fault.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from convo.values import BROKEN_OFF, DONE, FAILED, IN_FLIGHT, Event

Body = dict[str, Any]

SETTINGS = ("model", "parameters", "input_token_limit", "trim", "context", "examples", "title", "labels")
"""What a journal tells of its conversation beside the turns."""


@dataclass(slots=True)
class ToldCandidate:
    """A reply, as events tell of it."""

    text: str | None
    """The commitment to it."""
    place: int = 0
    """Which one of its answer it was."""
    prompt: ToldPrompt | None = None
    """What was sent for it; None for a text that was given."""
    finish: str | None = None
    """Why it ends where it ends."""

    @property
    def is_partial(self) -> bool:
        """Whether it is what came of an answer that broke off, and so is none."""
        return self.finish in BROKEN_OFF


class ToldPrompt(NamedTuple):
    """A prompt, as events tell of it."""

    digest: str | None
    start: int
    """The position of its first message."""
    first_example: int
    tokens: int
    limit: int


@dataclass(slots=True)
class ToldTurn:
    """A turn, as events tell of it."""

    state: str
    fence: int
    text: str | None = None
    """The commitment to the user's."""
    candidates: list[ToldCandidate] = field(default_factory=list)
    repeated: list[tuple[int, ToldCandidate]] = field(default_factory=list)
    """The candidates that were said once more, by index, with their places in the later answers."""
    chosen: int | None = None
    sent: dict[int, ToldPrompt] = field(default_factory=dict)
    """What was sent under each fence."""
    prompt: ToldPrompt | None = None
    """What it remembers of having been sent; None in a given history."""
    is_reconsidered: bool = False
    """Whether its user has chosen, or asked for and got, another answer than he was told first."""
    is_asked_again: bool = False
    """Whether it has an answer, and somebody has begun to ask for another one."""

    @property
    def is_held(self) -> bool:
        """Whether somebody has its lease."""
        return self.state == IN_FLIGHT or self.is_asked_again


class Replay:
    """The turns after all events, by number; and what is wrong with the events, as texts."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.turns: dict[int, ToldTurn] = {}
        self.fence = 0
        self.settings: Body = {}
        """The SETTINGS as they were told last."""
        self.late = 0
        """How many answers came after their turn was taken over."""
        self.faults: list[str] = []
        for each in events:
            apply: Callable[[Body], object] = getattr(self, f"_{each.kind}", self._unknown)
            before = len(self.faults)
            apply(json.loads(each.body))
            self.faults[before:] = [f"event {each.number} ({each.kind}): {fault}" for fault in self.faults[before:]]

    @property
    def last(self) -> int:
        """The number of the last turn; 0 when there is none."""
        return max(self.turns, default=0)

    def _unknown(self, body: Body) -> None:  # noqa: ARG002 - one signature for all kinds
        self.faults.append("no event is of this kind")

    def _expect(self, is_so: bool, fault: str) -> None:
        if not is_so:
            self.faults.append(fault)

    def _create(self, body: Body) -> None:
        self._expect(not self.turns, "the conversation was there already")
        self._set(body)
        if body["opening"] is not None:
            self.fence = 1
            self.turns[0] = ToldTurn(DONE, 1, candidates=[ToldCandidate(body["opening"])], chosen=0)

    def _history(self, body: Body) -> None:
        self._expect(body["turn"] == self.last + 1, f"turn {body['turn']} follows turn {self.last}")
        asked, *answers = body["texts"]
        self.fence = 1
        ends = body.get("finish", [None] * len(answers))
        candidates = [
            ToldCandidate(each, place, finish=end) for place, (each, end) in enumerate(zip(answers, ends, strict=True))
        ]
        self.turns[body["turn"]] = ToldTurn(DONE, 1, asked, candidates, chosen=body.get("chosen", 0))

    def _update(self, body: Body) -> None:
        """Nothing of a turn changes."""
        self._set(body["changes"])

    def _set(self, told: Body) -> None:
        self.settings |= {name: each for name, each in told.items() if name in SETTINGS}

    def _begin(self, body: Body) -> None:
        number, last = body["turn"], self.turns.get(self.last)
        self._expect(number == self.last + 1, f"turn {number} follows turn {self.last}")
        self._expect(last is None or last.state == DONE, f"turn {self.last} was open when turn {number} began")
        self._give_up()
        self._attempt(ToldTurn(IN_FLIGHT, 0, body["text"]), body)

    def _resume(self, body: Body) -> None:
        turn = self._open(body)
        turn.state = IN_FLIGHT
        self._attempt(turn, body)

    def _regenerate(self, body: Body) -> None:
        turn = self.turns.get(body["turn"]) or self._nothing(body)
        self._expect(body["turn"] == self.last and turn.state == DONE, "a turn was asked again that had no answer")
        if turn.prompt is not None:
            was, sent = turn.prompt, _prompt(body)
            starts = (was.start, was.start + 1) if was.start % 2 == 0 else (was.start,)  # a model may want users first
            is_same = sent.start in starts and sent.first_example == was.first_example
            self._expect(is_same, "a turn was asked again with another prompt than it had")
        self._attempt(turn, body)
        turn.is_asked_again = True

    def _fork(self, body: Body) -> None:
        is_settled = not self.turns or self.turns[self.last].state == DONE
        self._expect(
            body["turn"] == self.last and is_settled,
            f"it was forked at turn {body['turn']}, and turn {self.last} is the last, or open",
        )
        self._give_up()
        self._expect(body["fence"] >= self.fence, f"fence {body['fence']} was the last, after fence {self.fence}")
        self.fence = body["fence"]
        self._set(body)
        if "context" in body or "examples" in body:  # what was answered before was answered to others
            for turn in self.turns.values():
                turn.prompt = None
                turn.repeated.clear()
                for each in turn.candidates:
                    each.prompt = None

    def _give_up(self) -> None:
        """Let whoever asks the last turn again have died: its answer stands, and another turn follows."""
        if self.turns:
            self.turns[self.last].is_asked_again = False

    def _attempt(self, turn: ToldTurn, body: Body) -> None:
        self._expect(body["fence"] > self.fence, f"fence {body['fence']} was given out after fence {self.fence}")
        turn.fence = self.fence = body["fence"]
        turn.sent[turn.fence] = _prompt(body)
        if turn.state == IN_FLIGHT:
            turn.prompt = turn.sent[turn.fence]
        self.turns[body["turn"]] = turn

    def _finish(self, body: Body) -> None:
        turn = self._close(body)
        self._sent_again(turn, body)
        if turn.state == IN_FLIGHT or turn.prompt is None:
            turn.prompt = turn.sent.get(body["fence"])
        repeats = body.get("repeats", ())
        texts = [each["text"] for each in body["candidates"]]
        first = len(turn.candidates) if texts else turn.chosen
        self._expect(body["chosen"] == first, "the chosen candidate is not the first of this answer")
        self._expect(turn.state == DONE or not repeats, "an answer was not stored, though there was none before")
        self._expect(bool(texts or repeats), "there was an answer, and it has no text")
        turn.is_reconsidered = turn.is_reconsidered or (turn.state == DONE and bool(texts))
        turn.state, turn.chosen = DONE, body["chosen"]
        self._add(turn, body)
        self._expect_whole(turn)

    def _sent_again(self, turn: ToldTurn, body: Body) -> None:
        """Take notice of a shorter prompt that was answered in the place of the one that the turn began with."""
        if "refused" in body:
            self._expect(
                _prompt(body["refused"]) == turn.sent.get(body["fence"]), "another prompt was refused than was sent"
            )
            turn.sent[body["fence"]] = _prompt(body)

    def _fail(self, body: Body) -> None:
        turn = self._close(body)
        self._sent_again(turn, body)
        turn.state = FAILED if turn.state == IN_FLIGHT else turn.state
        self._add(turn, {"candidates": [], **body})

    def _late(self, body: Body) -> None:
        turn = self.turns.get(body["turn"])
        self.late += 1
        held = turn is not None and turn.is_held and turn.fence == body["fence"]
        self._expect(not held, "an answer was late though nobody had taken its turn over")
        if "candidates" in body:
            turn = turn or self._nothing(body)
            self._sent_again(turn, body)
            self._add(turn, body)

    def _discard(self, body: Body) -> None:
        turn = self._open(body)
        texts = [turn.text, *(each.text for each in turn.candidates)]
        self._expect(texts == body["texts"], "other texts went than there were")
        self.turns.pop(body["turn"], None)

    def _choose(self, body: Body) -> None:
        turn = self.turns.get(body["turn"]) or self._nothing(body)
        is_open = body["turn"] == self.last and turn.state == DONE
        self._expect(is_open, "another candidate was chosen of a turn that is not the last, or open")
        self._expect(0 <= body["chosen"] < len(turn.candidates), "a candidate was chosen that was not there")
        turn.chosen, turn.is_reconsidered = body["chosen"], True
        self._give_up()
        self._expect_whole(turn)

    def _expect_whole(self, turn: ToldTurn) -> None:
        chosen = [each for index, each in enumerate(turn.candidates) if index == turn.chosen]
        self._expect(not any(each.is_partial for each in chosen), "a text was chosen that broke off")

    def _open(self, body: Body) -> ToldTurn:
        turn = self.turns.get(body["turn"]) or self._nothing(body)
        self._expect(body["turn"] == self.last and turn.state != DONE, f"turn {body['turn']} was not the open one")
        return turn

    def _close(self, body: Body) -> ToldTurn:
        turn = self.turns.get(body["turn"]) or self._nothing(body)
        self._expect(body["turn"] == self.last, f"turn {body['turn']} was not the last one")
        self._expect(turn.is_held, f"turn {body['turn']} was not being answered")
        self._expect(turn.fence == body["fence"], f"fence {body['fence']} ended what fence {turn.fence} held")
        turn.is_asked_again = False
        return turn

    def _add(self, turn: ToldTurn, body: Body) -> None:
        """Take notice of new texts, and of those of the same answer that were there before."""
        sent = turn.sent.get(body["fence"])
        self._expect(sent is not None, f"no attempt had fence {body['fence']}")
        repeats = dict(body.get("repeats", ()))
        for place, index in repeats.items():
            was = turn.candidates[index] if 0 <= index < len(turn.candidates) else None
            self._expect(was is not None and not was.is_partial, f"candidate {index} was repeated, and is not there")
            if was is not None:
                turn.repeated.append((index, ToldCandidate(was.text, place, sent, was.finish)))
        places = (place for place in itertools.count() if place not in repeats)
        for place, each in zip(places, body["candidates"], strict=False):
            turn.candidates.append(ToldCandidate(each["text"], place, sent, each.get("finish")))

    def _nothing(self, body: Body) -> ToldTurn:
        self.faults.append(f"there was no turn {body['turn']}")
        return ToldTurn(IN_FLIGHT, 0)


def _prompt(body: Body) -> ToldPrompt:
    return ToldPrompt(body.get("prompt"), *body["window"])
