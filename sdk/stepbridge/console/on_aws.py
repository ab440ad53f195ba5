"""The runs of a stack, by `Client` and the user's own credentials.

A stack keeps neither a list of events nor counts: what is shown of them comes from the last runs, and says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, Final

from stepbridge.app import App
from stepbridge.aws.failures import Misconfigured, Unavailable
from stepbridge.client import Client
from stepbridge.core.instants import to_ms
from stepbridge.core.limits import RETENTION
from stepbridge.core.records import Status
from stepbridge.engine.operations import UnknownError, no_function
from stepbridge.errors import ConfigError, EncryptionError, LostValueError
from stepbridge.local.service import ConflictError
from stepbridge.local.shapes import Json, function_row, instant, run_detail, run_row, trigger_text
from stepbridge.local.sites import Records
from stepbridge.local.starting import event_names, first_event_name, start_run
from stepbridge.views import RunView

_AT_ONCE: Final = 8
"""Requests to AWS."""
_RUNS_COUNTED: Final = 20
"""Of each function, of the last week."""
_WEEK: Final = timedelta(days=7)
_RUNS_OF_EVENTS: Final = 200


class OnAws:
    """`console.source.Source` over a stack.

    Args:
        client: Of the stack.
        records: The same stack's, for what a run waits for.
        function_ids: Whose runs are listed.
        app: The app that is deployed, where its code is at hand: triggers and settings are shown from it.
        place: The stack's name and region.
        is_writable: Whether runs may be changed.
    """

    def __init__(
        self,
        client: Client,
        records: Records,
        *,
        function_ids: Sequence[str],
        app: App | None = None,
        place: str,
        is_writable: bool = False,
    ) -> None:
        self._client = client
        self._records = records
        self._function_ids = tuple(function_ids)
        self._app = app
        self.now = records.ports.clock.now
        self._pool = ThreadPoolExecutor(_AT_ONCE, "stepbridge-console")
        self.title = records.app_id
        self.place = place
        self.is_writable = is_writable
        self.is_local = False
        self.looks_max = 300
        self.poll_ms = 4_000
        self.since_default = "24h"
        self.troubles: tuple[type[Exception], ...] = (Unavailable, Misconfigured, LostValueError, EncryptionError)

    # -- reading -----------------------------------------------------------------------------------
    def function_ids(self) -> list[str]:
        """Those that were named."""
        return list(self._function_ids)

    def event_names(self) -> list[str]:
        """Events that start a function, where the app's code is at hand."""
        return [] if self._app is None else event_names(self._app)

    def functions(self) -> list[Json]:
        """All functions; `runs` counts the last of each."""
        known = {} if self._app is None else self._app.functions
        rows = []
        for function_id, counts in zip(
            self._function_ids, self._pool.map(self._counts, self._function_ids), strict=True
        ):
            if function_id in known:
                rows.append(function_row(known[function_id], counts))
            else:
                counted = {status.value: counts[status] for status in Status if counts[status]}
                rows.append({"function_id": function_id, "app_id": self.title, "name": function_id, "runs": counted})
        return rows

    def _counts(self, function_id: str) -> Counter[Status]:
        since = self.now() - _WEEK
        page = self._client.list_runs(function_id, since=since, limit=_RUNS_COUNTED)
        return Counter(Status(run.status) for run in page.runs)

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
        """A page of runs. The place where a stack's list goes on is an instant and an id: `until` is one too."""
        if cursor is None and until is not None:
            cursor = f"{to_ms(until):013}#!"
        page = self._client.list_runs(
            function_id, None if status is None else status.value, since, limit=limit, cursor=cursor
        )
        return {"runs": [self._row(run) for run in page.runs], "cursor": page.cursor}

    def _row(self, run: RunView) -> Json:
        event = run.event
        return {
            "run_id": run.run_id,
            "app_id": self.title,
            "function_id": run.function_id,
            "status": run.status,
            "event": {"name": event.name, "id": event.id, "ts": event.ts, "source": event.source},
            "error": run.error,
            "created_at": instant(run.created_at),
            "started_at": instant(run.started_at),
            "ended_at": instant(run.ended_at),
            "parent_id": run.parent_id,
        }

    def texts(self, run_ids: Sequence[str]) -> list[str]:
        """The triggers' data as JSON text, in order."""
        return list(self._pool.map(self._text, run_ids))

    def _text(self, run_id: str) -> str:
        head = self._records.store.head(run_id)
        try:
            return "" if head is None else trigger_text(self._records, head)
        except LostValueError:  # of one of the runs that are looked through
            return ""

    def run(self, run_id: str) -> Json:
        """The run as it stands."""
        head = self._records.store.head(run_id)
        if head is None or not head.function_id:
            raise UnknownError(f"there is no run {run_id!r:.80} (it has not begun, or its records have expired)")
        return run_detail(self._records, head, (), self._app_of)

    def _app_of(self, run_id: str) -> str | None:
        return None if self._records.store.head(run_id) is None else self.title

    def around(self, run_id: str) -> Json:
        """The runs that its steps have invoked; a stack does not know reruns, and its logs are in CloudWatch."""
        invoked = [step["child_run_id"] for step in self.run(run_id)["steps"] if step["child_run_id"]]
        heads = self._pool.map(self._records.store.head, invoked[:100])
        children = [run_row(self._records, head) for head in heads if head is not None and head.function_id]
        return {"children": children, "reruns": [], "logs": None}

    def events(self, *, limit: int, cursor: str | None) -> Json:
        """The events that have started a page of runs, newest first."""
        page = self.runs(
            function_id=None,
            status=None,
            since=self.now() - RETENTION,
            until=None,
            limit=limit,
            cursor=cursor,
        )
        rows: dict[str, Json] = {}
        for run in page["runs"]:
            if run["parent_id"] is None:
                row = {**run["event"], "received_at": run["created_at"], "problem": None, "runs": []}
                rows.setdefault(run["event"]["id"], row)["runs"].append(run)
        return {"events": list(rows.values()), "cursor": page["cursor"]}

    def event(self, event_id: str) -> Json:
        """One of those; its data is that of a run."""
        rows = self.events(limit=_RUNS_OF_EVENTS, cursor=None)["events"]
        row = next((row for row in rows if row["id"] == event_id), None)
        if row is None:
            raise UnknownError(f"no event {event_id!r:.80} has started one of the last {_RUNS_OF_EVENTS} runs")
        data = self.run(row["runs"][0]["run_id"])["event"]["data"]
        return {**row, "data": data, "resolved": None}

    # -- changing ----------------------------------------------------------------------------------
    def send(self, events: object) -> Json:
        """Puts events on the stack's bus."""
        sendable: Any = events
        return {"ids": self._client.send(sendable)}

    def invoke(self, function_id: str, data: object) -> Json:
        """Starts a run of one function."""
        if function_id not in self._function_ids:
            raise no_function(function_id, self._function_ids)
        function = None if self._app is None else self._app.functions.get(function_id)
        name = None if function is None else first_event_name(function)
        run_id = start_run(self._records, function_id, name, data, source="console")
        return {"run_id": run_id, "function_id": function_id}

    def cancel(self, run_id: str) -> None:
        """Asks for the run's end."""
        if Status(self.run(run_id)["status"]).is_terminal:
            raise ConflictError(f"run {run_id} has ended already")
        self._client.cancel(run_id)

    def resume(self, run_id: str) -> None:
        """Asks for a parked run to go on."""
        if self.run(run_id)["status"] != Status.PARKED:
            raise ConflictError(f"run {run_id} is not PARKED; only such a run is to be resumed")
        self._client.resume(run_id)

    def wake(self, run_id: str) -> None:
        """Not here."""
        raise ConfigError(f"run {run_id}: time is AWS's, and cannot be skipped. Mend: do it with `stepbridge dev`.")

    def rerun(self, run_id: str, from_step: str | None) -> Json:
        """A new run with the old one's event."""
        return {"run_id": self._client.rerun(run_id, from_step), "function_id": self.run(run_id)["function_id"]}
