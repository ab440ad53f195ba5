"""Records as items of the table, and back. The one place that knows attribute names; `keys` knows where they stand.

Short attribute names, since DynamoDB bills their bytes too.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from stepbridge.core.codec import dump
from stepbridge.core.conditions import Item
from stepbridge.core.ids import step_key
from stepbridge.core.instants import from_ms, to_ms
from stepbridge.core.keys import REGISTER_PREFIX, run_pk, wait_key
from stepbridge.core.limits import FORMAT_VERSION
from stepbridge.core.records import (
    Armed,
    ArmedChild,
    ArmedMap,
    ArmedWait,
    Blob,
    EventRecord,
    Failure,
    Head,
    Kind,
    MapItem,
    Mark,
    Parent,
    Register,
    Role,
    Status,
    Stored,
    Timer,
    Wait,
)
from stepbridge.core.sealed import in_clear


# -- values ----------------------------------------------------------------------------------------
def stored_attributes(prefix: str, value: Stored | None) -> Item:
    """A stored value as attributes: `<p>` text, `<p>z` compressed, `<p>r` the key of a blob."""
    match value:
        case None:
            return {}
        case str():
            return {prefix: value}
        case bytes():
            return {prefix + "z": value}
        case Blob(key):
            return {prefix + "r": key}


def stored_value(item: Item, prefix: str) -> Stored | None:
    """The stored value under `prefix`, None where there is none."""
    if prefix in item:
        return str(in_clear(item[prefix]))
    if prefix + "z" in item:
        return bytes(in_clear(item[prefix + "z"]))  # type: ignore[call-overload, no-any-return]
    if prefix + "r" in item:
        return Blob(str(in_clear(item[prefix + "r"])))
    return None


def failure_text(failure: Failure) -> str:
    """A failure as an attribute."""
    return json.dumps([failure.name, failure.message, failure.stack])


def _failure(item: Item) -> Failure | None:
    if "er" not in item:
        return None
    name, message, stack = json.loads(str(in_clear(item["er"])))
    return Failure(name=name, message=message, stack=stack)


def _instant(item: Item, name: str) -> datetime | None:
    return from_ms(int(item[name])) if name in item else None


def _names(item: Item, name: str) -> tuple[str, ...]:
    text = str(item.get(name, ""))
    return tuple(text.split(",")) if text else ()


# Looked up in thousands where a long run is replayed, at a third of what calling the enum takes.
_KINDS: Final = {kind.value: kind for kind in Kind}
_MARKS: Final = {mark.value: mark for mark in Mark}


# -- registers -------------------------------------------------------------------------------------
def register_item(run_id: str, register: Register) -> Item:
    """A register as an item."""
    item: Item = {
        "pk": run_pk(run_id),
        "sk": REGISTER_PREFIX + register.key,
        "n": register.step_id,
        "k": register.kind.value,
        "st": register.mark.value,
        "t0": to_ms(register.started_at),
        "t1": to_ms(register.ended_at),
        **stored_attributes("v", register.value),
    }
    if register.occurrence:
        item["i"] = register.occurrence
    if register.attempts != 1 or register.mark is Mark.RETRY:  # what the next attempt's condition names
        item["at"] = register.attempts
    if register.failure is not None:
        item["er"] = failure_text(register.failure)
    if register.due_at is not None:
        item["du"] = to_ms(register.due_at)
    if register.order is not None:
        item["ep"], item["c"] = register.order
    if register.seen:
        item["sn"] = ",".join(register.seen)
    if register.event_id is not None:
        item["ei"] = register.event_id
    if register.places:
        item["pl"] = ",".join(register.places)
    return item


def register_of(item: Item) -> Register:
    """The register that an item holds."""
    return Register(
        key=str(item["sk"])[len(REGISTER_PREFIX) :],
        step_id=str(item["n"]),
        occurrence=int(item.get("i", 0)),
        kind=_KINDS[str(item["k"])],
        mark=_MARKS[str(item["st"])],
        value=stored_value(item, "v"),
        failure=_failure(item),
        attempts=int(item.get("at", 1)),
        due_at=_instant(item, "du"),
        order=(int(item["ep"]), int(item["c"])) if "ep" in item else None,
        seen=_names(item, "sn") if "sn" in item else (),
        started_at=from_ms(int(item["t0"])),
        ended_at=from_ms(int(item["t1"])),
        event_id=str(item["ei"]) if "ei" in item else None,
        places=_names(item, "pl") if "pl" in item else (),
    )


# -- what is armed ---------------------------------------------------------------------------------
_WAIT_TAGS: Final = {Kind.WAIT: "w", Kind.WAIT_ANY: "a", Kind.SIGNAL: "s"}
_WAIT_KINDS: Final = {tag: kind for kind, tag in _WAIT_TAGS.items()}


def armed_text(armed: tuple[Armed, ...]) -> str:
    """Armed waits and children as compact JSON; the keys of steps follow from their ids."""
    rows: list[list[Any]] = []
    for one in armed:
        deadline = None if one.deadline is None else to_ms(one.deadline)
        match one:
            case ArmedWait(places=places, kind=kind):
                rows.append([_WAIT_TAGS[kind], one.step_id, one.occurrence, deadline, *places])
            case ArmedChild(run_id=run_id, app=app):
                rows.append(["c", one.step_id, one.occurrence, deadline, run_id, *([app] if app else [])])
            case ArmedMap(count=count, children=children):
                rows.append(["m", one.step_id, one.occurrence, None, count, *([children] if children else [])])
    return dump(rows)


def armed_of(text: str) -> tuple[Armed, ...]:
    """The armed waits and children in `text`."""
    armed: list[Armed] = []
    for tag, step_id, occurrence, deadline_ms, *rest in json.loads(text or "[]"):
        key = step_key(step_id, occurrence)
        deadline = None if deadline_ms is None else from_ms(deadline_ms)
        if tag in _WAIT_KINDS and deadline is not None:
            armed.append(
                ArmedWait(
                    step_key=key,
                    step_id=step_id,
                    occurrence=occurrence,
                    places=tuple(rest),
                    deadline=deadline,
                    kind=_WAIT_KINDS[tag],
                )
            )
        elif tag == "m":
            armed.append(
                ArmedMap(step_key=key, step_id=step_id, occurrence=occurrence, count=rest[0], children=sum(rest[1:]))
            )
        else:
            armed.append(
                ArmedChild(
                    step_key=key,
                    step_id=step_id,
                    occurrence=occurrence,
                    run_id=rest[0],
                    deadline=deadline,
                    app="".join(rest[1:]),
                )
            )
    return tuple(armed)


def timers_text(timers: tuple[Timer, ...]) -> str:
    """Live timers as compact text."""
    return ",".join(f"{'s' if timer.scheduled else 'q'}{timer.due_ms}" for timer in timers)


# -- heads -----------------------------------------------------------------------------------------
def head_birth(head: Head) -> Item:
    """What a run's head gets once, when it is made; status, lease and epoch come with the claim."""
    event = head.event
    item: Item = {
        "f": FORMAT_VERSION,
        "fn": head.function_id,
        "ev": json.dumps([event.name, event.id, event.ts, event.source], ensure_ascii=False, separators=(",", ":")),
        "t0": to_ms(head.created_at),
        **stored_attributes("d", event.data),
    }
    if head.parent is not None:
        item["pa"] = dump(parent_row(head.parent))
    if head.extra:
        item["x"] = json.dumps(head.extra, separators=(",", ":"))
    return item


