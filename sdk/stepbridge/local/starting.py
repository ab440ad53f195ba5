"""How a function is started by hand: the events that start it, and a run without one."""

from __future__ import annotations

import uuid
from typing import Any, Final

from stepbridge.app import App
from stepbridge.core import ids
from stepbridge.core.instants import to_ms
from stepbridge.core.messages import Start, message_text
from stepbridge.core.records import EventRecord
from stepbridge.core.triggers import EventTrigger
from stepbridge.engine.payloads import Payloads
from stepbridge.events import drafts_of
from stepbridge.function import Function
from stepbridge.local.sites import Records
from stepbridge.ports import Outgoing

INVOKED: Final = "stepbridge/function.invoked"
"""The trigger of a run that was invoked, where its function has no event of its own."""


def first_event_name(function: Function[Any]) -> str | None:
    """The name of an event that starts the function, None where there is none that anyone may send."""
    for trigger in function.triggers:
        if isinstance(trigger, EventTrigger) and not trigger.name.startswith("stepbridge/"):
            return trigger.name[:-1] + "example" if trigger.name.endswith("*") else trigger.name
    return None


def event_names(*apps: App) -> list[str]:
    """The events that start functions of these apps, one of each, sorted."""
    found = (first_event_name(function) for app in apps for function in app.functions.values())
    return sorted({name for name in found if name is not None})


def start_run(records: Records, function_id: str, event_name: str | None, data: object, *, source: str) -> str:
    """Starts a run of one function, as if an event of this name had come; its id.

    Raises:
        ConfigError: The data is not a JSON object.
    """
    (draft,) = drafts_of({"name": "invoke", "data": data}, what=f"invoke {function_id!r}")
    event_id, now = str(uuid.uuid4()), records.ports.clock.now()
    name = event_name or INVOKED
    run_id = ids.run_id(records.app_id, function_id, name, event_id)
    kept = Payloads(records.ports.blobs).keep(draft.data, run_id)
    event = EventRecord(name=name, id=event_id, ts=to_ms(now), source=source, data=kept)
    start = Start(run_id=run_id, function_id=function_id, event=event, created_at=now)
    records.ports.queue.send([Outgoing(body=message_text(start))])
    return run_id
