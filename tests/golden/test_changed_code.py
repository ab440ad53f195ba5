"""A run is asleep while its code changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from stepbridge import App
from stepbridge.engine.operations import Operations
from stepbridge.testing import RunView, Simulation
from tests.acceptance.helpers import ASYNC, SYNC, Colour, Script

Made = Callable[[Any], Script]
CALLS: list[str] = []


@pytest.fixture(autouse=True)
def calls() -> list[str]:
    """What steps have done, in order."""
    CALLS.clear()
    return CALLS


@pytest.fixture(params=[ASYNC, SYNC], ids=["async", "sync"])
def colour(request: pytest.FixtureRequest) -> Colour:
    """Of the handlers."""
    made: Colour = request.param
    return made


def do(name: str) -> str:
    CALLS.append(name)
    return name


def runs(*names: str) -> Made:
    """Steps of these names; `nap` is a sleep, and `wait` a wait."""

    def script(ctx: Any) -> Script:
        values = []
        for name in names:
            if name == "nap":
                yield ctx.step.sleep("nap", "1h")
            elif name == "wait":
                values.append((yield ctx.step.wait_for_event("wait", event="reply", timeout="2h")) is not None)
            else:
                values.append((yield ctx.step.run(name, do, name)))
        return values

    return script


def deploy(sim: Simulation, app: App) -> None:
    """From now on this is the code; no process lives on."""
    (site,) = sim._sites
    site.app = app
    site.restart()


def across(colour: Colour, before: Made, after: Made, to: Colour | None = None) -> RunView:
    """A run that begins with one code and wakes to another."""
    with Simulation(colour.app(before)) as sim:
        sim.send("go")
        assert sim.run("f").status == "SLEEPING"
        deploy(sim, (to or colour).app(after))
        sim.run_until_idle()
        (site,) = sim._sites
        assert [item for item in site.stack.table.items() if str(item["pk"]).startswith("W#")] == []
        return sim.run("f")


def test_an_added_step_runs_where_it_stands(colour: Colour) -> None:
    """Before what is recorded as well as after it."""
    run = across(colour, runs("a", "nap", "z"), runs("new", "a", "nap", "newer", "z"))
    assert (run.status, run.output) == ("COMPLETED", ["new", "a", "newer", "z"])
    assert CALLS == ["a", "new", "newer", "z"]


def test_a_removed_step_is_left_out(colour: Colour) -> None:
    """Its record stands in the history, and bothers nobody."""
    run = across(colour, runs("a", "b", "nap", "z"), runs("b", "nap", "z"))
    assert (run.status, run.output, CALLS) == ("COMPLETED", ["b", "z"], ["a", "b", "z"])
    assert run.steps["a"].output == "a"


def test_a_removed_sleep_is_not_waited_for(colour: Colour) -> None:
    """Its timer wakes the run, which goes on without it."""
    run = across(colour, runs("a", "nap", "z"), runs("a", "z"))
    assert (run.status, run.output, CALLS) == ("COMPLETED", ["a", "z"], ["a", "z"])


def test_a_removed_wait_is_taken_out_of_the_index(colour: Colour) -> None:
    """With the run's end at the latest; its event does nothing."""
    run = across(colour, runs("a", "wait", "z"), runs("a", "nap", "z"))
    assert (run.status, run.output, CALLS) == ("COMPLETED", ["a", "z"], ["a", "z"])


def test_reordered_steps_keep_their_results(colour: Colour) -> None:
    """A result belongs to an id, not to a place."""
    run = across(colour, runs("a", "b", "nap", "z"), runs("b", "nap", "a", "z"))
    assert (run.status, run.output, CALLS) == ("COMPLETED", ["b", "a", "z"], ["a", "b", "z"])


def test_a_renamed_step_is_a_new_one(colour: Colour) -> None:
    """It runs, though its work was done under the old name."""
    run = across(colour, runs("a", "nap", "z"), runs("a2", "nap", "z"))
    assert (run.status, run.output, CALLS) == ("COMPLETED", ["a2", "z"], ["a", "a2", "z"])


