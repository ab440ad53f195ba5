"""What an app wants of the bus: the data behind its EventBridge rule."""

from __future__ import annotations

from stepbridge.app import App
from stepbridge.core.triggers import EventTrigger
from stepbridge.engine.across import names_for
from stepbridge.events import RESERVED_PREFIX


def system_triggers(app: App) -> tuple[EventTrigger, ...]:
    """The triggers that system events may fire: those whose name, or whose beginning, is reserved."""
    triggers = (trigger for function in app.functions.values() for trigger in function.triggers)
    return tuple(t for t in triggers if isinstance(t, EventTrigger) and t.name.startswith(RESERVED_PREFIX))


def wants(app: App, event_name: str) -> bool:
    """Whether the app's rule lets an event of this name through: all but system events that nobody triggers on."""
    if not event_name.startswith(RESERVED_PREFIX) or event_name in names_for(app.id):
        return True
    return any(trigger.names(event_name) for trigger in system_triggers(app))
