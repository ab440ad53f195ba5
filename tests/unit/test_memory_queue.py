"""The queue in memory: the driver's side, the dead-letter queue, exact time, bad luck."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from stepbridge.core.limits import MAX_RECEIVES
from stepbridge.memory.clock import VirtualClock
from stepbridge.memory.dice import ECHOES_MAX, Dice
from stepbridge.memory.queue import MemoryQueue
from stepbridge.memory.requests import Requests
from stepbridge.ports import Message, Outgoing

START = datetime(2025, 1, 1, tzinfo=UTC)
VISIBILITY = timedelta(seconds=150)
SECOND = timedelta(seconds=1)


@pytest.fixture
def clock() -> VirtualClock:
    """Stands at `START`."""
    return VirtualClock(START)


@pytest.fixture
def requests() -> Requests:
    """Nothing counted yet."""
    return Requests()


@pytest.fixture
def queue(clock: VirtualClock, requests: Requests) -> MemoryQueue:
    """An empty queue."""
    return MemoryQueue(clock, requests)


def bodies(messages: list[Message]) -> list[str]:
    """What the messages say."""
    return [message.body for message in messages]


# -- order and time --------------------------------------------------------------------------------
def test_what_has_been_visible_longest_comes_first(queue: MemoryQueue, clock: VirtualClock) -> None:
    """Whatever the order of the sends; equals keep theirs."""
    queue.send([Outgoing(body="c", delay=2 * SECOND), Outgoing(body="b", delay=SECOND)])
    queue.send([Outgoing(body="d", delay=2 * SECOND), Outgoing(body="a")])
    clock.move_to(START + 9 * SECOND)
    assert bodies(queue.receive(3)) == ["a", "b", "c"]
    assert bodies(queue.receive(3)) == ["d"]


def test_a_delay_keeps_its_milliseconds(queue: MemoryQueue, clock: VirtualClock) -> None:
    """Unlike SQS, so that simulated time is exact."""
    delay = timedelta(milliseconds=1234)
    queue.send([Outgoing(body="a", delay=delay)])
    clock.move_to(START + delay - timedelta(milliseconds=1))
    assert queue.receive(10) == []
    clock.move_to(START + delay)
    assert bodies(queue.receive(10)) == ["a"]


@pytest.mark.parametrize("delay", [timedelta(seconds=-1), timedelta(minutes=15, milliseconds=1)])
def test_a_delay_that_sqs_refuses_is_refused(queue: MemoryQueue, delay: timedelta) -> None:
    """0 to 15 minutes; nothing of the call is sent."""
    with pytest.raises(ValueError, match="0 to 15 minutes"):
        queue.send([Outgoing(body="fine"), Outgoing(body="a", delay=delay)])
    with pytest.raises(ValueError, match="0 to 15 minutes"):
        queue.deliver("a", delay=delay)
    assert queue.next_at() is None


@pytest.mark.parametrize("body", ["", "x" * (1024 * 1024 + 1), "é" * (512 * 1024 + 1)], ids=len)
def test_a_body_that_sqs_refuses_is_refused(queue: MemoryQueue, body: str) -> None:
    """1 byte to 1 MB."""
    with pytest.raises(ValueError, match="bytes"):
        queue.send([Outgoing(body=body)])


@pytest.mark.parametrize("delay", [timedelta(seconds=-1), timedelta(hours=12, seconds=1)])
def test_a_pause_that_sqs_refuses_is_refused(queue: MemoryQueue, delay: timedelta) -> None:
    """0 to 12 hours."""
    queue.deliver("a")
    (message,) = queue.receive(1)
    with pytest.raises(ValueError, match="12 hours"):
        queue.postpone(message, delay)


def test_the_next_instant_is_that_of_the_next_visible_message(queue: MemoryQueue, clock: VirtualClock) -> None:
    """Delayed, visible, in flight, postponed; None once all are acknowledged."""
    assert queue.next_at() is None
    queue.send([Outgoing(body="a", delay=5 * SECOND)])
    assert queue.next_at() == START + 5 * SECOND
    clock.move_to(START + 7 * SECOND)
    assert queue.next_at() == START + 5 * SECOND
    (message,) = queue.receive(1)
    assert queue.next_at() == START + 7 * SECOND + VISIBILITY
    queue.postpone(message, SECOND)
    assert queue.next_at() == START + 8 * SECOND
    queue.acknowledge([message])
    assert queue.next_at() is None


def test_depth_tells_the_visible_from_the_others(queue: MemoryQueue, clock: VirtualClock) -> None:
    """In flight and delayed messages count together."""
    queue.send([Outgoing(body="a"), Outgoing(body="b"), Outgoing(body="c", delay=SECOND)])
    assert queue.depth() == (2, 1)
    (message,) = queue.receive(1)
    assert queue.depth() == (1, 2)
    queue.acknowledge([message])
    clock.move_to(START + SECOND)
    assert queue.depth() == (2, 0)


# -- receipts --------------------------------------------------------------------------------------
def test_an_old_receipt_neither_deletes_nor_postpones(queue: MemoryQueue, clock: VirtualClock) -> None:
    """A receiver whose visibility has ended has no say over the next one's message."""
    queue.deliver("a")
    (old,) = queue.receive(1)
    clock.move_to(START + VISIBILITY)
    (new,) = queue.receive(1)
    queue.postpone(old, timedelta(0))
    queue.acknowledge([old])
    assert queue.receive(1) == []
    assert queue.next_at() == START + 2 * VISIBILITY
    queue.acknowledge([new])
    assert queue.next_at() is None


