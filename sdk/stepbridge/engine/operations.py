"""What people and programs do with runs from outside: every change is a message, there is no other way into a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from stepbridge.core import ids
from stepbridge.core.history import history_of
from stepbridge.core.instants import from_ms, to_ms
from stepbridge.core.items import index_partition
from stepbridge.core.limits import RETENTION
from stepbridge.core.messages import Cancel, Resume, Start, Work, message_text
from stepbridge.core.records import Head, Register, Status
from stepbridge.engine.reader import Reader
from stepbridge.engine.store import Store
from stepbridge.ports import Outgoing, Ports
from stepbridge.views import Page, RunView

RERUN = "rerun"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a page ended: at this day of this function, below this sort key."""

    function: int
    day: datetime
    after: str | None


class Operations:
    """One app's runs, over its ports."""

    def __init__(self, app_id: str, ports: Ports, function_ids: Sequence[str]) -> None:
        self._app_id = app_id
        self._ports = ports
        self._function_ids = function_ids
        self._store = Store(ports.table)
        self._reader = Reader(ports)

    def get_run(self, run_id: str) -> RunView:
        """The run as it stands.

        Raises:
            LookupError: There is none.
        """
        return self._reader.view(self._head(run_id))

    def _head(self, run_id: str) -> Head:
        head = self._store.head(run_id)
        if head is None:
            raise LookupError(f"there is no run {run_id!r} (it never began, or its records have expired)")
        return head

    def cancel(self, run_id: str) -> None:
        """Ends the run, even one that has not begun; a run that has ended stays as it is."""
        self._tell(Cancel(run_id=run_id, reason="cancelled by a client"))

    def resume(self, run_id: str) -> None:
        """A parked run goes on; any other is woken, which does nothing to it."""
        self._tell(Resume(run_id=run_id))

    def rerun(self, run_id: str, new_run_id: str, from_step: str | None = None) -> str:
        """A new run with the old one's event; with `from_step` all that was recorded before that step stands.

        Raises:
            LookupError: There is no such run, or it has no such step.
        """
        head = self._head(run_id)
        if from_step is not None:
            self._copy(head, new_run_id, from_step)
        event = replace(head.event, data=self._store.trigger_data(head))
        extra = {**head.extra, RERUN: run_id}
        now = self._ports.clock.now()
        self._tell(Start(run_id=new_run_id, function_id=head.function_id, event=event, created_at=now, extra=extra))
        return new_run_id

    def _copy(self, head: Head, new_run_id: str, from_step: str) -> None:
        """Registers ranked before the step, renumbered so that they rank before all that the new run records."""
        history = history_of(self._store.past(head.run_id).registers, head.seen, self._ports.clock.now())
        ranked = [register for _, register in sorted(history.ranked.values(), key=lambda hit: hit[0])]
        place = next((n for n, register in enumerate(ranked) if register.step_id == from_step), None)
        if place is None:
            known = ", ".join(dict.fromkeys(register.step_id for register in ranked)) or "none"
            raise LookupError(f"run {head.run_id} has no recorded step {from_step!r}; it has: {known}")
        for number, register in enumerate(ranked[:place]):
            self._store.put_register(new_run_id, _renumbered(register, number))

    def _tell(self, work: Work) -> None:
        self._ports.queue.send([Outgoing(body=message_text(work))])

    # -- lists -------------------------------------------------------------------------------------
    def list_runs(
        self,
        *,
        function_id: str | None = None,
        status: str | None = None,
        since: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Runs, newest first within a function; read from the list index a day at a time."""
        functions = list(self._function_ids) if function_id is None else [function_id]
        now = self._ports.clock.now()
        oldest = max(since or now - RETENTION, now - RETENTION - timedelta(days=366))
        place = _place(cursor) if cursor else _Place(0, now, None)
        found: list[RunView] = []
        while place.function < len(functions):
            if place.day.date() < oldest.date():
                place = _Place(place.function + 1, now, None)
                continue
            partition = index_partition(functions[place.function], place.day)
            rows = self._ports.table.query_index(partition, after=place.after, limit=limit)
            for row in rows:
                place = replace(place, after=str(row["gs"]))
                run_id = str(row["gs"]).partition("#")[2]
                view = self._reader.run(run_id)
                if view is None or (since is not None and view.created_at < since):
                    continue
                if status is None or view.status == Status(status).value:
                    found.append(view)
                if len(found) == limit:
                    return Page(runs=found, cursor=_cursor(place))
            if len(rows) < limit:
                place = _Place(place.function, place.day - timedelta(days=1), None)
        return Page(runs=found, cursor=None)


def _renumbered(register: Register, number: int) -> Register:
    return replace(register, order=(0, number), seen=(), places=())


def _cursor(place: _Place) -> str:
    return f"{place.function}|{to_ms(place.day)}|{place.after or ''}"


def _place(cursor: str) -> _Place:
    try:
        function, day_ms, after = cursor.split("|", 2)
        return _Place(int(function), from_ms(int(day_ms)), after or None)
    except ValueError as error:
        raise ValueError(f"{cursor!r} is no cursor of a page") from error


def new_run_id(run_id: str, chance: str) -> str:
    """The id of a rerun."""
    return ids.digest(RERUN, run_id, chance)
