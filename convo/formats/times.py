"""Times as the text forms tell them: RFC 3339, in UTC, to the millisecond."""

from __future__ import annotations

from datetime import UTC, datetime


def told(at: datetime | None) -> str | None:
    """Return an aware time as text: 2026-01-01T12:00:00.000Z; what is below a millisecond is cut off."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def understood(text: object) -> datetime:
    """Return the aware time, in UTC, that a text tells; one without an offset is taken for UTC.

    Raises:
        ValueError: it is no time, or none of the years 1 to 9999 in UTC.
    """
    if not isinstance(text, str):
        msg = "a time is a text"
        raise ValueError(msg)  # noqa: TRY004 - what is read is wrong, not what was called
    at = datetime.fromisoformat(text)
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from None
