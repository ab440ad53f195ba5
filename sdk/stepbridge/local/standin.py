"""What a handler gets in a plain unit test: a context whose steps come to what the test says."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import Context as Variables
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, cast

from stepbridge.context import Context, ContextSync
from stepbridge.core import codec, ids
from stepbridge.core.instants import to_ms
from stepbridge.core.records import Kind
from stepbridge.core.retry import next_attempt_at, sound
from stepbridge.core.steps import (
    Draft,
    InvokeStep,
    MapStep,
    RunStep,
    SendSignalStep,
    SendStep,
    SleepStep,
    Step,
    WaitStep,
)
from stepbridge.core.triggers import EventTrigger
from stepbridge.engine.failures import failure_of, step_error
from stepbridge.engine.values import event_for
from stepbridge.errors import NestedStepError, StepError, UnserializableOutputError
from stepbridge.events import Event, drafts_of
from stepbridge.function import Function, is_async
from stepbridge.step import CURRENT, CurrentStep

Given = Mapping[Any, object]
"""What steps come to, by `id` or by `(id, occurrence)`; a literal with both kinds of keys has no narrower type."""

RUN_ID: Final = "test-run"
_ABSENT: Final = object()


class StandIn:
    """Stands in for the context of either colour, and tells what the handler asked for.

    Attributes:
        calls: The ids of the steps, in the order of their calls.
        sent: The events that `send_event` sent, in order.
        signals: Name and data of what `send_signal` sent, in order.
    """

    def __init__(self, event: Event[Any] | Mapping[str, Any], steps: Given, now: datetime) -> None:
        (draft,) = drafts_of(event, what="context", system=True)
        self.calls: list[str] = []
        self.sent: list[Event[Any]] = []
        self.signals: list[tuple[str, Any]] = []
        self.now = now
        """Aware UTC; sleeps and waits that time out move it on."""
        self._event = event.model_copy() if isinstance(event, Event) else Event[Any].model_validate(event)
        self._event.id = draft.id or "test-event"
        self._event.ts = draft.ts or to_ms(now)
        self._event.source = draft.source or "test"
        self._steps = steps
        self._counts: Counter[str] = Counter()

    def for_handler(self, function: Function[Any]) -> Context[Any] | ContextSync[Any]:
        """The context of the function's colour; what `Function` asks for when it is called."""
        event = self._validated(function)
        attempts = function.max_attempts
        run = _Run(self, function.id, attempts)
        if function.is_async:
            return Context(run, _Async(self, attempts), event)
        return ContextSync(run, _Sync(self, attempts), event)

    def _validated(self, function: Function[Any]) -> Event[Any]:
        event = self._event
        models = (t.model for t in function.triggers if isinstance(t, EventTrigger) and t.names(event.name))
        model = next((model for model in models if model is not None), None)
        if model is None or isinstance(event.data, model):
            return event
        return event_for(event.model_dump(), model)

    # -- a step ------------------------------------------------------------------------------------
    def called(self, step: Step) -> _Call:
        """Notes a call, and what it is to come to."""
        inside = CURRENT.get()
        if inside is not None:
            raise NestedStepError(
                f"step {step.step_id!r} is called inside step {inside.step_id!r}. Mend: return from the outer"
                " function first; steps stand side by side in the handler."
            )
        occurrence = self._counts[step.step_id]
        self._counts[step.step_id] += 1
        self.calls.append(step.step_id)
        given = self._steps.get((step.step_id, occurrence), self._steps.get(step.step_id, _ABSENT))
        return _Call(step, ids.step_key(step.step_id, occurrence), given, self.now)

    def value(self, call: _Call) -> Any:
        """What a step that runs no function comes to."""
        if isinstance(call.given, BaseException):
            raise _as_step_error(call.given, call.step.step_id, 1)
        match call.step:
            case SleepStep(until=until, duration=duration):
                self.move_to(call.at + duration if until is None else until)
                return None
            case WaitStep():
                return self._event_of(call, call.step)
            case SendStep():
                return self._send(call, call.step) if call.given is _ABSENT else call.given
            case SendSignalStep(signal=signal, data=data):
                self.signals.append((signal, json.loads(data)))
                return None
            case MapStep():
                return self._results(call, call.step)
            case _:
                hint = call.step.hint if isinstance(call.step, InvokeStep | RunStep) else codec.PLAIN
                return _typed(self._given(call), hint, call.step.step_id)

    def _given(self, call: _Call) -> Any:
        if call.given is _ABSENT:
            step_id = call.step.step_id
            raise LookupError(
                f"nothing says what the {call.step.kind.value} step {step_id!r} comes to."
                f" Mend: context(event, steps={{{step_id!r}: value}})."
            )
        return call.given

    def _event_of(self, call: _Call, step: WaitStep) -> Any:
        if call.given is _ABSENT or call.given is None:
            self.move_to(call.at + step.timeout)
            return None
        index, value = cast("tuple[int, Any]", call.given) if step.kind is Kind.WAIT_ANY else (0, call.given)
        if not isinstance(value, Event):
            whole = isinstance(value, Mapping) and set(value) >= {"name", "data"}
            value = Event[Any].model_validate(value if whole else {"name": step.patterns[index].event, "data": value})
        event = value if step.model is None else event_for(value.model_dump(), step.model)
        return (index, event) if step.kind is Kind.WAIT_ANY else event

    def _send(self, call: _Call, step: SendStep) -> list[str]:
        sent = [draft.id or ids.sent_event_id(RUN_ID, call.key, index) for index, draft in enumerate(step.events)]
        self.sent += [self._event_from(draft, event_id) for draft, event_id in zip(step.events, sent, strict=True)]
        return sent

    def _event_from(self, draft: Draft, event_id: str) -> Event[Any]:
        ts = draft.ts or to_ms(self.now)
        data = json.loads(draft.data)
        return Event[Any](name=draft.name, data=data, id=event_id, ts=ts, source=draft.source or "test")

    def _results(self, call: _Call, step: MapStep) -> list[Any]:
        results: list[Any] = []
        for one in self._given(call):
            if not isinstance(one, BaseException):
                results.append(_typed(one, step.hint, step.step_id))
                continue
            error = _as_step_error(one, step.step_id, step.max_attempts)
            if not step.return_exceptions:
                raise error
            results.append(error)
        return results

    def move_to(self, instant: datetime) -> None:
        """Time passes, if the instant is still to come."""
        self.now = max(self.now, instant)


