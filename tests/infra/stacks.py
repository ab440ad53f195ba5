"""The stacks under test. Importing this loads CDK."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from cdk_nag import AwsSolutionsChecks

from infra.stack import ROOT, ShopStack
from stepbridge.cdk import StepbridgeApp
from stepbridge.cdk.asset import code_of
from stepbridge.cdk.packaging import Package
from tests.infra.templates import Template, templates_in

PROJECT = Path(__file__).parent / "project"

NO_BUNDLING: dict[str, list[str]] = {"aws:cdk:bundling-stacks": []}


def synthesise(outdir: Path, *, nag: bool = False) -> Path:
    """Writes both stacks into `outdir`."""
    app = new_app(outdir)
    ShopStack(app, "Plain")
    full(app)
    if nag:
        cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()
    return outdir


def new_app(outdir: Path) -> cdk.App:
    """An app whose assets are not built, with the settings of cdk.json left at CDK's defaults."""
    return cdk.App(outdir=str(outdir), context=NO_BUNDLING)


def full(app: cdk.App) -> None:
    """Every prop away from its default, and a client."""
    stack = cdk.Stack(app, "Full")
    key = kms.Key(stack, "Key", enable_key_rotation=True)
    wares = StepbridgeApp(
        stack,
        "Wares",
        app="wares:app",
        source=PROJECT,
        narrow_rule=True,
        memory_mb=512,
        timeout=cdk.Duration.minutes(5),
        batch_size=10,
        max_concurrency=50,
        snap_start=True,
        architecture=lambda_.Architecture.X86_64,
        runtime=lambda_.Runtime.PYTHON_3_14,
        retention=cdk.Duration.days(90),
        log_retention=logs.RetentionDays.ONE_YEAR,
        removal_policy=cdk.RemovalPolicy.DESTROY,
        kms_key=key,
        step_data_keys=[key],
        alarm_topic=sns.Topic(stack, "Alarms", master_key=key, enforce_ssl=True),
    )
    wares.grant_client(iam.Role(stack, "Client", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com")))


def refused(outdir: Path, *, timeout: int | None = None, event_bus: str | None = None, **props: Any) -> None:
    """A stack with one prop that cannot be."""
    stack = cdk.Stack(new_app(outdir), "Refused")
    given = None if event_bus is None else events.EventBus.from_event_bus_name(stack, "Bus", event_bus)
    span = None if timeout is None else cdk.Duration.seconds(timeout)
    StepbridgeApp(stack, "Shop", app="functions.shop:app", source=ROOT, timeout=span, event_bus=given, **props)


def protected(outdir: Path) -> Template:
    """A table that is destroyed with its stack, once its protection has been taken away."""
    app = new_app(outdir)
    StepbridgeApp(
        cdk.Stack(app, "Protected"),
        "Shop",
        app="functions.shop:app",
        source=ROOT,
        removal_policy=cdk.RemovalPolicy.DESTROY,
        deletion_protection=True,
    )
    app.synth()
    return templates_in(outdir)["Protected"]


def rotated(outdir: Path, *arns: str) -> Template:
    """Step data sealed under these keys."""
    app = new_app(outdir)
    stack = cdk.Stack(app, "Rotated")
    keys = [kms.Key.from_key_arn(stack, f"Key{place}", arn) for place, arn in enumerate(arns)]
    StepbridgeApp(stack, "Shop", app="functions.shop:app", source=ROOT, step_data_keys=keys)
    app.synth()
    return templates_in(outdir)["Rotated"]


def assets(outdir: Path, packages: Mapping[str, Package]) -> dict[str, str]:
    """The names of the assets, built, of a function each, by the names of their stacks."""
    app = cdk.App(outdir=str(outdir))
    for name, package in packages.items():
        lambda_.Function(
            cdk.Stack(app, name),
            "Function",
            code=code_of(package),
            handler="unused",
            runtime=lambda_.Runtime.PYTHON_3_14,
        )
    app.synth()
    return {name: one.one("Lambda::Function")["Code"]["S3Key"] for name, one in templates_in(outdir).items()}


def two_on_one_bus(outdir: Path) -> Template:
    """Two apps that share a bus and a stack."""
    app = new_app(outdir)
    stack = cdk.Stack(app, "Two")
    bus = events.EventBus(stack, "Bus")
    StepbridgeApp(stack, "Shop", app="functions.shop:app", source=ROOT, event_bus=bus)
    StepbridgeApp(stack, "Wares", app="wares:app", source=PROJECT, event_bus=bus)
    app.synth()
    return templates_in(outdir)["Two"]
