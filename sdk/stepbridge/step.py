"""What the steps of both colours share: their arguments are checked here, and become data for the engine.

`Step` is in `step_async.py`, `StepSync` in `step_sync.py`.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from stepbridge.core import codec, steps
from stepbridge.core.durations import parse_duration, parse_instant, shown
from stepbridge.core.limits import RETRIES_DEFAULT, RUN_MAX, STEP_ID_MAX
from stepbridge.core.records import Kind
from stepbridge.declare import Duration, EventMatch, pattern_of
from stepbridge.errors import ConfigError
from stepbridge.events import Event, drafts_of, listed, text_problem
from stepbridge.function import APP_ID, Function, check_retries, is_async, model_problem


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentStep:
    """The step whose function is running."""

    run_id: str
    step_id: str
    attempt: int
    """From 0."""
    effect_key: str
    """Stable over attempts, crashes and replays: what a receiver may take as its idempotency key."""


CURRENT: ContextVar[CurrentStep | None] = ContextVar("stepbridge_current_step", default=None)


def current_step() -> CurrentStep:
    """The step whose function calls this.

    Raises:
        RuntimeError: It is called outside a step's function.
    """
    step = CURRENT.get()
    if step is None:
        message = "current_step() is for functions that a step runs; there is no step here."
        raise RuntimeError(message)
    return step


class Runner(Protocol):
    """What carries steps out: the engine's replay, or the stand-in of a unit test."""

    def call(self, step: steps.Step) -> Any:
        """The step's value; for async handlers a coroutine of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Per-step settings; None leaves the function's own."""

    retries: int | None = None
    timeout: timedelta | None = None
    output_type: Any = None
    once: bool = False


