"""After a run's end: tell whom it concerns, remove what is left. Repeated whenever a message meets the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from stepbridge.app import App
from stepbridge.core.codec import dump
from stepbridge.core.ids import run_id as run_id_of
from stepbridge.core.ids import schedule_name, system_event_id
from stepbridge.core.instants import from_ms, to_ms
from stepbridge.core.limits import FAILURE_CHARACTERS, SYSTEM_EVENT_BYTES
from stepbridge.core.messages import Cancel, Go, Start, Work, message_text
from stepbridge.core.records import (
    ArmedChild,
    ArmedMap,
    ArmedWait,
    EventRecord,
    Failure,
    Head,
    Kind,
    Mark,
    Parent,
    Register,
    Status,
    Wait,
)
from stepbridge.core.steps import Draft
from stepbridge.engine.across import Across
from stepbridge.engine.answers import Acknowledge
from stepbridge.engine.mapping import Maps
from stepbridge.engine.outcome import Stopped
from stepbridge.engine.payloads import Payloads
from stepbridge.engine.publish import entries_of, trace_of
from stepbridge.engine.recording import RUN_TIMEOUT
from stepbridge.engine.rule import system_triggers
from stepbridge.engine.store import Store
from stepbridge.engine.waits import cancel_waits
from stepbridge.engine.workers import Workers
from stepbridge.errors import StepError
from stepbridge.function import FAILURE_SUFFIX
from stepbridge.ports import Outgoing, Ports

FAILED = "stepbridge/function.failed"
CANCELLED = "stepbridge/function.cancelled"
FINISHED = "stepbridge/function.finished"
CANCELLED_FAILURE = Failure(name="CancelledError", message="the run was cancelled")


class Finish:
    """What follows a terminal head. Every part is idempotent by name."""

    def __init__(self, app: App, ports: Ports, store: Store, payloads: Payloads, workers: Workers) -> None:
        self._app = app
        self._workers = workers
        self._maps = Maps(store, payloads, ports)
        self._across = Across(app.id, ports, store, payloads)
        self._ports = ports
        self._store = store
        self._payloads = payloads

    def finish(self, head: Head, parent: Parent | None = None, *, tells: bool = True, but: Sequence[Wait] = ()) -> None:
        """Tells the parent and the world of a run that has ended, and removes what it left.

        Not `tells`: whoever cancelled the run tells the world, and their message comes back until it is told.
        """
        output = self._store.output(head)
        text = None if output is None else self._payloads.text(output)
        if (parent := head.parent or parent) is not None:
            self._tell_parent(head, parent, text)
        if tells and not head.told and self._is_public(head):
            self._tell_world(head, text)
            self._store.mark_told(head.run_id)
        self.clean(head, but)

    def cancel(self, run_id: str, reason: str, but: Sequence[Wait] = ()) -> Acknowledge:
        """Ends a run that has not ended, even one that has not begun. All of it is removed but the waits `but`.

        By these an event has found the run: its message deletes them, last of all.
        """
        now = self._ports.clock.now()
        cancelled = Head(
            run_id=run_id,
            function_id="",
            status=Status.CANCELLED,
            event=EventRecord(name="", id="", ts=0, source="", data="{}"),
            failure=Failure(name="CancelledError", message=reason[:FAILURE_CHARACTERS]),
            created_at=now,
            ended_at=now,
        )
        head = self._store.cancel(cancelled)
        if (session := self._workers.live.get(run_id)) is not None:
            session.fail(Stopped())  # executing in this process: no further step begins
        if head.status is Status.CANCELLED:
            self.finish(head, but=but)
        return Acknowledge()

    # -- the parent --------------------------------------------------------------------------------
    def _tell_parent(self, head: Head, parent: Parent, output: str | None) -> None:
        ended_at = head.ended_at or self._ports.clock.now()
        failure = head.failure if head.status is not Status.CANCELLED else CANCELLED_FAILURE
        done = head.status is Status.COMPLETED
        register = Register(
            key=parent.step_key,
            step_id=parent.step_id,
            occurrence=parent.occurrence,
            kind=Kind.INVOKE if parent.item is None else Kind.MAP,
            mark=Mark.OK if done else Mark.ERROR,
            value=self._payloads.keep(output or "null", parent.run_id) if done else None,
            failure=None if done else failure,
            started_at=head.created_at,
            ended_at=ended_at,
        )
        if parent.app and parent.app != self._app.id:
            self._across.reply(parent, head.run_id, output, register.failure)
            return
        if parent.item is not None:
            self._maps.finished(parent, register, app_id=self._app.id, extra=trace_of(head.extra))
            return
        self._store.put_register(parent.run_id, register)
        if self._store.set_wake(parent.run_id, parent.step_key):
            self._send(Go(run_id=parent.run_id, why="child"))

    # -- the world ---------------------------------------------------------------------------------
    def _is_public(self, head: Head) -> bool:
        """Nothing is sent about runs that system events started, nor about runs that never began."""
        if head.event.name in {FAILED, CANCELLED, FINISHED}:
            return False
        if not head.function_id or head.function_id.endswith(FAILURE_SUFFIX):
            return False
        return head.status is not Status.COMPLETED or self._wants_finished()

    def _wants_finished(self) -> bool:
        return self._app.publish_finished or any(one.names(FINISHED) for one in system_triggers(self._app))

    def _tell_world(self, head: Head, output: str | None) -> None:
        event = self.event_row(head)
        failure = CANCELLED_FAILURE if head.status is Status.CANCELLED else head.failure
        data: dict[str, Any] = {"app_id": self._app.id, "function_id": head.function_id, "run_id": head.run_id}
        if failure is None:
            data["result"] = None if output is None else json.loads(output)
        else:
            data["error"] = {"name": failure.name, "message": failure.message, "stack": failure.stack}
        data["event"] = event
        names: tuple[str, ...] = {
            Status.COMPLETED: (FINISHED,),
            Status.FAILED: (FAILED,),
            Status.CANCELLED: (CANCELLED,),
        }[head.status]
        if head.status is Status.FAILED and self._wants_finished():
            names = (*names, FINISHED)
        text = _within(data, SYSTEM_EVENT_BYTES)
        drafts = [Draft(name=name, data=text) for name in names]
        event_ids = [system_event_id(head.run_id, name) for name in names]
        now = self._ports.clock.now()
        self._ports.bus.put(entries_of(drafts, event_ids, to_ms(now), self._app.id, head.extra))
        function = self._app.functions.get(head.function_id)
        if head.status is Status.FAILED and function is not None and function.on_failure is not None:
            told = {name: data[name] for name in ("function_id", "run_id", "error", "event")}
            failed = EventRecord(
                name=FAILED,
                id=event_ids[0],
                ts=to_ms(now),
                source=self._app.id,
                data=self._payloads.keep(dump({**told, "events": [event]}), head.run_id),
            )
            run_id = run_id_of(self._app.id, function.on_failure.id, FAILED, failed.id)
            handler, trace = function.on_failure.id, trace_of(head.extra)
            self._send(Start(run_id=run_id, function_id=handler, event=failed, created_at=now, extra=trace))

    def event_row(self, head: Head) -> dict[str, Any]:
        """The event that started the run."""
        event = head.event
        data = self._store.trigger_data(head)
        return {
            "name": event.name,
            "data": json.loads(self._payloads.text(data)),
            "id": event.id,
            "ts": event.ts,
            "source": event.source,
        }

    # -- what is left ------------------------------------------------------------------------------
    def clean(self, head: Head, but: Sequence[Wait] = ()) -> None:
        """Removes armed waits and schedules of an ended run, and cancels the children it waited for."""
        spared = {(wait.place, wait.step_key) for wait in but}
        armed = head.armed if not head.pages else (*self._store.past(head.run_id).armed, *head.armed)
        for child in armed:
            if isinstance(child, ArmedChild) and self._is_stopped(head):
                self.cancel_child(child, "its parent has ended")
            if isinstance(child, ArmedMap) and self._is_stopped(head):
                self._maps.cancel(head.run_id, child, "its parent has ended")
        for timer in head.timers:
            if timer.scheduled and from_ms(timer.due_ms) > self._ports.clock.now():
                self._ports.timers.delete(schedule_name(head.run_id, timer.due_ms))
        for wait in armed:  # last: while one stands, a redelivered event still finds its way here
            if isinstance(wait, ArmedWait):
                for place in wait.places:
                    if (place, wait.step_key) not in spared:
                        self._store.delete_wait(place, head.run_id, wait.step_key)

    def drop_strays(self, mine: Head, standing: Head) -> None:
        """The event came before, perhaps with other data: what was armed for these is not for the run that stands."""
        if mine.event.data != standing.event.data:
            for place, step_key in self._cancel_places(mine) - self._cancel_places(standing):
                self._store.delete_wait(place, standing.run_id, step_key)

    def _cancel_places(self, head: Head) -> set[tuple[str, str]]:
        function = self._app.functions.get(head.function_id)
        if function is None or not function.cancellers:
            return set()
        with suppress(StepError):  # the trigger lacks what it is to be matched by: told when the run begins
            wants = cancel_waits(function, head, self.event_row(head), head.created_at)
            return {(place, wait.step_key) for want, wait in wants for place in want.places}
        return set()

    def cancel_child(self, child: ArmedChild, reason: str) -> None:
        """Asks for the end of a run that nobody waits for any more, in whichever app it is."""
        if child.app:
            self._across.cancel(child.app, child.run_id, reason)
        else:
            self._send(Cancel(run_id=child.run_id, reason=reason))

    def _is_stopped(self, head: Head) -> bool:
        """Cancelled, or out of time: nobody waits for its children any more."""
        return head.status is Status.CANCELLED or (head.failure is not None and head.failure.name == RUN_TIMEOUT)

    def _send(self, work: Work) -> None:
        self._ports.queue.send([Outgoing(body=message_text(work))])


def _within(data: dict[str, Any], most: int) -> str:
    """The text of a system event's data; where it is too large for the bus, without its largest parts."""
    text = dump(data)
    if "result" in data and len(text.encode()) > most:
        data = {**data, "result": None, "cut": True}
        text = dump(data)
    if len(text.encode()) > most:
        text = dump({**data, "event": {**data["event"], "data": {}}, "cut": True})
    return text
