"""The table of statuses keeps its own laws, and the picture of it is the picture in the documentation."""

from __future__ import annotations

from pathlib import Path

from stepbridge.core.records import TERMINAL, Status
from stepbridge.core.transitions import TABLE, Cause, allowing, diagram


def test_an_ended_run_never_changes() -> None:
    """No row leads out of a terminal status."""
    assert not {before for before, _ in TABLE} & set(TERMINAL)


def test_every_run_can_end_or_be_moved_on() -> None:
    """Every other status has a way out, and cancelling is always one."""
    others = set(Status) - set(TERMINAL)
    assert {before for before, cause in TABLE if cause is Cause.CANCEL and before is not None} == others


def test_only_a_start_or_an_event_of_the_future_makes_a_run_that_lives() -> None:
    """A wake for a run that is gone makes nothing; a cancellation leaves a tombstone."""
    made = {cause: after for (before, cause), after in TABLE.items() if before is None}
    assert made == {Cause.ENQUEUE: Status.QUEUED, Cause.START: Status.RUNNING, Cause.CANCEL: Status.CANCELLED}


def test_a_parked_run_is_not_claimed() -> None:
    """It waits for a person."""
    assert Status.PARKED.value not in allowing(Cause.CLAIM)
    assert Status.SLEEPING.value not in allowing(Cause.START)


def test_the_picture_in_the_documentation_is_this_table() -> None:
    """It is made from the table, so they cannot drift apart."""
    page = Path(__file__).parents[2] / "ARCHITECTURE.md"
    assert diagram() in page.read_text()
