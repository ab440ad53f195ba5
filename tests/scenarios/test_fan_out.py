"""Story 10: one step sends an event for each of a thousand users, and each starts a run."""

from __future__ import annotations

from functions.shop.services import Customer, World
from stepbridge.testing import Simulation

MANY = 1000


def test_a_thousand_users_get_a_run_and_a_mail_each(sim: Simulation, world: World) -> None:
    """Nobody is left out, nobody is told twice, in one send step."""
    world.customers = {f"user-{number}@example.com": Customer(str(number)) for number in range(MANY)}
    sim.send("sale/planned")
    assert sim.run("announce-sale").output == MANY
    assert sorted(mail.to for mail in world.outbox) == sorted(world.customers)
    runs = sim.runs("mail-sale")
    assert (len(runs), {run.status for run in runs}) == (MANY, {"COMPLETED"})
    assert len({run.event.id for run in runs}) == MANY


def test_an_address_that_bounces_fails_alone(sim: Simulation, world: World) -> None:
    """The announcement and the others do not hear of it; support does."""
    world.customers = {"eve@example.com": Customer("Eve"), "nowhere": Customer("Nobody")}
    sim.send("sale/planned")
    assert [run.status for run in sim.runs("mail-sale")].count("FAILED") == 1
    assert sim.run("announce-sale").status == "COMPLETED"
    assert {mail.to for mail in world.outbox} == {"eve@example.com", "support@example.com"}


def test_a_sale_without_customers_starts_nothing(sim: Simulation, world: World) -> None:
    """An empty list of events is sent without fuss."""
    world.customers = {}
    sim.send("sale/planned")
    assert sim.run("announce-sale").output == 0
    assert sim.runs("mail-sale") == []
