"""An event comes in: which waits it resolves, which functions it starts, which runs it cancels.

Everything for other runs is sent to the queue first; one run is moved on here, inline, and its wait is
deleted last: until then only the wait lets a redelivered event find its run. A run that begins here is claimed
while the waits are read, which saves a round trip, and moves once all others have been told.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from stepbridge.app import App
from stepbridge.core import ids
from stepbridge.core.codec import dump
from stepbridge.core.envelope import Incoming
from stepbridge.core.instants import from_ms, to_ms
from stepbridge.core.json_values import MISSING, canonical, value_at
from stepbridge.core.limits import QUEUE_DELAY_MAX, SCHEDULE_GRAIN
from stepbridge.core.matching import is_wanted, lookback_signature, place_of_event, places_of_event
from stepbridge.core.messages import Cancel, Go, Start, Tick, message_text
from stepbridge.core.records import EventRecord, Head, Mark, Register, Role, Status, Timer, Wait
from stepbridge.core.triggers import EventTrigger
from stepbridge.engine import tracing
from stepbridge.engine.across import Across, names_for
from stepbridge.engine.advance import Advance
from stepbridge.engine.answers import Acknowledge, Answer, Bounce, Invocation
from stepbridge.engine.finish import Finish
from stepbridge.engine.payloads import Payloads
from stepbridge.engine.store import Store
from stepbridge.engine.waits import cancel_waits, put_waits
from stepbridge.engine.workers import Workers
from stepbridge.errors import LostValueError, StepError
from stepbridge.function import Function
from stepbridge.ports import Outgoing, Ports

_LOG = logging.getLogger("stepbridge")
TIMER = "stepbridge/scheduled.timer"
_SEND_ON = timedelta(seconds=1)
"""Before a run that is held is tried again; from then on the message's own pauses grow."""


class MalformedError(ValueError):
    """A message that no repetition will make better: it is buried, with the reason."""


@dataclass(frozen=True, slots=True)
class _Move:
    """A run to be moved on, and the waits that are deleted once it has been."""

    work: Start | Go
    waits: tuple[Wait, ...] = ()


_Started = tuple[Function[Any], Start]


