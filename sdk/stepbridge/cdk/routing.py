"""From the bus to the queue: the app's rule, and one on the default bus where a trigger wants AWS's own events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stepbridge.app import App
from stepbridge.aws.timers import RETRIES, RETRY_SECONDS
from stepbridge.cdk.patterns import aws_pattern, own_pattern
from stepbridge.cdk.queues import Queues


class Routing(Construct):
    """A Classic custom bus, its own or a given one, and the rules.

    The bus of 2026-09 with FIFO groups has no published prices, and lives in 14 regions; rules belong to the
    Classic one. Source: EventBridge announcement, 2026-09-24.

    Args:
        scope: The app's construct.
        construct_id: Within it.
        app: Whose declarations the patterns are made of.
        queues: Where the rules send to.
        event_bus: A given one; None: a new one.
        narrow: See `patterns.own_pattern`.
        kms_key: Encrypts a new bus, which then needs a dead-letter queue: for events that it cannot encrypt.
            Source: EventBridge user guide, "Using dead-letter queues to capture encrypted event errors", 2026-11.
    """

    def __init__(  # noqa: PLR0913 - parts of one stack
        self,
        scope: Construct,
        construct_id: str,
        *,
        app: App,
        queues: Queues,
        event_bus: events.IEventBus | None,
        narrow: bool,
        kms_key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._queues = queues
        self.bus: events.IEventBus = event_bus or events.EventBus(
            self,
            "Bus",
            description=f"Events of the stepbridge app {app.id}",
            kms_key=kms_key,
            dead_letter_queue=queues.dead if kms_key else None,
        )
        pattern = own_pattern(app, narrow=narrow)
        self.rules = [self._rule("Rule", pattern, f"What app {app.id} can want", self.bus.event_bus_name)]
        if found := aws_pattern(app):
            self.rules.append(self._rule("AwsRule", found, f"Events of AWS that start functions of {app.id}", None))
        rules = [rule.attr_arn for rule in self.rules]
        buses = [self.bus.event_bus_arn] if kms_key and event_bus is None else []
        _let_in(queues.queue, rules)
        _let_in(queues.dead, [*rules, *buses])

    def _rule(self, name: str, pattern: Mapping[str, Any], description: str, bus: str | None) -> events.CfnRule:
        return events.CfnRule(
            self,
            name,
            description=description,
            event_bus_name=bus,
            event_pattern=pattern,
            targets=[
                events.CfnRule.TargetProperty(
                    id="queue",
                    arn=self._queues.queue.queue_arn,
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=self._queues.dead.queue_arn),
                    retry_policy=events.CfnRule.RetryPolicyProperty(
                        maximum_retry_attempts=RETRIES, maximum_event_age_in_seconds=RETRY_SECONDS
                    ),
                )
            ],
        )


def _let_in(queue: sqs.Queue, sources: Sequence[str]) -> None:
    """EventBridge may send on behalf of these and no others. CDK's own target would allow reading attributes too."""
    queue.add_to_resource_policy(
        iam.PolicyStatement(
            principals=[iam.ServicePrincipal("events.amazonaws.com")],
            actions=["sqs:SendMessage"],
            resources=[queue.queue_arn],
            conditions={"ArnEquals": {"aws:SourceArn": list(sources)}},
        )
    )


def is_default(bus: events.IEventBus | None) -> bool:
    """Whether the bus is the account's default one, as far as synthesis can tell."""
    name = None if bus is None else bus.event_bus_name
    return name is not None and not cdk.Token.is_unresolved(name) and name.rpartition("/")[2] == "default"