@dataclass(frozen=True, slots=True)
class _Call:
    """A step call of the handler."""

    step: Step
    key: str
    given: object
    at: datetime


@dataclass(frozen=True, slots=True)
class _Run:
    """What the context shows of its run."""

    standin: StandIn
    function_id: str
    max_attempts: int
    run_id: str = RUN_ID
    attempt: int = 0

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """Says everything: nothing is replayed."""
        names = {"function_id": self.function_id, "run_id": self.run_id}
        return logging.LoggerAdapter(logging.getLogger("stepbridge.run"), names)

    def now(self) -> datetime:
        """The stand-in's clock."""
        return self.standin.now


class _Sync:
    """Carries the steps of a sync handler out."""

    def __init__(self, standin: StandIn, max_attempts: int) -> None:
        self._standin = standin
        self._max_attempts = max_attempts

    def call(self, step: Step) -> Any:
        """The step's value."""
        call = self._standin.called(step)
        if not isinstance(step, RunStep) or call.given is not _ABSENT:
            return self._standin.value(call)
        attempts = _Attempts(self._standin, call, step, self._max_attempts)
        while True:
            try:
                value = attempts.context().run(step.fn, *step.args, **step.kwargs)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever user code raises counts as a failure
                attempts.note(error)
            else:
                return _round_trip(value, step.hint, step.step_id)

    def parallel(self, branches: Sequence[Callable[[], Any]]) -> list[Any]:
        """One branch after the other; the longest tells how much time has passed."""
        results: list[Any] = []
        ends = [self._standin.now]
        begun = self._standin.now
        for branch in branches:
            self._standin.now = begun
            try:
                results.append(branch())
            except Exception as error:  # noqa: BLE001 - stands in the branch's place
                results.append(error)
            ends.append(self._standin.now)
        self._standin.now = max(ends)
        return results


