"""The form of ShareGPT, JSON Lines, in which data sets of conversations are passed on: one conversation a line.

    {"id":"…","conversations":[{"from":"system","value":"…"},{"from":"human","value":"…"},{"from":"gpt","value":"…"}]}

There is no standard of it. What is written is what all its readers take: the human speaks first, and both sides
alternate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from convo.formats import pairs
from convo.formats.base import Draft, Lines, PlainWriter, Read, Transcript
from convo.formats.drafts import (
    NO_UUID,
    SIDES,
    TOOLS,
    UNKNOWN_ROLES,
    Dialogue,
    NoConversation,
    count_unknown,
    drafts,
    objects,
    uuid_in,
)
from convo.formats.json_text import written
from convo.values import MODEL

OPENINGS = "opening messages"


class ShareGPTWriter(PlainWriter):
    """Writes complete turns with their chosen replies, examples as turns before them; the tally tells of the rest."""

    def conversation(self, shown: Transcript) -> Iterator[str]:
        """Yield one line, in pieces; nothing without a complete turn."""
        said = pairs.complete(shown.turns, self.tally)
        if said is None:
            return
        glue = f'{{"id":{written(shown.record.id)},"conversations":['
        for message in self._messages(shown, said):
            yield glue + written(message)
            glue = ","
        yield "]}\n"

    def _messages(self, shown: Transcript, said: Iterator[pairs.Pair]) -> Iterator[dict[str, str]]:
        if shown.record.context:
            yield {"from": "system", "value": shown.record.context}
        for pair in chain(pairs.whole(shown.examples, self.tally), self._counted(said)):
            yield {"from": "human", "value": str(pair.asked)}
            yield {"from": "gpt", "value": pair.answer}

    def _counted(self, said: Iterator[pairs.Pair]) -> Iterator[pairs.Pair]:
        """Yield the turns, and tell the tally of each; the opening is left out, as the human speaks first."""
        for pair in said:
            if pair.asked is None:
                self.tally.left_out[OPENINGS] += 1
            else:
                pairs.count(pair, self.tally)
                yield pair


_FIELDS = frozenset(("id", "conversations", "system"))
_MESSAGE_FIELDS = frozenset(("from", "value", "weight"))
_SIDES = SIDES | dict.fromkeys(("bing", "bard", "chatgpt"), MODEL)
_OF_TOOLS = ("tool", "function_call", "observation")


def read(lines: Lines) -> Read:
    """Yield the conversation of each line.

    Its id is kept when it is a UUID's text. What comes first of the system, and a "system" beside the messages, is
    the context. Calls of tools and what they answered are dropped and counted. Messages of one side that follow each
    other are joined, with a blank line between.
    """
    return drafts(lines, _draft)


def _draft(line: int, given: Mapping[str, Any]) -> Draft:
    found = Dialogue()
    count_unknown(given, _FIELDS, found)
    if given.get("system") is not None:
        found.tell(_text(given["system"], "the text of 'system'"))
    roles = [_take(found, number, each) for number, each in objects(given, "conversations")]
    if roles and not any(roles):
        raise NoConversation("no message is from somebody who is known")
    return found.draft(line, _id(found, given.get("id")))


def _id(found: Dialogue, given: object) -> str | None:
    known = uuid_in(given)
    found.drop(NO_UUID, int(known is None and given is not None))
    return known


def _take(found: Dialogue, number: int, message: Mapping[str, Any]) -> bool:
    """Take a message, and return whether its sender is known."""
    sender = message.get("from")
    if sender in _OF_TOOLS:
        found.drop(TOOLS)
        return True
    if not isinstance(sender, str) or not (sender == "system" or sender in _SIDES):
        found.drop(UNKNOWN_ROLES)
        return False
    count_unknown(message, _MESSAGE_FIELDS, found)
    text = _text(message.get("value"), f"the value of message {number}")
    if sender == "system":
        found.tell(text)
    else:
        found.say(_SIDES[sender], text)
    return True


def _text(value: object, what: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    raise NoConversation(f"{what} is no text")
