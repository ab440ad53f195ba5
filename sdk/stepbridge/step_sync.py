"""`StepSync`: the steps of sync handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, ParamSpec, TypeVar, overload

from stepbridge.declare import Duration, EventMatch
from stepbridge.errors import ConfigError
from stepbridge.events import Event
from stepbridge.function import Function, is_async
from stepbridge.step import Sendable, Steps

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M")


class StepSync(Steps):
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
