"""The driver: what SQS's event source mapping and EventBridge Scheduler do on AWS, in real time on one loop."""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

from stepbridge.core.limits import INVOCATION, MESSAGES_PER_CALL
from stepbridge.engine.answers import Invocation
from stepbridge.local.crons import Crons
from stepbridge.local.sites import Site
from stepbridge.local.worlds import AnyWorld
from stepbridge.ports import Message

_LOG = logging.getLogger("stepbridge")

IN_FLIGHT_MAX: Final = 640
"""Messages in hand at once: 64 full batches. More wait in the queue, where they cost nothing."""
_NAP_SECONDS: Final = 1.0
"""Longest sleep: the clock of the wall may jump, and a laptop's loop clock stands while it is shut."""
_COME_BACK: Final = timedelta(seconds=1)
"""After which the messages of an invocation that failed as a whole are received again."""
_GRACE_SECONDS: Final = 1.0
"""What invocations get to end by themselves when the driver stops."""


class Driver:
    """Receives messages, hands them to the engines, fires schedules, and sleeps in between.

    Args:
        world: Whose time passes; its clock is the system's.
        sites: The apps. The list is read at every turn, so a site may be replaced while the driver runs.
    """

    def __init__(self, world: AnyWorld, sites: Sequence[Site]) -> None:
        self._world = world
        self._sites = sites
        self._crons = Crons(sites, world.clock.now())
        self._name = uuid.uuid4().hex[:8]  # a lease must not be taken for one of a former process
        self._invocations = 0
        self._in_flight = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._is_waking = False
        self._stopping = False

    @property
    def in_flight(self) -> int:
        """How many messages are in hand."""
        return self._in_flight

    def wake(self) -> None:
        """There is something to look at. Safe in any thread, and cheap."""
        loop = self._loop
        if loop is None or self._is_waking:
            return
        if threading.get_ident() == self._thread:
            self._woken.set()
            return
        self._is_waking = True
        try:
            loop.call_soon_threadsafe(self._awake)
        except RuntimeError:  # the loop is closed: nobody is left to be woken
            self._is_waking = False

    def _awake(self) -> None:
        self._is_waking = False
        self._woken.set()

    def stop(self) -> None:
        """Receives nothing more; `run` then returns. Safe in any thread and in signal handlers."""
        self._stopping = True
        if self._loop is not None:
            with suppress(RuntimeError):  # closed already
                self._loop.call_soon_threadsafe(self._woken.set)

    async def run(self) -> None:
        """Drives until `stop`. What is in hand then gets a moment to end, and is cut off after it."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        for site in self._sites:
            site.stack.queue.on_deliver = self.wake
        try:
            while not self._stopping:
                self._woken.clear()
                try:
                    moved = self._turn()
                except Exception:  # noqa: BLE001 - whatever it was, the apps go on
                    _LOG.exception("the local driver stumbled")
                    await asyncio.sleep(_NAP_SECONDS)
                    continue
                if moved:
                    await asyncio.sleep(0)
                else:
                    await self._nap()
        finally:
            await self._end()

    # -- one turn ----------------------------------------------------------------------------------
    def _turn(self) -> bool:
        """Fires what is due and takes what is there, a batch of each app; whether there was anything."""
        moved = self._world.fire_due() + self._crons.fire_due(self._world.clock.now()) > 0
        for site in list(self._sites):
            room = IN_FLIGHT_MAX - self._in_flight
            messages = site.stack.queue.receive(min(MESSAGES_PER_CALL, room)) if room > 0 else []
            if messages:
                moved = True
                self._invoke(site, messages)
        return moved

    def _invoke(self, site: Site, messages: Sequence[Message]) -> None:
        self._in_flight += len(messages)
        self._invocations += 1
        task = asyncio.create_task(self._batch(site, messages, f"{self._name}-{self._invocations}"))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _batch(self, site: Site, messages: Sequence[Message], invocation_id: str) -> None:
        site.stack.requests.count("Invoke")
        invocation = Invocation(id=invocation_id, deadline=self._world.clock.now() + INVOCATION)
        queue = site.stack.queue
        try:
            bounced = {message.id for message in await site.engine.handle_all(messages, invocation=invocation)}
            queue.acknowledge([message for message in messages if message.id not in bounced])
        except asyncio.CancelledError:
            raise
        except BaseException:  # noqa: BLE001 - whatever it was, the other batches go on
            _LOG.exception("invocation %s failed; its messages come back", invocation_id)
            for message in messages:
                queue.postpone(message, _COME_BACK)
        finally:
            self._in_flight -= len(messages)
            self._woken.set()

    async def _nap(self) -> None:
        """Until the next thing is due, or somebody wakes us."""
        seconds = _NAP_SECONDS
        instants = [at for at in (self._world.next_at(), self._crons.next_at()) if at is not None]
        if instants and self._in_flight < IN_FLIGHT_MAX:
            due_in = (min(instants) - self._world.clock.now()).total_seconds()
            seconds = min(max(due_in, 0.0), _NAP_SECONDS)
        timer = asyncio.get_running_loop().call_later(seconds, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()

    async def _end(self) -> None:
        for site in self._sites:
            site.stack.queue.on_deliver = None
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_GRACE_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