def test_a_renamed_sleep_begins_anew(colour: Colour) -> None:
    """Its time counts from the wake of the old one."""

    def renamed(ctx: Any) -> Script:
        yield ctx.step.sleep("rest", "30m")
        return (ctx.now - ctx.now.replace(hour=0, minute=0)).total_seconds() / 60

    run = across(colour, runs("nap"), renamed)
    assert (run.status, run.output) == ("COMPLETED", 90)


@pytest.mark.parametrize(("before", "after"), [("run", "sleep"), ("sleep", "run"), ("wait", "run"), ("run", "wait")])
def test_a_step_of_another_kind_parks_the_run_until_the_code_is_mended(colour: Colour, before: str, after: str) -> None:
    """Both kinds are named; with the old code back, `resume` ends the run, and nothing was repeated."""

    def script(kind: str) -> Made:
        def made(ctx: Any) -> Script:
            if kind == "run":
                yield ctx.step.run("it", do, "it")
            elif kind == "sleep":
                yield ctx.step.sleep("it", "10m")
            else:
                yield ctx.step.wait_for_event("it", event="reply", timeout="10m")
            yield ctx.step.sleep("nap", "1h")
            return (yield ctx.step.run("z", do, "z"))

        return made

    with Simulation(colour.app(script(before))) as sim:
        sim.send("go")
        deploy(sim, colour.app(script(after)))
        sim.run_until_idle()
        run = sim.run("f")
        assert run.error is not None
        assert (run.status, run.error["name"]) == ("PARKED", "NondeterminismError")
        deploy(sim, colour.app(script(before)))
        (site,) = sim._sites
        Operations(site.app.id, site.ports, ()).resume(run.run_id)
        sim.run_until_idle()
        assert (sim.run("f").status, sim.run("f").output) == ("COMPLETED", "z")
    assert ["it"] * (before == "run") + ["z"] == CALLS


def test_another_number_of_repetitions_goes_on_with_the_next(colour: Colour) -> None:
    """Of one id: those recorded stand, the others run."""
    run = across(colour, runs("a", "a", "nap"), runs("a", "a", "a", "nap", "a"))
    assert (run.status, run.output, CALLS) == ("COMPLETED", ["a"] * 4, ["a"] * 4)


def test_another_function_of_the_step_takes_the_recorded_value(colour: Colour) -> None:
    """What it would return now does not matter."""

    def other(ctx: Any) -> Script:
        value = yield ctx.step.run("a", lambda: "new")
        yield ctx.step.sleep("nap", "1h")
        return value

    run = across(colour, runs("a", "nap"), other)
    assert (run.status, run.output) == ("COMPLETED", "a")


class Receipt(BaseModel):
    """What the step returns from now on."""

    cents: int


def receipt() -> Receipt:
    return Receipt(cents=1)


def test_a_value_that_no_longer_fits_its_type_parks_the_run(colour: Colour) -> None:
    """A text was recorded, and a model is wanted now."""

    def typed(ctx: Any) -> Script:
        yield ctx.step.run("a", receipt)
        yield ctx.step.sleep("nap", "1h")

    run = across(colour, runs("a", "nap"), typed)
    assert run.error is not None
    assert (run.status, run.error["name"]) == ("PARKED", "NondeterminismError")
    assert "'a'" in run.error["message"]


def test_a_longer_sleep_in_the_code_does_not_move_the_recorded_one(colour: Colour) -> None:
    """Its due time was fixed when it began."""

    def longer(ctx: Any) -> Script:
        yield ctx.step.sleep("nap", "5h")
        return ctx.now.hour

    run = across(colour, runs("nap"), longer)
    assert (run.status, run.output) == ("COMPLETED", 1)


@pytest.mark.parametrize(("colour", "to"), [(ASYNC, SYNC), (SYNC, ASYNC)], ids=["to sync", "to async"])
def test_a_handler_may_change_its_colour(colour: Colour, to: Colour) -> None:
    """A history has none."""
    run = across(colour, runs("a", "wait", "nap", "z"), runs("a", "wait", "nap", "z"), to=to)
    assert (run.status, run.output, CALLS) == ("COMPLETED", ["a", False, "z"], ["a", "z"])
