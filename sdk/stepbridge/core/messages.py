"""What the engine sends to itself over the queue, as JSON text.

Scheduler cannot set message attributes, so a message also bears the top-level key `stepbridge`; an event
cannot, because EventBridge wraps it in its envelope.
"""

from __future__ import annotations

import json
import typing
import zlib
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from stepbridge.core.codec import unsqueeze
from stepbridge.core.envelope import read
from stepbridge.core.ids import is_id
from stepbridge.core.instants import from_ms, to_ms
from stepbridge.core.items import parent_of, parent_row
from stepbridge.core.limits import EVENT_TS_MAX_MS, FORMAT_VERSION, FUNCTION_ID_MAX, OCCURRENCES_MAX, STEP_ID_MAX
from stepbridge.core.records import Blob, EventRecord, MapItem, Parent, Stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Begin a run; only this may create one."""

    run_id: str
    function_id: str
    event: EventRecord
    parent: Parent | None = None
    created_at: datetime
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """Advance a run that exists. `due_at`: not before this instant."""

    run_id: str
    why: str
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Advance a run that was parked."""

    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """End a run that has not ended, even one that has not begun."""

    run_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A function's scheduled time has come."""

    function_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Run a function for one item of a map step."""

    parent: Parent
    target: str
    """`module:qualname`."""
    value: Stored
    """JSON text."""
    attempt: int = 0
    max_attempts: int
    due_at: datetime | None = None
    extra: dict[str, str] = field(default_factory=dict)


Work = Start | Go | Resume | Cancel | Tick | Item


def message_text(work: Work) -> str:
    """The body of the message that asks for `work`."""
    return json.dumps({"stepbridge": FORMAT_VERSION, **_row(work)}, ensure_ascii=False, separators=(",", ":"))


def _row(work: Work) -> dict[str, Any]:
    match work:
        case Start():
            return _start_row(work)
        case Go():
            return {"k": "go", "r": work.run_id, "why": work.why, **_due(work.due_at)}
        case Resume():
            return {"k": "resume", "r": work.run_id}
        case Cancel():
            return {"k": "cancel", "r": work.run_id, "why": work.reason}
        case Tick():
            return {"k": "tick", "f": work.function_id, "at": work.at.isoformat()}
        case Item():
            return {
                "k": "item",
                "p": parent_row(work.parent),
                "f": work.target,
                "v": _stored_row(work.value),
                "n": [work.attempt, work.max_attempts],
                **_due(work.due_at),
                **({"x": work.extra} if work.extra else {}),
            }


def _start_row(work: Start) -> dict[str, Any]:
    event = work.event
    row: dict[str, Any] = {
        "k": "start",
        "r": work.run_id,
        "f": work.function_id,
        "e": [event.name, event.id, event.ts, event.source],
        "d": _stored_row(event.data or "{}"),
        "t": to_ms(work.created_at),
    }
    if work.parent is not None:
        row["p"] = parent_row(work.parent)
    if work.extra:
        row["x"] = work.extra
    return row


def _due(due_at: datetime | None) -> dict[str, int]:
    return {} if due_at is None else {"due": to_ms(due_at)}


def work_of(body: str) -> Work:
    """The work that a message asks for.

    Raises:
        ValueError: It is not one of the engine's messages, or of a later version.
    """
    try:
        work = _work_of(body)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
        message = f"not a message of this engine: {type(error).__name__}"
        raise ValueError(message) from error
    if (problem := _problem(work)) is not None:
        message = f"not a message of this engine: {problem}"
        raise ValueError(message)
    return work


# -- whoever may send to the queue may send such a one ---------------------------------------------
def _problem(work: Work) -> str | None:
    """What is wrong with work that is of the right kind; ids become keys, and instants are added to."""
    match work:
        case Start():
            return _start_problem(work) or parent_problem(work.parent) or _extra_problem(work.extra)
        case Item():
            if work.parent.item is None or not all(isinstance(text, str) for text in (work.target, work.parent.app)):
                return "it names no item, or no function"
            if not all(type(number) is int and number >= 0 for number in (work.attempt, work.max_attempts)):
                return "its attempts are no numbers"
            return parent_problem(work.parent) or _extra_problem(work.extra)
        case Tick():
            return function_problem(work.function_id) or _time_problem(to_ms(work.at))
        case Cancel() if not isinstance(work.reason, str):
            return "its reason is no text"
        case _:
            return None if is_id(work.run_id) else "its run has no id of ours"


def _start_problem(work: Start) -> str | None:
    event = work.event
    if not is_id(work.run_id):
        return "its run has no id of ours"
    if not all(isinstance(text, str) for text in (event.name, event.id, event.source)):
        return "its event is malformed"
    return function_problem(work.function_id) or _time_problem(event.ts) or _data_problem(event.data)


def _data_problem(data: Stored | None) -> str | None:
    """What is wrong with a trigger's data; what is kept apart is looked at when the run begins."""
    if isinstance(data, Blob):
        return None
    try:
        found = read(unsqueeze(data or "{}"))
    except (ValueError, zlib.error):
        return "its event's data cannot be read"
    return None if isinstance(found, dict) else "its event's data is no object"


