"""OpenAI's form for fine-tuning chat models, JSON Lines, which many tools read: one conversation a line.

    {"messages":[{"role":"system","content":"…"},{"role":"user","content":"…"},
                 {"role":"assistant","content":"…","weight":1}]}

A weight of 0 keeps a message of the assistant's from being learned: so examples and the opening are written, which
nobody answered in earnest. https://platform.openai.com/docs/guides/fine-tuning
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from convo.formats import pairs
from convo.formats.base import Draft, Lines, PlainWriter, Read, Transcript
from convo.formats.drafts import SIDES, TOOLS, UNKNOWN_ROLES, Dialogue, NoConversation, count_unknown, drafts, objects
from convo.formats.json_text import written

Messages = list[dict[str, Any]]


def messages_of(pair: pairs.Pair) -> Messages:
    """Return the messages of a pair, without weights."""
    asked = [] if pair.asked is None else [{"role": "user", "content": pair.asked}]
    return [*asked, {"role": "assistant", "content": pair.answer}]


def told_first(context: str | None, examples: Iterable[pairs.Pair]) -> Iterator[dict[str, Any]]:
    """Yield the messages that stand before a conversation: the context and the examples."""
    if context:
        yield {"role": "system", "content": context}
    for each in examples:
        yield from messages_of(each)


class OpenAIWriter(PlainWriter):
    """Writes complete turns with their chosen replies: what a model should learn; the rest is told in the tally."""

    def conversation(self, shown: Transcript) -> Iterator[str]:
        """Yield one line, in pieces; nothing without a complete turn."""
        said = pairs.complete(shown.turns, self.tally)
        if said is None:
            return
        glue = '{"messages":['
        for message in self._messages(shown, said):
            yield glue + written(message)
            glue = ","
        yield "]}\n"

    def _messages(self, shown: Transcript, said: Iterator[pairs.Pair]) -> Iterator[dict[str, Any]]:
        for each in told_first(shown.record.context, pairs.whole(shown.examples, self.tally)):
            yield each | {"weight": 0} if each["role"] == "assistant" else each
        for pair in said:
            pairs.count(pair, self.tally)
            *asked, answer = messages_of(pair)
            yield from asked
            yield answer | {"weight": 0 if pair.asked is None else 1}


_FIELDS = frozenset(("messages",))
_MESSAGE_FIELDS = frozenset(("role", "content", "weight", "tool_calls", "function_call", "tool_call_id"))
NO_TEXT = "parts that are no text"


def read(lines: Lines) -> Read:
    """Yield the conversation of each line.

    System and developer messages that come first are its context. Tool calls and what tools answered are dropped, and
    parts of a message that are no text, pictures for instance: all are counted. Weights are no part of a conversation
    and are passed over, so that written examples come back as turns. Messages of one side that follow each other are
    joined, with a blank line between.
    """
    return drafts(lines, _draft)


def _draft(line: int, given: Mapping[str, Any]) -> Draft:
    found = Dialogue()
    count_unknown(given, _FIELDS, found)
    roles = [_take(found, number, each) for number, each in objects(given, "messages")]
    if roles and not any(roles):
        raise NoConversation("no message has a role that is known")
    return found.draft(line)


def _take(found: Dialogue, number: int, message: Mapping[str, Any]) -> bool:
    """Take a message, and return whether its role is known."""
    role = message.get("role")
    if role in ("tool", "function"):
        found.drop(TOOLS)
        return True
    if role not in ("system", "developer", "user", "assistant"):
        found.drop(UNKNOWN_ROLES)
        return False
    count_unknown(message, _MESSAGE_FIELDS, found)
    is_call = bool(message.get("tool_calls") or message.get("function_call"))
    found.drop(TOOLS, int(is_call))
    text = _text(found, number, message.get("content"))
    if is_call and not text.strip():
        return True  # it has been counted
    if role in ("system", "developer"):
        found.tell(text)
    else:
        found.say(SIDES[role], text)
    return True


def _text(found: Dialogue, number: int, content: object) -> str:
    """Return a message's text: itself, or its parts of text in lines of their own."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise NoConversation(f"the content of message {number} is neither text nor a list of parts")
    texts = [each["text"] for each in content if _is_text(each)]
    found.drop(NO_TEXT, len(content) - len(texts))
    return "\n".join(texts)


def _is_text(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
