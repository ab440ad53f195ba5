"""`stepbridge/function.*`: what the engine itself puts on the bus."""

from __future__ import annotations

from typing import Any

import pytest

from stepbridge import App, Cancel, ConfigError, Event, EventMatch, event, invoke_only
from stepbridge.testing import Simulation
from tests.acceptance.helpers import Broken, Colour, Script

FAILED, FINISHED, CANCELLED = (f"stepbridge/function.{word}" for word in ("failed", "finished", "cancelled"))


def failing(ctx: Any) -> Script:
    """A handler that fails."""
    yield ctx.step.with_options(retries=0).run("charge", Broken(PermissionError("card declined")))


def fine(ctx: Any) -> Script:
    """A handler that returns something."""
    return (yield ctx.step.run("n", lambda: {"n": 5}))


def named(sim: Simulation, name: str) -> list[Event[Any]]:
    """The events of this name that were put on the bus."""
    return [one for one in sim.events if one.name == name]


def test_a_failed_run_is_told_of(colour: Colour) -> None:
    """`{app_id, function_id, run_id, error, event}`; once."""
    with Simulation(colour.app(failing)) as sim:
        event_id = sim.send("go", {"n": 1})
        (told,) = named(sim, FAILED)
        run = sim.run("f")
    assert set(told.data) == {"app_id", "function_id", "run_id", "error", "event"}
    assert (told.data["app_id"], told.data["function_id"], told.data["run_id"]) == ("shop", "f", run.run_id)
    assert told.data["error"] == run.error
    assert told.data["event"]["id"] == event_id
    assert told.data["event"]["data"] == {"n": 1}


def test_its_id_derives_from_the_run(colour: Colour) -> None:
    """The same in an equal simulation, whatever is delivered twice; different for each run."""

    def ids(seed: int | None) -> set[str]:
        with Simulation(colour.app(failing), seed=seed) as sim:
            sim.send("go", id="e-1")
            sim.send("go", id="e-2")
            sim.run_until_idle()
            return {one.id for one in named(sim, FAILED)}

    assert len(ids(None)) == 2
    assert ids(None) == ids(1) == ids(2)


def test_other_functions_may_trigger_on_it(colour: Colour) -> None:
    """An alarm for the whole app."""

    def alarm(ctx: Any) -> Script:
        yield ctx.step.run("a", int)
        return ctx.event.data["error"]["message"]

    app = colour.app(failing)
    colour.function(app, "alarm", alarm, trigger=event(FAILED))
    with Simulation(app) as sim:
        sim.send("go")
        assert sim.run("alarm").output == "card declined"


def test_a_run_that_a_system_event_started_emits_none(colour: Colour) -> None:
    """Otherwise a failing alarm would call itself for ever."""
    app = colour.app(failing)
    colour.function(app, "alarm", failing, trigger=event(FAILED))
    with Simulation(app) as sim:
        sim.send("go")
        sim.run_until_idle()
        assert sim.run("alarm").status == "FAILED"
        assert len(sim.runs("alarm")) == 1
        assert [one.data["function_id"] for one in named(sim, FAILED)] == ["f"]


@pytest.mark.parametrize("ends", ["cancelled", "finished"])
def test_a_run_that_any_system_event_started_emits_none(colour: Colour, ends: str) -> None:
    """Neither of its cancellation nor of its end."""

    def script(ctx: Any) -> Script:
        yield ctx.step.sleep("z", "1h")

    app = App("shop", publish_finished=True)
    cancel = [Cancel("stop")] if ends == "cancelled" else []
    colour.function(app, "f", script, cancel=cancel)
    colour.function(app, "after", script, trigger=event(f"stepbridge/function.{ends}"), cancel=cancel)
    with Simulation(app) as sim:
        sim.send("go")
        for _ in range(2):
            sim.advance("10m")
            if ends == "cancelled":
                sim.send("stop")
        sim.advance("4h")
        assert [run.status for run in sim.runs()] == ["CANCELLED" if ends == "cancelled" else "COMPLETED"] * 2
        assert [one.data["function_id"] for one in named(sim, f"stepbridge/function.{ends}")] == ["f"]


