"""One run in one invocation: who its steps are, what is recorded of them, in which order it is given out."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, assert_never

from stepbridge.core import codec, ids
from stepbridge.core.history import History, Result, history_of
from stepbridge.core.limits import RUN_MAX
from stepbridge.core.records import (
    Armed,
    ArmedChild,
    ArmedMap,
    ArmedWait,
    Blob,
    Head,
    Kind,
    Mark,
    Register,
    Wait,
)
from stepbridge.core.retry import next_attempt_at, sound
from stepbridge.core.steps import Step, WaitStep
from stepbridge.engine.calls import Call
from stepbridge.engine.failures import failure_of, step_error
from stepbridge.engine.outcome import Completed, Failed, Outcome, Parked, Retry
from stepbridge.engine.payloads import Payloads
from stepbridge.engine.run_logger import SILENT, RunLogger
from stepbridge.engine.store import Past
from stepbridge.engine.values import decoded
from stepbridge.errors import NestedStepError, NondeterminismError, StepError, UnserializableOutputError
from stepbridge.events import Event
from stepbridge.function import Function
from stepbridge.ports import Clock
from stepbridge.step import CURRENT

_LOG = logging.getLogger("stepbridge")


_ORPHANS_MAX: Final = 16
"""Schedules that are looked for after a crash, so that it costs little whatever a run has waited for."""


class Session:
    """What one invocation knows of a run. Shared by both colours of replay; safe for threads."""

    def __init__(  # noqa: PLR0913 - made in one place
        self,
        *,
        function: Function[Any],
        head: Head,
        past: Past,
        event: dict[str, Any],
        trigger: Event[Any],
        payloads: Payloads,
        clock: Clock,
        finish_by: datetime | None,
    ) -> None:
        self.function = function
        self.head = head
        self.event = event
        """The trigger as expressions see it."""
        self.trigger = trigger
        """The trigger as the handler sees it."""
        self.trace: dict[str, str] = {}
        """The trace context of this invocation's own span, where there is one."""
        self.closed = False
        self.probing = False
        """Nothing is done any more: the replay only finds out what the run may have armed."""
        self.spared: frozenset[tuple[str, str]] = frozenset()
        """Place and step key of the waits by which this message's event was found: it deletes them, last of all."""
        self.handing_over = False
        self.has_recorded = False
        self.fatal: Outcome | None = None
        self.pending: dict[str, Call] = {}
        self.inflight: set[int] = set()
        """Ranks of records that are being written."""
        self.history: History = history_of(past.registers, head.seen, clock.now())
        self.unlisted = list(self.history.unlisted)
        """Outside results that no record of the run lists yet."""
        self.armed: dict[str, Armed] = {one.step_key: one for one in (*past.armed, *head.armed)}
        self.inline_armed: list[Armed] = list(head.armed)
        """What the head itself will list: what it listed, and what this invocation arms."""
        self.lock = threading.Lock()
        self.finish_by = finish_by
        """When the run must have ended."""
        self.found: dict[str, Register] = {
            register.key: register
            for _, register in self.history.ranked.values()
            if register.places and register.order is not None and register.order[0] > head.released_epoch
        }
        """Waits that the run itself resolved, looking back, since its last orderly suspension."""
        self._from_outside: dict[str, Register] = {}
        self._recent = set(self.history.unlisted) - set(head.seen)
        """Outside results that have come since the run's last orderly suspension, whatever died in between."""
        self._recent |= {key for key, epoch in self.history.listed_in.items() if epoch > head.released_epoch}
        self._orphans: set[datetime] = set()
        self._is_in_doubt = False
        self._payloads = payloads
        self._clock = clock
        self._counts: dict[str, int] = {}
        self._lines: dict[str, tuple[str, int] | None] = {}
        self._rank = self.history.next_rank
        self._left = len(self.history.ranked)
        """Recorded results that are still to be given out."""
        self._reached_before = {*self.history.unfinished, *self._awaited()}
        """Steps that an earlier invocation has called, and that had no result yet."""
        names = {"function_id": function.id, "run_id": head.run_id}
        self._logger = RunLogger(logging.getLogger("stepbridge.run"), names)
        if self.is_after_crash:
            self._leave_dues()

    def _awaited(self) -> set[str]:
        """What is armed for steps; none asks for a canceller."""
        return {key for key, armed in self.armed.items() if armed.step_id[:1] != "~"}

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
        """The run's logger, or one that says nothing while what an earlier invocation did is repeated."""
        inside = CURRENT.get()
        if inside is not None:
            names = {**(self._logger.extra or {}), "step_id": inside.step_id, "attempt": inside.attempt}
            return RunLogger(self._logger.logger, names)
        return SILENT if self._left > 0 or self._reached_before or self.probing else self._logger

    def now(self) -> datetime:
        """The backend's clock."""
        return self._clock.now()

    # -- calls -------------------------------------------------------------------------------------
    def identify(self, step: Step, depth: int) -> Call:
        """Fixes the identity of a step at its call; `depth` frames up is the user's line."""
        occurrence = self._counts.get(step.step_id, 0)
        self._counts[step.step_id] = occurrence + 1
        self._note_line(step.step_id, sys._getframe(depth))  # noqa: SLF001 - the caller's line, cheaply
        call = Call(step, ids.step_key(step.step_id, occurrence), occurrence)
        self._reached_before.discard(call.key)
        recorded = self.register_of(call.key) or self.history.unfinished.get(call.key)
        kind = _kind_of(self.armed.get(call.key)) if recorded is None else recorded.kind
        if kind is not None and kind is not step.kind:
            message = (
                f"step {step.step_id!r} is recorded as {kind} and now asked for as {step.kind.value}."
                " Mend: restore the step, or give the new one an id of its own; then resume the run."
            )
            self.fail(Parked(failure_of(NondeterminismError(message))))
        return call

    def check_outside_steps(self, what: str) -> None:
        """Fails the run, whatever user code makes of it, where `what` is called inside a step's function."""
        inside = CURRENT.get()
        if inside is None:
            return
        message = (
            f"{what} is called inside step {inside.step_id!r}. Mend: return from the outer"
            " function first; steps stand side by side in the handler."
        )
        error = NestedStepError(message)
        self.fail(Failed(failure_of(error)))
        raise error

    def _note_line(self, step_id: str, frame: Any) -> None:
        line = (frame.f_code.co_filename, frame.f_lineno)
        first = self._lines.setdefault(step_id, line)
        if first is None or first == line:
            return
        self._lines[step_id] = None
        if (first, line) not in self.function.warned:
            self.function.warned.add((first, line))
            self.warn(
                f"step id {step_id!r} is used at {first[0]}:{first[1]} and at {line[0]}:{line[1]}; which call is"
                " which is told by their order alone. Mend: give them different ids."
            )

    def warn(self, text: str) -> None:
        """Tells the developer."""
        names = {"function_id": self.function.id, "run_id": self.run_id}
        _LOG.warning("%s (function %s, run %s)", text, self.function.id, self.run_id, extra=names)

    def fail(self, outcome: Outcome) -> None:
        """Decides the run's fate whatever the handler does from now on; the first decision stands."""
        if self.fatal is None:
            self.fatal = outcome

    # -- results -----------------------------------------------------------------------------------
    def hit(self, call: Call) -> Result | None:
        """The recorded result of a call."""
        return self.history.ranked.get(call.key)

    def note_given(self, result: Result) -> None:
        """The handler has been given a result."""
        if result.rank < self.history.next_rank:
            self._left -= 1

    def note_live(self) -> None:
        """Something new begins: what follows is no replay."""
        self._left = 0
        self._reached_before.clear()

    def value(self, call: Call, register: Register) -> Any:
        """What the step call returns, or raises, for this register."""
        if register.mark is Mark.ERROR and register.failure is not None:
            raise step_error(register.failure, step_id=call.step.step_id, attempts=register.attempts)
        if register.value is None:
            return None
        try:
            return decoded(call.step, self._payloads.text(register.value))
        except StepError:  # of a map whose item failed
            raise
        except Exception as error:
            if isinstance(call.step, WaitStep):  # what came does not fit, as with a trigger
                self.fail(Failed(failure_of(error)))
                raise
            message = (
                f"the recorded value of step {call.step.step_id!r} does not fit its type now: {codec.misfit(error)}"
            )
            self.fail(Parked(failure_of(NondeterminismError(message))))
            raise NondeterminismError(message) from None  # the cause shows the value

    def loaded(self, register: Register) -> Register:
        """The register with its value at hand, so that giving it out never blocks."""
        if isinstance(register.value, Blob):
            return register._replace(value=self._payloads.text(register.value))
        return register

    def take_rank(self) -> int:
        """The next place in the order."""
        with self.lock:
            return self.next_rank()

    def next_rank(self) -> int:
        """The same, for who holds the lock."""
        self._rank += 1
        return self._rank - 1

    def from_outside(self, register: Register) -> Result:
        """A result that arose outside while the run was executing; the next record lists it."""
        with self.lock:
            self.unlisted.append(register.key)
            self._from_outside[register.key] = register
            self._recent.add(register.key)
            return Result(self.next_rank(), self.loaded(register))

    def register_of(self, key: str) -> Register | None:
        """The result of a step, however it came."""
        hit = self.history.ranked.get(key)
        return (self._from_outside.get(key) or self.found.get(key)) if hit is None else hit.register

    # -- what is armed -----------------------------------------------------------------------------
    def add_armed(self, armed: Armed) -> None:
        """Something outside now has the run on its list."""
        with self.lock:
            self.armed[armed.step_key] = armed
            self.inline_armed.append(armed)

    def remove_armed(self, armed: Armed) -> None:
        """The list does without it: the next invocation arms it anew."""
        with self.lock:
            del self.armed[armed.step_key]
            self.inline_armed.remove(armed)

    def resume_waiting(self, call: Call) -> bool:
        """Whether an earlier invocation has armed the call already; then it only waits."""
        unfinished = self.history.unfinished.get(call.key)
        if unfinished is not None:
            call.due_at = unfinished.due_at
            if unfinished.mark is Mark.STARTED and unfinished.order is not None:
                call.started_in = unfinished.order[0]
            call.failed = unfinished.attempts - (unfinished.mark is not Mark.RETRY)
            return True
        armed = self.armed.get(call.key)
        if armed is None:
            return False
        call.due_at = armed.deadline
        return True

    def unresolved(self) -> list[Armed]:
        """What is armed and still waited for."""
        return [armed for key, armed in self.armed.items() if self.register_of(key) is None]

    def newly_resolved(self) -> list[tuple[Armed, Register]]:
        """What is armed and waited for no more, and may not have been removed yet."""
        inline = {armed.step_key for armed in self.inline_armed}
        pairs = ((armed, self.register_of(key)) for key, armed in self.armed.items() if key in inline | self._recent)
        return [(armed, register) for armed, register in pairs if register is not None]

    def deletable(self) -> list[ArmedWait]:
        """Waits that the run itself takes out of the index; one that an event found is its message's to delete."""
        timed_out = [
            replace(armed, places=tuple(place for place in armed.places if (place, armed.step_key) not in self.spared))
            for armed, register in self.newly_resolved()
            if isinstance(armed, ArmedWait) and (register.event_id is None or len(armed.places) > 1)
        ]
        known = {armed.step_key for armed in timed_out}
        found = [
            ArmedWait(
                step_key=key, step_id=one.step_id, occurrence=one.occurrence, places=one.places, deadline=one.ended_at
            )
            for key, one in self.found.items()
            if key not in known
        ]
        return timed_out + found

    def is_own(self, wait: ArmedWait) -> bool:
        """Whether the run itself resolved the wait, by its timeout or looking back: no event needs to find it."""
        register = self.register_of(wait.step_key)
        return register is not None and (register.event_id is None or register.order is not None)

    def losing(self) -> list[ArmedWait]:
        """Waits that an event has just resolved, with more places than its own: listed once more, should we die."""
        return [wait for wait in self.deletable() if wait.step_key in self._recent and not self.is_own(wait)]

    # -- after a crash -----------------------------------------------------------------------------
    @property
    def is_after_crash(self) -> bool:
        """The invocation before neither suspended nor handed over."""
        return self.head.epoch - 1 > self.head.released_epoch

    def may_be_left(self, key: str) -> bool:
        """Whether an invocation that died may have armed this step, which has its result by now."""
        return self.is_after_crash and key in self._recent and key not in self.armed

    def leave(self, register: Register, timeout: timedelta) -> None:
        """An invocation that died may have left the schedule of this timeout."""
        if self._is_in_doubt or self.is_after_crash:
            self._orphans.add(self._due(register.started_at + timeout))

    def _leave_dues(self) -> None:
        sleeps = [one.due_at for one in self.history.unfinished.values() if one.mark is Mark.DUE]
        self._orphans.update(self._due(due) for due in (*sleeps, self.finish_by) if due is not None)

    def left_dues(self) -> list[datetime]:
        """When the schedules come due that an invocation that died may have left: no head lists them. The next few."""
        found = self._orphans
        if self.is_after_crash:
            found = found | {self._due(one.deadline) for one, _ in self.newly_resolved() if one.deadline is not None}
        now = self.now()
        return sorted(due for due in found if due > now)[:_ORPHANS_MAX]

    def spare(self, found: Sequence[Wait]) -> None:
        """Keeps the waits by which this message's event was found: it deletes them, last of all."""
        self.spared = frozenset((wait.place, wait.step_key) for wait in found)

    @property
    def has_news(self) -> bool:
        """Somebody has written a result since the run last suspended."""
        return bool(self._recent)

    def doubt(self) -> None:
        """An invocation may have died without a trace in the head: after it, or before the run was cancelled."""
        self._is_in_doubt = True
        self._leave_dues()

    # -- what comes next ---------------------------------------------------------------------------
    def dues(self) -> list[tuple[datetime, bool]]:
        """When something that the run waits for comes due, and whether that is a mere timeout."""
        dues = [(c.due_at, c.step.kind in _TIMED_OUT) for c in self.pending.values() if c.due_at is not None]
        waiting = [(self._due(due), is_timeout) for due, is_timeout in dues]
        return waiting if self.finish_by is None else [*waiting, (self.finish_by, True)]

    def _due(self, due: datetime) -> datetime:
        """Not after the time that any run may last: then it wakes to fail, before its records expire."""
        return min(due, self.head.counts_from + RUN_MAX + timedelta(seconds=1))

    def outcome_of(self, value: Any, error: BaseException | None) -> Outcome:
        """What the handler's end means for the run."""
        if self.fatal is not None:
            return self.fatal
        if error is None:
            try:
                return Completed(codec.encode(value, self.function.hint, what=f"function {self.function.id!r}"))
            except UnserializableOutputError as unserializable:
                return Failed(failure_of(unserializable))
        error = sound(error)
        retry_at = next_attempt_at(
            error,
            run_id=self.run_id,
            name="",
            attempts=self.head.attempt + 1,
            max_attempts=self.max_attempts,
            now=self.now(),
        )
        return Failed(failure_of(error)) if retry_at is None else Retry(failure_of(error), retry_at)


_TIMED_OUT = (Kind.WAIT, Kind.WAIT_ANY, Kind.SIGNAL, Kind.INVOKE)


def _kind_of(armed: Armed | None) -> Kind | None:
    """Of a step that waits and has no record yet: what it waits for would be taken for another's result."""
    match armed:
        case None:
            return None
        case ArmedWait():
            return armed.kind
        case ArmedChild():
            return Kind.INVOKE
        case ArmedMap():
            return Kind.MAP
        case _:
            assert_never(armed)
