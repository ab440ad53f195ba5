"""What a step waits for is made durable: the sleep's due time, the wait's items, the child, the items of a map."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from stepbridge.app import App
from stepbridge.core import codec, ids
from stepbridge.core.instants import to_ms
from stepbridge.core.limits import LEASE_MARGIN, RUN_MAX
from stepbridge.core.matching import SCAN, Want, is_wanted, lookback_place, want_event
from stepbridge.core.messages import Start, message_text
from stepbridge.core.records import (
    ArmedChild,
    ArmedWait,
    EventRecord,
    Failure,
    Kind,
    Mark,
    Parent,
    Register,
    Role,
    Wait,
)
from stepbridge.core.steps import (
    InvokeStep,
    MapStep,
    RunStep,
    SendSignalStep,
    SendStep,
    SignalStep,
    SleepStep,
    WaitStep,
)
from stepbridge.core.triggers import Pattern
from stepbridge.engine.across import Across, foreign_child_id
from stepbridge.engine.calls import Call, Result, Stub, Stubs
from stepbridge.engine.failures import failure_of
from stepbridge.engine.mapping import INVOKED, Maps
from stepbridge.engine.operations import RERUN
from stepbridge.engine.payloads import Payloads
from stepbridge.engine.publish import trace_of
from stepbridge.engine.recording import Recording
from stepbridge.engine.rule import wants
from stepbridge.engine.session import Session
from stepbridge.engine.signals import signal_place
from stepbridge.engine.store import Store
from stepbridge.errors import ConfigError
from stepbridge.events import Event
from stepbridge.ports import Outgoing, Ports

_LOG = logging.getLogger("stepbridge")
INVOKE_TIMEOUT = "InvokeTimeoutError"


class Arming:
    """Arms calls and expires them. Its methods block."""

    def __init__(  # noqa: PLR0913, PLR0917 - made in one place
        self,
        session: Session,
        recording: Recording,
        app: App,
        store: Store,
        payloads: Payloads,
        ports: Ports,
        stubs: Stubs,
    ) -> None:
        self._session = session
        self._recording = recording
        self._app = app
        self._store = store
        self._payloads = payloads
        self._ports = ports
        self._stubs = stubs
        self._maps = Maps(store, payloads, ports)
        registers = (register for _, register in session.history.ranked.values())
        self._consumed = [session.head.event.id, *(r.event_id for r in registers if r.event_id is not None)]

    def arm(self, call: Call) -> Result | None:
        """Makes durable what a call waits for. A result: there is nothing to wait for."""
        self._session.note_live()
        if (stub := self._stubs(self._session.function.id, call.step.step_id)) is not None:
            return self._arm_stub(call, stub)
        match call.step:
            case SleepStep():
                return self._arm_sleep(call, call.step)
            case WaitStep():
                return self._arm_wait(call, call.step)
            case SignalStep():
                return self._arm_signal(call, call.step)
            case InvokeStep():
                return self._arm_invoke(call, call.step)
            case MapStep():
                return self._arm_map(call, call.step)
            case RunStep() | SendStep() | SendSignalStep():
                raise AssertionError(call.step)
            case _:
                assert_never(call.step)

    def arm_cancellers(self) -> None:
        """The events that cancel the run, before its first step."""
        session = self._session
        for index, canceller in enumerate(session.function.cancellers):
            step_id = f"cancel on {canceller.pattern.event}"
            key = ids.step_key(f"~{step_id}", index)
            if key in session.armed:
                continue
            began = session.head.started_at or session.now()
            deadline = None if canceller.timeout is None else began + canceller.timeout
            want = self._want(canceller.pattern, step_id)
            step = WaitStep(step_id=f"~{step_id}", patterns=(canceller.pattern,), timeout=RUN_MAX)
            self._put_waits(Call(step, key, index), [want], deadline or began + RUN_MAX, Role.CANCEL)

    def _arm_sleep(self, call: Call, step: SleepStep) -> Result | None:
        session = self._session
        now = session.now()
        due = now + step.duration if step.until is None else step.until
        result = self._recording.record(call, self._register(call, Mark.DUE, now, due_at=due))
        assert result is not None  # noqa: S101 - only retries give None
        call.due_at = result.register.due_at
        if call.due_at is None or call.due_at > now:
            session.history.unfinished[call.key] = result.register
            return None
        return session.from_outside(result.register)

    # -- waits -------------------------------------------------------------------------------------
    def _arm_wait(self, call: Call, step: WaitStep) -> Result | None:
        wants = [self._want(pattern, step.step_id) for pattern in step.patterns]
        is_any = step.kind is Kind.WAIT_ANY
        deadline = self._put_waits(call, wants, self._session.now() + step.timeout, Role.ANY if is_any else Role.STEP)
        call.due_at = deadline
        places = tuple(place for want in wants for place in want.places)
        if (told := self._told_meanwhile(call, places)) is not None:
            return told
        for index, (pattern, want) in enumerate(zip(step.patterns, wants, strict=True)):
            if pattern.lookback and (row := self._look_back(pattern, want)) is not None:
                text = codec.dump([index, row] if is_any else row)
                return self._found(call, text, row["id"], places)
        return None

    def _told_meanwhile(self, call: Call, places: tuple[str, ...]) -> Result | None:
        """After a crash: an event may have resolved the wait, and taken it away, before it was put again just now."""
        session = self._session
        if session.head.epoch - 1 == session.head.released_epoch:
            return None  # put for the first time: whoever finds it takes it away
        register = self._store.register(session.run_id, call.key)
        if register is None or register.order is not None:
            return None
        for place in places:
            self._store.delete_wait(place, session.run_id, call.key)
        if register.event_id is not None:
            self._consumed.append(register.event_id)
        return session.from_outside(register)

    def _found(self, call: Call, text: str, event_id: str, places: tuple[str, ...]) -> Result:
        """The run records the event that it found, unless one has come to the wait meanwhile."""
        kept = self._payloads.keep(text, self._session.run_id)
        register = self._register(call, Mark.OK, self._session.now(), value=kept, event_id=event_id, places=places)
        result = self._recording.record(call, register, text)
        assert result is not None  # noqa: S101 - only retries give None
        if result.register.event_id is not None:
            self._consumed.append(result.register.event_id)
        if result.register.order is None:
            return self._session.from_outside(result.register)
        self._session.found[call.key] = result.register
        return result

    def _adopt(self, register: Register) -> Result:
        """Writes a result that came from outside, or takes the one that came first."""
        standing = self._store.put_register(self._session.run_id, register)
        if standing.event_id is not None:  # it resolves no later wait of this run
            self._consumed.append(standing.event_id)
        return self._session.from_outside(standing)

    def _want(self, pattern: Pattern, step_id: str) -> Want:
        if not wants(self._app, pattern.event):
            raise ConfigError(
                f"wait {step_id!r} is for {pattern.event!r}, which the app's rule leaves out unless it is declared."
                f" Mend: @app.function(..., waits=[EventMatch({pattern.event!r})])."
            )
        want = want_event(
            pattern.event,
            match=pattern.match,
            if_exp=pattern.if_exp,
            trigger=self._session.event,
            run_id=self._session.run_id,
            step_id=step_id,
        )
        if want.expression and SCAN in want.signatures:
            self._warn_of_scan(want, step_id)
        return want

    def _warn_of_scan(self, want: Want, step_id: str) -> None:
        """Once for a function and step id: every event of the name is held against every such wait."""
        session = self._session
        if (SCAN, step_id) in session.function.warned:
            return
        session.function.warned.add((SCAN, step_id))
        _LOG.warning(
            "%r: if_exp %r has no equality that an index could use, so every %r event is held against every such"
            " wait. Mend: add a term like async.data.orderId == event.data.orderId (function %s, run %s)",
            step_id,
            want.expression,
            want.event_name,
            session.function.id,
            session.run_id,
            extra={"metric": "ScanWaits", "function_id": session.function.id, "step_id": step_id},
        )

    def _put_waits(self, call: Call, wants: list[Want], deadline: datetime, role: Role) -> datetime:
        """Puts the items of the wait; the deadline that holds is the one that stood first."""
        session = self._session
        now = session.now()
        for index, want in enumerate(wants):
            for signature, place in zip(want.signatures, want.places, strict=True):
                self._store.add_signature(want.event_name, signature)
                wait = Wait(
                    place=place,
                    run_id=session.run_id,
                    step_key=call.key,
                    step_id=call.step.step_id,
                    occurrence=call.occurrence,
                    role=role,
                    index=index,
                    kind=call.step.kind,
                    event_name=want.event_name,
                    since_ms=self._cancellable_since() if role is Role.CANCEL else 0,
                    expression=want.expression,
                    event=want.event,
                    consumed=tuple(dict.fromkeys(self._consumed)),
                    armed_at=now,
                    deadline=deadline,
                )
                deadline = self._store.put_wait(wait).deadline
        session.add_armed(
            ArmedWait(
                step_key=call.key,
                step_id=call.step.step_id,
                occurrence=call.occurrence,
                places=tuple(place for want in wants for place in want.places),
                deadline=deadline,
                kind=call.step.kind,
            )
        )
        return deadline

    def _cancellable_since(self) -> int:
        """Older cancel events do nothing: than the trigger, or than a rerun of it."""
        head = self._session.head
        return to_ms(head.created_at) if RERUN in head.extra else head.event.ts

    def _look_back(self, pattern: Pattern, want: Want) -> dict[str, Any] | None:
        """The first event that came before the wait was armed and counts: write first, then read, as ingest does."""
        session = self._session
        declared = session.function.lookback_of(pattern)
        if declared is None:
            raise ConfigError(
                f"the wait for {pattern.event!r} of function {session.function.id!r} has an undeclared lookback."
                f" Mend: @app.function(..., waits=[EventMatch({pattern.event!r}, match=..., lookback=...)])."
            )
        span = min(declared, pattern.lookback) if isinstance(pattern.lookback, timedelta) else declared
        began = session.head.created_at
        since = max(began - LEASE_MARGIN, session.now() - span)
        for place in dict.fromkeys(lookback_place(want, place) for place in want.places):
            for came_ms, text in self._store.seen_since(place, to_ms(since)):
                row = codec.decode(self._payloads.text(text), codec.PLAIN)
                if came_ms < to_ms(began) and row["ts"] < session.head.event.ts:
                    continue  # before the run; were it younger than the trigger, its host's clock would be behind
                if row["id"] in self._consumed or not is_wanted(row, expression=want.expression, trigger=want.event):
                    continue
                return dict(row)
        return None

    def _arm_signal(self, call: Call, step: SignalStep) -> Result | None:
        place = signal_place(step.signal)
        want = Want(event_name=step.signal, signatures=(), places=(place,))
        session = self._session
        now = session.now()
        wait = Wait(
            place=place,
            run_id=session.run_id,
            step_key=call.key,
            step_id=step.step_id,
            occurrence=call.occurrence,
            kind=Kind.SIGNAL,
            event_name=want.event_name,
            armed_at=now,
            deadline=now + step.timeout,
        )
        call.due_at = self._store.put_wait(wait).deadline
        if (told := self._told_meanwhile(call, want.places)) is not None:
            return told
        others = [w for w in self._store.waits_at(place) if (w.run_id, w.step_key) != (session.run_id, call.key)]
        if others:
            self._store.delete_wait(place, session.run_id, call.key)
            message = (
                f"signal {step.signal!r} has a waiter already: step {others[0].step_id!r} of run {others[0].run_id}"
            )
            failure = Failure(name="SignalConflictError", message=message)
            return self._recording.record(call, self._register(call, Mark.ERROR, now, failure=failure))
        session.add_armed(
            ArmedWait(
                step_key=call.key,
                step_id=step.step_id,
                occurrence=call.occurrence,
                places=want.places,
                deadline=call.due_at,
                kind=Kind.SIGNAL,
            )
        )
        return None

    # -- children ----------------------------------------------------------------------------------
    def _arm_invoke(self, call: Call, step: InvokeStep) -> Result | None:
        session = self._session
        now = session.now()
        if step.app is not None and step.app != self._app.id:
            return self._arm_foreign(call, step, step.app)
        if (missing := self._missing(step.function_id, step.step_id)) is not None:
            return self._recording.record(call, self._register(call, Mark.ERROR, now, failure=missing))
        child_id = ids.child_run_id(session.run_id, call.key)
        start = Start(
            run_id=child_id,
            function_id=step.function_id,
            event=EventRecord(
                name=INVOKED,
                id=child_id,
                ts=to_ms(now),
                source=session.function.app_id,
                data=self._payloads.keep(step.data, child_id),
            ),
            parent=self._parent(call),
            created_at=now,
            extra=trace_of(session.head.extra),
        )
        self._ports.queue.send([Outgoing(body=message_text(start))])
        self._await_child(call, step, child_id, "")
        return None

    def _arm_foreign(self, call: Call, step: InvokeStep, app_id: str) -> Result | None:
        child_id = foreign_child_id(self._session.run_id, call.key, app_id)
        parent = replace(self._parent(call), app=self._app.id)
        Across(self._app.id, self._ports, self._store, self._payloads).request(
            app_id, step.function_id, child_id, step.data, parent
        )
        self._await_child(call, step, child_id, app_id)
        return None

    def _await_child(self, call: Call, step: InvokeStep, child_id: str, app_id: str) -> None:
        call.due_at = None if step.timeout is None else self._session.now() + step.timeout
        self._session.add_armed(
            ArmedChild(
                step_key=call.key,
                step_id=step.step_id,
                occurrence=call.occurrence,
                run_id=child_id,
                deadline=call.due_at,
                app=app_id,
            )
        )

    def _missing(self, function_id: str, step_id: str) -> Failure | None:
        if function_id in self._app.functions:
            return None
        known = ", ".join(sorted(self._app.functions)) or "none"
        message = f"app {self._app.id!r} has no function {function_id!r} (wanted by step {step_id!r}); it has {known}."
        return Failure(name="FunctionNotFoundError", message=message)

    def _arm_map(self, call: Call, step: MapStep) -> Result | None:
        session = self._session
        if step.is_function and (missing := self._missing(step.target, step.step_id)) is not None:
            return self._recording.record(call, self._register(call, Mark.ERROR, session.now(), failure=missing))
        if not step.items:
            return self._record_map(call, codec.dump({"v": [], "e": {}}))
        session.add_armed(self._maps.begin(self._parent(call), step, session.function.app_id))
        return None

    def collect(self, call: Call) -> Result | None:
        """The map's results once every item has one; None while some are on their way."""
        step = call.step
        assert isinstance(step, MapStep)  # noqa: S101 - asked for maps only
        items = self._maps.collect(self._session.run_id, call.key, len(step.items))
        if items is None:
            return None
        failed = next((item for item in items if item.mark is Mark.ERROR), None)
        if failed is None or step.return_exceptions:
            return self._record_map(call, self._maps.text(items))
        register = self._register(call, Mark.ERROR, self._session.now(), failure=failed.failure)
        return self._recording.record(call, replace(register, attempts=failed.attempts))

    def _record_map(self, call: Call, text: str) -> Result | None:
        register = self._register(call, Mark.OK, self._session.now())
        register = replace(register, value=self._payloads.keep(text, self._session.run_id))
        return self._recording.record(call, register, text)

    def _parent(self, call: Call) -> Parent:
        return Parent(
            run_id=self._session.run_id, step_key=call.key, step_id=call.step.step_id, occurrence=call.occurrence
        )

    # -- the end of waiting ------------------------------------------------------------------------
    def expire(self, call: Call) -> Result:
        """What a call comes to whose due time has come: the sleep is over, the wait has timed out."""
        session = self._session
        now = session.now()
        match call.step:
            case SleepStep():
                return session.from_outside(session.history.unfinished.pop(call.key))
            case WaitStep() | SignalStep():
                register = self._register(call, Mark.OK, now, value="null")
            case InvokeStep():
                message = f"{call.step.function_id!r} did not end within {call.step.timeout}"
                failure = Failure(name=INVOKE_TIMEOUT, message=message)
                register = self._register(call, Mark.ERROR, now, failure=failure)
            case _:
                raise AssertionError(call.step)
        return self._adopt(register)

    def _register(self, call: Call, mark: Mark, now: datetime, **fields: Any) -> Register:
        return Register(
            key=call.key,
            step_id=call.step.step_id,
            occurrence=call.occurrence,
            kind=call.step.kind,
            mark=mark,
            started_at=now,
            ended_at=now,
            **fields,
        )

    def _arm_stub(self, call: Call, stub: Stub) -> Result | None:
        """The step comes at once to what a test has said."""
        register = self._register(call, Mark.OK, self._session.now())
        try:
            value = stub.play()
        except Exception as error:  # noqa: BLE001 - whatever the test wants raised
            return self._recording.record(call, replace(register, mark=Mark.ERROR, failure=failure_of(error)))
        match call.step:
            case WaitStep(kind=Kind.WAIT) if value is not None:
                value = _event_row(value, call.step.patterns[0].event, to_ms(self._session.now()))
            case MapStep():
                value = {"v": value, "e": {}}
        hint = call.step.hint if isinstance(call.step, InvokeStep) else codec.PLAIN
        text = codec.encode(value, hint, what=f"the stub of step {call.step.step_id!r}")
        return self._recording.record(call, replace(register, value=text), text)


def _event_row(value: Any, name: str, now_ms: int) -> dict[str, Any]:
    if isinstance(value, Event):
        value = value.model_dump(mode="json")
    row = value if {"name", "data"} <= set(value) else {"name": name, "data": value}
    return {"id": "", "source": "stub", **row, "ts": row.get("ts") or now_ms}
