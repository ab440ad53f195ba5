"""The queue and the schedules in moto, from the driver's side: what Lambda's poller and Scheduler do on AWS."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from moto.scheduler.models import scheduler_backends
from moto.sqs.models import sqs_backends

from stepbridge.aws.clients import Clients
from stepbridge.aws.queue import INTERNAL, message_of
from stepbridge.aws.settings import Settings
from stepbridge.core.instants import from_ms
from stepbridge.local.moto_process import ACCOUNT, LOCK, REGION, Now
from stepbridge.memory.dice import ECHOES_MAX, Dice
from stepbridge.memory.requests import Requests
from stepbridge.ports import Clock, Message

_SECOND_MS: Final = 1000.0
_AT: Final = "at(%Y-%m-%dT%H:%M:%S)"


class MotoQueue:
    """An app's queue. Receives as Lambda does, and keeps what Lambda would hand over."""

    def __init__(self, clients: Clients, settings: Settings, requests: Requests, now: Now, dice: Dice | None) -> None:
        self._clients = clients
        self._settings = settings
        self._requests = requests
        self._now = now
        self._dice = dice
        self._records: dict[str, dict[str, Any]] = {}
        """By receipt."""
        self._echoes: list[tuple[datetime, dict[str, Any]]] = []
        self._seen: dict[str, int] = {}
        """Of each message, how often it was echoed."""
        self.on_deliver: Callable[[], object] | None = None
        """Called when a message may have come."""

    def receive(self, limit: int) -> list[Message]:
        """At most `limit` messages that are visible now; they come back unless acknowledged."""
        with self._now.nudged():
            echo = self._due_echo()
            records = [echo] if echo is not None else self._received(limit)
        if records:
            self._requests.count("ReceiveMessage")
        for record in records:
            self._records[record["receiptHandle"]] = record
        return [message_of(record) for record in records]

    def _received(self, limit: int) -> list[dict[str, Any]]:
        self._make_exact()
        if self._dice is not None:
            self._dice.shuffle(messages_in(self._settings.queue_url))
        at = self._visible_at()
        if at is None or at > self._now():
            return []
        answer = self._clients.sqs().receive_message(
            QueueUrl=self._settings.queue_url,
            MaxNumberOfMessages=limit,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        records = [lambda_record(one, self._settings.queue_arn) for one in answer.get("Messages", [])]
        for record in records:
            self._note_delivery(record)
        return records

    def _note_delivery(self, record: dict[str, Any]) -> None:
        """Counts what EventBridge sent; with dice, has some messages come twice."""
        first = record["attributes"]["ApproximateReceiveCount"] == "1"
        message = message_of(record)
        if first and not message.internal:
            self._requests.count("SendMessage")
        if self._dice is None or self._seen.get(message.id, 0) >= ECHOES_MAX or not self._dice.duplicate():
            return
        self._seen[message.id] = self._seen.get(message.id, 0) + 1
        at = self._now().replace(tzinfo=UTC) + timedelta(seconds=self._dice.echo_seconds())
        self._echoes.append((at, record))

    def _due_echo(self) -> dict[str, Any] | None:
        now = self._now().replace(tzinfo=UTC)
        due = next((echo for echo in self._echoes if echo[0] <= now), None)
        if due is not None:
            self._echoes.remove(due)
        return None if due is None else due[1]

    def deliver(self, body: str, *, internal: bool) -> None:
        """A message of Scheduler's, which bears no attribute: its body tells that it is the engine's."""
        assert internal  # noqa: S101 - events come by the bus
        self._requests.count("SendMessage")
        self._clients.sqs().send_message(QueueUrl=self._settings.queue_url, MessageBody=body)

    def told(self) -> None:
        """A message may have come."""
        if self.on_deliver is not None:
            self.on_deliver()

    def postpone(self, message: Message, delay: timedelta) -> None:
        """A received message comes back after so many whole seconds."""
        self._clients.sqs().change_message_visibility(
            QueueUrl=self._settings.queue_url,
            ReceiptHandle=message.receipt,
            VisibilityTimeout=math.ceil(delay.total_seconds()),
        )

    def event(self, messages: Sequence[Message]) -> dict[str, Any]:
        """What Lambda calls the handler with."""
        return {"Records": [self._records[message.receipt] for message in messages]}

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Deletes the messages."""
        for message in messages:
            self._records.pop(message.receipt, None)
            self._requests.count("DeleteMessage")
            self._clients.sqs().delete_message(QueueUrl=self._settings.queue_url, ReceiptHandle=message.receipt)

    def next_at(self) -> datetime | None:
        """When the next message is or becomes visible, in flight or not; None: there is none."""
        with LOCK:
            self._make_exact()
            at = self._visible_at()
            instants = [at for at, _ in self._echoes] + ([] if at is None else [at.replace(tzinfo=UTC)])
            return min(instants, default=None)

    def depth(self) -> tuple[int, int]:
        """How many messages are visible, and how many in flight or delayed."""
        with self._now.nudged():
            held = messages_in(self._settings.queue_url)
            visible = sum(max(one.visible_at, one.delayed_until) <= self._now.millis() for one in held)
            return visible, len(held) - visible

    @property
    def dead(self) -> list[str]:
        """The bodies in the dead-letter queue."""
        with LOCK:
            return [message.body for message in messages_in(self._settings.dlq_url)]

    def _visible_at(self) -> datetime | None:
        """When the first message is or becomes visible; naive UTC, up to the millisecond that follows."""
        waits = (max(one.visible_at, one.delayed_until) for one in messages_in(self._settings.queue_url))
        at_ms = min(waits, default=None)
        return None if at_ms is None else from_ms(math.ceil(at_ms - 0.01)).replace(tzinfo=None)

    def _make_exact(self) -> None:
        """Takes back what SQS rounds up: as in memory, simulated time is exact to the millisecond."""
        for message in messages_in(self._settings.queue_url):
            if not message.delayed_until or INTERNAL not in message.message_attributes:
                continue
            due_ms = json.loads(message.body).get("due", 0)
            if 0 < message.delayed_until - due_ms < _SECOND_MS:
                message.delayed_until = float(due_ms)


class MotoTimers:
    """An app's schedules, which moto keeps and never fires."""

    def __init__(
        self, clients: Clients, settings: Settings, requests: Requests, clock: Clock, dice: Dice | None
    ) -> None:
        self._clients = clients
        self._settings = settings
        self._requests = requests
        self._clock = clock
        self._dice = dice
        self._late: dict[str, timedelta] = {}

    def fire_due(self) -> int:
        """Sends the inputs of the schedules that are due, and deletes them as they ask; how many fired."""
        now = self._clock.now()
        due = sorted((at, name) for name, at in self._fires_at().items() if at <= now)
        for _, name in due:
            self._fire(name)
        return len(due)

    def next_at(self) -> datetime | None:
        """When the next schedule fires; None: none is armed."""
        return min(self._fires_at().values(), default=None)

    def names(self) -> list[str]:
        """The armed schedules, sorted."""
        return sorted(self._fires_at())

    def _fires_at(self) -> dict[str, datetime]:
        with LOCK:
            group = scheduler_backends[ACCOUNT][REGION].schedule_groups[self._settings.schedule_group]
            expressions = {name: one.schedule_expression for name, one in group.schedules.items()}
        return {name: _instant(text) + self._lateness(name) for name, text in expressions.items()}

    def _lateness(self, name: str) -> timedelta:
        if self._dice is None:
            return timedelta(0)
        if name not in self._late:
            self._late[name] = timedelta(seconds=self._dice.late_seconds())
        return self._late[name]

    def _fire(self, name: str) -> None:
        group = self._settings.schedule_group
        schedule = self._clients.scheduler().get_schedule(GroupName=group, Name=name)
        target = schedule["Target"]
        url = self._settings.queue_url.rpartition("/")[0] + "/" + target["Arn"].rpartition(":")[2]
        times = 2 if self._dice is not None and self._dice.duplicate() else 1
        for _ in range(times):
            self._requests.count("SendMessage")
            self._clients.sqs().send_message(QueueUrl=url, MessageBody=target["Input"])
        if schedule["ActionAfterCompletion"] == "DELETE":
            self._clients.scheduler().delete_schedule(GroupName=group, Name=name)


def lambda_record(message: Any, queue_arn: str) -> dict[str, Any]:
    """A received message as Lambda's event source mapping spells it."""
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": dict(message["Attributes"]),
        "messageAttributes": {
            name: {
                "stringValue": one["StringValue"],
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": one["DataType"],
            }
            for name, one in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": REGION,
    }


def messages_in(url: str) -> list[Any]:
    """The queue's messages as moto holds them: the API does not tell when one becomes visible."""
    messages: list[Any] = sqs_backends[ACCOUNT][REGION].queues[url.rpartition("/")[2]]._messages  # noqa: SLF001
    return messages


def _instant(expression: str) -> datetime:
    return datetime.strptime(expression, _AT).replace(tzinfo=UTC)
