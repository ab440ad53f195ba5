"""A whole account in memory: one bus, and for each app its table, queue, timers and blobs."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any

from stepbridge.memory.blobs import MemoryBlobs
from stepbridge.memory.bus import MemoryBus
from stepbridge.memory.dice import Dice
from stepbridge.memory.queue import MemoryQueue
from stepbridge.memory.requests import Requests
from stepbridge.memory.table import MemoryTable
from stepbridge.memory.timers import MemoryTimers
from stepbridge.ports import Clock, Entry, Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One app's resources."""

    table: MemoryTable
    queue: MemoryQueue
    timers: MemoryTimers
    blobs: MemoryBlobs
    requests: Requests
    """What was asked of them, and what the app put on the bus."""
    ports: Ports
    """The same, as the engine sees it."""


class World:
    """Apps that share a bus and a clock. With `dice` everything happens at its worst."""

    def __init__(self, *, clock: Clock, dice: Dice | None = None, log_max: int | None = None) -> None:
        self.clock = clock
        self.requests = Requests()
        """What was asked of the bus by others than the apps."""
        self.bus = MemoryBus(clock, self.requests, dice, log_max=log_max)
        self._dice = dice
        self._stacks: dict[str, Stack] = {}
        self._lock = Lock()

    @property
    def stacks(self) -> dict[str, Stack]:
        """The stacks by app id, in the order in which they were made."""
        with self._lock:
            return dict(self._stacks)

    def stack(self, app_id: str, wants: Callable[[Entry], bool]) -> Stack:
        """The app's stack, made at the first call; `wants` is its rule from now on."""
        with self._lock:
            stack = self._stacks.get(app_id)
            if stack is None:
                stack = self._stacks[app_id] = self._new_stack()
        self.bus.subscribe(stack.queue, wants)
        return stack

    def next_at(self) -> datetime | None:
        """When the next message becomes visible or the next schedule fires; None: never."""
        instants = [
            at
            for stack in self.stacks.values()
            for at in (stack.queue.next_at(), stack.timers.next_at())
            if at is not None
        ]
        return min(instants, default=None)

    def fire_due(self) -> int:
        """Fires the schedules whose time has come; how many."""
        return sum(stack.timers.fire_due() for stack in self.stacks.values())

    def dump(self) -> str:
        """The world as JSON text, but for the bus's rules and log, the counts and the dice."""
        stacks = {
            app_id: {
                "table": stack.table.items(),
                "queue": stack.queue.dump(),
                "timers": stack.timers.dump(),
                "blobs": stack.blobs.dump(),
            }
            for app_id, stack in self.stacks.items()
        }
        return json.dumps({"puts": self.bus.puts, "stacks": stacks}, default=_tagged)

    def load(self, text: str) -> None:
        """Fills an empty world with what `dump` gave; each app then asks for its stack as ever."""
        state = json.loads(text, object_hook=_untagged)
        self.bus.puts = state["puts"]
        for app_id, parts in state["stacks"].items():
            stack = self._stacks[app_id] = self._new_stack()
            stack.table.load(parts["table"])
            stack.queue.load(parts["queue"])
            stack.timers.load(parts["timers"])
            stack.blobs.load(parts["blobs"])

    def _new_stack(self) -> Stack:
        requests = Requests()
        table = MemoryTable(requests)
        queue = MemoryQueue(self.clock, requests, dice=self._dice)
        timers = MemoryTimers(self.clock, requests, queue, self._dice)
        blobs = MemoryBlobs(requests)
        ports = Ports(
            table=table,
            queue=queue,
            bus=self.bus.counted_by(requests),
            timers=timers,
            blobs=blobs,
            clock=self.clock,
            blocking=False,
        )
        return Stack(table=table, queue=queue, timers=timers, blobs=blobs, requests=requests, ports=ports)


def _tagged(value: object) -> dict[str, str]:
    match value:
        case bytes():
            return {"$bytes": b64encode(value).decode()}
        case datetime():
            return {"$at": value.isoformat()}
        case _:
            raise TypeError(f"{value!r} has no place in a world")


def _untagged(value: dict[str, Any]) -> Any:
    match value:
        case {"$bytes": text}:
            return b64decode(text)
        case {"$at": text}:
            return datetime.fromisoformat(text)
        case _:
            return value
