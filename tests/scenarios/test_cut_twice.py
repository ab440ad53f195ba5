"""Two crashes in a row, on either backend: what mends the first may be hit by the second."""

from __future__ import annotations

import pytest

from stepbridge.core.ids import fraction
from tests.faults.crash import Knife
from tests.faults.programs import PROGRAMS, Program
from tests.faults.test_every_crash_point import run_through

NAMES = ("steps_only", "wait_that_is_matched", "wait_that_times_out")
SMALL = [program for program in PROGRAMS if program.name in NAMES]
PAIRS = 4
"""Of points for each program: `tests/faults` tries many more, in memory."""


def drawn(program: Program, number: int, requests: int) -> frozenset[int]:
    """A point among the first invocation's requests, and one soon after it."""
    first = int(2 * requests * fraction("cut", program.name, str(number)))
    return frozenset({first, first + 1 + int(requests * fraction("cut again", program.name, str(number)))})


def test_the_programs_are_there() -> None:
    """By the names that are drawn from here."""
    assert {program.name for program in SMALL} == set(NAMES)


@pytest.mark.parametrize("program", SMALL, ids=str)
def test_a_second_crash_changes_no_more_than_one(program: Program) -> None:
    """Same runs, outputs, steps and sent ids; each effect at most twice more; nothing left behind."""
    calm = Knife()
    want, effects = run_through(program, calm)
    assert want.leftovers == ()
    for number in range(PAIRS):
        knife = Knife(drawn(program, number, calm.requests))
        got, again = run_through(program, knife)
        assert got == want, sorted(knife.cuts)
        assert again.keys() == effects.keys()
        assert all(effects[name] <= again[name] <= effects[name] + 2 for name in again)
        assert 2 * knife.requests > max(knife.cuts)  # both were reached
