"""`step.invoke`: a run of another function, its output, its failure, its timeout."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest

from stepbridge import App, Context, ContextSync, StepError, event, invoke_only
from stepbridge.testing import Simulation
from tests.acceptance.helpers import START, Broken, Colour, Script, error_of


def sleepy(ctx: Any) -> Script:
    """A child that takes an hour and returns its data."""
    yield ctx.step.sleep("nap", "1h")
    return {"got": ctx.event.data}


def test_invoke_by_object_returns_the_childs_output(colour: Colour) -> None:
    """The parent is suspended until the child, a run of its own, has ended."""
    app = App("shop")
    child = colour.function(app, "child", sleepy, trigger=invoke_only())

    def parent(ctx: Any) -> Script:
        return (yield ctx.step.invoke("call", function=child, data={"n": 1}))

    colour.function(app, "f", parent)
    with Simulation(app) as sim:
        sim.send("go")
        assert (sim.run("f").status, sim.run("child").status) == ("SLEEPING", "SLEEPING")
        sim.advance("1h")
        run, inner = sim.run("f"), sim.run("child")
    assert run.output == {"got": {"n": 1}}
    assert inner.output == {"got": {"n": 1}}
    assert run.run_id != inner.run_id
    assert run.steps["call"].kind == "invoke"
    assert run.steps["call"].output == {"got": {"n": 1}}
    assert run.steps["call"].ended_at == START + timedelta(hours=1)


def test_invoke_by_id_returns_the_childs_output(colour: Colour) -> None:
    """A function of the own app by name, emoji and all; declared later than its parent."""

    def parent(ctx: Any) -> Script:
        return (yield ctx.step.invoke("call", function="child 👶", data={"n": 1}))

    app = colour.app(parent)
    colour.function(app, "child 👶", sleepy, trigger=invoke_only())
    with Simulation(app) as sim:
        sim.send("go")
        sim.advance("1h")
        assert sim.run("f").output == {"got": {"n": 1}}


def test_a_function_with_an_event_trigger_can_be_invoked_too(colour: Colour) -> None:
    """Any function can."""
    app = App("shop")
    child = colour.function(app, "child", sleepy, trigger=event("never"))

    def parent(ctx: Any) -> Script:
        return (yield ctx.step.invoke("call", function=child))

    colour.function(app, "f", parent)
    with Simulation(app) as sim:
        sim.send("go")
        sim.advance("1h")
        assert sim.run("f").output == {"got": {}}


def test_an_async_parent_invokes_a_sync_child_and_a_sync_parent_an_async_one() -> None:
    """The colours mix."""
    app = App("shop")

    @app.function("sync-child", trigger=invoke_only())
    def sync_child(ctx: ContextSync) -> str:
        return ctx.step.run("name", lambda: "sync")

    @app.function("async-child", trigger=invoke_only())
    async def async_child(ctx: Context) -> str:
        return await ctx.step.run("name", lambda: "async")

    @app.function("async-parent", trigger=event("go"))
    async def async_parent(ctx: Context) -> str:
        return await ctx.step.invoke("call", function=sync_child)

    @app.function("sync-parent", trigger=event("go"))
    def sync_parent(ctx: ContextSync) -> str:
        return ctx.step.invoke("call", function=async_child)

    with Simulation(app) as sim:
        sim.send("go")
        assert (sim.run("async-parent").output, sim.run("sync-parent").output) == ("sync", "async")


@dataclass
class Invoice:
    """What a child returns."""

    number: int
    due: date


def test_the_output_is_typed_by_the_childs_return_annotation() -> None:
    """An equal value of the same type, on the first run and on every replay; both colours of parent."""
    app = App("shop")
    seen: list[object] = []
    invoice = Invoice(7, date(2025, 2, 1))

    @app.function("child", trigger=invoke_only())
    async def child(ctx: Context) -> Invoice:
        return invoice

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> None:
        seen.append(await ctx.step.invoke("call", function=child))
        await ctx.step.sleep("nap", "1h")

    @app.function("g", trigger=event("go"))
    def g(ctx: ContextSync) -> None:
        seen.append(ctx.step.invoke("call", function=child))
        ctx.step.sleep("nap", "1h")

    with Simulation(app) as sim:
        sim.send("go")
        sim.advance("1h")
        assert sim.run("f").steps["call"].output == {"number": 7, "due": "2025-02-01"}
    assert seen == [invoice] * 4


def test_by_id_the_output_is_plain_json_unless_a_type_is_given(colour: Colour) -> None:
    """`with_options(output_type=...)` types it."""
    app = App("shop")

    @app.function("child", trigger=invoke_only())
    async def child(ctx: Context) -> Invoice:
        return Invoice(7, date(2025, 2, 1))

    seen: list[object] = []

    def parent(ctx: Any) -> Script:
        seen.append((yield ctx.step.invoke("plain", function="child")))
        seen.append((yield ctx.step.with_options(output_type=Invoice).invoke("typed", function="child")))

    colour.function(app, "f", parent)
    with Simulation(app) as sim:
        sim.send("go")
        assert sim.run("f").status == "COMPLETED"
    assert seen[-2:] == [{"number": 7, "due": "2025-02-01"}, Invoice(7, date(2025, 2, 1))]


def broken_child(colour: Colour, app: App, **options: Any) -> Any:
    """A child whose body always fails."""

    def child(ctx: Any) -> Script:
        raise LookupError("no such order")
        yield

    return colour.function(app, "child", child, trigger=invoke_only(), **options)


def test_a_failed_child_raises_a_step_error_with_the_childs_error(colour: Colour) -> None:
    """Name and message are the child's, after its own retries; it is not retried by the parent."""
    app = App("shop")
    child = broken_child(colour, app, retries=1)

    def parent(ctx: Any) -> Script:
        try:
            yield ctx.step.invoke("call", function=child)
        except StepError as error:
            return [error.name, error.message, error.step_id, "no such order" in error.stack]

    colour.function(app, "f", parent)
    with Simulation(app) as sim:
        sim.send("go")
        sim.run_until_idle()
        assert sim.run("f").output == ["LookupError", "no such order", "call", True]
        assert [run.status for run in sim.runs("child")] == ["FAILED"]
        assert sim.run("child").attempt == 1


