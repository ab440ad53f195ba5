"""What happens to the golden apps, and what is kept of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from stepbridge import App
from stepbridge.core.instants import from_ms, to_ms
from stepbridge.core.limits import CRASH_LIMIT
from stepbridge.engine.finish import FAILED
from stepbridge.engine.operations import Operations, new_run_id
from stepbridge.local.simulated import site_of
from stepbridge.memory.world import World
from stepbridge.testing import RunView, Simulation

FOLDER: Final = Path(__file__).parent
START: Final = datetime(2025, 1, 1, tzinfo=UTC)
DATA: Final = {"id": 7, "cents": 100}

STORY: Final[tuple[Callable[[Simulation], object], ...]] = (
    lambda sim: sim.send("go", DATA, id="go-1"),
    lambda sim: sim.send("later", DATA, id="later-1", ts=to_ms(START) + 5 * 3_600_000),
    lambda sim: sim.send("paid", {"id": 7, "cents": 50}, id="paid-1"),
    lambda sim: sim.advance("20m"),
    lambda sim: sim.advance("50m"),
    lambda sim: sim.send("never mind", {"id": 7}, id="cancel-0", ts=to_ms(START) - 1),
    lambda sim: sim.advance("20m"),
    lambda sim: sim.send("paid", {"id": 8, "cents": 500}, id="paid-2"),
    lambda sim: sim.send("shipped", {"by": "train"}, id="shipped-1"),
    lambda sim: sim.advance("2h"),
    lambda sim: sim.send("never mind", {"id": 7, "why": "late"}, id="cancel-1"),
    lambda sim: sim.run_until_idle(),
)
"""In this order; a snapshot stands before each, and one at the end."""


def _resume(sim: Simulation, function_id: str) -> None:
    _operations(sim).resume(sim.run(function_id).run_id)
    sim.advance("0s")


def _rerun(sim: Simulation, number: int, from_step: str | None) -> None:
    """Of the first run; the new one's id follows from the number."""
    run_id = sim.runs("again")[0].run_id
    _operations(sim).rerun(run_id, new_run_id(run_id, str(number)), from_step)
    sim.advance("0s")


def _operations(sim: Simulation) -> Operations:
    (site,) = sim._sites
    return Operations(site.app.id, site.ports, ())


def _crash(sim: Simulation) -> None:
    sim.crash("boom", times=CRASH_LIMIT + 1)  # the first of them has recorded a step
    sim.send("crash", DATA, id="crash-1")
    sim.advance("10h")


STOPPED: Final[tuple[Callable[[Simulation], object], ...]] = (
    lambda sim: sim.send("go", DATA, id="go-1"),
    lambda sim: sim.advance("20m"),
    lambda sim: sim.send("paid", {"id": 7}, id="paid-1"),
    lambda sim: sim.advance("45m"),
    lambda sim: _rerun(sim, 1, "refused"),
    lambda sim: sim.advance("30m"),
    lambda sim: _rerun(sim, 2, None),
    lambda sim: sim.advance("2h"),
    lambda sim: _resume(sim, "parked"),
    lambda sim: _resume(sim, "parked-sync"),
    _crash,
    lambda sim: _resume(sim, "crashes"),
    lambda sim: _rerun(sim, 3, "nap"),
    lambda sim: sim.run_until_idle(),
)
"""Of runs that are parked and resumed, and of runs that are run again."""


def story_of(version: str) -> tuple[Callable[[Simulation], object], ...]:
    """What happens to the app in the folder `version`."""
    return STOPPED if version.endswith("_stopped") else STORY


def snapshot(sim: Simulation) -> dict[str, Any]:
    """The world as it stands, and what is to be read from it."""
    world = sim._world
    assert isinstance(world, World)
    return {"now": to_ms(sim.now), "world": json.loads(world.dump()), "runs": [summary(run) for run in sim.runs()]}


def restored(app: App, held: dict[str, Any]) -> Simulation:
    """A simulation that goes on from a snapshot."""
    sim = Simulation(app, start=from_ms(held["now"]), backend="memory")
    world = sim._world
    assert isinstance(world, World)
    world.load(json.dumps(held["world"]))
    sim._sites[:] = [site_of(world, app)]
    return sim


def summary(run: RunView) -> dict[str, Any]:
    """All that a run's history says, but for tracebacks, whose paths differ."""
    steps = [
        [one.step_id, one.occurrence, one.kind, one.status, one.output, one.attempts, _told(one.error)]
        for one in run.steps.values()
    ]
    event = run.event
    data = {**event.data, "error": _told(event.data["error"])} if event.name == FAILED else event.data
    row = [run.run_id, run.function_id, run.status, run.output, _told(run.error), run.attempt, steps]
    return {"run": row, "event": [event.name, data, event.id, event.ts, event.source]}


def _told(error: dict[str, str] | None) -> list[str] | None:
    return None if error is None else [error["name"], error["message"]]
