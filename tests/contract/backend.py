"""What the contract suite needs of a backend: its ports, and the driver's hand on queue and time.

Another backend joins by a class of this shape and an entry in `conftest.BACKENDS`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

from stepbridge.memory.clock import VirtualClock
from stepbridge.memory.world import World
from stepbridge.ports import Message, Ports

START = datetime(2025, 1, 1, tzinfo=UTC)


class Backend(Protocol):
    """One app's world, whose rule lets every event into its queue."""

    @property
    def ports(self) -> Ports:
        """What the engine is given."""

    def receive(self, limit: int = 10) -> list[Message]:
        """Messages that are visible now; they come back after `visibility` unless acknowledged."""

    def acknowledge(self, messages: list[Message]) -> None:
        """Deletes received messages."""

    def dead(self) -> list[str]:
        """The bodies in the dead-letter queue."""

    def schedules(self) -> list[str]:
        """The names of the armed schedules, sorted."""

    def wait(self, time: timedelta) -> None:
        """Time passes; the schedules that come due meanwhile fire."""

    @property
    def visibility(self) -> timedelta:
        """For how long a received message is out of sight."""


class MemoryBackend:
    """The ports in memory, under a clock that stands until it is moved."""

    visibility = timedelta(seconds=150)

    def __init__(self) -> None:
        self.clock = VirtualClock(START)
        self.world = World(clock=self.clock)
        self.stack = self.world.stack("shop", lambda _: True)
        self.ports = self.stack.ports

    def receive(self, limit: int = 10) -> list[Message]:
        """As the protocol says."""
        return self.stack.queue.receive(limit)

    def acknowledge(self, messages: list[Message]) -> None:
        """As the protocol says."""
        self.stack.queue.acknowledge(messages)

    def dead(self) -> list[str]:
        """As the protocol says."""
        return [message.body for message, _ in self.stack.queue.dead]

    def schedules(self) -> list[str]:
        """As the protocol says."""
        return self.stack.timers.names()

    def wait(self, time: timedelta) -> None:
        """As the protocol says."""
        end = self.clock.now() + time
        while (at := self.stack.timers.next_at()) is not None and at <= end:
            self.clock.move_to(at)
            self.world.fire_due()
        self.clock.move_to(end)
