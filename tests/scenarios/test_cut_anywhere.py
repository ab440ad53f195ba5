"""Every story with the engine cut before or after a request: it ends as it does undisturbed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from functions.shop import app, services
from functions.shop.services import World
from tests.faults.crash import CrashingSimulation, Knife
from tests.scenarios.http_api import HttpApi
from tests.scenarios.test_at_its_worst import STORIES, Sends, State, new_world, state_of

_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+")
MOST_POINTS = {"memory": 100, "moto": 8}
"""Of a story that makes more requests, every second, third... point is tried; moto takes a second a point."""


@pytest.fixture(autouse=True)
def _restored(world: World) -> None:
    """`play` puts worlds in place of this one; its fixture puts the real one back."""


def play(sends: Sends, world: World, knife: Knife) -> tuple[State, list[str]]:
    """The story under the knife; between two events there is time for every redelivery."""
    services.world = world
    with CrashingSimulation(app, knife=knife) as sim:
        for number, (name, data) in enumerate(sends):
            sim.send(name, data, id=f"event-{number}")
            sim.advance("20m")
        sim.run_until_idle()
        return timeless(state_of(sim, world)), sim.leftovers()


def timeless(state: State) -> State:
    """A step that a crash delays may see another time of day: outputs are compared without."""
    return replace(state, runs=[(name, status, _TIME.sub("...", output)) for name, status, output in state.runs])


@pytest.mark.parametrize("story", STORIES)
def test_a_story_that_is_cut_anywhere_ends_the_same(
    story: str,
    tmp_path: Path,
    api: HttpApi,
    record_property: Callable[[str, object], None],
    pytestconfig: pytest.Config,
) -> None:
    """Same runs and outputs, same payments and points, each mail at least once, nothing left behind."""
    knife = Knife()
    want = play(STORIES[story], new_world(tmp_path / "calm", api), knife)
    total = 2 * knife.requests
    points = range(0, total, -(-total // MOST_POINTS[pytestconfig.getoption("--backend")]))
    wrong = []
    for point in points:
        got = play(STORIES[story], new_world(tmp_path / f"cut-{point}", api), Knife(frozenset({point})))
        wrong += [(point, got)] if got != want else []
    record_property("crash points", len(points))
    assert want[1] == []
    assert wrong == []
