"""Makes drafts of messages that come one after the other, each with a role, as the forms of other programs tell them.

A store has a context, an opening and turns: what fits none of these is joined where nothing is lost by it, and
counted where it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from convo.formats.base import Draft, DraftReply, DraftTurn, Line, Lines, Read, Unread
from convo.formats.json_text import parsed, text_of
from convo.values import MODEL, USER

LATE_SYSTEM = "system messages inside a conversation"
TOOLS = "tool messages"
EMPTY = "empty messages"
UNKNOWN_ROLES = "messages of unknown roles"
UNKNOWN_FIELDS = "unknown fields"

NOTHING_SAID = "no message of a user or an assistant with text"


class NoConversation(ValueError):
    """Why a part of a file is no conversation, in words for its user; never leaves the readers."""


NO_UUID = "ids that are no UUID"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def uuid_in(given: object) -> str | None:
    """Return the text of a UUID in lower case; None for anything else."""
    return given.lower() if isinstance(given, str) and _UUID.fullmatch(given) else None


class Dialogue:
    """Takes the messages of one conversation, in their order, and makes a draft of them."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        self._context: list[str] = []
        self._said: list[tuple[int, list[str]]] = []

    def drop(self, reason: str, count: int = 1) -> None:
        """Count what cannot be kept."""
        if count:
            self.dropped[reason] += count

    def tell(self, text: str) -> None:
        """Take what the model is told first; behind the first message it is dropped, as a context stands before all."""
        if self._said:
            self.drop(LATE_SYSTEM)
        elif text.strip():
            self._context.append(text)
        else:
            self.drop(EMPTY)

    def say(self, side: int, text: str) -> None:
        """Take a message; one that follows another of its side is joined to it, with a blank line between."""
        if not text.strip():
            self.drop(EMPTY)
        elif self._said and self._said[-1][0] == side:
            self._said[-1][1].append(text)
        else:
            self._said.append((side, [text]))

    def draft(self, line: int, id: str | None = None) -> Draft:
        """Return the conversation; a message of the model's that comes first is its opening.

        Raises:
            NoConversation: nothing was said.
        """
        said = [(side, "\n\n".join(texts)) for side, texts in self._said]
        if not said:
            raise NoConversation(NOTHING_SAID)
        opening = said.pop(0)[1] if said[0][0] == MODEL else None
        texts = [text for _, text in said]  # from here on they alternate, and the user's come first
        return Draft(
            line=line,
            id=id,
            context="\n\n".join(self._context) if self._context else None,
            opening=None if opening is None else DraftReply(content=opening),
            turns=[_turn(*texts[at : at + 2]) for at in range(0, len(texts), 2)],
            dropped=self.dropped,
        )


def _turn(message: str, *answer: str) -> DraftTurn:
    replies = [DraftReply(content=each) for each in answer]
    return DraftTurn(message=message, replies=replies, chosen=0 if replies else None)


SIDES = {"user": USER, "human": USER, "assistant": MODEL, "model": MODEL, "gpt": MODEL}
"""The side of a role, by the names that are the same in all forms."""


def drafts(lines: Lines, make: Callable[[int, Mapping[str, Any]], Draft]) -> Read:
    """Yield what `make` makes of the JSON object in each line; blank lines are passed over.

    `make` is given the line's number, and may raise NoConversation.
    """
    for line in lines:
        if line.content.strip():
            try:
                yield make(line.number, _object(line))
            except NoConversation as error:
                yield Unread(line.number, str(error))


def _object(line: Line) -> dict[str, Any]:
    try:
        value = parsed(text_of(line))
    except UnicodeDecodeError:
        raise NoConversation("not UTF-8") from None
    except ValueError:
        raise NoConversation("no JSON: write one object in each line") from None
    if not isinstance(value, dict):
        raise NoConversation("no JSON object: write one in each line")
    return value


def objects(given: Mapping[str, Any], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a list that a field holds, numbered from 1.

    Raises:
        NoConversation: there is no such list, or something else is in it.
    """
    found = given.get(name)
    if not isinstance(found, list):
        raise NoConversation(f"no list of {name!r}")
    for number, each in enumerate(found, start=1):
        if not isinstance(each, dict):
            raise NoConversation(f"number {number} of {name!r} is no object")
        yield number, each


def count_unknown(given: Mapping[str, Any], known: frozenset[str], into: Dialogue) -> None:
    """Count the fields that a form does not have, or that a store cannot keep, where anything is in them."""
    into.drop(UNKNOWN_FIELDS, sum(name not in known and bool(value) for name, value in given.items()))
