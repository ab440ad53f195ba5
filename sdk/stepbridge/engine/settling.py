"""How an invocation ends: its run ends, suspends, is handed over or parked. Triggers first, then the head.

Then what is resolved is deleted, and what follows an end is done.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from stepbridge.core.ids import schedule_name
from stepbridge.core.instants import from_ms, to_ms
from stepbridge.core.limits import (
    IDLE_HAND_OVERS_MAX,
    QUEUE_DELAY_MAX,
    SCHEDULE_GRAIN,
    SEEN_INLINE,
    TIMEOUT_DELAY_MAX,
)
from stepbridge.core.messages import Go, message_text
from stepbridge.core.records import ArmedChild, ArmedWait, Failure, Head, Status, Timer
from stepbridge.engine.answers import Acknowledge, Answer, Bounce
from stepbridge.engine.arming import INVOKE_TIMEOUT
from stepbridge.engine.finish import Finish
from stepbridge.engine.outcome import Aborted, Completed, Failed, HandOver, Outcome, Parked, Retry, Stopped, Suspended
from stepbridge.engine.payloads import Payloads
from stepbridge.engine.recording import list_outside_results
from stepbridge.engine.session import Session
from stepbridge.engine.store import Store
from stepbridge.ports import Outgoing, Ports

_LOG = logging.getLogger("stepbridge")


class Settling:
    """Writes what an invocation came to. Its methods block."""

    def __init__(self, ports: Ports, store: Store, payloads: Payloads, finish: Finish) -> None:
        self._ports = ports
        self._store = store
        self._payloads = payloads
        self._finish = finish

    def settle(self, head: Head, session: Session | None, outcome: Outcome) -> Answer:
        """Makes durable what the invocation came to; `session`: None where it did not come to replay."""
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
                limit = None if session is None else session.finish_by
                dues = [(at, False)] if limit is None else [(at, False), (limit, True)]
                return self.suspend(self._arm_next(head, dues), session)
            case Parked(failure):
                _LOG.error(
                    "run %s of function %s is parked: %s",
                    head.run_id,
                    head.function_id,
                    failure.name,
                    extra={"run_id": head.run_id, "function_id": head.function_id},
                )
                return self.suspend(replace(head, status=Status.PARKED, failure=failure), session)
            case Suspended():
                head = replace(head, status=Status.SLEEPING, failure=None, retry_at=None, idle_hand_overs=0)
                head = self._arm_next(head, session.dues(), session.left_dues()) if session else head
                return self.suspend(head, session, outcome)
            case HandOver(line):
                return self._hand_over(head, session, line)
            case Stopped():
                return self.suspend(replace(head, status=Status.SLEEPING), session)
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
        return self.suspend(self._arm_next(head, session.dues() if session else []), session)

    def _end(self, head: Head, session: Session | None) -> Answer:
        if session is not None:
            head = replace(head, armed=(*session.unresolved(), *session.deletable()))
        standing = self._store.end(head)
        if standing is not None and not standing.status.is_terminal:
            return Bounce(standing.lease_until)
        if session is not None:
            timers = (*head.timers, *left_timers(head, session))
            head = replace(head, pages=0, timers=timers)  # `armed` names all there is
        self._finish_all(head if standing is None else standing, head)
        return Acknowledge()

    def _finish_all(self, ended: Head, mine: Head) -> None:
        """What follows the run's end, whoever ended it; this invocation knows best what is armed."""
        head = replace(ended, armed=mine.armed, timers=mine.timers, pages=mine.pages)
        self._finish.finish(head, mine.parent, tells=ended.status is not Status.CANCELLED)

    def suspend(self, head: Head, session: Session | None = None, outcome: Outcome | None = None) -> Answer:
        """Triggers are durable by now; then the head; then what an event resolved is deleted.

        What the run itself resolved is deleted before the head: no message needs it to find its run, and a crash
        after the head would leave it.
        """
        if session is not None:
            if len(head.seen) > SEEN_INLINE:
                list_outside_results(session, self._store)
                head = replace(head, seen=())
            listed = {armed.step_key for armed in (*session.unresolved(), *session.losing())}
            head = replace(head, armed=tuple(one for one in session.inline_armed if one.step_key in listed))
            self._delete(head.run_id, [wait for wait in session.deletable() if session.is_own(wait)])
        now_ms = to_ms(self._ports.clock.now())
        needed = {to_ms(due) for due, _ in session.dues()} if session is not None else set()
        settled = session is not None and isinstance(outcome, Suspended)  # only then is all that is pending known
        unneeded = [timer for timer in head.timers if settled and timer.scheduled and timer.due_ms not in needed]
        if settled and session is not None:
            unneeded += [timer for timer in left_timers(head, session) if timer.due_ms not in needed]
        head = replace(head, timers=tuple(t for t in head.timers if t not in unneeded and t.due_ms > now_ms))
        standing = self._store.suspend(head)
        if standing is not None:
            if not standing.status.is_terminal:
                return Bounce(standing.lease_until)
            if session is not None:
                head = replace(head, armed=(*session.unresolved(), *session.deletable()), pages=0)
            self._finish_all(standing, head)
            return Acknowledge()
        if session is not None:
            self._delete(head.run_id, [wait for wait in session.deletable() if not session.is_own(wait)])
        for timer in unneeded:
            if timer.due_ms > now_ms:
                self._ports.timers.delete(schedule_name(head.run_id, timer.due_ms))
        return Acknowledge()

    def _delete(self, run_id: str, waits: list[ArmedWait]) -> None:
        for wait in waits:
            for place in wait.places:
                self._store.delete_wait(place, run_id, wait.step_key)

    # -- triggers ----------------------------------------------------------------------------------
    def _arm_next(self, head: Head, dues: Sequence[tuple[datetime, bool]], left: Sequence[datetime] = ()) -> Head:
        """Arms the earliest of the due times; the run arms the next when that one has come.

        One whose schedule may be `left` is armed as well: so the head lists it.
        """
        far = self._ports.clock.now() + QUEUE_DELAY_MAX
        for number, (due, is_timeout) in enumerate(sorted(dues)):
            if number == 0 or (due in left and due > far):
                head = self._arm_timer(head, due, TIMEOUT_DELAY_MAX if is_timeout else QUEUE_DELAY_MAX)
        return head

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


def left_timers(head: Head, session: Session) -> list[Timer]:
    """Schedules that an invocation that died may have left, and no head lists."""
    listed = {timer.due_ms for timer in head.timers}
    return [Timer(due_ms=due_ms, scheduled=True) for due_ms in map(to_ms, session.left_dues()) if due_ms not in listed]


def _stuck(line: str) -> Failure:
    message = (
        f"{IDLE_HAND_OVERS_MAX} invocations in a row ended at their time limit without recording anything;"
        f" the handler awaits at {line or 'an unknown line'}."
        " Mend: wait in a step (sleep, wait_for_event), or put the call into one."
    )
    return Failure(name="HandOverLoopError", message=message)
