"""What each way of running asks of AWS: not a request more than DESIGN says, and not one less."""

from __future__ import annotations

from collections import Counter

import pytest

from stepbridge import App
from stepbridge.testing import Simulation
from tests.counting import DEALS, Deal, owed, spent


@pytest.mark.parametrize("deal", DEALS, ids=str)
def test_it_asks_for_exactly_this(deal: Deal) -> None:
    """Requests of each kind, invocations and write units, when the event name's signatures are known."""
    app = App("shop")
    deal.build(app)
    units: list[float] = []
    with Simulation(app, backend="memory") as sim:

        def counts() -> Counter[str]:
            units.append(sim.requests.write_units)
            return Counter(sim.requests)

        asked = deal.play(sim, counts)
    assert spent(asked) == owed(deal.price)
    assert asked["Invoke"] == deal.price.invocations
    assert units[1] - units[0] == deal.price.write_units


@pytest.mark.parametrize("deal", DEALS, ids=str)
def test_every_read_is_of_one_unit(deal: Deal) -> None:
    """Small histories: a strongly consistent read of up to 4 KB, whatever it finds."""
    app = App("shop")
    deal.build(app)
    with Simulation(app, backend="memory") as sim:
        deal.drive(sim, "first")
        before = sim.requests
        deal.drive(sim, "second")
        asked = sim.requests.since(before)
    assert asked.read_units == deal.price.reads


def test_a_signature_that_is_new_costs_one_write() -> None:
    """Once for an event name and a way of matching; the second run does not ask."""
    deal = next(deal for deal in DEALS if deal.name == "a wait that is matched")
    app = App("shop")
    deal.build(app)
    with Simulation(app, backend="memory") as sim:
        deal.drive(sim, "first")
        first = sim.requests
        deal.drive(sim, "second")
        second = sim.requests.since(first)
    assert spent(first)["writes"] == spent(second)["writes"] + 1
