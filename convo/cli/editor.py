"""The line editor, in which a person types a message: a new one, or an old one that is to be sent otherwise."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from convo.text import inert

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

MARK, EDIT_MARK = "> ", "edit> "
"""What stands before a new message, and before one that is changed."""


def editor(said: Sequence[str]) -> PromptSession[str]:
    """Return an editor whose arrow keys bring back what was `said`, oldest first."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.output import create_output

    keys = KeyBindings()
    keys.add("escape", "enter")(lambda event: event.current_buffer.insert_text("\n"))
    # Answers alone go into a pipe; what is typed is shown on the terminal.
    output = None if sys.stdout.isatty() else create_output(stdout=sys.stderr)
    return PromptSession(history=InMemoryHistory(said), key_bindings=keys, output=output)


def retyped(session: PromptSession[str], text: str) -> str:
    """Return what a person makes of a text.

    Raises:
        KeyboardInterrupt, EOFError: by Ctrl-C, and by Ctrl-D where there is no text.
    """
    from prompt_toolkit.utils import is_dumb_terminal

    shown = inert(text) if is_dumb_terminal() else ""  # there, the editor shows only what is typed
    return session.prompt(EDIT_MARK + shown, default=text)
