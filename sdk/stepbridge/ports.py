"""What the engine needs from the world, as Protocols. Memory and AWS each implement all of them.

Every method is one blocking call; `Ports.blocking` says whether it is worth a thread. A call that
raises leaves open whether it took effect: the message that drives the work then comes back, and every
call is idempotent by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from stepbridge.core.conditions import ALWAYS, Change, Condition, Item, Key, Updated


class Table(Protocol):
    """Items by key. Reads are strongly consistent; a write's condition and the write are one."""

    def get(self, key: Key) -> Item | None:
        """The item, or None."""

    def put(self, item: Item, when: Condition = ALWAYS) -> Item | None:
        """None once written; where `when` refused, the item that stands (empty: there is none)."""

    def update(self, key: Key, change: Change, when: Condition = ALWAYS) -> Updated:
        """Changes the item, making it if there is none; the item after, or the one that refused."""

    def delete(self, key: Key) -> None:
        """Deletes the item; nothing happens where there is none."""

    def query(self, pk: str, *, after: str = "") -> Iterator[Item]:
        """The partition's items with a sort key above `after`, in order, read page by page."""

    def query_index(
        self, partition: str, *, newest_first: bool = True, after: str | None = None, limit: int = 100
    ) -> list[Item]:
        """Items by the list index `gp`/`gs`, beyond the `gs` given as `after`; eventually consistent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as it was received."""

    id: str
    body: str
    receipt: str
    receives: int = 1
    """How often it was received, this time included."""
    internal: bool = False
    """It carries the attribute that only the engine's own messages have."""
    sent_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message of the engine to itself."""

    body: str
    delay: timedelta = timedelta(0)
    """At most 15 minutes; SQS rounds it up to whole seconds."""


class Queue(Protocol):
    """The app's queue: at least once, any order. Receiving and acknowledging belong to the driver."""

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Sends all of them, ten a call."""

    def postpone(self, message: Message, delay: timedelta) -> None:
        """A received message comes back after `delay` instead of at the end of its visibility."""

    def bury(self, message: Message, reason: str) -> None:
        """Puts a copy of a hopeless message into the dead-letter queue, with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An event for the bus: EventBridge's `DetailType`, `Source` and `Detail` (JSON text)."""

    name: str
    source: str
    detail: str


class Bus(Protocol):
    """The event bus."""

    def put(self, entries: Sequence[Entry]) -> None:
        """Puts all of them, ten a call; entries that the bus refused are tried again, then raised."""


class Timers(Protocol):
    """One-time schedules that send a message of the engine. They fire up to a minute late."""

    def create(self, name: str, at: datetime, body: str) -> None:
        """Arms the schedule; an equal name that is armed already is success."""

    def delete(self, name: str) -> None:
        """Removes the schedule; nothing happens where there is none."""


class Blobs(Protocol):
    """Large values by key, written once."""

    def put(self, key: str, data: bytes) -> None:
        """Writes the value; one that stands already under the key is kept, and is success."""

    def get(self, key: str) -> bytes:
        """The value; KeyError where there is none."""

    def renew(self, key: str) -> None:
        """The value's age begins anew: it expires as if it had been written now. KeyError where there is none."""


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> datetime:
        """Aware UTC, whole milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """One app's world."""

    table: Table
    queue: Queue
    bus: Bus
    timers: Timers
    blobs: Blobs
    clock: Clock
    blocking: bool = field(default=True)
    """Calls wait for a network, so the engine makes them in threads."""
    narrow: bool = field(default=False)
    """The app's rule lets only events through that the app declares."""
