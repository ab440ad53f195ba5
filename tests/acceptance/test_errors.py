"""`StepError`: the same for ever; caught it lets the run go on, escaping it ends it."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from stepbridge import App, Context, NonRetriableError, RetryAfterError, StepError, event
from stepbridge.testing import Simulation
from tests.acceptance.helpers import Broken, Colour, Flaky, Script, error_of


def fields(error: StepError) -> tuple[str, str, str, str, int, str]:
    """All that a `StepError` says."""
    return error.name, error.message, error.stack, error.step_id, error.attempts, str(error)


class OutOfStockError(Exception):
    """A user's own error."""


@pytest.mark.parametrize(
    ("error", "name", "message"),
    [
        (OutOfStockError("no shoes"), "OutOfStockError", "no shoes"),
        (NonRetriableError("never"), "NonRetriableError", "never"),
        (ValueError("ümlaut 🚀\nsecond line"), "ValueError", "ümlaut 🚀\nsecond line"),
        (RuntimeError(), "RuntimeError", ""),
        (KeyError("k"), "KeyError", "'k'"),
        (OSError(2, "No such file"), "FileNotFoundError", "[Errno 2] No such file"),
        (ExceptionGroup("two", [ValueError("a"), OSError("b")]), "ExceptionGroup", "two (2 sub-exceptions)"),
        (AssertionError("x" * 3000), "AssertionError", "x" * 3000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_step_error_is_equal_on_the_first_run_and_on_every_replay(
    colour: Colour, error: Exception, name: str, message: str
) -> None:
    """Field by field, whatever the original class."""
    seen: list[tuple[object, ...]] = []

    def script(ctx: Any) -> Script:
        try:
            yield ctx.step.with_options(retries=0).run("fail", Broken(error))
        except StepError as caught:
            seen.append((type(caught), *fields(caught)))
        yield ctx.step.sleep("a", "1h")
        yield ctx.step.sleep("b", "1h")
        return "went on"

    run = colour.play(script)
    assert run.output == "went on"
    assert len(seen) >= 3
    assert len(set(seen)) == 1
    assert seen[0][:3] == (StepError, name, message)
    assert seen[0][4:6] == ("fail", 1)


def test_a_step_errors_stack_is_the_users_traceback(colour: Colour) -> None:
    """It shows where the step's function failed, and nothing of the engine."""

    def charge() -> None:
        def deep() -> None:
            raise OutOfStockError("no shoes")

        deep()

    def script(ctx: Any) -> Script:
        yield ctx.step.run("charge", charge)

    stack = error_of(colour.play(script, retries=0))["stack"]
    assert stack.startswith("Traceback (most recent call last):")
    assert "During handling" not in stack
    assert "in charge" in stack
    assert "in deep" in stack
    assert "OutOfStockError: no shoes" in stack
    assert "sdk/stepbridge" not in stack


def test_the_recorded_failure_is_shown_on_the_step(colour: Colour) -> None:
    """The final failure, with the attempts that it took."""
    broken = Broken(ValueError("no"))

    def script(ctx: Any) -> Script:
        yield ctx.step.run("fail", broken)

    step = colour.play(script, retries=1).steps["fail"]
    assert (step.status, step.attempts, step.output) == ("FAILED", 2, None)
    assert step.error is not None
    assert (step.error["name"], step.error["message"]) == ("ValueError", "no")
    assert "helpers.py" in step.error["stack"]


def test_only_the_final_failure_counts(colour: Colour) -> None:
    """The errors of earlier attempts may differ; the last one is what is raised."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("fail", flaky)

    flaky = Flaky(ValueError("first"), OSError("second"), LookupError("third"))
    run = colour.play(script, retries=2)
    assert (error_of(run)["name"], error_of(run)["message"]) == ("LookupError", "third")


def test_between_attempts_the_step_shows_its_last_error(colour: Colour) -> None:
    """RETRYING, with the error and when it is due again."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("fail", Broken(ValueError("no")))

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        run = sim.run("f")
    assert run.status == "SLEEPING"
    assert run.steps["fail"].error is not None
    assert run.steps["fail"].error["message"] == "no"
    assert run.steps["fail"].attempts == 1


def test_a_caught_step_error_lets_the_run_go_on(colour: Colour) -> None:
    """Compensation: what `except` does is durable like the rest."""
    done: list[str] = []

    def script(ctx: Any) -> Script:
        yield ctx.step.run("reserve", done.append, "reserve")
        try:
            yield ctx.step.run("charge", Broken(OutOfStockError("no shoes")))
        except StepError as error:
            yield ctx.step.run("release", done.append, f"release after {error.name}")
            yield ctx.step.sleep("cool-down", "1h")
            return "released"
        return "charged"

    run = colour.play(script, retries=1)
    assert (run.status, run.output) == ("COMPLETED", "released")
    assert done == ["reserve", "release after OutOfStockError"]


def test_except_exception_catches_a_step_error_and_nothing_else(colour: Colour) -> None:
    """Suspension passes through `except Exception`."""
    caught: list[str] = []

    def script(ctx: Any) -> Script:
        try:
            yield ctx.step.sleep("nap", "1h")
            yield ctx.step.wait_for_event("reply", event="reply", timeout="1h")
            yield ctx.step.run("fail", Broken(NonRetriableError("never")))
        except Exception as error:  # noqa: BLE001 - the subject
            caught.append(type(error).__name__)
        return "done"

    assert colour.play(script).output == "done"
    assert set(caught) == {"StepError"}


def test_an_escaping_step_error_fails_the_run_at_once_with_the_original_error(colour: Colour) -> None:
    """Name and message are the original's; the body is not retried, though it has retries."""
    bodies: list[int] = []

    def script(ctx: Any) -> Script:
        bodies.append(ctx.attempt)
        yield ctx.step.with_options(retries=0).run("fail", Broken(OutOfStockError("no shoes")))

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        run = sim.run("f")
    assert run.status == "FAILED"
    assert (error_of(run)["name"], error_of(run)["message"]) == ("OutOfStockError", "no shoes")
    assert set(bodies) == {0}
    assert run.attempt == 0


def test_a_step_error_raised_again_still_fails_the_run_at_once(colour: Colour) -> None:
    """`raise` in an `except` lets it escape."""

    def script(ctx: Any) -> Script:
        try:
            yield ctx.step.with_options(retries=0).run("fail", Broken(OutOfStockError("no shoes")))
        except StepError:
            yield ctx.step.run("clean-up", int)
            raise

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        run = sim.run("f")
    assert (run.status, error_of(run)["name"]) == ("FAILED", "OutOfStockError")


def test_another_error_raised_instead_retries_the_body(colour: Colour) -> None:
    """Replaced by an error of the handler's own, it is an error outside steps."""
    broken = Broken(OutOfStockError("no shoes"))
    bodies: list[int] = []

    def script(ctx: Any) -> Script:
        try:
            yield ctx.step.with_options(retries=0).run("fail", broken)
        except StepError as error:
            bodies.append(ctx.attempt)
            raise ConnectionError("wrapped") from error

    run = colour.play(script, retries=2)
    assert run.status == "FAILED"
    assert error_of(run)["name"] == "ConnectionError"
    assert bodies == [0, 1, 2]
    assert broken.calls == 1


def test_the_run_error_has_the_handlers_traceback_for_errors_outside_steps(colour: Colour) -> None:
    """With the user's own lines, and nothing of the engine."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("a", int)
        raise OutOfStockError("no shoes")

    error = error_of(colour.play(script, retries=0))
    assert set(error) == {"name", "message", "stack"}
    assert error["stack"].startswith("Traceback (most recent call last):")
    assert "in script" in error["stack"]
    assert "sdk/stepbridge" not in error["stack"]


def failing_group() -> App:
    """A handler whose TaskGroup has a step that fails."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.step.run("fine", int))
            group.create_task(ctx.step.with_options(retries=0).run("fail", Broken(OutOfStockError("no shoes"))))

    return app


def test_a_step_error_in_a_task_groups_exception_group_fails_the_run_at_once() -> None:
    """The body is not retried, and the run's error is the original one."""
    with Simulation(failing_group()) as sim:
        sim.send("go")
        run = sim.run("f")
    assert run.status == "FAILED"
    assert (error_of(run)["name"], error_of(run)["message"]) == ("OutOfStockError", "no shoes")
    assert run.attempt == 0


def test_a_nested_task_groups_step_error_fails_the_run_at_once() -> None:
    """Groups in groups."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> None:
        async def inner() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(ctx.step.with_options(retries=0).run("fail", Broken(OutOfStockError("no shoes"))))

        async with asyncio.TaskGroup() as group:
            group.create_task(inner())

    with Simulation(app) as sim:
        sim.send("go")
        run = sim.run("f")
    assert (run.status, error_of(run)["name"]) == ("FAILED", "OutOfStockError")


def test_a_group_with_an_error_of_the_handlers_own_retries_the_body() -> None:
    """Not all of it is a step's failure: the body has its attempts."""
    app = App("shop")
    bodies: list[int] = []

    @app.function("f", trigger=event("go"), retries=1)
    async def f(ctx: Context) -> str:
        bodies.append(ctx.attempt)

        async def own() -> None:
            if ctx.attempt == 0:
                raise ConnectionError("own")

        async with asyncio.TaskGroup() as group:
            group.create_task(own())
        return await ctx.step.run("a", lambda: "done")

    with Simulation(app) as sim:
        sim.send("go")
        sim.run_until_idle()
        assert sim.run("f").output == "done"
    assert bodies[0] == 0
    assert bodies[-1] == 1


def test_a_step_error_decides_in_a_group_with_an_error_of_the_handlers_own() -> None:
    """Whichever came first: what has failed for good fails again, so the body is not retried."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> None:
        try:
            await ctx.step.with_options(retries=0).run("fail", Broken(OutOfStockError("no shoes")))
        except StepError as error:
            raise ExceptionGroup("both", [ConnectionError("own"), error]) from None

    with Simulation(app) as sim:
        sim.send("go")
        run = sim.run("f")
    assert (run.status, error_of(run)["name"]) == ("FAILED", "OutOfStockError")


def test_a_step_error_says_how_many_attempts_were_made(colour: Colour) -> None:
    """On the first run as on the replay."""
    attempts: list[int] = []

    def script(ctx: Any) -> Script:
        try:
            yield ctx.step.with_options(retries=2).run("fail", Broken(RetryAfterError("no", "1s")))
        except StepError as error:
            attempts.append(error.attempts)
        yield ctx.step.sleep("nap", "1h")

    assert colour.play(script).status == "COMPLETED"
    assert attempts == [3, 3]


def test_no_traceback_shows_our_own_frames_in_its_causes_either(colour: Colour) -> None:
    """An error that the handler raises from a step's."""

    def script(ctx: Any) -> Script:
        try:
            yield ctx.step.with_options(retries=0).run("fail", Broken(OutOfStockError("no shoes")))
        except StepError as error:
            raise NonRetriableError("told") from error

    stack = error_of(colour.play(script))["stack"]
    assert "direct cause" in stack
    assert "sdk/stepbridge" not in stack


def test_a_handler_that_calls_sys_exit_fails_and_ends_nothing_else() -> None:
    """Neither the process nor the other runs in it."""
    app = App("shop")

    @app.function("f", trigger=event("go"), retries=0)
    async def f(ctx: Context) -> None:
        sys.exit(3)

    @app.function("g", trigger=event("go"))
    async def g(ctx: Context) -> str:
        return "done"

    with Simulation(app) as sim:
        sim.send("go")
        assert (sim.run("f").status, sim.run("g").output) == ("FAILED", "done")
        assert "sys.exit(3)" in error_of(sim.run("f"))["message"]


def test_except_star_catches_a_step_error_of_a_task_group() -> None:
    """And the run goes on."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> list[str]:
        names: list[str] = []
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(ctx.step.with_options(retries=0).run("fail", Broken(OutOfStockError("no shoes"))))
        except* StepError as caught:
            names += [error.name for error in caught.exceptions if isinstance(error, StepError)]
        await ctx.step.sleep("nap", "1h")
        return names

    with Simulation(app) as sim:
        sim.send("go")
        sim.advance("1h")
        assert sim.run("f").output == ["OutOfStockError"]