def parent_row(parent: Parent) -> list[Any]:
    """A parent as a row of JSON."""
    row: list[Any] = [parent.run_id, parent.step_key, parent.step_id, parent.occurrence]
    if parent.item is not None or parent.app:
        row += [None if parent.item is None else item_row(parent.item), parent.app]
    return row


def parent_of(row: list[Any]) -> Parent:
    """The parent that such a row names."""
    run_id, step_key, step_id, occurrence, *more = row
    item, app = more or (None, "")
    return Parent(
        run_id=run_id,
        step_key=step_key,
        step_id=step_id,
        occurrence=occurrence,
        item=None if item is None else map_item_of(item),
        app=app,
    )


def item_row(item: MapItem) -> list[Any]:
    """An item of a map as a row of JSON."""
    return [item.index, item.count, item.lanes, item.source, item.target]


def map_item_of(row: list[Any]) -> MapItem:
    """The item that such a row names."""
    index, count, lanes, source, target = row
    return MapItem(index=index, count=count, lanes=lanes, source=source, target=target)


def head_of(item: Item) -> Head:
    """The head that an item holds."""
    name, event_id, ts, source = json.loads(str(item["ev"]))
    return Head(
        run_id=str(item["pk"])[2:],
        function_id=str(item["fn"]),
        status=Status(str(item["st"])),
        epoch=int(item.get("ep", 0)),
        lease_until=_instant(item, "lx") if item.get("lx") else None,
        holder=str(item.get("ho", "")),
        wake=str(item.get("wk", "")),
        released_epoch=int(item.get("se", 0)),
        forgiven_epoch=int(item.get("fe", 0)),
        timers=tuple(Timer(due_ms=int(name[1:]), scheduled=name[0] == "s") for name in _names(item, "tm")),
        armed=armed_of(str(item.get("ar", ""))),
        idle_hand_overs=int(item.get("ih", 0)),
        pages=int(item.get("ap", 0)),
        seen=_names(item, "sn"),
        event=EventRecord(name=name, id=event_id, ts=ts, source=source, data=stored_value(item, "d")),
        parent=parent_of(json.loads(str(item["pa"]))) if "pa" in item else None,
        attempt=int(item.get("at", 0)),
        retry_at=_instant(item, "ra"),
        output=stored_value(item, "o"),
        failure=_failure(item),
        told=bool(item.get("td", 0)),
        created_at=from_ms(int(item["t0"])),
        started_at=_instant(item, "t1"),
        ended_at=_instant(item, "t2"),
        extra=json.loads(str(item.get("x", "{}"))),
    )


