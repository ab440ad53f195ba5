"""Schedules: the group of the runs' timers, the role by which they reach the queue, and the cron triggers."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from stepbridge.app import App
from stepbridge.aws.queue import SCHEDULED_TIME
from stepbridge.aws.timers import RETRIES, RETRY_SECONDS
from stepbridge.cdk.queues import Queues
from stepbridge.core import ids
from stepbridge.core.cron import Cron
from stepbridge.core.messages import Tick, message_text
from stepbridge.core.triggers import CronTrigger

SCHEDULER = "scheduler.amazonaws.com"


class Timers(Construct):
    """One app's schedule group, its role, and its recurring schedules.

    The group goes when the stack goes: its schedules send to a queue that goes as well.

    Args:
        scope: The app's construct.
        construct_id: Within it.
        app: Whose cron triggers become schedules.
        queues: Where schedules send to.
        kms_key: Encrypts the recurring schedules, and is what the role needs for the queues.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, app: App, queues: Queues, kms_key: kms.IKey | None
    ) -> None:
        super().__init__(scope, construct_id)
        self._queues = queues
        self._key = kms_key
        self.group = scheduler.ScheduleGroup(self, "Group", removal_policy=cdk.RemovalPolicy.DESTROY)
        self.role = self._role()
        self.schedules = [self._schedule(function_id, cron) for function_id, cron in _crons(app)]

    def _role(self) -> iam.Role:
        """Scheduler may assume it for this group of this account only.

        The source is always the group, never a schedule. Source: Scheduler user guide, "Confused deputy", 2026.
        """
        queues = [self._queues.queue.queue_arn, self._queues.dead.queue_arn]
        statements = [iam.PolicyStatement(actions=["sqs:SendMessage"], resources=queues)]
        if self._key is not None:
            use = ["kms:Decrypt", "kms:GenerateDataKey"]
            statements.append(iam.PolicyStatement(actions=use, resources=[self._key.key_arn]))
        return iam.Role(
            self,
            "Role",
            description="EventBridge Scheduler sends the app's timers to its queue",
            assumed_by=iam.ServicePrincipal(
                SCHEDULER,
                conditions={
                    "StringEquals": {"aws:SourceAccount": cdk.Stack.of(self).account},
                    "ArnEquals": {"aws:SourceArn": self.group.schedule_group_arn},
                },
            ),
            inline_policies={"send": iam.PolicyDocument(statements=statements)},
        )

    def _schedule(self, function_id: str, cron: Cron) -> scheduler.CfnSchedule:
        return scheduler.CfnSchedule(
            self,
            f"Cron-{ids.digest(function_id, cron.expression, cron.timezone, length=8)}",
            description=f"{cron.expression} starts {function_id}"[:512],
            group_name=self.group.schedule_group_name,
            schedule_expression=cron.aws,
            schedule_expression_timezone=cron.timezone,
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            kms_key_arn=self._key and self._key.key_arn,
            target=scheduler.CfnSchedule.TargetProperty(
                arn=self._queues.queue.queue_arn,
                role_arn=self.role.role_arn,
                input=tick_input(function_id),
                dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(arn=self._queues.dead.queue_arn),
                retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                    maximum_retry_attempts=RETRIES, maximum_event_age_in_seconds=RETRY_SECONDS
                ),
            ),
        )


def tick_input(function_id: str) -> str:
    """The engine's own message of a scheduled time, with Scheduler's keyword for the time."""
    row = json.loads(message_text(Tick(function_id=function_id, at=datetime(2000, 1, 1, tzinfo=UTC))))
    return json.dumps({**row, "at": SCHEDULED_TIME}, separators=(",", ":"))


def _crons(app: App) -> list[tuple[str, Cron]]:
    """In order of declaration, each once."""
    every = [
        (function.id, trigger.cron)
        for function in app.functions.values()
        for trigger in function.triggers
        if isinstance(trigger, CronTrigger)
    ]
    return list(dict.fromkeys(every))
