"""Story 14: what one step returns, the next ones take."""

from __future__ import annotations

from functions.shop.services import Mail, World
from stepbridge.testing import Simulation

ADA = "ada@example.com"


def test_each_step_works_with_what_the_others_found(sim: Simulation, world: World) -> None:
    """Customer, balance and level all reach the mail."""
    sim.send("points/earned", {"email": ADA, "cents": 6000})
    sim.send("points/earned", {"email": ADA, "cents": 4000})
    assert [run.output for run in sim.runs("book-points")] == [
        {"balance": 60, "level": "standard"},
        {"balance": 100, "level": "gold"},
    ]
    assert world.outbox == [Mail(ADA, "Ada, 60 points: standard"), Mail(ADA, "Ada, 100 points: gold")]


def test_the_history_shows_what_flowed(sim: Simulation, world: World) -> None:
    """Every step's output, in order."""
    sim.send("points/earned", {"email": ADA, "cents": 6000})
    steps = sim.run("book-points").steps
    assert {step_id: step.output for step_id, step in zip(steps, steps.values(), strict=True)} == {
        "look-up": {"name": "Ada", "tier": "gold", "zone": "Europe/London"},
        "book": 60,
        "level": "standard",
        "mail": None,
    }


def test_nothing_flows_past_a_step_that_failed(sim: Simulation, world: World) -> None:
    """No customer, no points."""
    sim.send("points/earned", {"email": "guest@example.com", "cents": 6000})
    run = sim.run("book-points")
    assert (run.status, list(run.steps)) == ("FAILED", ["look-up"])
    assert world.points == {}
