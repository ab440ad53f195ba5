"""The stacks under test. Importing this loads CDK."""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from cdk_nag import AwsSolutionsChecks

from infra.stack import ShopStack
from stepbridge.cdk import StepbridgeApp

NO_BUNDLING = {"aws:cdk:bundling-stacks": []}


def synthesise(outdir: Path, project: Path, *, nag: bool = False) -> Path:
    """Writes both stacks into `outdir`."""
    app = new_app(outdir)
    ShopStack(app, "Plain")
    full(app, project)
    if nag:
        cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()
    return outdir


def new_app(outdir: Path) -> cdk.App:
    """An app whose assets are not built, with the settings of cdk.json left at CDK's defaults."""
    return cdk.App(outdir=str(outdir), context=NO_BUNDLING)


def full(app: cdk.App, project: Path) -> None:
    """Every prop away from its default, and a client."""
    stack = cdk.Stack(app, "Full")
    key = kms.Key(stack, "Key", enable_key_rotation=True)
    wares = StepbridgeApp(
        stack,
        "Wares",
        app="wares:app",
        source=project,
        narrow_rule=True,
        memory_mb=512,
        timeout=cdk.Duration.minutes(5),
        batch_size=10,
        max_concurrency=50,
        snap_start=True,
        architecture=lambda_.Architecture.X86_64,
        runtime=lambda_.Runtime.PYTHON_3_14,
        log_retention=logs.RetentionDays.ONE_YEAR,
        removal_policy=cdk.RemovalPolicy.DESTROY,
        kms_key=key,
        alarm_topic=sns.Topic(stack, "Alarms", master_key=key, enforce_ssl=True),
    )
    wares.grant_client(iam.Role(stack, "Client", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com")))
