"""What a model was given for a turn, rebuilt from what the turn remembers of it: references, and no text twice."""

from __future__ import annotations

import sqlite3

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from convo.errors import TurnNotFound
from convo.store import rows
from convo.store.columns import event_turn
from convo.store.conversations import Conversations
from convo.store.history import IS_CHOSEN, OF_TURN, History
from convo.store.rows import EVENTS, MESSAGE, MESSAGES, TURNS
from convo.values import ConversationRecord, Event, Message, MessagePrompt

_OF_ATTEMPTS = ("history", "begin", "resume", "regenerate", "finish", "fail", "late")
_OF_TEXTS = ("history", "begin", "finish", "fail", "late", "discard")
_OF_ALL = ("create", "fork", "redact", "erase", "discard")


class Prompts(Conversations, History):
    """Everything about prompts that were sent."""

    def prompt(
        self, record: ConversationRecord, turn: int, *, start: int | None = None, first_example: int | None = None
    ) -> MessagePrompt:
        """Return the prompt of a turn whose window began at position `start`, with the salts of its texts.

        Without `start`, as in a given history, it is all that was said before; the examples are those from position
        `first_example`. Turns and examples of which a text was erased are left out.
        """
        examples = [each for each in self.examples(record) if (each.position or 0) >= (first_example or 0)]
        said = self.said(record, record.first_position if start is None else start, turn - 1)
        return MessagePrompt(record.context, tuple(examples), (*said, self.user_message(record, turn)))

    def choice(self, record: ConversationRecord, turn: int) -> int | None:
        """Return the chosen candidate of a turn; None while it has no answer.

        Raises:
            TurnNotFound: there is none of that number.
        """
        wanted = select(TURNS.c.chosen).where(TURNS.c.conversation_id == record.id, TURNS.c.number == turn)
        found = self._execute(wanted).first() if 0 <= turn <= record.turn_count else None
        if found is None:
            raise TurnNotFound(record.id, turn)
        return found.chosen  # type: ignore[no-any-return]  # the column's type

    def events_of_prompts(self, record: ConversationRecord, turn: int) -> list[Event]:
        """Return the events that tell of attempts at a turn, and of what became of any text, oldest first.

        Of what was said at other turns, however many there are, none is fetched. An event that tells no turn is one of
        them: it must not go unnoticed.

        Raises:
            ValueError: an event's body is no JSON.
        """
        of_turn = EVENTS.c.kind.in_(_OF_ATTEMPTS) & (func.coalesce(event_turn(EVENTS.c.body), turn) == turn)
        # Each turn before has an event of its own, and the conversation has its first one.
        return self._events(record, EVENTS.c.kind.in_(_OF_ALL) | ((EVENTS.c.number > turn) & of_turn))

    def events_of_texts(self, record: ConversationRecord, low: int, high: int) -> list[Event]:
        """Return the events that tell of texts of the turns from `low` to `high`, oldest first.

        Raises:
            ValueError: an event's body is no JSON.
        """
        return self._events(record, EVENTS.c.kind.in_(_OF_TEXTS) & event_turn(EVENTS.c.body).between(low, high))

    def _events(self, record: ConversationRecord, which: object) -> list[Event]:
        wanted = select(EVENTS).where(EVENTS.c.conversation_id == record.id, which)  # type: ignore[arg-type]  # an SQL expression
        try:
            return [rows.event(row) for row in self._execute(wanted.order_by(EVENTS.c.number))]
        except DBAPIError as error:
            if not _is_of_json(error):
                raise
            msg = "an event's body is no JSON"
            raise ValueError(msg) from None

    def messages_from(self, record: ConversationRecord, start: int, turn: int) -> list[Message]:
        """Return the messages from position `start` to the user's of `turn`, oldest first, erased ones too."""
        low = (start + 1) // 2
        wanted = (
            select(*MESSAGE)
            .join(TURNS, OF_TURN)
            .where(MESSAGES.c.conversation_id == record.id, MESSAGES.c.turn.between(low, turn), IS_CHOSEN)
            .where(TURNS.c.number.between(low, turn), MESSAGES.c.position.between(start, 2 * turn - 1))
            .order_by(MESSAGES.c.turn, MESSAGES.c.side)
        )
        return [rows.message(row) for row in self._execute(wanted)]

    def erased_messages(self, record: ConversationRecord, before: int) -> list[tuple[int, int, int]]:
        """Return turn, side and candidate of the messages before position `before` whose text is gone."""
        wanted = (
            select(MESSAGES.c.turn, MESSAGES.c.side, MESSAGES.c.candidate)
            .join(TURNS, OF_TURN)
            .where(MESSAGES.c.conversation_id == record.id, MESSAGES.c.position < before, IS_CHOSEN)
            .where(MESSAGES.c.salt.is_(None))
            .order_by(MESSAGES.c.turn, MESSAGES.c.side)
        )
        return [(row.turn, row.side, row.candidate) for row in self._execute(wanted)]


def _is_of_json(error: DBAPIError) -> bool:
    """Return whether a database could not read the JSON of a stored event."""
    if isinstance(error.orig, sqlite3.Error):
        return getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
    # class 22, data exceptions: https://www.postgresql.org/docs/current/errcodes-appendix.html
    return (getattr(error.orig, "sqlstate", None) or "").startswith("22")
