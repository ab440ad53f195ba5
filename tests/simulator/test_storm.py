"""Every program in a storm: whatever befalls its requests, it ends as it does undisturbed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.faults.programs import EFFECTS, PROGRAMS, Program
from tests.faults.test_every_crash_point import steps
from tests.simulator.luck import Luck
from tests.simulator.storm import Storm

STORMY = [program for program in PROGRAMS if program.name != "sync_branches"]
"""All but the one whose branches are threads: the operating system decides between them, no seed does."""


def weather(program: Program, luck: Luck) -> tuple[Any, dict[str, int], Storm]:
    """How the program's runs have ended, its effects, and the storm that it went through."""
    EFFECTS.clear()
    with Storm(program.app, luck=luck) as storm:
        program.script(storm)
        storm.end()
        runs = sorted((run.function_id, run.run_id, run.status, repr(run.output), steps(run)) for run in storm.runs())
        return runs, dict(EFFECTS), storm


@cache
def calm(program: Program) -> tuple[Any, dict[str, int]]:
    """The same, undisturbed."""
    runs, effects, _ = weather(program, Luck(0, faults_left=0))
    return runs, effects


def test_every_program_ends_as_undisturbed(pytestconfig: pytest.Config, record_property: Callable[..., None]) -> None:
    """Same runs, outputs and records, nothing left, effects repeated by faults alone; over all programs and seeds."""
    schedules = pytestconfig.getoption("--schedules")
    faults = 0
    for number in range(schedules):
        program, seed = STORMY[number % len(STORMY)], number // len(STORMY)
        runs, effects, storm = weather(program, Luck(seed))
        want, least = calm(program)
        what = f"{program} in storm {seed}"
        assert runs == want, what
        assert storm.leftovers() == [], what
        assert effects.keys() == least.keys(), what
        assert all(least[one] <= times <= least[one] + storm.faults for one, times in effects.items()), what
        faults += storm.faults
    record_property("schedules", schedules)
    record_property("faults", faults)


@pytest.mark.parametrize("seed", [5, 8])
@pytest.mark.parametrize("program", STORMY[::6], ids=str)
def test_a_seed_replays_exactly(program: Program, seed: int) -> None:
    """Request for request, at the same instants, with the same fates."""
    first = weather(program, Luck(seed))[2]
    again = weather(program, Luck(seed))[2]
    assert first.trace == again.trace
    assert first.faults > 0


def test_seeds_differ() -> None:
    """Two seeds give two schedules."""
    assert weather(STORMY[1], Luck(5))[2].trace != weather(STORMY[1], Luck(8))[2].trace
