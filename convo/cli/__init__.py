"""The command line: one file a group of commands, this one puts them together.

Answers go to standard output and everything else to standard error, so that a pipe gets what was asked for and
nothing more. Only typer and the standard library are imported before a command runs: `convo --help` is quick.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convo.errors import ConvoError

EXIT_FAILURE, EXIT_USAGE, EXIT_NOT_FOUND, EXIT_AMBIGUOUS, EXIT_UNSOUND, EXIT_INTERRUPTED = 1, 2, 3, 5, 6, 130


def main() -> None:
    """Run the command line, and leave with its exit code."""
    _open_streams()
    try:
        from convo.cli.app import app
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("typer", "rich"):
            raise
        sys.stderr.write("error: the command line needs its extra: pip install 'convo[cli]'\n")
        sys.exit(EXIT_FAILURE)
    from convo.errors import ConvoError

    try:
        app()
    except ConvoError as error:
        sys.exit(_explain(error))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except OSError as error:  # whatever was answered is stored: the screen or the pipe is what failed
        with contextlib.suppress(OSError):
            sys.stderr.write(f"error: the output could not be written: {error.strerror}\n")
        sys.exit(EXIT_FAILURE)


def _open_streams() -> None:
    """Give each standard stream that was closed a place to go, and let none fail on a character."""
    warnings.simplefilter("ignore")  # what they tell is for programmers; people are told by notes
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - open until the end
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a stream that somebody replaced
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # what suppress() is for


def _explain(error: ConvoError) -> int:
    """Tell in one line what went wrong, and return the exit code for it."""
    from convo.cli.output import note_error
    from convo.errors import AmbiguousId, InvalidParameter, NotFound

    note_error(error)
    if isinstance(error, NotFound):
        return EXIT_NOT_FOUND
    if isinstance(error, AmbiguousId):
        return EXIT_AMBIGUOUS
    return EXIT_USAGE if isinstance(error, InvalidParameter) else EXIT_FAILURE
