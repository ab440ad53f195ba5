"""Every program in a storm: whatever befalls its requests, it ends as it does undisturbed."""

from __future__ import annotations

import logging
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


def amiss(program: Program, seed: int) -> tuple[list[str], int]:
    """What is not as it should be after this storm, and how many faults there were in it."""
    runs, effects, storm = weather(program, Luck(seed))
    want, least = calm(program)
    found = [] if runs == want else [f"{program} in storm {seed} ends with {runs}"]
    found += [f"{program} in storm {seed} leaves {left}" for left in storm.leftovers()]
    fair = all(least.get(one, 1) <= times <= least.get(one, 0) + storm.repeats for one, times in effects.items())
    if effects.keys() != least.keys() or not fair:
        found.append(f"{program} in storm {seed} has the effects {effects}, not {least}")
    return found, storm.faults


def test_every_program_ends_as_undisturbed(
    pytestconfig: pytest.Config, record_property: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """Same runs, outputs and records, nothing left, effects repeated by faults alone; over all programs and seeds."""
    caplog.set_level(logging.CRITICAL, "stepbridge")
    schedules = pytestconfig.getoption("--schedules")
    wrong: list[str] = []
    faults = 0
    for number in range(schedules):
        found, more = amiss(STORMY[number % len(STORMY)], number // len(STORMY))
        wrong += found
        faults += more
    record_property("schedules", schedules)
    record_property("faults", faults)
    assert wrong == []


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
