"""A world that is taken up from its file: what the process before had in hand is nobody's any more."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from stepbridge.core.instants import to_ms
from stepbridge.core.limits import CRASH_LIMIT
from stepbridge.core.records import EventRecord, Head, Status
from stepbridge.engine.store import Claimed, Store
from stepbridge.local.state import StateFile
from stepbridge.memory.clock import SystemClock
from stepbridge.memory.world import World
from stepbridge.ports import Outgoing

RUN = "r" * 26


def test_messages_and_runs_in_hand_come_back_at_once(tmp_path: Path) -> None:
    """And not when a lease or a visibility ends that nobody holds; nor do they count as crashes."""
    clock, file = SystemClock(), StateFile(tmp_path / "runs.json")
    now = clock.now()
    before = World(clock=clock)
    stack = before.stack("shop", lambda _: True)
    stack.ports.queue.send([Outgoing(body="{}")])
    event = EventRecord(name="go", id="e", ts=to_ms(now), source="test", data="{}")
    birth = Head(run_id=RUN, function_id="f", status=Status.RUNNING, event=event, created_at=now)
    minutes = timedelta(minutes=2)
    held = Store(stack.ports.table).claim(RUN, birth=birth, holder="before", deadline=now + minutes, now=now)
    assert isinstance(held, Claimed)
    assert len(stack.queue.receive(10)) == 1
    file.save(before)
    for restarts in range(CRASH_LIMIT + 1):
        after = World(clock=clock)
        file.load(after)
        stack = after.stack("shop", lambda _: True)
        assert [message.body for message in stack.queue.receive(10)] == ["{}"]
        taken = Store(stack.ports.table).claim(
            RUN, birth=None, holder=f"after {restarts}", deadline=now + minutes, now=clock.now()
        )
        assert isinstance(taken, Claimed)
        file.save(after)
    file.close()
