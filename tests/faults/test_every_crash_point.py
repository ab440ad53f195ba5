"""Cut before and after every request that the engine makes: the end is the same as undisturbed."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from stepbridge import App, Context, ContextSync, StepInterruptedError, event
from stepbridge.core.ids import fraction
from stepbridge.engine.async_replay import AsyncReplay
from stepbridge.engine.workers import Workers
from stepbridge.testing import Simulation
from tests.faults.crash import CrashingSimulation, Knife
from tests.faults.programs import EFFECTS, PROGRAMS, Program, effect


@dataclass(frozen=True)
class End:
    """What must not depend on crashes."""

    runs: tuple[Any, ...]
    sent: frozenset[tuple[str, str]]
    """Names and ids of all events: one that is put again after a crash has the id that it had."""
    leftovers: tuple[str, ...]


def run_through(program: Program, knife: Knife) -> tuple[End, dict[str, int]]:
    """Drives the program to its end under the knife."""
    EFFECTS.clear()
    with CrashingSimulation(program.app, knife=knife) as sim:
        program.script(sim)
        runs = sorted(
            (
                run.function_id,
                run.run_id,
                run.status,
                repr(run.output),
                repr(run.error and run.error["name"]),
                steps(run),
            )
            for run in sim.runs()
        )
        sent = frozenset((one.name, one.id) for one in sim.events)
        return End(tuple(runs), sent, tuple(sim.leftovers())), dict(EFFECTS)


def steps(run: Any) -> tuple[Any, ...]:
    """The steps' outcomes, whatever their times and attempts."""
    return tuple(sorted((str(key), step.status, timeless(step.output)) for key, step in run.steps.items()))


def timeless(output: Any) -> str:
    """An output without the time at which an event was sent: a crash before the sending delays it."""
    return re.sub(r"'ts': \d+", "'ts': ...", repr(output))


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_any_one_crash_changes_nothing_but_repeated_effects(
    program: Program, record_property: Callable[[str, object], None]
) -> None:
    """Same runs, outputs, steps and sent ids; each effect once or twice; nothing left behind."""
    calm = Knife()
    want, effects = run_through(program, calm)
    assert want.leftovers == ()
    wrong = []
    for point in range(2 * calm.requests):
        got, again = run_through(program, Knife(frozenset({point})))
        most = {name: count + 1 for name, count in effects.items()}
        fair = again.keys() == effects.keys() and all(effects[n] <= again[n] <= most[n] for n in again)
        wrong += [(point, calm.trace[point // 2], got, again)] if got != want or not fair else []
    record_property("crash points", 2 * calm.requests)
    assert wrong == []


SMALL = 10
"""Requests of a run that is cut at every pair of points."""
PAIRS = 24
"""Of points at which the others are cut twice, by a hash of their numbers."""


def pairs(program: Program, requests: int) -> list[frozenset[int]]:
    """All pairs of points where the run is small, some of them where it is not; the second may be in what follows."""
    points = range(4 * requests)
    if requests <= SMALL:
        return [frozenset({first, second}) for first in points[: 2 * requests] for second in points[first + 1 :]]
    drawn = ((fraction("pair", program.name, str(n)), fraction("second", program.name, str(n))) for n in range(PAIRS))
    return [frozenset({int(2 * requests * first), int(4 * requests * second)}) for first, second in drawn]


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_two_crashes_change_nothing_but_repeated_effects(
    program: Program, record_property: Callable[[str, object], None]
) -> None:
    """As one crash; each effect at most twice more. The second crash may hit what mends the first."""
    calm = Knife()
    want, effects = run_through(program, calm)
    cuts = pairs(program, calm.requests)
    wrong = []
    for cut in cuts:
        got, again = run_through(program, Knife(cut))
        fair = again.keys() == effects.keys() and all(effects[n] <= again[n] <= effects[n] + 2 for n in again)
        wrong += [(sorted(cut), got, again)] if got != want or not fair else []
    record_property("pairs of crash points", len(cuts))
    assert wrong == []


@pytest.fixture
def calls_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on AWS where somebody else waits for a turn of the loop."""
    begin = Workers.__init__
    monkeypatch.setattr(Workers, "__init__", lambda self, *, blocking: begin(self, blocking=True))
    monkeypatch.setattr(AsyncReplay, "_has_the_loop", lambda *_: False)


@pytest.mark.usefixtures("calls_in_threads")
@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_a_crash_changes_nothing_where_calls_are_made_in_threads(
    program: Program, record_property: Callable[[str, object], None]
) -> None:
    """As one crash; requests of branches come in any order, so every fifth point is enough."""
    calm = Knife()
    want, effects = run_through(program, calm)
    points = range(0, 2 * calm.requests, 5)
    wrong = []
    for point in points:
        got, again = run_through(program, Knife(frozenset({point})))
        fair = again.keys() == effects.keys() and all(effects[n] <= again[n] <= effects[n] + 1 for n in again)
        wrong += [(point, got, again)] if got != want or not fair else []
    record_property("crash points", len(points))
    assert wrong == []


def at_most_once() -> Program:
    """A step that must not be repeated silently, in both colours."""
    app = App("faults")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> str:
        with suppress(StepInterruptedError):
            await ctx.step.with_options(on_interrupt="raise").run("a", effect, "once")
        await ctx.step.sleep("z", "1m")
        return "end"

    @app.function("g", trigger=event("go"))
    def sync_handler(ctx: ContextSync) -> str:
        with suppress(StepInterruptedError):
            ctx.step.with_options(on_interrupt="raise").run("a", effect, "once too")
        return "end"

    def script(sim: Simulation) -> None:
        sim.send("go", id="go")
        sim.run_until_idle()

    return Program("at most once", app, script)


def test_a_step_that_must_not_be_repeated_never_is() -> None:
    """Wherever the crash: the effect takes place at most once, and the run goes on to its end."""
    program = at_most_once()
    calm = Knife()
    want, effects = run_through(program, calm)
    assert effects == {"once": 1, "once too": 1}
    for point in range(2 * calm.requests):
        got, again = run_through(program, Knife(frozenset({point})))
        assert max(again.values()) == 1
        assert [run[2:4] for run in got.runs] == [run[2:4] for run in want.runs]
        assert got.leftovers == ()
