"""Copies of values with other fields, which are those that dataclasses.replace() makes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import pytest

from convo import copies
from convo.values import Candidate, Event


@dataclass(frozen=True, slots=True)
class One:
    """A value with one field, which may be a tuple itself."""

    first: object


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
    total: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", self.first + self.second)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Detailed(Candidate):
    """A candidate with something more."""

    first: str = ""


class Shouting(Candidate):
    """A candidate that is made in its own way."""

    def __init__(self, first: int, content: str, **others: Any) -> None:
        super().__init__(first, content.upper(), **others)


VALUES = {
    "event": (Event(1, "create", b"{}", b"digest"), {"number": 2, "body": b""}),
    "one field": (One((1, 2)), {"first": (3,)}),
    "no slots": (Loose(1, 2), {"first": 3}),
    "busy": (Busy(1, 2), {"first": 3}),
    "a subclass": (Detailed(0, "a", first="b"), {"content": "c"}),
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_copy_is_the_one_that_dataclasses_make(kind: str):
    value, changes = VALUES[kind]
    made, copied = dataclasses.replace(value, **changes), copies.replace(value, **changes)
    assert [(each.name, getattr(made, each.name)) for each in dataclasses.fields(made)] == [
        (each.name, getattr(copied, each.name)) for each in dataclasses.fields(copied)
    ]
    assert type(made) is type(copied)


def test_there_is_no_copy_with_a_field_that_there_is_not():
    with pytest.raises(TypeError, match="numbre"):
        copies.replace(VALUES["event"][0], numbre=2)


def test_a_subclass_that_is_made_in_its_own_way_is_asked():
    with pytest.raises(TypeError, match="Shouting"):
        copies.replace(Shouting(0, "a"), content="b")
