"""The same price list, told by a log on moto's side of the wire: nothing of the engine counts here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest
from moto.core.botocore_stubber import BotocoreStubber

from stepbridge import App
from stepbridge.core.conditions import Absent, Change, Key, equals
from stepbridge.local.moto import MotoWorld
from stepbridge.ports import Table
from stepbridge.testing import Simulation
from tests.counting import DEALS, QUEUE, Deal, owed, spent


class Wire:
    """A log of the requests that reached moto: whose, and what was asked."""

    def __init__(self) -> None:
        self.asked: dict[str, Counter[str]] = {}

    def note(self, event_name: str, request: AWSPreparedRequest) -> None:
        """One request; the signature tells whose it is."""
        signature = request.headers["Authorization"]
        found = re.search("Credential=(.+?)/", signature.decode() if isinstance(signature, bytes) else signature)
        assert found is not None
        self.asked.setdefault(found[1], Counter())[event_name.rpartition(".")[2]] += 1

    def of(self, access_key: str) -> Counter[str]:
        """What one of the callers has asked for so far."""
        return Counter(self.asked.get(access_key, {}))


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Listens where moto takes requests in, from whichever client."""
    wire = Wire()
    take = BotocoreStubber.__call__

    def listen(stubber: BotocoreStubber, event_name: str, request: AWSPreparedRequest, **more: Any) -> Any:
        if stubber.enabled:
            wire.note(event_name, request)
        return take(stubber, event_name, request, **more)

    monkeypatch.setattr(BotocoreStubber, "__call__", listen)
    return wire


def world_of(sim: Simulation) -> MotoWorld:
    """What is behind the simulation."""
    assert isinstance(sim._world, MotoWorld)
    return sim._world


@pytest.mark.parametrize("deal", DEALS, ids=str)
def test_the_app_asks_for_exactly_this(deal: Deal, wire: Wire) -> None:
    """Table, schedules, bus and bucket: what left by the app's own clients and reached moto."""
    app = App("shop")
    deal.build(app)
    with Simulation(app, backend="moto") as sim:
        mine = world_of(sim).stacks["shop"].counted.access_key
        asked = deal.play(sim, lambda: wire.of(mine))
    seen = spent(asked)
    assert {**seen, "queue": None} == {**owed(deal.price), "queue": None}


@pytest.mark.parametrize("deal", DEALS, ids=str)
def test_the_queue_is_asked_for_exactly_this(deal: Deal, wire: Wire) -> None:
    """The app's sends, the poller's receives and deletes, Scheduler's sends, and those of the bus, off the wire."""
    app = App("shop")
    deal.build(app)
    with Simulation(app, backend="moto") as sim:
        world = world_of(sim)
        assert world._counted is not None
        callers = (world.stacks["shop"].counted.access_key, world._counted.access_key)

        def counts() -> Counter[str]:
            on_the_wire = sum((wire.of(caller) for caller in callers), Counter[str]())
            return on_the_wire + Counter(SendMessage=len(sim.events))

        asked = deal.play(sim, counts)
    assert sum(asked[name] for name in QUEUE) == deal.price.queue
    assert asked["ReceiveMessage"] == asked["DeleteMessage"] == deal.price.invocations


@pytest.mark.parametrize("deal", DEALS, ids=str)
def test_the_simulation_counts_as_the_wire_does(deal: Deal) -> None:
    """`sim.requests` on moto and on memory are one and the same: requests, invocations and units."""
    counted = []
    for backend in ("memory", "moto"):
        app = App("shop")
        deal.build(app)
        with Simulation(app, backend=backend) as sim:
            deal.drive(sim, "first")
            before = sim.requests
            deal.drive(sim, "second")
            asked = sim.requests.since(before)
        counted.append((asked, asked.write_units, asked.read_units))
    assert counted[0] == counted[1]
    assert counted[1][1:] == (deal.price.write_units, deal.price.reads)


OPERATIONS: dict[str, Callable[[Table], object]] = {
    "a put": lambda table: table.put({"pk": "p", "sk": "s", "v": "x" * 3000}),
    "a put that is refused is billed on the larger item": lambda table: table.put({"pk": "p", "sk": "s"}, Absent()),
    "an update": lambda table: table.update(Key("p", "s"), Change(set={"v": "y" * 1500}, add={"n": 1})),
    "an update that is refused": lambda table: table.update(Key("p", "s"), Change(remove=("v",)), equals("n", 7)),
    "an update that makes the item": lambda table: table.update(Key("p", "t"), Change(default={"gp": "f", "gs": "1"})),
    "an update of what is listed": lambda table: table.update(Key("p", "t"), Change(set={"ls": "COMPLETED"})),
    "an update that moves in the list": lambda table: table.update(Key("p", "t"), Change(set={"gs": "2"})),
    "a read": lambda table: table.get(Key("p", "s")),
    "a read of nothing": lambda table: table.get(Key("p", "none")),
    "a query": lambda table: list(table.query("p")),
    "a query by the list": lambda table: table.query_index("f"),
    "a deletion": lambda table: table.delete(Key("p", "t")),
    "a deletion of nothing": lambda table: table.delete(Key("p", "t")),
}


def test_every_operation_is_billed_alike_on_both() -> None:
    """By DynamoDB's rules: an update on the whole item, a refused condition too, the list on top."""
    bills = []
    for backend in ("memory", "moto"):
        app = App("shop")
        with Simulation(app, backend=backend) as sim:
            (site,) = sim._sites
            bill = []
            for operation in OPERATIONS.values():
                before = sim.requests
                operation(site.stack.ports.table)
                asked = sim.requests.since(before)
                bill.append((asked.write_units, asked.read_units))
            bills.append(dict(zip(OPERATIONS, bill, strict=True)))
    assert bills[0] == bills[1]
    assert bills[1]["a put that is refused is billed on the larger item"] == (3, 0)
    assert bills[1]["an update that moves in the list"] == (3, 0)
