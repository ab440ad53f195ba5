"""The app's queue, and its dead-letter queue: of what failed in the app, and of what never reached it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stepbridge.cdk.durations import duration
from stepbridge.core.limits import MAX_RECEIVES, MESSAGE_RETENTION


class Queues(Construct):
    """Standard queues, because a run's order is its lease's and its registers', and FIFO has no delay a message.

    One dead-letter queue takes all that ended: SQS moves messages back only from a queue that is the dead-letter
    queue of another one, so a second one, of the rules alone, could not be redriven. Source: SQS API,
    StartMessageMoveTask, 2026-11. Nobody's dead letters may end in the queue itself; those of the dead-letter queue
    cannot be named (`byQueue`): each queue would have to be made before the other.

    Args:
        scope: The app's construct.
        construct_id: Within it.
        visibility: How long a message that is being worked on stays hidden.
        kms_key: Encrypts all; None: SQS's own key.
    """

    def __init__(self, scope: Construct, construct_id: str, *, visibility: timedelta, kms_key: kms.IKey | None) -> None:
        super().__init__(scope, construct_id)
        self._key = kms_key
        self.dead = self._queue("DeadLetters")
        self.queue = self._queue(
            "Queue",
            visibility_timeout=duration(visibility),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead, max_receive_count=MAX_RECEIVES),
            redrive_allow_policy=sqs.RedriveAllowPolicy(redrive_permission=sqs.RedrivePermission.DENY_ALL),
        )

    def _queue(self, name: str, **more: Any) -> sqs.Queue:
        return sqs.Queue(
            self,
            name,
            **more,
            retention_period=duration(MESSAGE_RETENTION),
            encryption=sqs.QueueEncryption.KMS if self._key else sqs.QueueEncryption.SQS_MANAGED,
            encryption_master_key=self._key,
            enforce_ssl=True,
        )
