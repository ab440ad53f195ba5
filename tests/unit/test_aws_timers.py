"""Scheduler's refusals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stepbridge.aws.failures import Misconfigured
from stepbridge.aws.timers import PastDue, SchedulerTimers
from stepbridge.memory.clock import VirtualClock
from tests.unit.aws_script import Script, error, ok

NOW = datetime(2025, 1, 1, tzinfo=UTC)


def timers(script: Script) -> SchedulerTimers:
    """Timers by script."""
    return SchedulerTimers(
        script.clients.scheduler,
        group="shop",
        queue_arn="arn:queue",
        dlq_arn="arn:dead",
        role_arn="arn:role",
        clock=VirtualClock(NOW),
    )


def test_an_instant_that_passed_on_the_way_is_past_due() -> None:
    """AWS refuses it, and its clock may be ahead of ours."""
    with pytest.raises(PastDue, match="says AWS"):
        timers(Script(error("ValidationException"))).create("n", NOW + timedelta(seconds=1), "{}")


def test_a_role_that_scheduler_cannot_use_is_misconfigured() -> None:
    """AWS calls that invalid too; the message names role and queues."""
    far = NOW + timedelta(hours=1)
    with pytest.raises(Misconfigured, match=r"Mend: let scheduler.*arn:role.*arn:queue.*arn:dead"):
        timers(Script(error("ValidationException"))).create("n", far, "{}")


def test_a_missing_group_is_misconfigured() -> None:
    """When arming; when deleting, the schedule is gone with its group."""
    script = Script(error("ResourceNotFoundException", 404))
    with pytest.raises(Misconfigured, match=r"group shop does not exist .*STEPBRIDGE_SCHEDULE_GROUP"):
        timers(script).create("n", NOW + timedelta(hours=1), "{}")
    timers(script).delete("n")


def test_schedules_are_encrypted_by_the_stacks_key() -> None:
    """Where it has one."""
    script = Script(ok(ScheduleArn="arn"))
    own = SchedulerTimers(
        script.clients.scheduler,
        group="shop",
        queue_arn="arn:queue",
        dlq_arn="arn:dead",
        role_arn="arn:role",
        clock=VirtualClock(NOW),
        kms_key_arn="arn:key",
    )
    own.create("n", NOW + timedelta(hours=1), "{}")
    timers(script).create("n", NOW + timedelta(hours=1), "{}")
    assert [body.get("KmsKeyArn") for _, body in script.sent] == ["arn:key", None]
