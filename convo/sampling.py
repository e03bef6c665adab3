"""How a model is to answer, as callers give it: numbers and texts, checked and made into Parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from convo.errors import InvalidParameter
from convo.text import clean_text
from convo.values import Parameters

MAX_CANDIDATES = 8
"""The reference page: "This value must be between `[1, 8]`, inclusive"."""

_Number = TypeVar("_Number", int, float)
_MAX_NUMBER = 2**53
MAX_STOPS, MAX_STOP_BYTES = 16, 1024
"""How many stop sequences there may be, and the longest one: they are kept with each turn."""

_PARAMETERS = frozenset(each.name for each in fields(Parameters))


def parameters(given: Mapping[str, Any], base: Parameters = Parameters()) -> Parameters:
    """Return `base` with the parameters among `given` that are set.

    Raises:
        TypeError: a value that is not a number, or an unknown name.
        InvalidParameter: temperature below 0, top_p outside [0, 1], top_k or max_output_tokens below 1,
            candidate_count outside [1, 8], none or more than 16 stop_sequences.
        InvalidText: a stop sequence that cannot be sent.
    """
    if not given:
        return base
    unknown = set(given) - _PARAMETERS
    if unknown:
        msg = f"unknown parameter {min(unknown)!r}: there are {', '.join(sorted(_PARAMETERS))}"
        raise TypeError(msg)
    checked: dict[str, Any] = {name: _checked(name, value) for name, value in given.items() if value is not None}
    return replace(base, **checked)


def number(name: str, value: Any) -> float | int:  # noqa: ANN401 - the caller's value, of any type
    """Return a number, whatever its range; TypeError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{name} must be a number, not {type(value).__name__}"
        raise TypeError(msg)
    return value


def _stops(given: Any) -> tuple[str, ...]:  # noqa: ANN401 - the caller's value, of any type
    if isinstance(given, str) or not isinstance(given, Sequence):
        msg = f"stop_sequences must be a list of texts, not {type(given).__name__}"
        raise TypeError(msg)
    if not 1 <= len(given) <= MAX_STOPS:
        raise InvalidParameter(f"stop_sequences must be 1 to {MAX_STOPS} texts, not {len(given)}")
    return tuple(_stop(each) for each in given)


def _stop(given: Any) -> str:  # noqa: ANN401 - the caller's value, of any type
    text = clean_text(given, "a stop sequence")
    if not text or len(text.encode()) > MAX_STOP_BYTES:
        raise InvalidParameter(f"a stop sequence must have 1 to {MAX_STOP_BYTES} bytes")
    return text


def _checked(name: str, given: Any) -> float | int | tuple[str, ...]:  # noqa: ANN401 - the caller's value, of any type
    if name == "stop_sequences":
        return _stops(given)
    value = number(name, given)
    if not -_MAX_NUMBER < value < _MAX_NUMBER:  # false for NaN too
        raise InvalidParameter(f"{name} must be a finite number")
    if name == "temperature":
        return _in_range(name, float(value), 0, math.inf)
    if name == "top_p":
        return _in_range(name, float(value), 0, 1)
    if value != int(value):
        raise InvalidParameter(f"{name} must be a whole number, not {value}")
    return _in_range(name, int(value), 1, MAX_CANDIDATES if name == "candidate_count" else math.inf)


def _in_range(name: str, value: _Number, low: float, high: float) -> _Number:
    if low <= value <= high:
        return value
    wanted = f"at least {low}" if high == math.inf else f"within [{low}, {high}]"
    raise InvalidParameter(f"{name} must be {wanted}, not {value}")
