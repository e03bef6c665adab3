"""The token estimate: its rules, and how far it is from an exact tokenizer, language by language.

The samples were written for this test: stories in four languages, a chat full of emoji, and a Python module.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convo.tokens import estimate

SAMPLES = Path(__file__).parent / "samples"
TEXTS = st.text(max_size=80)
ASCII = st.text(st.characters(codec="ascii"), max_size=80)


@cache
def encoder(name: str) -> Callable[[str], list[int]]:
    """Load an exact tokenizer, once for each process: its table of merges takes up to 0.3 s."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own, of importlib.resources.open_binary
        import bpe_openai

        return bpe_openai.get_encoding(name).encode_ordinary


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.txt").read_text(encoding="utf-8")


def test_an_empty_text_has_no_tokens():
    assert 0 == estimate("")


@given(ASCII)
def test_ascii_has_four_characters_a_token_rounded_up(text: str):
    assert math.ceil(len(text) / 4) == estimate(text)


@given(TEXTS.filter(lambda text: not text.isascii()))
def test_other_text_has_three_bytes_a_token_rounded_up(text: str):
    assert math.ceil(len(text.encode()) / 3) == estimate(text)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a", 1),
        ("abcd", 1),
        ("abcde", 2),
        ("é", 1),
        ("éé", 2),
        ("你", 1),
        ("你好", 2),
        ("😀", 2),
        ("\n", 1),
        ("abcdé", 2),
    ],
)
def test_the_estimate_of_short_texts(text: str, tokens: int):
    assert tokens == estimate(text)


@given(TEXTS, TEXTS)
def test_a_longer_text_never_has_fewer_tokens(text: str, more: str):
    assert max(estimate(text), estimate(more)) <= estimate(text + more)


@given(st.lists(ASCII, min_size=1, max_size=5) | st.lists(TEXTS.map("é".__add__), min_size=1, max_size=5))
def test_a_text_has_as_many_tokens_as_its_parts_but_for_one_of_each(parts: list[str]):
    apart = sum(map(estimate, parts))
    assert apart - len(parts) < estimate("".join(parts)) <= apart


@given(TEXTS)
def test_a_text_never_has_more_tokens_than_bytes(text: str):
    assert estimate(text) <= len(text.encode())


def test_a_large_text_is_counted_exactly():
    assert (1_048_576, 1_398_102) == (estimate("a" * 4_194_304), estimate("é" + "a" * 4_194_302))


@pytest.mark.parametrize("name", ["arabic", "chinese", "code", "emoji", "english", "german"])
def test_a_sample_has_two_to_four_kilobytes(name: str):
    assert 2000 <= len(sample(name).encode()) <= 4096


@pytest.mark.parametrize(
    ("name", "encoding", "low", "high"),
    [
        ("english", "cl100k_base", 0.95, 1.15),  # measured: 574 / 547 = 1.05
        ("english", "o200k_base", 0.95, 1.15),  # measured: 574 / 542 = 1.06
        ("german", "cl100k_base", 1.05, 1.25),  # measured: 776 / 683 = 1.14
        ("german", "o200k_base", 1.20, 1.45),  # measured: 776 / 581 = 1.34
        ("code", "cl100k_base", 0.80, 1.00),  # measured: 631 / 712 = 0.89
        ("code", "o200k_base", 0.80, 1.00),  # measured: 631 / 715 = 0.88
        ("chinese", "cl100k_base", 0.70, 0.90),  # measured: 750 / 961 = 0.78
        ("chinese", "o200k_base", 1.05, 1.30),  # measured: 750 / 638 = 1.18
        ("arabic", "cl100k_base", 0.70, 0.95),  # measured: 899 / 1106 = 0.81
        ("arabic", "o200k_base", 1.60, 1.90),  # measured: 899 / 515 = 1.75
        ("emoji", "cl100k_base", 0.55, 0.75),  # measured: 819 / 1260 = 0.65
        ("emoji", "o200k_base", 0.70, 0.90),  # measured: 819 / 1023 = 0.80
    ],
)
def test_the_estimate_is_within_its_band_of_an_exact_count(name: str, encoding: str, low: float, high: float):
    text = sample(name)
    ratio = estimate(text) / len(encoder(encoding)(text))
    assert low <= ratio <= high, f"{name} with {encoding}: {ratio:.3f}"


@pytest.mark.parametrize("encoding", ["cl100k_base", "o200k_base"])
def test_no_sample_is_off_by_more_than_a_factor_can_correct(encoding: str):
    # Section 6 of the design: per model, a factor within [0.5, 4] turns the estimate into the model's own tokens.
    names = [each.stem for each in SAMPLES.glob("*.txt")]
    factors = [len(encoder(encoding)(sample(name))) / estimate(sample(name)) for name in names]
    assert 0.5 <= min(factors) <= max(factors) <= 4


def test_an_exact_tokenizer_is_loaded_once():
    assert encoder("cl100k_base") is encoder("cl100k_base")
