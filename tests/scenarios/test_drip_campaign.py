"""Story 2: mails to a new user after 1, 3 and 7 days."""

from __future__ import annotations

from functions.shop.services import World
from stepbridge.testing import Simulation

EVE = {"email": "eve@example.com"}


def _subjects(world: World) -> list[str]:
    return [mail.subject for mail in world.outbox]


def test_mails_go_out_on_day_1_3_and_7(sim: Simulation, world: World) -> None:
    """Each on its day and not before."""
    sim.send("user/signed.up", EVE)
    assert _subjects(world) == ["Welcome"]
    sim.advance("23h59m59s")
    assert _subjects(world) == ["Welcome"]
    sim.advance("1s")
    assert _subjects(world) == ["Welcome", "First steps"]
    sim.advance("2 days")
    assert _subjects(world) == ["Welcome", "First steps", "Three tips"]
    sim.advance("4 days")
    assert _subjects(world) == ["Welcome", "First steps", "Three tips", "A voucher for you"]
    assert sim.run("drip-campaign").output == {"last_day": 7}


def test_a_week_at_once_is_the_same_as_day_by_day(sim: Simulation, world: World) -> None:
    """Every timer fires in order, and every mail has the time of its day."""
    start = sim.now
    sim.send("user/signed.up", EVE)
    sim.advance("7 days")
    steps = sim.run("drip-campaign").steps
    ended = [steps[f"mail-day-{day}"].ended_at for day in (1, 3, 7)]
    assert [(at - start).days for at in ended if at] == [1, 3, 7]
    assert len(world.outbox) == 4


def test_who_unsubscribes_hears_no_more(sim: Simulation, world: World) -> None:
    """What is asked in a step is asked anew on each day."""
    sim.send("user/signed.up", EVE)
    sim.advance("2 days")
    world.unsubscribed.add("eve@example.com")
    sim.run_until_idle()
    assert _subjects(world) == ["Welcome", "First steps"]
    assert sim.run("drip-campaign").output == {"last_day": 1}


def test_an_address_that_bounces_ends_the_campaign(sim: Simulation, world: World) -> None:
    """At the first mail, for good; no timer is left."""
    sim.send("user/signed.up", {"email": "nowhere"})
    run = sim.run("drip-campaign")
    assert (run.status, run.error and run.error["message"]) == ("FAILED", "nowhere bounces")
    before = sim.now
    sim.run_until_idle()
    assert sim.now == before
