"""The events of late."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Final, Protocol

from stepbridge.core.envelope import Incoming, event_of

EVENTS_MAX: Final = 1_000
"""How many events are kept."""
CHARACTERS_MAX: Final = 32 * 1024 * 1024
"""How much text they may hold all together."""


@dataclass(frozen=True, slots=True)
class Logged:
    """An event as it came."""

    number: int
    """1 for the first event since the start."""
    at: datetime
    """When it reached the bus."""
    envelope: str

    def incoming(self) -> Incoming:
        """The event itself.

        Raises:
            ValueError: The engine does not take it; says why.
        """
        return event_of(self.envelope)


class Watched(Protocol):
    """A bus of whichever backend."""

    def watch(self, watcher: Callable[[datetime, str], object]) -> None:
        """Calls `watcher` with every event's time of arrival and envelope, in order."""


class EventLog:
    """The last events of a bus, newest first; what it holds is bounded."""

    def __init__(self, bus: Watched) -> None:
        self._kept: deque[Logged] = deque()
        self._characters = 0
        self._number = 0
        self._lock = Lock()
        bus.watch(self._take)

    def __iter__(self) -> Iterator[Logged]:
        """Newest first."""
        with self._lock:
            return iter(list(reversed(self._kept)))

    @property
    def number(self) -> int:
        """How many events have come since the start."""
        return self._number

    def _take(self, at: datetime, envelope: str) -> None:
        with self._lock:
            self._number += 1
            self._kept.append(Logged(self._number, at, envelope))
            self._characters += len(envelope)
            while len(self._kept) > EVENTS_MAX or self._characters > CHARACTERS_MAX:
                self._characters -= len(self._kept.popleft().envelope)
