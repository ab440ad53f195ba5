"""`on_failure=`: a run of its own for each run that failed."""

from __future__ import annotations

from typing import Any

import pytest

from stepbridge import App, Context, ContextSync, NonRetriableError, StepError, event, invoke_only
from stepbridge.testing import Simulation
from tests.acceptance.helpers import Broken, Colour, Flaky, Script, error_of


def failing(ctx: Any) -> Script:
    """A handler whose one step always fails."""
    yield ctx.step.run("charge", Broken(PermissionError("card declined")))


def told(ctx: Any) -> Script:
    """An on_failure handler that returns what it was told, through a step."""
    return (yield ctx.step.run("note", lambda: ctx.event.data))


def test_it_runs_once_the_run_has_failed_for_good(colour: Colour) -> None:
    """Function id `<id>-failure`, a run id of its own; not before the last attempt."""
    app = colour.app(failing, retries=1, on_failure=colour.handler(told))
    with Simulation(app) as sim:
        sim.send("go", {"n": 1})
        assert sim.runs("f-failure") == []
        sim.run_until_idle()
        run, failure = sim.run("f"), sim.run("f-failure")
        assert len(sim.runs("f-failure")) == 1
    assert (run.status, failure.status) == ("FAILED", "COMPLETED")
    assert failure.run_id != run.run_id
    assert failure.function_id == "f-failure"
    assert failure.steps["note"].status == "COMPLETED"


def test_its_data_says_what_failed_and_why(colour: Colour) -> None:
    """`{function_id, run_id, error: {name, message, stack}, event, events}`."""
    app = colour.app(failing, retries=0, on_failure=colour.handler(told))
    with Simulation(app) as sim:
        event_id = sim.send("go", {"n": 1})
        run, data = sim.run("f"), sim.run("f-failure").output
    assert set(data) == {"function_id", "run_id", "error", "event", "events"}
    assert (data["function_id"], data["run_id"]) == ("f", run.run_id)
    assert data["error"] == run.error
    assert (data["error"]["name"], data["error"]["message"]) == ("PermissionError", "card declined")
    assert (data["event"]["name"], data["event"]["data"], data["event"]["id"]) == ("go", {"n": 1}, event_id)
    assert data["events"] == [data["event"]]


def test_its_event_is_the_one_on_the_bus(colour: Colour) -> None:
    """`function.failed`, by its id; also where the app publishes `.finished`."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("a", int)
        raise NonRetriableError

    def told(ctx: Any) -> Script:
        yield ctx.step.run("a", int)
        return [ctx.event.name, ctx.event.id]

    app = App("shop", publish_finished=True)
    colour.function(app, "f", script, on_failure=colour.handler(told))
    with Simulation(app) as sim:
        sim.send("go")
        (failed,) = [one for one in sim.events if one.name == "stepbridge/function.failed"]
        assert sim.run("f-failure").output == [failed.name, failed.id]


def test_a_failure_outside_steps_is_told_as_well(colour: Colour) -> None:
    """After the body's attempts."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("a", int)
        raise ConnectionError("lost")

    with Simulation(colour.app(script, retries=2, on_failure=colour.handler(told))) as sim:
        sim.send("go")
        sim.run_until_idle()
        assert sim.run("f-failure").output["error"]["message"] == "lost"
        assert len(sim.runs("f-failure")) == 1


def test_it_does_not_run_for_a_run_that_completed(colour: Colour) -> None:
    """Nor for errors that were retried or caught on the way."""
    flaky = Flaky(ValueError("once"))

    def script(ctx: Any) -> Script:
        yield ctx.step.run("flaky", flaky)
        try:
            yield ctx.step.with_options(retries=0).run("fail", Broken(ValueError("no")))
        except StepError:
            return "caught"

    with Simulation(colour.app(script, on_failure=colour.handler(told))) as sim:
        sim.send("go")
        sim.run_until_idle()
        assert sim.run("f").output == "caught"
        assert sim.runs("f-failure") == []


