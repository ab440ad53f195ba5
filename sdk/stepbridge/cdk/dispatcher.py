"""The dispatcher: one Lambda function, what feeds it, its role and its log group."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata

from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from stepbridge.cdk.durations import duration
from stepbridge.cdk.machine import Machine
from stepbridge.cdk.packaging import HANDLER
from stepbridge.cdk.permissions import Parts, dispatcher_statements


class Dispatcher(Construct):
    """Takes messages off the queue and moves runs on.

    Recursive loops are allowed: a run that goes on by its own queue looks like one to Lambda, which otherwise
    drops it at about the sixteenth hop. The engine's own guard is `limits.INVOCATIONS_MAX`. Source: Lambda
    developer guide, "Recursive loop detection", 2026.

    Args:
        scope: The app's construct.
        construct_id: Within it.
        code: The asset.
        machine: How it runs.
        parts: What it works on.
        environment: Its variables.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        code: lambda_.Code,
        machine: Machine,
        parts: Parts,
        environment: Mapping[str, str],
    ) -> None:
        super().__init__(scope, construct_id)
        self.log_group = logs.LogGroup(
            self,
            "Logs",
            retention=machine.log_retention,
            encryption_key=parts.key,
            removal_policy=machine.removal_policy,
        )
        statements = dispatcher_statements(parts, self.log_group)
        self.role = iam.Role(
            self,
            "Role",
            description="The stepbridge dispatcher works on its app's resources",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            inline_policies={"dispatcher": iam.PolicyDocument(statements=statements)},
        )
        self.function = lambda_.Function(
            self,
            "Function",
            description=f"dispatcher of stepbridge {metadata.version('stepbridge')}",  # `doctor` tells it,
            code=code,
            handler=HANDLER,
            runtime=machine.runtime,
            architecture=machine.architecture,
            memory_size=machine.memory_mb,
            timeout=duration(machine.timeout),
            role=self.role,
            environment=dict(environment),
            environment_encryption=parts.key,
            log_group=self.log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            recursive_loop=lambda_.RecursiveLoop.ALLOW,
            snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if machine.snap_start else None,
        )
        target: lambda_.IFunction = self.function
        if machine.snap_start:  # which only published versions have
            target = lambda_.Alias(self, "Live", alias_name="live", version=self.function.current_version)
        self.mapping = lambda_.EventSourceMapping(
            self,
            "Mapping",
            target=target,
            event_source_arn=parts.queue.queue_arn,
            batch_size=machine.batch_size,
            max_concurrency=machine.max_concurrency,
            report_batch_item_failures=True,
        )
