"""Advance a run: claim it, replay its handler, record how the invocation ended."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, assert_never

from stepbridge.app import App
from stepbridge.core.ids import schedule_name
from stepbridge.core.instants import from_ms, to_ms
from stepbridge.core.limits import (
    CRASH_LIMIT,
    HAND_OVER_MARGIN,
    QUEUE_DELAY_MAX,
    SCHEDULE_GRAIN,
    SEEN_INLINE,
    TIMEOUT_DELAY_MAX,
)
from stepbridge.core.messages import Cancel, Go, Resume, Start, message_text
from stepbridge.core.records import ArmedChild, ArmedWait, Blob, Failure, Head, Status, Timer
from stepbridge.core.steps import InvokeStep, WaitStep
from stepbridge.core.triggers import EventTrigger
from stepbridge.engine.async_replay import AsyncReplay
from stepbridge.engine.failures import failure_of
from stepbridge.engine.finish import Finish
from stepbridge.engine.outcome import (
    Aborted,
    Completed,
    Failed,
    HandOver,
    Outcome,
    Parked,
    Retry,
    Suspended,
)
from stepbridge.engine.payloads import Payloads
from stepbridge.engine.session import INVOKE_TIMEOUT, Session, Stubs, event_for
from stepbridge.engine.store import Claimed, Past, Store
from stepbridge.engine.sync_replay import SyncReplay
from stepbridge.engine.workers import Workers
from stepbridge.errors import NondeterminismError
from stepbridge.function import Function
from stepbridge.ports import Outgoing, Ports

_LOG = logging.getLogger("stepbridge")


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The message has done its work, or its successor is durable."""


@dataclass(frozen=True, slots=True)
class Bounce:
    """The message must come back: the run is held by another invocation, or the backend failed."""

    until: datetime | None = None
    """When the lease that it met is over."""


