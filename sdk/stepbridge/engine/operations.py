"""What people and programs do with runs from outside: every change is a message, there is no other way into a run."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Final

from stepbridge.core import ids
from stepbridge.core.conditions import Item
from stepbridge.core.durations import shown
from stepbridge.core.history import history_of, is_outside
from stepbridge.core.instants import from_ms, to_ms
from stepbridge.core.keys import index_partition
from stepbridge.core.limits import RETENTION, RUN_MAX
from stepbridge.core.messages import Cancel, Resume, Start, Work, message_text
from stepbridge.core.records import RERUN, Blob, Head, Kind, Mark, Register, Status, Stored
from stepbridge.engine.payloads import Payloads
from stepbridge.engine.reader import Reader, summary
from stepbridge.engine.store import Store
from stepbridge.errors import ConfigError
from stepbridge.ports import Outgoing, Ports
from stepbridge.views import Page, RunView

_CURSOR: Final = re.compile(r"[0-9]{13}#\S+", re.ASCII)


def no_function(function_id: str, known: Iterable[str]) -> UnknownError:
    """The error that no function bears this id; it names those that there are, and the one that was probably meant."""
    names = sorted(known)
    near = get_close_matches(function_id, names, 1)
    mend = f" Mend: did you mean {near[0]!r}?" if near else ""
    return UnknownError(f"there is no function {function_id!r:.80}; there are: {', '.join(names) or 'none'}.{mend}")


class UnknownError(LookupError):
    """There is no such run, step or function."""


class Operations:
    """One app's runs, over its ports."""

    def __init__(self, app_id: str, ports: Ports, function_ids: Sequence[str]) -> None:
        self._app_id = app_id
        self._ports = ports
        self._function_ids = function_ids
        self._store = Store(ports.table)
        self._payloads = Payloads(ports.blobs)
        self._reader = Reader(ports)

    def get_run(self, run_id: str) -> RunView:
        """The run as it stands.

        Raises:
            UnknownError: There is none.
            LostValueError: Its output is gone, or has been altered.
        """
        return self._reader.view(self._head(run_id))

    def summary(self, run_id: str) -> RunView:
        """The same without data, output and steps, which may be lost.

        Raises:
            UnknownError: There is none.
        """
        return summary(self._head(run_id))

    def _head(self, run_id: str) -> Head:
        head = self._store.head(run_id) if ids.is_id(run_id) else None
        if head is None:
            raise UnknownError(f"there is no run {shown(run_id)} (it has not begun, or its records have expired)")
        return head

    def cancel(self, run_id: str) -> None:
        """Ends the run, even one that has not begun; a run that has ended stays as it is."""
        self._tell(Cancel(run_id=_checked(run_id), reason="cancelled by a client"))

    def resume(self, run_id: str) -> None:
        """A parked run goes on; any other is woken, which does nothing to it."""
        self._tell(Resume(run_id=_checked(run_id)))

    def _tell(self, work: Work) -> None:
        self._ports.queue.send([Outgoing(body=message_text(work))])

    # -- rerun -------------------------------------------------------------------------------------
    def rerun(self, run_id: str, new_run_id: str, from_step: str | None = None) -> str:
        """A new run with the old one's event; with `from_step` all that was recorded before that step stands.

        The records are there before the message that starts the run; its head comes last, so that the run can
        be read at once, and is never one that nothing starts.

        Raises:
            UnknownError: There is no such run, or it has no such step.
        """
        head = self._head(run_id)
        if not head.function_id:
            raise UnknownError(f"run {run_id} was cancelled before it began: its event is not known")
        now = self._ports.clock.now()
        if from_step is not None:
            self._copy(self._before(head, from_step), new_run_id, now)
        start = Start(
            run_id=new_run_id,
            function_id=head.function_id,
            event=replace(head.event, data=self._kept(self._store.trigger_data(head), new_run_id)),
            created_at=now,
            extra={**head.extra, RERUN: run_id},
        )
        self._tell(start)
        queued = Head(
            run_id=new_run_id,
            function_id=start.function_id,
            status=Status.QUEUED,
            event=start.event,
            created_at=now,
            extra=start.extra,
        )
        self._store.enqueue(queued)
        return new_run_id

    def _before(self, head: Head, from_step: str) -> list[Register]:
        """The results that rank before the step's first one; all of them, where the step has none yet."""
        past = self._store.past(head.run_id)
        history = history_of(past.registers, head.seen, head.ended_at or self._ports.clock.now())
        ranked = [register for _, register in sorted(history.ranked.values(), key=lambda hit: hit[0])]
        for place, register in enumerate(ranked):
            if register.step_id == from_step:
                return ranked[:place]
        pending = (*history.unfinished.values(), *past.armed, *head.armed)
        known = dict.fromkeys(one.step_id for one in (*ranked, *pending) if one.step_id[:1] != "~")
        if from_step in known:
            return ranked
        raise UnknownError(f"run {head.run_id} has no step {from_step!r:.80}; it has: {', '.join(known) or 'none'}")

    def _copy(self, ranked: Iterable[Register], new_run_id: str, now: datetime) -> None:
        """Writes the results in their order, as epoch 0: before all that the new run will record.

        As ever, a result from outside is listed by the next record of the run's own, the last ones by a list.
        """
        unlisted: list[str] = []
        number = 0
        for register in ranked:
            copy = register._replace(value=self._kept(register.value, new_run_id), seen=(), places=())
            if register.order is not None:
                copy = copy._replace(order=(0, number))
            if is_outside(register):
                unlisted.append(register.key)
            else:
                copy = copy._replace(seen=tuple(unlisted))
                unlisted.clear()
            self._store.put_register(new_run_id, copy, copied_at=now)
            number += 1
        if unlisted:
            listing = Register(
                key=f"~{0:09}-{number}",
                step_id="",
                kind=Kind.SEEN,
                mark=Mark.OK,
                order=(0, number),
                seen=tuple(unlisted),
                started_at=now,
                ended_at=now,
            )
            self._store.put_register(new_run_id, listing)

    def _kept(self, value: Stored | None, owner: str) -> Stored | None:
        """The value, a blob as one of the new run's own: the old run's expire with it."""
        return self._payloads.keep(self._payloads.text(value), owner) if isinstance(value, Blob) else value

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
        """Runs made since an instant or in the last 30 days, newest first; the list is read a day at a time.

        Raises:
            ConfigError: The cursor is not one that a page gave, or no function is named anywhere.
        """
        functions = self._function_ids if function_id is None else [function_id]
        if not functions:
            raise ConfigError("list_runs: of which functions? Mend: give function_id=, or the client function_ids=.")
        if cursor is not None and not _CURSOR.fullmatch(cursor):
            raise ConfigError(f"list_runs: cursor {cursor!r:.80} is not one that a page gave.")
        found: list[RunView] = []
        last = ""
        for row in self._rows(functions, since, cursor, limit + 1):
            if status is not None and row.get("ls", status) != status:
                continue  # the index knows how it ended
            if len(found) == limit:
                return Page(runs=found, cursor=last)
            last = str(row["gs"])
            head = self._store.head(last.partition("#")[2])
            if head is not None and status in {None, head.status.value}:
                found.append(summary(head))
        return Page(runs=found, cursor=None)

    def _rows(self, functions: Sequence[str], since: datetime | None, cursor: str | None, limit: int) -> Iterator[Item]:
        """The rows of the list index, newest first: what is older than the cursor, and not than `since`."""
        now = self._ports.clock.now()
        oldest = max(since or now - RETENTION, now - RETENTION - RUN_MAX).astimezone(UTC)
        day = now if cursor is None else min(from_ms(int(cursor[:13])), now)
        end = f"{to_ms(oldest):013}"
        while day.date() >= oldest.date():
            shelves = [self._shelf(index_partition(function, day), cursor, limit) for function in functions]
            for row in heapq.merge(*shelves, key=lambda row: str(row["gs"]), reverse=True):
                if str(row["gs"]) < end:
                    return
                yield row
            day, cursor = day - timedelta(days=1), None

    def _shelf(self, partition: str, after: str | None, limit: int) -> Iterator[Item]:
        while True:
            rows = self._ports.table.query_index(partition, after=after, limit=limit)
            yield from rows
            if len(rows) < limit:
                return
            after = str(rows[-1]["gs"])


def _checked(run_id: str) -> str:
    if not ids.is_id(run_id):
        raise UnknownError(f"no run has the id {shown(run_id)}")
    return run_id


def new_run_id(run_id: str, chance: str) -> str:
    """The id of a rerun."""
    return ids.digest(RERUN, run_id, chance)
