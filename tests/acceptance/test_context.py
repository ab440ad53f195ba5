"""What a handler gets: the members of `ctx`, and its logger."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from stepbridge import App, Cancel, Context, ContextSync, Event, event
from stepbridge.testing import Simulation
from tests.acceptance.helpers import START, Colour, Script

MEMBERS = ("event", "events", "step", "group", "run_id", "attempt", "max_attempts", "logger", "function_id", "now")


def test_the_colour_of_the_handler_decides_its_context() -> None:
    """Annotations are optional, and do not decide."""
    app = App("shop")
    seen: dict[str, Any] = {}

    @app.function("f", trigger=event("go"))
    async def f(ctx) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001 - the subject
        seen["f"] = ctx

    @app.function("g", trigger=event("go"))
    def g(ctx) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001 - the subject
        seen["g"] = ctx

    with Simulation(app) as sim:
        sim.send("go")
    assert type(seen["f"]) is Context
    assert type(seen["g"]) is ContextSync


@pytest.mark.parametrize("member", MEMBERS)
def test_both_colours_have_the_same_members(colour: Colour, member: str) -> None:
    """Each of those that the contract names."""
    seen: list[object] = []

    def script(ctx: Any) -> Script:
        seen.append(getattr(ctx, member))
        yield ctx.step.run("a", int)

    assert colour.play(script).status == "COMPLETED"
    assert seen[0] is not None


@pytest.mark.parametrize("method", ["run", "sleep", "sleep_until", "wait_for_event", "invoke", "send_event"])
def test_both_colours_have_the_same_steps(colour: Colour, method: str) -> None:
    """And with_options gives all of them again."""
    seen: list[bool] = []

    def script(ctx: Any) -> Script:
        seen.append(callable(getattr(ctx.step, method)))
        seen.append(callable(getattr(ctx.step.with_options(retries=1), method)))
        yield ctx.step.run("a", int)

    assert colour.play(script).status == "COMPLETED"
    assert all(seen)


def test_ids_are_those_of_the_run(colour: Colour) -> None:
    """Run id, function id."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("a", int)
        return [ctx.run_id, ctx.function_id, ctx.attempt, ctx.max_attempts]

    run = colour.play(script, retries=2)
    assert run.output == [run.run_id, "f", 0, 3]


def test_the_event_is_an_event_and_events_hold_it(colour: Colour) -> None:
    """One, unless batched."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("a", int)
        return [isinstance(ctx.event, Event), type(ctx.events).__name__, ctx.events == [ctx.event], ctx.event.data]

    assert colour.play(script, {"n": 1}).output == [True, "list", True, {"n": 1}]


def test_changing_the_events_data_changes_nothing_on_replay(colour: Colour) -> None:
    """Each execution sees what was sent."""
    seen: list[Any] = []

    def script(ctx: Any) -> Script:
        seen.append(dict(ctx.event.data))
        ctx.event.data["n"] = 99
        yield ctx.step.sleep("nap", "1h")

    run = colour.play(script, {"n": 1})
    assert seen == [{"n": 1}, {"n": 1}]
    assert run.event.data == {"n": 1}


def test_now_is_the_backends_clock_aware_and_utc(colour: Colour) -> None:
    """Virtual in a simulation; not recorded: it moves with the replays."""
    seen: list[Any] = []

    def script(ctx: Any) -> Script:
        seen.append(ctx.now)
        fixed = yield ctx.step.run("now", lambda: str(ctx.now))
        yield ctx.step.sleep("nap", "1h")
        return fixed

    run = colour.play(script)
    assert run.output == str(START)
    assert seen == [START, START + timedelta(hours=1)]
    assert [now.utcoffset() for now in seen] == [timedelta(0)] * 2


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the handlers logged."""
    return [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]


