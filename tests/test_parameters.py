"""How a model is to answer: every parameter within its range, as documented on the reference page of chat."""

from __future__ import annotations

import enum
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from convo import sampling, shapes
from convo.errors import InvalidParameter, InvalidText
from convo.values import Parameters


def failure(call: Callable[[], object], kind: type[Exception]) -> str:
    """Return the text of the error that `call` raises."""
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


class Count(enum.IntEnum):
    """An integer that is not quite one."""

    THREE = 3


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("temperature", 0, 0.0),
        ("temperature", 5.5, 5.5),
        ("temperature", 1, 1.0),
        ("top_p", 0, 0.0),
        ("top_p", 1, 1.0),
        ("top_k", 1, 1),
        ("top_k", 40.0, 40),
        ("top_k", 2**53 - 1, 2**53 - 1),
        ("candidate_count", 1, 1),
        ("candidate_count", 8, 8),
        ("candidate_count", Count.THREE, 3),
        ("max_output_tokens", 1, 1),
        ("max_output_tokens", 10**6, 10**6),
    ],
)
def test_a_parameter_within_its_range_is_kept(name: str, value: float, kept: float):
    made = getattr(sampling.parameters({name: value}), name)
    assert (kept, type(kept)) == (made, type(made))


NUMBERS = sorted(shapes.ParameterOptions.__annotations__.keys() - {"stop_sequences"})
TOO_MUCH = [float("nan"), float("inf"), float("-inf"), 10**400, -(10**400), 2**53, 1e300]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", TOO_MUCH)
def test_a_parameter_that_no_service_could_read_is_refused(name: str, value: float):
    assert f"{name} must be a finite number" == failure(lambda: sampling.parameters({name: value}), InvalidParameter)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("temperature", -0.1, "at least 0"),
        ("temperature", -1, "at least 0"),
        ("top_p", -0.1, "within [0, 1]"),
        ("top_p", 1.01, "within [0, 1]"),
        ("top_p", 2, "within [0, 1]"),
        ("top_k", 0, "at least 1"),
        ("top_k", -1, "at least 1"),
        ("top_k", 1.5, "a whole number"),
        ("candidate_count", 0, "within [1, 8]"),
        ("candidate_count", 9, "within [1, 8]"),
        ("candidate_count", -1, "within [1, 8]"),
        ("candidate_count", 2.5, "a whole number"),
        ("max_output_tokens", 0, "at least 1"),
        ("max_output_tokens", 0.5, "a whole number"),
    ],
)
def test_a_parameter_outside_its_range_is_refused_with_its_range(name: str, value: float, wanted: str):
    told = failure(lambda: sampling.parameters({name: value}), InvalidParameter)
    shown = float(value) if name in ("temperature", "top_p") else value
    assert f"{name} must be {wanted}, not {shown}" == told


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [True, False, "1", "", b"1", [1], {}, 1j, Decimal(1), Fraction(1), object()])
def test_a_parameter_that_is_no_number_is_a_type_error(name: str, value: Any):
    wanted = f"{name} must be a number, not {type(value).__name__}"
    assert wanted == failure(lambda: sampling.parameters({name: value}), TypeError)


def test_an_unknown_parameter_is_a_type_error_that_names_the_known_ones():
    told = failure(lambda: sampling.parameters({"temprature": 1}), TypeError)
    assert (True, True) == ("'temprature'" in told, "max_output_tokens, stop_sequences, temperature" in told)


def test_what_is_not_given_comes_from_the_base():
    base = Parameters(temperature=0.5, top_k=3)
    assert Parameters(temperature=0.7, top_k=3) == sampling.parameters({"temperature": 0.7, "top_k": None}, base)


def test_an_error_says_one_line_whatever_the_name():
    assert 1 == len(failure(lambda: sampling.parameters({"x\ny": 1}), TypeError).splitlines())


def test_the_callers_dictionary_stays_as_it_is():
    given: dict[str, Any] = {"temperature": 1, "top_k": None}
    sampling.parameters(given)
    assert {"temperature": 1, "top_k": None} == given


@pytest.mark.parametrize("given", [["END"], ("END", "\n\n"), [" "] * 16, ["x" * 1024]])
def test_stop_sequences_are_kept_as_they_are(given: Any):
    assert tuple(given) == sampling.parameters({"stop_sequences": given}).stop_sequences


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([], "stop_sequences must be 1 to 16 texts, not 0"),
        (["x"] * 17, "stop_sequences must be 1 to 16 texts, not 17"),
        ([""], "a stop sequence must have 1 to 1024 bytes"),
        (["x" * 1025], "a stop sequence must have 1 to 1024 bytes"),
        (["é" * 513], "a stop sequence must have 1 to 1024 bytes"),
    ],
)
def test_stop_sequences_outside_their_range_are_refused(given: Any, wanted: str):
    assert wanted == failure(lambda: sampling.parameters({"stop_sequences": given}), InvalidParameter)


@pytest.mark.parametrize("given", ["END", 1, {"a"}, object(), iter(["a"])])
def test_stop_sequences_are_a_list(given: Any):
    wanted = f"stop_sequences must be a list of texts, not {type(given).__name__}"
    assert wanted == failure(lambda: sampling.parameters({"stop_sequences": given}), TypeError)


def test_a_stop_sequence_that_is_no_text_is_refused():
    assert "a stop sequence must be a string, not int" == failure(
        lambda: sampling.parameters({"stop_sequences": [1]}), TypeError
    )


def test_a_stop_sequence_that_cannot_be_sent_is_refused():
    told = failure(lambda: sampling.parameters({"stop_sequences": ["a\0"]}), InvalidText)
    assert "a stop sequence has a NUL character at position 1: remove it" == told