# -- waits -----------------------------------------------------------------------------------------
def wait_item(wait: Wait, ttl: int) -> Item:
    """A wait as an item of the match index; `ttl` in seconds since the epoch."""
    key = wait_key(wait.place, wait.run_id, wait.step_key)
    item: Item = {
        "pk": key.pk,
        "sk": key.sk,
        "n": wait.step_id,
        "en": wait.event_name,
        "t0": to_ms(wait.armed_at),
        "du": to_ms(wait.deadline),
        "ttl": ttl,
    }
    if wait.occurrence:
        item["i"] = wait.occurrence
    if wait.role is not Role.STEP:
        item["ro"] = wait.role.value
        item["ix"] = wait.index
    if wait.kind is not Kind.WAIT:
        item["k"] = wait.kind.value
    if wait.since_ms:
        item["si"] = wait.since_ms
    if wait.expression:
        item["ex"] = wait.expression
        item.update(stored_attributes("ev", wait.event))
    if wait.consumed:
        item["no"] = json.dumps(wait.consumed)
    return item


def wait_of(item: Item) -> Wait:
    """The wait that an item holds."""
    run_id, _, rest = str(item["sk"]).partition("#")
    step_key, turn, number = rest.partition("/")
    return Wait(
        place=f"{str(item['pk'])[2:]}{turn}{number}",
        run_id=run_id,
        step_key=step_key,
        step_id=str(item["n"]),
        occurrence=int(item.get("i", 0)),
        role=Role(str(item.get("ro", "step"))),
        index=int(item.get("ix", 0)),
        kind=Kind(str(item.get("k", Kind.WAIT.value))),
        event_name=str(item["en"]),
        since_ms=int(item.get("si", 0)),
        expression=str(item.get("ex", "")),
        event=stored_value(item, "ev") or "",
        consumed=tuple(json.loads(str(item.get("no", "[]")))),
        armed_at=from_ms(int(item["t0"])),
        deadline=from_ms(int(item["du"])),
    )
