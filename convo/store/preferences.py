"""The statements that find what people preferred: the turns of which a person has chosen an answer.

The rows tell which answer is chosen; who chose it, and to which prompt each one was given, the journal tells.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import literal_column, select

from convo.store.columns import event_turn
from convo.store.prompts import Prompts
from convo.store.rows import CONVERSATIONS, EVENTS
from convo.values import BROKEN_OFF, USER, ConversationRecord, Preference

PAGE = 200
"""How many preferences are read at once, at most; all of one conversation."""

Place = tuple[str, int]
"""The id of a conversation and the number of a turn: what was read last."""

START: Place = ("00000000-0000-0000-0000-000000000000", 0)

Bodies = dict[int, dict[str, Any]]
"""Of events, by number."""

_ALL_TURNS = 2**31

_IS_CHOICE = EVENTS.c.kind == literal_column("'choose'")  # no parameter: SQLite would not take the index on it


@dataclass(slots=True)
class _Told:
    """What the journal tells of a turn's candidates, by index."""

    rewritten: Sequence[int] = ()
    """The numbers of the events by which a text of its prompt was erased or redacted."""
    windows: dict[int, Any] = field(default_factory=dict)
    """What was sent, by fence: start, first example, and how often it had been rewritten."""
    sent: list[Any] = field(default_factory=list)
    """What each was given to; None of a history that was given."""
    events: list[int] = field(default_factory=list)
    """The number of the event that tells of each."""
    is_of_user: bool = False
    """Whether a person has made the choice that stands."""

    def follow(self, number: int, kind: str, body: dict[str, Any]) -> None:
        """Take notice of an event of the turn."""
        if kind in ("begin", "history", "discard"):
            self.sent, self.events = [], []
        if "window" in body:
            before = sum(each < number for each in self.rewritten)
            self.windows[body["fence"]] = [*body["window"][:2], before]
        if kind == "choose":
            self.is_of_user = body["by"] == "user"
        elif kind == "history":
            self._add(number, len(body["texts"]) - 1, None)
        elif body.get("candidates"):
            self._add(number, len(body["candidates"]), self.windows[body["fence"]])
            self.is_of_user &= kind != "finish"

    def _add(self, number: int, count: int, window: Any) -> None:  # noqa: ANN401 - JSON
        self.sent += [window] * count
        self.events += [number] * count

    def beside(self, chosen: int, after: int) -> set[int]:
        """Return the candidates that were given to the same prompt as the chosen one, itself too.

        What is told up to event `after` was given to another context, or with other examples, than there are now.
        """
        if self.events[chosen] <= after:
            return set()
        pairs = enumerate(zip(self.sent, self.events, strict=True))
        return {index for index, (sent, number) in pairs if sent == self.sent[chosen] and number > after}


def _touches(body: dict[str, Any], turn: int) -> bool:
    """Return whether an event erases or redacts a text of which the prompt of a turn may be made."""
    named = [each for name in ("fields", "erased", "redacted") for each in body.get(name, ())]
    refs = [each[0] if isinstance(each[0], list) else each for each in named]  # a redaction has more behind it
    is_said = any(ref[0] == "content" and (ref[1] < turn or ref[1:3] == [turn, USER]) for ref in refs)
    is_told = any(ref[0] in ("context", "input", "output") for ref in refs)
    return is_said or is_told or any(first <= turn for first, _ in body.get("turns", ()))


