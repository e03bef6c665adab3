"""The candidates of a turn, set out to be compared."""

from __future__ import annotations

from rich.cells import cell_len

from convo.cli.candidates import set_out
from convo.values import Candidate


def shown(*texts: str | None, width: int, chosen: int = 0, models: tuple[str, ...] = ("m",)) -> str:
    """Return the lines as one text that begins with a line end."""
    candidates = [Candidate(number, text, model=models[number % len(models)]) for number, text in enumerate(texts)]
    lines = set_out(candidates, chosen, width)
    assert all(cell_len(line) <= width for line in lines)
    return "\n" + "\n".join(lines) + "\n"


def test_side_by_side_where_each_has_thirty_columns():
    assert """
  0                              * 1
  The mouse is behind the          It is not.
  cupboard.
                                   Ask the dog.
""" == shown("The mouse is behind the cupboard.", "It is not.\n\nAsk the dog.", width=63, chosen=1)


def test_one_below_another_where_they_would_have_less():
    assert """
  0
  The mouse is behind the cupboard.

* 1
  It is not.

  2
  [erased]
""" == shown("The mouse is behind the cupboard.", "It is not.", None, width=80, chosen=1)


def test_models_are_named_where_there_are_several():
    assert """
* 0  openai/a                      1  ollama/b
  yes                              no
""" == shown("yes", "no", width=63, models=("openai/a", "ollama/b"))


def test_wide_characters_long_words_and_characters_that_act():
    assert """
* 0                                1
  鼠鼠鼠鼠鼠鼠鼠鼠鼠鼠鼠鼠鼠鼠     \\x1b[31mred \\u202e and
  鼠鼠鼠鼠鼠鼠                     xxxxxxxxxxxxxxxxxxxxxxxxxxxx
                                   xxxxxxxxxxxx
""" == shown("鼠" * 20, "\x1b[31mred \u202e and " + "x" * 40, width=63)


def test_one_alone_in_any_width():
    assert """
* 0
  one
  two
""" == shown("one two", width=7)
