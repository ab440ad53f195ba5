"""What starts a function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepbridge.core.cron import Cron


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTrigger:
    """Events of this name, or of names with this beginning where it ends in `*`."""

    name: str
    if_exp: str | None = None
    model: Any = None
    source: str | None = None
    problem: str = ""
    """What is wrong with it; told by the function that it is given to, by name."""

    def takes(self, event: Mapping[str, Any]) -> bool:
        """Whether this event starts the function."""
        if not self.names(str(event["name"])):
            return False
        if self.source is not None and event["source"] != self.source:
            return False
        if self.if_exp is None:
            return True
        from stepbridge.core.expression import compile_expression

        return compile_expression(self.if_exp, variables=("event",)).evaluate({"event": event})

    def names(self, event_name: str) -> bool:
        """Whether an event of this name is meant."""
        if self.name.endswith("*"):
            return event_name.startswith(self.name[:-1])
        return event_name == self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class CronTrigger:
    """Scheduled times."""

    cron: Cron
    problem: str = ""
    """What is wrong with it, as with an event trigger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeTrigger:
    """Nothing but `step.invoke`."""


Trigger = EventTrigger | CronTrigger | InvokeTrigger


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """Which events are wanted. Not both `match` and `if_exp`; neither: all of the name."""

    event: str
    match: str | Mapping[str, object] | None = None
    if_exp: str | None = None
    lookback: timedelta | bool | None = None
    """How far back an event counts; True: as far as was declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canceller:
    """Events that cancel a run, for as long as `timeout` after it began; None: as long as it lasts."""

    pattern: Pattern
    timeout: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a run may be queued before it starts, and last once it has started."""

    start: timedelta | None = None
    finish: timedelta | None = None