def test_it_does_not_run_for_a_cancelled_run(colour: Colour) -> None:
    """A child that its parent's timeout cancelled."""
    app = App("shop")

    def child(ctx: Any) -> Script:
        yield ctx.step.sleep("nap", "5h")

    def parent(ctx: Any) -> Script:
        yield ctx.step.invoke("call", function="child", timeout="1h")

    colour.function(app, "child", child, trigger=invoke_only(), on_failure=colour.handler(told))
    colour.function(app, "f", parent, on_failure=colour.handler(told))
    with Simulation(app) as sim:
        sim.send("go")
        sim.run_until_idle()
        assert sim.run("child").status == "CANCELLED"
        assert sim.runs("child-failure") == []
        assert sim.run("f-failure").output["error"]["name"] == "InvokeTimeoutError"


def test_it_has_no_retries_and_no_on_failure_of_its_own(colour: Colour) -> None:
    """Retries 0: what fails there has failed."""
    attempts: list[int] = []

    def broken(ctx: Any) -> Script:
        attempts.append(ctx.max_attempts)
        yield ctx.step.run("note", Broken(OSError("pager is down")))

    with Simulation(colour.app(failing, retries=0, on_failure=colour.handler(broken))) as sim:
        sim.send("go")
        sim.run_until_idle()
        failure = sim.run("f-failure")
        assert {run.function_id for run in sim.runs()} == {"f", "f-failure"}
        assert len(sim.runs()) == 2
    assert (failure.status, error_of(failure)["message"]) == ("FAILED", "pager is down")
    assert failure.steps["note"].attempts == 1
    assert set(attempts) == {1}


def test_it_may_use_steps_of_every_kind(colour: Colour) -> None:
    """It is a durable run like any other."""

    def compensate(ctx: Any) -> Script:
        yield ctx.step.sleep("nap", "1h")
        ids = yield ctx.step.send_event("tell", {"name": "told"})
        reply = yield ctx.step.wait_for_event("reply", event="reply", timeout="1h")
        return [len(ids), reply]

    with Simulation(colour.app(failing, retries=0, on_failure=colour.handler(compensate))) as sim:
        sim.send("go")
        assert sim.run("f-failure").status == "SLEEPING"
        sim.run_until_idle()
        assert sim.run("f-failure").output == [1, None]


def test_the_colours_mix() -> None:
    """An async function with a sync on_failure, and the other way round."""
    app = App("shop")

    def sync_told(ctx: ContextSync) -> str:
        return ctx.step.run("note", lambda: "sync")

    async def async_told(ctx: Context) -> str:
        return await ctx.step.run("note", lambda: "async")

    @app.function("a", trigger=event("go"), retries=0, on_failure=sync_told)
    async def a(ctx: Context) -> None:
        raise ValueError("no")

    @app.function("b", trigger=event("go"), retries=0, on_failure=async_told)
    def b(ctx: ContextSync) -> None:
        raise ValueError("no")

    with Simulation(app) as sim:
        sim.send("go")
        assert (sim.run("a-failure").output, sim.run("b-failure").output) == ("sync", "async")


@pytest.mark.parametrize("seed", range(4))
def test_it_runs_once_even_if_everything_is_delivered_twice(colour: Colour, seed: int) -> None:
    """Its run id is derived from the failed run's."""
    with Simulation(colour.app(failing, retries=1, on_failure=colour.handler(told)), seed=seed) as sim:
        sim.send("go")
        sim.run_until_idle()
        assert len(sim.runs("f-failure")) == 1


def test_every_failed_run_has_its_own(colour: Colour) -> None:
    """One for each."""
    with Simulation(colour.app(failing, retries=0, on_failure=colour.handler(told))) as sim:
        for _ in range(3):
            sim.send("go")
        failed = [run.run_id for run in sim.runs("f")]
        assert sorted(run.output["run_id"] for run in sim.runs("f-failure")) == sorted(failed)
