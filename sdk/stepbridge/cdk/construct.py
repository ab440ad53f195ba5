"""`StepbridgeApp`: one app's resources, as one construct."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from constructs import Construct

from stepbridge.aws.settings import Settings, variable
from stepbridge.cdk import numbers
from stepbridge.cdk.acknowledged import ACCESS_LOGS, DEAD_LETTERS, acknowledge, acknowledge_wildcard
from stepbridge.cdk.asset import code_of
from stepbridge.cdk.dispatcher import Dispatcher
from stepbridge.cdk.encryption import let_services_in
from stepbridge.cdk.loading import load_app, needs_cel
from stepbridge.cdk.machine import Machine, checked, on_this_machine, platform_of
from stepbridge.cdk.metrics import Metrics
from stepbridge.cdk.outputs import put_out
from stepbridge.cdk.packaging import Package
from stepbridge.cdk.permissions import Parts, client_statements
from stepbridge.cdk.queues import Queues
from stepbridge.cdk.routing import Routing, is_default
from stepbridge.cdk.state import State
from stepbridge.cdk.timers import Timers
from stepbridge.cdk.watch import Watch
from stepbridge.core.limits import INVOCATION, RETENTION, RUN_MAX
from stepbridge.errors import ConfigError

_BLOBS_REASON = "A blob is named after its run and its content, when it is written; the bucket is the app's own."

TAG = "stepbridge:app"
"""Of every resource that has tags: by it a bill is split by app."""
_STACK_REASON = "A stack's ARN ends in a number that is new whenever it is made; its name is written out."


class StepbridgeApp(Construct):
    """An app's bus, rules, queues, dispatcher, table, schedules, bucket, alarms and dashboard.

    The app is imported when the stack is synthesised: its triggers, crons, waits and cancels are written once,
    in its code. Steps that use other resources get them as usual: `orders.grant_read(shop.function)`.

    Args:
        scope: A stack.
        construct_id: Within it.
        app: As module:attribute, `"functions.shop:app"`.
        source: The folder that holds the app's top-level package; its project is the next folder upwards with a
            uv.lock, requirements.txt or pyproject.toml.
        include: Further files and folders of `source` that the app imports or reads.
        extras: Of the project's optional dependencies, what the app needs.
        event_bus: A custom bus (Classic) that the app shares; a new one where it is left out.
        narrow_rule: Let only events through that are declared: triggers, `waits=`, `cancel=`. Off, because what a
            handler waits for shows only when it runs; on, a wait that is not declared fails with a `ConfigError`,
            and other apps' events cost this one nothing.
        memory_mb: 256: a dispatcher mostly waits, and memory is what waiting costs. More where steps compute.
        timeout: 120 s: what a crash costs is noticed that soon, and long runs hand over to the next invocation by
            themselves. Raise it for a single step that takes longer: 15 minutes at most.
        batch_size: 1: a run has its invocation to itself. Up to 10 for many short runs: a third of the requests.
        max_concurrency: Of invocations, 2 to 1,000; without it as many as the account has.
        snap_start: Start from a snapshot. Off: it restores faster than the 1 s that imports take, but every
            published version costs money for as long as it exists. Source: Lambda pricing, 2026-09.
        architecture: arm64: a fifth cheaper for the same work. Source: Lambda pricing, 2026-09.
        runtime: Python 3.14, the newest that Lambda and this CDK have (2026-11).
        retention: Of a run's records after its end, in days; for so long an event starts no second run. 30 days.
        log_retention: A month, as long as the records of a run that has ended.
        removal_policy: RETAIN: table, bucket and logs outlive the stack. A bucket to be destroyed must be empty.
        deletion_protection: Of the table; where it is left out: unless it is to be destroyed.
        kms_key: One customer key for table, queues, bucket, logs, environment, schedules and a new bus; without it
            keys that AWS owns or manages.
        step_data_keys: Customer keys under which the dispatcher seals step data itself, so that who may read table
            and bucket still reads nothing of users: the first seals, the others are those of before. The project
            requires stepbridge[encryption] then. Costs a request of $0.03 per 10,000 for each sandbox and hour.
            Source: KMS pricing, 2026.
        alarm_topic: Is told of alarms.

    Attributes:
        app: The app that was loaded.
        function: The dispatcher; `dispatcher` has its role, log group and mapping too.
        event_bus: Its own or the given one.
        queue: What the dispatcher works off.
        dead_letter_queue: What it gave up, and events and timers that did not reach the queue.
        table: The state of all runs.
        bucket: Values above 8 KB.
        watch: Its `alarms` and its `dashboard`.
        settings: What `stepbridge.aws.settings.Settings` holds, by its names; outputs of the stack as well.

    Raises:
        ConfigError: An argument is wrong or the app cannot be loaded; names the mend.
    """

    def __init__(  # noqa: PLR0913 - a construct's props
        self,
        scope: Construct,
        construct_id: str,
        *,
        app: str,
        source: str | Path = ".",
        include: Sequence[str] = (),
        extras: Sequence[str] = (),
        event_bus: events.IEventBus | None = None,
        narrow_rule: bool = False,
        memory_mb: int = numbers.MEMORY_MB,
        timeout: cdk.Duration | None = None,
        batch_size: int = numbers.BATCH_SIZE,
        max_concurrency: int | None = None,
        snap_start: bool = False,
        architecture: lambda_.Architecture | None = None,
        runtime: lambda_.Runtime | None = None,
        retention: cdk.Duration | None = None,
        log_retention: logs.RetentionDays | None = None,
        removal_policy: cdk.RemovalPolicy = cdk.RemovalPolicy.RETAIN,
        deletion_protection: bool | None = None,
        kms_key: kms.IKey | None = None,
        step_data_keys: Sequence[kms.IKey] = (),
        alarm_topic: sns.ITopic | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        folder = Path(source).resolve()
        architecture = architecture or lambda_.Architecture.ARM_64
        wanted = Machine(
            architecture=architecture,
            runtime=runtime or lambda_.Runtime.PYTHON_3_14,
            memory_mb=memory_mb,
            timeout=INVOCATION if timeout is None else timedelta(seconds=int(timeout.to_seconds())),
            batch_size=batch_size,
            max_concurrency=max_concurrency,
            snap_start=snap_start,
            log_retention=log_retention or logs.RetentionDays.ONE_MONTH,
            removal_policy=removal_policy,
            platform=platform_of(architecture),
        )
        machine = on_this_machine(self, checked(wanted))
        _check(event_bus)
        self.app = load_app(app, folder, include)
        if kms_key is not None:
            let_services_in(kms_key, cdk.Stack.of(self))
        if deletion_protection is None:
            deletion_protection = removal_policy is not cdk.RemovalPolicy.DESTROY
        kept = RETENTION if retention is None else timedelta(days=int(retention.to_days()))
        state = State(
            self,
            "State",
            blob_life=RUN_MAX + kept,
            kms_key=kms_key,
            removal_policy=removal_policy,
            deletion_protection=deletion_protection,
        )
        queues = Queues(self, "Queues", visibility=machine.visibility, kms_key=kms_key)
        routing = Routing(
            self,
            "Routing",
            app=self.app,
            queues=queues,
            event_bus=event_bus,
            narrow=narrow_rule,
            kms_key=kms_key,
        )
        timers = Timers(self, "Timers", app=self.app, queues=queues, kms_key=kms_key)
        self.event_bus = routing.bus
        self.queue = queues.queue
        self.dead_letter_queue = queues.dead
        self.table = state.table
        self.bucket = state.bucket
        self._parts = Parts(
            table=state.table,
            bucket=state.bucket,
            prefix=f"{self.app.id}/",
            queue=queues.queue,
            dead=queues.dead,
            bus=routing.bus,
            timers=timers,
            key=kms_key,
            step_data_keys=tuple(step_data_keys),
        )
        self.settings = self._settings(kept, narrow_rule)
        package = Package(
            app=app,
            source=folder,
            include=tuple(include),
            extras=tuple(extras),
            machine=machine.platform,
            python=machine.python,
            with_cel=needs_cel(self.app),
            with_encryption=bool(step_data_keys),
        )
        self.dispatcher = Dispatcher(
            self,
            "Dispatcher",
            code=code_of(package),
            machine=machine,
            parts=self._parts,
            environment={variable(name): value for name, value in self.settings.items()},
        )
        self.function = self.dispatcher.function
        metrics = Metrics(self.app.id, self._parts, queues, self.function)
        self.watch = Watch(
            self, "Watch", metrics=metrics, app_id=self.app.id, visibility=machine.visibility, topic=alarm_topic
        )
        put_out(self, self.app, self.settings)
        cdk.Tags.of(self).add(TAG, self.app.id)
        self._acknowledge()

    def grant_client(self, grantee: iam.IGrantable) -> None:
        """Lets the grantee use `stepbridge.Client` with this app; `settings` tells it what to use it with."""
        principal = grantee.grant_principal
        for statement in client_statements(self._parts):
            principal.add_to_principal_policy(statement)
        if isinstance(principal, Construct):
            acknowledge_wildcard(principal, self._parts.blobs_arn, _BLOBS_REASON)
            acknowledge_wildcard(principal, self._parts.stack_arn, _STACK_REASON)

    def _settings(self, kept: timedelta, narrow: bool) -> dict[str, str]:  # noqa: FBT001 - as the prop is
        """What `aws.settings.Settings` holds, by its names; region and endpoint are the runtime's own."""
        parts = self._parts
        settings = Settings(
            table=parts.table.table_name,
            queue_url=parts.queue.queue_url,
            queue_arn=parts.queue.queue_arn,
            dlq_url=parts.dead.queue_url,
            dlq_arn=parts.dead.queue_arn,
            bus_arn=parts.bus.event_bus_arn,
            schedule_group=parts.timers.group.schedule_group_name,
            scheduler_role_arn=parts.timers.role.role_arn,
            blobs_bucket=parts.bucket.bucket_name,
            blobs_prefix=parts.prefix,
            encryption_keys=",".join(key.key_arn for key in parts.step_data_keys),
            kms_key_arn=None if parts.key is None else parts.key.key_arn,
            narrow_rule=narrow,
            retention_days=kept.days,
        )
        return settings.texts()

    def _acknowledge(self) -> None:
        acknowledge(
            self.dead_letter_queue,
            DEAD_LETTERS,
            "It is the dead-letter queue; an alarm tells of its first message.",
        )
        acknowledge(
            self.bucket, ACCESS_LOGS, "Only the app reads it; CloudTrail data events record by whom, if wanted."
        )
        acknowledge_wildcard(self.dispatcher.role, self._parts.blobs_arn, _BLOBS_REASON)
        acknowledge_wildcard(
            self.dispatcher.role,
            self._parts.schedules_arn,
            "A schedule is named after its run, when it is made; the group holds this app's and no others.",
        )


def _check(event_bus: events.IEventBus | None) -> None:
    if is_default(event_bus):
        raise ConfigError(
            "StepbridgeApp: event_bus is the account's default bus, whose every AWS event would reach the app."
            " Mend: leave it out; triggers with source='aws.…' get a rule on the default bus by themselves."
        )
