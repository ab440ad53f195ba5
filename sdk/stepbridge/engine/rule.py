"""What an app wants of the bus: the data behind its EventBridge rule."""

from __future__ import annotations

from stepbridge.app import App
from stepbridge.core.triggers import EventTrigger
from stepbridge.engine.across import names_for
from stepbridge.events import RESERVED_PREFIX


def wants(app: App, event_name: str) -> bool:
    """Whether the app's rule lets an event of this name through: all but system events nobody triggers on."""
    if not event_name.startswith(RESERVED_PREFIX):
        return True
    if event_name in names_for(app.id):
        return True
    triggers = (trigger for function in app.functions.values() for trigger in function.triggers)
    return any(isinstance(trigger, EventTrigger) and trigger.names(event_name) for trigger in triggers)