class Steps:
    """The calls of either colour as data. `runner` carries them out."""

    def __init__(self, runner: Runner, options: Options | None = None, *, retries: int = RETRIES_DEFAULT) -> None:
        self._runner = runner
        self._options = options or Options()
        self._retries = retries

    def _with(
        self, retries: int | None, timeout: Duration | None, output_type: Any, on_interrupt: str | None
    ) -> Options:
        if on_interrupt not in (None, "raise", "repeat"):  # no set: it may be a list
            raise ConfigError(f"with_options: on_interrupt={shown(on_interrupt)}. Mend: 'raise' or 'repeat'.")
        if retries is not None:
            check_retries(retries, "with_options")
        return replace(
            self._options,
            retries=self._options.retries if retries is None else retries,
            timeout=self._options.timeout if timeout is None else parse_duration(timeout, what="timeout"),
            output_type=self._options.output_type if output_type is None else output_type,
            once=self._options.once if on_interrupt is None else on_interrupt == "raise",
        )

    def _run(
        self, step_id: str, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> steps.RunStep:
        step_id = _checked_id(step_id)
        if not callable(fn):
            message = f"step {step_id!r}: a function is run, not a {type(fn).__name__}. Mend: step.run(id, fn, *args)."
            raise ConfigError(message)
        options = self._options
        if options.timeout is not None and not is_async(fn):
            message = (
                f"step {step_id!r}: timeout= is for async functions, because a thread cannot be stopped."
                " Mend: give the call inside its own timeout, or make the function async."
            )
            raise ConfigError(message)
        hint = codec.return_hint(fn) if options.output_type is None else codec.usable_hint(options.output_type)
        return steps.RunStep(
            step_id=step_id,
            fn=fn,
            args=args,
            kwargs=kwargs,
            hint=hint,
            retries=options.retries,
            timeout=options.timeout,
            once=options.once,
        )

    def _sleep(self, step_id: str, duration: Duration) -> steps.SleepStep:
        step_id = _checked_id(step_id)
        length = parse_duration(duration, what=f"sleep {step_id!r}", maximum=RUN_MAX)
        return steps.SleepStep(step_id=step_id, duration=length)

    def _sleep_until(self, step_id: str, until: datetime | str) -> steps.SleepStep:
        step_id = _checked_id(step_id)
        return steps.SleepStep(step_id=step_id, until=parse_instant(until, what=f"sleep_until {step_id!r}"))

    def _wait(  # noqa: PLR0913, PLR0917 - the public call's keywords
        self,
        step_id: str,
        event: str,
        timeout: Duration,
        match: str | Mapping[str, object] | None,
        if_exp: str | None,
        lookback: Duration | bool | None,  # noqa: FBT001 - True is a value here
        model: type[Any] | None,
    ) -> steps.WaitStep:
        step_id = _checked_id(step_id)
        pattern = pattern_of(event, match, if_exp, lookback, f"wait {step_id!r}")
        if problem := model_problem(model):
            raise ConfigError(f"wait {step_id!r}: {problem}")
        length = parse_duration(timeout, what=f"timeout of wait {step_id!r}", maximum=RUN_MAX)
        return steps.WaitStep(step_id=step_id, patterns=(pattern,), timeout=length, model=model)

    def _wait_any(self, step_id: str, waits: Sequence[EventMatch], timeout: Duration) -> steps.WaitStep:
        step_id = _checked_id(step_id)
        if not isinstance(waits, list | tuple) or not waits or not all(isinstance(one, EventMatch) for one in waits):
            message = f"wait_for_any {step_id!r}: waits={shown(waits)}. Mend: [EventMatch(event, match=...), ...]."
            raise ConfigError(message)
        patterns = tuple(
            pattern_of(one.event, one.match, one.if_exp, one.lookback, f"wait {index} of {step_id!r}")
            for index, one in enumerate(waits)
        )
        length = parse_duration(timeout, what=f"timeout of wait {step_id!r}", maximum=RUN_MAX)
        return steps.WaitStep(step_id=step_id, patterns=patterns, timeout=length, kind=Kind.WAIT_ANY)

    def _wait_signal(self, step_id: str, signal: str, timeout: Duration) -> steps.SignalStep:
        step_id, signal = _checked_id(step_id), _checked_id(signal, "signal")
        length = parse_duration(timeout, what=f"timeout of wait {step_id!r}", maximum=RUN_MAX)
        return steps.SignalStep(step_id=step_id, signal=signal, timeout=length)

    def _send_signal(self, step_id: str, signal: str, data: object) -> steps.SendSignalStep:
        step_id, signal = _checked_id(step_id), _checked_id(signal, "signal")
        text = codec.encode(data, codec.PLAIN, what=f"send_signal {step_id!r}")
        return steps.SendSignalStep(step_id=step_id, signal=signal, data=text, retries=self._options.retries)

    def _map(
        self,
        step_id: str,
        fn: Callable[..., Any] | Function[Any],
        items: Iterable[Any],
        max_concurrency: int | None,
        return_exceptions: bool,  # noqa: FBT001 - private
    ) -> steps.MapStep:
        step_id = _checked_id(step_id)
        if max_concurrency is not None and (type(max_concurrency) is not int or max_concurrency < 1):
            message = (
                f"map {step_id!r}: max_concurrency={shown(max_concurrency)}. Mend: a whole number from 1, or None."
            )
            raise ConfigError(message)
        if not isinstance(items, Iterable):
            raise ConfigError(f"map {step_id!r}: items={shown(items)}. Mend: a list of JSON values.")
        is_function = isinstance(fn, Function)
        given = listed(items, f"map {step_id!r}")
        values = [item if not is_function or isinstance(item, dict) else {"item": item} for item in given]
        texts = tuple(
            codec.encode(value, codec.PLAIN, what=f"item {index} of map {step_id!r}")
            for index, value in enumerate(values)
        )
        options = self._options
        hint = fn.hint if isinstance(fn, Function) else codec.return_hint(fn)
        return steps.MapStep(
            step_id=step_id,
            target=fn.id if isinstance(fn, Function) else qualified_name(fn, step_id),
            is_function=is_function,
            items=texts,
            max_concurrency=max_concurrency,
            return_exceptions=return_exceptions,
            max_attempts=(self._retries if options.retries is None else options.retries) + 1,
            hint=hint if options.output_type is None else codec.usable_hint(options.output_type),
        )

    def _invoke(
        self, step_id: str, function: object, data: object, timeout: Duration | None, app: object
    ) -> steps.InvokeStep:
        step_id = _checked_id(step_id)
        if not isinstance(function, Function) and (not isinstance(function, str) or not function):
            raise ConfigError(f"invoke {step_id!r}: function={shown(function)}. Mend: a Function, or a function's id.")
        if app is not None and (not isinstance(app, str) or not APP_ID.fullmatch(app)):
            raise ConfigError(f"invoke {step_id!r}: app={shown(app)}. Mend: an app's id: 1-32 of a-z, 0-9 and '-'.")
        if app is not None and timeout is None:
            raise ConfigError(
                f"invoke {step_id!r}: app={app!r} needs a timeout. Mend: timeout='1h'; nobody else notices."
            )
        hint = codec.PLAIN
        if isinstance(function, Function):
            hint = function.hint
        if self._options.output_type is not None:
            hint = codec.usable_hint(self._options.output_type)
        (draft,) = drafts_of({"name": "invoke", "data": data or {}}, what=f"invoke {step_id!r}")
        return steps.InvokeStep(
            step_id=step_id,
            function_id=function.id if isinstance(function, Function) else function,
            data=draft.data,
            timeout=None
            if timeout is None
            else parse_duration(timeout, what=f"timeout of invoke {step_id!r}", maximum=RUN_MAX),
            hint=hint,
            app=app,
        )

    def _send(self, step_id: str, events: object) -> steps.SendStep:
        step_id = _checked_id(step_id)
        drafts = drafts_of(events, what=f"send_event {step_id!r}")
        return steps.SendStep(step_id=step_id, events=drafts, retries=self._options.retries)


def _checked_id(step_id: object, what: str = "step id") -> str:
    """The id as plain text, which is what records bear: an enum's member is the same as its value."""
    if type(step_id) is str and step_id.isascii() and 0 < len(step_id) <= STEP_ID_MAX:
        return step_id  # nearly all, at each step and each replay
    if not isinstance(step_id, str) or not step_id:
        message = f"{what} {shown(step_id)}. Mend: a string that is not empty, fixed in the code."
        raise ConfigError(message)
    plain = str.__str__(step_id)
    if problem := text_problem(plain, STEP_ID_MAX):
        raise ConfigError(f"{what} {plain[:40]!r}... {problem}")
    return plain


Sendable = Event[Any] | Mapping[str, Any]


def qualified_name(fn: Callable[..., Any], step_id: str) -> str:
    """`module:qualname` of a function that can be found by it, or a `ConfigError`."""
    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    found: object = None
    if not callable(fn):
        raise ConfigError(f"map {step_id!r}: a function is run, not {shown(fn)}. Mend: map(id, fn, items).")
    with contextlib.suppress(ImportError, AttributeError):
        found = function_at(f"{module}:{name}")
    if found is not fn:
        message = (
            f"map {step_id!r}: {fn!r} cannot be found by its name in another invocation."
            " Mend: a function at the top level of a module, or a Function of the app."
        )
        raise ConfigError(message)
    return f"{module}:{name}"


def function_at(target: str) -> Callable[..., Any]:
    """The function that `module:qualname` names."""
    module, _, name = target.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]
