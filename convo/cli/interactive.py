"""A conversation at the terminal: a line is a message, a line that begins with / is a command.

The editor's history is the conversation's own: nothing that was typed is kept anywhere but in the store. A command
that begins a fork goes on in it, and says how to come back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convo import prepare
from convo.cli.branches import (
    STANDS,
    ask_again,
    edited,
    last_answered,
    message_of,
    show_candidates,
    show_tree,
    tell_of_fork,
)
from convo.cli.chat import is_unanswered, show_answer, show_reply
from convo.cli.editor import MARK, editor, retyped
from convo.cli.output import cut, note, note_error, say
from convo.errors import ConvoError, TurnNotFound, TurnUnfinished
from convo.text import inert
from convo.values import USER

if TYPE_CHECKING:
    from convo.conversation import Conversation
    from convo.stores import Store

HISTORY = 100
"""How many of the conversation's messages the arrow keys bring back."""

SHOWN = 4
"""How many messages are shown when a conversation goes on."""

UNANSWERED = "the last message has no answer yet: /resume asks again, /discard drops it"

HELP = """/regenerate [N]  ask for another answer to the last message, or for N
/candidates      show all answers to the last message
/choose N        choose one of them
/edit [TURN]     send another message in the place of the last one, or of a turn's
/fork [TURN]     go on from here, or from a turn, in a conversation of its own
/undo            go on from before the last message
/tree            show the forks, and where they part
/resume          ask again for the message that has no answer
/discard         drop the message that has no answer
/show            show the conversation so far, with the numbers of its turns
/help            show this
/exit            leave, as Ctrl-D does
//text           send a message that begins with a slash
/edit, /fork and /undo change nothing of what was said: they go on in a fork
Ctrl-C stops an answer that is under way; Alt-Enter begins a new line"""


def converse(store: Store, talk: Conversation) -> None:
    """Talk until the person leaves."""
    _recall(talk)
    dialogue = Dialogue(store, talk)
    note("(/help shows the commands, Ctrl-D leaves)")
    try:
        while dialogue.take_line():
            pass
    finally:
        dialogue.drop_empty_fork(talk)


@dataclass(frozen=True, slots=True)
class Command:
    """What a word does, with the number behind it or without one."""

    run: Callable[[int | None], object]
    takes: str | None = None
    """What the number is; None where there is none."""
    is_needed: bool = False