def test_a_message_whose_visibility_has_ended_is_not_postponed(queue: MemoryQueue, clock: VirtualClock) -> None:
    """It is visible already, as SQS would answer."""
    queue.deliver("a")
    (message,) = queue.receive(1)
    clock.move_to(START + VISIBILITY)
    queue.postpone(message, SECOND)
    assert bodies(queue.receive(1)) == ["a"]


# -- the dead-letter queue -------------------------------------------------------------------------
def _exhaust(queue: MemoryQueue) -> None:
    for _ in range(MAX_RECEIVES):
        (message,) = queue.receive(1)
        queue.postpone(message, timedelta(0))


def test_a_message_received_too_often_is_dead(queue: MemoryQueue) -> None:
    """After the last receive that the redrive policy allows it is not handed out again."""
    queue.deliver("poison", internal=True)
    _exhaust(queue)
    queue.deliver("fine")
    assert bodies(queue.receive(1)) == ["fine"]
    ((message, reason),) = queue.dead
    assert (message.body, message.receives, reason) == ("poison", 100, "received 100 times")


def test_a_buried_message_keeps_its_reason(queue: MemoryQueue, requests: Requests) -> None:
    """The copy is a message of its own, so it is billed."""
    queue.deliver("poison")
    (message,) = queue.receive(1)
    before = requests.snapshot()
    queue.bury(message, "not JSON")
    assert queue.dead == [(message, "not JSON")]
    assert requests.since(before) == {"SendMessage": 1}


def test_redriven_messages_are_new_messages(queue: MemoryQueue) -> None:
    """New ids, no receives; body and mark are kept, and the dead-letter queue is empty."""
    queue.deliver("poison", internal=True)
    _exhaust(queue)
    assert queue.receive(1) == []
    assert queue.redrive() == 1
    (message,) = queue.receive(10)
    assert (message.body, message.internal, message.receives) == ("poison", True, 1)
    assert queue.dead == []


# -- the bill --------------------------------------------------------------------------------------
def test_requests_are_counted_as_calls(queue: MemoryQueue, requests: Requests) -> None:
    """Ten messages a call, and a call of one is no batch; an empty receive is not counted: polling is not the app's."""
    queue.send([])
    queue.send([Outgoing(body="a")])
    queue.send([Outgoing(body="b")] * 11)
    queue.deliver("c")
    messages = queue.receive(20)
    queue.receive(20)
    queue.postpone(messages[0], SECOND)
    queue.acknowledge(messages[:1])
    queue.acknowledge(messages[1:])
    queue.acknowledge([])
    assert requests == {
        "SendMessage": 3,
        "SendMessageBatch": 1,
        "ReceiveMessage": 1,
        "ChangeMessageVisibility": 1,
        "DeleteMessage": 1,
        "DeleteMessageBatch": 2,
    }


# -- bad luck --------------------------------------------------------------------------------------
def _drain(seed: int) -> list[str]:
    clock = VirtualClock(START)
    queue = MemoryQueue(clock, Requests(), dice=Dice(seed))
    queue.send([Outgoing(body=f"{number}") for number in range(200)])
    received = []
    while (at := queue.next_at()) is not None:
        clock.move_to(at)
        messages = queue.receive(10)
        queue.acknowledge(messages)
        received += bodies(messages)
    return received


def test_with_dice_messages_come_out_of_order_and_more_than_once() -> None:
    """None is lost, some come twice, none more often than the bound; and it ends."""
    received = _drain(1)
    often = Counter(received)
    assert set(often) == {f"{number}" for number in range(200)}
    assert 1 < max(often.values()) <= 1 + ECHOES_MAX
    assert received != sorted(received, key=int)


def test_the_same_seed_is_the_same_luck() -> None:
    """And another seed another."""
    assert _drain(1) == _drain(1) != _drain(2)


def test_an_echo_outlives_the_acknowledgement() -> None:
    """It has the id of the message that was deleted, as after an outage of one of SQS's hosts."""
    clock = VirtualClock(START)
    queue = MemoryQueue(clock, Requests(), dice=Dice(1))
    queue.send([Outgoing(body="a")] * 100)
    acknowledged: set[str] = set()
    echoed: set[str] = set()
    while (at := queue.next_at()) is not None:
        clock.move_to(at)
        messages = queue.receive(10)
        echoed |= acknowledged & {message.id for message in messages}
        queue.acknowledge(messages)
        acknowledged |= {message.id for message in messages}
    assert echoed
