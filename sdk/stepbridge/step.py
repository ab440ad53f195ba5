"""`ctx.step`: the durable steps, for async handlers (`Step`) and for sync ones (`StepSync`)."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, overload

from stepbridge.core import codec, steps
from stepbridge.core.durations import parse_duration, parse_instant
from stepbridge.core.limits import RETRIES_DEFAULT, RUN_MAX, STEP_ID_MAX
from stepbridge.core.records import Kind
from stepbridge.declare import Duration, EventMatch, pattern_of
from stepbridge.errors import ConfigError
from stepbridge.events import Event, drafts_of
from stepbridge.function import Function, check_retries, is_async

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M")


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


class _Steps:
    """What both colours share: arguments are checked here and become data."""

    def __init__(self, runner: Runner, options: Options | None = None, *, retries: int = RETRIES_DEFAULT) -> None:
        self._runner = runner
        self._options = options or Options()
        self._retries = retries

    def _with(
        self, retries: int | None, timeout: Duration | None, output_type: Any, on_interrupt: str | None
    ) -> Options:
        if on_interrupt not in {None, "raise", "repeat"}:
            raise ConfigError(f"with_options: on_interrupt={on_interrupt!r}. Mend: 'raise' or 'repeat'.")
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
        _check_id(step_id)
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
        _check_id(step_id)
        length = parse_duration(duration, what=f"sleep {step_id!r}", maximum=RUN_MAX)
        return steps.SleepStep(step_id=step_id, duration=length)

    def _sleep_until(self, step_id: str, until: datetime | str) -> steps.SleepStep:
        _check_id(step_id)
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
        _check_id(step_id)
        pattern = pattern_of(event, match, if_exp, lookback, f"wait {step_id!r}")
        length = parse_duration(timeout, what=f"timeout of wait {step_id!r}", maximum=RUN_MAX)
        return steps.WaitStep(step_id=step_id, patterns=(pattern,), timeout=length, model=model)

    def _wait_any(self, step_id: str, waits: Sequence[EventMatch], timeout: Duration) -> steps.WaitStep:
        _check_id(step_id)
        patterns = tuple(
            pattern_of(one.event, one.match, one.if_exp, one.lookback, f"wait {index} of {step_id!r}")
            for index, one in enumerate(waits)
        )
        if not patterns:
            message = f"wait_for_any {step_id!r}: no wait. Mend: [EventMatch(event, match=...), ...]."
            raise ConfigError(message)
        length = parse_duration(timeout, what=f"timeout of wait {step_id!r}", maximum=RUN_MAX)
        return steps.WaitStep(step_id=step_id, patterns=patterns, timeout=length, kind=Kind.WAIT_ANY)

    def _wait_signal(self, step_id: str, signal: str, timeout: Duration) -> steps.SignalStep:
        _check_id(step_id)
        _check_id(signal)
        length = parse_duration(timeout, what=f"timeout of wait {step_id!r}", maximum=RUN_MAX)
        return steps.SignalStep(step_id=step_id, signal=signal, timeout=length)

    def _send_signal(self, step_id: str, signal: str, data: object) -> steps.SendSignalStep:
        _check_id(step_id)
        _check_id(signal)
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
        _check_id(step_id)
        if max_concurrency is not None and (type(max_concurrency) is not int or max_concurrency < 1):
            message = f"map {step_id!r}: max_concurrency={max_concurrency!r}. Mend: a whole number from 1, or None."
            raise ConfigError(message)
        is_function = isinstance(fn, Function)
        values = [item if not is_function or isinstance(item, dict) else {"item": item} for item in items]
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
        self, step_id: str, function: Function[Any] | str, data: object, timeout: Duration | None, app: str | None
    ) -> steps.InvokeStep:
        _check_id(step_id)
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
        _check_id(step_id)
        drafts = drafts_of(events, what=f"send_event {step_id!r}")
        return steps.SendStep(step_id=step_id, events=drafts, retries=self._options.retries)


def _check_id(step_id: object) -> None:
    if not isinstance(step_id, str) or not step_id:
        message = f"step id {step_id!r}. Mend: a string that is not empty, fixed in the code."
        raise ConfigError(message)
    if len(step_id) > STEP_ID_MAX:
        message = f"step id {step_id[:40]!r}... has {len(step_id)} characters. Mend: at most {STEP_ID_MAX}."
        raise ConfigError(message)


Sendable = Event[Any] | Mapping[str, Any]


class Step(_Steps):
    """The steps of an async handler; each call returns a coroutine, to be awaited or gathered."""

    def with_options(
        self,
        *,
        retries: int | None = None,
        timeout: Duration | None = None,
        output_type: Any = None,
        on_interrupt: Literal["raise", "repeat"] | None = None,
    ) -> Step:
        """The same steps with other settings.

        Args:
            retries: Further attempts after the first: 0 to 20.
            timeout: Of one attempt of an async `fn`.
            output_type: By which the value is stored, instead of the return annotation.
            on_interrupt: `"raise"`: where a crash hides how the step ended it is not repeated, but raises
                `StepInterruptedError`; costs one write more. `"repeat"`, the default, runs it again.
        """
        return Step(self._runner, self._with(retries, timeout, output_type, on_interrupt), retries=self._retries)

    @overload
    def run(
        self, step_id: str, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def run(self, step_id: str, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]: ...
    def run(self, step_id: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Runs `fn(*args, **kwargs)` once durably; a sync `fn` in a worker thread.

        Returns:
            What `fn` returned, after a JSON round trip typed by its return annotation: equal on the
            first run and on every replay.

        Raises:
            StepError: `fn` failed for good, its attempts used up or the error final.
        """
        return self._runner.call(self._run(step_id, fn, args, kwargs))  # type: ignore[no-any-return]

    def sleep(self, step_id: str, duration: Duration) -> Coroutine[Any, Any, None]:
        """Goes on after `duration`, at most 366 days; nothing runs, and nothing is paid for, meanwhile."""
        return self._runner.call(self._sleep(step_id, duration))  # type: ignore[no-any-return]

    def sleep_until(self, step_id: str, until: datetime | str) -> Coroutine[Any, Any, None]:
        """Goes on at an aware datetime or ISO 8601 text with an offset; at once where it is past."""
        return self._runner.call(self._sleep_until(step_id, until))  # type: ignore[no-any-return]

    @overload
    def wait_for_event(
        self,
        step_id: str,
        *,
        event: str,
        timeout: Duration,
        match: str | Mapping[str, object] | None = ...,
        if_exp: str | None = ...,
        lookback: Duration | bool | None = ...,
        model: None = ...,
    ) -> Coroutine[Any, Any, Event | None]: ...
    @overload
    def wait_for_event(
        self,
        step_id: str,
        *,
        event: str,
        timeout: Duration,
        match: str | Mapping[str, object] | None = ...,
        if_exp: str | None = ...,
        lookback: Duration | bool | None = ...,
        model: type[M],
    ) -> Coroutine[Any, Any, Event[M] | None]: ...
    def wait_for_event(  # noqa: PLR0913 - keywords
        self,
        step_id: str,
        *,
        event: str,
        timeout: Duration,
        match: str | Mapping[str, object] | None = None,
        if_exp: str | None = None,
        lookback: Duration | bool | None = None,
        model: type[Any] | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Goes on with the first event that matches, or with None after `timeout` (at most 366 days).

        Args:
            step_id: Names the step.
            event: The awaited event's name.
            timeout: How long to wait.
            match: A path that must be equal in the trigger and in the candidate (`"data.orderId"`), or
                a dict of paths and values.
            if_exp: CEL over `event`, the trigger, and `async`, the candidate. Not with `match`.
            lookback: An event counts too that came before the wait, since the run's start: True, or
                within a duration. The function's `waits=` must declare it.
            model: A pydantic model for the event's data.

        Raises:
            StepError: `match` names a path that the trigger lacks.
        """
        return self._runner.call(self._wait(step_id, event, timeout, match, if_exp, lookback, model))  # type: ignore[no-any-return]

    @overload
    def invoke(
        self,
        step_id: str,
        *,
        function: Function[T],
        data: Mapping[str, Any] | None = ...,
        timeout: Duration | None = ...,
        app: str | None = ...,
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def invoke(
        self,
        step_id: str,
        *,
        function: str,
        data: Mapping[str, Any] | None = ...,
        timeout: Duration | None = ...,
        app: str | None = ...,
    ) -> Coroutine[Any, Any, Any]: ...
    def invoke(
        self,
        step_id: str,
        *,
        function: Function[Any] | str,
        data: Mapping[str, Any] | None = None,
        timeout: Duration | None = None,
        app: str | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Runs another function in a run of its own and goes on with its output.

        Args:
            step_id: Names the step.
            function: A `Function`, or the id of one.
            data: The data of the child's trigger.
            timeout: How long to wait for its end; as long as a run may last where it is left out.
            app: Another app on the bus, by its id; then `timeout` is required.

        Raises:
            StepError: The child failed (with the child's error), was cancelled, does not exist, or did
                not end within `timeout`: then it is named `InvokeTimeoutError` and the child is cancelled.
        """
        return self._runner.call(self._invoke(step_id, function, data, timeout, app))  # type: ignore[no-any-return]

    def send_event(self, step_id: str, events: Sendable | Sequence[Sendable]) -> Coroutine[Any, Any, list[str]]:
        """Puts events on the bus and returns their ids in order; repeated, it sends the same ids."""
        return self._runner.call(self._send(step_id, events))  # type: ignore[no-any-return]

    def wait_for_any(
        self, step_id: str, waits: Sequence[EventMatch], *, timeout: Duration
    ) -> Coroutine[Any, Any, tuple[int, Event] | None]:
        """Goes on with the first event that one of `waits` matches, and that one's index; None after `timeout`."""
        return self._runner.call(self._wait_any(step_id, waits, timeout))  # type: ignore[no-any-return]

    def wait_for_signal(self, step_id: str, signal: str, *, timeout: Duration) -> Coroutine[Any, Any, Any]:
        """Goes on with the data of the first `send_signal` of this name; None after `timeout`.

        Raises:
            StepError: `SignalConflictError`: another run waits for the signal already.
        """
        return self._runner.call(self._wait_signal(step_id, signal, timeout))  # type: ignore[no-any-return]

    def send_signal(self, step_id: str, signal: str, data: Any = None) -> Coroutine[Any, Any, None]:
        """Wakes the one run of this app that waits for the signal; nothing happens where none does."""
        return self._runner.call(self._send_signal(step_id, signal, data))  # type: ignore[no-any-return]

    @overload
    def map(
        self,
        step_id: str,
        fn: Function[T],
        items: Iterable[Any],
        /,
        *,
        max_concurrency: int | None = ...,
        return_exceptions: bool = ...,
    ) -> Coroutine[Any, Any, list[T]]: ...
    @overload
    def map(
        self,
        step_id: str,
        fn: Callable[[Any], Coroutine[Any, Any, T]],
        items: Iterable[Any],
        /,
        *,
        max_concurrency: int | None = ...,
        return_exceptions: bool = ...,
    ) -> Coroutine[Any, Any, list[T]]: ...
    @overload
    def map(
        self,
        step_id: str,
        fn: Callable[[Any], T],
        items: Iterable[Any],
        /,
        *,
        max_concurrency: int | None = ...,
        return_exceptions: bool = ...,
    ) -> Coroutine[Any, Any, list[T]]: ...
    def map(
        self,
        step_id: str,
        fn: Callable[..., Any] | Function[Any],
        items: Iterable[Any],
        /,
        *,
        max_concurrency: int | None = None,
        return_exceptions: bool = False,
    ) -> Coroutine[Any, Any, list[Any]]:
        """Runs `fn` for each item in an invocation of its own, for thousands of items; results in order.

        Args:
            step_id: Names the step.
            fn: A module-level function of one argument, or a `Function`: then each item is a child run,
                whose data is the item, or `{"item": item}` where it is no dict.
            items: JSON values.
            max_concurrency: At most so many at once; all at once where it is left out.
            return_exceptions: Errors stand in their items' places, as `StepError`s.

        Raises:
            StepError: The first failed item's, once all have ended.
        """
        step = self._map(step_id, fn, items, max_concurrency, return_exceptions)
        return self._runner.call(step)  # type: ignore[no-any-return]


class StepSync(_Steps):
    """The steps of a sync handler: each call returns the value. See `Step` for what each means."""

    def with_options(
        self,
        *,
        retries: int | None = None,
        timeout: Duration | None = None,
        output_type: Any = None,
        on_interrupt: Literal["raise", "repeat"] | None = None,
    ) -> StepSync:
        """The same steps with other settings: attempts, type of the value."""
        return StepSync(self._runner, self._with(retries, timeout, output_type, on_interrupt), retries=self._retries)

    def run(self, step_id: str, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `fn(*args, **kwargs)` once durably."""
        if is_async(fn):
            raise ConfigError(
                f"step {step_id!r}: {fn!r} is async. Mend: make the handler async too, or the function sync."
            )
        return self._runner.call(self._run(step_id, fn, args, kwargs))  # type: ignore[no-any-return]

    def sleep(self, step_id: str, duration: Duration) -> None:
        """Goes on after `duration`."""
        self._runner.call(self._sleep(step_id, duration))

    def sleep_until(self, step_id: str, until: datetime | str) -> None:
        """Goes on at an aware datetime or ISO 8601 text with an offset."""
        self._runner.call(self._sleep_until(step_id, until))

    @overload
    def wait_for_event(
        self,
        step_id: str,
        *,
        event: str,
        timeout: Duration,
        match: str | Mapping[str, object] | None = ...,
        if_exp: str | None = ...,
        lookback: Duration | bool | None = ...,
        model: None = ...,
    ) -> Event | None: ...
    @overload
    def wait_for_event(
        self,
        step_id: str,
        *,
        event: str,
        timeout: Duration,
        match: str | Mapping[str, object] | None = ...,
        if_exp: str | None = ...,
        lookback: Duration | bool | None = ...,
        model: type[M],
    ) -> Event[M] | None: ...
    def wait_for_event(  # noqa: PLR0913 - keywords
        self,
        step_id: str,
        *,
        event: str,
        timeout: Duration,
        match: str | Mapping[str, object] | None = None,
        if_exp: str | None = None,
        lookback: Duration | bool | None = None,
        model: type[Any] | None = None,
    ) -> Event[Any] | None:
        """Goes on with the first event that matches, or with None after `timeout`."""
        return self._runner.call(self._wait(step_id, event, timeout, match, if_exp, lookback, model))  # type: ignore[no-any-return]

    @overload
    def invoke(
        self,
        step_id: str,
        *,
        function: Function[T],
        data: Mapping[str, Any] | None = ...,
        timeout: Duration | None = ...,
        app: str | None = ...,
    ) -> T: ...
    @overload
    def invoke(
        self,
        step_id: str,
        *,
        function: str,
        data: Mapping[str, Any] | None = ...,
        timeout: Duration | None = ...,
        app: str | None = ...,
    ) -> Any: ...
    def invoke(
        self,
        step_id: str,
        *,
        function: Function[Any] | str,
        data: Mapping[str, Any] | None = None,
        timeout: Duration | None = None,
        app: str | None = None,
    ) -> Any:
        """Runs another function of this app in a run of its own and goes on with its output."""
        return self._runner.call(self._invoke(step_id, function, data, timeout, app))

    def send_event(self, step_id: str, events: Sendable | Sequence[Sendable]) -> list[str]:
        """Puts events on the bus and returns their ids in order."""
        return self._runner.call(self._send(step_id, events))  # type: ignore[no-any-return]

    def wait_for_any(
        self, step_id: str, waits: Sequence[EventMatch], *, timeout: Duration
    ) -> tuple[int, Event[Any]] | None:
        """Goes on with the first event that one of `waits` matches, and that one's index."""
        return self._runner.call(self._wait_any(step_id, waits, timeout))  # type: ignore[no-any-return]

    def wait_for_signal(self, step_id: str, signal: str, *, timeout: Duration) -> Any:
        """Goes on with the data of the first `send_signal` of this name; None after `timeout`."""
        return self._runner.call(self._wait_signal(step_id, signal, timeout))

    def send_signal(self, step_id: str, signal: str, data: Any = None) -> None:
        """Wakes the one run of this app that waits for the signal."""
        self._runner.call(self._send_signal(step_id, signal, data))

    @overload
    def map(
        self,
        step_id: str,
        fn: Function[T],
        items: Iterable[Any],
        /,
        *,
        max_concurrency: int | None = ...,
        return_exceptions: bool = ...,
    ) -> list[T]: ...
    @overload
    def map(
        self,
        step_id: str,
        fn: Callable[[Any], T],
        items: Iterable[Any],
        /,
        *,
        max_concurrency: int | None = ...,
        return_exceptions: bool = ...,
    ) -> list[T]: ...
    def map(
        self,
        step_id: str,
        fn: Callable[..., Any] | Function[Any],
        items: Iterable[Any],
        /,
        *,
        max_concurrency: int | None = None,
        return_exceptions: bool = False,
    ) -> list[Any]:
        """Runs `fn` for each item in an invocation of its own; results in order."""
        step = self._map(step_id, fn, items, max_concurrency, return_exceptions)
        return self._runner.call(step)  # type: ignore[no-any-return]


def qualified_name(fn: Callable[..., Any], step_id: str) -> str:
    """`module:qualname` of a function that can be found by it, or a `ConfigError`."""
    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    found: object = None
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
