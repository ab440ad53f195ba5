"""Findings of cdk-nag's AwsSolutions pack that stand, each with its reason, so that a user's own check is clean."""

from __future__ import annotations

from typing import Any, Final

import aws_cdk as cdk
from constructs import IConstruct

WILDCARD: Final = "AwsSolutions-IAM5"
DEAD_LETTERS: Final = "AwsSolutions-SQS3"
ACCESS_LOGS: Final = "AwsSolutions-S1"


def acknowledge(construct: IConstruct, rule: str, reason: str) -> None:
    """The finding stands, for this construct and what is below it."""
    cdk.Validations.of(construct).acknowledge(cdk.Acknowledgment(id=rule, reason=reason))


def acknowledge_wildcard(construct: IConstruct, resource: str, reason: str) -> None:
    """A policy may name `resource`, which ends in `*`; no other one that may come to the construct."""
    written = _written(cdk.Stack.of(construct).resolve(resource))
    acknowledge(construct, f"{WILDCARD}[Resource::{written}]", reason)


def _written(value: Any) -> str:
    """A resolved token as cdk-nag writes it: `<Table.Arn>/index/*`."""
    match value:
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(map(_written, parts))
        case _:
            return str(value)
