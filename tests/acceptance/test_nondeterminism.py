"""Code that no longer fits its history parks the run; suspension that is swallowed corrupts nothing."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from stepbridge import App, Context, ContextSync, event
from stepbridge.testing import Simulation
from tests.acceptance.helpers import Broken, Colour, Script, error_of

CALLS: dict[str, Callable[[Any, str], Any]] = {
    "run": lambda ctx, step_id: ctx.step.run(step_id, int),
    "sleep": lambda ctx, step_id: ctx.step.sleep(step_id, "1m"),
    "wait_for_event": lambda ctx, step_id: ctx.step.wait_for_event(step_id, event="reply", timeout="1m"),
    "send_event": lambda ctx, step_id: ctx.step.send_event(step_id, {"name": "sent"}),
    "invoke": lambda ctx, step_id: ctx.step.invoke(step_id, function="child"),
}


@pytest.mark.parametrize(("before", "after"), [(a, b) for a in CALLS for b in CALLS if a != b])
def test_a_step_of_another_kind_parks_the_run(colour: Colour, before: str, after: str) -> None:
    """`NondeterminismError` names the step and both kinds; the history is kept."""
    code = {"kind": before}
    ended: list[str] = []

    def script(ctx: Any) -> Script:
        yield CALLS[code["kind"]](ctx, "my-step")
        yield ctx.step.sleep("nap", "1h")
        yield ctx.step.run("after", ended.append, "after")

    app = colour.app(script)

    @app.function("child", trigger=event("never"))
    async def child(ctx: Context) -> None:
        """Ends at once."""

    with Simulation(app) as sim:
        sim.send("go")
        sim.advance("2m")
        history = dict(sim.run("f").steps)
        code["kind"] = after
        sim.run_until_idle()
        run = sim.run("f")
    assert run.status == "PARKED"
    assert error_of(run)["name"] == "NondeterminismError"
    assert "my-step" in error_of(run)["message"]
    assert before in error_of(run)["message"]
    assert after in error_of(run)["message"]
    assert run.steps["my-step"] == history["my-step"]
    assert run.ended_at is None
    assert ended == []


def test_a_pending_step_of_another_kind_parks_the_run(colour: Colour) -> None:
    """A wait that was armed and is a sleep now."""
    code = {"kind": "wait_for_event"}

    def script(ctx: Any) -> Script:
        yield CALLS[code["kind"]](ctx, "my-step")

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        code["kind"] = "sleep"
        sim.send("reply")
        run = sim.run("f")
    assert (run.status, error_of(run)["name"]) == ("PARKED", "NondeterminismError")


def test_a_step_to_be_tried_again_that_is_of_another_kind_parks_the_run(colour: Colour) -> None:
    """Its attempts so far are recorded."""
    code = {"kind": "run"}

    def script(ctx: Any) -> Script:
        if code["kind"] == "run":
            yield ctx.step.run("my-step", Broken(ConnectionError()))
        else:
            yield ctx.step.sleep("my-step", "1h")

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        code["kind"] = "sleep"
        sim.advance("1m")
        run = sim.run("f")
    assert (run.status, error_of(run)["name"]) == ("PARKED", "NondeterminismError")


def test_user_code_cannot_swallow_it(colour: Colour) -> None:
    """`except Exception` around the step changes nothing."""
    code = {"kind": "run"}

    def script(ctx: Any) -> Script:
        try:
            yield CALLS[code["kind"]](ctx, "my-step")
        except Exception:  # noqa: BLE001 - the subject
            return "swallowed"
        yield ctx.step.sleep("nap", "1h")

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        code["kind"] = "sleep"
        sim.run_until_idle()
        assert sim.run("f").status == "PARKED"


def test_new_steps_removed_steps_and_another_order_are_fine(colour: Colour) -> None:
    """Only what is recorded under the same id with another kind contradicts the history."""
    code = {"steps": ["a", "b", "c"]}
    calls: list[str] = []

    def script(ctx: Any) -> Script:
        for name in code["steps"]:
            yield ctx.step.run(name, calls.append, name)
        yield ctx.step.sleep("nap", "1h")
        return code["steps"]

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        code["steps"] = ["c", "new", "a"]
        sim.run_until_idle()
        run = sim.run("f")
    assert (run.status, run.output) == ("COMPLETED", ["c", "new", "a"])
    assert calls == ["a", "b", "c", "new"]


class Swallow:
    """Handlers of both colours that swallow everything around a suspending step."""

    def __init__(self) -> None:
        self.later: list[str] = []
        self.line = 0

    async def run(self, ctx: Context) -> str:
        """With a bare `except:`."""
        try:
            await ctx.step.sleep("nap", "1h")
        except:  # noqa: E722 - the subject
            self.later.append("swallowed")
        await ctx.step.run("later", self.later.append, "later")
        return "done"

    def run_sync(self, ctx: ContextSync) -> str:
        """With a bare `except:`."""
        try:
            ctx.step.sleep("nap", "1h")
        except:  # noqa: E722 - the subject
            self.later.append("swallowed")
        ctx.step.run("later", self.later.append, "later")
        return "done"


@pytest.mark.parametrize("name", ["run", "run_sync"])
def test_a_bare_except_that_swallows_suspension_does_not_corrupt_the_run(name: str) -> None:
    """It stays suspended, and no later step runs before its time."""
    app = App("shop")
    swallow = Swallow()
    app.function("f", trigger=event("go"))(getattr(swallow, name))
    with Simulation(app) as sim:
        sim.send("go")
        assert sim.run("f").status == "SLEEPING"
        assert "later" not in swallow.later
        assert "later" not in sim.run("f").steps
        sim.advance("1h")
        run = sim.run("f")
    assert (run.status, run.output) == ("COMPLETED", "done")
    assert swallow.later.count("later") == 1


def test_a_swallowed_suspension_is_warned_of_with_its_line(caplog: pytest.LogCaptureFixture) -> None:
    """In a sync handler, where suspension is an exception: the warning says where."""
    app = App("shop")
    swallow = Swallow()
    app.function("f", trigger=event("go"))(swallow.run_sync)
    with Simulation(app) as sim:
        sim.send("go")
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    first = Swallow.run_sync.__code__.co_firstlineno
    assert len(warnings) == 1
    assert "test_nondeterminism.py" in warnings[0]
    assert any(f"{line}" in warnings[0] for line in range(first, first + 9))


def test_a_handler_that_swallows_suspension_and_returns_does_not_complete() -> None:
    """The value would be wrong: the run stays suspended."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    def f(ctx: ContextSync) -> str:
        try:
            ctx.step.sleep("nap", "1h")
        except BaseException:  # noqa: BLE001 - the subject
            return "too early"
        return "in time"

    with Simulation(app) as sim:
        sim.send("go")
        assert (sim.run("f").status, sim.run("f").output) == ("SLEEPING", None)
        sim.advance("1h")
        assert sim.run("f").output == "in time"


