"""The log of events: the last ones, and no more memory than it may have."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stepbridge.local import log
from stepbridge.local.log import EventLog
from stepbridge.memory.clock import VirtualClock
from stepbridge.memory.world import World
from stepbridge.ports import Entry


@pytest.fixture
def world() -> World:
    """No app wants anything of it."""
    return World(clock=VirtualClock(datetime(2025, 1, 1, tzinfo=UTC)), log_max=1)


def names(events: EventLog) -> list[str]:
    """Newest first."""
    return [logged.incoming().row["name"] for logged in events]


def test_events_are_kept_whoever_wants_them(world: World) -> None:
    """With id, time and number, newest first."""
    events = EventLog(world.bus)
    (answer,) = world.bus.put_raw([{"DetailType": "a", "Source": "s", "Detail": '{"n": 1}'}])
    world.bus.put([Entry(name="b", source="s", detail="{}")])
    newest, oldest = events
    assert (newest.number, oldest.number, events.number, oldest.at) == (2, 1, 2, world.clock.now())
    row = oldest.incoming().row
    assert (row["name"], row["id"], row["data"]) == ("a", answer["EventId"], {"n": 1})


def test_only_the_last_events_are_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their number."""
    monkeypatch.setattr(log, "EVENTS_MAX", 3)
    events = EventLog(world.bus)
    for number in range(10):
        world.bus.put([Entry(name=f"e{number}", source="s", detail="{}")])
    assert names(events) == ["e9", "e8", "e7"]


def test_large_events_push_out_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what they hold all together."""
    monkeypatch.setattr(log, "CHARACTERS_MAX", 10_000)
    events = EventLog(world.bus)
    for number in range(10):
        world.bus.put([Entry(name=f"e{number}", source="s", detail=f'{{"t": "{"x" * 4000}"}}')])
    assert names(events) == ["e9", "e8"]
