"""What was sent at an attempt, rebuilt: from the journal's references, and the texts as they are stored now.

The journal tells where a window began, which example was the first, and the digest of the whole. The texts between are
those that stand there: the choice of an earlier turn never changes. Of a text that was erased or replaced later, what
the journal committed to before stands in for it, so that the digest still proves all the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from convo import journal
from convo.attempts import CONTEXT, Fates, Told, ToldAttempt, ref_of
from convo.audits import (
    ERASED,
    MISSING,
    NEXT,
    NOT_FIT,
    USER_FIRST,
    Field,
    LeftOut,
    SentExample,
    SentMessage,
    SentRequest,
    SentText,
)
from convo.values import MODEL, USER, ConversationRecord, Example, Message


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored now of a prompt's texts."""

    record: ConversationRecord
    examples: Sequence[Example]
    """By position, erased ones too."""
    messages: Sequence[Message]
    """From the first that was sent to the last, erased ones too; a row that is gone leaves a gap."""
    told: Mapping[Field, Told]
    """What was told first of the context, the examples, and of those messages that were replaced or erased later."""
    erased: Sequence[Field] = ()
    """The messages before the window whose text is gone."""


@dataclass(slots=True)
class Rebuilding:
    """A prompt, as it was when `seen` events had been written before it was made."""

    stored: Stored
    attempt: ToldAttempt
    fates: Fates
    seen: int
    gone: list[Field] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    proven: bool | None = None

    def request(self) -> SentRequest:
        """Return it, and whether it has the digest that was told."""
        context = self._context()
        examples, messages = list(self._examples()), list(self._messages())
        self._leave_out_messages()
        told = self.attempt
        if told.digest is not None:
            seals = ([each[1] for each in examples], [(each.side, seal) for each, seal in messages])
            digest = journal.sealed_digest(context[1], *seals, told.model, told.parameters)
            self.proven = journal.encode(digest) == told.digest
        return SentRequest(
            conversation=self.stored.record.id,
            turn=told.turn,
            attempt=0,
            attempts=0,
            kind=told.kind,
            at=told.at,
            model=told.model,
            asked_as=told.asked_as,
            parameters=journal.told_parameters(told.parameters),
            streamed=told.streamed,
            refused=told.refused,
            context=context[0],
            examples=tuple(each for each, _ in examples),
            messages=tuple(each for each, _ in messages),
            left_out=tuple(self.left_out),
            tokens=told.tokens,
            limit=told.limit,
            digest=None if told.digest is None else journal.decode(told.digest),
            proven=self.proven,
            gone=tuple(self.gone),
        )

    def _text(self, ref: Field, content: str | None, salt: bytes | None) -> tuple[str | None, str | None, str | None]:
        """Return a text as it was sent, what has become of it, and the commitment to it."""
        gone = self.fates.gone(ref, self.seen)
        if gone is None and content is not None:
            return content, None, journal.sealed(str(ref[0]), content, salt)
        if self.attempt.kind == NEXT and ref[:2] == ("content", self.attempt.turn):  # nobody has said it yet
            return None, None, None
        self.gone.append(ref)
        before = self.fates.before(ref, self.seen)
        seal = before or self.stored.told.get(ref, Told(None))
        return None, gone or MISSING, seal.commitment if gone else None

    def _tokens(self, refs: Sequence[Field], stored: int, count: int = 1) -> int | None:
        """Return the tokens of texts as they were sent: the row has those of what stands there now."""
        changes = [each for ref in refs for each in self.fates.since_anew(ref)]
        found: int | None = stored
        if any(each.number >= self.seen and each.commitment is not None for each in changes):
            before = [
                each
                for each in sorted(changes, key=lambda each: each.number)
                if each.number < self.seen and each.commitment is not None
            ]
            found = before[-1].tokens if before else self.stored.told.get(refs[0], Told(None)).tokens
        return None if found is None else found + count * self.attempt.overhead

    def _context(self) -> tuple[SentText | None, str | None]:
        record = self.stored.record
        if self.stored.told.get(CONTEXT, Told(None)).commitment is None:
            return None, None
        if self.fates.was_erased(CONTEXT, self.seen):
            self.left_out.append(LeftOut("context", 0, 0, ERASED))
            return None, None
        content, gone, seal = self._text(CONTEXT, record.context, record.context_salt)
        return SentText(content, self._tokens([CONTEXT], record.context_tokens), gone), seal

    def _examples(self) -> Iterator[tuple[SentExample, list[str | None]]]:
        """Yield the examples that were sent, with the commitments to their texts."""
        why: list[tuple[int, int, str]] = []
        for place, each in self._by_position():
            refs: list[Field] = [("input", place), ("output", place)]
            if any(self.fates.was_erased(ref, self.seen) for ref in refs):
                why.append((place, place, ERASED))
            elif place < self.attempt.first_example:
                why.append((place, place, NOT_FIT))
            else:
                asked, asked_gone, asked_seal = self._text(refs[0], each.input, each.input_salt)
                answer, answer_gone, answer_seal = self._text(refs[1], each.output, each.output_salt)
                sent = SentExample(place, asked, answer, self._tokens(refs, each.tokens, 2), asked_gone or answer_gone)
                yield sent, [asked_seal, answer_seal]
        self.left_out += _joined("examples", why)

    def _by_position(self) -> Iterator[tuple[int, Example]]:
        """Yield every example that is stored, or told of."""
        stored = {each.position: each for each in self.stored.examples}
        told = {int(ref[1]): each.tokens for ref, each in self.stored.told.items() if ref[0] == "input"}
        for place in sorted(told):
            yield place, stored.get(place) or Example(None, None, told[place] or 0)

    def _messages(self) -> Iterator[tuple[SentMessage, str | None]]:
        """Yield the messages that were sent, with the commitments to their texts."""
        erased = self._erased_turns()
        stored = {each.position: each for each in self.stored.messages}
        last = 2 * self.attempt.turn - 1
        first = min(max(self.attempt.start, self.stored.record.first_position), last)
        for position in range(first, last + 1):
            turn, each = (position + 1) // 2, stored.get(position)
            if turn in erased:
                continue
            if each is None:
                yield self._missing(position, turn), None
                continue
            ref = ref_of(each)
            content, gone, seal = self._text(ref, each.content, each.salt)
            tokens = self._tokens([ref], each.tokens)
            yield SentMessage(position, turn, each.side, each.author, each.candidate, content, tokens, gone), seal

    def _missing(self, position: int, turn: int) -> SentMessage:
        """Return what stands for a message whose row is gone; which candidate that was, nobody knows."""
        side = USER if position % 2 else MODEL
        self.gone.append(("content", turn, side, 0))
        return SentMessage(position, turn, side, self.stored.record.authors[side], 0, None, None, MISSING)

    def _erased_turns(self) -> set[int]:
        """Return the turns of which a text was gone when the prompt was made."""
        refs = [*self.stored.erased, *map(ref_of, self.stored.messages)]
        return {int(ref[1]) for ref in refs if self.fates.was_erased(ref, self.seen)} - {self.attempt.turn}

    def _leave_out_messages(self) -> None:
        first = at = self.stored.record.first_position
        start = self.attempt.start
        why: list[tuple[int, int, str]] = []
        for turn in sorted(self._erased_turns()):
            low = max(2 * turn - 1, first)
            why += [(at, min(low, start) - 1, NOT_FIT), (low, 2 * turn, ERASED)]
            at = 2 * turn + 1
        why.append((at, start - 1, NOT_FIT))
        why = [each for each in why if each[0] <= each[1]]
        if self.attempt.is_user_first and why and (why[0][0], why[0][2]) == (0, NOT_FIT):
            opening = [(0, 0, USER_FIRST)]
            why[:1] = opening if why[0][1] == 0 else [*opening, (1, why[0][1], NOT_FIT)]
        self.left_out += _joined("messages", why)


def _joined(what: str, ranges: Iterable[tuple[int, int, str]]) -> Iterator[LeftOut]:
    """Yield what was left out, neighbours for the same reason as one."""
    last: LeftOut | None = None
    for first, end, why in ranges:
        if last is not None and (last.last + 1, last.why) == (first, why):
            last = replace(last, last=end)
            continue
        if last is not None:
            yield last
        last = LeftOut(what, first, end, why)
    if last is not None:
        yield last


def rebuilt(stored: Stored, attempt: ToldAttempt, fates: Fates) -> SentRequest:
    """Return what was sent at an attempt; without its number, and without what is made of it for a service.

    A shortened prompt was made at some moment before the event that tells of it: as of which the digest proves, if any.
    """
    seen = [attempt.number, *fates.between(attempt.since, attempt.number)]
    made = [Rebuilding(stored, attempt, fates, number).request() for number in seen]
    return next((each for each in made if each.proven), made[0])