def test_a_wait_may_be_for_a_system_event(colour: Colour) -> None:
    """A watcher."""

    def watch(ctx: Any) -> Script:
        told = yield ctx.step.wait_for_event("w", event=FAILED, match={"data.function_id": "f"}, timeout="1h")
        return told.data["error"]["name"]

    app = colour.app(failing)
    colour.function(app, "watch", watch, trigger=event("watch"), waits=[EventMatch(FAILED)])
    with Simulation(app) as sim:
        sim.send("watch")
        sim.send("go")
        assert sim.run("watch").output == "PermissionError"


def test_a_wait_for_a_system_event_is_to_be_declared(colour: Colour) -> None:
    """The app's rule leaves system events out that nobody has declared; the error names the mend."""

    def watch(ctx: Any) -> Script:
        yield ctx.step.wait_for_event("w", event=FAILED, timeout="1h")

    app = colour.app(failing)
    colour.function(app, "watch", watch, trigger=event("watch"))
    with Simulation(app) as sim:
        sim.send("watch")
        error = sim.run("watch").error
    assert error is not None
    assert "waits=[EventMatch('stepbridge/function.failed')]" in error["message"]


def test_finished_is_not_published_unless_somebody_wants_it(colour: Colour) -> None:
    """It costs money for every run."""
    with Simulation(colour.app(fine)) as sim:
        sim.send("go")
        assert [one.name for one in sim.events] == ["go"]


def test_finished_is_published_where_a_function_triggers_on_it(colour: Colour) -> None:
    """`{app_id, function_id, run_id, result, event}`; the run that it starts emits none."""

    def after(ctx: Any) -> Script:
        yield ctx.step.run("a", int)
        return ctx.event.data

    app = colour.app(fine)
    colour.function(app, "after", after, trigger=event(FINISHED))
    with Simulation(app) as sim:
        sim.send("go")
        run = sim.run("f")
        (told,) = named(sim, FINISHED)
        assert sim.run("after").output == told.data
        assert len(sim.runs("after")) == 1
    assert set(told.data) == {"app_id", "function_id", "run_id", "result", "event"}
    assert (told.data["run_id"], told.data["result"]) == (run.run_id, {"n": 5})


def test_finished_is_published_where_a_wildcard_takes_it(colour: Colour) -> None:
    """`stepbridge/*` triggers on it, too."""
    app = colour.app(fine)
    colour.function(app, "after", fine, trigger=event("stepbridge/*"))
    with Simulation(app) as sim:
        sim.send("go")
        assert len(named(sim, FINISHED)) == 1
        assert len(sim.runs("after")) == 1


def test_finished_is_published_where_the_app_says_so(colour: Colour) -> None:
    """`App(..., publish_finished=True)`; once for each run."""
    app = App("shop", publish_finished=True)
    colour.function(app, "f", fine)
    with Simulation(app) as sim:
        for _ in range(3):
            sim.send("go")
        assert [one.data["result"] for one in named(sim, FINISHED)] == [{"n": 5}] * 3
        assert len({one.id for one in named(sim, FINISHED)}) == 3


def test_a_cancelled_run_is_told_of(colour: Colour) -> None:
    """Always, as `.failed` is."""
    app = App("shop")

    def child(ctx: Any) -> Script:
        yield ctx.step.sleep("nap", "5h")

    def parent(ctx: Any) -> Script:
        yield ctx.step.invoke("call", function="child", timeout="1h")

    colour.function(app, "child", child, trigger=invoke_only())
    colour.function(app, "f", parent)
    with Simulation(app) as sim:
        sim.send("go")
        sim.run_until_idle()
        (told,) = named(sim, CANCELLED)
        run = sim.run("child")
    assert (told.data["app_id"], told.data["function_id"], told.data["run_id"]) == ("shop", "child", run.run_id)
    assert {"error", "event"} <= set(told.data)


def test_a_failed_child_is_told_of_as_well(colour: Colour) -> None:
    """Parent and child both failed: two events."""

    def parent(ctx: Any) -> Script:
        yield ctx.step.invoke("call", function="child")

    app = colour.app(parent)
    colour.function(app, "child", failing, trigger=invoke_only())
    with Simulation(app) as sim:
        sim.send("go")
        assert sorted(one.data["function_id"] for one in named(sim, FAILED)) == ["child", "f"]


@pytest.mark.parametrize("name", [FAILED, FINISHED, "stepbridge/x"])
def test_sending_one_is_a_clear_error(colour: Colour, name: str) -> None:
    """The prefix is reserved."""
    with Simulation(colour.app(fine)) as sim, pytest.raises(ConfigError, match="reserved"):
        sim.send(name)
