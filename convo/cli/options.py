"""The options and arguments that several commands have, and what is made of them before anything is opened."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

ARROW = "=>"

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