def function_problem(function_id: object) -> str | None:
    """What is wrong with a function's id as a stranger may name it."""
    try:
        known = isinstance(function_id, str) and 0 < len(function_id.encode()) <= FUNCTION_ID_MAX
    except UnicodeEncodeError:
        known = False
    return None if known else "it names no function"


def _time_problem(ms: object) -> str | None:
    return None if type(ms) is int and 0 <= ms <= EVENT_TS_MAX_MS else "it names no time"


def parent_problem(parent: Parent | None) -> str | None:
    """What is wrong with a parent as a stranger may name it."""
    if parent is None:
        return None
    if not is_id(parent.run_id) or not is_id(parent.step_key) or not is_id(parent.app or "-"):
        return "its parent has no ids of ours"
    match parent.step_id, parent.occurrence, parent.item:
        case str(step_id), int(occurrence), item if len(step_id) <= STEP_ID_MAX and 0 <= occurrence < OCCURRENCES_MAX:
            return None if item is None else _item_problem(item)
    return "its parent's step is malformed"


def _item_problem(item: MapItem) -> str | None:
    numbers, texts = (item.index, item.count, item.lanes), (item.source, item.target)
    if all(type(n) is int for n in numbers) and all(isinstance(text, str) for text in texts):
        return None if 0 <= item.index < item.count and item.lanes >= 0 else "its item is outside its map"
    return "its item is malformed"


def _extra_problem(extra: object) -> str | None:
    if isinstance(extra, dict) and all(isinstance(text, str) for text in extra.values()):
        return None
    return "what it carries along is no texts"


def _work_of(body: str) -> Work:
    row = json.loads(body)
    if not isinstance(row, dict) or row.get("stepbridge") != FORMAT_VERSION:
        message = f"not a message of this engine's format version {FORMAT_VERSION}"
        raise ValueError(message)
    match row["k"]:
        case "start":
            name, event_id, ts, source = row["e"]
            return Start(
                run_id=row["r"],
                function_id=row["f"],
                event=EventRecord(name=name, id=event_id, ts=ts, source=source, data=_stored(row["d"])),
                parent=parent_of(row["p"]) if "p" in row else None,
                created_at=_instant(row["t"]),
                extra=row.get("x", {}),
            )
        case "go":
            return Go(run_id=row["r"], why=row["why"], due_at=_instant(row["due"]) if "due" in row else None)
        case "resume":
            return Resume(run_id=row["r"])
        case "cancel":
            return Cancel(run_id=row["r"], reason=row["why"])
        case "tick":
            return Tick(function_id=row["f"], at=datetime.fromisoformat(row["at"]).astimezone(UTC))
        case "item":
            return Item(
                parent=parent_of(row["p"]),
                target=row["f"],
                value=_stored(row["v"]),
                attempt=row["n"][0],
                max_attempts=row["n"][1],
                due_at=_instant(row["due"]) if "due" in row else None,
                extra=row.get("x", {}),
            )
        case other:
            message = f"unknown kind of message {other!r}"
            raise ValueError(message)


def _instant(ms: object) -> datetime:
    if (problem := _time_problem(ms)) is not None:
        message = f"not a message of this engine: {problem}"
        raise ValueError(message)
    return from_ms(typing.cast("int", ms))


def _stored_row(stored: Stored) -> list[str]:
    match stored:
        case str():
            return ["t", stored]
        case bytes():
            return ["z", b64encode(stored).decode()]
        case Blob(key):
            return ["r", key]


def _stored(row: list[str]) -> Stored:
    tag, text = row
    if not isinstance(text, str):
        message = "not a message of this engine: a value is no text"
        raise ValueError(message)  # noqa: TRY004 - callers bury what is a ValueError
    match tag:
        case "t":
            return text
        case "z":
            return b64decode(text)
        case "r":
            return Blob(text)
    message = f"not a message of this engine: a value of the unknown kind {tag!r}"
    raise ValueError(message)
