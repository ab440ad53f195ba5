"""What plays Lambda in a simulation: a message at a time, each in an invocation that knows of no other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stepbridge.core.limits import INVOCATION
from stepbridge.engine.answers import Invocation
from stepbridge.engine.engine import Engine
from stepbridge.engine.tracking import RunLoop
from stepbridge.engine.workers import Workers
from stepbridge.local.anew import imported_anew
from stepbridge.local.killing import Killed, Killer
from stepbridge.local.simulated import MotoSite, Site
from stepbridge.local.stubs import Stubs
from stepbridge.memory.world import World
from stepbridge.ports import Message

if TYPE_CHECKING:
    from stepbridge.local.moto import MotoWorld


class Lambda:
    """Invocations of the sites' apps: what a simulation is built on.

    Args:
        world: Of the sites, with the clock.
        sites: Where apps run; more may come.
        stubs: In the place of steps, in memory; moto's handlers have been given them.
        homes: By app id, the modules from which each invocation imports its app anew; empty: none does.
    """

    def __init__(self, world: World | MotoWorld, sites: list[Any], stubs: Stubs, homes: Mapping[str, Any]) -> None:
        self._world = world
        self._sites = sites
        self._stubs = stubs
        self._homes = homes
        self._killer = Killer()
        self._invocations = 0
        if isinstance(world, World):
            self._workers = Workers(blocking=False)
            self._loop = RunLoop()

    def _close(self) -> None:
        """Ends threads and loop."""
        if isinstance(self._world, World):
            self._workers.close()
            self._loop.close()

    def _crash(self, step_id: str, times: int) -> None:
        """The next times that the step's function has run, the sandbox is killed. In memory only."""
        if not self._killer.planned:
            for site in self._sites:
                site.ports = self._killer.around(site.ports)
                site.restart()
        self._killer.planned[step_id] += times

    def _deliver_one(self, site: Site | MotoSite) -> bool:
        """Whether there was a message for the site."""
        messages = site.stack.queue.receive(1)
        if not messages:
            return False
        self._invocations += 1
        site.stack.requests.count("Invoke")
        with self._cold_start(site):
            if isinstance(site, MotoSite):
                self._call(site, messages)
            else:
                self._loop.run_until_complete(self._invoke(site, messages))
        return True

    @contextmanager
    def _cold_start(self, site: Site | MotoSite) -> Iterator[None]:
        """Where apps are imported anew, that import's is the site's, and nothing is left of a warm process."""
        if not self._homes:
            yield
            return
        kept = site.app
        with imported_anew(list(self._homes.values()), self._homes[kept.id]) as app:
            site.app = app
            site.restart()
            try:
                yield
            finally:
                site.app = kept

    def _call(self, site: MotoSite, messages: list[Message]) -> None:
        """One invocation by way of the Lambda handler."""
        site.stack.invoke(messages, f"i{self._invocations}")

    async def _invoke(self, site: Site, messages: list[Message]) -> None:
        """One invocation: an engine of its own, so that nothing survives but what was recorded."""
        engine = Engine(site.app, site.ports, self._workers, site.store, self._stubs.of)
        invocation = Invocation(id=f"i{self._invocations}", deadline=self._world.clock.now() + INVOCATION)
        self._killer.revive()
        try:
            bounced = await engine.handle_all(messages, invocation=invocation)
        except Killed:
            site.restart()
            return
        site.stack.queue.acknowledge([message for message in messages if message not in bounced])
