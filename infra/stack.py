"""The example shop's stack."""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
from constructs import Construct

from stepbridge.cdk import StepbridgeApp

ROOT = Path(__file__).parent.parent


class ShopStack(cdk.Stack):
    """The shop, on a bus of its own."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id, description="The example shop of stepbridge")
        self.shop = StepbridgeApp(self, "Shop", app="functions.shop:app", source=ROOT, extras=["cel"])
