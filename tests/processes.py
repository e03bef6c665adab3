"""Python processes beside the test's own: one after the other, or all at the same moment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parents[1]
"""The checkout, from which the processes import convo."""

_ON_YOUR_MARK = """
import sys
print("ready", flush=True)
sys.stdin.readline()
"""


def run(*arguments: str, folder: Path = HERE) -> subprocess.CompletedProcess[str]:
    """Run Python with `arguments` in `folder`, with warnings as errors; return what it said."""
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a script; return when it waits at its line ``# go`` for a line of input."""
    process = _start(script, arguments)
    _await_ready(process)
    return process


def run_at_once(script: str, arguments: Sequence[Sequence[str]]) -> list[tuple[int, str, str]]:
    """Run a script once for each of `arguments`, all from ``# go`` at the same moment; return how each one ended."""
    processes = [_start(script, each) for each in arguments]
    for each in processes:
        _await_ready(each)
    for each in processes:
        each.stdin.write("\n")
        each.stdin.flush()
    said = [each.communicate() for each in processes]
    return [(each.returncode, *texts) for each, texts in zip(processes, said, strict=True)]


def _start(script: str, arguments: Sequence[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script.replace("# go", _ON_YOUR_MARK), *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=HERE, env=environment(HERE), text=True, **pipes)


def _await_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout.readline() == "ready\n", process.communicate()[1]


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(folder)}
