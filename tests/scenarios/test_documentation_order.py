"""The contract's own example, section 6, word for word; and the rest of what its section 1 says."""

from __future__ import annotations

import pytest

from functions.shop import app
from functions.shop.services import World
from stepbridge.testing import Simulation


@pytest.fixture(autouse=True)
def _own_world(world: World) -> None:
    """Nothing is left of other tests."""


def test_order_is_cancelled_when_nobody_pays() -> None:
    """The example as it stands in the documentation."""
    with Simulation(app) as sim:
        sim.send("order/created", {"orderId": "o-1"})
        run = sim.run("fulfil-order")
        assert run.status == "SLEEPING"
        sim.advance("24h")
        assert sim.run("fulfil-order").output == {"status": "cancelled"}


def test_order_is_fulfilled_when_somebody_pays() -> None:
    """The payment of this very order, a moment before the time is up."""
    with Simulation(app) as sim:
        sim.send("order/created", {"orderId": "o-1"})
        sim.advance("23h59m59s")
        sim.send("payment/completed", {"orderId": "o-1"})
        assert sim.run("fulfil-order").output == {"status": "fulfilled"}


def test_a_run_seen_earlier_does_not_change_and_outlives_the_simulation() -> None:
    """A `RunView` is a snapshot."""
    with Simulation(app) as sim:
        sim.send("order/created", {"orderId": "o-1"})
        before = sim.run("fulfil-order")
        sim.advance("24h")
        after = sim.run("fulfil-order")
    assert (before.status, before.output, "cancel-order" in before.steps) == ("SLEEPING", None, False)
    assert (after.status, after.run_id) == ("COMPLETED", before.run_id)
    assert list(after.steps) == [*list(before.steps), "cancel-order", "mail-cancellation"]
