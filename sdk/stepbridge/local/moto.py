"""A whole account in moto: one bus, and for each app its table, queue, schedules and bucket.

Real boto3 clients, real requests, real event shapes. What moto does not do is done here as AWS does it:
the poll of the queue, the call of the handler, and the firing of schedules.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType

from stepbridge.app import App
from stepbridge.aws import schema
from stepbridge.aws.attributes import item_of
from stepbridge.aws.clients import Clients
from stepbridge.aws.entry import Dispatcher
from stepbridge.aws.settings import Settings
from stepbridge.aws.wiring import ports as ports_of
from stepbridge.core.conditions import Item, Key
from stepbridge.core.limits import INVOCATION
from stepbridge.engine.calls import Stubs, no_stubs
from stepbridge.engine.sealing import Keys, sealed
from stepbridge.local.moto_bill import BilledTable
from stepbridge.local.moto_bus import MotoBus
from stepbridge.local.moto_process import (
    ACCOUNT,
    LOCK,
    REGION,
    Counted,
    Now,
    give_back,
    is_mocked,
    mocked,
    take_clients,
    unique,
)
from stepbridge.local.moto_queue import MotoQueue, MotoTimers
from stepbridge.local.moto_stack import arn_of, make, make_queue, make_rule, settings_of, unmake, url_of
from stepbridge.memory.dice import Dice
from stepbridge.memory.requests import Requests
from stepbridge.ports import Clock, Message, Ports


@dataclass(frozen=True, slots=True)
class Invoked:
    """Lambda's context, of an invocation that has just begun."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """The whole of it."""
        return int(INVOCATION.total_seconds() * 1000)


class MotoTable:
    """An app's table, to be looked at from outside."""

    def __init__(self, name: str) -> None:
        self._name = name

    def item(self, key: Key) -> Item | None:
        """The item, None where there is none."""
        with LOCK:
            partition = self._partitions().get(DynamoType({"S": key.pk}), {})
            item = partition.get(DynamoType({"S": key.sk}))
            return None if item is None else _plain(item)

    def items(self) -> list[Item]:
        """All items, in the order in which their partitions were made; a scan has them in that of their keys."""
        with LOCK:
            return [_plain(item) for partition in self._partitions().values() for item in partition.values()]

    def _partitions(self) -> dict[DynamoType, dict[DynamoType, Any]]:
        table: Any = dynamodb_backends[ACCOUNT][REGION].tables.get(self._name)
        return {} if table is None else table.items


def _plain(item: Any) -> Item:
    return item_of(
        {name: {one.type: _bytes(one.value) if one.type == "B" else one.value} for name, one in item.attrs.items()}
    )


def _bytes(value: bytes | str) -> bytes:
    """What came in, before or after base64: moto keeps either."""
    return value if isinstance(value, bytes) else b64decode(value)


class MotoStack:
    """One app's resources, and its handler."""

    def __init__(self, app: App, settings: Settings, world: MotoWorld, stubs: Stubs) -> None:
        self._stubs = stubs
        self.settings = settings
        self.requests = Requests()
        """What the app asked for, as it left for AWS; and what AWS would have done for it."""
        self.counted = take_clients(self.requests, world.time, world.tell)
        self.table = MotoTable(settings.table)
        ports = ports_of(settings, self.counted.clients, world.clock)
        table = BilledTable(self.counted.clients.dynamodb, settings.table, self.requests, self.table.item)
        billed = replace(ports, table=table)
        self.ports: Ports = billed if world.keys is None else sealed(billed, world.keys)
        driver = world.clients
        self.readable: Ports = ports_of(settings, driver, world.clock, keys=world.keys)
        """The same, uncounted."""
        self.queue = MotoQueue(driver, settings, self.requests, world.now, world.dice)
        self.timers = MotoTimers(driver, settings, self.requests, world.clock, world.dice)
        self.handler = Dispatcher(app, self.ports, stubs=stubs)

    def restart(self, app: App) -> None:
        """A cold start, with a new import of the app."""
        self.handler.close()
        self.handler = Dispatcher(app, self.ports, stubs=self._stubs)

    def invoke(self, messages: Sequence[Message], request_id: str) -> None:
        """Calls the handler as Lambda does, and deletes what it does not list."""
        failed = self.call(self.handler, messages, request_id)
        self.queue.acknowledge([message for message in messages if message not in failed])

    def call(self, handler: Dispatcher, messages: Sequence[Message], request_id: str) -> list[Message]:
        """Calls a handler as Lambda does; the messages that it lists as failures."""
        event = json.loads(json.dumps(self.queue.event(messages)))
        answer = json.loads(json.dumps(handler(event, Invoked(request_id))))
        failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        return [message for message in messages if message.id in failed]


