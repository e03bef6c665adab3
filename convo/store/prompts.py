"""What a model was given for a turn, rebuilt from what the turn remembers of it: references, and no text twice."""

from __future__ import annotations

from convo.store.conversations import Conversations
from convo.store.history import History
from convo.values import ConversationRecord, MessagePrompt


class Prompts(Conversations, History):
    """Everything about prompts that were sent."""

    def prompt(
        self, record: ConversationRecord, turn: int, *, start: int | None = None, first_example: int | None = None
    ) -> MessagePrompt:
        """Return the prompt of a turn whose window began at position `start`, with the salts of its texts.

        Without `start`, as in a given history, it is all that was said before. Turns of which a text was erased are
        left out.
        """
        examples = self.examples(record)[first_example or 0 :]
        said = self.said(record, record.first_position if start is None else start, turn - 1)
        return MessagePrompt(record.context, tuple(examples), (*said, self.user_message(record, turn)))
