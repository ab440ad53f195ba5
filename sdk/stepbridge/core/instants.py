"""Instants: aware UTC datetimes in memory, whole milliseconds since the epoch in records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


def to_ms(instant: datetime) -> int:
    """Whole milliseconds since the epoch, rounded up: a due time read back is never early."""
    return -((EPOCH - instant) // _MS)


def from_ms(ms: int) -> datetime:
    """The aware UTC instant of `ms` milliseconds since the epoch."""
    return EPOCH + _MS * ms
