"""Makes a draft of the texts of a Markdown file, as the comments before them tell whose they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from convo.formats import times
from convo.formats.base import Draft, DraftReply, DraftTurn
from convo.formats.drafts import (
    EMPTY,
    LATE_SYSTEM,
    NOTHING_SAID,
    SIDES,
    UNKNOWN_FIELDS,
    UNKNOWN_ROLES,
    Dialogue,
    NoConversation,
)
from convo.formats.markers import NAMES, Marked
from convo.values import BROKEN_OFF, USER

_TITLES = {
    "context": "Context",
    "example_input": "Example input",
    "example_output": "Example output",
    "user": "User",
    "assistant": "Assistant",
}
_HEADING = re.compile(rf"## (?:[0-9]+\. )?(?:{'|'.join(_TITLES.values())})(?: \([a-z0-9, ]*\))?[ \t\r]*")


def heading(values: Mapping[str, Any]) -> str:
    """Return the heading that shows people whose a text is."""
    number = f"{values['turn']}. " if values.get("turn") else ""
    remarks = [f"candidate {values['candidate']}"] if values.get("candidate") is not None else []
    remarks += ["not chosen"] if values.get("chosen") is False else []
    remarks += ["erased"] if values.get("erased") else []
    remarked = f" ({', '.join(remarks)})" if remarks else ""
    return f"## {number}{_TITLES[values['role']]}{remarked}"


def is_heading(line: str) -> bool:
    """Return whether a line may be such a heading, whatever has been changed of its comment since."""
    return _HEADING.fullmatch(line) is not None


@dataclass(slots=True)
class _Reply:
    parts: list[str | None]
    finish_reason: str | None
    model: str | None
    mark: str | None
    """What its comment says of whether it was chosen."""

    def draft(self) -> DraftReply:
        return DraftReply(content=_joined(self.parts), finish_reason=self.finish_reason, model=self.model)

    def may_be_chosen(self) -> bool:
        return self.mark != "false" and self.finish_reason not in BROKEN_OFF


@dataclass(slots=True)
class _Turn:
    line: int
    parts: list[str | None]
    """Of the user's message: as many as follow each other."""
    asked_at: datetime | None = None
    answered_at: datetime | None = None
    replies: list[_Reply] = field(default_factory=list)

    def chosen(self) -> int | None:
        """Return which reply is chosen: the one that says so, or the first that is whole and does not deny it."""
        marks = [each.mark for each in self.replies]
        if marks.count("true") > 1:
            raise NoConversation(f"line {self.line}: two answers to this message are chosen")
        if "true" in marks:
            return marks.index("true")
        return next((index for index, each in enumerate(self.replies) if each.may_be_chosen()), None)

    def draft(self) -> DraftTurn:
        return DraftTurn(
            message=_joined(self.parts),
            replies=[each.draft() for each in self.replies],
            chosen=self.chosen(),
            asked_at=self.asked_at,
            answered_at=self.answered_at,
        )


class Sections:
    """Takes the texts of one document, in their order."""

    def __init__(self, found: Dialogue) -> None:
        self._found = found
        self._is_known = False
        self._context: list[str] = []
        self._examples: list[tuple[str | None, str | None]] = []
        self._input: tuple[int, str | None] | None = None
        self._opening = _Turn(0, [])
        self._turns: list[_Turn] = []

    def take(self, each: Marked, text: str) -> None:
        """Take a text.

        Raises:
            NoConversation: it cannot stand where it stands, or its comment says what cannot be.
        """
        role = each.values["role"].lower()
        is_known = role in ("context", "system", "example_input", "example_output") or role in SIDES
        self._found.drop(UNKNOWN_ROLES, int(not is_known))
        self._found.drop(UNKNOWN_FIELDS, len(each.values.keys() - NAMES))
        if not is_known:
            return
        self._is_known = True
        content = self._content(each, text)
        if self._input and role != "example_output":
            raise NoConversation(f"line {self._input[0]}: the example's input has no output behind it")
        if role in ("context", "system"):
            self._take_context(content)
        elif role.startswith("example"):
            self._take_example(each.line, role, content)
        elif content is not None and not content.strip():
            self._found.drop(EMPTY)
        elif SIDES[role] == USER:
            self._take_message(each, content)
        else:
            self._take_reply(each, content)

    def _content(self, each: Marked, text: str) -> str | None:
        if each.values.get("erased") != "true":
            return text
        if text.strip():
            raise NoConversation(f"line {each.line}: what is marked as erased has a text")
        return None

    def _take_context(self, content: str | None) -> None:
        if self._turns or self._opening.replies:
            self._found.drop(LATE_SYSTEM)
        elif content:
            self._context.append(content)

    def _take_example(self, line: int, role: str, content: str | None) -> None:
        if role == "example_input":
            self._input = line, content
        elif self._input is None:
            raise NoConversation(f"line {line}: the example's output has no input before it")
        else:
            self._examples.append((self._input[1], content))
            self._input = None

    def _take_message(self, each: Marked, content: str | None) -> None:
        last = self._turns[-1] if self._turns else None
        if last and not last.replies:
            _add(each.line, last.parts, content)
        elif last and last.chosen() is None:
            raise NoConversation(f"line {last.line}: no answer to this message is chosen, and another message follows")
        else:
            self._turns.append(_Turn(each.line, [content], _time(each)))

    def _take_reply(self, each: Marked, content: str | None) -> None:
        turn = self._turns[-1] if self._turns else self._opening
        values = each.values
        if not turn.replies or "candidate" in values:
            turn.replies.append(_Reply([content], values.get("finish"), values.get("model"), values.get("chosen")))
        else:
            _add(each.line, turn.replies[-1].parts, content)
            turn.replies[-1].finish_reason = values.get("finish")
        turn.answered_at = _time(each) or turn.answered_at

    def draft(self, line: int, told: Mapping[str, Any], *, is_exact: bool) -> Draft:
        """Return the conversation, with what its front matter has `told`.

        Raises:
            NoConversation: no role is known, an example is not whole, or nothing is said in a file of a person's.
        """
        if self._input:
            raise NoConversation(f"line {self._input[0]}: the example's input has no output behind it")
        if len(self._opening.replies) > 1:
            raise NoConversation("an opening has no candidates, but is one message of the assistant's")
        if not (self._is_known or is_exact):
            raise NoConversation("no role comment has a role that is known")
        if not (self._turns or self._opening.replies or is_exact):
            raise NoConversation(NOTHING_SAID)
        return Draft(
            line=line,
            context="\n\n".join(self._context) if self._context else None,
            examples=tuple(self._examples),
            opening=self._opening.replies[0].draft() if self._opening.replies else None,
            turns=[each.draft() for each in self._turns],
            dropped=self._found.dropped,
            **told,
        )


def _add(line: int, parts: list[str | None], text: str | None) -> None:
    """Take another text of the side that spoke last."""
    if text is None or None in parts[-1:]:
        raise NoConversation(f"line {line}: two texts of one side follow each other, and one is erased")
    parts.append(text)


def _joined(parts: list[str | None]) -> str | None:
    texts = [each for each in parts if each is not None]
    return "\n\n".join(texts) if texts else None


def _time(each: Marked) -> datetime | None:
    try:
        return times.understood(each.values["at"]) if "at" in each.values else None
    except ValueError:
        raise NoConversation(f"line {each.line}: 'at' is no time, as 2026-01-01T12:00:00Z") from None
