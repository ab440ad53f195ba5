"""Behind `Simulation`: the apps of a virtual world, on memory or on moto, and what is read from it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from stepbridge.app import App
from stepbridge.core.envelope import META
from stepbridge.core.instants import to_ms
from stepbridge.core.items import head_of
from stepbridge.core.keys import HEAD_SK
from stepbridge.core.records import Head
from stepbridge.engine.reader import Reader
from stepbridge.engine.rule import wants
from stepbridge.engine.sealing import Keys, SealedTable, sealed
from stepbridge.engine.store import Store
from stepbridge.errors import ConfigError
from stepbridge.events import Event
from stepbridge.memory.clock import VirtualClock
from stepbridge.memory.dice import Dice
from stepbridge.memory.requests import Requests
from stepbridge.memory.world import Stack, World
from stepbridge.ports import Entry, Ports

if TYPE_CHECKING:
    from stepbridge.local.moto import MotoStack, MotoWorld

T = TypeVar("T")


@dataclass(slots=True)
class Site:
    """One app and its resources."""

    app: App
    stack: Stack
    ports: Ports
    store: Store
    """What a warm process keeps: which signatures it has put."""
    readable: Ports

    @property
    def reader(self) -> Reader:
        """Of the app's runs."""
        return Reader(self.readable)

    def restart(self) -> None:
        """A warm process ends."""
        self.store = Store(self.ports.table)


@dataclass(slots=True)
class MotoSite:
    """As `Site`; its stack has the Lambda handler, which keeps what a warm process keeps."""

    app: App
    stack: MotoStack

    @property
    def readable(self) -> Ports:
        """The app's world, uncounted."""
        return self.stack.readable

    @property
    def reader(self) -> Reader:
        """Of the app's runs."""
        return Reader(self.readable)

    def restart(self) -> None:
        """A warm process ends; the next one has the site's app."""
        self.stack.restart(self.app)


def site_of(world: World, app: App, keys: Keys | None = None) -> Site:
    """The app in a world in memory; its reader is not billed."""
    stack = world.stack(app.id, lambda entry: wants(app, entry.name))
    unseen = Requests()
    readable = replace(stack.ports, table=stack.table.counted_by(unseen), blobs=stack.blobs.counted_by(unseen))
    ports = stack.ports
    if keys is not None:
        ports, readable = sealed(ports, keys), sealed(readable, keys)
    return Site(app, stack, ports, Store(ports.table), readable)


def moto_world(clock: VirtualClock, dice: Dice | None, keys: Keys | None = None) -> MotoWorld:
    """A world in moto, yet to be entered.

    Raises:
        ConfigError: moto is not installed.
    """
    require_moto()
    from stepbridge.local.moto import MotoWorld

    return MotoWorld(clock=clock, dice=dice, keys=keys)


def require_moto() -> None:
    """Nothing, where moto is installed.

    Raises:
        ConfigError: It is not.
    """
    if find_spec("moto") is None:
        message = "backend='moto' needs moto. Mend: pip install 'stepbridge[dev]'."
        raise ConfigError(message)


def heads_of(site: Site | MotoSite) -> list[Head]:
    """The heads of all runs, in the order in which they were made."""
    items = [item for item in site.stack.table.items() if item["sk"] == HEAD_SK]
    table = site.readable.table
    return [head_of(table.opened(item) if isinstance(table, SealedTable) else item) for item in items]


def event_of(entry: Entry, at: datetime) -> Event[Any]:
    """An event as it was put on the bus."""
    data = json.loads(entry.detail)
    meta = data.pop(META, {})
    return Event[Any].model_construct(
        name=entry.name, data=data, id=meta.get("id", ""), ts=meta.get("ts", to_ms(at)), source=entry.source
    )


def beside_any_loop(work: Callable[[], T]) -> T:
    """What `work` returns; done in a thread where a loop runs in the caller's, since it has a loop of its own."""
    if not _has_loop():  # outside any `except`, which would show in the tracebacks of user code
        return work()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller
            errors.append(error)

    thread = threading.Thread(target=run, name="stepbridge-simulation")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
