"""Story 4: mails wait for the business hours of the customer's own time zone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from functions.shop import app
from functions.shop.services import Customer, World
from stepbridge.testing import Simulation

ANN = "ann@example.com"
CASES = {
    "in hours: at once": ("Europe/Berlin", "2025-01-07T10:30+00:00", "2025-01-07T10:30+00:00"),
    "early: the same day": ("Europe/Berlin", "2025-01-07T05:00+00:00", "2025-01-07T08:00+00:00"),
    "late: the next day": ("Europe/Berlin", "2025-01-07T16:00+00:00", "2025-01-08T08:00+00:00"),
    "Friday night: Monday": ("America/New_York", "2025-01-11T03:00+00:00", "2025-01-13T14:00+00:00"),
    "Saturday there, Friday here": ("Asia/Tokyo", "2025-01-10T20:00+00:00", "2025-01-13T00:00+00:00"),
    "the clocks go forward meanwhile": ("Europe/Berlin", "2025-03-28T20:00+00:00", "2025-03-31T07:00+00:00"),
    "the clocks go back meanwhile": ("Europe/Berlin", "2025-10-24T20:00+00:00", "2025-10-27T08:00+00:00"),
}


@pytest.mark.parametrize(("zone", "asked_at", "answered_at"), CASES.values(), ids=CASES)
def test_the_answer_goes_out_in_business_hours(world: World, zone: str, asked_at: str, answered_at: str) -> None:
    """Nine to five, Monday to Friday, where the customer is."""
    world.customers[ANN] = Customer("Ann", zone=zone)
    with Simulation(app, start=datetime.fromisoformat(asked_at)) as sim:
        sim.send("question/asked", {"email": ANN})
        sim.run_until_idle()
        run = sim.run("answer-question")
    assert (run.status, len(world.outbox)) == ("COMPLETED", 1)
    assert run.steps["answer"].ended_at == datetime.fromisoformat(answered_at)


@pytest.fixture
def night(world: World) -> Iterator[Simulation]:
    """Tuesday, five in the morning, UTC."""
    with Simulation(app, start=datetime(2025, 1, 7, 5, tzinfo=UTC)) as sim:
        yield sim


def test_nothing_runs_before_the_opening(night: Simulation, world: World) -> None:
    """The chosen time is recorded: that the clock has moved on at the replay does not change it."""
    world.customers[ANN] = Customer("Ann", zone="UTC")
    night.send("question/asked", {"email": ANN})
    night.advance("3h59m59s")
    assert (world.outbox, night.run("answer-question").status) == ([], "SLEEPING")
    night.advance("1s")
    assert len(world.outbox) == 1
    assert night.run("answer-question").steps["choose-time"].output == "2025-01-07T09:00:00Z"


def test_a_time_zone_that_there_is_not_fails_the_run(night: Simulation, world: World) -> None:
    """With the original error, after the one attempt that its options allow."""
    world.customers[ANN] = Customer("Ann", zone="Mars/Olympus")
    night.send("question/asked", {"email": ANN})
    run = night.run("answer-question")
    assert (run.status, run.error and run.error["name"]) == ("FAILED", "ZoneInfoNotFoundError")
    assert run.steps["choose-time"].attempts == 1
