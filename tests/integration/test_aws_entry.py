"""The Lambda handler, called as Lambda calls it: events in, partial batch responses out."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepbridge import App, ConfigError, Context, ContextSync, event
from stepbridge.aws import dispatcher
from stepbridge.aws.entry import Dispatcher
from stepbridge.aws.settings import variable
from stepbridge.core.messages import Go, Start, message_text
from stepbridge.core.records import EventRecord
from stepbridge.local.moto import MotoStack, MotoWorld
from stepbridge.memory.clock import VirtualClock
from stepbridge.ports import Message, Outgoing

START = datetime(2025, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@dataclass
class LambdaLike:
    """Lambda's context."""

    aws_request_id: str = "8f5d2b1e-0c4a-5e2f-9d61-6f3a1c8f0b77"
    left_ms: int = 120_000

    def get_remaining_time_in_millis(self) -> int:
        """As on AWS."""
        return self.left_ms


class Bench:
    """One app in moto, whose handler is called by hand."""

    def __init__(self, app: App, world: MotoWorld, clock: VirtualClock) -> None:
        self.world = world
        self.clock = clock
        self.stack: MotoStack = world.stack(app)
        self.handler: Dispatcher = self.stack.handler

    def put(self, name: str, **data: Any) -> None:
        """An event, as any AWS service puts it."""
        self.world.bus.put_raw([{"DetailType": name, "Source": "test", "Detail": json.dumps(data)}])

    def receive(self, limit: int = 10) -> list[Message]:
        """What Lambda's poller takes."""
        return self.stack.queue.receive(limit)

    def call(self, messages: list[Message], context: LambdaLike | None = None) -> list[str]:
        """Calls the handler with the messages; those that must come back."""
        answer = self.handler(self.stack.queue.event(messages), context or LambdaLike())
        assert set(answer) == {"batchItemFailures"}
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def heads(self) -> dict[str, str]:
        """Status by the trigger's `k`."""
        return {
            str(json.loads(str(item["d"]))["k"]): str(item["st"])
            for item in self.stack.table.items()
            if item["sk"] == "#"
        }


@pytest.fixture
def clock() -> VirtualClock:
    """Of the world and of moto."""
    return VirtualClock(START)


@pytest.fixture
def world(clock: VirtualClock) -> Iterator[MotoWorld]:
    """An account without apps."""
    with MotoWorld(clock=clock) as world:
        yield world
