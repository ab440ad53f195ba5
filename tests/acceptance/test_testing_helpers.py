"""`Simulation.stub` and `stepbridge.testing.context`: tests of the user's own without the user's services."""

from __future__ import annotations

import asyncio
from typing import Any

from stepbridge import App, Context, ContextSync, Event, StepError, event
from stepbridge.testing import Simulation, context
from tests.acceptance.helpers import START, Broken, Colour, Script, error_of, ms


def test_a_stubbed_step_comes_to_its_value_and_does_not_run(colour: Colour) -> None:
    """On the first run and on every replay."""
    broken = Broken(AssertionError("ran for real"))
    seen: list[Any] = []

    def script(ctx: Any) -> Script:
        seen.append((yield ctx.step.run("charge", broken)))
        yield ctx.step.sleep("nap", "1h")

    with Simulation(colour.app(script)) as sim:
        sim.stub("charge", {"id": "ch-1"})
        sim.send("go")
        sim.run_until_idle()
        run = sim.run("f")
    assert run.status == "COMPLETED"
    assert run.steps["charge"].output == {"id": "ch-1"}
    assert seen == [{"id": "ch-1"}] * 2
    assert broken.calls == 0


def test_a_stubbed_exception_is_what_the_step_fails_by(colour: Colour) -> None:
    """The call raises `StepError` with its name and message."""

    def script(ctx: Any) -> Script:
        try:
            yield ctx.step.run("charge", int)
        except StepError as error:
            return [error.name, error.message, error.step_id]

    with Simulation(colour.app(script)) as sim:
        sim.stub("charge", PermissionError("card declined"))
        sim.send("go")
        sim.run_until_idle()
        assert sim.run("f").output == ["PermissionError", "card declined", "charge"]


def test_a_stub_may_be_for_one_function_only(colour: Colour) -> None:
    """`function_id=`."""

    def script(ctx: Any) -> Script:
        return (yield ctx.step.run("n", lambda: "real"))

    app = colour.app(script)
    colour.function(app, "g", script)
    with Simulation(app) as sim:
        sim.stub("n", "stubbed", function_id="g")
        sim.send("go")
        assert (sim.run("f").output, sim.run("g").output) == ("real", "stubbed")


def test_waits_and_invocations_can_be_stubbed(colour: Colour) -> None:
    """No event, no child."""

    def script(ctx: Any) -> Script:
        reply = yield ctx.step.wait_for_event("reply", event="reply", timeout="1h")
        child = yield ctx.step.invoke("call", function="nobody")
        return [reply.data, child]

    with Simulation(colour.app(script)) as sim:
        sim.stub("reply", Event(name="reply", data={"n": 1}))
        sim.stub("call", 7)
        sim.send("go")
        assert sim.run("f").output == [{"n": 1}, 7]


def test_a_stubbed_event_comes_at_the_time_of_the_wait(colour: Colour) -> None:
    """Where the test does not say otherwise."""

    def script(ctx: Any) -> Script:
        reply = yield ctx.step.wait_for_event("reply", event="reply", timeout="1h")
        return reply.ts

    with Simulation(colour.app(script)) as sim:
        sim.stub("reply", {"n": 1})
        sim.send("go")
        assert sim.run("f").output == ms(START)


APP = App("shop")


@APP.function("fulfil", trigger=event("order/created"))
async def fulfil(ctx: Context) -> str:
    """Waits for the payment of an order."""
    await ctx.step.run("reserve", Broken(AssertionError("ran for real")))
    payment = await ctx.step.wait_for_event("payment", event="paid", match="data.orderId", timeout="24h")
    return "cancelled" if payment is None else f"fulfilled {ctx.event.data['orderId']}"


@APP.function("fulfil-sync", trigger=event("order/created"))
def fulfil_sync(ctx: ContextSync) -> str:
    """The same, blocking."""
    ctx.step.run("reserve", Broken(AssertionError("ran for real")))
    payment = ctx.step.wait_for_event("payment", event="paid", match="data.orderId", timeout="24h")
    return "cancelled" if payment is None else f"fulfilled {ctx.event.data['orderId']}"


ORDER = Event(name="order/created", data={"orderId": "o-1"})


def test_an_async_handler_can_be_called_in_a_plain_unit_test() -> None:
    """`fulfil(context(event, steps={...}))`: no engine, no clock."""
    paid = Event(name="paid", data={"orderId": "o-1"})
    assert asyncio.run(fulfil(context(ORDER, steps={"reserve": 1, "payment": paid}))) == "fulfilled o-1"
    assert asyncio.run(fulfil(context(ORDER, steps={"reserve": 1, "payment": None}))) == "cancelled"


def test_a_sync_handler_can_be_called_in_a_plain_unit_test() -> None:
    """The same stand-in, blocking."""
    paid = Event(name="paid", data={"orderId": "o-1"})
    assert fulfil_sync(context(ORDER, steps={"reserve": 1, "payment": paid})) == "fulfilled o-1"
    assert fulfil_sync(context(ORDER, steps={"reserve": 1, "payment": None})) == "cancelled"


def test_a_stubbed_failure_fails_the_run_as_a_real_one_does(colour: Colour) -> None:
    """By the original error."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("charge", int)

    with Simulation(colour.app(script, retries=0)) as sim:
        sim.stub("charge", PermissionError("card declined"))
        sim.send("go")
        assert error_of(sim.run("f"))["message"] == "card declined"
