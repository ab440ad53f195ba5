"""The bus in memory: its envelope, its rules, its refusals, its AWS-compatible door."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepbridge.memory.bus import MemoryBus
from stepbridge.memory.clock import VirtualClock
from stepbridge.memory.dice import Dice
from stepbridge.memory.queue import MemoryQueue
from stepbridge.memory.requests import Requests
from stepbridge.ports import Entry

START = datetime(2025, 1, 1, 12, 30, 15, 678_000, tzinfo=UTC)
ORDER = Entry(name="order/created", source="shop", detail='{"orderId": "o-1"}')


@pytest.fixture
def clock() -> VirtualClock:
    """Stands at `START`."""
    return VirtualClock(START)


@pytest.fixture
def requests() -> Requests:
    """Nothing counted yet."""
    return Requests()


@pytest.fixture
def bus(clock: VirtualClock, requests: Requests) -> MemoryBus:
    """A bus without rules."""
    return MemoryBus(clock, requests)


@pytest.fixture
def queue(clock: VirtualClock, bus: MemoryBus) -> MemoryQueue:
    """A queue that wants every event."""
    queue = MemoryQueue(clock, Requests())
    bus.subscribe(queue, lambda _: True)
    return queue


def envelopes(queue: MemoryQueue) -> list[Any]:
    """What is in the queue."""
    return [json.loads(message.body) for message in queue.receive(1000)]


# -- the envelope ----------------------------------------------------------------------------------
def test_the_envelope_is_eventbridges(bus: MemoryBus, queue: MemoryQueue) -> None:
    """Every field that a rule's target gets; time is cut to the second."""
    bus.put([ORDER])
    (envelope,) = envelopes(queue)
    event_id = envelope.pop("id")
    assert [len(part) for part in event_id.split("-")] == [8, 4, 4, 4, 12]
    assert envelope == {
        "version": "0",
        "detail-type": "order/created",
        "source": "shop",
        "account": "000000000000",
        "time": "2025-01-01T12:30:15Z",
        "region": "us-east-1",
        "resources": [],
        "detail": {"orderId": "o-1"},
    }


def test_ids_are_a_hash_of_the_count(clock: VirtualClock) -> None:
    """Two worlds that put the same events give the same ids, each its own."""
    first, second = MemoryBus(clock, Requests()), MemoryBus(clock, Requests())
    entry = {"DetailType": "n", "Source": "s", "Detail": "{}"}
    answers = [bus.put_raw([entry, entry]) for bus in (first, second)]
    assert answers[0] == answers[1]
    assert answers[0][0] != answers[0][1]


# -- rules -----------------------------------------------------------------------------------------
def test_a_rule_lets_through_what_its_predicate_wants(clock: VirtualClock, bus: MemoryBus, queue: MemoryQueue) -> None:
    """Each queue gets its own, in one envelope for all."""
    picky = MemoryQueue(clock, Requests())
    bus.subscribe(picky, lambda entry: entry.source == "shop")
    bus.put([ORDER, Entry(name="n", source="other", detail="{}")])
    first, second = envelopes(queue)
    assert envelopes(picky) == [first]
    assert second["source"] == "other"


def test_subscribing_again_replaces_the_rule(bus: MemoryBus, queue: MemoryQueue) -> None:
    """An app that was loaded anew has one rule still."""
    bus.subscribe(queue, lambda entry: entry.name == "n")
    bus.put([ORDER, Entry(name="n", source="s", detail="{}")])
    assert [envelope["detail-type"] for envelope in envelopes(queue)] == ["n"]


def test_the_log_has_every_event(bus: MemoryBus, clock: VirtualClock) -> None:
    """Wanted or not, with the instant, oldest first."""
    bus.put([ORDER])
    clock.move_to(START + timedelta(hours=1))
    bus.put_raw([{"DetailType": "n", "Source": "s", "Detail": "{}"}])
    later = Entry(name="n", source="s", detail="{}")
    assert bus.log == [(START, ORDER), (START + timedelta(hours=1), later)]


def test_the_log_can_be_bounded(clock: VirtualClock) -> None:
    """The newest stay."""
    bus = MemoryBus(clock, Requests(), log_max=3)
    bus.put([Entry(name=f"{number}", source="s", detail="{}") for number in range(5)])
    assert [entry.name for _, entry in bus.log] == ["2", "3", "4"]


