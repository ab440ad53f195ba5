"""The bus in moto, from outside: events are put on it and watched."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from botocore.exceptions import ClientError, ParamValidationError

from stepbridge.aws.bus import EventBridgeBus
from stepbridge.aws.clients import Clients
from stepbridge.core.instants import from_ms
from stepbridge.local.moto_process import LOCK
from stepbridge.local.moto_queue import messages_in
from stepbridge.ports import Entry

_MEMBERS: Final = ("Time", "Source", "Resources", "DetailType", "Detail", "TraceHeader")
"""Of an entry, but for its bus. Source: events service model of botocore 1.44.5, 2026-11."""


class MotoBus:
    """The bus that the apps share. A rule of its own keeps every event in a queue."""

    def __init__(self, clients: Clients, arn: str, log_queue: str) -> None:
        self.arn = arn
        self._clients = clients
        self._bus = EventBridgeBus(clients.events, arn)
        self._log_queue = log_queue
        self._watchers: list[Callable[[datetime, str], object]] = []

    def put(self, entries: Sequence[Entry]) -> None:
        """Puts all of them."""
        self._bus.put(entries)

    def put_raw(self, entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """One `PutEvents` call, as any SDK makes it, whatever bus it names; the answer's entries.

        Raises:
            ValueError: The whole call is refused.
        """
        named: Any = [
            {**{name: entry[name] for name in _MEMBERS if entry.get(name) is not None}, "EventBusName": self.arn}
            for entry in entries
        ]
        try:
            answer: Any = self._clients.events().put_events(Entries=named)
        except (ClientError, ParamValidationError) as error:
            raise ValueError(str(error)) from error
        return list(answer["Entries"])

    @property
    def log(self) -> list[tuple[datetime, Entry]]:
        """Every event that was put by anybody, oldest first; none where somebody watches."""
        with LOCK:
            held = [(from_ms(int(one.sent_timestamp)), json.loads(one.body)) for one in messages_in(self._log_queue)]
        return [
            (at, Entry(name=row["detail-type"], source=row["source"], detail=json.dumps(row["detail"])))
            for at, row in held
        ]

    def watch(self, watcher: Callable[[datetime, str], object]) -> None:
        """From now on `watcher` is told of every event, with its envelope, and the log keeps none."""
        self._watchers.append(watcher)

    def tell(self) -> None:
        """Tells the watchers of the events that have come."""
        if not self._watchers:
            return
        with LOCK:
            held = messages_in(self._log_queue)
            for one in held:
                for watcher in self._watchers:
                    watcher(from_ms(int(one.sent_timestamp)), one.body)
            held.clear()
