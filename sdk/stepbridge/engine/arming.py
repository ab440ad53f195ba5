"""What a step waits for is made durable: the sleep's due time, the wait's items, the child, the items of a map."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, assert_never

from stepbridge.app import App
from stepbridge.core import codec, ids
from stepbridge.core.durations import shown
from stepbridge.core.history import Result
from stepbridge.core.instants import to_ms
from stepbridge.core.limits import CONSUMED_MAX, LEASE_MARGIN
from stepbridge.core.matching import SCAN, Want, is_wanted, lookback_place, want_event
from stepbridge.core.messages import Start, message_text
from stepbridge.core.records import (
    Armed,
    ArmedChild,
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
from stepbridge.engine.calls import Call, Stub, Stubs
from stepbridge.engine.failures import failure_of
from stepbridge.engine.mapping import INVOKED, Maps
from stepbridge.engine.payloads import Payloads
from stepbridge.engine.publish import trace_of
from stepbridge.engine.recording import Recording
from stepbridge.engine.rule import wants
from stepbridge.engine.session import Session
from stepbridge.engine.signals import signal_place
from stepbridge.engine.store import Store
from stepbridge.engine.waits import armed_wait, cancel_waits, put_waits
from stepbridge.errors import ConfigError, LostValueError
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
        self._looking = Lock()
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
        for want, template in cancel_waits(session.function, session.head, session.event, session.now()):
            if template.step_key not in session.armed:
                self._note_scan(want, template.step_id[1:])
                session.add_armed(put_waits(self._store, self._payloads, [want], template))

    def note_cancellers(self) -> None:
        """As `note`, of the events that cancel the run."""
        session = self._session
        for want, template in cancel_waits(session.function, session.head, session.event, session.now()):
            self._list(armed_wait([want], template))

    def note(self, call: Call) -> None:
        """Lists what an invocation may have armed that died before it could: by name, without a request."""
        match call.step:
            case WaitStep():
                self._list(armed_wait(self._wants(call.step), self._template(call, call.step.timeout)))
            case SignalStep():
                self._list(armed_wait([_signal_want(call.step)], self._template(call, call.step.timeout)))
            case InvokeStep() if self._missing(call.step) is None:
                self._list(self._child(call, call.step, self._session.now()))
            case MapStep():
                self._list(self._maps.armed(self._parent(call), call.step))
            case _:
                """Nothing that would be left."""

    def note_left(self, call: Call, register: Register) -> None:
        """Lists a wait that has its result, where an invocation that died may have left its items or its schedule."""
        step = call.step
        if not isinstance(step, WaitStep | SignalStep | InvokeStep):
            return
        if step.timeout is not None:
            self._session.leave(register, step.timeout)
        if not isinstance(step, InvokeStep) and self._session.may_be_left(call.key):
            self.note(call)

    def _list(self, armed: Armed) -> None:
        if armed.step_key not in self._session.armed:
            self._session.add_armed(armed)

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
        session = self._session
        wants = self._wants(step)
        for want in wants:
            self._note_scan(want, step.step_id)
        template = self._template(call, step.timeout)
        armed = put_waits(self._store, self._payloads, wants, template)
        session.add_armed(armed)
        call.due_at = armed.deadline
        if (told := self._told_meanwhile(call, armed.places)) is not None:
            return told
        for index, (pattern, want) in enumerate(zip(step.patterns, wants, strict=True)):
            if not pattern.lookback:
                continue
            with self._looking:  # branches arm in threads: what one finds, the next must not find again
                try:
                    row = self._look_back(pattern, want)
                except LostValueError:
                    session.remove_armed(armed)  # else the resumed run would not look back again
                    raise
                if row is not None:
                    text = codec.dump([index, row] if template.role is Role.ANY else row)
                    return self._found(call, text, row["id"], armed.places)
        return None

    def _template(self, call: Call, timeout: timedelta) -> Wait:
        """What the items of a call's wait have in common."""
        session = self._session
        now = session.now()
        return Wait(
            place="",
            run_id=session.run_id,
            step_key=call.key,
            step_id=call.step.step_id,
            occurrence=call.occurrence,
            role=Role.ANY if call.step.kind is Kind.WAIT_ANY else Role.STEP,
            kind=call.step.kind,
            event_name="",
            consumed=self._marks(),
            armed_at=now,
            deadline=now + timeout,
        )

    def _marks(self) -> tuple[str, ...]:
        """Of the events that are used already: the trigger's, and the latest of the others."""
        trigger, *others = dict.fromkeys(map(ids.mark, self._consumed))
        return (trigger, *others[-CONSUMED_MAX:])

    def _told_meanwhile(self, call: Call, places: tuple[str, ...]) -> Result | None:
        """After a crash: an event may have resolved the wait, and taken it away, before it was put again just now."""
        session = self._session
        if not session.is_after_crash:
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

    def _wants(self, step: WaitStep) -> list[Want]:
        return [self._want(pattern, step.step_id) for pattern in step.patterns]

    def _want(self, pattern: Pattern, step_id: str) -> Want:
        if not wants(self._app, pattern.event, narrow=self._ports.narrow):
            raise ConfigError(
                f"wait {step_id!r} is for {pattern.event!r}, which the app's rule leaves out unless it is declared."
                f" Mend: @app.function(..., waits=[EventMatch({pattern.event!r})])."
            )
        return want_event(
            pattern.event,
            match=pattern.match,
            if_exp=pattern.if_exp,
            trigger=self._session.event,
            run_id=self._session.run_id,
            step_id=step_id,
        )

    def _note_scan(self, want: Want, step_id: str) -> None:
        """Warns, once for a function and step id: every event of the name is held against every such wait."""
        session = self._session
        if not (want.expression and SCAN in want.signatures) or (SCAN, step_id) in session.function.warned:
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
        session = self._session
        want = _signal_want(step)
        (place,) = want.places
        template = self._template(call, step.timeout)
        deadline = self._store.put_wait(replace(template, place=place, event_name=step.signal)).deadline
        if (told := self._told_meanwhile(call, want.places)) is not None:
            return told
        others = [w for w in self._store.waits_at(place) if (w.run_id, w.step_key) != (session.run_id, call.key)]
        if others:
            self._store.delete_wait(place, session.run_id, call.key)
            message = (
                f"signal {step.signal!r} has a waiter already: step {others[0].step_id!r} of run {others[0].run_id}"
            )
            failure = Failure(name="SignalConflictError", message=message)
            return self._recording.record(call, self._register(call, Mark.ERROR, session.now(), failure=failure))
        call.due_at = deadline
        session.add_armed(armed_wait([want], replace(template, deadline=deadline)))
        return None

    # -- children ----------------------------------------------------------------------------------
    def _arm_invoke(self, call: Call, step: InvokeStep) -> Result | None:
        session = self._session
        now = session.now()
        if (missing := self._missing(step)) is not None:
            return self._recording.record(call, self._register(call, Mark.ERROR, now, failure=missing))
        child = self._child(call, step, self._invoked_at(call, step, now))
        if child.app:
            parent, trace = replace(self._parent(call), app=self._app.id), session.head.extra
            across = Across(self._app.id, self._ports, self._store, self._payloads)
            across.request(child.app, step.function_id, child.run_id, step.data, parent, trace)
        else:
            event = EventRecord(
                name=INVOKED,
                id=child.run_id,
                ts=to_ms(now),
                source=session.function.app_id,
                data=self._payloads.keep(step.data, child.run_id),
            )
            start = Start(
                run_id=child.run_id,
                function_id=step.function_id,
                event=event,
                parent=self._parent(call),
                created_at=now,
                extra=trace_of(session.head.extra),
            )
            self._ports.queue.send([Outgoing(body=message_text(start))])
        call.due_at = child.deadline
        session.add_armed(child)
        return None

    def _invoked_at(self, call: Call, step: InvokeStep, now: datetime) -> datetime:
        """From when the timeout counts: where an invocation that died has started the child, from then on."""
        if step.timeout is None or not self._session.is_after_crash:
            return now
        head = self._store.head(ids.child_run_id(self._session.run_id, call.key))
        return now if head is None else head.created_at

    def _child(self, call: Call, step: InvokeStep, now: datetime) -> ArmedChild:
        """The run that a call starts and waits for."""
        app_id = "" if step.app in {None, self._app.id} else str(step.app)
        run_id = self._session.run_id
        return ArmedChild(
            step_key=call.key,
            step_id=step.step_id,
            occurrence=call.occurrence,
            run_id=foreign_child_id(run_id, call.key, app_id) if app_id else ids.child_run_id(run_id, call.key),
            deadline=None if step.timeout is None else now + step.timeout,
            app=app_id,
        )

    def _missing(self, step: InvokeStep | MapStep) -> Failure | None:
        """Why there is no such function; another app says so itself."""
        target = step.function_id if isinstance(step, InvokeStep) else step.target
        is_ours = step.is_function if isinstance(step, MapStep) else step.app in {None, self._app.id}
        if not is_ours or target in self._app.functions:
            return None
        known = ", ".join(sorted(self._app.functions)) or "none"
        message = (
            f"app {self._app.id!r} has no function {shown(target)} (wanted by step {step.step_id!r}); it has"
            f" {known:.900}. Mend: deploy one of this id, or name one that is there."
        )
        return Failure(name="FunctionNotFoundError", message=message)

    def _arm_map(self, call: Call, step: MapStep) -> Result | None:
        session = self._session
        if (missing := self._missing(step)) is not None:
            return self._recording.record(call, self._register(call, Mark.ERROR, session.now(), failure=missing))
        if not step.items:
            return self._record_map(call, codec.dump({"v": [], "e": {}}))
        session.add_armed(
            self._maps.begin(self._parent(call), step, session.function.app_id, trace_of(session.head.extra))
        )
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
        return self._recording.record(call, register._replace(attempts=failed.attempts))

    def _record_map(self, call: Call, text: str) -> Result | None:
        register = self._register(call, Mark.OK, self._session.now())
        register = register._replace(value=self._payloads.keep(text, self._session.run_id))
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
                register = register._replace(started_at=_armed_at(call, call.step.timeout, now))
            case InvokeStep():
                message = f"{call.step.function_id!r} did not end within {call.step.timeout}"
                failure = Failure(name=INVOKE_TIMEOUT, message=message)
                register = self._register(call, Mark.ERROR, now, failure=failure)
                register = register._replace(started_at=_armed_at(call, call.step.timeout, now))
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
            return self._recording.record(call, register._replace(mark=Mark.ERROR, failure=failure_of(error)))
        match call.step:
            case WaitStep(kind=Kind.WAIT) if value is not None:
                value = _event_row(value, call.step.patterns[0].event, to_ms(self._session.now()))
            case MapStep():
                value = {"v": value, "e": {}}
        hint = call.step.hint if isinstance(call.step, InvokeStep) else codec.PLAIN
        text = codec.encode(value, hint, what=f"the stub of step {call.step.step_id!r}")
        return self._recording.record(call, register._replace(value=text), text)


def _armed_at(call: Call, timeout: timedelta | None, now: datetime) -> datetime:
    """When a call that has timed out was armed: so long before its deadline, which no record says in so many words."""
    return now if call.due_at is None or timeout is None else min(call.due_at - timeout, now)


def _signal_want(step: SignalStep) -> Want:
    return Want(event_name=step.signal, signatures=(), places=(signal_place(step.signal),))


def _event_row(value: Any, name: str, now_ms: int) -> dict[str, Any]:
    if isinstance(value, Event):
        value = value.model_dump(mode="json")
    row = value if {"name", "data"} <= set(value) else {"name": name, "data": value}
    return {"id": "", "source": "stub", **row, "ts": row.get("ts") or now_ms}
