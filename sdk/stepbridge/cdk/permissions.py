"""What the dispatcher's role may do, and what a client may: the calls of `stepbridge.aws`, on this app's parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs

from stepbridge.aws import schema
from stepbridge.aws.kms import CONTEXT
from stepbridge.aws.stacks import PERMISSION as DESCRIBE
from stepbridge.cdk.timers import SCHEDULER, Timers

TABLE: Final = (
    "dynamodb:DeleteItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
)
SEND: Final = "sqs:SendMessage"
POSTPONE: Final = "sqs:ChangeMessageVisibility"
POLL: Final = ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage")
"""Lambda's pollers call these with the function's role. Source: Lambda guide, "Using Lambda with SQS", 2026."""
PUT_EVENTS: Final = "events:PutEvents"
TIMERS: Final = ("scheduler:CreateSchedule", "scheduler:DeleteSchedule")
BLOBS: Final = ("s3:GetObject", "s3:PutObject")
LIST_BLOBS: Final = "s3:ListBucket"
"""Lets a missing key answer 404; without it S3 answers 403. Source: S3 API, GetObject, 2026."""
LOGS: Final = ("logs:CreateLogStream", "logs:PutLogEvents")
CLIENT_TABLE: Final = ("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query")
"""Reads, and the copied registers of a rerun, whose large values are copied too."""
KEY: Final = (
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)
"""Through the services, by whoever calls them. Sources: DynamoDB guide, "Authorizing use of a customer managed key";
Scheduler user guide, "Encryption at rest"; 2026."""
_THROUGH: Final = ("dynamodb", "s3", "scheduler", "sqs")
SEAL: Final = "kms:GenerateDataKey"
OPEN: Final = "kms:Decrypt"
"""Of step data, which the dispatcher seals itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One app's resources."""

    table: dynamodb.Table
    bucket: s3.Bucket
    prefix: str
    """Of the bucket's keys."""
    queue: sqs.Queue
    dead: sqs.Queue
    bus: events.IEventBus
    timers: Timers
    key: kms.IKey | None
    step_data_keys: tuple[kms.IKey, ...] = ()
    """The first seals step data, all of them open it."""

    @property
    def blobs_arn(self) -> str:
        """Of all blobs, whose names are made at run time."""
        return self.bucket.arn_for_objects(f"{self.prefix}*")

    @property
    def schedules_arn(self) -> str:
        """Of all schedules of the group, whose names are made at run time."""
        return cdk.Stack.of(self.timers).format_arn(
            service="scheduler", resource="schedule", resource_name=f"{self.timers.group.schedule_group_name}/*"
        )

    @property
    def stack_arn(self) -> str:
        """Of the stack, whatever number it gets: who calls by its name does not know it."""
        stack = cdk.Stack.of(self.timers)
        return stack.format_arn(service="cloudformation", resource="stack", resource_name=f"{stack.stack_name}/*")


def dispatcher_statements(parts: Parts, log_group: logs.ILogGroup) -> list[iam.PolicyStatement]:
    """Of the function's role; nothing else is attached to it."""
    return [
        _allow("Table", TABLE, parts.table.table_arn),
        _allow("Queue", (POSTPONE, SEND, *POLL), parts.queue.queue_arn),
        _allow("DeadLetters", (SEND,), parts.dead.queue_arn),
        _allow("Bus", (PUT_EVENTS,), parts.bus.event_bus_arn),
        _allow("Timers", TIMERS, parts.schedules_arn),
        iam.PolicyStatement(
            sid="TimersRole",
            actions=["iam:PassRole"],
            resources=[parts.timers.role.role_arn],
            conditions={"StringEquals": {"iam:PassedToService": SCHEDULER}},
        ),
        *_blobs(parts),
        _allow("Logs", LOGS, log_group.log_group_arn),  # ends in `:*`, its streams
        *_key(parts),
        *_step_data(parts),
    ]


def client_statements(parts: Parts) -> list[iam.PolicyStatement]:
    """Of who uses `stepbridge.Client` with this app: send events, read, list, cancel, resume and rerun runs."""
    index = f"{parts.table.table_arn}/index/{schema.INDEX}"
    return [
        _allow("Table", CLIENT_TABLE, parts.table.table_arn),
        _allow("Runs", ("dynamodb:Query",), index),
        _allow("Queue", (SEND,), parts.queue.queue_arn),
        _allow("Bus", (PUT_EVENTS,), parts.bus.event_bus_arn),
        _allow("Stack", (DESCRIBE,), parts.stack_arn),
        *_blobs(parts),
        *_key(parts),
        *_step_data(parts),
    ]


def _blobs(parts: Parts) -> list[iam.PolicyStatement]:
    return [
        _allow("Blobs", BLOBS, parts.blobs_arn),
        _allow("BlobsList", (LIST_BLOBS,), parts.bucket.bucket_arn),
    ]


def _key(parts: Parts) -> list[iam.PolicyStatement]:
    if parts.key is None:
        return []
    region = cdk.Stack.of(parts.timers).region
    return [
        iam.PolicyStatement(
            sid="Key",
            actions=list(KEY),
            resources=[parts.key.key_arn],
            conditions={
                "StringEquals": {"kms:ViaService": [f"{service}.{region}.amazonaws.com" for service in _THROUGH]}
            },
        )
    ]


def _step_data(parts: Parts) -> list[iam.PolicyStatement]:
    """For data keys only: the encryption context says so."""
    if not parts.step_data_keys:
        return []
    first, *_ = arns = [key.key_arn for key in parts.step_data_keys]
    conditions = {"StringEquals": {f"kms:EncryptionContext:{name}": value for name, value in CONTEXT.items()}}
    return [
        iam.PolicyStatement(sid="SealStepData", actions=[SEAL], resources=[first], conditions=conditions),
        iam.PolicyStatement(sid="OpenStepData", actions=[OPEN], resources=arns, conditions=conditions),
    ]


def _allow(sid: str, actions: Sequence[str], resource: str) -> iam.PolicyStatement:
    return iam.PolicyStatement(sid=sid, actions=list(actions), resources=[resource])
