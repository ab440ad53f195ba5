"""The AWS adapters against moto: real clients, real answers, in this process, under a virtual clock.

moto stores schedules and never fires them; `wait` does, as Scheduler's templated SQS target would.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import moto.dynamodb.models.table
import moto.s3.models
import moto.scheduler.models  # noqa: F401 - these keep the clock that they find: loaded before it is another
import pytest
from moto import mock_aws

from stepbridge.aws import schema
from stepbridge.aws.clients import Clients
from stepbridge.aws.queue import message_of
from stepbridge.aws.settings import Settings
from stepbridge.aws.wiring import ports
from stepbridge.local.moto_process import with_time
from stepbridge.local.moto_queue import lambda_record
from stepbridge.memory.clock import VirtualClock
from stepbridge.ports import Message

START = datetime(2025, 1, 1, tzinfo=UTC)
REGION: Final = "eu-west-1"
_ACCOUNT = "123456789012"
_URL = f"https://sqs.{REGION}.amazonaws.com/{_ACCOUNT}"


def settings(**changes: str) -> Settings:
    """Settings of an app `shop`, as its stack would set them."""
    values = {
        "table": "shop",
        "queue_url": f"{_URL}/shop",
        "queue_arn": f"arn:aws:sqs:{REGION}:{_ACCOUNT}:shop",
        "dlq_url": f"{_URL}/shop-dead",
        "dlq_arn": f"arn:aws:sqs:{REGION}:{_ACCOUNT}:shop-dead",
        "bus_arn": f"arn:aws:events:{REGION}:{_ACCOUNT}:event-bus/shop",
        "schedule_group": "shop",
        "scheduler_role_arn": f"arn:aws:iam::{_ACCOUNT}:role/shop-scheduler",
        "blobs_bucket": "shop-blobs",
        "blobs_prefix": "shop/",
        "region": REGION,
    }
    return Settings.of({**values, **changes})


class Recorded:
    """Clients whose requests are listed as they leave."""

    def __init__(self) -> None:
        self.clients = Clients.of(settings())
        self.requests: list[str] = []
        self.clients._session.register("before-send", self._note)

    def _note(self, **event: Any) -> None:
        self.requests.append(event["event_name"].rpartition(".")[2])


_RECORDED = functools.cache(Recorded)
_DRIVER = functools.cache(lambda: Clients.of(settings()))
"""Made once, in the first mock: a client takes longer to make than a test to run."""


class MotoBackend:
    """One app's resources in moto; `requests` lists the operations that the adapters ask for."""

    visibility = timedelta(seconds=150)

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.settings = settings()
        self.clients = _RECORDED().clients
        self.ports = ports(self.settings, self.clients, clock)
        self.requests = _RECORDED().requests
        self.requests.clear()
        self._driver = _DRIVER()
        self._make(self._driver)

    def receive(self, limit: int = 10) -> list[Message]:
        """As the protocol says. Time does not stand: moto shows a message after its instant."""
        self.clock.move_to(self.clock.now() + timedelta(milliseconds=1))
        answer = self._driver.sqs().receive_message(
            QueueUrl=self.settings.queue_url,
            MaxNumberOfMessages=limit,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return [message_of(lambda_record(one, self.settings.queue_arn)) for one in answer.get("Messages", [])]

    def acknowledge(self, messages: list[Message]) -> None:
        """As the protocol says."""
        for message in messages:
            self._driver.sqs().delete_message(QueueUrl=self.settings.queue_url, ReceiptHandle=message.receipt)

    def dead_records(self) -> list[dict[str, Any]]:
        """The dead-letter queue's messages, which stay there, as Lambda would hand them over."""
        answer = self._driver.sqs().receive_message(
            QueueUrl=self.settings.dlq_url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=0,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return [lambda_record(one, self.settings.queue_arn) for one in answer.get("Messages", [])]

    def dead(self) -> list[str]:
        """As the protocol says."""
        return [record["body"] for record in self.dead_records()]

    def schedules(self) -> list[str]:
        """As the protocol says."""
        answer = self._driver.scheduler().list_schedules(GroupName=self.settings.schedule_group)
        return sorted(one["Name"] for one in answer["Schedules"])

    def schedule(self, name: str) -> dict[str, Any]:
        """What Scheduler was told."""
        answer: dict[str, Any] = dict(
            self._driver.scheduler().get_schedule(GroupName=self.settings.schedule_group, Name=name)
        )
        return answer

    def wait(self, time: timedelta) -> None:
        """As the protocol says."""
        end = self.clock.now() + time
        for at, name in sorted((self._fires_at(name), name) for name in self.schedules()):
            if at <= end:
                self.clock.move_to(at)
                self._fire(name)
        self.clock.move_to(end)

    def _fires_at(self, name: str) -> datetime:
        text = self.schedule(name)["ScheduleExpression"]
        return datetime.strptime(text, "at(%Y-%m-%dT%H:%M:%S)").replace(tzinfo=UTC)

    def _fire(self, name: str) -> None:
        target = self.schedule(name)["Target"]
        self._driver.sqs().send_message(
            QueueUrl=f"{_URL}/{target['Arn'].rpartition(':')[2]}", MessageBody=target["Input"]
        )
        self._driver.scheduler().delete_schedule(GroupName=self.settings.schedule_group, Name=name)

    def _make(self, clients: Clients) -> None:
        clients.dynamodb().create_table(**schema.definition(self.settings.table))
        for url in (self.settings.dlq_url, self.settings.queue_url):
            clients.sqs().create_queue(
                QueueName=url.rpartition("/")[2],
                Attributes={"VisibilityTimeout": f"{self.visibility.total_seconds():.0f}"},
            )
        bus = self.settings.bus_arn.rpartition("/")[2]
        clients.events().create_event_bus(Name=bus)
        clients.events().put_rule(Name="all", EventBusName=bus, EventPattern='{"source": [{"exists": true}]}')
        clients.events().put_targets(
            Rule="all", EventBusName=bus, Targets=[{"Id": "q", "Arn": self.settings.queue_arn}]
        )
        clients.scheduler().create_schedule_group(Name=self.settings.schedule_group)
        clients.s3().create_bucket(
            Bucket=self.settings.blobs_bucket,
            CreateBucketConfiguration={"LocationConstraint": REGION},
        )


@contextmanager
def moto_backend() -> Iterator[MotoBackend]:
    """A new backend; its resources go with it."""
    clock = VirtualClock(START)
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_ACCOUNT_ID_ENDPOINT_MODE", "disabled")
        for module in with_time():
            patch.setattr(module, "utcnow", lambda: clock.now().replace(tzinfo=None))
        yield MotoBackend(clock)
