"""Advance a run: claim it, replay its handler; `settling` then makes durable what that came to."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from stepbridge.app import App
from stepbridge.core.instants import to_ms
from stepbridge.core.limits import CRASH_LIMIT, HAND_OVER_MARGIN, QUEUE_DELAY_MAX, RUN_MAX, SEEN_INLINE
from stepbridge.core.messages import Go, Resume, Start
from stepbridge.core.records import RERUN, Blob, Failure, Head, Status, Timer, Wait
from stepbridge.core.triggers import EventTrigger
from stepbridge.engine import tracing
from stepbridge.engine.answers import Acknowledge, Answer, Bounce, Invocation
from stepbridge.engine.arming import Arming
from stepbridge.engine.async_replay import AsyncReplay
from stepbridge.engine.calls import Stubs
from stepbridge.engine.failures import failure_of
from stepbridge.engine.finish import Finish
from stepbridge.engine.outcome import Aborted, Failed, Outcome, Parked, Retry
from stepbridge.engine.payloads import Payloads
from stepbridge.engine.recording import RUN_TIMEOUT, Recording, list_outside_results, timed_out
from stepbridge.engine.session import Session
from stepbridge.engine.settling import Settling, left_timers
from stepbridge.engine.store import Claimed, Past, Refused, Store
from stepbridge.engine.values import event_for
from stepbridge.engine.workers import Workers
from stepbridge.errors import ConfigError, LostValueError, NondeterminismError, StepError
from stepbridge.function import Function
from stepbridge.ports import Ports

_LOG = logging.getLogger("stepbridge")
_BY_RESULT = ("match", "signal", "child", "reply")
"""Why a run goes on that somebody has written a result for."""


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
        self._settling = Settling(ports, store, payloads, finish)
        self._workers = workers
        self._stubs = stubs

    async def advance(
        self,
        work: Start | Go | Resume,
        invocation: Invocation,
        meanwhile: Callable[[], object] | None = None,
        found: Sequence[Wait] = (),
    ) -> Answer:
        """Claims the run and moves it as far as it goes.

        Args:
            work: What is asked for.
            invocation: By whom.
            meanwhile: Blocks, and is done before the run moves.
            found: The waits by which an event has found the run: nothing but its message deletes them, last of all.
        """
        if isinstance(work, Resume):
            await self._workers.io(partial(self._unpark, work.run_id))
        claim = await self._claim(work, invocation, meanwhile)
        if isinstance(claim, Claimed):
            return await self._carry(claim, work, invocation, found)
        head = claim.head
        if head is None:  # gone, or never made: only a start message may make it
            _LOG.info("a message for run %s does nothing: there is no such run", work.run_id)
            return Acknowledge()
        await self._drop_strays(work, head)
        if head.status.is_terminal:
            if head.status is Status.CANCELLED and head.epoch > head.released_epoch:
                head = await self._recollect(head, invocation)
            # Their timeouts' schedules are there only if somebody has died.
            orphans = (Timer(due_ms=to_ms(wait.deadline), scheduled=True) for wait in found)
            head = replace(head, timers=(*head.timers, *orphans))
            parent = work.parent if isinstance(work, Start) else None
            tells = head.status is not Status.CANCELLED
            await self._workers.io(partial(self._finish.finish, head, parent, tells=tells, but=found))
            return Acknowledge()
        if head.status is Status.PARKED or (isinstance(work, Start) and head.status is Status.SLEEPING):
            return Acknowledge()
        return Bounce(head.lease_until)

    async def _claim(
        self, work: Start | Go | Resume, invocation: Invocation, meanwhile: Callable[[], object] | None
    ) -> Claimed | Refused:
        claiming = self._workers.io(
            lambda: self._store.claim(
                work.run_id,
                birth=_birth(work) if isinstance(work, Start) else None,
                holder=invocation.id,
                deadline=invocation.deadline,
                now=self._ports.clock.now(),
            )
        )
        if meanwhile is None:
            return await claiming
        claim, done = await asyncio.gather(claiming, self._workers.io(meanwhile), return_exceptions=True)
        if isinstance(claim, BaseException):
            raise claim
        if isinstance(done, BaseException):
            if isinstance(claim, Claimed):
                await self._workers.io(partial(self._release, claim.head))
            raise done
        return claim

    def _unpark(self, run_id: str) -> None:
        head = self._store.head(run_id)
        if head is not None and head.status is Status.PARKED:
            self._store.unpark(head)

    async def _recollect(self, head: Head, invocation: Invocation) -> Head:
        """With all that a run may have armed whose last invocation neither suspended nor saw that it was cancelled.

        A child is on no list until its parent suspends. What the dead invocation recorded is replayed, and
        nothing more is done: where the replay waits, there it had armed what it waits for.
        """
        function = self._app.functions.get(head.function_id)
        if function is None:
            return head
        try:
            session = self._open(function, head, await self._workers.io(lambda: self._load(head)))
        except LostValueError:  # what it has armed is not to be known any more
            return head
        if not isinstance(session, Session):
            return head
        session.doubt()
        await self._probe(session, invocation)
        timers = (*head.timers, *left_timers(head, session))
        return replace(head, armed=(*session.unresolved(), *session.deletable()), pages=0, timers=timers)

    async def _probe(self, session: Session, invocation: Invocation) -> None:
        recording, arming = self._hands(session)
        session.probing = True
        with contextlib.suppress(StepError):  # the trigger lacks what a canceller is to be matched by
            arming.note_cancellers()
        outcome = await self._run_handler(session, recording, arming, invocation)
        if isinstance(outcome, Aborted):
            raise outcome.error

    async def _drop_strays(self, work: Start | Go | Resume, standing: Head) -> None:
        if isinstance(work, Start):
            await self._workers.io(partial(self._finish.drop_strays, _birth(work), standing))

    # -- with the lease ----------------------------------------------------------------------------
    async def _carry(
        self, claim: Claimed, work: Start | Go | Resume, invocation: Invocation, found: Sequence[Wait]
    ) -> Answer:
        head = claim.head
        try:
            now = self._ports.clock.now()
            if head.retry_at is not None and now < min(head.retry_at, self._finish_by(head) or head.retry_at):
                return await self._workers.io(partial(self._sleep_on, head))
            session = await self._begun(claim, work)
            held = session if isinstance(session, Session) else None
            if held is not None:
                held.spare(found)
                if isinstance(work, Go) and work.why in _BY_RESULT and not held.has_news:
                    held.doubt()
            outcome = session if not isinstance(session, Session) else await self._replay(session, invocation)
            return await self._workers.io(partial(self._settling.settle, head, held, outcome))
        except Exception:  # noqa: BLE001 - one message's or trigger's failure is nobody else's
            _LOG.exception(
                "run %s of function %s: the message comes back", head.run_id, head.function_id, extra=_names(head)
            )
            await self._workers.io(partial(self._release, head))
            return Bounce()

    async def _begun(self, claim: Claimed, work: Start | Go | Resume) -> Session | Outcome:
        """The session, over all that is recorded; or what the run comes to without one."""
        head = claim.head
        try:
            if isinstance(work, Start) and claim.is_new and not head.extra.get(RERUN):
                return self._session(head, Past([], (), work.event.data))  # nothing else can be there yet
            await self._drop_strays(work, head)
            past = await self._workers.io(partial(self._load, head))
            if not head.released_epoch and head.counts_from - head.created_at > QUEUE_DELAY_MAX:
                data = head.event.data if past.data is None else past.data  # written when the run was made
                await self._workers.io(partial(self._payloads.renew, data))
            return self._session(head, past)
        except LostValueError as error:
            return Parked(failure_of(error))

    def _sleep_on(self, head: Head) -> Answer:
        """The body is to be run again later, and its timer lives: nothing to do yet."""
        return self._settling.suspend(replace(head, status=Status.SLEEPING))

    def _load(self, head: Head) -> Past:
        past = self._store.past(head.run_id)
        loaded = [
            register._replace(value=self._payloads.text(register.value))
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
        late, now = function.limits.start, self._ports.clock.now()
        if late is not None and head.epoch == 1 and now > head.counts_from + late:
            return Failed(Failure(name=RUN_TIMEOUT, message=f"the run did not start within {late}"))
        if now > head.counts_from + RUN_MAX:
            return Failed(Failure(name=RUN_TIMEOUT, message=f"a run may last {RUN_MAX.days} days"))
        return self._open(function, head, past)

    def _open(self, function: Function[Any], head: Head, past: Past) -> Session | Outcome:
        """The session; where the trigger does not fit its model, the run's failure."""
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
        except Exception as error:  # noqa: BLE001 - whatever a validator of the user's raises
            return Failed(failure_of(error))
        return Session(
            function=function,
            head=head,
            past=past,
            event=row,
            trigger=trigger,
            payloads=self._payloads,
            clock=self._ports.clock,
            finish_by=self._finish_by(head),
        )

    def _hands(self, session: Session) -> tuple[Recording, Arming]:
        recording = Recording(session, self._store, self._payloads, self._ports, self._stubs)
        return recording, Arming(session, recording, self._app, self._store, self._payloads, self._ports, self._stubs)

    async def _replay(self, session: Session, invocation: Invocation) -> Outcome:
        if session.finish_by is not None and session.now() >= session.finish_by:
            if session.is_after_crash:  # the one before died, and its children live
                await self._probe(session, invocation)
            return timed_out(session)
        recording, arming = self._hands(session)
        if len(session.unlisted) > SEEN_INLINE:
            await self._workers.io(partial(list_outside_results, session, self._store))
        if session.function.cancellers:
            try:
                await self._workers.io(arming.arm_cancellers)
            except (ConfigError, StepError) as error:  # the trigger lacks what they match by
                return Failed(failure_of(error))
        self._workers.live[session.run_id] = session
        name, head = f"run {session.function_id}", session.head
        ids = {"app_id": self._app.id, "function_id": session.function_id, "run_id": session.run_id}
        try:
            with tracing.span(name, head.extra, **ids, attempt=head.attempt, invocation=head.epoch) as failed:
                session.trace = tracing.current()
                outcome = await self._run_handler(session, recording, arming, invocation)
                if isinstance(outcome, Aborted) and isinstance(outcome.error, LostValueError):
                    outcome = Parked(failure_of(outcome.error))
                if isinstance(outcome, Failed | Parked | Retry):
                    failed(outcome.failure.name)
                return outcome
        finally:
            self._workers.live.pop(session.run_id, None)

    async def _run_handler(
        self, session: Session, recording: Recording, arming: Arming, invocation: Invocation
    ) -> Outcome:
        left = (invocation.deadline - HAND_OVER_MARGIN - self._ports.clock.now()).total_seconds()
        loop = asyncio.get_running_loop()
        if session.function.is_async:
            return await AsyncReplay(session, recording, arming, self._workers, loop.time() + left).advance()
        from stepbridge.engine.sync_replay import SyncReplay

        replay = SyncReplay(session, recording, arming, time.monotonic() + left)
        return await loop.run_in_executor(self._workers.handlers, contextvars.copy_context().run, replay.advance)

    def _release(self, head: Head) -> None:
        try:
            self._store.release(head)
        except Exception:  # noqa: BLE001 - the lease then ends by itself, at the deadline
            _LOG.exception("run %s: the lease could not be given back", head.run_id, extra=_names(head))


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


def _names(head: Head) -> dict[str, str]:
    return {"run_id": head.run_id, "function_id": head.function_id}
