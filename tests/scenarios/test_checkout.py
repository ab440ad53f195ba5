"""Story 7: validate, charge, ship by invoke; what was done is undone when a later one fails."""

from __future__ import annotations

from functions.shop.services import World
from stepbridge.testing import Simulation

CART = {"orderId": "o-1", "sku": "poster", "card": "visa", "address": "1 Mill Lane"}


def test_three_functions_do_a_checkout(sim: Simulation, world: World) -> None:
    """Each in a run of its own, in turn; their outputs come back typed as they were returned."""
    sim.send("cart/checked.out", CART)
    run = sim.run("checkout")
    assert run.output == {"status": "shipped", "parcel": "parcel-o-1"}
    children = [sim.run(function_id) for function_id in ("validate-cart", "charge-card", "ship-cart")]
    assert [child.parent_id for child in children] == [run.run_id] * 3
    assert [child.output for child in children] == [1500, *world.payments, "parcel-o-1"]
    assert [step.kind for step in run.steps.values()] == ["invoke"] * 3
    assert list(world.payments.values()) == [1500]


def test_a_declined_card_frees_what_was_reserved(sim: Simulation, world: World) -> None:
    """The middle one fails: its error reaches the parent, which goes on; nothing is shipped."""
    sim.send("cart/checked.out", {**CART, "card": "declined"})
    run = sim.run("checkout")
    assert (run.status, run.output) == ("COMPLETED", {"status": "unpaid", "reason": "card declined"})
    assert sim.run("charge-card").status == "FAILED"
    assert (world.reserved, world.payments, sim.runs("ship-cart")) == ({}, {}, [])


def test_a_failed_child_is_not_invoked_again(sim: Simulation, world: World) -> None:
    """Its own retries are all there are."""
    sim.send("cart/checked.out", {**CART, "card": "declined"})
    sim.run_until_idle()
    assert len(sim.runs("charge-card")) == 1
    assert sim.run("checkout").steps["charge"].attempts == 1


def test_what_cannot_be_shipped_is_refunded(sim: Simulation, world: World) -> None:
    """The last one fails: the payment goes back, and the piece."""
    sim.send("cart/checked.out", {**CART, "address": ""})
    assert sim.run("checkout").output == {"status": "refunded", "reason": "order o-1 has no address"}
    assert world.refunded == set(world.payments)
    assert len(world.payments) == 1
    assert world.reserved == {}


def test_a_cart_that_is_not_valid_fails_with_the_childs_error(sim: Simulation, world: World) -> None:
    """Nobody catches it: the parent's error is the original's name and message."""
    sim.send("cart/checked.out", {**CART, "sku": "unicorn"})
    run = sim.run("checkout")
    assert run.status == "FAILED"
    assert (run.error or {})["message"] == "unicorn is not for sale"
    assert (run.error or {})["name"] == "NonRetriableError"
