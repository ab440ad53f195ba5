"""`model=` of a trigger: the handler's data is an instance of it, or the run fails with what is wrong."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, Field, field_validator

from stepbridge import App, Context, ContextSync, Event, event
from stepbridge.testing import Simulation
from tests.acceptance.helpers import START, Colour, Script, error_of


class Order(BaseModel):
    """What an order says."""

    order_id: str = Field(alias="orderId")
    amount: Decimal = Field(gt=0)
    placed_at: datetime | None = None
    lines: list[int] = []

    @field_validator("lines")
    @classmethod
    def _sorted(cls, lines: list[int]) -> list[int]:
        return sorted(lines)


ORDER = {"orderId": "o-1", "amount": "12.50", "placed_at": "2025-01-01T00:00:00Z", "lines": [3, 1, 2]}


def test_the_data_is_an_instance_of_the_model_on_every_replay(colour: Colour) -> None:
    """Validated and typed, in `ctx.event` and `ctx.events`."""
    seen: list[object] = []

    def script(ctx: Any) -> Script:
        seen.append(ctx.event.data)
        seen.append(ctx.events[0].data)
        yield ctx.step.sleep("nap", "1h")

    with Simulation(colour.app(script, trigger=event("go", model=Order))) as sim:
        sim.send("go", ORDER)
        sim.advance("1h")
        assert sim.run("f").status == "COMPLETED"
    assert seen == [Order(orderId="o-1", amount=Decimal("12.50"), placed_at=START, lines=[1, 2, 3])] * 4


def test_an_event_that_does_not_validate_fails_the_run_at_once(colour: Colour) -> None:
    """With every problem and its place in the run's error; the handler does not run, nor is it retried."""
    calls: list[str] = []

    def script(ctx: Any) -> Script:
        calls.append("handler")
        yield ctx.step.run("a", int)

    with Simulation(colour.app(script, trigger=event("go", model=Order))) as sim:
        sim.send("go", {"amount": -1, "lines": ["x"]})
        run = sim.run("f")
    assert run.status == "FAILED"
    assert "orderId" in error_of(run)["message"]
    assert "amount" in error_of(run)["message"]
    assert "greater than 0" in error_of(run)["message"]
    assert "lines" in error_of(run)["message"]
    assert calls == []


def test_a_failed_validation_runs_on_failure(colour: Colour) -> None:
    """It is a failure like any other; the event is the raw one."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("a", int)

    def on_failure(ctx: Any) -> Script:
        yield ctx.step.run("a", int)
        return ctx.event.data["event"]["data"]

    app = colour.app(script, trigger=event("go", model=Order), on_failure=colour.handler(on_failure))
    with Simulation(app) as sim:
        sim.send("go", {"amount": -1})
        assert sim.run("f-failure").output == {"amount": -1}


def test_each_trigger_has_its_own_model(colour: Colour) -> None:
    """The matching trigger's; none where it has none."""

    class Refund(BaseModel):
        amount: int

    def script(ctx: Any) -> Script:
        yield ctx.step.run("a", int)
        return type(ctx.event.data).__name__

    app = colour.app(script, trigger=[event("order", model=Order), event("refund", model=Refund), event("plain")])
    with Simulation(app) as sim:
        sim.send("order", ORDER)
        sim.send("refund", {"amount": 1})
        sim.send("plain", {"amount": 1})
        assert [run.output for run in sim.runs("f")] == ["Order", "Refund", "dict"]


def test_plain_handlers_of_both_colours_get_typed_contexts() -> None:
    """`Context[Order]` and `ContextSync[Order]` are what the annotation says."""
    app = App("shop")

    @app.function("f", trigger=event("go", model=Order))
    async def f(ctx: Context[Order]) -> Decimal:
        return ctx.event.data.amount

    @app.function("g", trigger=event("go", model=Order))
    def g(ctx: ContextSync[Order]) -> str:
        return ctx.event.data.order_id

    with Simulation(app) as sim:
        sim.send("go", ORDER)
        assert (sim.run("f").output, sim.run("g").output) == ("12.50", "o-1")


def test_match_of_a_wait_reads_the_raw_data_of_a_modelled_trigger(colour: Colour) -> None:
    """The path is the event's (`data.orderId`), whatever the model calls it."""

    def script(ctx: Any) -> Script:
        reply = yield ctx.step.wait_for_event("w", event="paid", match="data.orderId", timeout="1h")
        return reply.data["n"]

    with Simulation(colour.app(script, trigger=event("go", model=Order))) as sim:
        sim.send("go", ORDER)
        sim.send("paid", {"orderId": "o-2", "n": 1})
        sim.send("paid", {"orderId": "o-1", "n": 2})
        assert sim.run("f").output == 2


def test_an_awaited_event_that_does_not_validate_is_a_clear_error(colour: Colour) -> None:
    """`wait_for_event(model=...)`: the run does not go on with something else."""

    def script(ctx: Any) -> Script:
        reply = yield ctx.step.wait_for_event("my-wait", event="paid", timeout="1h", model=Order)
        return reply.data.order_id

    with Simulation(colour.app(script, retries=0)) as sim:
        sim.send("go")
        sim.send("paid", {"amount": 1})
        run = sim.run("f")
    assert run.status == "FAILED"
    assert "orderId" in error_of(run)["message"]


def test_events_take_a_model_as_their_data(colour: Colour) -> None:
    """`Event(data=Order(...))`, sent by the test or by a step."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("a", int)
        return str(ctx.event.data.amount)

    class Money(BaseModel):
        amount: int

    with Simulation(colour.app(script, trigger=event("go", model=Money))) as sim:
        sim.send(Event(name="go", data=Money(amount=5)))
        assert sim.run("f").output == "5"
