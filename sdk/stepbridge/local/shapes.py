"""Runs, functions and events as the JSON that the API, the command line and the console show."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, assert_never

from stepbridge.core.expression import MISSING, value_at
from stepbridge.core.ids import child_run_id, step_key
from stepbridge.core.items import wait_of
from stepbridge.core.keys import wait_key
from stepbridge.core.matching import places_of_event
from stepbridge.core.records import RERUN, Armed, ArmedChild, ArmedWait, Head, Kind, Status, Wait
from stepbridge.core.triggers import CronTrigger, EventTrigger, InvokeTrigger, Pattern, Trigger
from stepbridge.engine.across import foreign_child_id
from stepbridge.engine.payloads import Payloads
from stepbridge.function import Function
from stepbridge.local.sites import Records
from stepbridge.views import StepView

Json = dict[str, Any]
_Since = tuple[datetime, Json]
"""When a wait was armed, and what it wants."""
_PLACES_SHOWN: Final = 10
"""Of one wait; each is a read."""


def run_row(records: Records, head: Head) -> Json:
    """A run as a line of a list: nothing beside its head is read."""
    failure = head.failure
    return {
        "run_id": head.run_id,
        "app_id": records.app_id,
        "function_id": head.function_id,
        "status": head.status.value,
        "event": {"name": head.event.name, "id": head.event.id, "ts": head.event.ts, "source": head.event.source},
        "attempt": head.attempt,
        "error": None if failure is None else {"name": failure.name, "message": failure.message},
        "created_at": instant(head.created_at),
        "started_at": instant(head.started_at if head.epoch else None),
        "ended_at": instant(head.ended_at),
        "parent_id": None if head.parent is None else head.parent.run_id,
        "rerun_of": head.extra.get(RERUN),
    }


def trigger_text(records: Records, head: Head) -> str:
    """The data of the event that started the run, as JSON text."""
    return Payloads(records.ports.blobs).text(records.store.trigger_data(head))


def run_detail(records: Records, head: Head, app_ids: Sequence[str], app_of: Callable[[str], str | None]) -> Json:
    """A run with all that there is to know of it; `app_of` says whose run an id is, of the apps that are here."""
    view = records.reader.view(head)
    trigger = {name: getattr(view.event, name) for name in ("name", "data", "id", "ts", "source")}
    waiting = any(step.status == "WAITING" for step in view.steps.values())
    armed = (*(records.store.past(head.run_id).armed if head.pages else ()), *head.armed) if waiting else ()
    awaited = _awaited(records, head.run_id, armed, trigger)
    children = {one.step_key: one.run_id for one in armed if isinstance(one, ArmedChild)}

    def child_of(key: str) -> str | None:
        """The run that an invoke waits or waited for; None: it is of an app elsewhere, and has been told of."""
        ids = (child_run_id(head.run_id, key), *(foreign_child_id(head.run_id, key, app_id) for app_id in app_ids))
        return children.get(key) or next((one for one in ids if app_of(one) is not None), None)

    return {
        **run_row(records, head),
        "event": trigger,
        "output": view.output,
        "error": view.error,
        "retry_at": instant(None if head.status.is_terminal else head.retry_at),
        "steps": [_step(step, awaited, child_of) for step in view.steps.values()],
    }


def _step(step: StepView, awaited: Mapping[str, list[_Since]], child_of: Callable[[str], str | None]) -> Json:
    key = step_key(step.step_id, step.occurrence)
    wants = awaited.get(key, []) if step.status == "WAITING" else []
    return {
        "step_id": step.step_id,
        "occurrence": step.occurrence,
        "kind": step.kind,
        "status": step.status,
        "output": step.output,
        "error": step.error,
        "attempts": step.attempts,
        "started_at": instant(step.started_at),
        "ended_at": instant(step.ended_at),
        "due_at": instant(step.due_at),
        "armed_at": instant(min((armed_at for armed_at, _ in wants), default=None)),
        "waits_for": [want for _, want in wants],
        "child_run_id": child_of(key) if step.kind == Kind.INVOKE else None,
    }


def _awaited(records: Records, run_id: str, waits: Iterable[Armed], trigger: Json) -> dict[str, list[_Since]]:
    """What each armed wait wants, and since when, by step key; several where any of them will do.

    `match` holds the compared paths and values where they are the trigger's own; None: other values,
    which the index keeps as a hash only.
    """
    awaited: dict[str, list[_Since]] = {}
    for armed in waits:
        if isinstance(armed, ArmedWait):
            keys = [wait_key(place, run_id, armed.step_key) for place in armed.places[:_PLACES_SHOWN]]
            found = [wait_of(item) for key in keys if (item := records.ports.table.get(key)) is not None]
            awaited[armed.step_key] = [(wait.armed_at, _wanted(records, wait, trigger)) for wait in found]
    return awaited


def _wanted(records: Records, wait: Wait, trigger: Json) -> Json:
    if wait.kind is Kind.SIGNAL:
        return {"signal": wait.event_name}
    match = None if wait.expression else _match(records, wait, trigger)
    return {"event": wait.event_name, "match": match, "if_exp": wait.expression or None}


def _match(records: Records, wait: Wait, trigger: Json) -> Json | None:
    row = {**trigger, "name": wait.event_name}
    for signature in records.store.signatures(wait.event_name):
        if wait.place.partition("/")[0] in places_of_event(row, signature):
            values = {path: value_at(row, path) for path in json.loads(signature)}
            return {path: None if value is MISSING else value for path, value in values.items()}
    return None


def function_row(function: Function[Any], counts: Mapping[Status, int]) -> Json:
    """A function, and how many of its runs have which status."""
    return {
        "function_id": function.id,
        "app_id": function.app_id,
        "name": function.name,
        "triggers": [_trigger(trigger) for trigger in function.triggers],
        "retries": function.retries,
        "on_failure": None if function.on_failure is None else function.on_failure.id,
        "config": _config(function),
        "runs": {status.value: counts[status] for status in Status if counts[status]},
    }


def _config(function: Function[Any]) -> Json:
    """What was declared beside triggers and retries; only what was."""
    declared = {
        "cancel": [_pattern(one.pattern) | _span("timeout", one.timeout) for one in function.cancellers],
        "waits": [_pattern(one) for one in function.waits],
        "timeouts": _span("start", function.limits.start) | _span("finish", function.limits.finish),
        "idempotency": function.idempotency,
    }
    return {name: value for name, value in declared.items() if value}


def _pattern(pattern: Pattern) -> Json:
    row = {"event": pattern.event, "match": pattern.match, "if_exp": pattern.if_exp}
    back = pattern.lookback if isinstance(pattern.lookback, timedelta) else None
    return {name: value for name, value in row.items() if value is not None} | _span("lookback", back)


def _span(name: str, span: timedelta | None) -> Json:
    return {} if span is None else {f"{name}_seconds": span.total_seconds()}


def _trigger(trigger: Trigger) -> Json:
    match trigger:
        case EventTrigger():
            return {"event": trigger.name, "if_exp": trigger.if_exp, "source": trigger.source}
        case CronTrigger():
            return {"cron": trigger.cron.expression, "timezone": trigger.cron.timezone}
        case InvokeTrigger():
            return {"invoke": True}
        case _:
            assert_never(trigger)


def instant(at: datetime | None) -> str | None:
    """ISO 8601 in UTC with milliseconds."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
