"""The dispatcher: a message in, work done, and the answer whether it may be forgotten."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import assert_never

from stepbridge.app import App
from stepbridge.core.envelope import Incoming, event_of
from stepbridge.core.limits import BOUNCE_MAX, QUEUE_DELAY_MAX, RESEND_AT_RECEIVE, SUSPECT_AT_RECEIVE
from stepbridge.core.messages import Cancel, Go, Item, Resume, Start, Tick, Work, work_of
from stepbridge.engine.advance import Advance
from stepbridge.engine.answers import Acknowledge, Answer, Bounce, Invocation
from stepbridge.engine.calls import Stubs, no_stubs
from stepbridge.engine.finish import Finish
from stepbridge.engine.ingest import Ingest, MalformedError
from stepbridge.engine.items import Items
from stepbridge.engine.payloads import Payloads
from stepbridge.engine.store import Store
from stepbridge.engine.workers import Workers
from stepbridge.ports import Message, Outgoing, Ports

_LOG = logging.getLogger("stepbridge")


class Engine:
    """One app over one world. Keeps nothing between messages but what speeds them up."""

    def __init__(
        self, app: App, ports: Ports, workers: Workers, store: Store | None = None, stubs: Stubs = no_stubs
    ) -> None:
        self._ports = ports
        self._workers = workers
        self._store = store or Store(ports.table)
        self._payloads = Payloads(ports.blobs)
        self._finish = Finish(app, ports, self._store, self._payloads, workers)
        self._advance = Advance(app, ports, self._store, self._payloads, self._finish, workers, stubs)
        self._items = Items(ports, self._store, self._payloads, workers)
        self._ingest = Ingest(app, ports, self._store, self._payloads, self._advance, self._finish, workers)

    async def handle_all(self, messages: Sequence[Message], *, invocation: Invocation) -> list[Message]:
        """Handles a batch, its runs side by side; returns the messages that must come back.

        Of messages that have come back before, one may be what kills its sandbox, and would take the others with
        it each time until they count as crash loops too. So only one of them is handled; the others come back
        one after the other, without having been begun.

        A queue may hand a message over twice in one batch. It is handled once, by its last receipt: both copies
        have the same id and would take the run's lease for their own.
        """
        once = {message.id: message for message in messages}.values()
        suspects = [message for message in once if message.receives >= SUSPECT_AT_RECEIVE]
        later = suspects[1:]
        for index, message in enumerate(later):
            await self._workers.io(partial(self._postpone, message, timedelta(seconds=1 + index)))
        now = [message for message in once if message not in later]
        bounced = await asyncio.gather(*(self._handle_one(message, invocation) for message in now))
        return [*later, *(message for message in bounced if message is not None)]

    async def _handle_one(self, message: Message, invocation: Invocation) -> Message | None:
        mine = Invocation(id=f"{invocation.id}:{message.id}", deadline=invocation.deadline)
        self._workers.handling.add(mine.id)
        try:
            answer = await self._handle(message, mine)
            if isinstance(answer, Acknowledge):
                return None
            return await self._workers.io(partial(self._bounce, message, answer))
        except Exception:  # noqa: BLE001 - one message's or trigger's failure is nobody else's
            _LOG.exception("message %s comes back", message.id, extra={"message_id": message.id})
            await self._workers.io(partial(self._postpone, message, self._pause(message)))
            return message
        finally:
            self._workers.handling.discard(mine.id)

    async def _handle(self, message: Message, invocation: Invocation) -> Answer:
        try:
            read = work_of(message.body) if message.internal else event_of(message.body)
        except ValueError as error:
            return await self._workers.io(partial(self._bury, message, str(error)))
        if not isinstance(read, Incoming):
            return await self._work(message, read, invocation)
        try:
            return await self._ingest.ingest(read, invocation)
        except MalformedError as error:
            return await self._workers.io(partial(self._bury, message, str(error)))

    async def _work(self, message: Message, work: Work, invocation: Invocation) -> Answer:
        match work:
            case Go(due_at=due) if due is not None and due > self._ports.clock.now():
                return await self._workers.io(partial(self._send_again, message, due))
            case Go() | Start() | Resume():
                return await self._advance.advance(work, invocation)
            case Item(due_at=due) if due is not None and due > self._ports.clock.now():
                return await self._workers.io(partial(self._send_again, message, due))
            case Item():
                return await self._items.run(work, is_repeated=message.receives > 1)
            case Tick():
                return await self._ingest.tick(work, invocation)
            case Cancel():
                return await self._workers.io(partial(self._finish.cancel, work.run_id, work.reason))
            case _:
                assert_never(work)

    def _send_again(self, message: Message, due: datetime) -> Answer:
        """A wake before its time waits in the queue; it never claims the run early."""
        delay = min(due - self._ports.clock.now(), QUEUE_DELAY_MAX)
        self._ports.queue.send([Outgoing(body=message.body, delay=max(delay, timedelta(0)))])
        return Acknowledge()

    def _bury(self, message: Message, reason: str) -> Answer:
        _LOG.error("message %s goes to the dead-letter queue: %s", message.id, reason, extra={"message_id": message.id})
        self._ports.queue.bury(message, reason)
        return Acknowledge()

    # -- coming back -------------------------------------------------------------------------------
    def _bounce(self, message: Message, bounce: Bounce) -> Message | None:
        """The message comes back after a pause; one received too often is sent anew, to stay out of the DLQ."""
        pause = self._pause(message)
        if bounce.until is not None:
            lease = bounce.until - self._ports.clock.now()
            pause = max(min(pause, lease), timedelta(seconds=1))
            if message.receives >= RESEND_AT_RECEIVE:
                delay = min(max(lease, timedelta(seconds=1)), QUEUE_DELAY_MAX)
                if message.internal:
                    self._ports.queue.send([Outgoing(body=message.body, delay=delay)])
                    return None
        self._postpone(message, pause)
        return message

    def _pause(self, message: Message) -> timedelta:
        return min(timedelta(seconds=2 ** min(message.receives - 1, 10)), BOUNCE_MAX)

    def _postpone(self, message: Message, pause: timedelta) -> None:
        try:
            self._ports.queue.postpone(message, pause)
        except Exception:  # noqa: BLE001 - it then comes back when its visibility ends
            _LOG.exception("message %s could not be postponed", message.id, extra={"message_id": message.id})
