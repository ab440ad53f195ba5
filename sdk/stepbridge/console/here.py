"""The runs of this process: of the local server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from stepbridge.core.instants import to_ms
from stepbridge.core.records import Status
from stepbridge.errors import ConfigError
from stepbridge.local.service import Service
from stepbridge.local.shapes import Json
from stepbridge.local.starting import event_names

_CURSOR_DIGITS = 15


class Here:
    """`console.source.Source` over the local server's service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.title = ", ".join(site.app.id for site in service.sites)
        self.place = "on this machine"
        self.is_writable = True
        self.is_local = True
        self.looks_max = 2_000
        self.poll_ms = 700
        self.since_default = "all"
        self.troubles: tuple[type[Exception], ...] = ()
        self.now = service.world.clock.now
        self.run = service.run
        self.around = service.around
        self.event = service.event
        self.send = service.send
        self.invoke = service.invoke
        self.cancel = service.cancel
        self.resume = service.resume
        self.rerun = service.rerun

    def function_ids(self) -> list[str]:
        """All, those of failure handlers included."""
        return [function_id for site in self._service.sites for function_id in site.app.functions]

    def event_names(self) -> list[str]:
        """Events that start a function."""
        return event_names(*(site.app for site in self._service.sites))

    def functions(self) -> list[Json]:
        """All functions, their runs counted."""
        return list(self._service.functions()["functions"])

    def runs(
        self,
        *,
        function_id: str | None,
        status: Status | None,
        since: datetime | None,
        until: datetime | None,
        limit: int,
        cursor: str | None,
    ) -> Json:
        """A page of runs, read from sorted lists."""
        try:
            return self._service.list_runs(
                function_id=function_id,
                status=status,
                since_ms=0 if since is None else to_ms(since),
                until_ms=None if until is None else to_ms(until),
                limit=limit,
                cursor=cursor,
            )
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def texts(self, run_ids: Sequence[str]) -> list[str]:
        """The triggers' data as JSON text, in order."""
        return [self._service.trigger_text(run_id) for run_id in run_ids]

    def wake(self, run_id: str) -> None:
        """Skips the time until the next thing comes due in the run."""
        self._service.wake(run_id)

    def events(self, *, limit: int, cursor: str | None) -> Json:
        """The events of late, newest first."""
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < _CURSOR_DIGITS):
            raise ConfigError(f"cursor {cursor!r:.80} is not one that a page gave")
        return self._service.events(limit=limit, before=None if cursor is None else int(cursor))
