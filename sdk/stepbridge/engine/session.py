"""One run in one invocation: identity of steps, their records, what is armed. Shared by both colours.

Methods that reach the backend block; the async replay calls them in threads where that is worth it.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, assert_never

from stepbridge.core import codec, ids
from stepbridge.core.history import History, history_of
from stepbridge.core.instants import to_ms
from stepbridge.core.limits import SEEN_INLINE
from stepbridge.core.matching import want_event
from stepbridge.core.messages import Start, message_text
from stepbridge.core.records import (
    Armed,
    ArmedChild,
    ArmedWait,
    Blob,
    EventRecord,
    Failure,
    Head,
    Kind,
    Mark,
    Parent,
    Register,
    Wait,
)
from stepbridge.core.retry import next_attempt_at
from stepbridge.core.steps import InvokeStep, RunStep, SendStep, SleepStep, Step, WaitStep
from stepbridge.engine.failures import failure_of, step_error
from stepbridge.engine.outcome import Completed, Failed, Outcome, Parked, Retry
from stepbridge.engine.payloads import Payloads
from stepbridge.engine.publish import entries_of
from stepbridge.engine.store import Past, Store
from stepbridge.errors import NestedStepError, NondeterminismError, UnserializableOutputError
from stepbridge.events import Event
from stepbridge.function import Function
from stepbridge.ports import Outgoing, Ports
from stepbridge.step import CURRENT, CurrentStep

_LOG = logging.getLogger("stepbridge")
INVOKED = "stepbridge/function.invoked"
INVOKE_TIMEOUT = "InvokeTimeoutError"


@dataclass(slots=True, eq=False)
class Call:
    """A step call of the handler. `due_at`: when there is something to do about it by itself."""

    step: Step
    key: str
    occurrence: int
    failed: int = 0
    """Attempts that have failed so far."""
    due_at: datetime | None = None
    future: Any = None


@dataclass(frozen=True, slots=True)
class Result:
    """A step's register, and the place in the order in which it is given to the handler."""

    rank: int
    register: Register


@dataclass(frozen=True, slots=True)
class Stub:
    """What a test says a step comes to: a value, or an exception that it raises."""

    outcome: object

    def play(self) -> object:
        """The value; raises where it is an exception."""
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


Stubs = Callable[[str, str], Stub | None]
"""The stub of a function's step, by their ids."""


def no_stubs(function_id: str, step_id: str) -> Stub | None:  # noqa: ARG001 - a `Stubs`
    """Every step is carried out for real."""
    return None