# -- refusals --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (Entry(name="", source="s", detail="{}"), "1 to 128 characters"),
        (Entry(name="n" * 129, source="s", detail="{}"), "1 to 128 characters"),
        (Entry(name="n", source="", detail="{}"), "a source has"),
        (Entry(name="n", source="s", detail=""), "not JSON"),
        (Entry(name="n", source="s", detail="{"), "not JSON"),
        (Entry(name="n", source="s", detail='{"a": NaN}'), "not JSON"),
        (Entry(name="n", source="s", detail="[1]"), "not a JSON object"),
        (Entry(name="n", source="s", detail=json.dumps({"a": "x" * 1024 * 1024})), "bytes"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_event_that_eventbridge_refuses_is_refused(
    bus: MemoryBus, queue: MemoryQueue, entry: Entry, complaint: str
) -> None:
    """The error names the event, and nothing of the call is put."""
    with pytest.raises(ValueError, match=complaint) as caught:
        bus.put([ORDER, entry])
    assert repr(entry.name) in str(caught.value)
    assert bus.log == []
    assert envelopes(queue) == []


def test_the_longest_name_is_taken(bus: MemoryBus, queue: MemoryQueue) -> None:
    """128 characters, whatever their bytes."""
    bus.put([Entry(name="é" * 128, source="s", detail="{}")])
    assert envelopes(queue)[0]["detail-type"] == "é" * 128


# -- the bill --------------------------------------------------------------------------------------
@pytest.mark.parametrize(("events", "size", "calls"), [(0, 1, 0), (1, 1, 1), (11, 1, 2), (5, 400_000, 3)])
def test_events_are_put_ten_and_a_megabyte_a_call(
    bus: MemoryBus, requests: Requests, events: int, size: int, calls: int
) -> None:
    """Whichever comes first."""
    bus.put([Entry(name="n", source="s", detail=json.dumps({"a": "x" * size}))] * events)
    assert requests["PutEvents"] == calls


def test_an_app_counts_its_own_events(bus: MemoryBus, requests: Requests) -> None:
    """Its view of the bus counts on the app's requests."""
    own = Requests()
    bus.counted_by(own).put([ORDER])
    assert (own, requests) == ({"PutEvents": 1}, {})
    assert len(bus.log) == 1


# -- the AWS-compatible door -----------------------------------------------------------------------
def test_raw_entries_are_answered_one_by_one(bus: MemoryBus, queue: MemoryQueue, requests: Requests) -> None:
    """An id for each that was taken, EventBridge's error for each that was not, in order."""
    taken, nameless, malformed, untimely = bus.put_raw(
        [
            {"DetailType": "n", "Source": "s", "Detail": "{}", "EventBusName": "any"},
            {"Source": "s", "Detail": "{}"},
            {"DetailType": "n", "Source": "s", "Detail": "nonsense"},
            {"DetailType": "n", "Source": "s", "Detail": "{}", "Time": "noon"},
        ]
    )
    (envelope,) = envelopes(queue)
    assert taken == {"EventId": envelope["id"]}
    assert nameless["ErrorCode"] == "InvalidArgument"
    assert malformed["ErrorCode"] == "MalformedDetail"
    assert untimely["ErrorCode"] == "InvalidArgument"
    assert "noon" in untimely["ErrorMessage"]
    assert requests == {"PutEvents": 1}


@pytest.mark.parametrize("time", [1735732800, 1735732800.9, "2025-01-01T12:00:00", "2025-01-01T13:00:00+01:00"])
def test_a_raw_entry_brings_its_own_time_and_resources(bus: MemoryBus, queue: MemoryQueue, time: float | str) -> None:
    """In the envelope; seconds since the epoch, as boto3 sends it, or ISO 8601."""
    entry = {"DetailType": "n", "Source": "s", "Detail": "{}", "Time": time, "Resources": ["arn:x"]}
    bus.put_raw([entry])
    (envelope,) = envelopes(queue)
    assert envelope["time"] == "2025-01-01T12:00:00Z"
    assert envelope["resources"] == ["arn:x"]


@pytest.mark.parametrize(("entries", "size"), [(0, 1), (11, 1), (3, 400_000)])
def test_a_call_that_eventbridge_refuses_whole_is_refused(bus: MemoryBus, entries: int, size: int) -> None:
    """Not 1 to 10 entries, or more than 1 MB."""
    entry = {"DetailType": "n", "Source": "s", "Detail": json.dumps({"a": "x" * size})}
    with pytest.raises(ValueError, match="call"):
        bus.put_raw([entry] * entries)
    assert bus.log == []


# -- bad luck --------------------------------------------------------------------------------------
def test_with_dice_a_rule_sometimes_fires_twice(clock: VirtualClock) -> None:
    """Two messages, one envelope; none is lost."""
    bus = MemoryBus(clock, Requests(), Dice(1))
    queue = MemoryQueue(clock, Requests())
    bus.subscribe(queue, lambda _: True)
    bus.put([ORDER] * 100)
    messages = queue.receive(1000)
    assert 100 < len(messages) <= 200
    assert len({message.id for message in messages}) == len(messages)
    assert len({message.body for message in messages}) == 100
