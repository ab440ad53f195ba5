"""The app's queue, and the dead-letter queues: of what failed in the app, and of what never reached it."""

from __future__ import annotations

from datetime import timedelta

from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stepbridge.cdk.durations import duration
from stepbridge.core.limits import MAX_RECEIVES, MESSAGE_RETENTION


class Queues(Construct):
    """Standard queues, because a run's order is its lease's and its registers', and FIFO has no delay a message.

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
        self.undelivered = self._queue("Undelivered")
        """Events that a rule could not put into the queue."""
        self.queue = self._queue(
            "Queue", visibility, sqs.DeadLetterQueue(queue=self.dead, max_receive_count=MAX_RECEIVES)
        )

    def _queue(
        self, name: str, visibility: timedelta | None = None, dead: sqs.DeadLetterQueue | None = None
    ) -> sqs.Queue:
        return sqs.Queue(
            self,
            name,
            visibility_timeout=None if visibility is None else duration(visibility),
            dead_letter_queue=dead,
            retention_period=duration(MESSAGE_RETENTION),
            encryption=sqs.QueueEncryption.KMS if self._key else sqs.QueueEncryption.SQS_MANAGED,
            encryption_master_key=self._key,
            enforce_ssl=True,
        )
