"""Cron triggers in real time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stepbridge import App, Context, cron
from stepbridge.core.messages import Tick, work_of
from stepbridge.engine.workers import Workers
from stepbridge.local.crons import Crons
from stepbridge.local.runs import RunList
from stepbridge.local.sites import Site, site_of
from stepbridge.memory.clock import VirtualClock
from stepbridge.memory.world import World

START = datetime(2025, 1, 1, 0, 0, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def site() -> Site:
    """An app with a function that runs every five minutes, and hourly."""
    app = App("shop")

    @app.function("report", trigger=[cron("*/5 * * * *"), cron("0 * * * *")])
    async def report(ctx: Context) -> None: ...

    workers = Workers(blocking=False)
    workers.close()
    return site_of(World(clock=VirtualClock(START)), app, workers, RunList())


def ticks(site: Site) -> list[datetime]:
    """The scheduled times that have been told."""
    works = [work_of(message.body) for message in site.stack.queue.receive(100)]
    return [work.at for work in works if isinstance(work, Tick)]


def test_each_scheduled_time_is_told_once(site: Site) -> None:
    """When it has come, and not before."""
    crons = Crons([site], START)
    first = datetime(2025, 1, 1, 0, 5, tzinfo=UTC)
    assert crons.next_at() == first
    assert crons.fire_due(first - timedelta(milliseconds=1)) == 0
    assert [crons.fire_due(first), crons.fire_due(first)] == [1, 0]
    assert ticks(site) == [first]
    assert crons.next_at() == first + 5 * MINUTE


def test_what_was_missed_is_told_once_and_not_made_up_for(site: Site) -> None:
    """A laptop that was shut for a day does not run a day's schedules at once."""
    crons = Crons([site], START)
    crons.next_at()
    woken = START + timedelta(days=1)
    assert crons.fire_due(woken) == 2
    assert len(ticks(site)) == 2
    assert crons.next_at() == datetime(2025, 1, 2, 0, 5, tzinfo=UTC)


def test_an_app_without_schedules_has_none() -> None:
    """Nothing is ever due."""
    assert Crons([], START).next_at() is None
