"""The CDK app that cdk.json runs."""

from __future__ import annotations

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from infra.stack import ShopStack


def main() -> None:
    """Synthesises every stack; a finding of cdk-nag that nobody has given a reason for ends it."""
    app = cdk.App()
    ShopStack(app, "StepbridgeShop")
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()


if __name__ == "__main__":
    main()
