"""Copies of values with some of their fields changed, made on the way of each turn."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeVar

Value = TypeVar("Value")

_Way = tuple[Callable[[Any], Sequence[Any]], Mapping[str, int], Sequence[Callable[[Any, Any], None]]]
"""How all fields are read, the place of each, and how each is set."""


def replace(value: Value, **changes: object) -> Value:
    """Return what dataclasses.replace() does, with other values in some fields; in half the time for simple classes.

    That looks at each field anew in each call, and sets it against the class's own will: 5.2 µs for the 22 of a
    ConversationRecord, 2.4 µs here.

    Raises:
        TypeError: there is no such field.
    """
    kind: Any = type(value)
    way = _way(kind)
    if way is None or not changes.keys() <= way[1].keys():
        return dataclasses.replace(value, **changes)  # type: ignore[type-var]  # a dataclass
    read, places, write = way
    values = [*read(value)]
    for name, each in changes.items():
        values[places[name]] = each
    made: Value = object.__new__(kind)
    for set_field, each in zip(write, values, strict=True):
        set_field(made, each)
    return made


@functools.cache
def _way(kind: Any) -> _Way | None:  # noqa: ANN401 - a class
    """Return how values of a class can be copied; None where it has a way of its own to make one."""
    names = [each.name for each in dataclasses.fields(kind)]
    slots: list[Any] = [getattr(kind, name, None) for name in names]
    is_itself = "__dataclass_fields__" in vars(kind) and not hasattr(kind, "__post_init__")
    if not is_itself or len(names) < 2 or not all(map(inspect.ismemberdescriptor, slots)):
        return None
    return attrgetter(*names), {name: place for place, name in enumerate(names)}, [each.__set__ for each in slots]
