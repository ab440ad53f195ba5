"""`Simulation(seed=...)`: duplicates, other orders, late timers change no outcome and repeat no step."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from stepbridge import App, Context, ContextSync, StepError, event, invoke_only
from stepbridge.testing import Simulation
from tests.acceptance.helpers import Broken, Colour, Flaky, Script

SEEDS = pytest.mark.parametrize("seed", range(12))


@SEEDS
def test_a_wait_gets_its_own_reply(colour: Colour, seed: int) -> None:
    """Ten runs, ten replies, each delivered perhaps twice."""

    def script(ctx: Any) -> Script:
        reply = yield ctx.step.wait_for_event("w", event="reply", match="data.n", timeout="1h")
        yield ctx.step.sleep("nap", "1m")
        return None if reply is None else reply.data["n"]

    with Simulation(colour.app(script), seed=seed) as sim:
        for number in range(10):
            sim.send("go", {"n": number}, id=f"e-{number}")
        sim.advance("1m")
        for number in reversed(range(10)):
            sim.send("reply", {"n": number})
        sim.run_until_idle()
        outputs = {run.event.id: run.output for run in sim.runs("f")}
    assert outputs == {f"e-{number}": number for number in range(10)}


@SEEDS
def test_a_step_that_fails_twice_is_tried_three_times(colour: Colour, seed: int) -> None:
    """A duplicate of a retry's timer is no attempt."""
    flaky = Flaky(ValueError("1"), ValueError("2"))

    def script(ctx: Any) -> Script:
        value = yield ctx.step.run("flaky", flaky)
        if ctx.attempt < 1:
            raise OSError("body")
        return value

    with Simulation(colour.app(script), seed=seed) as sim:
        sim.send("go")
        sim.run_until_idle()
        run = sim.run("f")
    assert (run.status, run.output, run.attempt) == ("COMPLETED", "done", 1)
    assert flaky.calls == 3
    assert run.steps["flaky"].attempts == 3


@SEEDS
def test_a_child_is_started_once_and_answers_once(colour: Colour, seed: int) -> None:
    """Parents and children, one failing."""
    app = App("shop")

    def child(ctx: Any) -> Script:
        yield ctx.step.sleep("nap", "10m")
        if ctx.event.data["n"] == 2:
            yield ctx.step.with_options(retries=0).run("fail", Broken(LookupError("two")))
        return ctx.event.data["n"] * 10

    def parent(ctx: Any) -> Script:
        values: list[Any] = []
        for number in range(4):
            try:
                values += [(yield ctx.step.invoke("call", function="child", data={"n": number}))]
            except StepError as error:
                values += [error.message]
        return values

    colour.function(app, "child", child, trigger=invoke_only())
    colour.function(app, "f", parent)
    with Simulation(app, seed=seed) as sim:
        sim.send("go")
        sim.run_until_idle()
        assert sim.run("f").output == [0, 10, "two", 30]
        assert len(sim.runs("child")) == 4


@SEEDS
def test_branches_of_an_async_handler_end_once_each(seed: int) -> None:
    """Naps, work and sends in parallel."""
    app = App("shop")
    calls: list[str] = []

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> list[int]:
        async def branch(number: int) -> int:
            await ctx.step.run(f"before-{number}", calls.append, f"before-{number}")
            await ctx.step.sleep(f"nap-{number}", f"{number % 3}m")
            await ctx.step.run(f"after-{number}", calls.append, f"after-{number}")
            return number

        return list(await ctx.group.parallel([partial(branch, number) for number in range(6)]))

    with Simulation(app, seed=seed) as sim:
        sim.send("go")
        sim.run_until_idle()
        assert sim.run("f").output == list(range(6))
    assert sorted(calls) == sorted(f"{when}-{number}" for when in ("before", "after") for number in range(6))


@SEEDS
def test_branches_of_a_sync_handler_end_once_each(seed: int) -> None:
    """The same, blocking."""
    app = App("shop")
    calls: list[str] = []

    @app.function("f", trigger=event("go"))
    def f(ctx: ContextSync) -> list[int]:
        def branch(number: int) -> int:
            ctx.step.run(f"before-{number}", calls.append, f"before-{number}")
            ctx.step.sleep(f"nap-{number}", f"{number % 3}m")
            ctx.step.run(f"after-{number}", calls.append, f"after-{number}")
            return number

        return list(ctx.group.parallel([partial(branch, number) for number in range(6)]))

    with Simulation(app, seed=seed) as sim:
        sim.send("go")
        sim.run_until_idle()
        assert sim.run("f").output == list(range(6))
    assert sorted(calls) == sorted(f"{when}-{number}" for when in ("before", "after") for number in range(6))


@SEEDS
def test_sent_events_start_one_run_each(colour: Colour, seed: int) -> None:
    """A chain of functions by events, with the ids that the step returned."""
    app = App("shop")

    def first(ctx: Any) -> Script:
        return (yield ctx.step.send_event("send", [{"name": "next", "data": {"n": number}} for number in range(12)]))

    def second(ctx: Any) -> Script:
        yield ctx.step.sleep("nap", "1m")
        return ctx.event.data["n"]

    colour.function(app, "f", first)
    colour.function(app, "g", second, trigger=event("next"))
    with Simulation(app, seed=seed) as sim:
        sim.send("go")
        sim.run_until_idle()
        ids = sim.run("f").output
        runs = {run.event.id: run.output for run in sim.runs("g")}
    assert [runs[event_id] for event_id in ids] == list(range(12))
    assert len(runs) == 12
