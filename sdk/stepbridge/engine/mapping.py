"""Map steps: every item in an invocation of its own, joined by shards, so that the parent is woken once.

Each finisher writes its item's register, then marks itself in its shard's join item; who completes the shard
marks it in the map's join item; who completes that wakes the parent. Marks are attributes by name, so a
repeated mark is the same mark: a crash anywhere, or a duplicate, counts nobody twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from stepbridge.core import codec, ids
from stepbridge.core.instants import to_ms
from stepbridge.core.messages import Cancel, Go, Item, Start, Work, message_text
from stepbridge.core.records import ArmedMap, Blob, EventRecord, MapItem, Mark, Parent, Register
from stepbridge.core.steps import MapStep
from stepbridge.engine.payloads import Payloads
from stepbridge.engine.store import Store
from stepbridge.ports import Outgoing, Ports

INVOKED = "stepbridge/function.invoked"


class Maps:
    """Begins, joins and collects the items of map steps."""

    def __init__(self, store: Store, payloads: Payloads, ports: Ports) -> None:
        self._store = store
        self._payloads = payloads
        self._ports = ports

    def begin(self, parent: Parent, step: MapStep, app_id: str, extra: dict[str, str]) -> ArmedMap:
        """Sends the items, or with `max_concurrency` the first of each lane; they carry `extra` on."""
        lanes = min(step.max_concurrency or 0, len(step.items))
        source = self._payloads.keep_apart(codec.dump([step.max_attempts, *step.items]), parent.run_id) if lanes else ""
        target = step.target if step.is_function else ""
        works: list[Work] = []
        for index in range(lanes or len(step.items)):
            item = MapItem(index=index, count=len(step.items), lanes=lanes, source=source, target=target)
            work = self._work(_with(parent, item), step.target, step.items[index], step.max_attempts, app_id)
            works.append(replace(work, extra=extra))
        self._send(works)
        return self.armed(parent, step)

    def armed(self, parent: Parent, step: MapStep) -> ArmedMap:
        """What the parent's head lists of the map."""
        at_once = min(step.max_concurrency or len(step.items), len(step.items))
        return ArmedMap(
            step_key=parent.step_key,
            step_id=parent.step_id,
            occurrence=parent.occurrence,
            count=len(step.items),
            children=at_once if step.is_function else 0,
        )

    def _work(self, parent: Parent, target: str, text: str, max_attempts: int, app_id: str) -> Item | Start:
        item = parent.item
        assert item is not None  # noqa: S101 - made with one
        if not item.target:
            return Item(
                parent=parent,
                target=target,
                value=self._payloads.keep(text, parent.run_id),
                max_attempts=max_attempts,
            )
        child_id = _child_id(parent.run_id, parent.step_key, item.index)
        now = self._ports.clock.now()
        event = EventRecord(
            name=INVOKED, id=child_id, ts=to_ms(now), source=app_id, data=self._payloads.keep(text, child_id)
        )
        return Start(run_id=child_id, function_id=item.target, event=event, parent=parent, created_at=now)

    def finished(
        self, parent: Parent, register: Register, *, target: str = "", app_id: str = "", extra: dict[str, str]
    ) -> None:
        """One item has come to its end: record it, begin the next of its lane, join. `extra`: what it carried."""
        item = parent.item
        assert item is not None  # noqa: S101 - called for items only
        self._store.joins.record(parent.run_id, parent.step_key, item.index, register)
        follower = item.index + item.lanes
        if item.lanes and follower < item.count and not (item.target and self._is_over(parent.run_id)):
            max_attempts, *texts = json.loads(self._payloads.text(Blob(item.source)))
            following = MapItem(
                index=follower, count=item.count, lanes=item.lanes, source=item.source, target=item.target
            )
            work = self._work(_with(parent, following), target or item.target, texts[follower], max_attempts, app_id)
            self._send([replace(work, extra=extra)])
        if self._store.joins.join(
            parent.run_id, parent.step_key, item.index, item.count, register.ended_at
        ) and self._store.set_wake(parent.run_id, parent.step_key):
            self._send([Go(run_id=parent.run_id, why="map")])

    def _is_over(self, run_id: str) -> bool:
        head = self._store.head(run_id)
        return head is None or head.status.is_terminal

    def collect(self, run_id: str, step_key: str, count: int) -> list[Register] | None:
        """The registers of all items, in order; None while items are on their way."""
        if not self._store.joins.is_joined(run_id, step_key, count):
            return None
        return list(self._store.joins.registers(run_id, step_key, count))

    def text(self, registers: Sequence[Register]) -> str:
        """All results as the text of the map's register."""
        values: list[Any] = []
        errors: dict[str, Any] = {}
        for index, register in enumerate(registers):
            if register.mark is Mark.ERROR and register.failure is not None:
                failure = register.failure
                errors[str(index)] = [failure.name, failure.message, failure.stack, register.attempts]
            text = None if register.value is None else self._payloads.text(register.value)
            values.append(None if text is None else json.loads(text))
        return codec.dump({"v": values, "e": errors})

    def cancel(self, run_id: str, armed: ArmedMap, reason: str) -> None:
        """Ends the children that have begun and not ended; items that are no runs look at the head themselves.

        The head was terminal before the registers are read here, and a follower is begun only after the
        register of its forerunner, under a head that is not: so none is overlooked.
        """
        if not armed.children:
            return
        ended = {int(register.key) for register in self._store.joins.registers(run_id, armed.step_key, armed.count)}
        begun = [*range(armed.children), *(index + armed.children for index in ended)]
        left = [index for index in begun if index < armed.count and index not in ended]
        self._send([Cancel(run_id=_child_id(run_id, armed.step_key, index), reason=reason) for index in left])

    def _send(self, works: Sequence[Work]) -> None:
        self._ports.queue.send([Outgoing(body=message_text(work)) for work in works])


def _child_id(run_id: str, step_key: str, index: int) -> str:
    return ids.child_run_id(run_id, f"{step_key}#{index}")


def _with(parent: Parent, item: MapItem) -> Parent:
    return Parent(
        run_id=parent.run_id,
        step_key=parent.step_key,
        step_id=parent.step_id,
        occurrence=parent.occurrence,
        item=item,
    )
