"""The checker is worth something: without a safeguard it goes red, and with all of them it does not."""

from __future__ import annotations

import pytest

from tests.faults.mutations import MUTATIONS, broken_by

GUARDED = [name for name, each in MUTATIONS.items() if each.pattern and each.unguard]


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_checker_finds_what_a_missing_safeguard_lets_happen(url: str, name: str):
    found = set(broken_by(name, url))
    assert MUTATIONS[name].broken == found - {"database"}  # SQLite's own look at foreign keys, where they were off


@pytest.mark.parametrize("name", GUARDED)
def test_a_constraint_stands_in_for_a_missing_safeguard(url: str, name: str):
    assert [] == broken_by(name, url, guarded=True)


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_same_fault_breaks_nothing_of_a_whole_store(url: str, name: str):
    assert [] == broken_by(name, url, whole=True)
