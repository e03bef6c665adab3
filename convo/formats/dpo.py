"""OpenAI's form for learning from preferences, JSON Lines: what a person chose, and what was there to choose from.

    {"input":{"messages":[…]},"preferred_output":[{"role":"assistant","content":"…"}],"non_preferred_output":[…]}

One line has one answer that was chosen and one that was not: a turn of three candidates makes two lines.
https://platform.openai.com/docs/guides/direct-preference-optimization
"""

from __future__ import annotations

from collections.abc import Iterator

from convo.formats import pairs
from convo.formats.base import PlainWriter, Tally, Transcript
from convo.formats.json_text import written
from convo.formats.openai import Messages, told_first
from convo.values import USER, MessagePrompt, Preference

NO_PREFERENCE = "conversations without a preference"


class DPOWriter(PlainWriter):
    """Writes the turns of which a person has chosen an answer.

    The tally's turns are preferences, and its texts are the outputs of all lines: two a line. Of a preference, or of
    the texts before it, that is erased nothing is written.
    """

    def conversation(self, shown: Transcript) -> Iterator[str]:
        """Yield a line for each answer that another one was preferred to."""
        turns_before = self.tally.turns
        for each in shown.preferences:
            yield from self._lines(each)
        if self.tally.turns == turns_before:
            self.tally.left_out[NO_PREFERENCE] += 1
            return
        self.tally.conversations += 1
        for _ in pairs.whole(shown.examples, self.tally):
            pass  # a prompt has only those that are whole, so the others are counted here, once

    def _lines(self, preference: Preference) -> Iterator[str]:
        chosen = preference.chosen.content
        rejected = [each.content for each in preference.rejected if each.content is not None]
        if chosen is None or not rejected or any(each.content is None for each in preference.prompt.messages):
            self.tally.left_out[pairs.ERASED] += 1
            return
        self.tally.turns += 1
        self.tally.texts += 2 * len(rejected)
        told = {"input": {"messages": _messages(preference.prompt)}, "preferred_output": _output(chosen)}
        for each in rejected:
            yield written(told | {"non_preferred_output": _output(each)}) + "\n"


def _messages(prompt: MessagePrompt) -> Messages:
    said = [{"role": "user" if each.side == USER else "assistant", "content": each.content} for each in prompt.messages]
    return [*told_first(prompt.context, pairs.whole(prompt.examples, Tally())), *said]


def _output(text: str) -> Messages:
    return [{"role": "assistant", "content": text}]
