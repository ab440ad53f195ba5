"""Story 5: a manager decides within 72 hours, else it is escalated."""

from __future__ import annotations

import pytest

from functions.shop.discounts import BOSS, MANAGER
from functions.shop.services import Mail, World
from stepbridge.testing import Simulation

REQUEST = {"requestId": "d-1", "email": "ada@example.com"}


@pytest.mark.parametrize(("approved", "status"), [(True, "approved"), (False, "rejected")])
def test_the_manager_decides(sim: Simulation, world: World, approved: bool, status: str) -> None:  # noqa: FBT001
    """The run ends with the decision, and who asked hears of it."""
    sim.send("discount/requested", REQUEST)
    sim.advance("71h59m")
    sim.send("discount/decided", {"requestId": "d-1", "approved": approved})
    assert sim.run("approve-discount").output == {"status": status}
    assert world.outbox == [
        Mail(MANAGER, "Please decide on d-1"),
        Mail("ada@example.com", f"Your discount is {status}"),
    ]


def test_no_decision_in_72_hours_is_escalated(sim: Simulation, world: World) -> None:
    """To the boss; a decision that comes later changes nothing."""
    sim.send("discount/requested", REQUEST)
    sim.advance("72h")
    sim.send("discount/decided", {"requestId": "d-1", "approved": True})
    sim.run_until_idle()
    assert sim.run("approve-discount").output == {"status": "escalated"}
    assert world.outbox[-1] == Mail(BOSS, "Undecided: d-1")


def test_of_two_decisions_the_first_counts(sim: Simulation, world: World) -> None:
    """The wait's register is written once."""
    sim.send("discount/requested", REQUEST)
    sim.send("discount/decided", {"requestId": "d-1", "approved": False})
    sim.send("discount/decided", {"requestId": "d-1", "approved": True})
    assert sim.run("approve-discount").output == {"status": "rejected"}


def test_a_decision_without_a_verdict_fails_the_run_in_the_end(sim: Simulation, world: World) -> None:
    """The event was taken; the body's error is tried again until it is given up, and support hears of it."""
    sim.send("discount/requested", REQUEST)
    sim.send("discount/decided", {"requestId": "d-1"})
    sim.run_until_idle()
    run = sim.run("approve-discount")
    assert (run.status, run.error and run.error["name"], run.attempt) == ("FAILED", "KeyError", 4)
    assert world.outbox[-1].to == "support@example.com"
