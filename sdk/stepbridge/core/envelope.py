"""EventBridge's envelope, as an event arrives in the queue."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from stepbridge.core.instants import from_ms, to_ms
from stepbridge.core.limits import EVENT_TS_MAX_MS

META = "_stepbridge"
"""The reserved key of `Detail` that carries an event's id and time; removed before user code sees it."""


TRACE: Final = "traceparent"
"""Under this name runs and messages carry the W3C trace context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """An event from the bus."""

    row: dict[str, Any]
    """As expressions and handlers see it: name, data, id, ts, source."""
    extra: dict[str, str]
    """Trace context."""
    accepted_at: datetime
    """When EventBridge took it in; whole seconds."""
    grain_ms: int = 1
    """How exact its time is: EventBridge's own is in whole seconds."""


def event_of(body: str) -> Incoming:
    """The event in an envelope.

    Raises:
        ValueError: It is no envelope of an event with an object as detail; says what is wrong.
    """
    try:
        envelope = json.loads(body, parse_constant=_no_constant)
    except RecursionError as error:
        message = "the event is nested too deeply to be parsed"
        raise ValueError(message) from error
    if not isinstance(envelope, dict) or not isinstance(envelope.get("detail-type"), str):
        message = "not an EventBridge envelope with a detail-type"
        raise ValueError(message)  # noqa: TRY004 - callers bury what is a ValueError
    detail = envelope.get("detail")
    if not isinstance(detail, dict):
        message = f"the detail of event {envelope['detail-type']!r} is a {type(detail).__name__}, not an object"
        raise ValueError(message)  # noqa: TRY004 - callers bury what is a ValueError
    meta = detail.pop(META, None)
    meta = meta if isinstance(meta, dict) else {}
    event_id = meta.get("id")
    ts = meta.get("ts")
    has_ts = type(ts) is int and 0 <= ts <= EVENT_TS_MAX_MS  # what else anybody may write there is no time
    return Incoming(
        row={
            "name": envelope["detail-type"],
            "data": detail,
            "id": event_id if isinstance(event_id, str) and event_id else str(envelope.get("id", "")),
            "ts": ts if has_ts else _envelope_ts(envelope),
            "source": str(envelope.get("source", "")),
        },
        accepted_at=from_ms(_envelope_ts(envelope)),
        grain_ms=1 if has_ts else 1000,
        extra={TRACE: meta["tp"]} if isinstance(meta.get("tp"), str) else {},
    )


def _envelope_ts(envelope: dict[str, Any]) -> int:
    try:
        instant = datetime.fromisoformat(str(envelope["time"]))
    except (KeyError, ValueError) as error:
        message = f"event {envelope['detail-type']!r} has no valid time: {envelope.get('time')!r}"
        raise ValueError(message) from error
    return to_ms(instant if instant.tzinfo else instant.replace(tzinfo=UTC))


def _no_constant(name: str) -> Any:
    message = f"{name} is not JSON"
    raise ValueError(message)
