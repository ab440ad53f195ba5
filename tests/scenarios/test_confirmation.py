"""Story 6: a confirmation matched by one field, an approval matched by an expression."""

from __future__ import annotations

import pytest

from functions.shop.services import World
from stepbridge.testing import Simulation

ACCOUNT = {"userId": 7, "email": "eve@example.com"}
REFUND = {"refundId": "r-1", "cents": 5000, "payment": "p-1"}


# -- match= ----------------------------------------------------------------------------------------
def test_an_account_is_confirmed_by_its_own_user(sim: Simulation, world: World) -> None:
    """`match="data.userId"`: what equals the trigger's."""
    sim.send("account/registered", ACCOUNT)
    sim.send("account/confirmed", {"userId": 7})
    assert sim.run("confirm-account").output == {"confirmed": True}
    assert world.outbox[-1].subject == "Confirmed"


@pytest.mark.parametrize("other", [8, "7", None, [7]])
def test_the_confirmation_of_somebody_else_does_not_count(sim: Simulation, other: object) -> None:
    """Nothing is coerced: the text "7" is another user."""
    sim.send("account/registered", ACCOUNT)
    sim.send("account/confirmed", {"userId": other})
    sim.send("account/confirmed", {})
    assert sim.run("confirm-account").status == "SLEEPING"


def test_a_number_matches_by_its_value(sim: Simulation) -> None:
    """7.0 is 7."""
    sim.send("account/registered", ACCOUNT)
    sim.send("account/confirmed", {"userId": 7.0})
    assert sim.run("confirm-account").output == {"confirmed": True}


def test_a_link_that_nobody_follows_expires(sim: Simulation, world: World) -> None:
    """After two days."""
    sim.send("account/registered", ACCOUNT)
    sim.advance("2 days")
    assert sim.run("confirm-account").output == {"confirmed": False}
    assert world.outbox[-1].subject == "Your link has expired"


def test_a_registration_without_a_user_fails_at_the_wait(sim: Simulation) -> None:
    """The trigger lacks the path: a clear error instead of a wait for nobody."""
    sim.send("account/registered", {"email": "eve@example.com"})
    run = sim.run("confirm-account")
    assert run.status == "FAILED"
    assert "data.userId" in (run.error or {})["message"]


# -- if_exp= ---------------------------------------------------------------------------------------
def test_a_refund_is_approved_by_somebody_whose_limit_covers_it(sim: Simulation, world: World) -> None:
    """The first approval that makes the expression true, not the first approval."""
    sim.send("refund/requested", REFUND)
    sim.send("refund/approved", {"refundId": "r-1", "limit": 4999, "by": "junior"})
    sim.send("refund/approved", {"refundId": "r-2", "limit": 9999, "by": "elsewhere"})
    assert sim.run("approve-refund").status == "SLEEPING"
    sim.send("refund/approved", {"refundId": "r-1", "limit": 5000, "by": "senior"})
    assert sim.run("approve-refund").output == {"approved_by": "senior"}
    assert world.refunded == {"p-1"}


def test_an_approval_that_lacks_a_field_does_not_count(sim: Simulation, world: World) -> None:
    """`>=` on what is not there is no match; without another approval nothing is refunded."""
    sim.send("refund/requested", REFUND)
    sim.send("refund/approved", {"refundId": "r-1", "by": "senior"})
    sim.run_until_idle()
    assert sim.run("approve-refund").output == {"approved_by": None}
    assert world.refunded == set()
