"""The statements that find what people preferred: the turns of which a person has chosen an answer."""

from __future__ import annotations

import json

from sqlalchemy import select

from convo.store.prompts import Prompts
from convo.store.rows import CONVERSATIONS, EVENTS
from convo.values import BROKEN_OFF, ConversationRecord, Preference

Choices = tuple[ConversationRecord, list[int]]
"""A conversation, and the turns of it whose answer a person has chosen."""


class Preferences(Prompts):
    """Everything about people's choices."""

    def next_choices(self, owner: str, after: str | None) -> Choices | None:
        """Return the owner's next conversation, by id, in which a person has chosen; None after the last one.

        A fork's copied choices are not its own: each choice is told once, where it was made.
        """
        chose = (EVENTS.c.conversation_id == CONVERSATIONS.c.id, EVENTS.c.kind == "choose")
        wanted = select(CONVERSATIONS).where(
            CONVERSATIONS.c.owner == owner, select(EVENTS.c.number).where(*chose).exists()
        )
        if after is not None:
            wanted = wanted.where(CONVERSATIONS.c.id > after)
        found = self._records(wanted.order_by(CONVERSATIONS.c.id).limit(1))
        return (found[0], self._choices(found[0])) if found else None

    def _choices(self, record: ConversationRecord) -> list[int]:
        of_it = (EVENTS.c.conversation_id == record.id, EVENTS.c.kind.in_(("choose", "finish", "fork")))
        chosen: dict[int, bool] = {}
        for event in self._execute(select(EVENTS.c.kind, EVENTS.c.body).where(*of_it).order_by(EVENTS.c.number)):
            told = json.loads(event.body)
            if event.kind == "fork":
                chosen = {}
            elif event.kind == "choose" or told["candidates"]:
                chosen[told["turn"]] = told["by"] == "user"
        return [turn for turn, is_of_user in chosen.items() if is_of_user]

    def preference(self, record: ConversationRecord, turn: int) -> Preference | None:
        """Return what was preferred to what at a turn; None when too little of it is left."""
        found = next(iter(self._turns(record, turn, turn)), None)
        if found is None or found.message is None or found.message.content is None:
            return None
        whole = [each for each in found.candidates if each.finish_reason not in BROKEN_OFF and each.content is not None]
        chosen = [each for each in whole if each.index == found.chosen]
        rejected = tuple(each for each in whole if each.index != found.chosen)
        if not (chosen and rejected):
            return None
        start = found.prompt.window_start if found.prompt else None
        first_example = found.prompt.first_example if found.prompt else None
        prompt = self.prompt(record, turn, start=start, first_example=first_example)
        return Preference(record.id, turn, prompt, chosen[0], rejected)