class MotoWorld:
    """Apps that share a bus, as `memory.world.World` has them; use it as a context manager.

    Args:
        clock: Of the apps, and of moto if it is virtual.
        is_virtual: The clock does not go with the host's.
        dice: Everything happens at its worst.
        keys: Seal what is kept; None: nothing is sealed.
    """

    def __init__(
        self, *, clock: Clock, is_virtual: bool = True, dice: Dice | None = None, keys: Keys | None = None
    ) -> None:
        self.clock = clock
        self.keys = keys
        self.dice = dice
        self.now = Now(clock)
        self.requests = Requests()
        """What was asked for by others than the apps."""
        self.stacks: dict[str, MotoStack] = {}
        self.time = self.now if is_virtual else None
        """moto's; None: the host's."""
        self._bus: MotoBus | None = None
        self._counted: Counted | None = None
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        """Starts moto, and makes the bus."""
        with ExitStack() as undo:
            is_joined = is_mocked()
            undo.enter_context(mocked(self.time))
            self._counted = take_clients(self.requests, self.time, self.tell)
            undo.callback(give_back, self._counted)
            if is_joined:  # else everything goes with moto
                undo.callback(self._remove)
            self._bus = self._make_bus(unique("bus"))
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends handlers and moto, and with it all that was there."""
        try:
            for stack in self.stacks.values():
                stack.handler.close()
        finally:
            self._undo.close()
            for stack in self.stacks.values():
                give_back(stack.counted)
            self._bus = self._counted = None
            self.stacks = {}

    @property
    def clients(self) -> Clients:
        """Clients that no app is billed for."""
        if self._counted is None:
            raise RuntimeError("moto does not run. Mend: use the simulation in a `with` statement.")
        return self._counted.clients

    @property
    def bus(self) -> MotoBus:
        """The bus."""
        if self._bus is None:
            raise RuntimeError("moto does not run. Mend: use the simulation in a `with` statement.")
        return self._bus

    def stack(self, app: App, stubs: Stubs = no_stubs) -> MotoStack:
        """The app's stack, made at the first call."""
        if app.id not in self.stacks:
            settings = settings_of(unique(app.id), self.bus.arn)
            make(self.clients, app, settings)
            self.stacks[app.id] = MotoStack(app, settings, self, stubs)
        return self.stacks[app.id]

    def subscribe(self, app: App) -> None:
        """The app's rule lets through what its declarations want by now."""
        settings = self.stacks[app.id].settings
        make_rule(self.clients, settings.bus_arn, app.id, schema.event_pattern(app), settings.queue_arn)

    def next_at(self) -> datetime | None:
        """When the next message becomes visible or the next schedule fires; None: never."""
        waits = (at for stack in self.stacks.values() for at in (stack.queue.next_at(), stack.timers.next_at()))
        return min((at for at in waits if at is not None), default=None)

    def fire_due(self) -> int:
        """Fires the schedules whose time has come; how many."""
        return sum(stack.timers.fire_due() for stack in self.stacks.values())

    def tell(self) -> None:
        """A request was answered, which may have brought an event or a message: tells who wants to know."""
        if self._bus is None:
            return
        self._bus.tell()
        for stack in tuple(self.stacks.values()):
            stack.queue.told()

    def _make_bus(self, name: str) -> MotoBus:
        arn = self.clients.events().create_event_bus(Name=name)["EventBusArn"]
        log_queue = name + "-log"
        make_queue(self.clients, log_queue)
        make_rule(self.clients, arn, "log", {"source": [{"exists": True}]}, arn_of("sqs", log_queue))
        return MotoBus(self.clients, arn, log_queue)

    def _remove(self) -> None:
        """Takes everything out of somebody else's moto."""
        name = self.bus.arn.rpartition("/")[2]
        for rule in ("log", *self.stacks):
            self.clients.events().remove_targets(Rule=rule, EventBusName=name, Ids=["queue"])
            self.clients.events().delete_rule(Name=rule, EventBusName=name)
        self.clients.events().delete_event_bus(Name=name)
        self.clients.sqs().delete_queue(QueueUrl=url_of(name + "-log"))
        for stack in self.stacks.values():
            unmake(self.clients, stack.settings)
