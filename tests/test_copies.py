"""Copies of values with other fields, made without their classes' own ways."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest

from convo import copies
from convo.values import Event


@dataclass(frozen=True, slots=True)
class One:
    """A value with one field, which may be a tuple itself."""

    only: object


@dataclass(frozen=True)
class Loose:
    """A value without slots."""

    first: int
    second: int


@dataclass(frozen=True, slots=True)
class Busy:
    """A value that does something when it is made."""

    first: int
    second: int

    def __post_init__(self) -> None:
        assert self.first < self.second


def test_a_copy_has_what_was_changed_and_all_else():
    event = Event(1, "create", b"{}", b"digest")
    assert dataclasses.replace(event, number=2, body=b"") == copies.replace(event, number=2, body=b"")


def test_a_copy_has_no_other_fields():
    with pytest.raises(KeyError):
        copies.replace(Event(1, "create", b"{}", b"digest"), numbre=2)


@pytest.mark.parametrize("value", [One(()), Loose(1, 2), Busy(1, 2)], ids=["single", "no slots", "busy"])
def test_what_is_not_simple_is_not_copied(value: object):
    with pytest.raises(TypeError, match=r"use dataclasses\.replace"):
        copies.replace(value)
