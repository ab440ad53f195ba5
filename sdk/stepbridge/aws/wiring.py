"""The composition root: settings in, ports out."""

from __future__ import annotations

from datetime import datetime
from time import time_ns
from typing import TYPE_CHECKING

from stepbridge.aws.blobs import S3Blobs
from stepbridge.aws.bus import EventBridgeBus
from stepbridge.aws.clients import Clients
from stepbridge.aws.observability import ObservedTable, Observer
from stepbridge.aws.queue import SqsQueue
from stepbridge.aws.settings import Settings
from stepbridge.aws.table import DynamoTable
from stepbridge.aws.timers import SchedulerTimers
from stepbridge.core.instants import from_ms
from stepbridge.ports import Clock, Ports

if TYPE_CHECKING:
    from stepbridge.engine.sealing import Keys


class SystemClock:
    """`ports.Clock` on the host, which AWS keeps in step by NTP."""

    def now(self) -> datetime:
        """Aware UTC, whole milliseconds, rounded down: nothing looks due before it is."""
        return from_ms(time_ns() // 1_000_000)  # this is where the clock enters


def ports(
    settings: Settings,
    clients: Clients | None = None,
    clock: Clock | None = None,
    observer: Observer | None = None,
    keys: Keys | None = None,
) -> Ports:
    """One app's world on AWS. Makes no request, and no client before its first call.

    Args:
        settings: Which resources.
        clients: Of a session to share; None: of a new one.
        clock: Of a local backend whose time is moved; None: the host's.
        observer: Is told of the writes to runs; None: nobody is.
        keys: Of a test; None: those of the settings, if any.
    """
    clients = clients or Clients.of(settings)
    clock = clock or SystemClock()
    table = DynamoTable(clients.dynamodb, settings.table)
    if observer is not None:
        table = ObservedTable(clients.dynamodb, settings.table, observer, clock.now)
    made = Ports(
        table=table,
        queue=SqsQueue(clients.sqs, settings.queue_url, settings.dlq_url),
        bus=EventBridgeBus(clients.events, settings.bus_arn),
        timers=SchedulerTimers(
            clients.scheduler,
            group=settings.schedule_group,
            queue_arn=settings.queue_arn,
            dlq_arn=settings.dlq_arn,
            role_arn=settings.scheduler_role_arn,
            kms_key_arn=settings.kms_key_arn,
            clock=clock,
        ),
        blobs=S3Blobs(clients.s3, settings.blobs_bucket, settings.blobs_prefix),
        clock=clock,
        blocking=True,
        narrow=settings.narrow_rule,
    )
    if keys is None and settings.encryption_keys:
        from stepbridge.aws.kms import KmsKeys

        keys = KmsKeys(clients.kms, settings.encryption_keys.split(","))
    if keys is None:
        return made
    from stepbridge.engine.sealing import sealed

    return sealed(made, keys)
