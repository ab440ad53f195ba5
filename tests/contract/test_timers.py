"""Timers: armed by name, fired once within the minute, never early."""

from __future__ import annotations

from datetime import timedelta

from stepbridge.core.limits import SCHEDULE_GRAIN
from stepbridge.ports import Ports
from tests.contract.backend import Backend

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
BODY = '{"stepbridge": 1, "k": "go \u2713"}'
"""The engine's own, as all that it hands to timers: Scheduler sets no attribute, so the key tells."""


def test_a_schedule_sends_its_message_within_the_minute(backend: Backend, ports: Ports) -> None:
    """Not before its time, and not later than the grain; the message is the engine's own."""
    ports.timers.create("run-1", ports.clock.now() + HOUR, BODY)
    backend.wait(HOUR - 2 * SECOND)
    assert backend.receive() == []
    backend.wait(SCHEDULE_GRAIN + 2 * SECOND)
    (message,) = backend.receive()
    assert (message.body, message.internal) == (BODY, True)


def test_a_schedule_that_fired_is_gone(backend: Backend, ports: Ports) -> None:
    """It fires once, and its name is free."""
    ports.timers.create("run-1", ports.clock.now() + HOUR, "body")
    backend.wait(HOUR + SCHEDULE_GRAIN)
    backend.acknowledge(backend.receive())
    assert backend.schedules() == []
    backend.wait(24 * HOUR)
    assert backend.receive() == []


def test_arming_a_name_again_is_success_and_changes_nothing(backend: Backend, ports: Ports) -> None:
    """The first one stands, with its time and its body."""
    ports.timers.create("run-1", ports.clock.now() + HOUR, "first")
    ports.timers.create("run-1", ports.clock.now() + 9 * HOUR, "second")
    assert backend.schedules() == ["run-1"]
    backend.wait(HOUR + SCHEDULE_GRAIN)
    assert [message.body for message in backend.receive()] == ["first"]


def test_a_deleted_schedule_never_fires(backend: Backend, ports: Ports) -> None:
    """Its neighbour does."""
    ports.timers.create("run-1", ports.clock.now() + HOUR, "1")
    ports.timers.create("run-2", ports.clock.now() + HOUR, "2")
    ports.timers.delete("run-1")
    assert backend.schedules() == ["run-2"]
    backend.wait(HOUR + SCHEDULE_GRAIN)
    assert [message.body for message in backend.receive()] == ["2"]


def test_a_deleted_name_can_be_armed_again(backend: Backend, ports: Ports) -> None:
    """The new time and body count."""
    ports.timers.create("run-1", ports.clock.now() + HOUR, "first")
    ports.timers.delete("run-1")
    ports.timers.create("run-1", ports.clock.now() + 2 * HOUR, "second")
    backend.wait(HOUR + SCHEDULE_GRAIN)
    assert backend.receive() == []
    backend.wait(HOUR)
    assert [message.body for message in backend.receive()] == ["second"]


def test_deleting_what_is_not_armed_is_success(backend: Backend, ports: Ports) -> None:
    """A repeated delete does nothing."""
    ports.timers.delete("run-1")
    ports.timers.delete("run-1")
    assert backend.schedules() == []


def test_every_character_of_a_name_is_taken(backend: Backend, ports: Ports) -> None:
    """Letters of both cases, digits, `-`, `_` and `.`, up to 64 of them."""
    name = "azAZ09-_." + "x" * 55
    ports.timers.create(name, ports.clock.now() + HOUR, "body")
    assert backend.schedules() == [name]