class Dialogue:
    """A conversation that a person holds, and that may go on in a fork."""

    def __init__(self, store: Store, talk: Conversation) -> None:
        self._store = store
        self._go_on_in(talk)
        self._commands = {
            "/regenerate": Command(self._regenerate, "how many answers to ask for"),
            "/candidates": Command(lambda _: show_candidates(last_answered(self.talk))),
            "/choose": Command(self._choose, "that of a candidate, as /candidates shows it", is_needed=True),
            "/edit": Command(self._edit, "that of a turn, as /show tells it"),
            "/fork": Command(self._fork, "that of a turn, as /show tells it"),
            "/undo": Command(lambda _: self._undo()),
            "/tree": Command(lambda _: show_tree(self._store, self.talk)),
            "/resume": Command(lambda _: show_reply(self.talk.resume())),
            "/discard": Command(lambda _: note(f"dropped: {cut(self.talk.discard() or '', 60)}")),
            "/show": Command(lambda _: _tell(self.talk, None, say)),
            "/help": Command(lambda _: say(HELP)),
        }

    def take_line(self) -> bool:
        """Let the person type a line, and do what it asks for; False to leave."""
        try:
            line = self.editor.prompt(MARK)
        except KeyboardInterrupt:
            return True  # what was typed is dropped, as in a shell
        except EOFError:
            return False
        return not line.strip() or self._handle(line)

    def drop_empty_fork(self, first: Conversation) -> None:
        """Do not keep a fork without any turn, as no new conversation is kept in which nothing was said."""
        if self.talk.id != first.id and self.talk.refresh().record.turn_count == 0:
            self._store.delete(self.talk.id, owner=self.talk.owner)

    def _handle(self, line: str) -> bool:
        word, *behind = line.split()
        if line.strip() in ("/exit", "/quit"):
            return False
        if word.startswith("//") or not word.startswith("/"):
            text = line.replace("//", "/", 1) if word.startswith("//") else line
            self._attempt(lambda: show_answer(self.talk, text))
        elif word in self._commands:
            self._obey(word, behind)
        else:
            note(f"there is no command {word}: /help shows those there are; // sends a text that begins with /")
        return True

    def _obey(self, word: str, behind: list[str]) -> None:
        """Run a command, unless what stands behind it is not what it takes."""
        command, number = self._commands[word], None
        is_fit = command.is_needed <= len(behind) <= (command.takes is not None)
        try:
            number = int(behind[0]) if behind else None
        except ValueError:
            is_fit = False
        if is_fit:
            self._attempt(lambda: command.run(number))
        else:
            note(f"{word} takes one number: {command.takes}" if command.takes else f"{word} takes nothing behind it")

    def _attempt(self, action: Callable[[], object]) -> None:
        """Run an action; what goes wrong is told, and the conversation goes on."""
        try:
            action()
        except KeyboardInterrupt:
            note(f"stopped; {UNANSWERED}" if is_unanswered(self.talk) else "stopped")
        except TurnUnfinished:
            note(UNANSWERED)
        except ConvoError as error:
            if isinstance(error, TurnNotFound) and not self.talk.record.turn_count:
                note("nothing was said yet")
            else:
                note_error(error)

    def _go_on_in(self, talk: Conversation) -> None:
        self.talk = talk
        self.editor = editor(
            [each.content for each in talk.messages(2 * HISTORY) if each.side == USER and each.content]
        )

    def _move(self, made: Conversation) -> None:
        """Go on in a fork, and say how to come back."""
        note(f"(you are in it now; back: convo chat --id {self.talk.id})")
        self._go_on_in(made)

    def _regenerate(self, count: int | None) -> None:
        try:
            ask_again(self.talk, {} if count is None else {"candidate_count": count})
        except KeyboardInterrupt:
            if is_unanswered(self.talk):
                raise
            note(STANDS)

    def _choose(self, candidate: int | None) -> None:
        last_answered(self.talk)
        self.talk.choose(candidate or 0)
        note(f"candidate {candidate} is chosen")

    def _edit(self, number: int | None) -> None:
        before, turn = self.talk, self._last() if number is None else number
        try:
            text = retyped(self.editor, message_of(before, turn))
        except (KeyboardInterrupt, EOFError):
            text = ""
        if not text.strip():
            note("nothing was changed")
            return
        prepare.question(text)  # before there is a fork for it
        with edited(self._store, before, turn) as made:
            self.talk = made
            self._attempt(lambda: show_answer(made, text))
        self.talk = before
        if made.record.turn_count < turn:
            note("nothing was changed")
        else:
            self._move(made)

    def _fork(self, turn: int | None) -> None:
        self._last()
        made = self.talk.fork(at=turn)
        tell_of_fork(made)
        self._move(made)

    def _undo(self) -> None:
        last = self._last()
        dropped = message_of(self.talk, last)
        made = self.talk.fork(at=last - 1)
        note(f"left out: {cut(dropped, 60)}")
        tell_of_fork(made)
        self._move(made)

    def _last(self) -> int:
        """Return the number of the last turn.

        Raises:
            TurnNotFound: nothing was said yet.
        """
        if not (last := self.talk.refresh().record.turn_count):
            raise TurnNotFound(self.talk.id, 1)
        return last


def _recall(talk: Conversation) -> None:
    """Show how a conversation that goes on has ended."""
    _tell(talk, SHOWN, note)
    if is_unanswered(talk):
        note(UNANSWERED)


def _tell(talk: Conversation, last: int | None, tell: Callable[[str], None]) -> None:
    for message in talk.messages(last):
        mark = f"{message.turn}> " if message.side == USER else ""
        tell(f"{mark}{'[erased]' if message.content is None else inert(message.content)}")
