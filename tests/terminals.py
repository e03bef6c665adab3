"""The command line on a terminal that a test holds the other end of."""

from __future__ import annotations

import shlex
import sys

import pexpect

from tests.processes import HERE, environment

_IMPATIENT = "import convo.cli.progress as progress; progress.PATIENCE_S = 0; import convo.cli; convo.cli.main()"


def on_terminal(*arguments: str, rest: str = "") -> tuple[int, str]:
    """Run a command that shows its bar at once; return its exit code, and all that came to the terminal.

    `rest` is what a shell makes of it: where its output goes.
    """
    command = f"{shlex.join([sys.executable, '-c', _IMPATIENT, *arguments])} {rest}"
    child = pexpect.spawn(
        "sh",
        ["-c", command],
        dimensions=(40, 200),
        encoding="utf-8",
        timeout=60,
        env=environment(HERE) | {"TERM": "xterm"},
    )
    printed: str = child.read()
    child.close()
    return child.exitstatus, printed
