"""Story 3: the customer's tier decides how long to wait."""

from __future__ import annotations

from datetime import timedelta

import pytest

from functions.shop.services import Customer, Mail, World
from stepbridge.testing import Simulation

DELAYS = {"gold": timedelta(hours=1), "silver": timedelta(days=1), "standard": timedelta(days=3)}


@pytest.mark.parametrize("tier", DELAYS)
def test_better_customers_are_asked_sooner(sim: Simulation, world: World, tier: str) -> None:
    """After the delay of their tier, to the second."""
    world.customers["bob@example.com"] = Customer("Bob", tier=tier)
    sim.send("order/delivered", {"email": "bob@example.com"})
    sim.advance(DELAYS[tier] - timedelta(seconds=1))
    assert world.outbox == []
    sim.advance("1s")
    assert world.outbox == [Mail("bob@example.com", "How do you like it?")]
    assert sim.run("ask-for-review").output == {"tier": tier}


def test_the_tier_counts_that_was_looked_up_first(sim: Simulation, world: World) -> None:
    """A later change does not move a sleep that has begun: the step's result is recorded."""
    world.customers["bob@example.com"] = Customer("Bob", tier="gold")
    sim.send("order/delivered", {"email": "bob@example.com"})
    world.customers["bob@example.com"] = Customer("Bob", tier="standard")
    sim.advance("1h")
    assert sim.run("ask-for-review").output == {"tier": "gold"}


def test_a_guest_is_treated_as_standard(sim: Simulation, world: World) -> None:
    """The look-up fails for good; the handler catches that, on the first run and on replay."""
    sim.send("order/delivered", {"email": "guest@example.com"})
    assert sim.run("ask-for-review").steps["look-up"].status == "FAILED"
    sim.advance("3 days")
    assert sim.run("ask-for-review").output == {"tier": "standard"}


def test_a_tier_that_has_no_delay_fails_the_run_in_the_end(sim: Simulation, world: World) -> None:
    """An error outside steps: the body is tried again, five times in all, with what it has recorded."""
    world.customers["bob@example.com"] = Customer("Bob", tier="platinum")
    sim.send("order/delivered", {"email": "bob@example.com"})
    assert sim.run("ask-for-review").status == "SLEEPING"
    sim.run_until_idle()
    run = sim.run("ask-for-review")
    assert (run.status, run.error and run.error["name"], run.steps["look-up"].attempts) == ("FAILED", "KeyError", 1)
