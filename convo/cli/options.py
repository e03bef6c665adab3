"""The options and arguments that several commands have, and what is made of them before anything is opened."""

from __future__ import annotations

import re
import sys
from datetime import timedelta
from typing import Annotated, Any

import typer

ARROW = "=>"

_UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGE = re.compile(rf"([0-9]{{1,9}})\s*({'|'.join(_UNITS)})")

Reference = Annotated[
    str, typer.Argument(metavar="ID", help="An id, the beginning of one (4 digits or more), or a name.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NewName = Annotated[str | None, typer.Option("--name", metavar="NAME", help="What the new conversation is called.")]

ModelName = Annotated[str | None, typer.Option("--model", "-m", metavar="MODEL", help="The model that answers.")]
Temperature = Annotated[float | None, typer.Option(metavar="T", help="At least 0.")]
Candidates = Annotated[int | None, typer.Option(metavar="N", help="How many replies to ask for, 1 to 8.")]
TopP = Annotated[float | None, typer.Option(metavar="P", help="Within 0 and 1.")]
TopK = Annotated[int | None, typer.Option(metavar="K", help="At least 1.")]
MaxOutput = Annotated[int | None, typer.Option("--max-output-tokens", metavar="TOKENS", help="The longest answer.")]
Stop = Annotated[
    list[str] | None, typer.Option("--stop", metavar="TEXT", help="A text at which the answer ends; repeatable.")
]


def given(**options: Any) -> dict[str, Any]:  # noqa: ANN401 - options of several types
    """Return the options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def pair(example: str) -> tuple[str, str]:
    """Split an example at its arrow."""
    before, arrow, after = example.partition(ARROW)
    if not arrow or not before.strip() or not after.strip():
        raise typer.BadParameter(f"write 'INPUT {ARROW} OUTPUT', not {example!r}", param_hint="--example")
    return before.strip(), after.strip()


def piped() -> str:
    """Return what was piped in; the line end that echo adds is not part of the message."""
    from convo.errors import InvalidText

    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise InvalidText(f"standard input is not UTF-8 at byte {error.start}", position=error.start) from None


def span(age: str) -> timedelta:
    """Return the span of time that a number and a unit tell."""
    found = _AGE.fullmatch(age.strip())
    if found is None:
        raise typer.BadParameter(f"write a number and s, min, h, d or w, such as 90d, not {age!r}")
    try:
        return timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        raise typer.BadParameter(f"{age} is longer than can be counted") from None
