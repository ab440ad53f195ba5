"""The metrics that alarms and dashboard share."""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_

from stepbridge.aws import schema
from stepbridge.cdk.durations import duration
from stepbridge.cdk.numbers import ALARM_PERIOD
from stepbridge.cdk.permissions import Parts
from stepbridge.cdk.queues import Queues

PERIOD = duration(ALARM_PERIOD)
_SCHEDULER_FAILURES = ("TargetErrorCount", "TargetErrorThrottledCount", "InvocationDroppedCount")
"""Per schedule group; what was dropped is in the dead-letter queue. Source: Scheduler user guide, "Metrics", 2026."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """One app's, a value a minute."""

    parts: Parts
    queues: Queues
    function: lambda_.Function

    def dead(self) -> cloudwatch.Metric:
        """Messages that the app gave up."""
        return self.queues.dead.metric_approximate_number_of_messages_visible(
            period=PERIOD, statistic=cloudwatch.Stats.MAXIMUM
        )

    def undelivered(self) -> cloudwatch.Metric:
        """Events that a rule could not deliver."""
        return self.queues.undelivered.metric_approximate_number_of_messages_visible(
            period=PERIOD, statistic=cloudwatch.Stats.MAXIMUM
        )

    def oldest(self) -> cloudwatch.Metric:
        """Seconds since the oldest message was sent."""
        return self.parts.queue.metric_approximate_age_of_oldest_message(
            period=PERIOD, statistic=cloudwatch.Stats.MAXIMUM
        )

    def scheduler_failures(self) -> cloudwatch.MathExpression:
        """Timers and crons that failed to reach the queue."""
        return _sum([self.scheduler(name) for name in _SCHEDULER_FAILURES], "Scheduler failures")

    def scheduler(self, name: str) -> cloudwatch.Metric:
        """A metric of the schedule group."""
        return cloudwatch.Metric(
            namespace="AWS/Scheduler",
            metric_name=name,
            dimensions_map={"ScheduleGroup": self.parts.timers.group.schedule_group_name},
            period=PERIOD,
            statistic=cloudwatch.Stats.SUM,
        )

    def table_throttles(self) -> cloudwatch.MathExpression:
        """Requests that the table, or its index, put off."""
        index = {"GlobalSecondaryIndexName": schema.INDEX}
        found = [
            self.table("ReadThrottleEvents"),
            self.table("WriteThrottleEvents"),
            self.table("WriteThrottleEvents", index),
        ]
        return _sum(found, "Table throttles")

    def table(self, name: str, more: dict[str, str] | None = None) -> cloudwatch.Metric:
        """A metric of the table."""
        return cloudwatch.Metric(
            namespace="AWS/DynamoDB",
            metric_name=name,
            dimensions_map={"TableName": self.parts.table.table_name, **(more or {})},
            period=PERIOD,
            statistic=cloudwatch.Stats.SUM,
        )


def _sum(metrics: list[cloudwatch.Metric], label: str) -> cloudwatch.MathExpression:
    """Their sum, a missing one counted as none."""
    names = {f"m{number}": metric for number, metric in enumerate(metrics)}
    return cloudwatch.MathExpression(
        expression=" + ".join(f"FILL({name}, 0)" for name in names),
        using_metrics={**names},
        label=label,
        period=PERIOD,
    )
