"""The function's asset, as CDK takes it."""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
import jsii
from aws_cdk import aws_lambda as lambda_

from stepbridge.cdk.packaging import Package, build


@jsii.implements(cdk.ILocalBundling)
class _Local:
    """Builds in this process: CDK never asks Docker."""

    def __init__(self, package: Package) -> None:
        self._package = package

    def try_bundle(self, output_dir: str, *_: object, **__: object) -> bool:
        """Fills the folder; an error ends the synthesis."""
        build(self._package, Path(output_dir))
        return True


def code_of(package: Package) -> lambda_.Code:
    """The code of a function.

    Its hash is that of the files built, so nothing may be excluded: CDK leaves the same out of both. `command` is
    run by nobody: CDK keeps assets of one source and one command for the same, and several apps may lie in one
    folder.
    """
    bundling = cdk.BundlingOptions(
        image=cdk.DockerImage.from_registry("unused"),
        local=_Local(package),
        command=[repr(package)],
    )
    return lambda_.Code.from_asset(str(package.source), asset_hash_type=cdk.AssetHashType.OUTPUT, bundling=bundling)