class Ingest:
    """The use case that takes events in."""

    def __init__(  # noqa: PLR0913, PLR0917 - made in one place
        self,
        app: App,
        ports: Ports,
        store: Store,
        payloads: Payloads,
        advance: Advance,
        finish: Finish,
        workers: Workers,
    ) -> None:
        self._app = app
        self._ports = ports
        self._store = store
        self._payloads = payloads
        self._advance = advance
        self._workers = workers
        self._finish = finish
        self._across = Across(app.id, ports, store, payloads)
        self._own_names = names_for(app.id)

    async def tick(self, tick: Tick, invocation: Invocation) -> Answer:
        """A function's scheduled time: one run, however often it is told."""
        if tick.function_id not in self._app.functions:
            _LOG.warning("a schedule's time of function %r starts nothing: it is not in the code", tick.function_id)
            return Acknowledge()
        at = tick.at.isoformat()
        event = EventRecord(
            name=TIMER,
            id=ids.digest("tick", tick.function_id, at),
            ts=to_ms(tick.at),
            source=self._app.id,
            data=dump({"scheduled_at": at}),
        )
        run_id = ids.run_id(self._app.id, tick.function_id, TIMER, event.id)
        now = self._ports.clock.now()
        extra = tracing.begun(f"tick {tick.function_id}")
        start = Start(run_id=run_id, function_id=tick.function_id, event=event, created_at=now, extra=extra)
        return await self._advance.advance(start, invocation)

    async def ingest(self, incoming: Incoming, invocation: Invocation) -> Answer:
        """Takes one event in."""
        if incoming.row["name"] in self._own_names:
            return await self._ingest_own(incoming, invocation)
        starts = await self._workers.io(partial(self._starts, incoming))
        is_due = incoming.row["ts"] <= to_ms(self._ports.clock.now())
        prepare = partial(self._prepare, incoming, starts, is_due=is_due)
        if starts and is_due:
            move = _Move(starts[-1][1])
            answer = await self._advance.advance(move.work, invocation, prepare)
        elif (woken := await self._workers.io(prepare)) is not None:
            move = woken
            answer = await self._advance.advance(move.work, invocation, found=move.waits)
        else:
            return Acknowledge()
        if isinstance(answer, Bounce) and answer.until is not None:
            return await self._workers.io(partial(self._send_on, move, answer.until))
        if isinstance(answer, Acknowledge):
            await self._workers.io(partial(self._delete, move.waits))
        return answer

    def _send_on(self, move: _Move, lease_until: datetime) -> Answer:
        """The run is held: a message of its own waits for it, and the event need not come back."""
        lease = lease_until - self._ports.clock.now()
        delay = min(max(lease, timedelta(0)), _SEND_ON)
        self._ports.queue.send([Outgoing(body=message_text(move.work), delay=delay)])
        self._delete(move.waits)
        return Acknowledge()

    async def _ingest_own(self, incoming: Incoming, invocation: Invocation) -> Answer:
        """An event between apps that is for this one.

        Raises:
            MalformedError: It is not as apps of this package send it.
        """
        try:
            work = await self._workers.io(partial(self._across.work_of, incoming.row, incoming.extra))
        except ValueError as error:
            raise MalformedError(f"an event {incoming.row['name']} is malformed: {error}") from error
        match work:
            case Start() | Go():
                return await self._advance.advance(work, invocation)
            case Cancel():
                return await self._workers.io(partial(self._finish.cancel, work.run_id, work.reason))
            case _:
                return Acknowledge()

    def _prepare(self, incoming: Incoming, starts: Sequence[_Started], *, is_due: bool) -> _Move | None:
        """Sends on all that the event moves but the last, which is returned."""
        self._keep_for_lookback(incoming)
        moves = self._resolve_waits(incoming)
        if is_due:
            moves += [_Move(start) for _, start in starts]
        else:
            for function, start in starts:
                self._start_later(start, function, incoming.row)
        others = moves[:-1]
        if others:
            self._ports.queue.send([Outgoing(body=message_text(move.work)) for move in others])
            for move in others:
                self._delete(move.waits)
        return moves[-1] if moves else None

    def _delete(self, waits: Sequence[Wait]) -> None:
        for wait in waits:
            self._store.delete_wait(wait.place, wait.run_id, wait.step_key)

    def _keep_for_lookback(self, incoming: Incoming) -> None:
        """Keeps the event where a function declared that it may look back for it; before the waits are read."""
        row = incoming.row
        spans: dict[str, timedelta] = {}
        for function in self._app.functions.values():
            for pattern in function.waits:
                if pattern.event == row["name"] and isinstance(pattern.lookback, timedelta):
                    place = place_of_event(row, lookback_signature(pattern.match, pattern.if_exp))
                    spans[place] = max(pattern.lookback, spans.get(place, timedelta(0)))
        if not spans:
            return
        now = self._ports.clock.now()
        text = dump(row)
        for place, span in spans.items():
            ttl = to_ms(now + span) // 1000 + 3600
            self._store.put_seen(
                place, row["id"], to_ms(now), self._payloads.keep(text, f"seen/{ids.digest(row['name'])}"), ttl
            )

    # -- waits -------------------------------------------------------------------------------------
    def _resolve_waits(self, incoming: Incoming) -> list[_Move]:
        """Writes the registers of the waits that the event matches, and says which runs to wake.

        Whoever finds a wait wakes its run, even where another event or the timeout came first: while the
        wait exists, its run has not been told.
        """
        row = incoming.row
        now_ms = to_ms(self._ports.clock.now())
        found: dict[str, list[Wait]] = {}
        names = {row["id"], ids.mark(row["id"])}  # waits of earlier versions bear the ids as they are
        for wait in self._candidates(row):
            if not names.isdisjoint(wait.consumed) or row["ts"] + incoming.grain_ms <= wait.since_ms:
                continue
            if wait.role is Role.CANCEL and min(row["ts"], now_ms) >= to_ms(wait.deadline):
                continue
            if not self._matches(wait, row):
                continue
            if wait.role is Role.CANCEL:
                self._finish.cancel(wait.run_id, f"cancelled by the event {row['name']} {row['id']}", [wait])
                self._delete([wait])
            else:
                found.setdefault(wait.run_id, []).append(wait)
        if not found:
            return []
        text = dump(row)
        for waits in found.values():
            for wait in sorted(waits, key=lambda wait: wait.index):  # of several patterns the first is told
                self._resolve(wait, row, text)
        return [_Move(Go(run_id=run_id, why="match"), tuple(waits)) for run_id, waits in found.items()]

    def _candidates(self, row: dict[str, Any]) -> Iterator[Wait]:
        for signature in self._store.signatures(row["name"]):
            for place in places_of_event(row, signature):
                yield from self._store.waits_at(place)

    def _matches(self, wait: Wait, row: dict[str, Any]) -> bool:
        try:
            trigger = self._payloads.text(wait.event)  # out of reach: the event comes back
        except LostValueError:
            _LOG.exception("wait %r of run %s cannot be held against an event", wait.step_id, wait.run_id)
            return False
        try:
            return is_wanted(row, expression=wait.expression, trigger=trigger)
        except Exception as error:  # noqa: BLE001 - one message's or trigger's failure is nobody else's
            # not its text, which may hold values
            _LOG.error("the expression of wait %r of run %s failed: %r", wait.step_id, wait.run_id, type(error))
            return False

    def _resolve(self, wait: Wait, row: dict[str, Any], text: str) -> None:
        now = self._ports.clock.now()
        register = Register(
            key=wait.step_key,
            step_id=wait.step_id,
            occurrence=wait.occurrence,
            kind=wait.kind,
            mark=Mark.OK,
            value=self._payloads.keep(text if wait.role is Role.STEP else f"[{wait.index},{text}]", wait.run_id),
            event_id=row["id"],
            started_at=wait.armed_at,
            ended_at=now,
        )
        self._store.put_register(wait.run_id, register)

    # -- starts ------------------------------------------------------------------------------------
    def _starts(self, incoming: Incoming) -> list[_Started]:
        """The functions that the event starts, and with what."""
        functions = [function for function in self._app.functions.values() if self._is_triggered(function, incoming)]
        if not functions:
            return []
        row = incoming.row
        now = self._ports.clock.now()
        waited = now - incoming.accepted_at > timedelta(seconds=1)
        created_at = incoming.accepted_at if waited else now  # which is exact, where the bus's own time is not
        data = dump(row["data"])
        extra = incoming.extra or tracing.begun(f"event {row['name']}")
        starts: list[_Started] = []
        for function in functions:
            run_id = ids.run_id(self._app.id, function.id, *_idempotency(function, row))
            event = EventRecord(
                name=row["name"],
                id=row["id"],
                ts=row["ts"],
                source=row["source"],
                data=self._payloads.keep(data, run_id),
            )
            start = Start(run_id=run_id, function_id=function.id, event=event, created_at=created_at, extra=extra)
            starts.append((function, start))
        return starts

    def _is_triggered(self, function: Function[Any], incoming: Incoming) -> bool:
        for trigger in function.triggers:
            try:
                if isinstance(trigger, EventTrigger) and trigger.takes(incoming.row):
                    return True
            except Exception as error:  # noqa: BLE001 - one message's or trigger's failure is nobody else's
                _LOG.error("the trigger %r of function %s failed: %r", trigger, function.id, type(error))
        return False

    def _start_later(self, start: Start, function: Function[Any], row: dict[str, Any]) -> None:
        """An event of the future: the run is there at once, as QUEUED, with its timer and what cancels it.

        A schedule is made before the head, that no head is without one. A message of the queue is sent after
        it: a near one would find no run, and be forgotten; until it is sent the event itself comes back.
        """
        due = from_ms(start.event.ts)
        now = self._ports.clock.now()
        body = message_text(Go(run_id=start.run_id, why="start", due_at=due))
        scheduled = due - now > QUEUE_DELAY_MAX
        if scheduled:
            minute = from_ms(start.event.ts - start.event.ts % 60_000)
            name = ids.schedule_name(start.run_id, start.event.ts)
            self._ports.timers.create(name, minute - SCHEDULE_GRAIN, body)
        head = Head(
            run_id=start.run_id,
            function_id=start.function_id,
            status=Status.QUEUED,
            event=start.event,
            timers=(Timer(due_ms=start.event.ts, scheduled=scheduled),),
            created_at=start.created_at,
            extra=start.extra,
        )
        with contextlib.suppress(StepError):  # the trigger lacks what it is to be matched by: told when the run begins
            waits = list(cancel_waits(function, head, row, now))
            head = replace(
                head, armed=tuple(put_waits(self._store, self._payloads, [want], wait) for want, wait in waits)
            )
        standing = self._store.enqueue(head)
        if standing is not None and standing.status.is_terminal:  # cancelled meanwhile, by one who knew of nothing
            self._finish.clean(replace(standing, armed=head.armed, timers=head.timers))
            return
        if standing is not None:
            self._finish.drop_strays(head, standing)
        if not scheduled:
            self._ports.queue.send([Outgoing(body=body, delay=due - now)])


def _idempotency(function: Function[Any], row: dict[str, Any]) -> tuple[str, str]:
    """What makes a start the same start: the event's name and id, or the value that the function declared."""
    value = MISSING if function.idempotency is None else value_at(row, function.idempotency)
    if value is MISSING:
        return row["name"], row["id"]
    return "idempotency", canonical(value)