Answer = Acknowledge | Bounce


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One call of the dispatcher. Its deadline is when the sandbox is killed."""

    id: str
    deadline: datetime


class Advance:
    """The use case that moves runs on."""

    def __init__(  # noqa: PLR0913, PLR0917 - made in one place
        self, app: App, ports: Ports, store: Store, payloads: Payloads, finish: Finish, workers: Workers, stubs: Stubs
    ) -> None:
        self._app = app
        self._ports = ports
        self._store = store
        self._payloads = payloads
        self._finish = finish
        self._workers = workers
        self._stubs = stubs

    async def advance(self, work: Start | Go | Resume, invocation: Invocation) -> Answer:
        """Claims the run and moves it as far as it goes."""
        birth = _birth(work) if isinstance(work, Start) else None
        claim = await self._workers.io(
            lambda: self._store.claim(
                work.run_id,
                birth=birth,
                holder=invocation.id,
                deadline=invocation.deadline,
                now=self._ports.clock.now(),
                resume=isinstance(work, Resume),
            )
        )
        if isinstance(claim, Claimed):
            return await self._carry(claim, work, invocation)
        head = claim.head
        if head is None:
            return Acknowledge()  # gone, or never made: only a start message may make it
        if head.status.is_terminal:
            parent = work.parent if isinstance(work, Start) else None
            await self._workers.io(partial(self._finish.finish, head, parent))
            return Acknowledge()
        if head.status is Status.PARKED or (birth is not None and head.status is Status.SLEEPING):
            return Acknowledge()
        return Bounce(head.lease_until)

    # -- with the lease ----------------------------------------------------------------------------
    async def _carry(self, claim: Claimed, work: Start | Go | Resume, invocation: Invocation) -> Answer:
        head = claim.head
        try:
            if head.retry_at is not None and head.retry_at > self._ports.clock.now():
                return await self._workers.io(partial(self._sleep_on, head))
            past = Past([], (), None)
            if not claim.is_new:
                past = await self._workers.io(partial(self._load, head))
            if isinstance(work, Start):
                past = replace(past, data=work.event.data)
            session = self._session(head, past, fresh=isinstance(work, Resume))
            outcome = session if not isinstance(session, Session) else await self._replay(session, invocation)
            held = session if isinstance(session, Session) else None
            return await self._workers.io(partial(self._settle, head, held, outcome))
        except Exception:  # noqa: BLE001 - one message's or trigger's failure is nobody else's
            _LOG.exception("run %s of function %s: the message comes back", head.run_id, head.function_id)
            await self._workers.io(partial(self._release, head))
            return Bounce()

    def _sleep_on(self, head: Head) -> Answer:
        """The body is to be run again later, and its timer lives: nothing to do yet."""
        return self._suspend(replace(head, status=Status.SLEEPING))

    def _load(self, head: Head) -> Past:
        past = self._store.past(head.run_id)
        loaded = [
            replace(register, value=self._payloads.text(register.value))
            if isinstance(register.value, Blob)
            else register
            for register in past.registers
        ]
        return replace(past, registers=loaded)

    def _session(self, head: Head, past: Past, *, fresh: bool) -> Session | Outcome:
        """The session, or what the run comes to without one."""
        newest = max((r.order[0] for r in past.registers if r.order is not None), default=0)
        crashes = head.epoch - 1 - max(newest, head.released_epoch)
        if crashes >= CRASH_LIMIT and not fresh:
            message = (
                f"crash loop: {crashes} invocations in a row ended without a record or an orderly end (killed, out of"
                " memory, or past the time limit). Mend the code or the function's memory and timeout, then resume."
            )
            return Parked(Failure(name="CrashLoopError", message=message))
        function = self._app.functions.get(head.function_id)
        if function is None:
            message = (
                f"app {self._app.id!r} has no function {head.function_id!r} any more."
                " Mend: deploy code that has it, then resume the run."
            )
            return Parked(failure_of(NondeterminismError(message)))
        stored = head.event.data if past.data is None else past.data
        row: dict[str, Any] = {
            "name": head.event.name,
            "data": json.loads(self._payloads.text(stored or "{}")),
            "id": head.event.id,
            "ts": head.event.ts,
            "source": head.event.source,
        }
        try:
            trigger = event_for(row, _model(function, head.event.name))
        except ValueError as error:
            return Failed(failure_of(error))
        return Session(
            function=function,
            known_functions=self._app.functions,
            head=head,
            past=past,
            event=row,
            trigger=trigger,
            store=self._store,
            payloads=self._payloads,
            ports=self._ports,
            stubs=self._stubs,
        )

    async def _replay(self, session: Session, invocation: Invocation) -> Outcome:
        if len(session.unlisted) > SEEN_INLINE:
            await self._workers.io(session.list_outside_results)
        left = (invocation.deadline - HAND_OVER_MARGIN - self._ports.clock.now()).total_seconds()
        if session.function.is_async:
            return await AsyncReplay(session, self._workers, asyncio.get_running_loop().time() + left).advance()
        replay = SyncReplay(session, time.monotonic() + left)
        return await asyncio.get_running_loop().run_in_executor(self._workers.handlers, replay.advance)

    # -- how the invocation ended ------------------------------------------------------------------
    def _settle(self, head: Head, session: Session | None, outcome: Outcome) -> Answer:
        now = self._ports.clock.now()
        if session is not None and not isinstance(outcome, Aborted):
            head = replace(head, seen=tuple(session.unlisted))
            self._cancel_late_children(session)
        match outcome:
            case Completed(output):
                kept = self._payloads.keep(output, head.run_id)
                return self._end(replace(head, status=Status.COMPLETED, output=kept, ended_at=now), session)
            case Failed(failure):
                return self._end(replace(head, status=Status.FAILED, failure=failure, ended_at=now), session)
            case Retry(failure, at):
                head = replace(head, status=Status.SLEEPING, failure=failure, attempt=head.attempt + 1, retry_at=at)
                head = self._arm_timer(head, at, QUEUE_DELAY_MAX)
                return self._suspend(head, session)
            case Parked(failure):
                _LOG.error("run %s of function %s is parked: %s", head.run_id, head.function_id, failure.message)
                return self._suspend(replace(head, status=Status.PARKED, failure=failure), session)
            case Suspended():
                head = replace(head, status=Status.SLEEPING, failure=None, retry_at=None)
                return self._suspend(self._arm_next(head, session), session, outcome)
            case HandOver():
                self._ports.queue.send([Outgoing(body=message_text(Go(run_id=head.run_id, why="continue")))])
                head = replace(head, status=Status.SLEEPING, failure=None, retry_at=None)
                return self._suspend(self._arm_next(head, session), session)
            case Aborted(error):
                raise error
            case _:
                assert_never(outcome)

    def _end(self, head: Head, session: Session | None) -> Answer:
        if session is not None:
            head = replace(head, armed=tuple(session.unresolved()))
        standing = self._store.end(head)
        if standing is not None and not standing.status.is_terminal:
            return Bounce(standing.lease_until)
        self._finish.finish(replace(head, pages=0) if standing is None else standing, head.parent)
        if session is not None:
            self._delete_resolved(head, session)
        return Acknowledge()

    def _suspend(self, head: Head, session: Session | None = None, outcome: Outcome | None = None) -> Answer:
        """Triggers are durable by now; then the head; then what is resolved is deleted."""
        if session is not None:
            if len(head.seen) > SEEN_INLINE:
                session.list_outside_results()
                head = replace(head, seen=())
            waiting = {armed.step_key for armed in session.unresolved()}
            head = replace(head, armed=tuple(one for one in session.inline_armed if one.step_key in waiting))
        now_ms = to_ms(self._ports.clock.now())
        needed = {to_ms(call.due_at) for call in session.pending.values() if call.due_at} if session else set()
        settled = session is not None and isinstance(outcome, Suspended)  # only then is all that is pending known
        unneeded = [timer for timer in head.timers if settled and timer.scheduled and timer.due_ms not in needed]
        head = replace(head, timers=tuple(t for t in head.timers if t not in unneeded and t.due_ms > now_ms))
        standing = self._store.suspend(head)
        if standing is not None:
            if not standing.status.is_terminal:
                return Bounce(standing.lease_until)
            self._finish.finish(replace(standing, armed=head.armed, timers=head.timers), head.parent)
            return Acknowledge()
        if session is not None:
            self._delete_resolved(head, session)
        for timer in unneeded:
            if timer.due_ms > now_ms:
                self._ports.timers.delete(schedule_name(head.run_id, timer.due_ms))
        return Acknowledge()

    def _release(self, head: Head) -> None:
        try:
            self._store.release(head)
        except Exception:  # noqa: BLE001 - the lease then ends by itself, at the deadline
            _LOG.exception("run %s: the lease could not be given back", head.run_id)

    # -- triggers ----------------------------------------------------------------------------------
    def _arm_next(self, head: Head, session: Session | None) -> Head:
        """Arms the earliest due time of all that is pending; the run arms the next when that has come."""
        if session is None:
            return head
        waiting = [call for call in session.pending.values() if call.due_at is not None]
        if not waiting:
            return head
        first = min(waiting, key=lambda call: to_ms(call.due_at) if call.due_at else 0)
        is_timeout = isinstance(first.step, WaitStep | InvokeStep)
        assert first.due_at is not None  # noqa: S101 - chosen for it
        return self._arm_timer(head, first.due_at, TIMEOUT_DELAY_MAX if is_timeout else QUEUE_DELAY_MAX)

    def _arm_timer(self, head: Head, due: datetime, by_queue: timedelta) -> Head:
        """Makes sure that a message comes for `due`: by the queue when it is near, else by a schedule.

        A schedule fires within a minute after its time, so it is set for the minute before the due
        minute; the rest is a queue delay, and the wake is exact to the second.
        """
        due_ms = to_ms(due)
        now = self._ports.clock.now()
        if any(timer.due_ms == due_ms and due > now for timer in head.timers):
            return head
        body = message_text(Go(run_id=head.run_id, why="timer", due_at=due))
        scheduled = due - now > by_queue
        if scheduled:
            minute = from_ms(due_ms - due_ms % 60_000)
            self._ports.timers.create(schedule_name(head.run_id, due_ms), minute - SCHEDULE_GRAIN, body)
        else:
            self._ports.queue.send([Outgoing(body=body, delay=max(due - now, timedelta(0)))])
        return replace(head, timers=(*head.timers, Timer(due_ms=due_ms, scheduled=scheduled)))

    def _cancel_late_children(self, session: Session) -> None:
        """Children whose invoke has timed out; before the head forgets them."""
        cancels = [
            Cancel(run_id=armed.run_id, reason="the step that invoked it has timed out")
            for armed, register in session.newly_resolved()
            if isinstance(armed, ArmedChild)
            and register.failure is not None
            and register.failure.name == INVOKE_TIMEOUT
        ]
        if cancels:
            self._ports.queue.send([Outgoing(body=message_text(cancel)) for cancel in cancels])

    def _delete_resolved(self, head: Head, session: Session) -> None:
        """Takes resolved waits out of the index, last of all; one that an event found is its message's to delete."""
        for armed, register in session.newly_resolved():
            if isinstance(armed, ArmedWait) and (register.event_id is None or len(armed.places) > 1):
                for place in armed.places:
                    self._store.delete_wait(place, head.run_id, armed.step_key)


def _birth(work: Start) -> Head:
    return Head(
        run_id=work.run_id,
        function_id=work.function_id,
        status=Status.RUNNING,
        event=work.event,
        parent=work.parent,
        created_at=work.created_at,
        extra=work.extra,
    )


def _model(function: Function[Any], event_name: str) -> Any:
    triggers = (trigger for trigger in function.triggers if isinstance(trigger, EventTrigger))
    return next((t.model for t in triggers if t.model is not None and t.names(event_name)), None)
