"""Scheduler: what it is told."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from stepbridge.aws.timers import PastDue
from stepbridge.core.limits import SCHEDULE_GRAIN
from tests.contract.aws_backend import START, MotoBackend

HOUR = timedelta(hours=1)
BODY = '{"stepbridge": 1, "k": "go"}'


def test_a_schedule_is_exact_retried_for_a_day_and_deletes_itself(moto: MotoBackend) -> None:
    """Whole seconds of UTC, to the queue, with the role, and a place for what is not delivered."""
    moto.ports.timers.create("run-1", START + HOUR, BODY)
    told = moto.schedule("run-1")
    assert told["ScheduleExpression"] == "at(2025-01-01T01:00:00)"
    assert told["ScheduleExpressionTimezone"] == "UTC"
    assert told["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert told["ActionAfterCompletion"] == "DELETE"
    assert told["GroupName"] == "shop"
    assert told["Target"] == {
        "Arn": moto.settings.queue_arn,
        "RoleArn": moto.settings.scheduler_role_arn,
        "Input": BODY,
        "DeadLetterConfig": {"Arn": moto.settings.dlq_arn},
        "RetryPolicy": {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185},
    }


def test_its_message_is_known_as_the_engines_own(moto: MotoBackend) -> None:
    """By its body alone, since Scheduler sets no attribute."""
    moto.ports.timers.create("run-1", START + HOUR, BODY)
    moto.wait(HOUR + SCHEDULE_GRAIN)
    assert [(message.body, message.internal) for message in moto.receive()] == [(BODY, True)]


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (START + timedelta(milliseconds=1), "at(2025-01-01T00:00:01)"),
        (START + timedelta(days=366, microseconds=1), "at(2026-01-02T00:00:01)"),
        ((START + HOUR).astimezone(timezone(timedelta(hours=-8))), "at(2025-01-01T01:00:00)"),
    ],
    ids=str,
)
def test_an_instant_is_rounded_up_to_the_second_in_utc(moto: MotoBackend, at: datetime, text: str) -> None:
    """Never early, from whatever zone."""
    moto.ports.timers.create("run-1", at, BODY)
    assert moto.schedule("run-1")["ScheduleExpression"] == text


@pytest.mark.parametrize("ahead", [timedelta(0), -HOUR], ids=str)
def test_an_instant_that_has_passed_is_never_sent(moto: MotoBackend, ahead: timedelta) -> None:
    """It is `PastDue`, which is a `ValueError`: the caller goes on at once."""
    with pytest.raises(PastDue, match="run-1 was for"):
        moto.ports.timers.create("run-1", START + ahead, BODY)
    assert moto.requests == []


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a#b", "\u00e9"])
def test_a_name_that_scheduler_cannot_bear_is_refused(moto: MotoBackend, name: str) -> None:
    """Before it is sent."""
    with pytest.raises(ValueError, match="names no schedule"):
        moto.ports.timers.create(name, START + HOUR, BODY)
    assert moto.requests == []


def test_arming_again_and_deleting_twice_are_one_request_each(moto: MotoBackend) -> None:
    """`ConflictException` and `ResourceNotFoundException` are success."""
    moto.ports.timers.create("run-1", START + HOUR, BODY)
    moto.ports.timers.create("run-1", START + HOUR, BODY)
    moto.ports.timers.delete("run-1")
    moto.ports.timers.delete("run-1")
    assert moto.requests == ["CreateSchedule"] * 2 + ["DeleteSchedule"] * 2
