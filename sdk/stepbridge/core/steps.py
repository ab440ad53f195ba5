"""What a handler may ask for, as data. Built by `stepbridge.step`, carried out by the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from stepbridge.core.records import Kind
from stepbridge.core.triggers import Pattern


class RunStep(NamedTuple):
    """Call `fn` once durably. Built by keyword; a tuple, as registers are, since each replay makes it anew."""

    step_id: str
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    hint: object
    retries: int | None = None
    timeout: timedelta | None = None
    once: bool = False
    """Never repeated silently: its start is recorded first."""
    kind: Kind = Kind.RUN


@dataclass(frozen=True, slots=True, kw_only=True)
class SleepStep:
    """Go on after `duration`, or at `until`."""

    step_id: str
    duration: timedelta = timedelta(0)
    until: datetime | None = None
    kind: Kind = Kind.SLEEP


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitStep:
    """Go on with the first event that one of the patterns wants, or with None."""

    step_id: str
    patterns: tuple[Pattern, ...]
    timeout: timedelta
    model: Any = None
    kind: Kind = Kind.WAIT
    """`WAIT_ANY`: the pattern's index is told beside the event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalStep:
    """Go on with what is sent to the one waiter of this name, or with None."""

    step_id: str
    signal: str
    timeout: timedelta
    kind: Kind = Kind.SIGNAL


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSignalStep:
    """Resolve the one waiter of this name."""

    step_id: str
    signal: str
    data: str
    """JSON text."""
    retries: int | None = None
    kind: Kind = Kind.SEND_SIGNAL


@dataclass(frozen=True, slots=True, kw_only=True)
class MapStep:
    """Run each item in an invocation of its own and go on with all results, in order."""

    step_id: str
    target: str
    """`module:qualname` of a function, or the id of one of the app's functions."""
    is_function: bool
    """`target` is one of the app's durable functions."""
    items: tuple[str, ...]
    """JSON texts."""
    max_concurrency: int | None
    return_exceptions: bool
    max_attempts: int
    hint: object
    kind: Kind = Kind.MAP


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeStep:
    """Run another function and go on with its output."""

    step_id: str
    function_id: str
    data: str
    """JSON text."""
    timeout: timedelta | None
    hint: object
    app: str | None = None
    """Another app on the bus."""
    kind: Kind = Kind.INVOKE


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An event to be sent. `data` is JSON text; an empty id or a zero `ts` is filled when it is sent."""

    name: str
    data: str
    id: str = ""
    ts: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendStep:
    """Put events on the bus."""

    step_id: str
    events: tuple[Draft, ...]
    retries: int | None = None
    kind: Kind = Kind.SEND


Step = RunStep | SleepStep | WaitStep | SignalStep | InvokeStep | MapStep | SendStep | SendSignalStep
BodyStep = RunStep | SendStep | SendSignalStep
"""Steps that run something in this invocation."""
