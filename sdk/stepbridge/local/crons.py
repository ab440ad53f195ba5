"""The recurring schedules of cron triggers: EventBridge Scheduler's part, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from stepbridge.app import App
from stepbridge.core.cron import Cron
from stepbridge.core.messages import Tick, message_text
from stepbridge.core.triggers import CronTrigger


class Queue(Protocol):
    """Where an app's messages arrive."""

    def deliver(self, body: str, *, internal: bool) -> object:
        """A message has come."""


class Stack(Protocol):
    """One app's resources."""

    @property
    def queue(self) -> Queue:
        """Its queue."""


class Scheduled(Protocol):
    """One app and its resources, in whichever world."""

    @property
    def app(self) -> App:
        """The app."""

    @property
    def stack(self) -> Stack:
        """Its resources."""


class Crons:
    """When each scheduled function is next to run. Times missed while the process stood still are left out.

    Args:
        sites: The apps; read at every look, so a site may be replaced.
        now: Nothing earlier fires.
    """

    def __init__(self, sites: Sequence[Scheduled], now: datetime) -> None:
        self._sites = sites
        self._since = now
        self._next: dict[tuple[str, str, Cron], datetime] = {}

    def next_at(self) -> datetime | None:
        """When the next one fires; None: there is none."""
        return min((at for _, _, at in self._due()), default=None)

    def fire_due(self, now: datetime) -> int:
        """Sends the ticks whose time has come; how many."""
        fired = 0
        for site, (app_id, function_id, cron), at in self._due():
            if at <= now:
                site.stack.queue.deliver(message_text(Tick(function_id=function_id, at=at)), internal=True)
                self._next[app_id, function_id, cron] = cron.next_after(now)
                fired += 1
        return fired

    def skip(self, now: datetime) -> None:
        """Leaves out the times that have passed."""
        for _, (app_id, function_id, cron), at in self._due():
            if at <= now:
                self._next[app_id, function_id, cron] = cron.next_after(now)

    def _due(self) -> list[tuple[Scheduled, tuple[str, str, Cron], datetime]]:
        found = []
        for site in self._sites:
            for function in site.app.functions.values():
                for trigger in function.triggers:
                    if isinstance(trigger, CronTrigger):
                        key = (site.app.id, function.id, trigger.cron)
                        if key not in self._next:
                            self._next[key] = trigger.cron.next_after(self._since)
                        found.append((site, key, self._next[key]))
        return found
