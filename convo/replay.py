"""What a journal tells of its conversation, worked out from its events alone.

Whoever changes a conversation appends an event in the same transaction; so what comes out here must be what is
stored, and an event that could not have happened where it stands is a fault.

Events are given one by one, in order. The last two turns may still change, all others are told for good, but for
afterthoughts: an answer that came late, texts that were erased or replaced, and what a fork leaves behind. Whoever
knows these beforehand can settle turn after turn, and needs no memory for the length of a conversation.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Sequence

from convo.afterthoughts import Afterthoughts
from convo.told import Body, Field, Sent, ToldPrompt, ToldSettings, ToldText, ToldTurn, history_texts
from convo.values import DONE, FAILED, IN_FLIGHT, MODEL, UNANSWERED, Event

OPEN_TURNS = 2
"""How many turns at the end may still change: when the last one is discarded, the one before is the last again."""

KINDS = (
    *("create", "history", "fork", "update", "begin", "resume", "regenerate", "finish", "fail", "late", "discard"),
    *("choose", "redact", "erase"),
)

_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What comes of an event that convo never wrote."""

_decode = json.JSONDecoder().raw_decode


class Replay:
    """The conversation after all events that were taken; and what is wrong with them."""

    def __init__(self, events: Iterable[Event] = (), *, afterthoughts: Afterthoughts | None = None) -> None:
        """Take `events`; `afterthoughts` are those of the whole journal, and needed by settle() only."""
        self.turns: dict[int, ToldTurn] = {}
        """By number: all that were not settled."""
        self.last = 0
        """The number of the last turn; 0 when there is none."""
        self.has_opening = False
        self.fence = 0
        self.settings = ToldSettings()
        self.began = self.changed = ""
        """When the conversation was created, or forked; and when it changed last."""
        self.conversation: str | None = None
        """Its id."""
        self.forked: tuple[str | None, int | None] = (None, None)
        """From which conversation, and after which turn."""
        self.late = 0
        """How many answers came after their turn was taken over."""
        self.redacted = 0
        """How often a text was replaced by another one."""
        self.faults: list[tuple[int, str]] = []
        """What is wrong with which event."""
        self._afterthoughts = afterthoughts or Afterthoughts()
        self._is_erased = False
        """Whether a text was erased that may have been sent."""
        self._number = 0
        for each in events:
            self.take(each.number, each.kind, each.body)

    def take(self, number: int, kind: str, body: bytes) -> None:
        """Take the next event."""
        self._number = number
        try:
            told = _read(body)
            if kind not in ("erase", "redact"):  # nobody did anything in the conversation
                self.changed = told["at"]
            apply: Callable[[Body], object] = getattr(self, f"_{kind}") if kind in KINDS else self._unknown
            apply(told)
        except _UNREADABLE:
            self._fault("it cannot be read")

    def settle(self) -> ToldTurn:
        """Take the oldest turn out, as it is told by the whole journal."""
        turn, now = self.turns.pop(next(iter(self.turns))), self._number
        for self._number, kind, body in self._afterthoughts.of(turn.number, now):  # noqa: B020 - of whom faults are told
            try:
                self._retouch(turn, kind, body)
            except _UNREADABLE:
                self._fault(f"it tells of a text of turn {turn.number} that was not there")
        self._number = now
        return turn

    # ---- how a conversation begins

    def _create(self, body: Body) -> None:
        if self.turns or self.last:
            self._fault("the conversation was there already")
        self.settings.set(body)
        self.conversation = body["conversation"]
        at = self.began = self.changed = str(body.get("since", body["at"]))
        if body["opening"] is not None:
            self.fence, self.has_opening = 1, True
            said = ToldText(body["opening"], body.get("opening_tokens"), at)
            self.turns[0] = ToldTurn(0, DONE, 1, at, None, [said], chosen=0, ended=at)

    def _history(self, body: Body) -> None:
        number, last = body["turn"], self.turns.get(self.last)
        if number != self.last + 1:
            self._fault(f"turn {number} follows turn {self.last}")
        if last is not None and last.state != DONE:
            self._fault(f"turn {self.last} was open when turn {number} began")
        asked, *answers = history_texts(body)
        began, self.changed = body.get("times", (body["at"], body["at"]))
        self.fence, self.last = 1, number
        chosen = body.get("chosen", 0) if answers else None
        turn = ToldTurn(number, DONE, 1, began, asked, answers, chosen=chosen, ended=self.changed)
        if chosen is None:
            turn.state, turn.error = FAILED, UNANSWERED
        elif not 0 <= chosen < len(answers):
            self._fault("a candidate was chosen that was not there")
        self.turns[number] = turn

    def _fork(self, body: Body) -> None:
        last = self.turns.get(self.last)
        if body["turn"] != self.last or (last is not None and last.state != DONE):
            self._fault(f"it was forked at turn {body['turn']}, and turn {self.last} is the last, or open")
        self._give_up()
        if body["fence"] < self.fence:
            self._fault(f"fence {body['fence']} was the last, after fence {self.fence}")
        self.fence = body["fence"]
        self.conversation, self.began = body["conversation"], body["at"]
        self.forked = body["from"], body["turn"]
        self.settings.set(body)
        self._take_away("fork", body, body.get("redacted", ()), body.get("erased", ()))

    def _update(self, body: Body) -> None:
        """Nothing of a turn changes."""
        self.settings.set(body["changes"])

    # ---- how a turn is answered

    def _begin(self, body: Body) -> None:
        number, last = body["turn"], self.turns.get(self.last)
        if number != self.last + 1:
            self._fault(f"turn {number} follows turn {self.last}")
        if last is not None and last.state != DONE:
            self._fault(f"turn {self.last} was open when turn {number} began")
        self._give_up()
        asked = ToldText(body["text"], body["tokens"], body["at"])
        turn = ToldTurn(number, IN_FLIGHT, 0, body["at"], asked, request=_request(body))
        self.last, self.turns[number] = number, turn
        self._attempt(turn, body)

    def _resume(self, body: Body) -> None:
        turn = self._open(body)
        turn.state, turn.error, turn.ended = IN_FLIGHT, None, None
        self._attempt(turn, body)

    def _regenerate(self, body: Body) -> None:
        turn = self.turns.get(body["turn"]) or self._nothing(body)
        if body["turn"] != self.last or turn.state != DONE:
            self._fault("a turn was asked again that had no answer")
        if turn.prompt is not None:
            was, sent = turn.prompt, ToldPrompt.of(body)
            is_user_first = sent.start == was.start + 1 and was.start % 2 == 0
            is_same = (sent.start == was.start or is_user_first) and sent.first_example == was.first_example
            if not is_same and not self._is_erased:  # else the window may begin later now
                self._fault("a turn was asked again with another prompt than it had")
        self._attempt(turn, body)
        turn.is_asked_again = True

    def _attempt(self, turn: ToldTurn, body: Body) -> None:
        fence = body["fence"]
        if fence <= self.fence:
            self._fault(f"fence {fence} was given out after fence {self.fence}")
        turn.fence = self.fence = fence
        turn.sent[fence] = sent = Sent(ToldPrompt.of(body), body["model"], body.get("parameters", {}))
        if turn.state == IN_FLIGHT:
            turn.prompt, turn.model, turn.parameters = sent

    def _finish(self, body: Body) -> None:
        turn = self._close(body)
        self._sent_again(turn, body)
        is_first = turn.state == IN_FLIGHT
        if is_first:
            counted, given = body.get("usage", (None, None))
            turn.served_by, turn.usage = body.get("served_by"), (counted, given)
            turn.latency_ms, turn.ended = body.get("latency_ms"), body["at"]
        if is_first or turn.prompt is None:
            turn.prompt = turn.prompt_under(body["fence"])
        told, repeats = body["candidates"], body.get("repeats", ())
        if body["chosen"] != (len(turn.candidates) if told else turn.chosen):
            self._fault("the chosen candidate is not the first of this answer")
        if is_first and repeats:
            self._fault("an answer was not stored, though there was none before")
        if not told and not repeats:
            self._fault("there was an answer, and it has no text")
        turn.is_reconsidered = turn.is_reconsidered or (not is_first and bool(told))
        turn.state, turn.chosen = DONE, body["chosen"]
        self._add(turn, body, is_of_turn=is_first)
        self._expect_whole(turn)

    def _fail(self, body: Body) -> None:
        turn = self._close(body)
        self._sent_again(turn, body)
        if turn.state == IN_FLIGHT:
            turn.state, turn.error, turn.ended = FAILED, body["error"], body["at"]
        if "candidates" in body:
            self._add(turn, body)

    def _late(self, body: Body) -> None:
        self.late += 1
        turn = self.turns.get(body["turn"])
        if turn is not None and turn.is_held and turn.fence == body["fence"]:
            self._fault("an answer was late though nobody had taken its turn over")
        if "candidates" in body and not 0 <= body["turn"] <= self.last:
            self._nothing(body)
        self._afterthought("late", body)

    def _discard(self, body: Body) -> None:
        turn = self._open(body)
        if [each.text for each in turn.texts()] != body["texts"]:
            self._fault("other texts went than there were")
        self.turns.pop(body["turn"], None)
        self.last = body["turn"] - 1

    def _choose(self, body: Body) -> None:
        turn = self.turns.get(body["turn"]) or self._nothing(body)
        if body["turn"] != self.last or turn.state != DONE:
            self._fault("another candidate was chosen of a turn that is not the last, or open")
        if not 0 <= body["chosen"] < len(turn.candidates):
            self._fault("a candidate was chosen that was not there")
        turn.chosen, turn.is_reconsidered = body["chosen"], True
        self._give_up()
        self._expect_whole(turn)

    # ---- what is taken away

    def _redact(self, body: Body) -> None:
        self._take_away("redact", body, body["fields"], ())

    def _erase(self, body: Body) -> None:
        if "labels" in body:
            self.settings.set({"labels": body["labels"]})
        ranges = body.get("turns", ())
        if any(not 0 <= first <= last <= self.last for first, last in ranges):
            self._fault("it tells of turns that were not there")
        self._is_erased = self._is_erased or bool(ranges)
        self._take_away("erase", body, (), body.get("fields", ()))

    def _take_away(
        self, kind: str, body: Body, redacted: Sequence[tuple[Field, str, int]], erased: Sequence[Field]
    ) -> None:
        """Let texts be replaced or erased, of settings now, and of the turns that are not settled."""
        fields = [*(each[0] for each in redacted), *erased]
        if any(what == "content" and not 0 <= place[0] <= self.last for what, *place in fields):
            self._fault("it tells of turns that were not there")
        self.redacted += len(redacted)
        self._is_erased = self._is_erased or any(each[0] != "title" for each in erased)
        self.settings.replace(redacted)
        self.settings.erase(erased)
        self._afterthought(kind, body)

    # ---- what may change turns of long ago

    def _afterthought(self, kind: str, body: Body) -> None:
        for turn in self.turns.values():
            self._retouch(turn, kind, body)

    def _retouch(self, turn: ToldTurn, kind: str, body: Body) -> None:
        """Change a turn as an event tells that may come long after it."""
        if kind == "late":
            if body["turn"] == turn.number and "candidates" in body:
                self._sent_again(turn, body)
                self._add(turn, body)
        elif kind == "redact":
            turn.replace(body["fields"])
        elif kind == "erase":
            turn.erase(body.get("fields", ()), body.get("turns", ()))
            if "labels" in body:
                turn.request = None
        elif turn.number <= body["turn"]:
            turn.request = None
            turn.replace(body.get("redacted", ()))
            turn.erase(body.get("erased", ()))
            if "context" in body or "examples" in body:  # what was answered before was answered to others
                turn.forget_prompt()

    # ---- what several of them do

    def _unknown(self, body: Body) -> None:  # noqa: ARG002 - one signature for all kinds
        self._fault("no event is of this kind")

    def _fault(self, fault: str) -> None:
        self.faults.append((self._number, fault))

    def _give_up(self) -> None:
        """Let whoever asks the last turn again have died: its answer stands, and another turn follows."""
        if (last := self.turns.get(self.last)) is not None:
            last.is_asked_again = False

    def _sent_again(self, turn: ToldTurn, body: Body) -> None:
        """Take notice of a shorter prompt that was answered in the place of the one that the turn began with."""
        if "refused" not in body:
            return
        if ToldPrompt.of(body["refused"]) != turn.prompt_under(body["fence"]):
            self._fault("another prompt was refused than was sent")
        if (sent := turn.sent.get(body["fence"])) is not None:
            turn.sent[body["fence"]] = sent._replace(prompt=ToldPrompt.of(body))

    def _expect_whole(self, turn: ToldTurn) -> None:
        chosen = turn.text_at(MODEL, -1 if turn.chosen is None else turn.chosen)
        if chosen is not None and chosen.is_partial:
            self._fault("a text was chosen that broke off")

    def _open(self, body: Body) -> ToldTurn:
        turn = self.turns.get(body["turn"]) or self._nothing(body)
        if body["turn"] != self.last or turn.state == DONE:
            self._fault(f"turn {body['turn']} was not the open one")
        return turn

    def _close(self, body: Body) -> ToldTurn:
        turn = self.turns.get(body["turn"]) or self._nothing(body)
        if body["turn"] != self.last:
            self._fault(f"turn {body['turn']} was not the last one")
        if not turn.is_held:
            self._fault(f"turn {body['turn']} was not being answered")
        if turn.fence != body["fence"]:
            self._fault(f"fence {body['fence']} ended what fence {turn.fence} held")
        turn.is_asked_again = False
        return turn

    def _add(self, turn: ToldTurn, body: Body, *, is_of_turn: bool = False) -> None:
        """Take notice of new texts, and of those of the same answer that were there before."""
        sent = turn.sent.get(body["fence"])
        if sent is None:
            self._fault(f"no attempt had fence {body['fence']}")
        prompt = sent.prompt if sent else None
        model = sent.model if sent and not is_of_turn else None
        repeats = dict(body.get("repeats", ()))
        for place, index in repeats.items():
            was = turn.text_at(MODEL, index)
            if was is None or was.is_partial:
                self._fault(f"candidate {index} was repeated, and is not there")
            else:
                turn.repeated.append((index, ToldText(was.text, was.tokens, was.at, place, prompt, was.finish)))
        places = (place for place in itertools.count() if place not in repeats) if repeats else itertools.count()
        for place, each in zip(places, body["candidates"], strict=False):
            of_it = (each["text"], each["tokens"], body["at"], place, prompt)
            turn.candidates.append(ToldText(*of_it, each.get("finish"), each.get("repaired", 0), model))

    def _nothing(self, body: Body) -> ToldTurn:
        """Return a turn to go on with, in the place of one that is not there."""
        self._fault(f"there was no turn {body['turn']}")
        return ToldTurn(body["turn"], IN_FLIGHT, 0)


def _request(body: Body) -> tuple[str, str] | None:
    """Return what an event tells of a request's key, and of the request."""
    if "request" not in body:
        return None
    key, digest = body["request"]
    return key, digest


def _read(body: bytes) -> Body:
    """Return what an event tells.

    Raises:
        ValueError, TypeError, LookupError, RecursionError: it does not even look like one.
    """
    text = body.decode()
    told, end = _decode(text)
    if end != len(text) or type(told["at"]) is not str or type(told.get("turn", 0)) is not int:
        raise ValueError
    return told  # type: ignore[no-any-return]  # an object, as it has names
