"""Alarms, and the dashboard that shows what they tell of."""

from __future__ import annotations

from datetime import timedelta

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

from stepbridge.cdk.metrics import PERIOD, Metrics
from stepbridge.cdk.numbers import OLDEST_MESSAGE, OLDEST_PERIODS, THROTTLE_PERIODS


class Watch(Construct):
    """What a person is told, and where they look then.

    One metric an alarm: it names its cause, costs what a sum of them would (a sum is billed by metric), and not
    every emulator knows sums.

    Args:
        scope: The app's construct.
        construct_id: Within it.
        metrics: The app's.
        app_id: As titles name it.
        visibility: Of the queue.
        topic: Is told of alarms; None: they only change their colour.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        metrics: Metrics,
        app_id: str,
        visibility: timedelta,
        topic: sns.ITopic | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._metrics = metrics
        self._app_id = app_id
        self._topic = topic
        self.alarms = self._alarms(int((OLDEST_MESSAGE + visibility).total_seconds()))
        self.dashboard = cloudwatch.Dashboard(self, "Dashboard", widgets=self._widgets())

    def _alarms(self, oldest_seconds: int) -> list[cloudwatch.Alarm]:
        found = self._metrics
        errors = found.function.metric_errors(period=PERIOD, statistic=cloudwatch.Stats.SUM)
        throttles = found.function.metric_throttles(period=PERIOD, statistic=cloudwatch.Stats.SUM)
        late = "Timers or crons do not reach the queue"
        slow = "are put off: raise the table's warm throughput or the account's quota."
        return [
            self._alarm("DeadLetters", found.dead(), "Messages were given up: read their `reason`, mend, redrive."),
            self._alarm(
                "OldestMessage",
                found.oldest(),
                "The dispatcher does not keep up, or cannot work: see its errors and its concurrency.",
                threshold=oldest_seconds,
                periods=OLDEST_PERIODS,
            ),
            self._alarm("Parked", found.parked(), "Runs need a person: read why, mend the code, then resume them."),
            self._alarm("Errors", errors, "Invocations failed: a crash, a timeout, or an app that cannot be imported."),
            self._alarm("Throttles", throttles, "The account's concurrency is used up.", periods=THROTTLE_PERIODS),
            self._alarm("TimerErrors", found.scheduler("TargetErrorCount"), f"{late}: its policy, its key, the role."),
            self._alarm("TimersDropped", found.scheduler("InvocationDroppedCount"), f"{late}: see the dead letters."),
            self._alarm(
                "TimersThrottled",
                found.scheduler("InvocationThrottleCount"),
                "Timers and crons come late: raise the account's quota of Scheduler invocations.",
                periods=THROTTLE_PERIODS,
            ),
            self._alarm("TableReads", found.table("ReadThrottleEvents"), f"Reads {slow}", periods=THROTTLE_PERIODS),
            self._alarm("TableWrites", found.table("WriteThrottleEvents"), f"Writes {slow}", periods=THROTTLE_PERIODS),
            self._alarm(
                "IndexWrites", found.index_writes_throttled(), f"The run list's writes {slow}", periods=THROTTLE_PERIODS
            ),
        ]

    def _alarm(
        self, name: str, metric: cloudwatch.IMetric, what: str, *, threshold: int = 1, periods: int = 1
    ) -> cloudwatch.Alarm:
        alarm = cloudwatch.Alarm(
            self,
            name,
            alarm_description=f"stepbridge app {self._app_id}: {what}",
            metric=metric,
            threshold=threshold,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=periods,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        if self._topic is not None:
            alarm.add_alarm_action(actions.SnsAction(self._topic))
        return alarm

    def _widgets(self) -> list[list[cloudwatch.IWidget]]:
        found = self._metrics
        function, queue, total = found.function, found.parts.queue, cloudwatch.Stats.SUM
        alarms = cloudwatch.AlarmStatusWidget(title=f"{self._app_id}: alarms", alarms=self.alarms, width=24, height=3)
        return [
            [alarms],
            [
                _graph(
                    "Queue",
                    queue.metric_number_of_messages_sent(period=PERIOD, statistic=total),
                    queue.metric_approximate_number_of_messages_visible(period=PERIOD),
                    right=found.oldest(),
                ),
                _graph("Given up", found.dead()),
                _graph(
                    "Timers",
                    found.scheduler("InvocationAttemptCount"),
                    found.scheduler("TargetErrorCount"),
                    found.scheduler("InvocationDroppedCount"),
                    found.scheduler("InvocationThrottleCount"),
                ),
            ],
            [
                _graph(
                    "Dispatcher",
                    function.metric_invocations(period=PERIOD),
                    function.metric_errors(period=PERIOD),
                    function.metric_throttles(period=PERIOD),
                ),
                _graph("Duration", function.metric_duration(period=PERIOD, statistic=cloudwatch.Stats.percentile(99))),
                _graph(
                    "Table",
                    found.table("ConsumedWriteCapacityUnits"),
                    found.table("ConsumedReadCapacityUnits"),
                    right=found.table("WriteThrottleEvents"),
                ),
            ],
        ]


def _graph(title: str, *left: cloudwatch.IMetric, right: cloudwatch.IMetric | None = None) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=list(left), right=[right] if right else [], width=8)
