"""How long one request may take, and when it is made again: policies as data, which decide and never wait."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from convo.errors import InvalidParameter
from convo.values import DictLike

MAX_PAUSE_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When a call that failed is made again: after errors that are `retryable`, after pauses that grow.

    The pauses are those of google.api_core.retry for this API: 1 s, then 1.3 times as long each time, 10 s at most.

    Raises:
        InvalidParameter: a pause or a number of calls that makes no sense.
    """

    attempts: int = 5
    """How many calls are made at most, the first one included."""
    initial_s: float = 1.0
    multiplier: float = 1.3
    maximum_s: float = 10.0

    def __post_init__(self) -> None:
        attempts: object = self.attempts
        if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
            raise InvalidParameter(f"attempts must be a whole number from 1, not {self.attempts!r}")
        if not 0 <= self.initial_s <= self.maximum_s <= MAX_PAUSE_S or not 1 <= self.multiplier < math.inf:
            raise InvalidParameter(
                f"pauses must be 0 <= initial_s <= maximum_s <= {MAX_PAUSE_S:.0f}, and grow by a multiplier from 1"
            )

    def pause_s(self, failures: int) -> float | None:
        """Return how long to wait after so many failed calls, in seconds; None to give up."""
        if failures >= self.attempts:
            return None
        pause_s = self.initial_s
        for _ in range(failures - 1):  # no power: it would overflow for a patient policy
            pause_s = min(pause_s * self.multiplier, self.maximum_s)
        return pause_s


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RequestOptions(DictLike):
    """How long a request may take, and when it is made again. As a dictionary it always has both keys."""

    KEYS = ("retry", "timeout")

    retry: Retry | None = None
    """None: convo calls once. What a client does within a call is its own affair."""
    timeout: float | None = None
    """Seconds, over all calls and the pauses between them; convo's default when None."""

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - as a dictionary's
        if key in self.KEYS:
            return getattr(self, key)
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.KEYS)