def test_a_childs_failure_that_escapes_fails_the_parent_with_it(colour: Colour) -> None:
    """The run fails at once with the original name and message; its body is not retried."""
    app = App("shop")
    child = broken_child(colour, app, retries=0)
    bodies: list[int] = []

    def parent(ctx: Any) -> Script:
        bodies.append(ctx.attempt)
        yield ctx.step.invoke("call", function=child)

    colour.function(app, "f", parent)
    with Simulation(app) as sim:
        sim.send("go")
        run = sim.run("f")
        assert len(sim.runs("child")) == 1
    assert run.status == "FAILED"
    assert (error_of(run)["name"], error_of(run)["message"]) == ("LookupError", "no such order")
    assert set(bodies) == {0}


def test_a_step_that_fails_in_a_child_fails_the_parent_by_its_name(colour: Colour) -> None:
    """The error goes all the way up, through a grandchild."""
    app = App("shop")

    def grandchild(ctx: Any) -> Script:
        yield ctx.step.with_options(retries=0).run("charge", Broken(PermissionError("card declined")))

    def child(ctx: Any) -> Script:
        yield ctx.step.invoke("down", function="grandchild")

    def parent(ctx: Any) -> Script:
        yield ctx.step.invoke("down", function="child")

    colour.function(app, "grandchild", grandchild, trigger=invoke_only())
    colour.function(app, "child", child, trigger=invoke_only())
    colour.function(app, "f", parent)
    with Simulation(app) as sim:
        sim.send("go")
        for function_id in ("grandchild", "child", "f"):
            error = error_of(sim.run(function_id))
            assert (error["name"], error["message"]) == ("PermissionError", "card declined")


def test_an_unknown_function_is_a_step_error_at_once(colour: Colour) -> None:
    """It names the id, and can be caught."""

    def parent(ctx: Any) -> Script:
        try:
            yield ctx.step.invoke("call", function="nobody")
        except StepError as error:
            return [error.step_id, error.message]

    with Simulation(colour.app(parent)) as sim:
        sim.send("go")
        step_id, message = sim.run("f").output
    assert step_id == "call"
    assert "nobody" in message


