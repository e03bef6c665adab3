"""`python -m convo`: the command line."""

from __future__ import annotations

from convo.cli import main

main()