class Session:
    """What one invocation knows of a run, and what it writes."""

    def __init__(  # noqa: PLR0913 - made in one place
        self,
        *,
        function: Function[Any],
        known_functions: Mapping[str, Function[Any]],
        head: Head,
        past: Past,
        event: dict[str, Any],
        trigger: Event[Any],
        store: Store,
        payloads: Payloads,
        ports: Ports,
        stubs: Stubs,
    ) -> None:
        self.function = function
        self.head = head
        self.event = event
        self.trigger = trigger
        self.closed = False
        self.handing_over = False
        self.fatal: Outcome | None = None
        self.pending: dict[str, Call] = {}
        self.inflight: set[int] = set()
        self.history: History = history_of(past.registers, head.seen, ports.clock.now())
        self.unlisted = list(self.history.unlisted)
        self.armed: dict[str, Armed] = {one.step_key: one for one in (*past.armed, *head.armed)}
        self.inline_armed: list[Armed] = list(head.armed)
        """What the head itself will list: what it listed, and what this invocation arms."""
        self._from_outside: dict[str, Register] = {}
        self._fresh = set(self.history.unlisted) - set(head.seen)
        self._known = known_functions
        self._store = store
        self._payloads = payloads
        self._ports = ports
        self._stubs = stubs
        self._counts: dict[str, int] = {}
        self._lines: dict[str, tuple[str, int] | None] = {}
        self._rank = self.history.next_rank
        self._left = len(self.history.ranked)
        self._lock = threading.Lock()
        self._consumed = [
            head.event.id,
            *(r.event_id for _, r in self.history.ranked.values() if r.event_id is not None),
        ]
        self._logger = logging.LoggerAdapter(
            logging.getLogger("stepbridge.run"), {"function_id": function.id, "run_id": head.run_id}
        )

    # -- what a context shows ----------------------------------------------------------------------
    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.head.run_id

    @property
    def function_id(self) -> str:
        """The function's id."""
        return self.function.id

    @property
    def attempt(self) -> int:
        """Of the body, from 0."""
        return self.head.attempt

    @property
    def max_attempts(self) -> int:
        """Of the body and of steps."""
        return self.function.max_attempts

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """The run's logger, or one that says nothing while recorded results are given out."""
        return _SILENT if self._left > 0 and CURRENT.get() is None else self._logger

    def now(self) -> datetime:
        """The backend's clock."""
        return self._ports.clock.now()

    # -- calls -------------------------------------------------------------------------------------
    def identify(self, step: Step, depth: int) -> Call:
        """Fixes the identity of a step at its call; `depth` frames up is the user's line."""
        inside = CURRENT.get()
        if inside is not None:
            message = (
                f"step {step.step_id!r} is called inside step {inside.step_id!r}. Mend: return from the outer"
                " function first; steps stand side by side in the handler."
            )
            error = NestedStepError(message)
            self.fail(Failed(failure_of(error)))
            raise error
        occurrence = self._counts.get(step.step_id, 0)
        self._counts[step.step_id] = occurrence + 1
        self._note_line(step.step_id, sys._getframe(depth))  # noqa: SLF001 - the caller's line, cheaply
        call = Call(step, ids.step_key(step.step_id, occurrence), occurrence)
        recorded = self._recorded(call.key)
        if recorded is not None and recorded.kind is not step.kind:
            message = (
                f"step {step.step_id!r} is recorded as {recorded.kind.value} and now asked for as {step.kind.value}."
                " Mend: restore the step, or give the new one an id of its own; then resume the run."
            )
            self.fail(Parked(failure_of(NondeterminismError(message))))
        return call

    def _recorded(self, key: str) -> Register | None:
        hit = self.history.ranked.get(key)
        return hit[1] if hit is not None else self.history.unfinished.get(key)

    def _note_line(self, step_id: str, frame: Any) -> None:
        line = (frame.f_code.co_filename, frame.f_lineno)
        first = self._lines.setdefault(step_id, line)
        if first is not None and first != line:
            self._lines[step_id] = None
            self.warn(
                f"step id {step_id!r} is used at {first[0]}:{first[1]} and at {line[0]}:{line[1]}; which call is"
                " which is told by their order alone. Mend: give them different ids."
            )

    def warn(self, text: str) -> None:
        """Tells the developer, unless this is a replay of what was told before."""
        _LOG.warning("%s (function %s, run %s)", text, self.function.id, self.run_id)

    def fail(self, outcome: Outcome) -> None:
        """Decides the run's fate whatever the handler does from now on; the first decision stands."""
        if self.fatal is None:
            self.fatal = outcome

    def hit(self, call: Call) -> Result | None:
        """The recorded result of a call."""
        found = self.history.ranked.get(call.key)
        return None if found is None else Result(*found)

    def note_given(self, result: Result) -> None:
        """The handler has been given a result."""
        if result.rank < self.history.next_rank:
            self._left -= 1

    def note_live(self) -> None:
        """Something new begins: what follows is no replay."""
        self._left = 0

    def value(self, call: Call, register: Register) -> Any:
        """What the step call returns, or raises, for this register."""
        if register.mark is Mark.ERROR and register.failure is not None:
            raise step_error(register.failure, step_id=call.step.step_id, attempts=register.attempts)
        step = call.step
        if isinstance(step, SleepStep) or register.value is None:
            return None
        text = self._payloads.text(register.value)
        try:
            if isinstance(step, WaitStep):
                row = json.loads(text)
                return None if row is None else event_for(row, step.model)
            return codec.decode(text, codec.PLAIN if isinstance(step, SendStep) else step.hint)
        except Exception as error:
            message = f"the recorded value of step {step.step_id!r} does not fit its type now: {error}"
            self.fail(Parked(failure_of(NondeterminismError(message))))
            raise NondeterminismError(message) from error

    # -- bodies ------------------------------------------------------------------------------------
    def begin(self, call: Call) -> CurrentStep:
        """What `current_step()` says while the call's function runs."""
        self.note_live()
        return CurrentStep(
            run_id=self.run_id,
            step_id=call.step.step_id,
            attempt=call.failed,
            effect_key=ids.effect_key(self.run_id, call.key),
        )

    def body(self, call: Call) -> Callable[[], Any]:
        """The function that the step runs."""
        step = call.step
        if (stub := self._stubs(self.function.id, step.step_id)) is not None:
            return stub.play
        if isinstance(step, SendStep):
            return lambda: self._send(call, step)
        assert isinstance(step, RunStep)  # noqa: S101 - only these two have bodies
        return lambda: step.fn(*step.args, **step.kwargs)

    def _send(self, call: Call, step: SendStep) -> list[str]:
        sent_ids = [
            draft.id or ids.sent_event_id(self.run_id, call.key, index) for index, draft in enumerate(step.events)
        ]
        now_ms = to_ms(self.now())
        self._ports.bus.put(entries_of(step.events, sent_ids, now_ms, self.function.app_id))
        return sent_ids

    def ended(self, call: Call, started_at: datetime, value: Any, error: BaseException | None) -> Result | None:
        """Records how a step's function ended. None: it is to be tried again at `call.due_at`."""
        step = call.step
        if self.fatal is not None and error is not None:
            return None
        attempts = call.failed + 1
        register = Register(
            key=call.key,
            step_id=step.step_id,
            occurrence=call.occurrence,
            kind=step.kind,
            mark=Mark.OK,
            attempts=attempts,
            started_at=started_at,
            ended_at=self.now(),
        )
        text: str | None = None
        if error is None:
            hint = step.hint if isinstance(step, RunStep) else codec.PLAIN
            try:
                text = codec.encode(value, hint, what=f"step {step.step_id!r}")
            except UnserializableOutputError as unserializable:
                self.fail(Failed(failure_of(unserializable)))
                return None
            register = replace(register, value=self._payloads.keep(text, self.run_id))
        else:
            retry_at = next_attempt_at(
                error,
                run_id=self.run_id,
                name=call.key,
                attempts=attempts,
                max_attempts=self._max_attempts(step),
                now=register.ended_at,
            )
            mark = Mark.ERROR if retry_at is None else Mark.RETRY
            register = replace(register, mark=mark, failure=failure_of(error), due_at=retry_at)
        return self._record(call, register, text)

    def _max_attempts(self, step: Step) -> int:
        retries = step.retries if isinstance(step, RunStep | SendStep) else None
        return self.max_attempts if retries is None else retries + 1

    def _record(self, call: Call, register: Register, text: str | None = None) -> Result | None:
        if register.mark is Mark.RETRY:
            stored = self._store.put_register(self.run_id, register, after_attempts=call.failed)
            if stored.mark is Mark.RETRY:
                call.failed, call.due_at = stored.attempts, stored.due_at
                return None
            return Result(self.take_rank(), self._loaded(stored))
        with self._lock:
            rank = self._next_rank()
            self.inflight.add(rank)
            listed = tuple(self.unlisted)
        try:
            mine = replace(register, order=(self.head.epoch, rank), seen=listed)
            stored = self._store.put_register(self.run_id, mine, after_attempts=call.failed)
            with self._lock:
                self.unlisted = [key for key in self.unlisted if key not in listed]
        finally:
            with self._lock:
                self.inflight.discard(rank)
        if stored is mine and text is not None:
            return Result(rank, replace(mine, value=text))
        return Result(rank, self._loaded(stored))

    def _loaded(self, register: Register) -> Register:
        """The register with its value at hand, so that giving it out never blocks."""
        if isinstance(register.value, Blob):
            return replace(register, value=self._payloads.text(register.value))
        return register

    def take_rank(self) -> int:
        """The next place in the order."""
        with self._lock:
            return self._next_rank()

    def _next_rank(self) -> int:
        self._rank += 1
        return self._rank - 1

    def from_outside(self, register: Register) -> Result:
        """A result that arose outside while the run was executing; the next record lists it."""
        with self._lock:
            self.unlisted.append(register.key)
            self._from_outside[register.key] = register
            self._fresh.add(register.key)
            return Result(self._next_rank(), self._loaded(register))

    # -- arming ------------------------------------------------------------------------------------
    def arm(self, call: Call) -> Result | None:
        """Makes durable what a call waits for. A result: there is nothing to wait for."""
        self.note_live()
        if (stub := self._stubs(self.function.id, call.step.step_id)) is not None:
            return self._record_stub(call, stub)
        match call.step:
            case SleepStep():
                return self._arm_sleep(call, call.step)
            case WaitStep():
                return self._arm_wait(call, call.step)
            case InvokeStep():
                return self._arm_invoke(call, call.step)
            case RunStep() | SendStep():
                raise AssertionError(call.step)
            case _:
                assert_never(call.step)

    def _record_stub(self, call: Call, stub: Stub) -> Result | None:
        """The step comes at once to what a test has said."""
        register = self._register(call, Mark.OK, self.now())
        try:
            value = stub.play()
        except Exception as error:  # noqa: BLE001 - whatever the test wants raised
            return self._record(call, replace(register, mark=Mark.ERROR, failure=failure_of(error)))
        if isinstance(call.step, WaitStep):
            value = None if value is None else _event_row(value, call.step.event, to_ms(self.now()))
        hint = call.step.hint if isinstance(call.step, InvokeStep) else codec.PLAIN
        text = codec.encode(value, hint, what=f"the stub of step {call.step.step_id!r}")
        return self._record(call, replace(register, value=text), text)

    def _arm_sleep(self, call: Call, step: SleepStep) -> Result | None:
        now = self.now()
        due = now + step.duration if step.until is None else step.until
        register = self._register(call, Mark.DUE, now, due_at=due)
        result = self._record(call, register)
        assert result is not None  # noqa: S101 - only retries give None
        call.due_at = result.register.due_at
        if call.due_at is None or call.due_at > now:
            self.history.unfinished[call.key] = result.register
            return None
        return self.from_outside(result.register)

    def _arm_wait(self, call: Call, step: WaitStep) -> Result | None:
        now = self.now()
        want = want_event(step.event, match=step.match, if_exp=step.if_exp, trigger=self.event, step_id=step.step_id)
        deadline = now + step.timeout
        for signature, place in zip(want.signatures, want.places, strict=True):
            self._store.add_signature(want.event_name, signature)
            wait = Wait(
                place=place,
                run_id=self.run_id,
                step_key=call.key,
                step_id=step.step_id,
                occurrence=call.occurrence,
                event_name=want.event_name,
                expression=want.expression,
                event=want.event,
                consumed=tuple(self._consumed),
                armed_at=now,
                deadline=deadline,
            )
            deadline = self._store.put_wait(wait).deadline
        self._add_armed(
            ArmedWait(
                step_key=call.key,
                step_id=step.step_id,
                occurrence=call.occurrence,
                places=want.places,
                deadline=deadline,
            )
        )
        call.due_at = deadline
        return None

    def _arm_invoke(self, call: Call, step: InvokeStep) -> Result | None:
        now = self.now()
        if step.function_id not in self._known:
            message = (
                f"app {self.function.app_id!r} has no function {step.function_id!r} (invoked by step {step.step_id!r});"
                f" it has {', '.join(sorted(self._known)) or 'none'}."
            )
            failure = Failure(name="FunctionNotFoundError", message=message)
            return self._record(call, self._register(call, Mark.ERROR, now, failure=failure))
        child_id = ids.child_run_id(self.run_id, call.key)
        start = Start(
            run_id=child_id,
            function_id=step.function_id,
            event=EventRecord(
                name=INVOKED,
                id=child_id,
                ts=to_ms(now),
                source=self.function.app_id,
                data=self._payloads.keep(step.data, child_id),
            ),
            parent=Parent(run_id=self.run_id, step_key=call.key, step_id=step.step_id, occurrence=call.occurrence),
            created_at=now,
        )
        self._ports.queue.send([Outgoing(body=message_text(start))])
        deadline = None if step.timeout is None else now + step.timeout
        self._add_armed(
            ArmedChild(
                step_key=call.key,
                step_id=step.step_id,
                occurrence=call.occurrence,
                run_id=child_id,
                deadline=deadline,
            )
        )
        call.due_at = deadline
        return None

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

    def _add_armed(self, armed: Armed) -> None:
        with self._lock:
            self.armed[armed.step_key] = armed
            self.inline_armed.append(armed)

    # -- waiting -----------------------------------------------------------------------------------
    def resume_waiting(self, call: Call) -> bool:
        """Whether an earlier invocation has armed the call already; then it only waits."""
        unfinished = self.history.unfinished.get(call.key)
        if unfinished is not None:
            call.due_at = unfinished.due_at
            call.failed = unfinished.attempts if unfinished.mark is Mark.RETRY else 0
            return True
        armed = self.armed.get(call.key)
        if armed is not None:
            call.due_at = armed.deadline
            return True
        return False

    def expire(self, call: Call) -> Result:
        """What a call comes to whose due time has come: the sleep is over, the wait has timed out."""
        now = self.now()
        match call.step:
            case SleepStep():
                return self.from_outside(self.history.unfinished.pop(call.key))
            case WaitStep():
                register = self._register(call, Mark.OK, now, value="null")
            case InvokeStep():
                message = f"{call.step.function_id!r} did not end within {call.step.timeout}"
                failure = Failure(name=INVOKE_TIMEOUT, message=message)
                register = self._register(call, Mark.ERROR, now, failure=failure)
            case _:
                raise AssertionError(call.step)
        stored = self._store.put_register(self.run_id, register)
        return self.from_outside(stored)

    def unresolved(self) -> list[Armed]:
        """What is armed and still waited for."""
        return [armed for key, armed in self.armed.items() if self._register_of(key) is None]

    def newly_resolved(self) -> list[tuple[Armed, Register]]:
        """What is armed and waited for no more, and may not have been removed yet."""
        inline = {armed.step_key for armed in self.inline_armed}
        pairs = ((armed, self._register_of(key)) for key, armed in self.armed.items() if key in inline | self._fresh)
        return [(armed, register) for armed, register in pairs if register is not None]

    def _register_of(self, key: str) -> Register | None:
        hit = self.history.ranked.get(key)
        return self._from_outside.get(key) if hit is None else hit[1]

    # -- the end of the invocation -----------------------------------------------------------------
    def list_outside_results(self) -> None:
        """Writes a record of its own for outside results that are too many to be listed elsewhere."""
        if len(self.unlisted) <= SEEN_INLINE:
            return
        now = self.now()
        rank = self.take_rank()
        register = Register(
            key=f"~{self.head.epoch:09}-{rank}",
            step_id="",
            kind=Kind.SEEN,
            mark=Mark.OK,
            order=(self.head.epoch, rank),
            seen=tuple(self.unlisted),
            started_at=now,
            ended_at=now,
        )
        self._store.put_register(self.run_id, register)
        self.unlisted = []

    def outcome_of(self, value: Any, error: BaseException | None) -> Outcome:
        """What the handler's end means for the run."""
        if self.fatal is not None:
            return self.fatal
        if error is None:
            try:
                return Completed(codec.encode(value, self.function.hint, what=f"function {self.function.id!r}"))
            except UnserializableOutputError as unserializable:
                return Failed(failure_of(unserializable))
        retry_at = next_attempt_at(
            error,
            run_id=self.run_id,
            name="",
            attempts=self.head.attempt + 1,
            max_attempts=self.max_attempts,
            now=self.now(),
        )
        return Failed(failure_of(error)) if retry_at is None else Retry(failure_of(error), retry_at)


def event_for(row: Mapping[str, Any], model: Any) -> Event[Any]:
    """An event as user code sees it, its data validated by `model` where there is one."""
    data = row["data"] if model is None else model.model_validate(row["data"])
    return Event[Any].model_construct(name=row["name"], data=data, id=row["id"], ts=row["ts"], source=row["source"])


def _event_row(value: Any, name: str, now_ms: int) -> dict[str, Any]:
    if isinstance(value, Event):
        value = value.model_dump(mode="json")
    row = value if {"name", "data"} <= set(value) else {"name": name, "data": value}
    return {"id": "", "source": "stub", **row, "ts": row.get("ts") or now_ms}


class _Silent(logging.LoggerAdapter[logging.Logger]):
    def isEnabledFor(self, level: int) -> bool:  # noqa: N802, ARG002 - the standard library's name
        return False

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Nothing."""


_SILENT = _Silent(_LOG, {})
