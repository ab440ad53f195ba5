"""The events of late: a queue of its own on the bus, as one would watch a bus on AWS."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Final

from stepbridge.core.envelope import Incoming, event_of
from stepbridge.memory.bus import MemoryBus
from stepbridge.memory.queue import MemoryQueue
from stepbridge.memory.requests import Requests
from stepbridge.ports import Clock

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


class EventLog:
    """The last events of a bus, newest first; what it holds is bounded."""

    def __init__(self, bus: MemoryBus, clock: Clock) -> None:
        self._kept: deque[Logged] = deque()
        self._characters = 0
        self._number = 0
        self._lock = Lock()
        self._clock = clock
        self._queue = MemoryQueue(clock, Requests())
        self._queue.on_deliver = self._take
        bus.subscribe(self._queue, lambda _: True)

    def __iter__(self) -> Iterator[Logged]:
        """Newest first."""
        with self._lock:
            return iter(list(reversed(self._kept)))

    @property
    def number(self) -> int:
        """How many events have come since the start."""
        return self._number

    def _take(self) -> None:
        with self._lock:
            messages = self._queue.receive(10)
            self._queue.acknowledge(messages)
            for message in messages:
                self._number += 1
                self._kept.append(Logged(self._number, message.sent_at or self._clock.now(), message.body))
                self._characters += len(message.body)
            while len(self._kept) > EVENTS_MAX or self._characters > CHARACTERS_MAX:
                self._characters -= len(self._kept.popleft().envelope)
