"""The statements that read turns and their messages: the window, the history, the last turn and its lease."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import BindParameter, Connection, Select, bindparam, func, select
from sqlalchemy.orm import Session

from convo.errors import TurnNotFound
from convo.store import rows
from convo.store.columns import database_now_ms
from convo.store.ledger import BATCH, Ledger
from convo.store.prepared import Driver, Prepared
from convo.store.rows import CONVERSATIONS, MESSAGE, MESSAGES, TURNS, LatestTurn
from convo.store.windows import Window, Windows
from convo.values import USER, ConversationRecord, Message, Turn

FIRST_PAGE = 32
"""How many turns of a window are read at once when nothing tells how long it was the last time."""

FIRST_TEXT = 200

_BEGINNING = func.substr(MESSAGES.c.content, 1, FIRST_TEXT).label("beginning")
IS_CHOSEN = (MESSAGES.c.side == USER) | (MESSAGES.c.candidate == TURNS.c.chosen)
"""Which messages the conversation reads as: the user's, and the chosen replies; joined with their turns by OF_TURN."""

OF_TURN = (TURNS.c.conversation_id == MESSAGES.c.conversation_id) & (TURNS.c.number == MESSAGES.c.turn)

# What each turn executes is built once: building a statement takes longer than the database needs for it.
_ID: BindParameter[str] = bindparam("id")
_NUMBER: BindParameter[int] = bindparam("number")
_LOW: BindParameter[int] = bindparam("low")
_HIGH: BindParameter[int] = bindparam("high")
_LEASE_LEFT = (TURNS.c.lease_expires - database_now_ms()).label("lease_left_ms")
_TURNS = select(*(TURNS.c.get(name, _LEASE_LEFT) for name in LatestTurn._fields)).where(TURNS.c.conversation_id == _ID)
_LAST = _TURNS.where(TURNS.c.number == _NUMBER, TURNS.c.number > 0)
_KEYED = _TURNS.where(TURNS.c.request_key == bindparam("key"), TURNS.c.number != _NUMBER)
_LAST_TURN = Prepared(_LAST)
_LAST_OR_KEYED_TURN = Prepared(_LAST.union_all(_KEYED))  # not `OR`: each half has an index of its own
_CHOSEN_MESSAGES = Prepared(
    select(*MESSAGE)
    .join(TURNS, OF_TURN)
    .where(MESSAGES.c.conversation_id == _ID, MESSAGES.c.turn.between(_LOW, _HIGH), IS_CHOSEN)
    .where(TURNS.c.number.between(_LOW, _HIGH))  # for PostgreSQL, which would read all turns and hash them
    .order_by(MESSAGES.c.turn.desc(), MESSAGES.c.side.desc()),
    keeps_plan=False,
)


def _nobody(holder: str) -> bool:  # noqa: ARG001 - the signature of History's is_gone
    return False


