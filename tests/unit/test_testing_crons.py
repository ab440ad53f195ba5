"""Scheduled functions in a simulation, on both backends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stepbridge import App, Context, ContextSync, cron, event
from stepbridge.testing import Simulation

START = datetime(2025, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)

pytestmark = pytest.mark.parametrize("backend", ["memory", "moto"])


def reports(schedule: str = "0 9 * * *", nap: str | None = None) -> App:
    """An app with a daily report and an order that waits for three days."""
    app = App("shop")

    @app.function("report", trigger=cron(schedule))
    async def report(ctx: Context) -> str:
        if nap is not None:
            await ctx.step.sleep("nap", nap)
        return str(ctx.event.data["scheduled_at"])

    @app.function("order", trigger=event("order/created"))
    def order(ctx: ContextSync) -> str:
        ctx.step.sleep("wait", "3 days")
        return ctx.now.isoformat()

    return app


def times(sim: Simulation) -> list[str]:
    """When each report was scheduled."""
    return [run.output for run in sim.runs("report")]


def test_each_scheduled_time_has_one_run(backend: str) -> None:
    """At its own time, in order, also where one step of the clock goes over many."""
    with Simulation(reports(), backend=backend) as sim:
        sim.advance("8h")
        assert sim.runs() == []
        sim.advance("1h")
        assert times(sim) == ["2025-01-01T09:00:00+00:00"]
        sim.advance("3 days")
        assert times(sim) == [f"2025-01-0{day}T09:00:00+00:00" for day in (1, 2, 3, 4)]
        assert [run.started_at for run in sim.runs()] == [START + timedelta(hours=9) + n * DAY for n in range(4)]
        assert sim.now == START + timedelta(days=3, hours=9)


def test_two_triggers_at_one_time_make_one_run(backend: str) -> None:
    """A function starts once per scheduled time."""
    app = App("shop")

    @app.function("report", trigger=[cron("0 9 * * *"), cron("0 9 * * WED")])
    async def report(ctx: Context) -> None: ...

    with Simulation(app, backend=backend) as sim:
        sim.advance("1 day")
        assert len(sim.runs("report")) == 1


def test_schedules_fire_between_other_timers_in_order(backend: str) -> None:
    """What a run sees of the clock is when it woke, whatever was scheduled before and after."""
    with Simulation(reports("0 12 * * *"), backend=backend) as sim:
        sim.send("order/created")
        sim.advance("10 days")
        assert sim.run("order").output == "2025-01-04T00:00:00+00:00"
        assert len(sim.runs("report")) == 10


def test_schedules_alone_are_nothing_pending(backend: str) -> None:
    """The clock stands."""
    with Simulation(reports(), backend=backend) as sim:
        sim.run_until_idle()
        assert (sim.now, sim.runs()) == (START, [])


def test_schedules_fire_while_a_run_is_under_way(backend: str) -> None:
    """Until it has ended; then nothing is pending."""
    with Simulation(reports(), backend=backend) as sim:
        sim.send("order/created")
        sim.run_until_idle()
        assert len(sim.runs("report")) == 3
        assert sim.now == START + 3 * DAY


def test_runs_that_overlap_their_schedule_do_not_keep_it_going(backend: str) -> None:
    """A report a day that takes two: those that began while the order waited end, and no more begin."""
    with Simulation(reports(nap="2 days"), backend=backend) as sim:
        sim.send("order/created")
        sim.run_until_idle()
        assert [run.status for run in sim.runs()] == ["COMPLETED"] * 4
        assert sim.now == START + timedelta(days=4, hours=9)
        sim.advance("1 day")
        assert sim.runs("report")[-1].event.data == {"scheduled_at": "2025-01-06T09:00:00+00:00"}


def test_a_seed_makes_no_second_run_of_a_scheduled_time(backend: str) -> None:
    """Duplicates of its message are the same run."""
    with Simulation(reports(), backend=backend, seed=3) as sim:
        sim.advance("9 days")
        sim.run_until_idle()
        assert len(set(times(sim))) == len(times(sim)) == 9
