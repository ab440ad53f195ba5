"""What a client needs to know of a deployed app: the settings, as outputs of its stack."""

from __future__ import annotations

from collections.abc import Mapping

import aws_cdk as cdk
from constructs import Construct

from stepbridge.aws.settings import variable


def output_key(app_id: str, name: str) -> str:
    """The key of the stack's output that holds a setting: `StepbridgeShopQueueUrl`."""
    return "Stepbridge" + "".join(part.capitalize() for part in (*app_id.split("-"), *name.split("_")))


def put_out(scope: Construct, app_id: str, values: Mapping[str, str]) -> None:
    """Makes an output of each."""
    for name, value in values.items():
        output = cdk.CfnOutput(scope, f"Output-{name}", value=value, description=variable(name))
        output.override_logical_id(output_key(app_id, name))
