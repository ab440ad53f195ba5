"""Timers on EventBridge Scheduler."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypedDict

from botocore.exceptions import ClientError

from stepbridge.aws.failures import Misconfigured, Resource, code_of
from stepbridge.aws.settings import variable
from stepbridge.core.limits import SCHEDULE_GRAIN
from stepbridge.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_scheduler.client import EventBridgeSchedulerClient

RETRIES: Final = 185
"""Of a delivery to the queue, before it goes to the dead-letter queue."""
RETRY_SECONDS: Final = 86_400
"""For as long at most. Both are all that Scheduler allows. Source: Scheduler API, 2026-11."""

_NAME: Final = re.compile(r"[0-9a-zA-Z_.-]{1,64}")
"""Source: Scheduler API, 2026-11."""
_CREATE: Final = "scheduler:CreateSchedule, and iam:PassRole on the scheduler's role,"


class KmsKey(TypedDict, total=False):
    """Of `CreateSchedule`, where there is one."""

    KmsKeyArn: str


class PastDue(ValueError):  # noqa: N818 - it says what the timer is
    """The instant has passed, so there is no timer to make: go on at once."""


class SchedulerTimers:
    """`ports.Timers` on Scheduler: one-time schedules that delete themselves once they have fired.

    Args:
        client: Gives the client, which may be made only then.
        group: Of the schedules.
        queue_arn: Where they send to.
        dlq_arn: Where what the queue did not take for a day goes.
        role_arn: Lets Scheduler send to both.
        clock: Tells what has passed.
        kms_key_arn: Encrypts what they send; None: a key of AWS.
    """

    def __init__(  # noqa: PLR0913 - made in one place
        self,
        client: Callable[[], EventBridgeSchedulerClient],
        *,
        group: str,
        queue_arn: str,
        dlq_arn: str,
        role_arn: str,
        clock: Clock,
        kms_key_arn: str | None = None,
    ) -> None:
        self._client = client
        self._group = group
        self._queue_arn = queue_arn
        self._dlq_arn = dlq_arn
        self._role_arn = role_arn
        self._key: KmsKey = {} if kms_key_arn is None else {"KmsKeyArn": kms_key_arn}
        self._clock = clock
        self._resource = Resource(f"The schedule group {group}", variable("schedule_group"))

    def create(self, name: str, at: datetime, body: str) -> None:
        """Arms the schedule for `at`, in whole seconds rounded up; a name that is armed is success.

        Scheduler fires within the minute that follows.

        Raises:
            PastDue: `at` has passed, or passed on the way to AWS.
            ValueError: Scheduler allows no such name.
            Unavailable: AWS cannot answer now.
            Misconfigured: Group, role or permission is missing.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} names no schedule: 1 to 64 letters, digits, - _ . are allowed.")
        if at <= self._clock.now():
            raise PastDue(f"The schedule {name} was for {at}, which has passed.")
        at = _whole_second(at)
        with self._resource.calling(_CREATE):
            try:
                self._client().create_schedule(
                    GroupName=self._group,
                    Name=name,
                    ScheduleExpression=f"at({at:%Y-%m-%dT%H:%M:%S})",
                    ScheduleExpressionTimezone="UTC",
                    FlexibleTimeWindow={"Mode": "OFF"},
                    ActionAfterCompletion="DELETE",
                    **self._key,
                    Target={
                        "Arn": self._queue_arn,
                        "RoleArn": self._role_arn,
                        "Input": body,
                        "DeadLetterConfig": {"Arn": self._dlq_arn},
                        "RetryPolicy": {
                            "MaximumRetryAttempts": RETRIES,
                            "MaximumEventAgeInSeconds": RETRY_SECONDS,
                        },
                    },
                )
            except ClientError as error:
                self._judge(error, name, at)

    def _judge(self, error: ClientError, name: str, at: datetime) -> None:
        match code_of(error):
            case "ConflictException":
                return
            case "ValidationException" if at < self._clock.now() + SCHEDULE_GRAIN:
                # How AWS refuses a time that has passed is not documented (2026-11), and its clock
                # may be ahead of ours. Taken for that; if it was another, the next timer tells.
                raise PastDue(f"The schedule {name} was for {at}: {error}") from error
            case "ValidationException":
                raise Misconfigured(
                    f"{self._resource.name} refuses the schedule {name}: {error}. Mend: let"
                    f" scheduler.amazonaws.com assume the role {self._role_arn}, allow that role"
                    f" sqs:SendMessage on {self._queue_arn} and {self._dlq_arn}, and correct"
                    " the variables that name them."
                ) from error
            case _:
                raise error

    def delete(self, name: str) -> None:
        """Removes the schedule; nothing happens where there is none."""
        with self._resource.calling("scheduler:DeleteSchedule"):
            try:
                self._client().delete_schedule(GroupName=self._group, Name=name)
            except ClientError as error:
                if code_of(error) != "ResourceNotFoundException":
                    raise


def _whole_second(at: datetime) -> datetime:
    """Rounded up, so that nothing fires early."""
    utc = at.astimezone(UTC)
    return utc + timedelta(microseconds=-utc.microsecond % 1_000_000)
