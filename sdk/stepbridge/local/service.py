"""What the local server can do, apart from HTTP: the API, the command line and the console are made of it.

Methods that change something put a message on an app's queue, as AWS would: there is no other way into
a run. All are safe in any thread.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, Final

from stepbridge.core.instants import to_ms
from stepbridge.core.records import Head, Status
from stepbridge.core.steps import Draft
from stepbridge.engine.operations import UnknownError, new_run_id, no_function
from stepbridge.engine.publish import entries_of
from stepbridge.events import drafts_of
from stepbridge.function import Function
from stepbridge.local.log import EVENTS_MAX, EventLog, Logged
from stepbridge.local.run_logs import RunLogs
from stepbridge.local.runs import RunList
from stepbridge.local.shapes import Json, function_row, instant, run_detail, run_row, trigger_text
from stepbridge.local.sites import Site
from stepbridge.local.starting import first_event_name, start_run
from stepbridge.local.wake import wake
from stepbridge.local.worlds import AnyWorld

_SHOWN: Final = 100
"""Of a run's children and reruns."""


class ConflictError(ValueError):
    """The run is not in a state in which this can be done."""


class Service:
    """The apps of one world."""

    def __init__(self, world: AnyWorld, sites: list[Site], runs: RunList, log: EventLog) -> None:
        self.world = world
        self.sites = sites
        self.runs = runs
        self.log = log
        self.run_logs = RunLogs(world.clock)

    # -- events ------------------------------------------------------------------------------------
    def send(self, events: object, *, source: str = "local", trace: Mapping[str, str] | None = None) -> Json:
        """Puts one event or a list of them on the bus, all or none.

        Returns:
            `ids`, in order. The runs that they start follow within moments: see `started_by`.

        Raises:
            ConfigError: One of them is malformed, or of a reserved name.
        """
        drafts = drafts_of(events, what="send")
        now_ms = to_ms(self.world.clock.now())
        stamped = [
            Draft(
                name=draft.name,
                data=draft.data,
                id=draft.id or str(uuid.uuid4()),
                ts=draft.ts or now_ms,
                source=draft.source or source,
            )
            for draft in drafts
        ]
        event_ids = [draft.id for draft in stamped]
        self.world.bus.put(entries_of(stamped, event_ids, now_ms, source, trace))
        return {"ids": event_ids}

    def events(self, *, limit: int = 100, before: int | None = None) -> Json:
        """The last events of the bus, newest first, at most `limit` of those numbered below `before`."""
        older = (logged for logged in self.log if before is None or logged.number < before)
        chosen = list(islice(older, limit + 1))
        cursor = str(chosen[limit - 1].number) if len(chosen) > limit else None
        return {"events": [self._event_row(logged) for logged in chosen[:limit]], "cursor": cursor}

    def _event_row(self, logged: Logged) -> Json:
        row: Json = {"number": logged.number, "received_at": instant(logged.at), "problem": None}
        try:
            event = logged.incoming().row
        except ValueError as error:
            unknown: Json = {"name": "", "data": None, "id": "", "ts": 0, "source": "", "runs": [], "resolved": []}
            return {**row, **unknown, "problem": str(error)}
        return {**row, **event, "runs": self.started_by(event["id"]), "resolved": self._resolved_by(event["id"])}

    def started_by(self, event_id: str) -> list[Json]:
        """The runs that an event has started so far."""
        return self._rows(self.runs.started_by(event_id))

    def event(self, event_id: str) -> Json:
        """An event of late, the runs that it has started, and the waits (`run`, `step_id`) that it has resolved.

        Raises:
            UnknownError: It is not among those that are kept.
        """
        for logged in self.log:
            if _id_of(logged) == event_id:
                return self._event_row(logged)
        raise UnknownError(f"there is no event {event_id!r:.80} among the last {EVENTS_MAX}")

    def _resolved_by(self, event_id: str) -> list[Json]:
        rows = []
        for run_id, key in self.runs.resolved_by(event_id):
            found = self._find(run_id)
            register = None if found is None else found[0].store.register(run_id, key)
            if found is not None and register is not None:
                rows.append({"run": run_row(*found), "step_id": register.step_id, "kind": register.kind.value})
        return rows

    # -- functions ---------------------------------------------------------------------------------
    def functions(self) -> Json:
        """All functions of all apps, with what became of their runs."""
        rows = [
            function_row(function, self.runs.counts(site.app.id, function.id))
            for site in self.sites
            for function in site.app.functions.values()
        ]
        return {"functions": rows}

    def invoke(self, function_id: str, data: object) -> Json:
        """Starts a run of one function, whatever its triggers.

        Its event bears the name of the function's first event trigger, so that a model is applied and
        the run is like any other; no event reaches the bus.

        Returns:
            `run_id` and `function_id`.

        Raises:
            UnknownError: No app has such a function.
            ConfigError: The data is not a JSON object.
        """
        site, function = self._function(function_id)
        return {
            "run_id": start_run(site, function_id, first_event_name(function), data, source="local"),
            "function_id": function_id,
        }

    def _function(self, function_id: str) -> tuple[Site, Function[Any]]:
        for site in self.sites:
            if (function := site.app.functions.get(function_id)) is not None:
                return site, function
        raise no_function(function_id, (name for site in self.sites for name in site.app.functions))

    # -- runs --------------------------------------------------------------------------------------
    def list_runs(
        self,
        *,
        function_id: str | None = None,
        status: Status | None = None,
        since_ms: int = 0,
        until_ms: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Json:
        """A page of runs, newest first.

        Raises:
            ValueError: The cursor is not one that a page gave.
        """
        page = self.runs.page(
            function_id=function_id, status=status, since_ms=since_ms, until_ms=until_ms, limit=limit, cursor=cursor
        )
        return {"runs": self._rows(page.run_ids), "cursor": page.cursor}

    def _rows(self, run_ids: Iterable[str]) -> list[Json]:
        return [run_row(*found) for run_id in run_ids if (found := self._find(run_id))]

    def run(self, run_id: str) -> Json:
        """All that there is to know of a run.

        Raises:
            UnknownError: There is no such run.
        """
        return run_detail(*self._get(run_id), [site.app.id for site in self.sites], self.runs.app_of)

    def around(self, run_id: str) -> Json:
        """What belongs to a run and is not its own: at most 100 `children` and `reruns` each, and its `logs`."""
        return {
            "children": self._rows(self.runs.children(run_id)[:_SHOWN]),
            "reruns": self._rows(self.runs.reruns(run_id)[-_SHOWN:]),
            "logs": self.run_logs.of(run_id)["lines"],
        }

    def trigger_text(self, run_id: str) -> str:
        """The data of the event that started the run, as JSON text; empty where there is no such run."""
        found = self._find(run_id)
        return "" if found is None else trigger_text(*found)

    def is_there(self, run_id: str) -> bool:
        """Whether there is such a run."""
        return self._find(run_id) is not None

    def status(self, run_id: str) -> Status:
        """The run's status.

        Raises:
            UnknownError: There is no such run.
        """
        return self._get(run_id)[1].status

    def epoch(self, run_id: str) -> int:
        """How many invocations have had the run.

        Raises:
            UnknownError: There is no such run.
        """
        return self._get(run_id)[1].epoch

    def cancel(self, run_id: str) -> None:
        """Asks for the run's end; it follows within moments.

        Raises:
            UnknownError: There is no such run.
            ConflictError: It has ended already.
        """
        site, head = self._get(run_id)
        if head.status.is_terminal:
            raise ConflictError(f"run {run_id} has ended already: it is {head.status.value}")
        site.operations.cancel(run_id)

    def resume(self, run_id: str) -> None:
        """Asks for a parked run to go on; it follows within moments.

        Raises:
            UnknownError: There is no such run.
            ConflictError: It is not parked.
        """
        site, head = self._get(run_id)
        if head.status is not Status.PARKED:
            raise ConflictError(f"run {run_id} is {head.status.value}; only a PARKED run is to be resumed")
        site.operations.resume(run_id)

    def wake(self, run_id: str) -> datetime:
        """Skips time for one run: what it waits for next is due at once, a sleep, a retry or a wait's timeout.

        Returns:
            When it would have been due; the run goes on within moments.

        Raises:
            UnknownError: There is no such run.
            ConflictError: It waits for nothing that time brings.
        """
        site, head = self._get(run_id)
        due = wake(site.ports, head)
        if due is None:
            raise ConflictError(f"run {run_id} is {head.status.value}, and waits for nothing that time brings")
        return due

    def logs(self, run_id: str) -> Json:
        """What was logged of a run, oldest first: the last lines that this process has kept.

        Returns:
            `lines`, and how many older ones were `dropped`.

        Raises:
            UnknownError: There is no such run.
        """
        self._get(run_id)
        return self.run_logs.of(run_id)

    def rerun(self, run_id: str, from_step: str | None = None) -> Json:
        """Starts a new run with the run's event; before `from_step` it has the run's records.

        Returns:
            `run_id` and `function_id` of the new run, which is there at once.

        Raises:
            UnknownError: There is no such run, or it has no such step.
        """
        site, head = self._get(run_id)
        rerun_id = site.operations.rerun(run_id, new_run_id(run_id, str(uuid.uuid4())), from_step)
        return {"run_id": rerun_id, "function_id": head.function_id}

    def _get(self, run_id: str) -> tuple[Site, Head]:
        found = self._find(run_id)
        if found is None:
            raise UnknownError(f"there is no run {run_id!r:.80}")
        return found

    def _find(self, run_id: str) -> tuple[Site, Head] | None:
        app_id = self.runs.app_of(run_id)
        for site in self.sites:
            if site.app.id == app_id and (head := site.store.head(run_id)) is not None:
                return site, head
        return None


def _id_of(logged: Logged) -> str | None:
    try:
        return str(logged.incoming().row["id"])
    except ValueError:
        return None
