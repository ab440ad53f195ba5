"""One-time schedules in memory, with EventBridge Scheduler's grain of a minute."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heappop, heappush
from threading import Lock
from typing import Final

from stepbridge.memory.dice import Dice
from stepbridge.memory.queue import MemoryQueue
from stepbridge.memory.requests import Requests
from stepbridge.ports import Clock

INPUT_BYTES_MAX: Final = 256 * 1024
"""Of a schedule's body. Source: Scheduler API, 2026-11."""
_NAME: Final = re.compile(r"[0-9a-zA-Z_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class _Armed:
    fires_at: datetime
    body: str


class MemoryTimers:
    """`ports.Timers` in memory. A schedule fires at its second; with dice, up to 59 s later."""

    def __init__(self, clock: Clock, requests: Requests, queue: MemoryQueue, dice: Dice | None = None) -> None:
        self._clock = clock
        self._requests = requests
        self._queue = queue
        self._dice = dice
        self._armed: dict[str, _Armed] = {}
        self._heap: list[tuple[datetime, str]] = []
        """An entry whose time is not its schedule's is void."""
        self._lock = Lock()

    def create(self, name: str, at: datetime, body: str) -> None:
        """Arms the schedule for `at`, cut to the second; a name that is armed stays as it is.

        Raises:
            ValueError: the name is not 1-64 of `[0-9a-zA-Z-_.]`, `at` has passed, or the body is
                empty or above 256 KB.
        """
        at = at.replace(microsecond=0)
        if not _NAME.fullmatch(name):
            raise ValueError(f"schedule {name!r}: a name is 1 to 64 of 0-9 a-z A-Z - _ .")
        if at <= (now := self._clock.now()):
            raise ValueError(f"schedule {name}: {at} has passed, it is {now}")
        if not 0 < len(body.encode()) <= INPUT_BYTES_MAX:
            raise ValueError(f"schedule {name}: a body has 1 to {INPUT_BYTES_MAX} bytes")
        self._requests.count("CreateSchedule")
        with self._lock:
            if name not in self._armed:
                late = 0 if self._dice is None else self._dice.late_seconds()
                armed = self._armed[name] = _Armed(at + timedelta(seconds=late), body)
                heappush(self._heap, (armed.fires_at, name))

    def delete(self, name: str) -> None:
        """Removes the schedule; nothing happens where there is none."""
        self._requests.count("DeleteSchedule")
        with self._lock:
            self._armed.pop(name, None)

    # -- the driver's side -------------------------------------------------------------------------
    def fire_due(self) -> int:
        """Sends the bodies of the schedules that are due, and removes them; how many fired."""
        now = self._clock.now()
        fired: list[str] = []
        with self._lock:
            while self._drop_void() and self._heap[0][0] <= now:
                fired.append(self._armed.pop(heappop(self._heap)[1]).body)
        for body in fired:
            self._queue.deliver(body, internal=True)
            if self._dice is not None and self._dice.duplicate():
                self._queue.deliver(body, internal=True)
        return len(fired)

    def next_at(self) -> datetime | None:
        """When the next schedule fires; None: none is armed."""
        with self._lock:
            return self._heap[0][0] if self._drop_void() else None

    def names(self) -> list[str]:
        """The armed schedules, sorted."""
        with self._lock:
            return sorted(self._armed)

    def dump(self) -> dict[str, tuple[datetime, str]]:
        """When each schedule fires, and its body, by name."""
        with self._lock:
            return {name: (armed.fires_at, armed.body) for name, armed in self._armed.items()}

    def load(self, schedules: dict[str, tuple[datetime, str]]) -> None:
        """Takes in what `dump` gave."""
        with self._lock:
            for name, (fires_at, body) in schedules.items():
                self._armed[name] = _Armed(fires_at, body)
                heappush(self._heap, (fires_at, name))

    def _drop_void(self) -> bool:
        """Frees the top of the heap of what is void; whether a live entry is there."""
        while self._heap:
            fires_at, name = self._heap[0]
            if name in self._armed and self._armed[name].fires_at == fires_at:
                return True
            heappop(self._heap)
        return False
