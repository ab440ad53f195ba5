"""What a client needs to know of a deployed app, as outputs of its stack: `aws.stacks` reads them."""

from __future__ import annotations

from collections.abc import Mapping

import aws_cdk as cdk
from constructs import Construct

from stepbridge.app import App
from stepbridge.aws.settings import variable
from stepbridge.aws.stacks import APP, FUNCTIONS, output_key, output_values

_ABOUT = {APP: "The app's id", FUNCTIONS: "Its functions, as JSON"}


def put_out(scope: Construct, app: App, settings: Mapping[str, str]) -> None:
    """Makes an output of each."""
    for name, value in output_values(app.id, tuple(app.functions), settings).items():
        output = cdk.CfnOutput(scope, f"Output-{name}", value=value, description=_ABOUT.get(name) or variable(name))
        output.override_logical_id(output_key(app.id, name))
