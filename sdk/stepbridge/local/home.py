"""Where the local server's apps live: a world in real time, a site for each app, and how a site gets new code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from stepbridge.app import App
from stepbridge.engine.workers import Workers
from stepbridge.local.runs import RunList
from stepbridge.local.sites import Site, renewed, site_of
from stepbridge.local.state import StateFile
from stepbridge.local.worlds import AnyWorld
from stepbridge.memory.clock import SystemClock
from stepbridge.memory.world import World

_BUS_LOG_MAX: Final = 100
"""Entries that the bus itself remembers; the event log keeps what people see."""


class Home(Protocol):
    """Of either backend."""

    @property
    def world(self) -> AnyWorld:
        """Whose time passes."""

    @property
    def sites(self) -> list[Site]:
        """The apps."""

    def renewed(self, site: Site, app: App) -> Site:
        """The site with this app's code: its records, its messages and its reader stay."""

    def close(self) -> None:
        """Ends what runs."""


class MemoryHome:
    """The apps in memory; what a state file holds is taken up.

    Raises:
        ConfigError: The state file cannot be read.
    """

    def __init__(self, apps: Sequence[App], runs: RunList, state: StateFile | None) -> None:
        self.world = World(clock=SystemClock(), log_max=_BUS_LOG_MAX)
        if state is not None:
            state.load(self.world)
        self._workers = Workers(blocking=False)
        self.sites = [site_of(self.world, app, self._workers, runs) for app in apps]

    def renewed(self, site: Site, app: App) -> Site:
        """As the protocol says."""
        return renewed(site, self.world, app, self._workers)

    def close(self) -> None:
        """As the protocol says."""
        self._workers.close()
