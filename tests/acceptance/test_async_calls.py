"""Async step functions whose call gives no coroutine: it fails itself, or a stub stands for it."""

from __future__ import annotations

from stepbridge import App, Context, event
from stepbridge.testing import Simulation


async def thank(name: str) -> str:
    """Of one argument."""
    return f"thanks, {name}"


def app_with(*args: str) -> App:
    """Calls it with these."""
    app = App("thanks")

    @app.function("thank", trigger=event("go"), retries=1)
    async def handler(ctx: Context) -> str:
        return await ctx.step.run("thank", thank, *args)

    return app


def test_a_call_with_wrong_arguments_fails_the_step() -> None:
    """After its retries, like any other error; the message does not come back for ever."""
    with Simulation(app_with("a", "b")) as sim:
        sim.send("go")
        sim.run_until_idle()
        run = sim.run("thank")
        assert (run.status, run.error and run.error["name"]) == ("FAILED", "TypeError")
        assert run.steps["thank"].attempts == 2


def test_a_stubbed_async_step_comes_to_its_value_or_its_error() -> None:
    """As a sync one does."""
    with Simulation(app_with("a")) as sim:
        sim.stub("thank", "stubbed")
        sim.send("go")
        assert sim.run("thank").output == "stubbed"
        sim.stub("thank", ConnectionError("no"))
        sim.send("go")
        sim.run_until_idle()
        run = sim.run("thank")
        assert (run.error and run.error["message"], run.steps["thank"].attempts) == ("no", 2)
