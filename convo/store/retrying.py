"""How long and how often a transaction is tried again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from convo.store import faults

Result = TypeVar("Result")

ATTEMPTS = 5
"""How often a transaction is run when other writers are faster."""

LONGEST_PAUSE_S = 1.0


def patiently(once: Callable[[], Result], within_s: float) -> Result:
    """Run `once` until it succeeds, fails for good, or `within_s` seconds have passed.

    Raises:
        DBAPIError: as it raised last.
    """
    until = time.monotonic() + within_s
    attempt = refused = 0
    while True:
        attempt += 1
        try:
            return once()
        except DBAPIError as error:
            refused += faults.is_busy(error)
            may_help = faults.is_lost(error) or (faults.is_busy(error) and refused < ATTEMPTS)
            if not may_help or time.monotonic() > until:
                raise
        time.sleep(random.uniform(0.5, 1) * min(0.01 * 2**attempt, LONGEST_PAUSE_S))  # noqa: S311 - spreads the retries
