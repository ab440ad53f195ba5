"""What storms and hostile programs have found, each by itself, so that it stays mended."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from stepbridge import App, Cancel, Context, EventMatch, event
from stepbridge.testing import Simulation
from tests.simulator.luck import Fate, Luck
from tests.simulator.storm import Storm


@pytest.mark.parametrize("size", [10, 1_000, 50_000])
def test_an_event_of_the_future_keeps_its_data(size: int) -> None:
    """Also where it is too large for the run's head: the wake that begins the run reads it from beside."""
    app = App("future")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        await ctx.step.sleep("z", "1m")
        return ctx.event.data

    data = {"text": "".join(chr(97 + number * number % 26) + str(number) for number in range(size // 5))}
    with Simulation(app) as sim:
        sim.send("go", data, ts=sim.now + timedelta(hours=1))
        sim.run_until_idle()
        assert sim.run("f").output == data


def test_a_repeated_start_with_other_data_does_not_change_the_run() -> None:
    """The first event's data is the run's, on every invocation, whichever message moves it."""
    app = App("twice")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        await ctx.step.run("a", lambda: None)
        return ctx.event.data["n"]

    with Storm(app, luck=Luck(0, faults_left=0)) as storm:
        storm.luck.planned += [Fate.GOES, Fate.GOES, Fate.CRASH_AFTER]  # when the step has been recorded
        storm.send("go", {"n": 1}, id="e", ts=storm.now - timedelta(seconds=5))
        storm.send("go", {"n": 2}, id="e", ts=storm.now - timedelta(seconds=5))
        storm.advance("3m")
        storm.end()
        assert storm.run("f").output == 1


def test_a_wake_of_the_near_future_finds_its_run() -> None:
    """The invocation that makes the run's head is slower than the delay: the wake does not come too soon."""
    app = App("near")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> str:
        return "done"

    with Storm(app, luck=Luck(0, faults_left=0)) as storm:
        storm.luck.planned += [Fate.GOES, Fate.GOES, Fate.STALL]
        storm.send("go", ts=storm.now + timedelta(seconds=1))
        storm.end()
        assert storm.run("f").status == "COMPLETED"


@pytest.mark.parametrize("seed", range(8))
def test_looking_back_finds_what_the_run_itself_has_sent_at_once(seed: int) -> None:
    """Whichever host takes the event in, be its clock behind that of the run's first host."""
    app = App("skewed")

    @app.function("f", trigger=event("go"), waits=[EventMatch("echo", lookback="1h")])
    async def handler(ctx: Context) -> bool:
        await ctx.step.sleep("a while", "2s")
        await ctx.step.send_event("send", {"name": "echo"})
        await ctx.step.sleep("z", "5m")
        return await ctx.step.wait_for_event("w", event="echo", timeout="1h", lookback=True) is not None

    with Storm(app, luck=Luck(seed, faults_left=0)) as storm:
        storm.send("go")
        storm.end()
        assert storm.run("f").output is True


def test_a_wait_that_is_put_again_after_its_event_has_come_is_taken_away() -> None:
    """A crash after the wait is put; the next invocation is slow; meanwhile the event comes, resolves it and goes."""
    app = App("again")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> bool:
        return await ctx.step.wait_for_event("w", event="paid", timeout="7 days") is not None

    with Storm(app, luck=Luck(0, faults_left=0)) as storm:
        storm.luck.planned += [Fate.GOES, Fate.GOES, Fate.GOES, Fate.CRASH_AFTER]
        storm.send("go", ts=storm.now - timedelta(seconds=5))
        storm.luck.planned += [Fate.GOES, Fate.GOES, Fate.GOES, Fate.STALL]
        storm.advance("150s")
        storm.send("paid", ts=storm.now - timedelta(seconds=5))
        storm.end()
        assert storm.run("f").output is True
        assert storm.leftovers() == []


def test_an_event_that_meets_a_held_run_is_not_forgotten() -> None:
    """Its run is armed and not yet asleep, and would not look again before the wait's timeout."""
    app = App("held")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> bool:
        return await ctx.step.wait_for_event("w", event="paid", timeout="7 days") is not None

    with Storm(app, luck=Luck(0, faults_left=0)) as storm:
        storm.luck.planned += [Fate.GOES, Fate.GOES, Fate.GOES, Fate.GOES, Fate.STALL]
        storm.send("go", ts=storm.now - timedelta(seconds=5))
        storm.send("paid", ts=storm.now - timedelta(seconds=5))
        storm.advance("10m")
        assert storm.run("f").output is True


def test_looking_back_holds_the_expression_against_what_it_finds() -> None:
    """An event that was kept and does not satisfy it is none."""
    app = App("choosy")
    pattern = "async.data.n > event.data.n"

    @app.function("f", trigger=event("go"), waits=[EventMatch("paid", if_exp=pattern, lookback="1h")])
    async def handler(ctx: Context) -> Any:
        await ctx.step.sleep("z", "5m")
        found = await ctx.step.wait_for_event("w", event="paid", if_exp=pattern, timeout="1h", lookback=True)
        return found and found.data["n"]

    with Simulation(app) as sim:
        sim.send("go", {"n": 5})
        for number in (4, 6):
            sim.advance("1s")
            sim.send("paid", {"n": number})
        sim.run_until_idle()
        assert sim.run("f").output == 6


def test_what_an_event_of_the_same_id_would_be_cancelled_by_does_not_stay() -> None:
    """For a host whose clock is behind it is of the future; it fails before the head, and the other one makes it."""
    app = App("twice")

    @app.function("f", trigger=event("go"), cancel=[Cancel("stop", match="data.k")])
    async def handler(ctx: Context) -> None:
        await ctx.step.sleep("z", "1h")

    with Storm(app, luck=Luck(0, faults_left=0)) as storm:
        ahead = storm.now + timedelta(milliseconds=100)
        storm.luck.planned += [Fate.GOES, Fate.GOES, Fate.GOES, Fate.THROTTLED]
        storm.send("go", {"k": "a"}, id="go-1", ts=ahead)
        storm.send("go", {"k": "b"}, id="go-1", ts=ahead)
        storm.advance("5m")
        storm.send("stop", {"k": "a"})
        storm.end()
        assert storm.run("f").status == "COMPLETED"
        assert storm.leftovers() == []


def test_a_run_that_was_queued_keeps_its_data_when_its_event_comes_again_with_other() -> None:
    """The repeated event claims it, now that it is due; the first invocation must see what later ones will."""
    app = App("queued")
    seen: list[str] = []

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> None:
        seen.append(ctx.event.data["k"])
        await ctx.step.sleep("z", "1h")

    with Storm(app, luck=Luck(6, faults_left=0)) as storm:
        for data in ("a", "b"):
            storm.send("go", {"k": data}, id="go-1", ts=storm.now + timedelta(milliseconds=500))
        storm.end()
        assert set(seen) == {"a"}