def test_on_timeout_the_step_fails_and_the_child_is_cancelled(colour: Colour) -> None:
    """A `StepError` named `InvokeTimeoutError`; the child does not go on."""
    app = App("shop")
    child = colour.function(app, "child", sleepy, trigger=invoke_only())

    def parent(ctx: Any) -> Script:
        try:
            yield ctx.step.invoke("call", function=child, timeout="10m")
        except StepError as error:
            return [error.name, error.step_id, ctx.now.isoformat()]

    colour.function(app, "f", parent)
    with Simulation(app) as sim:
        sim.send("go")
        sim.advance("10m")
        assert sim.run("f").output == ["InvokeTimeoutError", "call", "2025-01-01T00:10:00+00:00"]
        assert sim.run("child").status == "CANCELLED"
        call = sim.run("f").steps["call"]
        assert (call.started_at, call.ended_at) == (START, START + timedelta(minutes=10))
        sim.run_until_idle()
        assert (sim.run("child").status, sim.run("child").output) == ("CANCELLED", None)
        assert sim.run("f").status == "COMPLETED"


def test_cancelling_a_timed_out_child_cancels_its_children(colour: Colour) -> None:
    """Cancelling a run cancels the children that it is waiting on."""
    app = App("shop")

    def child(ctx: Any) -> Script:
        yield ctx.step.invoke("down", function="grandchild")

    def parent(ctx: Any) -> Script:
        yield ctx.step.invoke("call", function="child", timeout="10m")

    colour.function(app, "grandchild", sleepy, trigger=invoke_only())
    colour.function(app, "child", child, trigger=invoke_only())
    colour.function(app, "f", parent)
    with Simulation(app) as sim:
        sim.send("go")
        sim.advance("10m")
        statuses = [sim.run(function_id).status for function_id in ("f", "child", "grandchild")]
        assert statuses == ["FAILED", "CANCELLED", "CANCELLED"]
        assert error_of(sim.run("f"))["name"] == "InvokeTimeoutError"


def test_the_default_timeout_is_366_days(colour: Colour) -> None:
    """A child may take its time."""
    app = App("shop")

    def child(ctx: Any) -> Script:
        yield ctx.step.sleep("long", "364 days")
        return "rested"

    def parent(ctx: Any) -> Script:
        return (yield ctx.step.invoke("call", function="child"))

    colour.function(app, "child", child, trigger=invoke_only())
    colour.function(app, "f", parent)
    with Simulation(app) as sim:
        sim.send("go")
        sim.advance("364 days")
        assert sim.run("f").output == "rested"


def test_the_child_is_started_once_over_replays_and_retries(colour: Colour) -> None:
    """A parent that fails after the call does not call again."""
    app = App("shop")
    attempts: list[int] = []

    def quick(ctx: Any) -> Script:
        return (yield ctx.step.run("n", lambda: 5))

    def parent(ctx: Any) -> Script:
        value = yield ctx.step.invoke("call", function="child")
        attempts.append(ctx.attempt)
        if ctx.attempt < 2:
            raise ValueError("later")
        return value

    colour.function(app, "child", quick, trigger=invoke_only())
    colour.function(app, "f", parent)
    with Simulation(app) as sim:
        sim.send("go")
        sim.run_until_idle()
        assert sim.run("f").output == 5
        assert len(sim.runs("child")) == 1
    assert set(attempts) == {0, 1, 2}


def test_repeated_calls_are_runs_of_their_own(colour: Colour) -> None:
    """One child per occurrence of the step."""
    app = App("shop")

    def double(ctx: Any) -> Script:
        return (yield ctx.step.run("n", lambda: 2 * ctx.event.data["n"]))

    def parent(ctx: Any) -> Script:
        values = []
        for number in range(3):
            values += [(yield ctx.step.invoke("call", function="child", data={"n": number}))]
        return values

    colour.function(app, "child", double, trigger=invoke_only())
    colour.function(app, "f", parent)
    with Simulation(app) as sim:
        sim.send("go")
        assert sim.run("f").output == [0, 2, 4]
        assert len(sim.runs("child")) == 3


@pytest.mark.parametrize("data", [[1], "text", 5], ids=repr)
def test_data_that_is_no_object_is_a_clear_error(colour: Colour, data: Any) -> None:
    """An event's data is a JSON object."""

    def parent(ctx: Any) -> Script:
        yield ctx.step.invoke("my-call", function="f", data=data)

    error = error_of(colour.play(parent, retries=0))
    assert error["name"] == "ConfigError"
    assert "my-call" in error["message"]
