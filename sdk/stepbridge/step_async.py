"""`Step`: the steps of async handlers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, ParamSpec, TypeVar, overload

from stepbridge.declare import Duration, EventMatch
from stepbridge.events import Event
from stepbridge.function import Function
from stepbridge.step import Sendable, Steps

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M")


class Step(Steps):
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
