"""Story 8: one step sends three events, each of which starts its own function."""

from __future__ import annotations

from functions.shop.services import World
from stepbridge.testing import Simulation

SHIPPED = {"orderId": "o-1", "email": "ada@example.com", "cents": 1500}
STARTED = ("write-invoice", "track-parcel", "book-points")


def test_three_events_start_three_functions(sim: Simulation, world: World) -> None:
    """Each has run once, with the event that the step sent."""
    sim.send("order/shipped", SHIPPED)
    sent = sim.run("announce-shipment").output
    assert [sim.run(function_id).event.id for function_id in STARTED] == sent
    assert [sim.run(function_id).status for function_id in STARTED] == ["COMPLETED"] * 3
    assert [len(sim.runs(function_id)) for function_id in STARTED] == [1, 1, 1]


def test_the_ids_are_in_the_order_of_the_events(sim: Simulation, world: World) -> None:
    """As the bus saw them."""
    sim.send("order/shipped", SHIPPED)
    on_the_bus = {event.id: event.name for event in sim.events}
    sent = sim.run("announce-shipment").output
    assert [on_the_bus[id_] for id_ in sent] == ["invoice/requested", "parcel/sent", "points/earned"]


def test_one_that_fails_leaves_the_others_alone(sim: Simulation, world: World) -> None:
    """Who is no customer gets no points, but an invoice and a parcel."""
    sim.send("order/shipped", {**SHIPPED, "email": "guest@example.com"})
    statuses = [sim.run(function_id).status for function_id in STARTED]
    assert statuses == ["COMPLETED", "COMPLETED", "FAILED"]
    assert sim.run("announce-shipment").status == "COMPLETED"
