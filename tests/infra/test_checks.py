"""Checks by others: cdk-nag, cfn-lint, CDK's own validation, and the way in that cdk.json names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.templates import templates_in

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ACKNOWLEDGED = [
    *["AwsSolutions-IAM5"] * 2,  # names of schedules and of blobs
    "AwsSolutions-S1",  # no access log of the bucket
    "AwsSolutions-SQS3",  # the dead-letter queue, without one of its own
]


def test_cdk_nag_finds_nothing_without_a_reason(quick_cdk: None, tmp_path: Path) -> None:
    """AwsSolutions on both stacks; a finding ends the synthesis."""
    from tests.infra.stacks import synthesise

    assert len(templates_in(synthesise(tmp_path, nag=True))) == 2


def test_each_acknowledged_finding_has_its_reason(assembly: Path) -> None:
    """Four, in the app's own constructs; a wildcard is acknowledged by its whole name, so another one is found."""
    metadata = json.loads((assembly / "Plain.metadata.json").read_text())
    found = [
        (path, rule.partition("::")[2], reason)
        for path, entries in metadata.items()
        for entry in entries
        if entry["type"] == "aws:cdk:acknowledged-rules"
        for rule, reason in entry["data"].items()
    ]
    assert all(path.startswith("/Plain/Shop/") and len(reason) > 40 for path, _, reason in found)
    assert sorted(rule.partition("[")[0] for _, rule, _ in found) == ACKNOWLEDGED
    assert all(rule.endswith("/*]") for _, rule, _ in found if rule.startswith("AwsSolutions-IAM5"))


def test_cfn_lint_finds_nothing(assembly: Path) -> None:
    """Warnings included, but for a `DependsOn` too many that CDK itself writes (W3005)."""
    files = sorted(str(file) for file in assembly.glob("*.template.json"))
    command = [str(Path(sys.prefix, "bin", "cfn-lint")), "--ignore-checks", "W3005", "--", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the environment's
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


def test_cdk_json_synthesises_the_shop(tmp_path: Path) -> None:
    """As the CDK CLI runs it: the asset built, CDK's validation and cdk-nag on."""
    settings = json.loads((ROOT / "cdk.json").read_text())
    command = settings["app"].replace(".venv/bin/python", sys.executable).split()
    environment = {
        **os.environ,  # noqa: TID251 - the CLI hands its own on: where packages come from, which certificates count
        "CDK_CONTEXT_JSON": json.dumps(settings["context"]),
        "CDK_OUTDIR": str(tmp_path),
        "JSII_NODE": str(Path(sys.prefix, "bin", "node")),
        "PATH": f"{Path(sys.prefix, 'bin')}:/usr/bin:/bin",
    }
    done = subprocess.run(  # noqa: S603 - as cdk.json says
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (asset,) = tmp_path.glob("asset.*")
    function = templates_in(tmp_path)["StepbridgeShop"].one("Lambda::Function")
    assert asset.name.removeprefix("asset.") in str(function["Code"])
    assert {path.name for path in asset.iterdir()} >= {"functions", "stepbridge", "cel_expr_python"}