def test_a_handler_that_turns_suspension_into_an_error_stays_suspended() -> None:
    """`except BaseException: raise ...` is no failure of the body."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    def f(ctx: ContextSync) -> str:
        try:
            ctx.step.wait_for_event("w", event="reply", timeout="1h")
        except BaseException as error:
            raise RuntimeError("wrapped") from error
        return "in time"

    with Simulation(app) as sim:
        sim.send("go")
        assert sim.run("f").status == "SLEEPING"
        assert sim.run("f").error is None
        sim.send("reply")
        assert sim.run("f").output == "in time"


def test_an_async_handler_that_catches_cancellation_stays_suspended() -> None:
    """`except asyncio.CancelledError` and `finally` do no harm."""
    app = App("shop")
    calls: list[str] = []

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> str:
        try:
            await ctx.step.sleep("nap", "1h")
        except (asyncio.CancelledError, GeneratorExit):
            calls.append("cancelled")
            raise
        finally:
            await ctx.step.run("clean-up", calls.append, "clean-up")
        return "done"

    with Simulation(app) as sim:
        sim.send("go")
        assert sim.run("f").status == "SLEEPING"
        assert "clean-up" not in sim.run("f").steps
        sim.advance("1h")
        run = sim.run("f")
    assert (run.status, run.output) == ("COMPLETED", "done")
    assert calls.count("clean-up") == 1


def test_a_step_that_is_never_awaited_is_warned_of_by_name(caplog: pytest.LogCaptureFixture) -> None:
    """By the step's id; it has not run."""
    app = App("shop")
    calls: list[str] = []

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> str:
        ctx.step.run("forgotten", calls.append, "forgotten")  # type: ignore[unused-coroutine]
        return await ctx.step.run("awaited", lambda: "done")

    def play() -> object:
        with Simulation(app) as sim:
            sim.send("go")
            gc.collect()
            return sim.run("f").output

    with pytest.warns(RuntimeWarning, match="'forgotten'.* never awaited"):
        assert play() == "done"
    assert calls == []
    (told,) = [record.getMessage() for record in caplog.records if "'forgotten'" in record.getMessage()]
    assert "step.run('forgotten') was never awaited, so it has not run. Mend: await it. (function f, run" in told
