"""Advance a run: claim it, replay its handler, record how the invocation ended."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, assert_never

from stepbridge.app import App
from stepbridge.core.ids import schedule_name
from stepbridge.core.instants import from_ms, to_ms
from stepbridge.core.limits import (
    CRASH_LIMIT,
    HAND_OVER_MARGIN,
    IDLE_HAND_OVERS_MAX,
    QUEUE_DELAY_MAX,
    RUN_MAX,
    SCHEDULE_GRAIN,
    SEEN_INLINE,
    TIMEOUT_DELAY_MAX,
)
from stepbridge.core.messages import Go, Resume, Start, message_text
from stepbridge.core.records import ArmedChild, Blob, Failure, Head, Status, Timer
from stepbridge.core.triggers import EventTrigger
from stepbridge.engine.answers import Acknowledge, Answer, Bounce, Invocation
from stepbridge.engine.arming import INVOKE_TIMEOUT, Arming
from stepbridge.engine.async_replay import AsyncReplay
from stepbridge.engine.calls import Stubs
from stepbridge.engine.failures import failure_of
from stepbridge.engine.finish import Finish
from stepbridge.engine.operations import RERUN
from stepbridge.engine.outcome import (
    Aborted,
    Completed,
    Failed,
    HandOver,
    Outcome,
    Parked,
    Retry,
    Stopped,
    Suspended,
)
from stepbridge.engine.payloads import Payloads
from stepbridge.engine.recording import RUN_TIMEOUT, Recording, timed_out
from stepbridge.engine.session import Session, event_for
from stepbridge.engine.store import Claimed, Past, Store
from stepbridge.engine.sync_replay import SyncReplay
from stepbridge.engine.workers import Workers
from stepbridge.errors import NondeterminismError
from stepbridge.function import Function
from stepbridge.ports import Outgoing, Ports

_LOG = logging.getLogger("stepbridge")


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
        if isinstance(work, Resume):
            await self._workers.io(partial(self._unpark, work.run_id))
        claim = await self._workers.io(
            lambda: self._store.claim(
                work.run_id,
                birth=birth,
                holder=invocation.id,
                deadline=invocation.deadline,
                now=self._ports.clock.now(),
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

    def _unpark(self, run_id: str) -> None:
        head = self._store.head(run_id)
        if head is not None and head.status is Status.PARKED:
            self._store.unpark(head)

    # -- with the lease ----------------------------------------------------------------------------
    async def _carry(self, claim: Claimed, work: Start | Go | Resume, invocation: Invocation) -> Answer:
        head = claim.head
        try:
            now = self._ports.clock.now()
            if head.retry_at is not None and now < min(head.retry_at, self._finish_by(head) or head.retry_at):
                return await self._workers.io(partial(self._sleep_on, head))
            if isinstance(work, Start) and claim.is_new and not head.extra.get(RERUN):
                past = Past([], (), work.event.data)  # nothing else can be there yet
            else:
                past = await self._workers.io(partial(self._load, head))
            session = self._session(head, past)
            outcome = session if not isinstance(session, Session) else await self._replay(session, invocation)
            held = session if isinstance(session, Session) else None
            return await self._workers.io(partial(self._settle, head, held, outcome))
        except Exception:  # noqa: BLE001 - one message's or trigger's failure is nobody else's
            _LOG.exception(
                "run %s of function %s: the message comes back", head.run_id, head.function_id, extra=_names(head)
            )
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

    def _finish_by(self, head: Head) -> datetime | None:
        function = self._app.functions.get(head.function_id)
        limit = None if function is None else function.limits.finish
        return None if limit is None or head.started_at is None else head.started_at + limit

    def _session(self, head: Head, past: Past) -> Session | Outcome:
        """The session, or what the run comes to without one."""
        newest = max((r.order[0] for r in past.registers if r.order is not None), default=0)
        crashes = head.epoch - 1 - max(newest, head.released_epoch, head.forgiven_epoch)
        if crashes >= CRASH_LIMIT:
            message = (
                f"crash loop: {crashes} invocations in a row ended without a record or an orderly end (killed, out of"
                " memory, or past the time limit). Mend the code or the function's memory and timeout, then resume."
            )
            return Parked(Failure(name="CrashLoopError", message=message))
        if head.epoch > self._app.max_invocations:
            message = (
                f"the run has taken {self._app.max_invocations} invocations. Mend: end it, or raise max_invocations."
            )
            return Parked(Failure(name="TooManyInvocationsError", message=message))
        function = self._app.functions.get(head.function_id)
        if function is None and head.parent is not None and head.parent.app and head.epoch == 1:
            message = f"app {self._app.id!r} has no function {head.function_id!r}"
            return Failed(Failure(name="FunctionNotFoundError", message=message))
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
        late, now = function.limits.start, self._ports.clock.now()
        if late is not None and head.epoch == 1 and now > max(head.created_at, from_ms(head.event.ts)) + late:
            return Failed(Failure(name=RUN_TIMEOUT, message=f"the run did not start within {late}"))
        if now - head.created_at > RUN_MAX and head.event.ts <= to_ms(now - RUN_MAX):
            return Failed(Failure(name=RUN_TIMEOUT, message=f"a run may last {RUN_MAX.days} days"))
        session = Session(
            function=function,
            head=head,
            past=past,
            event=row,
            trigger=trigger,
            payloads=self._payloads,
            clock=self._ports.clock,
            finish_by=self._finish_by(head),
        )
        if session.finish_by is not None and now >= session.finish_by:
            session.fail(timed_out(session))
        return session

    async def _replay(self, session: Session, invocation: Invocation) -> Outcome:
        recording = Recording(session, self._store, self._payloads, self._ports, self._stubs)
        arming = Arming(session, recording, self._app, self._store, self._payloads, self._ports, self._stubs)
        if session.fatal is not None:
            return session.fatal
        if len(session.unlisted) > SEEN_INLINE:
            await self._workers.io(recording.list_outside_results)
        if session.function.cancellers:
            await self._workers.io(arming.arm_cancellers)
        self._workers.live[session.run_id] = session
        try:
            return await self._run_handler(session, recording, arming, invocation)
        finally:
            self._workers.live.pop(session.run_id, None)

    async def _run_handler(
        self, session: Session, recording: Recording, arming: Arming, invocation: Invocation
    ) -> Outcome:
        left = (invocation.deadline - HAND_OVER_MARGIN - self._ports.clock.now()).total_seconds()
        loop = asyncio.get_running_loop()
        if session.function.is_async:
            return await AsyncReplay(session, recording, arming, self._workers, loop.time() + left).advance()
        replay = SyncReplay(session, recording, arming, time.monotonic() + left)
        return await loop.run_in_executor(self._workers.handlers, replay.advance)

    # -- how the invocation ended ------------------------------------------------------------------
    def _settle(self, head: Head, session: Session | None, outcome: Outcome) -> Answer:
        now = self._ports.clock.now()
        if session is not None and not isinstance(outcome, Aborted):
            head = replace(head, seen=tuple(session.unlisted))
            self._cancel_late_children(session)
        match outcome:
            case Completed(output):
                kept = self._payloads.keep(output, head.run_id)
                return self._end(
                    replace(head, status=Status.COMPLETED, output=kept, failure=None, ended_at=now), session
                )
            case Failed(failure):
                return self._end(replace(head, status=Status.FAILED, failure=failure, ended_at=now), session)
            case Retry(failure, at):
                head = replace(head, status=Status.SLEEPING, failure=failure, attempt=head.attempt + 1, retry_at=at)
                limit = self._finish_by(head)
                dues = [(at, False)] if limit is None else [(at, False), (limit, True)]
                return self._suspend(self._arm_next(head, dues), session)
            case Parked(failure):
                _LOG.error(
                    "run %s of function %s is parked: %s",
                    head.run_id,
                    head.function_id,
                    failure.name,
                    extra=_names(head),
                )
                return self._suspend(replace(head, status=Status.PARKED, failure=failure), session)
            case Suspended():
                head = replace(head, status=Status.SLEEPING, failure=None, retry_at=None, idle_hand_overs=0)
                return self._suspend(self._arm_next(head, session.dues() if session else []), session, outcome)
            case HandOver(line):
                return self._hand_over(head, session, line)
            case Stopped():
                return self._suspend(replace(head, status=Status.SLEEPING), session)
            case Aborted(error):
                raise error
            case _:
                assert_never(outcome)

    def _hand_over(self, head: Head, session: Session | None, line: str) -> Answer:
        """The next invocation's message first, then the head."""
        idle = 0 if session is None or session.has_recorded else head.idle_hand_overs + 1
        if idle >= IDLE_HAND_OVERS_MAX:
            now = self._ports.clock.now()
            return self._end(replace(head, status=Status.FAILED, failure=_stuck(line), ended_at=now), session)
        self._ports.queue.send([Outgoing(body=message_text(Go(run_id=head.run_id, why="continue")))])
        head = replace(head, status=Status.SLEEPING, failure=None, retry_at=None, idle_hand_overs=idle)
        return self._suspend(self._arm_next(head, session.dues() if session else []), session)

    def _end(self, head: Head, session: Session | None) -> Answer:
        if session is not None:
            head = replace(head, armed=(*session.unresolved(), *session.deletable()))
        standing = self._store.end(head)
        if standing is not None and not standing.status.is_terminal:
            return Bounce(standing.lease_until)
        if session is not None:
            head = replace(head, pages=0)  # `armed` names all there is
        self._finish_all(head if standing is None else standing, head)
        return Acknowledge()

    def _finish_all(self, ended: Head, mine: Head) -> None:
        """What follows the run's end, whoever ended it; this invocation knows best what is armed."""
        self._finish.finish(replace(ended, armed=mine.armed, timers=mine.timers, pages=mine.pages), mine.parent)

    def _suspend(self, head: Head, session: Session | None = None, outcome: Outcome | None = None) -> Answer:
        """Triggers are durable by now; then the head; then what is resolved is deleted."""
        if session is not None:
            if len(head.seen) > SEEN_INLINE:
                Recording(session, self._store, self._payloads, self._ports, self._stubs).list_outside_results()
                head = replace(head, seen=())
            waiting = {armed.step_key for armed in session.unresolved()}
            head = replace(head, armed=tuple(one for one in session.inline_armed if one.step_key in waiting))
        now_ms = to_ms(self._ports.clock.now())
        needed = {to_ms(due) for due, _ in session.dues()} if session is not None else set()
        settled = session is not None and isinstance(outcome, Suspended)  # only then is all that is pending known
        unneeded = [timer for timer in head.timers if settled and timer.scheduled and timer.due_ms not in needed]
        head = replace(head, timers=tuple(t for t in head.timers if t not in unneeded and t.due_ms > now_ms))
        standing = self._store.suspend(head)
        if standing is not None:
            if not standing.status.is_terminal:
                return Bounce(standing.lease_until)
            if session is not None:
                head = replace(head, armed=(*session.unresolved(), *session.deletable()), pages=0)
            self._finish_all(standing, head)
            return Acknowledge()
        for wait in session.deletable() if session is not None else ():
            for place in wait.places:
                self._store.delete_wait(place, head.run_id, wait.step_key)
        for timer in unneeded:
            if timer.due_ms > now_ms:
                self._ports.timers.delete(schedule_name(head.run_id, timer.due_ms))
        return Acknowledge()

    def _release(self, head: Head) -> None:
        try:
            self._store.release(head)
        except Exception:  # noqa: BLE001 - the lease then ends by itself, at the deadline
            _LOG.exception("run %s: the lease could not be given back", head.run_id, extra=_names(head))

    # -- triggers ----------------------------------------------------------------------------------
    def _arm_next(self, head: Head, dues: list[tuple[datetime, bool]]) -> Head:
        """Arms the earliest of the due times; the run arms the next when that one has come."""
        if not dues:
            return head
        due, is_timeout = min(dues)
        return self._arm_timer(head, due, TIMEOUT_DELAY_MAX if is_timeout else QUEUE_DELAY_MAX)

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
        for armed, register in session.newly_resolved():
            if (
                isinstance(armed, ArmedChild)
                and register.failure is not None
                and register.failure.name == INVOKE_TIMEOUT
            ):
                self._finish.cancel_child(armed, "the step that invoked it has timed out")


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


def _stuck(line: str) -> Failure:
    message = (
        f"{IDLE_HAND_OVERS_MAX} invocations in a row ended at their time limit without recording anything;"
        f" the handler awaits at {line or 'an unknown line'}."
        " Mend: wait in a step (sleep, wait_for_event), or put the call into one."
    )
    return Failure(name="HandOverLoopError", message=message)


def _names(head: Head) -> dict[str, str]:
    return {"run_id": head.run_id, "function_id": head.function_id}
