"""A program that was written for google-generativeai runs on convo when two of its lines have changed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = (Path(__file__).parent / "samples" / "palm_program.txt").read_text(encoding="utf-8")

SAYS = """
models: True True
tokens: True
candidates: 3 filters: 0
- 1 True None
- 1 True None
- 1 True None
last: True
last: True
authors: ['0', '1', '0', '1', '0', '1']
same: True
saved: ['model', 'context', 'examples', 'messages', 'temperature', 'candidate_count', 'top_p', 'top_k', 'candidates']
messages: 8
author error: True
value error: True
"""


def ported() -> str:
    """Return the program with its import changed, and without the call that configured a key."""
    program = PROGRAM.replace("import google.generativeai as palm\n", "import convo as palm\n")
    return re.sub(r"^palm\.configure\(.*\)\n", "", program, flags=re.MULTILINE)


def test_two_lines_of_the_program_change():
    before, after = PROGRAM.splitlines(), ported().splitlines()
    assert ["import google.generativeai as palm", 'palm.configure(api_key=os.environ.get("PALM_API_KEY"))'] == [
        line for line in before if line not in after
    ]
    assert ["import convo as palm"] == [line for line in after if line not in before]


@pytest.mark.parametrize("default", [{}, {"CONVO_MODEL": "offline/eliza"}])
def test_the_program_runs_and_hears_who_answers(default: dict[str, str], tmp_path: Path):
    ran = subprocess.run(
        [sys.executable, "-c", ported()],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **default},
        check=True,
    )
    assert SAYS.strip() == re.sub(r"(messages: 8) .*", r"\1", ran.stdout.strip())
    assert "<string>:10: RetiredModelWarning: models/chat-bison-001 was switched off in 2024" in ran.stderr