class History(Ledger):
    """What is read of a conversation's turns."""

    def __init__(
        self,
        session: Session | Connection | Driver,
        *,
        is_gone: Callable[[str], bool] = _nobody,
        windows: Windows | None = None,
    ) -> None:
        """Write through `session`.

        `is_gone` tells of the holder of a lease whether he is known to have died; `windows` is where what is read for
        a turn is kept for the next one.
        """
        super().__init__(session, windows)
        self._is_gone = is_gone

    def latest_turns(self, record: ConversationRecord, request_key: str | None = None) -> list[LatestTurn]:
        """Return the last turn, and the one with `request_key`, as far as there are such."""
        last = {"id": record.id, "number": record.turn_count}
        if request_key is None:
            found = self._run(_LAST_TURN, last)
        else:
            found = self._run(_LAST_OR_KEYED_TURN, last | {"key": request_key})
        return [self._latest(LatestTurn(*row)) for row in found]

    def turn_before(self, record: ConversationRecord, number: int) -> LatestTurn | None:
        """Return the turn before another one; None before the first."""
        if number <= 1:
            return None
        (before,) = self._run(_LAST_TURN, {"id": record.id, "number": number - 1})
        return LatestTurn(*before)

    def _latest(self, turn: LatestTurn) -> LatestTurn:
        """Return a turn whose lease is at an end when its holder is gone."""
        if turn.is_alive and turn.lease_owner is not None and self._is_gone(turn.lease_owner):
            return turn._replace(lease_left_ms=0)
        return turn

    def window(
        self,
        record: ConversationRecord,
        before: int,
        budget: int,
        overhead: int,
        *,
        last_length: int | None = None,
        known: Window | None = None,
    ) -> Window:
        """Return the newest messages before turn `before`.

        Reads newest first, in pages, until the messages cost more than `budget`, each its tokens and `overhead`;
        `last_length`, in turns, is how long the window was for the turn before, so that one page is mostly enough. What
        is `known` is not read again. A turn of which a text was erased is left out whole.
        """
        page = FIRST_PAGE if last_length is None else last_length + 2
        window = (known or Window((), before)).newest(before - page, budget, overhead)
        lowest = record.first_position  # the number of the first turn is the position of the first message
        while window.first_turn > lowest and window.cost(overhead) <= budget:
            low = max(window.first_turn - page, lowest)
            older = self._chosen_messages(record, low, window.first_turn - 1)
            window, page = window.preceded_by(older[::-1], low), page * 2
        return window

    def said(self, record: ConversationRecord, start: int, last: int) -> list[Message]:
        """Return the messages from position `start` to the end of turn `last`, oldest first, without erased turns."""
        found = self._chosen_messages(record, (start + 1) // 2, last)[::-1]
        return [each for each in found if each.position is not None and each.position >= start]

    def _chosen_messages(self, record: ConversationRecord, low: int, high: int) -> list[Message]:
        """Return the messages of settled turns from `low` to `high`, newest first, without turns that were erased."""
        found = list(map(rows.message, self._run(_CHOSEN_MESSAGES, {"id": record.id, "low": low, "high": high})))
        erased = {each.turn for each in found if each.content is None}
        return [each for each in found if each.turn not in erased] if erased else found

    def messages(self, record: ConversationRecord, last: int | None = None) -> list[Message]:
        """Return the conversation as it reads, oldest first: the newest `last` messages, or all."""
        wanted = select(*MESSAGE).join(TURNS, OF_TURN).where(MESSAGES.c.conversation_id == record.id, IS_CHOSEN)
        if last is not None:
            lowest = max(record.turn_count - last // 2, 0)
            wanted = wanted.where(MESSAGES.c.turn >= lowest, TURNS.c.number >= lowest)
        found = [rows.message(row) for row in self._execute(wanted.order_by(MESSAGES.c.turn, MESSAGES.c.side))]
        return found if last is None else found[max(len(found) - last, 0) :]

    def first_texts(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the first FIRST_TEXT characters of each conversation's first user message, by id."""
        return self._beginnings(select(MESSAGES.c.conversation_id, _BEGINNING).where(MESSAGES.c.turn == 1), ids)

    def own_texts(self, ids: Sequence[str]) -> dict[str, str]:
        """Return what first_texts() does; of forks, of the first message that is their own."""
        first = (MESSAGES.c.conversation_id == CONVERSATIONS.c.id) & (
            MESSAGES.c.turn == func.coalesce(CONVERSATIONS.c.forked_at, 0) + 1
        )
        texts = select(MESSAGES.c.conversation_id, _BEGINNING).join_from(CONVERSATIONS, MESSAGES, first)
        return self._beginnings(texts, ids)

    def _beginnings(self, texts: Select[Any], ids: Sequence[str]) -> dict[str, str]:
        texts = texts.where(MESSAGES.c.side == USER, MESSAGES.c.content.is_not(None))
        found: dict[str, str] = {}
        for place in range(0, len(ids), BATCH):
            rows_of_some = self._execute(texts.where(MESSAGES.c.conversation_id.in_(ids[place : place + BATCH])))
            found |= {row.conversation_id: row.beginning for row in rows_of_some}
        return found

    def turns(self, record: ConversationRecord, last: int | None = None) -> list[Turn]:
        """Return the turns from 1, oldest first: the newest `last`, or all."""
        lowest = 1 if last is None else max(record.turn_count - last + 1, 1)
        return self._turns(record, lowest, record.turn_count)

    def turn(self, record: ConversationRecord, number: int) -> Turn:
        """Return turn `number`; 0 is the opening.

        Raises:
            TurnNotFound: there is none of that number.
        """
        found = self._turns(record, number, number) if 0 <= number <= record.turn_count else []
        if not found:
            raise TurnNotFound(record.id, number)
        return found[0]

    def _turns(self, record: ConversationRecord, low: int, high: int) -> list[Turn]:
        of_it = select(TURNS).where(TURNS.c.conversation_id == record.id, TURNS.c.number.between(low, high))
        texts = select(*MESSAGE).where(MESSAGES.c.conversation_id == record.id, MESSAGES.c.turn.between(low, high))
        found = self._execute(of_it.order_by(TURNS.c.number)).all()
        messages = [rows.message(row) for row in self._execute(in_order(texts))]
        said = {turn: list(group) for turn, group in groupby(messages, key=lambda each: each.turn)}
        return [rows.turn(row, said.get(row.number, ())) for row in found]

    def user_message(self, record: ConversationRecord, turn: int) -> Message:
        """Return the user's message of a turn, with its salt."""
        wanted = select(*MESSAGE).where(
            MESSAGES.c.conversation_id == record.id, MESSAGES.c.turn == turn, MESSAGES.c.side == USER
        )
        return rows.message(self._execute(wanted).one())


def in_order(messages: Select[Any]) -> Select[Any]:
    """Return a statement whose messages come by turn, side and candidate."""
    return messages.order_by(MESSAGES.c.turn, MESSAGES.c.side, MESSAGES.c.candidate)
