"""Time skipped for one run: what it waits for next is due now.

Only for a world of our own: the due time is changed where it is recorded, as if the clock had come there, while
every other run keeps its time. Rejected: moving the server's clock, which would fire everything else that is due
until then, schedules included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from stepbridge.core.conditions import Absent, Among, Change, Value, both, equals
from stepbridge.core.instants import from_ms, to_ms
from stepbridge.core.items import armed_of, armed_text
from stepbridge.core.keys import head_key, page_key, register_key
from stepbridge.core.messages import Go, message_text
from stepbridge.core.records import Armed, ArmedMap, Head, Mark, Register, Status
from stepbridge.engine.store import Store
from stepbridge.ports import Outgoing, Ports

_IDLE = Among("st", (Status.SLEEPING.value, Status.QUEUED.value))


def wake(ports: Ports, head: Head) -> datetime | None:
    """Makes the earliest due time of a run that is not being executed come now, and has it go on.

    Returns:
        The due time that it was; None: the run waits for nothing that time brings, or has moved on meanwhile.
    """
    store, now = Store(ports.table), ports.clock.now()
    past = store.past(head.run_id)
    due = min(_dues(head, past.registers, past.armed, now), default=None)
    if due is None:
        return None
    change: dict[str, Value] = {"lx": 0}
    if head.retry_at == due:
        change["ra"] = to_ms(now)
    if any(one.deadline == due for one in head.armed):
        change["ar"] = armed_text(_hastened(head.armed, due, now))
    unmoved = equals("ep", head.epoch) if head.epoch else Absent("ep")
    if not ports.table.update(head_key(head.run_id), Change(set=change), both(_IDLE, unmoved)).ok:
        return None
    for register in past.registers:
        if register.due_at == due:
            ports.table.update(register_key(head.run_id, register.key), Change(set={"du": to_ms(now)}))
    for number in range(head.pages):
        key = page_key(head.run_id, number)
        item = ports.table.get(key) or {}
        text = armed_text(_hastened(armed_of(str(item.get("ar", ""))), due, now))
        ports.table.update(key, Change(set={"ar": text}))
    ports.queue.send([Outgoing(body=message_text(Go(run_id=head.run_id, why="skipped time")))])
    return due


def _dues(head: Head, registers: list[Register], paged: tuple[Armed, ...], now: datetime) -> Iterator[datetime]:
    """What the run waits for, as far as time brings it."""
    if head.status is Status.QUEUED and head.event.ts > to_ms(now):
        yield from_ms(head.event.ts)
        return
    if head.retry_at is not None:  # the body: nothing else is looked at before
        yield head.retry_at
        return
    recorded = {register.key for register in registers if register.mark in {Mark.OK, Mark.ERROR}}
    for register in registers:
        if register.mark in {Mark.DUE, Mark.RETRY} and register.due_at is not None and register.due_at > now:
            yield register.due_at
    for armed in (*paged, *head.armed):
        if armed.deadline is not None and armed.step_key not in recorded and armed.step_id[:1] != "~":
            yield armed.deadline


def _hastened(armed: tuple[Armed, ...], due: datetime, now: datetime) -> tuple[Armed, ...]:
    return tuple(
        replace(one, deadline=now) if not isinstance(one, ArmedMap) and one.deadline == due else one for one in armed
    )
