"""The statements that ask an answered turn's model again: what was answered stands until another answer is there."""

from __future__ import annotations

from convo.store.answering import (
    Answer,
    Attempt,
    Stored,
    answer_body,
    attempt_body,
    candidate_body,
    lease_columns,
    prompt_columns,
    second_body,
)
from convo.store.ledger import utc_now
from convo.store.turns import NEXT, Turns, taking
from convo.values import ConversationRecord


class Regeneration(Turns):
    """Everything about further answers to the last turn."""

    def begin_regeneration(self, record: ConversationRecord, attempt: Attempt) -> ConversationRecord:
        """Take the lease of the last turn of a locked conversation: while it is held no other turn can follow."""
        taken = {"fence": attempt.fence, **lease_columns(attempt)}
        self._run(taking(tuple(taken)), {"of": record.id, "turn": attempt.turn, **taken})
        return self._append(record, "regenerate", attempt_body(attempt), utc_now(), fence=attempt.fence)

    def finish_regeneration(self, record: ConversationRecord, attempt: Attempt, answer: Answer) -> Stored | None:
        """Store what an answer says that is new, and choose the first of it; None when the fence is another's.

        The turn's row keeps the figures of its first answer; one of a given history, which has none, gets the prompt.
        """
        at, sifted = utc_now(), self._sift(record, attempt.turn, answer.candidates)
        columns = {} if attempt.keeps_prompt else prompt_columns(attempt.prompt)
        if sifted.fresh:
            columns["chosen"] = NEXT
        closed = self._close(record, attempt.turn, attempt.fence, **columns)
        if closed is None:
            return None
        (chosen,) = closed
        body = {"turn": attempt.turn, "fence": attempt.fence, "chosen": chosen, "by": "model", "candidates": []}
        if sifted.fresh:
            new = (record, attempt.turn, chosen, sifted.fresh, at)
            messages = self._insert_candidates(*new, model=attempt.model)
            body["candidates"] = [candidate_body(each) for each in messages]
        told = body | sifted.told | answer_body(answer) | second_body(attempt)
        record = self._append(record, "finish", told, at)
        return Stored(record, chosen, turn=self.turn(record, attempt.turn))
