"""The world in memory: clocks, counts, stacks on one bus, and keeping it all."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest

from stepbridge.core.conditions import Item, Key
from stepbridge.memory.clock import SystemClock, VirtualClock
from stepbridge.memory.dice import Dice
from stepbridge.memory.requests import Requests
from stepbridge.memory.world import World
from stepbridge.ports import Entry, Outgoing

START = datetime(2025, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
ORDER = Entry(name="order/created", source="shop", detail="{}")


@pytest.fixture
def clock() -> VirtualClock:
    """Stands at `START`."""
    return VirtualClock(START)


@pytest.fixture
def world(clock: VirtualClock) -> World:
    """No stacks."""
    return World(clock=clock)


# -- clocks ----------------------------------------------------------------------------------------
def test_a_virtual_clock_stands_until_it_is_moved(clock: VirtualClock) -> None:
    """On, to whole milliseconds and not short of what was asked; never back."""
    assert clock.now() == START
    clock.move_to(START + timedelta(microseconds=1500))
    assert clock.now() == START + timedelta(milliseconds=2)
    clock.move_to(START)
    assert clock.now() == START + timedelta(milliseconds=2)


def test_a_virtual_clock_is_in_utc() -> None:
    """Whatever the offset of where it was set."""
    clock = VirtualClock(datetime(2025, 1, 1, 2, tzinfo=timezone(2 * HOUR)))
    assert (clock.now(), clock.now().tzinfo) == (START, UTC)


def test_the_systems_clock_is_in_utc_and_whole_milliseconds() -> None:
    """As records keep it."""
    now = SystemClock().now()
    assert (now.tzinfo, now.microsecond % 1000) == (UTC, 0)
    assert SystemClock().now() >= now


# -- counts ----------------------------------------------------------------------------------------
def test_counts_since_a_snapshot_are_the_difference() -> None:
    """Operations and units; the snapshot itself stands still."""
    requests = Requests()
    requests.count("PutItem", write_units=2)
    before = requests.snapshot()
    requests.count("PutItem", write_units=3)
    requests.count("Query", 2, read_units=0.5)
    since = requests.since(before)
    assert (since, since.write_units, since.read_units) == ({"PutItem": 1, "Query": 2}, 3, 0.5)
    assert (before, before.write_units) == ({"PutItem": 1}, 2)
    assert requests["Invoke"] == 0


def test_no_count_of_many_threads_is_lost() -> None:
    """Adding is one under the lock."""
    requests = Requests()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: requests.count("PutItem", write_units=1), range(1000)))
    assert (requests["PutItem"], requests.write_units) == (1000, 1000)


# -- stacks ----------------------------------------------------------------------------------------
def test_an_app_has_one_stack(world: World) -> None:
    """Asked for again it is the same, with the newest rule."""
    stack = world.stack("shop", lambda _: True)
    assert world.stack("shop", lambda _: False) is stack
    world.bus.put([ORDER])
    assert stack.queue.receive(10) == []
    assert world.stacks == {"shop": stack}


def test_apps_share_the_bus_and_nothing_else(world: World) -> None:
    """Each has its own table and queue, and counts its own requests."""
    shop = world.stack("shop", lambda _: True)
    mail = world.stack("mail", lambda entry: entry.source == "shop")
    shop.ports.table.put({"pk": "a", "sk": "b"})
    shop.ports.bus.put([ORDER])
    world.bus.put([Entry(name="n", source="other", detail="{}")])
    assert list(mail.ports.table.query("a")) == []
    assert (len(shop.queue.receive(10)), len(mail.queue.receive(10))) == (2, 1)
    assert shop.requests == {"PutItem": 1, "PutEvents": 1, "SendMessage": 2, "ReceiveMessage": 1}
    assert mail.requests == {"Query": 1, "SendMessage": 1, "ReceiveMessage": 1}
    assert world.requests == {"PutEvents": 1}


def test_memory_is_not_worth_a_thread(world: World) -> None:
    """Its ports do not block."""
    assert not world.stack("shop", lambda _: True).ports.blocking


def test_the_next_instant_is_the_earliest_of_all_stacks(world: World, clock: VirtualClock) -> None:
    """Messages and schedules alike; None where nothing is pending."""
    shop, mail = (world.stack(app_id, lambda _: True) for app_id in ("shop", "mail"))
    assert world.next_at() is None
    shop.ports.timers.create("a", START + HOUR, "timer")
    assert world.next_at() == START + HOUR
    mail.ports.queue.send([Outgoing(body="message", delay=SECOND)])
    assert world.next_at() == START + SECOND
    clock.move_to(START + HOUR)
    mail.queue.acknowledge(mail.queue.receive(10))
    assert world.fire_due() == 1
    assert [message.body for message in shop.queue.receive(10)] == ["timer"]


def test_dice_fall_on_all_parts_of_the_world(clock: VirtualClock) -> None:
    """Events come in more messages than were put, and in another order."""
    world = World(clock=clock, dice=Dice(3))
    stack = world.stack("shop", lambda _: True)
    world.bus.put([Entry(name=f"{n}", source="s", detail="{}") for n in range(50)])
    names = [json.loads(message.body)["detail-type"] for message in stack.queue.receive(200)]
    assert len(names) > len(set(names)) == 50
    assert names != sorted(names, key=int)


# -- keeping it ------------------------------------------------------------------------------------
def test_a_world_can_be_kept_and_taken_up_again(world: World, clock: VirtualClock) -> None:
    """Items, messages, schedules, blobs and the count of events are as they were."""
    stack = world.stack("shop", lambda _: True)
    item: Item = {"pk": "a", "sk": "b", "gp": "f", "gs": "1", "n": 2**60, "v": b"\0\xff", "t": "é"}
    stack.ports.table.put(item)
    stack.ports.queue.send([Outgoing(body="later", delay=SECOND), Outgoing(body="now")])
    (message,) = stack.queue.receive(10)
    stack.ports.queue.bury(message, "hopeless")
    stack.ports.timers.create("a", START + HOUR, "timer")
    stack.ports.blobs.put("k", b"\0blob")
    world.bus.put([ORDER])

    text = world.dump()
    again = World(clock=clock)
    again.load(text)
    assert again.dump() == text

    kept = again.stack("shop", lambda _: True)
    assert kept.ports.table.get(Key("a", "b")) == item
    assert kept.table.query_index("f") == stack.table.query_index("f")
    assert kept.ports.blobs.get("k") == b"\0blob"
    assert kept.queue.dead == [(message, "hopeless")]
    clock.move_to(START + HOUR)
    assert again.fire_due() == 1
    bodies = [message.body for message in kept.queue.receive(10)]
    assert bodies[1:] == ["later", "now", "timer"]
    answers = [one.bus.put_raw([{"DetailType": "n", "Source": "s", "Detail": "{}"}]) for one in (world, again)]
    assert answers[0] == answers[1]
