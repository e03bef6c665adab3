"""A conversation at the terminal: a line is a message, a line that begins with / is a command.

The editor's history is the conversation's own: nothing that was typed is kept anywhere but in the store.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from convo.cli.chat import is_unanswered, show_answer, show_reply
from convo.cli.output import cut, note, note_error, say
from convo.errors import ConvoError, TurnUnfinished
from convo.text import inert
from convo.values import USER

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

    from convo.conversation import Conversation

HISTORY = 100
"""How many of the conversation's messages the arrow keys bring back."""

SHOWN = 4
"""How many messages are shown when a conversation goes on."""

UNANSWERED = "the last message has no answer yet: /resume asks again, /discard drops it"

HELP = """/resume    ask again for the message that has no answer
/discard   drop the message that has no answer
/show      show the conversation so far
/help      show this
/exit      leave, as Ctrl-D does
//text     send a message that begins with a slash
Ctrl-C stops an answer that is under way; Alt-Enter begins a new line"""


def converse(talk: Conversation) -> None:
    """Talk until the person leaves."""
    _recall(talk)
    session = _session(talk)
    note("(/help shows the commands, Ctrl-D leaves)")
    while True:
        try:
            line = session.prompt("> ")
        except KeyboardInterrupt:
            continue  # what was typed is dropped, as in a shell
        except EOFError:
            return
        if line.strip() and not _handle(talk, line):
            return


def _handle(talk: Conversation, line: str) -> bool:
    """Do what a line asks for; False to leave."""
    word = line.strip()
    if word in ("/exit", "/quit"):
        return False
    commands: dict[str, Callable[[], object]] = {
        "/resume": lambda: show_reply(talk.resume()),
        "/discard": lambda: note(f"dropped: {cut(talk.discard() or '', 60)}"),
        "/show": lambda: _tell(talk, None, say),
        "/help": lambda: say(HELP),
    }
    if word in commands:
        _attempt(talk, commands[word])
    elif word.startswith("/") and not word.startswith("//"):
        note(f"there is no command {word.split()[0]}: /help shows those there are; // sends a text that begins with /")
    else:
        text = line.replace("//", "/", 1) if word.startswith("//") else line
        _attempt(talk, lambda: show_answer(talk, text))
    return True


def _attempt(talk: Conversation, action: Callable[[], object]) -> None:
    """Run an action; what goes wrong is told, and the conversation goes on."""
    try:
        action()
    except KeyboardInterrupt:
        note(f"stopped; {UNANSWERED}" if is_unanswered(talk) else "stopped")
    except TurnUnfinished:
        note(UNANSWERED)
    except ConvoError as error:
        note_error(error)


def _session(talk: Conversation) -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.output import create_output

    keys = KeyBindings()
    keys.add("escape", "enter")(lambda event: event.current_buffer.insert_text("\n"))
    said = [each.content for each in talk.messages(2 * HISTORY) if each.side == USER and each.content]
    # Answers alone go into a pipe; what is typed is shown on the terminal.
    output = None if sys.stdout.isatty() else create_output(stdout=sys.stderr)
    return PromptSession(history=InMemoryHistory(said), key_bindings=keys, output=output)


def _recall(talk: Conversation) -> None:
    """Show how a conversation that goes on has ended."""
    _tell(talk, SHOWN, note)
    if is_unanswered(talk):
        note(UNANSWERED)


def _tell(talk: Conversation, last: int | None, tell: Callable[[str], None]) -> None:
    for message in talk.messages(last):
        mark = "> " if message.side == USER else ""
        tell(f"{mark}{'[erased]' if message.content is None else inert(message.content)}")
