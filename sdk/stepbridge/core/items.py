"""Records as items of the table, and back. The one place that knows attribute names.

    pk            sk               item
    R#<run>       #                head; stays under 1 KB, because every update is billed on all of it
    R#<run>       #armed#<n>       a page of armed waits and children, when the head cannot hold them
    R#<run>       #in, #out        the trigger's data, the output, when the head cannot hold them
    R#<run>       S#<step key>     register
    W#<place>     <run>#<step>     wait; `place` hashes event name, signature and values
    REG           SIG#<event>      the signatures of an event name

Short attribute names, since DynamoDB bills their bytes too.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from stepbridge.core.codec import dump
from stepbridge.core.conditions import Item, Key
from stepbridge.core.ids import step_key
from stepbridge.core.instants import from_ms, to_ms
from stepbridge.core.limits import FORMAT_VERSION
from stepbridge.core.records import (
    Armed,
    ArmedChild,
    ArmedWait,
    Blob,
    EventRecord,
    Failure,
    Head,
    Kind,
    Mark,
    Parent,
    Register,
    Status,
    Stored,
    Timer,
    Wait,
)

HEAD_SK: Final = "#"
REGISTER_PREFIX: Final = "S#"


def run_pk(run_id: str) -> str:
    """The partition of a run."""
    return f"R#{run_id}"


def head_key(run_id: str) -> Key:
    """Where a run's head stands."""
    return Key(run_pk(run_id), HEAD_SK)


def register_key(run_id: str, step_key: str) -> Key:
    """Where a step's register stands."""
    return Key(run_pk(run_id), REGISTER_PREFIX + step_key)


def page_key(run_id: str, number: int) -> Key:
    """Where a page of armed waits and children stands."""
    return Key(run_pk(run_id), f"#armed#{number:06}")


def side_key(run_id: str, name: str) -> Key:
    """Where a value stands that the head cannot hold; `name` is `in` or `out`."""
    return Key(run_pk(run_id), f"#{name}")


def wait_key(place: str, run_id: str, step_key: str) -> Key:
    """Where a wait stands in the match index."""
    return Key(f"W#{place}", f"{run_id}#{step_key}")


def signatures_key(event_name: str) -> Key:
    """Where the signatures of an event name stand."""
    return Key("REG", f"SIG#{event_name}")


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
        return str(item[prefix])
    if prefix + "z" in item:
        return bytes(item[prefix + "z"])  # type: ignore[arg-type]
    if prefix + "r" in item:
        return Blob(str(item[prefix + "r"]))
    return None


def failure_text(failure: Failure) -> str:
    """A failure as an attribute."""
    return json.dumps([failure.name, failure.message, failure.stack])


def _failure(item: Item) -> Failure | None:
    if "er" not in item:
        return None
    name, message, stack = json.loads(str(item["er"]))
    return Failure(name=name, message=message, stack=stack)


def _instant(item: Item, name: str) -> datetime | None:
    return from_ms(int(item[name])) if name in item else None


def _names(item: Item, name: str) -> tuple[str, ...]:
    text = str(item.get(name, ""))
    return tuple(text.split(",")) if text else ()


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
    if register.attempts != 1:
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
    return item


def register_of(item: Item) -> Register:
    """The register that an item holds."""
    return Register(
        key=str(item["sk"])[len(REGISTER_PREFIX) :],
        step_id=str(item["n"]),
        occurrence=int(item.get("i", 0)),
        kind=Kind(str(item["k"])),
        mark=Mark(str(item["st"])),
        value=stored_value(item, "v"),
        failure=_failure(item),
        attempts=int(item.get("at", 1)),
        due_at=_instant(item, "du"),
        order=(int(item["ep"]), int(item["c"])) if "ep" in item else None,
        seen=_names(item, "sn"),
        started_at=from_ms(int(item["t0"])),
        ended_at=from_ms(int(item["t1"])),
        event_id=str(item["ei"]) if "ei" in item else None,
    )


# -- what is armed ---------------------------------------------------------------------------------
def armed_text(armed: tuple[Armed, ...]) -> str:
    """Armed waits and children as compact JSON; the keys of steps follow from their ids."""
    rows: list[list[Any]] = []
    for one in armed:
        deadline = None if one.deadline is None else to_ms(one.deadline)
        tag, rest = ("w", one.places) if isinstance(one, ArmedWait) else ("c", (one.run_id,))
        rows.append([tag, one.step_id, one.occurrence, deadline, *rest])
    return dump(rows)


def armed_of(text: str) -> tuple[Armed, ...]:
    """The armed waits and children in `text`."""
    armed: list[Armed] = []
    for tag, step_id, occurrence, deadline_ms, *rest in json.loads(text or "[]"):
        key = step_key(step_id, occurrence)
        deadline = None if deadline_ms is None else from_ms(deadline_ms)
        if tag == "w" and deadline is not None:
            armed.append(
                ArmedWait(step_key=key, step_id=step_id, occurrence=occurrence, places=tuple(rest), deadline=deadline)
            )
        else:
            armed.append(
                ArmedChild(step_key=key, step_id=step_id, occurrence=occurrence, run_id=rest[0], deadline=deadline)
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
        item["pa"] = dump([head.parent.run_id, head.parent.step_key, head.parent.step_id, head.parent.occurrence])
    if head.extra:
        item["x"] = json.dumps(head.extra, separators=(",", ":"))
    return item


def parent_of(row: list[Any]) -> Parent:
    """The parent that a row of run, step key, step id and occurrence names."""
    run_id, step_key, step_id, occurrence = row
    return Parent(run_id=run_id, step_key=step_key, step_id=step_id, occurrence=occurrence)


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
        timers=tuple(Timer(due_ms=int(name[1:]), scheduled=name[0] == "s") for name in _names(item, "tm")),
        armed=armed_of(str(item.get("ar", ""))),
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
    if wait.expression:
        item["ex"] = wait.expression
        item["ev"] = wait.event
    if wait.consumed:
        item["no"] = json.dumps(wait.consumed)
    return item


def wait_of(item: Item) -> Wait:
    """The wait that an item holds."""
    run_id, _, step_key = str(item["sk"]).partition("#")
    return Wait(
        place=str(item["pk"])[2:],
        run_id=run_id,
        step_key=step_key,
        step_id=str(item["n"]),
        occurrence=int(item.get("i", 0)),
        event_name=str(item["en"]),
        expression=str(item.get("ex", "")),
        event=str(item.get("ev", "")),
        consumed=tuple(json.loads(str(item.get("no", "[]")))),
        armed_at=from_ms(int(item["t0"])),
        deadline=from_ms(int(item["du"])),
    )
