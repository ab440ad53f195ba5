"""Clocks: one that tests move, and the system's, the only place that reads it."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Lock

from stepbridge.core.instants import from_ms, to_ms


class VirtualClock:
    """A clock that stands until it is moved."""

    def __init__(self, start: datetime) -> None:
        self._now = from_ms(to_ms(start))
        self._lock = Lock()

    def now(self) -> datetime:
        """Aware UTC, whole milliseconds."""
        return self._now

    def move_to(self, instant: datetime) -> None:
        """Moves on to `instant`, rounded up to the millisecond; never back."""
        with self._lock:
            self._now = max(self._now, from_ms(to_ms(instant)))


class SystemClock:
    """The system's time."""

    def now(self) -> datetime:
        """Aware UTC, whole milliseconds."""
        now = datetime.now(UTC)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)
