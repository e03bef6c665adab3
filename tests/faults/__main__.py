"""``python -m tests.faults NAME [options]``: run the long form of a fault, as the module of that name has it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def names() -> list[str]:
    """Return the modules beside this one that can be run."""
    return sorted(
        path.stem
        for path in Path(__file__).parent.glob("[a-z]*.py")
        if "\ndef main(arguments: list[str]) -> int:" in path.read_text(encoding="utf-8")
    )


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in names():
        print(f"usage: python -m tests.faults {{{','.join(names())}}} [--help]", file=sys.stderr)  # noqa: T201 - its output
        return 2
    run = importlib.import_module(f"tests.faults.{arguments[0]}").main
    return int(run(arguments[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
