"""One customer key through every part: which services it must let in, and on whose behalf."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms


def let_services_in(key: kms.IKey, stack: cdk.Stack) -> None:
    """Adds to the key's policy what services need that act for themselves.

    EventBridge encrypts what its rules and the bus send to the queues; CloudWatch Logs encrypts the log group.
    DynamoDB, SQS, S3 and Scheduler act for the roles that call them, and the roles are allowed. The conditions name
    this account's rules, buses and log groups, not single ones, which would make a circle of the template.

    A key that was imported keeps its policy: give it these statements where it is made. Sources: EventBridge
    user guide, "Authorizing EventBridge to use a customer managed key"; CloudWatch Logs user guide, "Encrypt log
    data using AWS KMS"; 2026-11.
    """
    events = [
        stack.format_arn(service="events", resource=resource, resource_name="*") for resource in ("rule", "event-bus")
    ]
    log_groups = stack.format_arn(
        service="logs", resource="log-group", resource_name="*", arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME
    )
    _let_in(
        key,
        "events.amazonaws.com",
        ["kms:Decrypt", "kms:GenerateDataKey"],
        {"StringEquals": {"aws:SourceAccount": stack.account}, "ArnLike": {"aws:SourceArn": events}},
    )
    _let_in(
        key,
        f"logs.{stack.region}.amazonaws.com",
        ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
        {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": log_groups}},
    )


def _let_in(key: kms.IKey, service: str, actions: list[str], conditions: Mapping[str, Any]) -> None:
    key.add_to_resource_policy(
        iam.PolicyStatement(
            principals=[iam.ServicePrincipal(service)], actions=actions, resources=["*"], conditions=dict(conditions)
        )
    )
