"""The list of runs: sorted once when a run is made or moves on, so that a page of it is read, never searched."""

from __future__ import annotations

import json
import re
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final

from stepbridge.core.conditions import Item
from stepbridge.core.keys import HEAD_SK, REGISTER_PREFIX
from stepbridge.core.records import RERUN, Status

_CURSOR: Final = re.compile(r"([0-9]{1,15})\.([a-z2-7]{1,64})")

_Place = tuple[int, str]
"""When the run was made, in milliseconds since the epoch, and its id."""
_Shelf = tuple[str | None, Status | None]
"""A function's id and a status; None: whatever it is."""


@dataclass(slots=True, eq=False)
class _Listed:
    place: _Place
    app_id: str
    function_id: str
    status: Status
    children: tuple[str, ...] = ()
    """Ids of the runs whose parent it is, as they were made."""
    reruns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of a list."""

    run_ids: list[str]
    cursor: str | None
    """Where the next page begins; None: this was the last one."""


class RunList:
    """The runs of a world by function and by status, newest first. Safe in several threads."""

    def __init__(self) -> None:
        self._runs: dict[str, _Listed] = {}
        self._shelves: dict[_Shelf, list[_Place]] = {}
        self._by_event: dict[str, tuple[str, ...]] = {}
        """Ids of runs by the id of the event that started them."""
        self._resolved: dict[str, tuple[tuple[str, str], ...]] = {}
        """Runs and steps by the id of the event that resolved their wait."""
        self._counts: dict[tuple[str, str], Counter[Status]] = {}
        self._lock = Lock()
        self._listeners: tuple[Callable[[str], object], ...] = ()

    # -- written by the watched tables -------------------------------------------------------------
    def note(self, app_id: str, item: Item) -> None:
        """A head stands now as `item`."""
        run_id, function_id = str(item["pk"])[2:], str(item["fn"])
        if not function_id:
            return  # cancelled before it was made: there is nothing to show
        status = Status(str(item["st"]))
        with self._lock:
            listed = self._runs.get(run_id)
            if listed is None:
                listed = self._runs[run_id] = _Listed((int(item["t0"]), run_id), app_id, function_id, status)
                self._move(listed, None, status)
                self._relate(run_id, item)
            elif status not in {listed.status, Status.QUEUED} and not listed.status.is_terminal:
                self._move(listed, listed.status, status)
        self.touch(run_id)

    def _relate(self, run_id: str, item: Item) -> None:
        """Who made the run: an event, another run that waits for it, or one that it repeats."""
        rerun_of = json.loads(str(item.get("x", "{}"))).get(RERUN)
        parent_id = json.loads(str(item["pa"]))[0] if "pa" in item else None
        if rerun_of is None:
            event_id = json.loads(str(item["ev"]))[1]
            self._by_event[event_id] = (*self._by_event.get(event_id, ()), run_id)
        elif (old := self._runs.get(rerun_of)) is not None:
            old.reruns = (*old.reruns, run_id)
        if parent_id is not None and (parent := self._runs.get(parent_id)) is not None:
            parent.children = (*parent.children, run_id)

    def load(self, app_id: str, items: list[Item]) -> None:
        """Takes in the heads among a table's items, parents before their children, and what resolved waits."""
        for item in sorted((item for item in items if item["sk"] == HEAD_SK), key=lambda head: int(str(head["t0"]))):
            self.note(app_id, item)
        for item in items:
            self.note_step(item)

    def note_step(self, item: Item) -> None:
        """A record beside a head stands now as `item`; that of a wait may name the event that resolved it."""
        run_id, sk = str(item["pk"])[2:].partition("#")[0], str(item["sk"])
        if "ei" not in item or not sk.startswith(REGISTER_PREFIX):
            return
        hit = (run_id, sk[len(REGISTER_PREFIX) :])
        with self._lock:
            known = self._resolved.get(str(item["ei"]), ())
            if hit not in known:
                self._resolved[str(item["ei"])] = (*known, hit)

    def touch(self, run_id: str) -> None:
        """Something about the run has changed: tells who listens."""
        for listener in self._listeners:
            listener(run_id)

    def _move(self, listed: _Listed, old: Status | None, new: Status) -> None:
        for function_id in (None, listed.function_id):
            if old is None:
                insort(self._shelves.setdefault((function_id, None), []), listed.place)
            else:
                shelf = self._shelves[function_id, old]
                del shelf[bisect_left(shelf, listed.place)]
            insort(self._shelves.setdefault((function_id, new), []), listed.place)
        listed.status = new
        counts = self._counts.setdefault((listed.app_id, listed.function_id), Counter())
        counts[new] += 1
        if old is not None:
            counts[old] -= 1

    # -- read --------------------------------------------------------------------------------------
    def app_of(self, run_id: str) -> str | None:
        """The id of the run's app, None where there is no such run."""
        listed = self._runs.get(run_id)
        return None if listed is None else listed.app_id

    def started_by(self, event_id: str) -> tuple[str, ...]:
        """The ids of the runs that an event has started so far; their reruns are no more its doing."""
        return self._by_event.get(event_id, ())

    def resolved_by(self, event_id: str) -> tuple[tuple[str, str], ...]:
        """The waits that an event has resolved so far: ids of runs, and keys of steps."""
        return self._resolved.get(event_id, ())

    def children(self, run_id: str) -> tuple[str, ...]:
        """The ids of the runs that the run has made and waits, or waited, for."""
        listed = self._runs.get(run_id)
        return () if listed is None else listed.children

    def reruns(self, run_id: str) -> tuple[str, ...]:
        """The ids of its reruns."""
        listed = self._runs.get(run_id)
        return () if listed is None else listed.reruns

    def page(
        self,
        *,
        function_id: str | None = None,
        status: Status | None = None,
        since_ms: int = 0,
        until_ms: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """At most `limit` runs, newest first, made at `since_ms` or later, and before `until_ms`.

        Raises:
            ValueError: The cursor is not one that a page gave.
        """
        with self._lock:
            shelf = self._shelves.get((function_id, status), [])
            stop = len(shelf) if cursor is None else bisect_left(shelf, _place(cursor))
            stop = stop if until_ms is None else bisect_left(shelf, (until_ms, ""), hi=stop)
            start = bisect_left(shelf, (since_ms, ""), hi=stop)
            chosen = shelf[max(start, stop - limit) : stop]
        more = stop - limit > start
        return Page(
            run_ids=[run_id for _, run_id in reversed(chosen)],
            cursor="{}.{}".format(*chosen[0]) if more and chosen else None,
        )

    def counts(self, app_id: str, function_id: str) -> Counter[Status]:
        """How many runs of a function have which status."""
        with self._lock:
            return Counter(self._counts.get((app_id, function_id)))

    def __len__(self) -> int:
        """How many runs there are."""
        return len(self._runs)

    # -- live --------------------------------------------------------------------------------------
    def listen(self, listener: Callable[[str], object]) -> Callable[[], None]:
        """Calls `listener` with a run's id, in the writer's thread, whenever something of the run was written.

        Returns:
            Ends the listening.
        """
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def end() -> None:
            with self._lock:
                self._listeners = tuple(one for one in self._listeners if one is not listener)

        return end


def _place(cursor: str) -> _Place:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise ValueError(f"cursor {cursor!r:.80} is not one that a page gave")
    return int(found[1]), found[2]
