"""Story 1: an order waits a day for its payment, else it is cancelled."""

from __future__ import annotations

from datetime import timedelta

from functions.shop.services import Mail, World
from stepbridge.testing import Simulation

ORDER = {"orderId": "o-1", "sku": "mug", "email": "ada@example.com", "address": "1 Mill Lane"}


def test_a_new_order_shows_its_steps_and_waits_for_the_payment(sim: Simulation, world: World) -> None:
    """Three steps are done, the fourth waits, for 24 hours exactly."""
    sim.send("order/created", ORDER)
    run = sim.run("fulfil-order")
    assert [(step.step_id, step.kind, step.status) for step in run.steps.values()] == [
        ("create-order", "run", "COMPLETED"),
        ("reserve-stock", "run", "COMPLETED"),
        ("ask-for-payment", "run", "COMPLETED"),
        ("wait-payment", "wait_for_event", "WAITING"),
    ]
    assert run.steps["wait-payment"].due_at == sim.now + timedelta(hours=24)
    assert world.reserved == {"o-1": "mug"}


def test_a_paid_order_is_shipped(sim: Simulation, world: World) -> None:
    """The run goes on at once with the payment of its own order."""
    sim.send("order/created", ORDER)
    sim.advance("3h")
    sim.send("payment/completed", {"orderId": "o-1", "cents": 900})
    run = sim.run("fulfil-order")
    assert (run.status, run.output) == ("COMPLETED", {"status": "fulfilled"})
    assert run.steps["wait-payment"].output["data"] == {"orderId": "o-1", "cents": 900}
    assert world.parcels == {"o-1": "1 Mill Lane"}


def test_the_payment_of_another_order_does_not_count(sim: Simulation, world: World) -> None:
    """Two orders wait for the same kind of event; each is told of its own only."""
    sim.send("order/created", ORDER)
    sim.send("order/created", {**ORDER, "orderId": "o-2"})
    sim.send("payment/completed", {"orderId": "o-2"})
    assert [run.status for run in sim.runs("fulfil-order")] == ["SLEEPING", "COMPLETED"]
    assert set(world.parcels) == {"o-2"}


def test_an_order_that_nobody_pays_is_cancelled_after_a_day(sim: Simulation, world: World) -> None:
    """Not a second sooner; what was reserved is free again, and the customer hears of it."""
    sim.send("order/created", ORDER)
    sim.advance("23h59m59s")
    assert sim.run("fulfil-order").status == "SLEEPING"
    sim.advance("1s")
    assert sim.run("fulfil-order").output == {"status": "cancelled"}
    assert (world.reserved, world.parcels) == ({}, {})
    assert world.outbox[-1] == Mail("ada@example.com", "Order o-1 is cancelled")


def test_a_payment_after_the_cancellation_changes_nothing(sim: Simulation, world: World) -> None:
    """A terminal run stays as it ended."""
    sim.send("order/created", ORDER)
    sim.advance("24h")
    sim.send("payment/completed", {"orderId": "o-1"})
    sim.run_until_idle()
    assert sim.run("fulfil-order").output == {"status": "cancelled"}
    assert world.parcels == {}


def test_an_order_of_what_is_sold_out_fails_before_anybody_is_asked_to_pay(sim: Simulation, world: World) -> None:
    """The step's final error escapes, and the run fails with it."""
    world.stock["mug"] = 0
    sim.send("order/created", ORDER)
    run = sim.run("fulfil-order")
    assert (run.status, run.error and run.error["message"]) == ("FAILED", "mug is sold out")
    assert (run.steps["reserve-stock"].attempts, "ask-for-payment" in run.steps) == (1, False)


def test_the_same_event_twice_is_one_order(sim: Simulation, world: World) -> None:
    """The run id derives from the event's id."""
    sim.send("order/created", ORDER, id="e-1")
    sim.send("order/created", ORDER, id="e-1")
    assert len(sim.runs("fulfil-order")) == 1
    assert len(world.outbox) == 1
