"""No schedule outlives its run, wherever an invocation died: results come long before their timeouts here.

Elsewhere time goes on until every schedule has fired, so that one too many would not be seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from stepbridge import App, Cancel, Context, ContextSync, EventMatch, Timeouts, event
from tests.faults.crash import CrashingSimulation, Knife


def a_wait(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> None:
        await ctx.step.wait_for_event("w", event="then", timeout="7d")
        await ctx.step.run("s", str)


def goes_on(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> None:
        await ctx.step.wait_for_event("w", event="then", timeout="7d")
        await ctx.step.sleep("z", "5m")


def looks_back(app: App) -> None:
    """The event is there before the wait is put again: the run finds it itself."""

    @app.function("f", trigger=event("go"), waits=[EventMatch("then", lookback="1h")])
    async def f(ctx: Context) -> None:
        await ctx.step.wait_for_event("w", event="then", timeout="7d", lookback=True)
        await ctx.step.sleep("z", "5m")


def any_of_two_sync(app: App) -> None:
    @app.function("f", trigger=event("go"))
    def f(ctx: ContextSync) -> None:
        ctx.step.wait_for_any("w", [EventMatch("then"), EventMatch("never")], timeout="7d")
        ctx.step.sleep("z", "5m")


def race(app: App) -> None:
    """The sleep is the earlier of the two, so its due time has the schedule; nobody waits for it any more."""

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> None:
        wait = asyncio.create_task(ctx.step.wait_for_event("w", event="then", timeout="7d"))
        sleep = asyncio.create_task(ctx.step.sleep("y", "1 day"))
        await asyncio.wait([wait, sleep], return_when=asyncio.FIRST_COMPLETED)
        sleep.cancel()
        await ctx.step.sleep("z", "5m")


def child(app: App) -> None:
    @app.function("g", trigger=event("never"))
    async def g(ctx: Context) -> None:
        """Ends at once."""

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> None:
        await ctx.step.invoke("i", function=g, timeout="3d")
        await ctx.step.sleep("z", "5m")


def a_child_that_waits(app: App) -> None:
    @app.function("g", trigger=event("never"))
    async def g(ctx: Context) -> None:
        await ctx.step.sleep("w", "20m")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> None:
        await ctx.step.invoke("i", function=g, timeout="3d")
        await ctx.step.sleep("z", "5m")


def a_signal(app: App) -> None:
    @app.function("bell", trigger=event("then"))
    async def bell(ctx: Context) -> None:
        await ctx.step.send_signal("s", "bell")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> None:
        await ctx.step.wait_for_signal("w", "bell", timeout="7d")
        await ctx.step.sleep("z", "5m")


def within_two_days(app: App) -> None:
    @app.function("f", trigger=event("go"), timeouts=Timeouts(finish="2d"))
    async def f(ctx: Context) -> None:
        await ctx.step.wait_for_event("w", event="then", timeout="7d")
        await ctx.step.sleep("z", "5m")


def cancelled(app: App) -> None:
    @app.function("f", trigger=event("go"), cancel=[Cancel("then")])
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("z", "7d")


def play(build: Callable[[App], None], knife: Knife) -> list[str]:
    """The schedules that stand once the run has ended, after an hour; where it still waits, there have to be some."""
    app = App("left")
    build(app)
    with CrashingSimulation(app, knife=knife) as sim:
        sim.send("go")
        sim.send("then")
        for _ in range(12):
            sim.advance("5m")
        left = [name for site in sim._sites for name in site.stack.timers.names()]
        statuses = {run.status for run in sim.runs()}
        assert statuses <= {"COMPLETED", "CANCELLED", "SLEEPING"}
        if "SLEEPING" not in statuses:
            return left
        assert left, sim.runs()  # the crash let the event come before its wait, which looks not back
        return []


@pytest.mark.parametrize(
    "build",
    [
        a_wait,
        goes_on,
        looks_back,
        any_of_two_sync,
        race,
        child,
        a_child_that_waits,
        a_signal,
        within_two_days,
        cancelled,
    ],
)
def test_no_crash_leaves_a_schedule(
    build: Callable[[App], None], record_property: Callable[[str, object], None]
) -> None:
    calm = Knife()
    assert play(build, calm) == []
    assert "MemoryTimers.create" in calm.trace
    cuts = range(2 * calm.requests)
    record_property("crash points", len(cuts))
    assert {point: left for point in cuts if (left := play(build, Knife(frozenset({point}))))} == {}


def test_nor_do_two_crashes_between_which_the_run_ends(record_property: Callable[[str, object], None]) -> None:
    """The first before the schedule is deleted; the second while the event's message tries again."""
    calm = Knife()
    play(goes_on, calm)
    first = 2 * calm.trace.index("MemoryTimers.delete")
    pairs = [frozenset({first, second}) for second in range(first + 1, first + 70)]
    record_property("pairs of crash points", len(pairs))
    assert {tuple(sorted(pair)): left for pair in pairs if (left := play(goes_on, Knife(pair)))} == {}