def test_the_logger_keeps_the_users_own_extra(colour: Colour, caplog: pytest.LogCaptureFixture) -> None:
    """Beside the run's ids, and the step's in a step."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("a", lambda: ctx.logger.warning("in a step", extra={"order": "o-1"}))
        ctx.logger.warning("in the handler", extra={"order": "o-2"})

    with caplog.at_level(logging.WARNING, "stepbridge.run"):
        run = colour.play(script)
    told = [(one.order, one.run_id, getattr(one, "step_id", None)) for one in map(_any, caplog.records)]
    assert told == [("o-1", run.run_id, "a"), ("o-2", run.run_id, None)]


def _any(record: object) -> Any:
    """A record, whatever it holds."""
    return record


def test_the_logger_is_silent_while_replaying(colour: Colour, caplog: pytest.LogCaptureFixture) -> None:
    """A line comes once, however often its code is executed again."""
    caplog.set_level(logging.INFO)

    def script(ctx: Any) -> Script:
        ctx.logger.info("start")
        yield ctx.step.run("a", int)
        ctx.logger.info("after a")
        yield ctx.step.sleep("nap", "1h")
        ctx.logger.info("after nap")
        reply = yield ctx.step.wait_for_event("w", event="reply", timeout="1h")
        ctx.logger.info("after wait: %s", reply)
        yield ctx.step.run("b", int)
        ctx.logger.info("end")

    assert colour.play(script).status == "COMPLETED"
    assert logged(caplog) == ["start", "after a", "after nap", "after wait: None", "end"]


def test_the_logger_speaks_again_after_a_wait_where_events_may_cancel(caplog: pytest.LogCaptureFixture) -> None:
    """That a canceller is armed all along does not make what follows a replay."""
    caplog.set_level(logging.INFO)
    app = App("shop")

    @app.function("f", trigger=event("go"), cancel=[Cancel("stop")])
    async def f(ctx: Context) -> None:
        await ctx.step.wait_for_event("w", event="reply", timeout="1h")
        ctx.logger.info("after wait")

    with Simulation(app) as sim:
        sim.send("go")
        sim.send("reply")
    assert logged(caplog) == ["after wait"]


def test_the_logger_speaks_in_steps(colour: Colour, caplog: pytest.LogCaptureFixture) -> None:
    """At each attempt, which is no replay."""
    caplog.set_level(logging.INFO)

    def script(ctx: Any) -> Script:
        def flaky() -> None:
            ctx.logger.info("attempt %d", ctx.attempt)
            if ctx.attempt < 2:
                raise ValueError("no")

        yield ctx.step.run("flaky", flaky)
        yield ctx.step.sleep("nap", "1h")

    assert colour.play(script).status == "COMPLETED"
    assert logged(caplog) == ["attempt 0", "attempt 1", "attempt 2"]


def test_the_logger_speaks_again_when_the_body_is_retried_past_its_history(
    colour: Colour, caplog: pytest.LogCaptureFixture
) -> None:
    """What follows the last recorded step is no replay."""
    caplog.set_level(logging.INFO)

    def script(ctx: Any) -> Script:
        ctx.logger.info("before")
        yield ctx.step.run("a", int)
        ctx.logger.info("after, attempt %d", ctx.attempt)
        if ctx.attempt < 1:
            raise ValueError("no")

    assert colour.play(script).status == "COMPLETED"
    assert logged(caplog) == ["before", "after, attempt 0", "after, attempt 1"]


def test_log_records_carry_function_run_and_step(colour: Colour, caplog: pytest.LogCaptureFixture) -> None:
    """So that lines can be found by run; every level is there."""
    caplog.set_level(logging.DEBUG)

    def script(ctx: Any) -> Script:
        ctx.logger.warning("in the body")
        yield ctx.step.run("charge", lambda: ctx.logger.error("in the step"))

    run = colour.play(script)
    body, step = (record for record in caplog.records if record.getMessage().startswith("in the "))
    assert (body.__dict__["function_id"], body.__dict__["run_id"]) == ("f", run.run_id)
    assert (step.__dict__["function_id"], step.__dict__["run_id"]) == ("f", run.run_id)
    assert step.__dict__["step_id"] == "charge"
    assert (body.levelname, step.levelname) == ("WARNING", "ERROR")
