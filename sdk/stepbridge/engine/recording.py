"""A step's function ends, and its register is written: the one request that a durable step costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from stepbridge.core import codec, ids
from stepbridge.core.history import Result
from stepbridge.core.instants import to_ms
from stepbridge.core.limits import CANCEL_CHECK_SECONDS, SEEN_INLINE
from stepbridge.core.records import Failure, Kind, Mark, Register
from stepbridge.core.retry import next_attempt_at, sound
from stepbridge.core.steps import RunStep, SendSignalStep, SendStep, Step
from stepbridge.engine import tracing
from stepbridge.engine.calls import Call, Stub, Stubs
from stepbridge.engine.failures import LEAVING, failure_of
from stepbridge.engine.outcome import Failed, Stopped
from stepbridge.engine.payloads import Payloads
from stepbridge.engine.publish import entries_of
from stepbridge.engine.session import Session
from stepbridge.engine.signals import send_signal
from stepbridge.engine.store import Store
from stepbridge.errors import StepInterruptedError, UnserializableOutputError
from stepbridge.ports import Ports
from stepbridge.step import CurrentStep

RUN_TIMEOUT = "RunTimeoutError"


class Recording:
    """Runs the functions of steps and records how they ended. Its methods block."""

    def __init__(self, session: Session, store: Store, payloads: Payloads, ports: Ports, stubs: Stubs) -> None:
        self._session = session
        self._store = store
        self._payloads = payloads
        self._ports = ports
        self._stubs = stubs
        self._looked_at = time.monotonic()

    def begin(self, call: Call) -> CurrentStep:
        """What `current_step()` says while the call's function runs."""
        session = self._session
        session.note_live()
        if session.finish_by is not None and session.now() >= session.finish_by:
            session.fail(timed_out(session))
        return CurrentStep(
            run_id=session.run_id,
            step_id=call.step.step_id,
            attempt=call.failed,
            effect_key=ids.effect_key(session.run_id, call.key),
        )

    def body(self, call: Call) -> Callable[[], Any]:
        """The function that the step runs."""
        step, session = call.step, self._session
        if (stub := self._stub(call)) is not None:
            return stub.play
        match step:
            case SendStep():
                return lambda: self._send(call, step)
            case SendSignalStep():
                effect = ids.effect_key(session.run_id, call.key)
                return lambda: send_signal(step.signal, step.data, effect, self._store, self._payloads, self._ports)
            case RunStep():
                return lambda: step.fn(*step.args, **step.kwargs)
            case _:
                raise AssertionError(step)

    def _stub(self, call: Call) -> Stub | None:
        return self._stubs(self._session.function.id, call.step.step_id)

    def start(self, call: Call) -> None:
        """For a step that must not be repeated silently: records that it begins, one write more."""
        if not (isinstance(call.step, RunStep) and call.step.once):
            return
        session, now = self._session, self._session.now()
        register = Register(
            key=call.key,
            step_id=call.step.step_id,
            occurrence=call.occurrence,
            kind=call.step.kind,
            mark=Mark.STARTED,
            attempts=call.failed + 1,
            order=(session.head.epoch, session.take_rank()),
            started_at=now,
            ended_at=now,
        )
        self._store.put_register(session.run_id, register, after_attempts=call.failed)
        call.started_in = session.head.epoch

    def interrupted(self, call: Call) -> Result | None:
        """A step began in an earlier invocation, and a crash hid how it ended."""
        now = self._session.now()
        message = (
            f"step {call.step.step_id!r} began and a crash hid how it ended; it is not repeated (on_interrupt='raise')."
            " Mend: find out by its effect key, and go on accordingly."
        )
        register = Register(
            key=call.key,
            step_id=call.step.step_id,
            occurrence=call.occurrence,
            kind=call.step.kind,
            mark=Mark.ERROR,
            failure=Failure(name=StepInterruptedError.__name__, message=message),
            attempts=call.failed + 1,
            started_at=now,
            ended_at=now,
        )
        return self.record(call, register)

    def span(self, call: Call) -> AbstractContextManager[Callable[[str], None]]:
        """The span of a step's function: below the caller's own, or this invocation's."""
        session = self._session
        return tracing.span(
            f"step {call.step.step_id}",
            tracing.current() or session.trace,
            function_id=session.function_id,
            run_id=session.run_id,
            step_id=call.step.step_id,
            attempt=call.failed,
        )

    def perform(self, call: Call, started_at: datetime) -> Result | None:
        """Runs a step's sync function and records how it ended, in the thread that calls this."""
        self.start(call)
        value: Any = None
        error: BaseException | None = None
        with self.span(call) as failed:
            try:
                value = self.body(call)()
            except LEAVING:
                raise
            except BaseException as raised:  # whatever user code raises is recorded
                failed(type(raised).__name__)
                if self._is_of_the_world(call, raised):
                    raise
                error = raised
        return self.ended(call, started_at, value, error)

    def _is_of_the_world(self, call: Call, error: BaseException) -> bool:
        """Whether a step of the engine's own met a bus or a table that fails: no attempt of the step's has.

        A port's `ValueError` is about what the step was given, and counts as the step's.
        """
        is_ours = isinstance(call.step, SendStep | SendSignalStep) and self._stub(call) is None
        return is_ours and not isinstance(error, ValueError)

    def _send(self, call: Call, step: SendStep) -> list[str]:
        run_id = self._session.run_id
        sent_ids = [draft.id or ids.sent_event_id(run_id, call.key, n) for n, draft in enumerate(step.events)]
        now_ms = to_ms(self._session.now())
        self._ports.bus.put(
            entries_of(step.events, sent_ids, now_ms, self._session.function.app_id, self._session.head.extra)
        )
        return sent_ids

    def ended(self, call: Call, started_at: datetime, value: Any, error: BaseException | None) -> Result | None:
        """Records how a step's function ended. None: it is to be tried again at `call.due_at`."""
        step, session = call.step, self._session
        if session.fatal is not None and error is not None:
            return None
        if error is not None:
            error = sound(error)
        ended_at, attempts = session.now(), call.failed + 1
        mark, failure, due_at = Mark.OK, None, None
        text: str | None = None
        if error is None:
            hint = step.hint if isinstance(step, RunStep) else codec.PLAIN
            try:
                text = codec.encode(value, hint, what=f"step {step.step_id!r}")
            except UnserializableOutputError as unserializable:
                session.fail(Failed(failure_of(unserializable)))
                return None
        else:
            due_at = next_attempt_at(
                error,
                run_id=session.run_id,
                name=call.key,
                attempts=attempts,
                max_attempts=_max_attempts(step, session),
                now=ended_at,
            )
            mark, failure = Mark.ERROR if due_at is None else Mark.RETRY, failure_of(error)
        register = Register(
            key=call.key,
            step_id=step.step_id,
            occurrence=call.occurrence,
            kind=step.kind,
            mark=mark,
            value=None if text is None else self._payloads.keep(text, session.run_id),
            failure=failure,
            attempts=attempts,
            due_at=due_at,
            started_at=started_at,
            ended_at=ended_at,
        )
        result = self.record(call, register, text)
        self._look_at_head()
        return result

    def record(self, call: Call, register: Register, text: str | None = None) -> Result | None:
        """Writes the register and adopts the one that stands; `text` is its value. None: a retry."""
        session = self._session
        session.has_recorded = True
        if register.mark is Mark.RETRY:
            stored = self._put(call, register)
            if stored.mark is Mark.RETRY:
                call.failed, call.due_at, call.started_in = stored.attempts, stored.due_at, None
                return None
            return Result(session.take_rank(), session.loaded(stored))
        with session.lock:
            rank = session.next_rank()
            session.inflight.add(rank)
            listed = tuple(session.unlisted)
        try:
            mine = register._replace(order=(session.head.epoch, rank), seen=listed)
            stored = self._put(call, mine)
            if listed:
                with session.lock:
                    session.unlisted = [key for key in session.unlisted if key not in listed]
        finally:
            with session.lock:
                session.inflight.discard(rank)
        if stored.mark is Mark.RETRY:  # another attempt's, which ended meanwhile
            call.failed, call.due_at = stored.attempts, stored.due_at
            return None
        if stored is mine and text is not None and mine.value is not text:
            return Result(rank, mine._replace(value=text))
        return Result(rank, session.loaded(stored))

    def _put(self, call: Call, register: Register) -> Register:
        attempts, epoch = call.failed, call.started_in
        return self._store.put_register(self._session.run_id, register, after_attempts=attempts, started_in=epoch)

    def _look_at_head(self) -> None:
        """Now and then: has another invocation ended the run? Then no further step begins."""
        if time.monotonic() - self._looked_at < CANCEL_CHECK_SECONDS:
            return
        self._looked_at = time.monotonic()
        head = self._store.head(self._session.run_id)
        if head is not None and head.status.is_terminal:
            self._session.fail(Stopped())


def list_outside_results(session: Session, store: Store) -> None:
    """Writes a record of its own for outside results that are too many to be listed elsewhere."""
    if len(session.unlisted) <= SEEN_INLINE:
        return
    now = session.now()
    order = (session.head.epoch, session.take_rank())
    register = Register(
        key=f"~{order[0]:09}-{order[1]}",
        step_id="",
        kind=Kind.SEEN,
        mark=Mark.OK,
        order=order,
        seen=tuple(session.unlisted),
        started_at=now,
        ended_at=now,
    )
    store.put_register(session.run_id, register)
    session.unlisted = []


def timed_out(session: Session) -> Failed:
    """The run has lasted longer than it may."""
    message = f"the run did not end within {session.function.limits.finish}"
    return Failed(Failure(name=RUN_TIMEOUT, message=message))


def _max_attempts(step: Step, session: Session) -> int:
    retries = step.retries if isinstance(step, RunStep | SendStep | SendSignalStep) else None
    return session.max_attempts if retries is None else retries + 1
