"""Timers in memory: to the second, and what Scheduler refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stepbridge.memory.clock import VirtualClock
from stepbridge.memory.dice import Dice
from stepbridge.memory.queue import MemoryQueue
from stepbridge.memory.requests import Requests
from stepbridge.memory.timers import MemoryTimers

START = datetime(2025, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
MILLISECOND = timedelta(milliseconds=1)


class Bench:
    """Timers with their clock and their queue."""

    def __init__(self, dice: Dice | None = None) -> None:
        self.clock = VirtualClock(START)
        self.requests = Requests()
        self.queue = MemoryQueue(self.clock, self.requests)
        self.timers = MemoryTimers(self.clock, self.requests, self.queue, dice)


@pytest.fixture
def bench() -> Bench:
    """Nothing armed."""
    return Bench()


def test_a_schedule_fires_at_its_second(bench: Bench) -> None:
    """Its time is cut to the second, as in `at(...)`, and not a moment sooner."""
    bench.timers.create("a", START + HOUR + 999 * MILLISECOND, "body")
    assert bench.timers.next_at() == START + HOUR
    bench.clock.move_to(START + HOUR - MILLISECOND)
    assert bench.timers.fire_due() == 0
    bench.clock.move_to(START + HOUR)
    assert bench.timers.fire_due() == 1
    (message,) = bench.queue.receive(10)
    assert (message.body, message.internal) == ("body", True)
    assert (bench.timers.names(), bench.timers.next_at()) == ([], None)


def test_what_is_due_fires_in_order(bench: Bench) -> None:
    """The earliest first; the others stay armed."""
    for name, hours in (("c", 3), ("a", 1), ("b", 2)):
        bench.timers.create(name, START + hours * HOUR, name)
    bench.clock.move_to(START + 2 * HOUR)
    assert bench.timers.fire_due() == 2
    assert [message.body for message in bench.queue.receive(10)] == ["a", "b"]
    assert bench.timers.names() == ["c"]


def test_the_next_instant_forgets_deleted_schedules(bench: Bench) -> None:
    """Also when the name is armed anew for later."""
    bench.timers.create("a", START + HOUR, "1")
    bench.timers.create("b", START + 2 * HOUR, "2")
    bench.timers.delete("a")
    bench.timers.create("a", START + 3 * HOUR, "3")
    assert bench.timers.next_at() == START + 2 * HOUR
    bench.timers.delete("b")
    assert bench.timers.next_at() == START + 3 * HOUR


def test_a_name_armed_twice_for_one_instant_fires_once(bench: Bench) -> None:
    """Deleted in between, or not."""
    bench.timers.create("a", START + HOUR, "first")
    bench.timers.delete("a")
    bench.timers.create("a", START + HOUR, "second")
    bench.clock.move_to(START + HOUR)
    assert bench.timers.fire_due() == 1
    assert [message.body for message in bench.queue.receive(10)] == ["second"]


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a/b", "é", "a\n"])
def test_a_name_that_scheduler_refuses_is_refused(bench: Bench, name: str) -> None:
    """1 to 64 of letters, digits, `-`, `_` and `.`."""
    with pytest.raises(ValueError, match="a name is"):
        bench.timers.create(name, START + HOUR, "body")


@pytest.mark.parametrize("ago", [timedelta(0), MILLISECOND, HOUR, -999 * MILLISECOND])
def test_a_time_that_has_passed_is_refused(bench: Bench, ago: timedelta) -> None:
    """The engine must go on inline; the rest of the running second has passed too."""
    with pytest.raises(ValueError, match="has passed"):
        bench.timers.create("a", START - ago, "body")


@pytest.mark.parametrize("body", ["", "x" * (256 * 1024 + 1)], ids=len)
def test_a_body_that_scheduler_refuses_is_refused(bench: Bench, body: str) -> None:
    """1 byte to 256 KB."""
    with pytest.raises(ValueError, match="schedule a: a body"):
        bench.timers.create("a", START + HOUR, body)


def test_requests_are_counted(bench: Bench) -> None:
    """A repeated create and a needless delete are requests too; a fire is a message."""
    bench.timers.create("a", START + HOUR, "body")
    bench.timers.create("a", START + HOUR, "body")
    bench.timers.delete("none")
    bench.clock.move_to(START + HOUR)
    bench.timers.fire_due()
    assert bench.requests == {"CreateSchedule": 2, "DeleteSchedule": 1, "SendMessage": 1}


def test_with_dice_schedules_are_late_and_sometimes_fire_twice() -> None:
    """Within the minute that follows, never early, none lost."""
    bench = Bench(Dice(1))
    for number in range(100):
        bench.timers.create(f"{number}", START + HOUR, f"{number}")
    fired = []
    while (at := bench.timers.next_at()) is not None:
        fired.append(at)
        bench.clock.move_to(at)
        bench.timers.fire_due()
    assert START + HOUR <= fired[0] < fired[-1] < START + HOUR + timedelta(seconds=60)
    messages = [message.body for message in bench.queue.receive(1000)]
    assert set(messages) == {f"{number}" for number in range(100)}
    assert 100 < len(messages) <= 200
