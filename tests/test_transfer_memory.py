"""Exports and imports take no more memory for a long conversation than for a short one.

`python -m benchmarks.exporting` tells of 10,000 and of 100,000 messages.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import convo
from benchmarks.exporting import measured
from convo.testing.factories import ConversationFactory

SHORT, LONG = 1_000, 10_000
"""Turns: a conversation of as many takes 20 MB as values."""

MOST_MB = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Path:
    """Return a folder with a short and a long conversation, each in a store and in a file of its own."""
    made = tmp_path_factory.mktemp("transfer")
    for turns in (SHORT, LONG):
        shutil.copy(sqlite_template, made / f"{turns}.db")
        with convo.Store(f"sqlite:///{made}/{turns}.db") as store:
            ConversationFactory(store=store, turns=turns)
            store.export(made / f"{turns}.jsonl")
    return made


@pytest.mark.parametrize("way", ["export", "import"])
def test_memory_is_the_same_for_a_long_conversation(way: str, folder: Path):
    used = {}
    for turns in (SHORT, LONG):
        if way == "export":
            _, used[turns] = measured(way, folder / f"{turns}.db", folder / "out.jsonl")
        else:
            _, used[turns] = measured(way, folder / f"{turns} again.db", folder / f"{turns}.jsonl")
    assert used[LONG] - used[SHORT] < MOST_MB


@pytest.mark.parametrize("form", ["md", "html", "csv", "openai"])
def test_the_other_forms_are_written_in_pieces(form: str, folder: Path):
    program = "import sys, convo; from benchmarks.verifying import peak_megabytes\n"
    program += "with convo.Store(sys.argv[1]) as store: store.export(sys.argv[2], format=sys.argv[3])\n"
    program += "print(peak_megabytes())"
    used = []
    for turns in (SHORT, LONG):
        arguments = [f"sqlite:///{folder}/{turns}.db", os.devnull, form]
        ran = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
        used.append(float(ran.stdout))
    assert used[1] - used[0] < MOST_MB
