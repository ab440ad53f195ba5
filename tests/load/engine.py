"""The same app on the engine alone: no process, no HTTP, virtual time; ended runs expire as DynamoDB's would."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Final

from stepbridge.core.conditions import Key
from stepbridge.memory.world import World
from stepbridge.testing import Simulation
from tests.load.orders import app
from tests.load.server import resident

_AT_ONCE: Final = 500
"""Runs between two clearings."""


@dataclass(frozen=True)
class Undisturbed:
    """What the engine took. Memory in kilobytes."""

    per_second: float
    warm: int
    end: int


def undisturbed(runs: int, warm: int) -> Undisturbed:
    """So many runs, after so many that are not counted."""
    with Simulation(app) as sim:
        _play(sim, warm)
        before, seconds = resident(os.getpid()), 0.0
        for at in range(0, runs, _AT_ONCE):
            seconds += _play(sim, min(_AT_ONCE, runs - at))
        return Undisturbed(per_second=runs / seconds, warm=before, end=resident(os.getpid()))


def _play(sim: Simulation, count: int) -> float:
    """How long the runs took; then all that is kept of them is forgotten."""
    began = time.monotonic()
    for number in range(count):
        sim.send("load/made", {"order_id": f"o-{number}"})
    sim.run_until_idle()
    seconds = time.monotonic() - began
    assert [run.status for run in sim.runs()] == ["COMPLETED"] * count
    world = sim._world
    assert isinstance(world, World)
    world.bus.log.clear()
    for stack in world.stacks.values():
        for item in stack.table.items():
            stack.table.delete(Key(str(item["pk"]), str(item["sk"])))
    return seconds
