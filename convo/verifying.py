"""Whether what is stored of a conversation is what its journal tells: a function of rows, read once and in order.

The journal is linked anew, replayed, and compared with the rows turn by turn; what was compared is forgotten. So it
takes no more memory for a long conversation than for a short one. What it cannot find is an end that was cut off, or a
journal that was written anew from its beginning: that takes a head that was kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from convo import journal
from convo.audits import Head, Promise, Verdict
from convo.evidence import (
    AT,
    OF_REQUEST,
    TEXT_FIELDS,
    TURN_FIELDS,
    Cursor,
    Evidence,
    Findings,
    Row,
    place,
    sealed,
    sealed_labels,
    told_parameters,
)
from convo.replay import OPEN_TURNS, Replay
from convo.told import ToldText, ToldTurn
from convo.values import DONE, USER

CHAIN, CONTENT, COMPLETENESS, ANCHORED = Promise

UNTOLD, MISSING = "it is stored, and no event tells of it", "it is not there"
REWRITTEN = "it is not the one whose head was kept: the journal was written anew"

TICK = 1000
"""How many events are read between two words of them."""

_SETTINGS = ("model", "input_token_limit", "trim", "context_tokens")
_PARTS = ("context", "title")

Tick = Callable[[int], None]


def verify(evidence: Evidence, heads: Iterable[Head] = (), tick: Tick = lambda _: None) -> Verdict:
    """Compare a conversation with its journal, and that with `heads` of it; `tick` hears how many events were read."""
    return _Verification(evidence, heads).verdict(tick)


class _Verification:
    def __init__(self, evidence: Evidence, heads: Iterable[Head]) -> None:
        self._stored, self._evidence = evidence.conversation, evidence
        self._heads: dict[int, set[bytes]] = {}
        for each in heads:
            self._heads.setdefault(each.length, set()).add(each.digest)
        self._anchored_at: int | None = None
        self._replay = Replay(afterthoughts=evidence.afterthoughts)
        self._turns, self._messages = Cursor(evidence.turns), Cursor(evidence.messages)
        self._moment = lru_cache(maxsize=16)(evidence.moment)
        self._found = Findings()
        self._find = self._found.find
        self._turn_count = self._unanswered = 0
        self._chosen_before: int | None = None
        self._salt: bytes | None = None
        """Of the user's message of the turn that is compared."""

    def verdict(self, tick: Tick) -> Verdict:
        length, head = self._follow(tick)
        while self._replay.turns:
            self._settle()
        for row in self._turns.rest():
            self._find(CONTENT, UNTOLD, turn=row[1])
        for row in self._messages.rest():
            self._find(CONTENT, UNTOLD, turn=row[1], field=place(row[2], row[3]))
        self._compare_end(length, head)
        self._look_for_heads(length)
        self._compare_conversation()
        return Verdict(
            conversation=self._stored.id,
            events=length,
            turns=self._turn_count,
            texts=self._found.texts,
            erased=self._found.erased,
            redacted=self._replay.redacted,
            unanswered=self._unanswered,
            anchored_at=self._anchored_at,
            faults=tuple(self._found.faults),
            fault_count=self._found.fault_count,
            broken=frozenset(self._found.broken),
        )

    # ---- the chain

    def _follow(self, tick: Tick) -> tuple[int, bytes]:
        """Link and replay all events, compare each turn that can change no more; return their number and the head."""
        head, wanted, unsaid, count = journal.GENESIS, 1, 0, 0
        for _, number, kind, digest, body in self._evidence.events:
            if number != wanted:
                self._find(CHAIN, MISSING, event=wanted)
            if _link(head, number, kind, body) != digest:
                self._find(CHAIN, "it, or what stands before it, is not what was linked", event=number)
            head, wanted = digest, number + 1
            if number in self._heads:
                self._anchor(number, digest)
            self._replay.take(number, kind, body)
            if len(self._replay.turns) > OPEN_TURNS:
                self._settle()
            if self._replay.faults:
                self._doubt()
            count += 1
            unsaid += 1
            if unsaid == TICK:
                tick(unsaid)
                unsaid = 0
        tick(unsaid)
        return count, head

    def _doubt(self) -> None:
        """Tell of what cannot have happened."""
        for number, what in self._replay.faults:
            self._find(CONTENT, what, event=number)
        self._replay.faults.clear()

    def _compare_end(self, length: int, head: bytes) -> None:
        stored = self._stored
        if stored.journal_length != length:
            what = f"the conversation tells of {stored.journal_length} events, and there are {length}"
            self._find(CHAIN, what, field="journal_length")
        elif stored.journal_head != head:
            self._find(CHAIN, "it is not the digest of the last event", field="journal_head")

    def _anchor(self, number: int, digest: bytes) -> None:
        """Compare an event with the heads that were kept of it."""
        if self._heads[number] == {digest}:
            self._anchored_at = number
        else:
            self._find(ANCHORED, REWRITTEN, event=number)

    def _look_for_heads(self, length: int) -> None:
        """Find the heads that the journal does not reach."""
        for each in sorted(each for each in self._heads if each > length):
            what = f"it is not there, though its head was kept: the journal was cut, to {length} events"
            self._find(ANCHORED, what, event=each)

    # ---- the turns

    def _settle(self) -> None:
        """Compare the oldest turn that was replayed with the one that is stored."""
        turn, stored = self._replay.settle(), None
        self._doubt()
        for row in self._turns.until(turn.number):
            if row[1] == turn.number:
                stored = row
            else:
                self._find(CONTENT, UNTOLD, turn=row[1])
        self._compare_texts(turn)
        if stored is None:
            self._find(COMPLETENESS, MISSING, turn=turn.number)
        else:
            self._compare_turn(turn, stored)
        self._turn_count += turn.number > 0
        self._unanswered += turn.state != DONE
        self._chosen_before = turn.chosen

    def _compare_turn(self, turn: ToldTurn, stored: Row) -> None:
        digest, *window = turn.prompt or (None, None, None, None, None)
        told = (
            *(turn.state, turn.fence, turn.error, turn.chosen, self._chosen_before if turn.number else None),
            *(*window, turn.model, turn.served_by, *turn.usage, turn.latency_ms),
            *(self._moment(turn.at), None if turn.ended is None else self._moment(turn.ended)),
            *(digest, turn.parameters, turn.is_held),
        )
        sent, parameters = stored[AT.prompt_digest], stored[AT.parameters]
        found = (
            *stored[AT.plain],
            None if sent is None else journal.encode(sent),
            None if parameters is None else told_parameters(parameters),
            stored[AT.lease_owner] is not None,
        )
        self._found.compare(TURN_FIELDS, found, told, turn.number)
        if (turn.request, stored[AT.request_key], stored[AT.request_hash]) != (None, None, None):
            self._compare_request(turn, stored)

    def _compare_request(self, turn: ToldTurn, stored: Row) -> None:
        """Compare a request's key, which is sealed with the salt of the user's first text: it may be gone with that."""
        key, digest = stored[AT.request_key], stored[AT.request_hash]
        named, asked = turn.request or (None, None)
        if key is not None and self._salt is not None and turn.question is not None and turn.question.is_first:
            key = sealed("request_key", key, self._salt)
        elif key is not None and named is not None:
            key = named
        found = (key, None if digest is None else journal.encode(digest))
        self._found.compare(OF_REQUEST, found, (named, asked), turn.number)

    def _compare_texts(self, turn: ToldTurn) -> None:
        self._salt = None
        found = []
        for row in self._messages.until(turn.number):
            said = turn.text_at(row[2], row[3]) if row[1] == turn.number else None
            if said is None:
                self._find(CONTENT, UNTOLD, turn=row[1], field=place(row[2], row[3]))
                continue
            found.append((row[2], row[3]))
            if row[2] == USER:
                self._salt = row[-2]
            self._compare_text(turn.number, place(row[2], row[3]), said, row)
        if len(found) < len(turn.candidates) + (turn.question is not None):
            for missing in sorted(turn.places() - set(found)):
                self._find(COMPLETENESS, MISSING, turn=turn.number, field=place(*missing))

    def _compare_text(self, turn: int, where: str, said: ToldText, row: Row) -> None:
        author = self._stored.authors[row[2]]
        told = (author, said.tokens, said.repaired, said.finish, self._moment(said.at), said.model)
        self._found.compare(TEXT_FIELDS, row[4:-2], told, turn, f"{where}.")
        self._found.compare_text("content", row[-1], row[-2], said.text, turn, f"{where}.content")

    # ---- the conversation itself

    def _compare_conversation(self) -> None:
        stored, replay, told = self._stored, self._replay, self._replay.settings.values
        compared = {
            "id": (stored.id, replay.conversation),
            "turn_count": (stored.turn_count, replay.last),
            "fence": (stored.fence, replay.fence),
            "first_position": (stored.first_position, 0 if replay.has_opening else 1),
            "forked_from": (stored.forked_from, replay.forked[0]),
            "forked_at": (stored.forked_at, replay.forked[1]),
            "created_at": (stored.created_at, self._moment(replay.began)),
            "updated_at": (stored.updated_at, self._moment(replay.changed)),
            "parameters": (told_parameters(stored.parameters), told.get("parameters")),
            "labels": (sealed_labels(stored), told.get("labels")),
            **{name: (getattr(stored, name), told.get(name)) for name in _SETTINGS},
        }
        for name, (is_stored, is_told) in compared.items():
            self._found.compare((name,), (is_stored,), (is_told,))
        for name in _PARTS:
            text, salt, seal = getattr(stored, name), getattr(stored, f"{name}_salt"), told.get(name)
            if (text, salt, seal) != (None, None, None) or name in replay.settings.erased:
                self._found.compare_text(name, text, salt, seal, None, name)
        self._compare_examples(told.get("examples", ()), told.get("example_tokens", ()))

    def _compare_examples(self, told: Sequence[Sequence[str | None]], tokens: Sequence[int]) -> None:
        stored = {row[1]: row for row in self._evidence.examples}
        for position in sorted({*stored, *range(len(told))}):
            where = f"example {position}"
            if position not in stored:
                self._find(COMPLETENESS, MISSING, field=where)
            elif position >= len(told):
                self._find(CONTENT, UNTOLD, field=where)
            else:
                _, _, counted, *texts = stored[position]
                self._found.compare(("tokens",), (counted,), (tokens[position],), of=f"{where}.")
                for kind, text, salt, seal in zip(
                    ("input", "output"), texts[::2], texts[1::2], told[position], strict=True
                ):
                    self._found.compare_text(kind, text, salt, seal, None, f"{where}.{kind}")


def _link(head: bytes, number: int, kind: str, body: bytes) -> bytes | None:
    """Return an event's digest; None where there can be none."""
    try:
        return journal.link(head, number, kind, body)
    except (ValueError, OverflowError):
        return None
