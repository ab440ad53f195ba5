"""`Context` and `ContextSync`: what a handler gets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar, cast

from stepbridge.core.durations import shown
from stepbridge.errors import ConfigError
from stepbridge.events import DataT, Event
from stepbridge.step import CURRENT, Runner
from stepbridge.step_async import Step
from stepbridge.step_sync import StepSync

T = TypeVar("T")


class Run(Protocol):
    """What a context shows of its run: the engine's session, or the stand-in of a unit test."""

    @property
    def run_id(self) -> str:
        """The run's id."""

    @property
    def function_id(self) -> str:
        """The function's id."""

    @property
    def attempt(self) -> int:
        """Of the body, from 0."""

    @property
    def max_attempts(self) -> int:
        """Of the body and of steps."""

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """Silent while replaying."""

    def now(self) -> datetime:
        """The backend's clock."""


class RunnerSync(Runner, Protocol):
    """What carries the steps of a sync handler out."""

    def parallel(self, branches: Sequence[Callable[[], Any]]) -> list[Any]:
        """Runs the branches; an exception stands for the value of its branch."""


class _Shared(Generic[DataT]):
    """What both colours have."""

    def __init__(self, run: Run, event: Event[DataT]) -> None:
        self._run = run
        self.event = event
        self.events = [event]
        self.run_id = run.run_id
        self.function_id = run.function_id
        self.max_attempts = run.max_attempts

    @property
    def attempt(self) -> int:
        """From 0, of the step whose function is running, or of the body."""
        step = CURRENT.get()
        return self._run.attempt if step is None else step.attempt

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """Carries function, run and step ids; silent while recorded steps are replayed."""
        return self._run.logger

    @property
    def now(self) -> datetime:
        """Aware UTC from the backend's clock. Not recorded: read it in a step where replay matters."""
        return self._run.now()


class Context(_Shared[DataT]):
    """What an async handler gets."""

    def __init__(self, run: Run, runner: Runner, event: Event[DataT]) -> None:
        super().__init__(run, event)
        self.step = Step(runner, retries=run.max_attempts - 1)
        self.group = Group()


class ContextSync(_Shared[DataT]):
    """What a sync handler gets: the same members, blocking."""

    def __init__(self, run: Run, runner: RunnerSync, event: Event[DataT]) -> None:
        super().__init__(run, event)
        self.step = StepSync(runner, retries=run.max_attempts - 1)
        self.group = GroupSync(runner)


class Group:
    """Branches of an async handler; `asyncio.gather` and `TaskGroup` work as well."""

    async def parallel(
        self, callables: Sequence[Callable[[], Awaitable[T]]], *, return_exceptions: bool = False
    ) -> tuple[T, ...]:
        """The values of all branches, in their order, once all have ended.

        Raises:
            Exception: The first failed branch's, in their order; with `return_exceptions` it stands in
                the branch's place instead.
        """
        results = await asyncio.gather(*(branch() for branch in _branches(callables)), return_exceptions=True)
        return _values(results, return_exceptions=return_exceptions)


class GroupSync:
    """Branches of a sync handler."""

    def __init__(self, runner: RunnerSync) -> None:
        self._runner = runner

    def parallel(self, callables: Sequence[Callable[[], T]], *, return_exceptions: bool = False) -> tuple[T, ...]:
        """The values of all branches, in their order, once all have ended; see `Group.parallel`."""
        return _values(self._runner.parallel(_branches(callables)), return_exceptions=return_exceptions)


def _branches(given: Sequence[Callable[[], T]]) -> list[Callable[[], T]]:
    """The branches, once it is sure that they can be called: a step's own call instead is an easy slip."""
    if not isinstance(given, Iterable):
        raise ConfigError(f"group.parallel: {shown(given)} holds no branches. Mend: (lambda: ctx.step.run(...), ...).")
    given = list(given)
    for index, branch in enumerate(given):
        if not callable(branch):
            message = f"group.parallel: branch {index} is no function. Mend: (lambda: ctx.step.run(...), ...)."
            raise ConfigError(message)
    return given


def _values(results: Sequence[T | BaseException], *, return_exceptions: bool) -> tuple[T, ...]:
    for result in results:
        if isinstance(result, BaseException) and not return_exceptions:
            raise result
    return cast("tuple[T, ...]", tuple(results))
