"""EventBridge's envelope, as an event arrives in the queue."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final

from stepbridge.core.ids import digest
from stepbridge.core.instants import from_ms, to_ms
from stepbridge.core.limits import DEPTH_MAX, EVENT_ID_MAX, EVENT_NAME_MAX, EVENT_TS_MAX_MS

META = "_stepbridge"
"""The reserved key of `Detail` that carries an event's id and time; removed before user code sees it."""


TRACE: Final = "traceparent"
"""Under this name runs and messages carry the W3C trace context."""
SOURCE_MAX: Final = 256
"""Characters of an event's source. Source: EventBridge API, 2026-11."""
_TRACEPARENT: Final = re.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_TOO_DEEP: Final = f"the event is nested too deeply: {DEPTH_MAX} levels are allowed"


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
    """The event in an envelope. What it says of itself in `_stepbridge` counts only where it makes sense.

    Raises:
        ValueError: It is no envelope of an event with an object as detail; says what is wrong.
    """
    envelope = parsed(body)
    if not isinstance(envelope, dict) or not isinstance(name := envelope.get("detail-type"), str):
        message = "not an EventBridge envelope with a detail-type"
        raise ValueError(message)  # noqa: TRY004 - callers bury what is a ValueError
    if not 0 < len(name) <= EVENT_NAME_MAX:
        message = f"the event's name has {len(name)} characters, not 1 to {EVENT_NAME_MAX}"
        raise ValueError(message)
    name = _sendable(name)
    detail = envelope.get("detail")
    if not isinstance(detail, dict):
        message = f"the detail of event {name!r} is a {type(detail).__name__}, not an object"
        raise ValueError(message)  # noqa: TRY004 - callers bury what is a ValueError
    meta = detail.pop(META, None)
    meta = meta if isinstance(meta, dict) else {}
    ts = meta.get("ts")
    is_exact = type(ts) is int and 0 <= ts <= EVENT_TS_MAX_MS  # what else anybody may write there is no time
    accepted_ms = _envelope_ts(envelope, name)
    trace = meta.get("tp")
    return Incoming(
        row={
            "name": name,
            "data": detail,
            "id": _id(meta.get("id")) or _id(envelope.get("id")) or _no_id(name),
            "ts": ts if is_exact else accepted_ms,
            "source": _sendable(str(envelope.get("source", "")))[:SOURCE_MAX],
        },
        accepted_at=from_ms(accepted_ms),
        grain_ms=1 if is_exact else 1000,
        extra={TRACE: trace} if isinstance(trace, str) and _TRACEPARENT.fullmatch(trace) else {},
    )


def read(text: str) -> Any:
    """JSON that may be of a stranger.

    Raises:
        ValueError: It is none, or holds numbers that are none.
    """
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error


def parsed(body: str) -> Any:
    """JSON of a stranger.

    Raises:
        ValueError: It is none, or holds what cannot be written again: numbers that are none, too many levels.
    """
    value = read(body)
    if body.count("[") + body.count("{") > DEPTH_MAX and _is_deep(value):
        raise ValueError(_TOO_DEEP)
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEPTH_MAX + 1):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def _id(given: object) -> str:
    """The id, or its hash where keys and records could not hold it; empty: there is none."""
    if not isinstance(given, str):
        return ""
    return given if len(given) <= EVENT_ID_MAX and given == _sendable(given) else digest("event", given)


def _no_id(name: str) -> str:
    message = f"event {name!r} has no id"
    raise ValueError(message)


def _sendable(text: str) -> str:
    """The text, without what UTF-8 cannot carry."""
    return text.encode("utf-8", "replace").decode()


def _envelope_ts(envelope: dict[str, Any], name: str) -> int:
    try:
        instant = datetime.fromisoformat(str(envelope["time"]))
        ms = to_ms(instant if instant.tzinfo else instant.replace(tzinfo=UTC))
    except (KeyError, ValueError) as error:
        message = f"event {name!r} has no valid time"
        raise ValueError(message) from error
    if not 0 <= ms <= EVENT_TS_MAX_MS:
        message = f"event {name!r} has a time before 1970 or after the year 3000"
        raise ValueError(message)
    return ms


def _no_number(name: str) -> Any:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        message = "a number is too large for any float"
        raise ValueError(message)
    return number
