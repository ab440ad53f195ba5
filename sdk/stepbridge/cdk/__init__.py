"""The app's stack on AWS. Nothing outside this package and `infra` names aws_cdk."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepbridge.cdk.construct import StepbridgeApp

__all__ = ["StepbridgeApp"]


def __getattr__(name: str) -> Any:
    """CDK is loaded where a stack is made, not by what only packs an asset or knows an output's name."""
    if name == "StepbridgeApp":
        from stepbridge.cdk.construct import StepbridgeApp

        return StepbridgeApp
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
