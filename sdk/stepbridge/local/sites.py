"""An app and its world in this process: resources, engine, and what reads its runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stepbridge.app import App
from stepbridge.core.conditions import Item
from stepbridge.engine.engine import Engine
from stepbridge.engine.operations import Operations
from stepbridge.engine.reader import Reader
from stepbridge.engine.rule import wants
from stepbridge.engine.store import Store
from stepbridge.engine.workers import Workers
from stepbridge.local.runs import RunList
from stepbridge.local.watch import WatchedTable
from stepbridge.local.worlds import AnyStack
from stepbridge.memory.world import World
from stepbridge.ports import Ports

if TYPE_CHECKING:
    from stepbridge.local.moto_site import Sandboxes


@dataclass(slots=True, kw_only=True)
class Records:
    """What an app's runs are read from, here or on AWS."""

    app_id: str
    ports: Ports
    store: Store
    reader: Reader


def records_of(app_id: str, ports: Ports) -> Records:
    """The records behind these ports."""
    return Records(app_id=app_id, ports=ports, store=Store(ports.table), reader=Reader(ports))


@dataclass(slots=True, kw_only=True)
class Site(Records):
    """One app of this process, and what serves it. Its `ports` have a table that tells the list of runs."""

    app: App
    stack: AnyStack
    engine: Engine | Sandboxes
    """What handles messages."""
    operations: Operations


@dataclass(frozen=True, slots=True)
class Notes:
    """Tells the list of runs what the tables of an app write."""

    app_id: str
    runs: RunList

    def head_written(self, item: Item) -> None:
        """As the watcher's."""
        self.runs.note(self.app_id, item)

    def run_touched(self, run_id: str, item: Item) -> None:
        """As the watcher's."""
        self.runs.note_step(item)
        self.runs.touch(run_id)


def site_of(world: World, app: App, workers: Workers, runs: RunList) -> Site:
    """The app's site; what its table holds already is listed."""
    stack = world.stack(app.id, lambda entry: wants(app, entry.name))
    runs.load(app.id, stack.table.items())
    table = WatchedTable(stack.ports.table, Notes(app.id, runs))
    ports = replace(stack.ports, table=table)
    store = Store(table)
    return Site(
        app_id=app.id,
        app=app,
        stack=stack,
        ports=ports,
        store=store,
        engine=Engine(app, ports, workers, store),
        reader=Reader(ports),
        operations=Operations(app.id, ports, tuple(app.functions)),
    )


def renewed(site: Site, world: World, app: App, workers: Workers) -> Site:
    """The site with this app's code: its records, its messages and its reader stay."""
    world.stack(app.id, lambda entry: wants(app, entry.name))
    return replace(
        site,
        app=app,
        engine=Engine(app, site.ports, workers, site.store),
        operations=Operations(app.id, site.ports, tuple(app.functions)),
    )
