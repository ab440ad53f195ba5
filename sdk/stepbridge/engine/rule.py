"""What an app wants of the bus: the data behind its EventBridge rule."""

from __future__ import annotations

from stepbridge.app import App
from stepbridge.core.triggers import EventTrigger
from stepbridge.engine.across import names_for
from stepbridge.events import RESERVED_PREFIX


def declared(app: App) -> tuple[EventTrigger, ...]:
    """The events that the app has declared: as triggers, awaited events, or events that cancel."""
    found: list[EventTrigger] = []
    for function in app.functions.values():
        found += [trigger for trigger in function.triggers if isinstance(trigger, EventTrigger)]
        patterns = (*function.waits, *(canceller.pattern for canceller in function.cancellers))
        found += [EventTrigger(name=pattern.event) for pattern in patterns]
    return tuple(found)


def system_triggers(app: App) -> tuple[EventTrigger, ...]:
    """Those of them that are system events."""
    return tuple(trigger for trigger in declared(app) if trigger.name.startswith(RESERVED_PREFIX))


def wants(app: App, event_name: str, *, narrow: bool = False) -> bool:
    """Whether the app's rule lets an event of this name through, whatever its source.

    All but system events that nobody triggers on; under a narrow rule only what is declared.
    """
    if narrow and event_name not in names_for(app.id):
        return any(trigger.source is None and trigger.names(event_name) for trigger in declared(app))
    if not event_name.startswith(RESERVED_PREFIX) or event_name in names_for(app.id):
        return True
    return any(trigger.names(event_name) for trigger in system_triggers(app))
