"""The metrics that alarms and dashboard share."""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_

from stepbridge.aws import schema
from stepbridge.aws.observability import NAMESPACE, PARKED
from stepbridge.cdk.durations import duration
from stepbridge.cdk.numbers import ALARM_PERIOD
from stepbridge.cdk.permissions import Parts
from stepbridge.cdk.queues import Queues

PERIOD = duration(ALARM_PERIOD)


@dataclass(frozen=True, slots=True)
class Metrics:
    """One app's, a value a minute."""

    app_id: str
    parts: Parts
    queues: Queues
    function: lambda_.Function

    def dead(self) -> cloudwatch.Metric:
        """Messages that the app gave up, and events and timers that did not reach it."""
        return self.queues.dead.metric_approximate_number_of_messages_visible(
            period=PERIOD, statistic=cloudwatch.Stats.MAXIMUM
        )

    def oldest(self) -> cloudwatch.Metric:
        """Seconds since the oldest message was sent."""
        return self.parts.queue.metric_approximate_age_of_oldest_message(
            period=PERIOD, statistic=cloudwatch.Stats.MAXIMUM
        )

    def scheduler(self, name: str) -> cloudwatch.Metric:
        """A metric of the schedule group. Source: Scheduler user guide, "Metrics", 2026."""
        return cloudwatch.Metric(
            namespace="AWS/Scheduler",
            metric_name=name,
            dimensions_map={"ScheduleGroup": self.parts.timers.group.schedule_group_name},
            period=PERIOD,
            statistic=cloudwatch.Stats.SUM,
        )

    def index_writes_throttled(self) -> cloudwatch.Metric:
        """Writes that the index put off, and the table with it."""
        return self.table("WriteThrottleEvents", {"GlobalSecondaryIndexName": schema.INDEX})

    def parked(self) -> cloudwatch.Metric:
        """Runs that need a person."""
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=PARKED,
            dimensions_map={"app": self.app_id},
            period=PERIOD,
            statistic=cloudwatch.Stats.SUM,
        )

    def table(self, name: str, more: dict[str, str] | None = None) -> cloudwatch.Metric:
        """A metric of the table."""
        return cloudwatch.Metric(
            namespace="AWS/DynamoDB",
            metric_name=name,
            dimensions_map={"TableName": self.parts.table.table_name, **(more or {})},
            period=PERIOD,
            statistic=cloudwatch.Stats.SUM,
        )
