"""An app behind the local server, on moto: in place of the engine, sandboxes that run the Lambda handler."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from threading import Lock
from typing import Final

from stepbridge.app import App
from stepbridge.aws.entry import Dispatcher
from stepbridge.engine.answers import Invocation
from stepbridge.engine.operations import Operations
from stepbridge.engine.reader import Reader
from stepbridge.engine.store import Store
from stepbridge.local.moto import MotoStack, MotoWorld
from stepbridge.local.runs import RunList
from stepbridge.local.sites import Notes, Site
from stepbridge.local.watch import WatchedTable
from stepbridge.memory.clock import SystemClock
from stepbridge.ports import Message, Ports

SANDBOXES_MAX: Final = 10
"""Invocations of one app at a time, as a small account allows; more wait in the queue."""


class Sandboxes:
    """An app's execution environments: each has one invocation at a time, and is kept for the next.

    Args:
        app: Whose handler they run.
        stack: Its resources.
        ports: As the handler sees them.
    """

    def __init__(self, app: App, stack: MotoStack, ports: Ports) -> None:
        self._app = app
        self._stack = stack
        self._ports = ports
        self._lock = Lock()
        self._idle: list[tuple[App, Dispatcher]] = []
        self._threads = ThreadPoolExecutor(SANDBOXES_MAX, thread_name_prefix=f"sandbox-{app.id}")

    def deploy(self, app: App) -> None:
        """New invocations run this app's code; those under way end with theirs."""
        self._app = app

    async def handle_all(self, messages: Sequence[Message], *, invocation: Invocation) -> Sequence[Message]:
        """As the engine's: the messages that come back."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._call, messages, invocation.id)

    def _call(self, messages: Sequence[Message], request_id: str) -> list[Message]:
        app, sandbox = self._take()
        try:
            return self._stack.call(sandbox, messages, request_id)
        finally:
            self._idle.append((app, sandbox))

    def _take(self) -> tuple[App, Dispatcher]:
        with self._lock:
            while self._idle:
                app, sandbox = self._idle.pop()
                if app is self._app:
                    return app, sandbox
                sandbox.close()
            return self._app, Dispatcher(self._app, self._ports)

    def close(self) -> None:
        """Waits for the end of what is running, and ends the environments."""
        self._threads.shutdown(cancel_futures=True)
        for _, sandbox in self._idle:
            sandbox.close()


class MotoHome:
    """The apps in a world of their own in moto; it answers all AWS clients of this process until `close`."""

    def __init__(self, apps: Sequence[App], runs: RunList) -> None:
        with ExitStack() as undo:
            self.world = undo.enter_context(MotoWorld(clock=SystemClock(), is_virtual=False))
            self.sites = [self._site(app, runs, undo) for app in apps]
            self._undo = undo.pop_all()

    def _site(self, app: App, runs: RunList, undo: ExitStack) -> Site:
        stack = self.world.stack(app)
        notes = Notes(app.id, runs)
        read = replace(stack.readable, table=WatchedTable(stack.readable.table, notes))
        asked = replace(stack.ports, table=WatchedTable(stack.ports.table, notes))
        return Site(
            app_id=app.id,
            app=app,
            stack=stack,
            ports=read,
            store=Store(read.table),
            engine=undo.enter_context(closing(Sandboxes(app, stack, asked))),
            reader=Reader(read),
            operations=Operations(app.id, read, tuple(app.functions)),
        )

    def renewed(self, site: Site, app: App) -> Site:
        """As a deployment does: a new rule, and new sandboxes from the next invocation on."""
        assert isinstance(site.engine, Sandboxes)  # noqa: S101 - made here
        self.world.subscribe(app)
        site.engine.deploy(app)
        return replace(site, app=app, operations=Operations(app.id, site.ports, tuple(app.functions)))

    def close(self) -> None:
        """Waits for the end of what is running; moto answers nobody after that."""
        self._undo.close()