class _Async:
    """Carries the steps of an async handler out."""

    def __init__(self, standin: StandIn, max_attempts: int) -> None:
        self._standin = standin
        self._max_attempts = max_attempts

    def call(self, step: Step) -> Coroutine[Any, Any, Any]:
        """A coroutine of the step's value; which step it is, is fixed here."""
        coroutine: Any = self._value(self._standin.called(step))
        coroutine.__qualname__ = f"step.{step.kind.value}({step.step_id!r})"
        return cast("Coroutine[Any, Any, Any]", coroutine)

    async def _value(self, call: _Call) -> Any:
        step = call.step
        if not isinstance(step, RunStep) or call.given is not _ABSENT:
            return self._standin.value(call)
        attempts = _Attempts(self._standin, call, step, self._max_attempts)
        while True:
            try:
                value = await _attempt(step, attempts.context())
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever user code raises counts as a failure
                attempts.note(error)
            else:
                return _round_trip(value, step.hint, step.step_id)


async def _attempt(step: RunStep, context: Variables) -> Any:
    """One attempt: a sync function in a thread, an async one in a task of its own within its timeout."""
    function = partial(step.fn, *step.args, **step.kwargs)
    loop = asyncio.get_running_loop()
    if not is_async(step.fn):
        return await loop.run_in_executor(None, partial(context.run, function))
    async with asyncio.timeout(None if step.timeout is None else step.timeout.total_seconds()):
        return await loop.create_task(function(), context=context)


class _Attempts:
    """The attempts of a run step: what fails is tried again at once, as often as it would be, on a moved clock."""

    def __init__(self, standin: StandIn, call: _Call, step: RunStep, max_attempts: int) -> None:
        self._standin = standin
        self._call = call
        self._max_attempts = max_attempts if step.retries is None else step.retries + 1
        self._failed = 0

    def context(self) -> Variables:
        """Where the next attempt runs: `current_step()` tells of it."""
        context = copy_context()
        step_id, key = self._call.step.step_id, self._call.key
        effect = ids.effect_key(RUN_ID, key)
        context.run(CURRENT.set, CurrentStep(run_id=RUN_ID, step_id=step_id, attempt=self._failed, effect_key=effect))
        return context

    def note(self, error: BaseException) -> None:
        """An attempt has failed; raises the `StepError` of the last."""
        self._failed += 1
        error = sound(error)
        retry_at = next_attempt_at(
            error,
            run_id=RUN_ID,
            name=self._call.key,
            attempts=self._failed,
            max_attempts=self._max_attempts,
            now=self._standin.now,
        )
        if retry_at is None:
            raise _as_step_error(error, self._call.step.step_id, self._failed) from error
        self._standin.move_to(retry_at)


def _as_step_error(error: BaseException, step_id: str, attempts: int) -> StepError:
    """As the step call raises it; a `StepError` as it is."""
    return error if isinstance(error, StepError) else step_error(failure_of(error), step_id=step_id, attempts=attempts)


def _round_trip(value: object, hint: object, step_id: str) -> Any:
    """As the value comes back from where it is recorded."""
    return codec.decode(codec.encode(value, hint, what=f"step {step_id!r}"), hint)


def _typed(value: object, hint: object, step_id: str) -> Any:
    """A given value: of the step's type, or plain JSON that is read as one."""
    try:
        return _round_trip(value, hint, step_id)
    except UnserializableOutputError:
        return codec.decode(codec.encode(value, codec.PLAIN, what=f"what is given for step {step_id!r}"), hint)
