"""What users write for durations and instants, read exactly or refused with the mend."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Final

from stepbridge.errors import ConfigError

_UNITS: Final = {
    name: unit
    for names, unit in (
        ("ms millisecond milliseconds", timedelta(milliseconds=1)),
        ("s sec secs second seconds", timedelta(seconds=1)),
        ("m min mins minute minutes", timedelta(minutes=1)),
        ("h hr hrs hour hours", timedelta(hours=1)),
        ("d day days", timedelta(days=1)),
        ("w week weeks", timedelta(weeks=1)),
    )
    for name in names.split()
}
_PART: Final = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([a-z]+)\s*")
_CHARACTERS_MAX: Final = 200
"""Of a duration: a text of a stranger's, as in a Retry-After header, costs no more than one of ours."""
_LATEST: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""Of an instant: the last day of the calendar, from which rounding up does not lead out of it."""
_EXAMPLES: Final = '"30s", "5m", "1h30m", "7 days", a timedelta, or a number of milliseconds'


def parse_duration(
    value: str | float | timedelta, *, what: str = "duration", maximum: timedelta | None = None
) -> timedelta:
    """A duration as users write it; a bare number is milliseconds.

    Args:
        value: `"30s"`, `"1h30m"`, `"1 day 2 hours"`, a `timedelta`, or milliseconds.
        what: What the value is for, named in the error.
        maximum: The longest that is accepted.

    Raises:
        ConfigError: It cannot be read, is negative or above `maximum`.
    """
    try:
        duration = _read(value)
    except OverflowError:
        duration = timedelta.min if isinstance(value, int | float) and value < 0 else timedelta.max
    if duration is None:
        raise ConfigError(f"{what} {shown(value)} is not a duration. Mend: {_EXAMPLES}.")
    if duration < timedelta(0):
        raise ConfigError(f"{what} {shown(value)} is negative. Mend: a duration of zero or more.")
    if maximum is not None and duration > maximum:
        raise ConfigError(f"{what} {shown(value)} is above the longest allowed. Mend: at most {maximum}.")
    return duration


def shown(value: object) -> str:
    """A value in an error's text: at most 300 characters of it, and its type where it cannot be shown."""
    try:
        return f"{value!r:.300}"
    except Exception:  # noqa: BLE001 - whatever a `__repr__` of the user's raises; an int of too many digits
        return f"of type {type(value).__name__}"


def parse_instant(value: datetime | str, *, what: str = "instant") -> datetime:
    """An instant as users write it, as aware UTC.

    Args:
        value: An aware `datetime`, or ISO 8601 text with an offset or `Z`.
        what: What the value is for, named in the error.

    Raises:
        ConfigError: It is naive or cannot be read.
    """
    instant: object = value
    try:
        if isinstance(value, str):
            instant = datetime.fromisoformat(value)
        if isinstance(instant, datetime) and instant.utcoffset() is not None:
            return min(instant.astimezone(UTC), _LATEST)
    except (ValueError, OverflowError, TypeError) as error:  # the last of a tzinfo of the user's
        raise ConfigError(
            f"{what} {shown(value)} is not an instant: {error}. Mend: ISO 8601 with an offset or Z, such"
            ' as "2026-01-31T09:00:00Z", or an aware datetime.'
        ) from error
    if isinstance(instant, datetime):
        raise ConfigError(
            f"{what} {shown(value)} does not say its time zone. Mend: add an offset or Z to the text, or"
            " tzinfo=datetime.UTC to the datetime."
        )
    raise ConfigError(f"{what} {shown(value)} is not an instant. Mend: an aware datetime or ISO text.")


def _read(value: object) -> timedelta | None:
    match value:
        case timedelta():
            return value
        case bool():
            return None
        case int() | float() if math.isfinite(value):
            return timedelta(milliseconds=value)
        case str():
            return _read_text(value)
    return None


def _read_text(text: str) -> timedelta | None:
    if len(text) > _CHARACTERS_MAX:
        return None
    total, at = timedelta(0), 0
    for part in _PART.finditer(text):
        number, name = part.groups()
        if part.start() != at or name not in _UNITS:
            return None
        total += float(number) * _UNITS[name] if "." in number else int(number) * _UNITS[name]
        at = part.end()
    return total if at == len(text) and text else None