class Preferences(Prompts):
    """Everything about people's choices."""

    def next_preferences(self, owner: str, after: Place = START) -> tuple[list[Preference], Place | None]:
        """Return the owner's preferences that come next after a place, and where to go on; None after the last one.

        They come by the ids of conversations, and by turns. A fork's copied choices are not its own: each is told
        once, where it was made.
        """
        choosing = select(CONVERSATIONS).join(EVENTS, EVENTS.c.conversation_id == CONVERSATIONS.c.id)
        wanted = choosing.where(_IS_CHOICE, EVENTS.c.conversation_id >= after[0], CONVERSATIONS.c.owner == owner)
        if after[1] >= _ALL_TURNS:
            wanted = wanted.where(EVENTS.c.conversation_id > after[0])
        found = self._records(wanted.order_by(EVENTS.c.conversation_id).limit(1))
        if not found:
            return [], None
        record, read = found[0], after[1] if found[0].id == after[0] else 0
        chosen, changed, rewriting = self._chosen(record)
        turns = [turn for turn in chosen if turn > read]
        page = turns[:PAGE]
        end = page[-1] if len(turns) > PAGE else _ALL_TURNS
        return list(self._preferred(record, page, changed, rewriting)), (record.id, end)

    def preferences_of(self, record: ConversationRecord) -> Iterator[Preference]:
        """Yield the preferences of a conversation, by turns, some read at a time."""
        turns, changed, rewriting = self._chosen(record)
        for place in range(0, len(turns), PAGE):
            yield from self._preferred(record, turns[place : place + PAGE], changed, rewriting)

    def _preferred(
        self, record: ConversationRecord, turns: list[int], changed: int, rewriting: Bodies
    ) -> Iterator[Preference]:
        told = self._told(record, turns, rewriting)
        found = (self._preference(record, turn, told[turn], changed) for turn in turns)
        yield from (each for each in found if each is not None)

    def _chosen(self, record: ConversationRecord) -> tuple[list[int], int, Bodies]:
        """Return the turns of which somebody has chosen an answer here, and the last event of another prompt.

        Also all events that erase or redact.
        """
        told = select(EVENTS.c.number, EVENTS.c.kind, EVENTS.c.body).where(EVENTS.c.conversation_id == record.id)
        turns: set[int] = set()
        changed = 0
        rewriting: Bodies = {}
        kinds = ("choose", "fork", "erase", "redact")
        for event in self._execute(told.where(EVENTS.c.kind.in_(kinds)).order_by(EVENTS.c.number)):
            body = json.loads(event.body)
            if event.kind == "choose":
                turns.add(body["turn"])
                continue
            rewriting[event.number] = body
            if event.kind != "fork":
                continue
            turns = set()
            changed = event.number if "context" in body or "examples" in body else changed
        return sorted(turns), changed, rewriting

    def _told(self, record: ConversationRecord, turns: list[int], rewriting: Bodies) -> dict[int, _Told]:
        """Return what the journal tells of some turns."""
        told = {turn: _Told([number for number, body in rewriting.items() if _touches(body, turn)]) for turn in turns}
        events = select(EVENTS.c.number, EVENTS.c.kind, EVENTS.c.body).where(EVENTS.c.conversation_id == record.id)
        of_them = events.where(EVENTS.c.kind.not_in(("fork", "erase", "redact")), event_turn(EVENTS.c.body).in_(turns))
        for event in self._execute(of_them.order_by(EVENTS.c.number)):
            body = json.loads(event.body)
            told[body["turn"]].follow(event.number, event.kind, body)
        return told

    def _preference(self, record: ConversationRecord, number: int, told: _Told, changed: int) -> Preference | None:
        """Return what was preferred to what at a turn; None when a model has chosen, or nothing is there to compare."""
        turn = next(iter(self._turns(record, number, number)), None)
        if turn is None or turn.message is None or turn.message.content is None or not told.is_of_user:
            return None
        alike = told.beside(turn.chosen or 0, changed)
        whole = [each for each in turn.candidates if each.content is not None and each.finish_reason not in BROKEN_OFF]
        chosen = next((each for each in whole if each.index == turn.chosen and each.index in alike), None)
        if chosen is None:
            return None
        others = [each for each in whole if each.index in alike and each.content != chosen.content]
        if not others:
            return None
        start, first_example, _ = told.sent[chosen.index] or (None, None, 0)
        prompt = self.prompt(record, number, start=start, first_example=first_example)
        return Preference(record.id, number, prompt, chosen, tuple(others))
