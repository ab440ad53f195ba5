"""One app's resources in moto, as its stack would make them on AWS."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from stepbridge.app import App
from stepbridge.aws import schema
from stepbridge.aws.clients import Clients
from stepbridge.aws.settings import Settings
from stepbridge.core.limits import INVOCATION, MAX_RECEIVES, MESSAGE_RETENTION, VISIBILITY_MARGIN
from stepbridge.local.moto_process import ACCOUNT, REGION

VISIBILITY: Final = INVOCATION + VISIBILITY_MARGIN
"""As on AWS: a lost invocation's messages come back soon after its deadline."""


def settings_of(name: str, bus_arn: str) -> Settings:
    """What the stack would set in the handler's environment."""
    return Settings(
        table=name,
        queue_url=url_of(name),
        queue_arn=arn_of("sqs", name),
        dlq_url=url_of(name + "-dead"),
        dlq_arn=arn_of("sqs", name + "-dead"),
        bus_arn=bus_arn,
        schedule_group=name,
        scheduler_role_arn=f"arn:aws:iam::{ACCOUNT}:role/{name}",
        blobs_bucket=f"{name}-blobs",
        region=REGION,
    )


def make(clients: Clients, app: App, settings: Settings) -> None:
    """The app's resources, as its stack would make them."""
    clients.dynamodb().create_table(**schema.definition(settings.table))
    dead = settings.dlq_arn.rpartition(":")[2]
    make_queue(clients, dead)
    redrive = json.dumps({"deadLetterTargetArn": settings.dlq_arn, "maxReceiveCount": MAX_RECEIVES})
    make_queue(clients, settings.table, RedrivePolicy=redrive)
    make_rule(clients, settings.bus_arn, app.id, schema.event_pattern(app), settings.queue_arn)
    clients.scheduler().create_schedule_group(Name=settings.schedule_group)
    clients.s3().create_bucket(Bucket=settings.blobs_bucket)


def unmake(clients: Clients, settings: Settings) -> None:
    """Takes the app's resources away."""
    clients.dynamodb().delete_table(TableName=settings.table)
    for url in (settings.queue_url, settings.dlq_url):
        clients.sqs().delete_queue(QueueUrl=url)
    clients.scheduler().delete_schedule_group(Name=settings.schedule_group)
    held = clients.s3().list_objects_v2(Bucket=settings.blobs_bucket).get("Contents", [])
    for one in held:
        clients.s3().delete_object(Bucket=settings.blobs_bucket, Key=one["Key"])
    clients.s3().delete_bucket(Bucket=settings.blobs_bucket)


def make_queue(clients: Clients, name: str, **attributes: str) -> None:
    """A queue; its messages are kept for as long as SQS can."""
    lasting = {
        "VisibilityTimeout": f"{VISIBILITY.total_seconds():.0f}",
        "MessageRetentionPeriod": f"{MESSAGE_RETENTION.total_seconds():.0f}",
    }
    attributes_: Any = {**lasting, **attributes}
    clients.sqs().create_queue(QueueName=name, Attributes=attributes_)


def make_rule(clients: Clients, bus_arn: str, name: str, pattern: Mapping[str, Any], queue_arn: str) -> None:
    """A rule that sends what its pattern lets through to the queue."""
    bus = bus_arn.rpartition("/")[2]
    clients.events().put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps(pattern))
    clients.events().put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "queue", "Arn": queue_arn}])


def url_of(queue: str) -> str:
    """The queue's URL."""
    return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{queue}"


def arn_of(service: str, name: str) -> str:
    """The ARN of what has a mere name."""
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{name}"
