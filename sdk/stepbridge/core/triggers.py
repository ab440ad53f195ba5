"""What starts a function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stepbridge.core.cron import Cron
from stepbridge.core.expression import compile_expression


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTrigger:
    """Events of this name, or of names with this beginning where it ends in `*`."""

    name: str
    if_exp: str | None = None
    model: Any = None
    source: str | None = None

    def takes(self, event: Mapping[str, Any]) -> bool:
        """Whether this event starts the function."""
        if not self.names(str(event["name"])):
            return False
        if self.source is not None and event["source"] != self.source:
            return False
        if self.if_exp is None:
            return True
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


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeTrigger:
    """Nothing but `step.invoke`."""


Trigger = EventTrigger | CronTrigger | InvokeTrigger
