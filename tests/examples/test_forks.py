"""A program that is forked from the warm process finds what it would find in a Python that was started for it."""

from __future__ import annotations

import json

import pytest

from tests.examples.forks import Fork
from tests.examples.running import Program, Start, started


def mirror(start: Start) -> Program:
    """Run the program that tells what it finds, to its end."""
    program = Program(["-m", "tests.examples.mirror", "--flag", "ü"], {"GIVEN": "ü"}, start)
    assert 0 == program.wait()
    return program


def test_it_finds_all_as_it_is_in_a_python_of_its_own():
    assert json.loads(mirror(started).log[0]) == json.loads(mirror(Fork).log[0])


@pytest.mark.parametrize("start", [started, Fork])
def test_what_it_leaves_open_is_told_at_its_end(start):
    assert any("ResourceWarning: unclosed" in line for line in mirror(start).log)
