"""One item of a map step, in an invocation of its own."""

from __future__ import annotations

import asyncio
import contextvars
import json
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from stepbridge.core import codec, ids
from stepbridge.core.limits import CRASH_LIMIT, QUEUE_DELAY_MAX
from stepbridge.core.messages import Item, message_text
from stepbridge.core.records import Kind, Mark, Register
from stepbridge.core.retry import next_attempt_at, sound
from stepbridge.engine import tracing
from stepbridge.engine.answers import Acknowledge, Answer
from stepbridge.engine.failures import LEAVING, failure_of
from stepbridge.engine.mapping import Maps
from stepbridge.engine.payloads import Payloads
from stepbridge.engine.store import Store
from stepbridge.engine.workers import Workers
from stepbridge.errors import NonRetriableError, UnserializableOutputError
from stepbridge.function import is_async
from stepbridge.ports import Outgoing, Ports
from stepbridge.step import CURRENT, CurrentStep, function_at


class Items:
    """The use case that runs the items of map steps."""

    def __init__(self, ports: Ports, store: Store, payloads: Payloads, workers: Workers) -> None:
        self._ports = ports
        self._store = store
        self._payloads = payloads
        self._workers = workers
        self._maps = Maps(store, payloads, ports)

    async def run(self, work: Item, *, is_repeated: bool) -> Answer:
        """Runs the function for one item and joins it; an item of a run that has ended is let go.

        One whose executions kill their sandbox fails after as many as a run has: from its second delivery on they
        are counted, so that an item that comes to its end at once pays nothing for it.
        """
        text = await self._workers.io(partial(self._load, work, is_repeated))
        if text is None:
            return Acknowledge()
        started_at = self._ports.clock.now()
        if is_repeated and await self._workers.io(partial(self._count, work, started_at, 1)) >= CRASH_LIMIT:
            await self._workers.io(partial(self._ended, work, None, None, _crash_loop(work), started_at))
            return Acknowledge()
        fn, error = _tried(function_at, work.target)
        value: Any = None
        if error is None:
            parent = work.parent
            name, at = f"item of {parent.step_id}", work.attempt
            with tracing.span(name, work.extra, run_id=parent.run_id, step_id=parent.step_id, attempt=at) as failed:
                value, error = await self._call(fn, json.loads(text), work)
                if error is not None:
                    failed(type(error).__name__)
        if is_repeated:
            await self._workers.io(partial(self._count, work, started_at, -1))
        await self._workers.io(partial(self._ended, work, fn, value, error, started_at))
        return Acknowledge()

    def _count(self, work: Item, now: datetime, amount: int) -> int:
        return self._store.joins.count(work.parent, now, amount=amount)

    def _load(self, work: Item, is_repeated: bool) -> str | None:  # noqa: FBT001 - private
        head = self._store.head(work.parent.run_id)
        if head is None or head.status.is_terminal:
            return None
        if is_repeated and (register := self._store.joins.register(work.parent)) is not None:
            self._maps.finished(work.parent, register, target=work.target, extra=work.extra)
            return None
        return self._payloads.text(work.value)

    async def _call(self, fn: Any, value: Any, work: Item) -> tuple[Any, BaseException | None]:
        """What the function returned or raised."""
        context = contextvars.copy_context()
        index = work.parent.item.index if work.parent.item is not None else 0
        context.run(
            CURRENT.set,
            CurrentStep(
                run_id=work.parent.run_id,
                step_id=work.parent.step_id,
                attempt=work.attempt,
                effect_key=f"{ids.effect_key(work.parent.run_id, work.parent.step_key)}-{index}",
            ),
        )
        loop = asyncio.get_running_loop()
        if is_async(fn):
            return await asyncio.Task(_tried_async(fn, value), loop=loop, context=context)
        return await loop.run_in_executor(self._workers.bodies, partial(context.run, _tried, fn, value))

    def _ended(self, work: Item, fn: Any, value: Any, error: BaseException | None, started_at: datetime) -> None:
        now = self._ports.clock.now()
        attempts = work.attempt + 1
        item = work.parent.item
        assert item is not None  # noqa: S101 - items have one
        name = f"{work.parent.step_key}#{item.index}"
        register = Register(
            key=str(item.index),
            step_id=work.parent.step_id,
            kind=Kind.MAP,
            mark=Mark.OK,
            attempts=attempts,
            started_at=started_at,
            ended_at=now,
        )
        if error is None:
            try:
                text = codec.encode(value, codec.return_hint(fn), what=f"item {item.index} of {work.parent.step_id!r}")
                register = register._replace(value=self._payloads.keep(text, work.parent.run_id))
            except UnserializableOutputError as unserializable:
                error = unserializable
        if error is not None:
            error = sound(error)
            at = next_attempt_at(
                error,
                run_id=work.parent.run_id,
                name=name,
                attempts=attempts,
                max_attempts=work.max_attempts,
                now=now,
            )
            if at is not None:
                again = message_text(replace(work, attempt=attempts, due_at=at))
                self._ports.queue.send([Outgoing(body=again, delay=min(at - now, QUEUE_DELAY_MAX))])
                return
            register = register._replace(mark=Mark.ERROR, failure=failure_of(error))
        self._maps.finished(work.parent, register, target=work.target, extra=work.extra)


def _tried(fn: Any, value: Any) -> tuple[Any, BaseException | None]:
    try:
        return fn(value), None
    except LEAVING:
        raise
    except BaseException as raised:  # noqa: BLE001 - whatever user code raises is recorded
        return None, raised


async def _tried_async(fn: Any, value: Any) -> tuple[Any, BaseException | None]:
    try:
        return await fn(value), None
    except LEAVING:
        raise
    except BaseException as raised:  # noqa: BLE001 - whatever user code raises is recorded
        return None, raised


class CrashLoopError(NonRetriableError):
    """An item's executions have killed their sandboxes."""


def _crash_loop(work: Item) -> CrashLoopError:
    index = work.parent.item.index if work.parent.item is not None else 0
    return CrashLoopError(
        f"item {index} of {work.parent.step_id!r}: {CRASH_LIMIT} executions in a row did not come to an end (killed,"
        " out of memory, or past the time limit). Mend the code or the function's memory and timeout."
    )
