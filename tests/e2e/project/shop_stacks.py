"""Two apps on one bus, each in a stack of its own, and a role that may use the desk's client."""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from constructs import Construct

from stepbridge.cdk import StepbridgeApp


class AppStack(cdk.Stack):
    """One app; all of it goes with the stack."""

    def __init__(self, scope: Construct, name: str, module: str, bus: events.IEventBus) -> None:
        super().__init__(scope, name)
        self.app = StepbridgeApp(
            self,
            "App",
            app=f"{module}:app",
            source=Path(__file__).parent,
            event_bus=bus,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )


app = cdk.App()
shared = cdk.Stack(app, "Shared")
bus = events.EventBus(shared, "Bus")
desk, depot = AppStack(app, "Desk", "desk", bus), AppStack(app, "Depot", "depot", bus)
clerk = iam.Role(cdk.Stack(app, "People"), "Clerk", role_name="clerk", assumed_by=iam.AccountRootPrincipal())
for one in (desk, depot):
    one.app.grant_client(clerk)
app.synth()
