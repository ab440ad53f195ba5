"""What a handler may ask for, as data. Built by `stepbridge.step`, carried out by the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from stepbridge.core.records import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStep:
    """Call `fn` once durably."""

    step_id: str
    fn: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    hint: object
    retries: int | None = None
    timeout: timedelta | None = None
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
    """Go on with the first event that matches, or with None."""

    step_id: str
    event: str
    match: str | Mapping[str, object] | None
    if_exp: str | None
    timeout: timedelta
    model: Any = None
    kind: Kind = Kind.WAIT


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeStep:
    """Run another function and go on with its output."""

    step_id: str
    function_id: str
    data: str
    """JSON text."""
    timeout: timedelta | None
    hint: object
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


Step = RunStep | SleepStep | WaitStep | InvokeStep | SendStep
