"""What a handler gets in a plain unit test: a context whose steps come to what the test says."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, cast

from stepbridge.context import Context, ContextSync
from stepbridge.core import codec, ids
from stepbridge.core.instants import to_ms
from stepbridge.core.limits import RETRIES_DEFAULT
from stepbridge.core.records import Kind
from stepbridge.core.retry import next_attempt_at, sound
from stepbridge.core.steps import Draft, InvokeStep, MapStep, RunStep, SendSignalStep, SendStep, SleepStep, Step
from stepbridge.core.steps import WaitStep
from stepbridge.core.triggers import EventTrigger
from stepbridge.engine.failures import failure_of, step_error
from stepbridge.engine.session import event_for
from stepbridge.errors import NestedStepError, StepError
from stepbridge.events import Event, drafts_of
from stepbridge.function import Function, is_async
from stepbridge.step import CURRENT, CurrentStep

Given = Mapping[str | tuple[str, int], object]
"""What steps come to, by id, or by id and occurrence."""

START: Final = datetime(2025, 1, 1, tzinfo=UTC)
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
        run = _Run(self, function.id, function.max_attempts)
        return Context(run, _Async(self), event) if function.is_async else ContextSync(run, _Sync(self), event)

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
                self._move_to(call.at + duration if until is None else until)
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
                hint = call.step.hint if isinstance(call.step, InvokeStep) else codec.PLAIN
                return _round_trip(self._given(call), hint, call.step.step_id)

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
            self._move_to(call.at + step.timeout)
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
                results.append(_round_trip(one, step.hint, step.step_id))
                continue
            error = _as_step_error(one, step.step_id, step.max_attempts)
            if not step.return_exceptions:
                raise error
            results.append(error)
        return results

    def _move_to(self, instant: datetime) -> None:
        self.now = max(self.now, instant)

    @contextmanager
    def branch(self, ends: list[datetime]) -> Iterator[None]:
        """A branch of a sync group: its time passes beside that of the others."""
        begun = self.now
        try:
            yield
        finally:
            ends.append(self.now)
            self.now = begun


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

    def __init__(self, standin: StandIn) -> None:
        self._standin = standin

    def call(self, step: Step) -> Any:
        """The step's value."""
        call = self._standin.called(step)
        if not isinstance(step, RunStep):
            return self._standin.value(call)
        attempts = _Attempts(call, step, self._standin.now)
        while True:
            with attempts:
                return attempts.ended(attempts.context().run(attempts.body))

    def parallel(self, branches: Sequence[Callable[[], Any]]) -> list[Any]:
        """One branch after the other; the longest tells how much time has passed."""
        results: list[Any] = []
        ends: list[datetime] = []
        for branch in branches:
            with self._standin.branch(ends):
                try:
                    results.append(branch())
                except Exception as error:  # noqa: BLE001 - stands in the branch's place
                    results.append(error)
        self._standin.now = max(ends, default=self._standin.now)
        return results


class _Async:
    """Carries the steps of an async handler out."""

    def __init__(self, standin: StandIn) -> None:
        self._standin = standin

    def call(self, step: Step) -> Coroutine[Any, Any, Any]:
        """A coroutine of the step's value; which step it is, is fixed here."""
        coroutine: Any = self._value(self._standin.called(step))
        coroutine.__qualname__ = f"step.{step.kind.value}({step.step_id!r})"
        return cast("Coroutine[Any, Any, Any]", coroutine)

    async def _value(self, call: _Call) -> Any:
        if not isinstance(call.step, RunStep):
            return self._standin.value(call)
        attempts = _Attempts(call, call.step, self._standin.now)
        while True:
            with attempts:
                return attempts.ended(await self._attempt(attempts, call.step))

    @staticmethod
    async def _attempt(attempts: _Attempts, step: RunStep) -> Any:
        context = attempts.context()
        if attempts.is_given or not is_async(step.fn):
            return await asyncio.get_running_loop().run_in_executor(None, partial(context.run, attempts.body))
        async with asyncio.timeout(None if step.timeout is None else step.timeout.total_seconds()):
            return await asyncio.get_running_loop().create_task(attempts.body(), context=context)


class _Attempts:
    """The attempts of a run step, one after the other, without the pauses. A context of each: it keeps errors to retry."""

    def __init__(self, call: _Call, step: RunStep, now: datetime) -> None:
        self._call = call
        self._step = step
        self._now = now
        self._failed = 0
        self._max = (RETRIES_DEFAULT if step.retries is None else step.retries) + 1
        self.is_given = call.given is not _ABSENT

    def __enter__(self) -> None:
        """An attempt begins."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """Whether there is another attempt; raises the `StepError` of the last."""
        return False
