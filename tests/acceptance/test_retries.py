"""Attempts, delays between them, and what user code can say about them."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from stepbridge import NonRetriableError, RetryAfterError, StepError, StepInterruptedError, current_step
from stepbridge.testing import Simulation
from tests.acceptance.helpers import START, Broken, Colour, Flaky, Script, error_of

TABLE = [15, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200, 7200, 7200, 7200, 7200, 7200, 7200, 7200, 7200, 7200, 7200]
"""Seconds before retry 1, 2, ..., 20; up to 30 s of jitter come on top."""


def attempts_of(colour: Colour, **options: Any) -> list[datetime]:
    """When each attempt of a step that always fails was made."""
    made: list[datetime] = []

    def script(ctx: Any) -> Script:
        def fail() -> None:
            made.append(ctx.now)
            raise ValueError("no")

        yield ctx.step.run("fail", fail)

    assert colour.play(script, **options).status == "FAILED"
    return made


def test_a_step_is_tried_five_times_by_default(colour: Colour) -> None:
    """Four retries."""
    broken = Broken(ValueError("no"))

    def script(ctx: Any) -> Script:
        yield ctx.step.run("fail", broken)

    run = colour.play(script)
    assert run.status == "FAILED"
    assert broken.calls == 5
    assert run.steps["fail"].attempts == 5
    assert run.steps["fail"].status == "FAILED"


@pytest.mark.parametrize("retries", [0, 1, 4, 20])
def test_the_number_of_retries_is_the_functions(colour: Colour, retries: int) -> None:
    """0 to 20, each with the delay of the table and 0 to 30 s of jitter."""
    made = attempts_of(colour, retries=retries)
    delays = [(after - before).total_seconds() for before, after in pairwise(made)]
    assert len(delays) == retries
    extras = [delay - base for delay, base in zip(delays, TABLE, strict=False)]
    assert all(0 <= extra <= 30 for extra in extras), extras


def test_a_step_waits_for_its_retry_and_then_runs(colour: Colour) -> None:
    """Not within the table's delay, and within the jitter after it."""
    flaky = Flaky(ValueError("1"), ValueError("2"))

    def script(ctx: Any) -> Script:
        return (yield ctx.step.run("flaky", flaky))

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        assert (flaky.calls, sim.run("f").status) == (1, "SLEEPING")
        sim.advance("14s")
        assert flaky.calls == 1
        sim.advance("31s")
        assert flaky.calls == 2
        sim.advance_to(sim.now + timedelta(seconds=61))
        assert flaky.calls == 3
        run = sim.run("f")
    assert (run.status, run.output) == ("COMPLETED", "done")
    assert run.steps["flaky"].attempts == 3
    assert run.steps["flaky"].error is None


def test_jitter_is_the_same_for_the_same_run_and_differs_between_runs(colour: Colour) -> None:
    """A hash of run, step and attempt, not chance."""

    def instants() -> list[list[datetime]]:
        made: dict[str, list[datetime]] = {}

        def script(ctx: Any) -> Script:
            def fail() -> None:
                made.setdefault(ctx.run_id, []).append(ctx.now)
                raise ValueError("no")

            yield ctx.step.run("fail", fail)

        with Simulation(colour.app(script)) as sim:
            for number in range(4):
                sim.send("go", id=f"e-{number}")
            sim.run_until_idle()
        return sorted(made.values())

    first, second = instants(), instants()
    assert first == second
    assert len({tuple(run) for run in first}) == 4


@pytest.mark.parametrize(
    ("retry_after", "delay"),
    [
        ("90s", timedelta(seconds=90)),
        ("1h30m", timedelta(minutes=90)),
        (timedelta(minutes=7), timedelta(minutes=7)),
        (2_500, timedelta(milliseconds=2_500)),
        (START + timedelta(minutes=42), timedelta(minutes=42)),
        ("24h", timedelta(hours=24)),
        ("25h", timedelta(hours=24)),
        ("300 days", timedelta(hours=24)),
        (START + timedelta(days=9), timedelta(hours=24)),
        (START - timedelta(days=9), timedelta(seconds=1)),
        (1, timedelta(seconds=1)),
        (0, timedelta(seconds=1)),
    ],
    ids=str,
)
def test_retry_after_is_the_exact_delay_within_its_bounds(colour: Colour, retry_after: Any, delay: timedelta) -> None:
    """No jitter; clamped to 1 s ... 24 h."""
    made: list[datetime] = []

    def script(ctx: Any) -> Script:
        def busy() -> str:
            made.append(ctx.now)
            if len(made) == 1:
                raise RetryAfterError("busy", retry_after)
            return "done"

        return (yield ctx.step.run("busy", busy))

    run = colour.play(script)
    assert run.output == "done"
    assert made[1] - made[0] == delay


def test_retry_after_still_counts_attempts(colour: Colour) -> None:
    """A receiver that is always busy fails the step in the end."""
    broken = Broken(RetryAfterError("busy", "10s"))

    def script(ctx: Any) -> Script:
        yield ctx.step.run("busy", broken)

    run = colour.play(script, retries=2)
    assert broken.calls == 3
    assert run.ended_at == START + timedelta(seconds=20)
    assert (error_of(run)["name"], error_of(run)["message"]) == ("RetryAfterError", "busy")


def test_retry_after_of_one_attempt_does_not_change_the_next_delay(colour: Colour) -> None:
    """The table goes on with the number of the attempt."""
    made: list[datetime] = []
    flaky = Flaky(RetryAfterError("busy", "10s"), ValueError("no"))

    def script(ctx: Any) -> Script:
        def note() -> str:
            made.append(ctx.now)
            return flaky()

        return (yield ctx.step.run("flaky", note))

    assert colour.play(script).output == "done"
    assert made[1] - made[0] == timedelta(seconds=10)
    assert timedelta(seconds=30) <= made[2] - made[1] <= timedelta(seconds=60)


def test_retry_after_delays_the_body_too(colour: Colour) -> None:
    """Raised outside steps, it is the exact delay before the body's next attempt."""
    bodies: list[tuple[int, datetime]] = []

    def script(ctx: Any) -> Script:
        yield ctx.step.run("a", int)
        bodies.append((ctx.attempt, ctx.now))
        if ctx.attempt == 0:
            raise RetryAfterError("later", "10m")
        return "done"

    assert colour.play(script).output == "done"
    assert bodies == [(0, START), (1, START + timedelta(minutes=10))]


@pytest.mark.parametrize("wrong", ["soon", datetime(2025, 1, 1)], ids=str)  # noqa: DTZ001 - naive is the subject
def test_a_bad_retry_after_does_not_lose_the_error(colour: Colour, wrong: Any) -> None:
    """The step fails or is retried by a clear error that names the value; the run does not hang."""

    def script(ctx: Any) -> Script:
        def busy() -> None:
            raise RetryAfterError("busy", wrong)

        yield ctx.step.run("busy", busy)

    run = colour.play(script, retries=1)
    assert run.status == "FAILED"
    assert error_of(run)["name"] in {"RetryAfterError", "ConfigError"}


def test_a_non_retriable_error_ends_the_step_at_once(colour: Colour) -> None:
    """One attempt; the call raises `StepError`, not the original class."""
    broken = Broken(NonRetriableError("never"))

    def script(ctx: Any) -> Script:
        try:
            yield ctx.step.run("fail", broken)
        except NonRetriableError:
            return "the original class"
        except StepError as error:
            return [error.name, error.message, error.attempts]

    assert colour.play(script).output == ["NonRetriableError", "never", 1]
    assert broken.calls == 1


def test_a_subclass_of_non_retriable_error_ends_the_step_at_once(colour: Colour) -> None:
    """And keeps its own name."""

    class CardDeclinedError(NonRetriableError):
        """The customer's fault."""

    broken = Broken(CardDeclinedError("no funds"))

    def script(ctx: Any) -> Script:
        yield ctx.step.run("charge", broken)

    run = colour.play(script)
    assert broken.calls == 1
    assert (error_of(run)["name"], error_of(run)["message"]) == ("CardDeclinedError", "no funds")


@pytest.mark.memory_only("crashes")
def test_a_second_attempt_that_must_not_be_repeated_is_not(colour: Colour) -> None:
    """Its start is recorded as the first one's was; the error counts both."""
    calls: list[int] = []

    def script(ctx: Any) -> Script:
        try:
            step = ctx.step.with_options(on_interrupt="raise")
            yield step.run("charge", lambda: calls.append(current_step().attempt))
        except StepInterruptedError as error:
            return error.attempts

    with Simulation(colour.app(script), backend="memory") as sim:
        sim.fail("charge")
        sim.send("go")
        sim.crash("charge")
        sim.advance("10m")
        assert (calls, sim.run("f").output) == ([1], 2)


@pytest.mark.parametrize("kind", ["send_event", "send_signal"])
def test_steps_that_send_have_retries_of_their_own(colour: Colour, kind: str) -> None:
    """`with_options(retries=...)`."""

    def script(ctx: Any) -> Script:
        step = ctx.step.with_options(retries=1)
        yield step.send_event("s", {"name": "sent"}) if kind == "send_event" else step.send_signal("s", "bell")

    with Simulation(colour.app(script)) as sim:
        sim.fail("s", times=9)
        sim.send("go")
        sim.run_until_idle()
        assert (sim.run("f").status, sim.run("f").steps["s"].attempts) == ("FAILED", 2)


def test_each_step_has_its_own_attempts(colour: Colour) -> None:
    """What one step used up, the next one still has; the body's are untouched."""
    first, second = (Flaky(*[ValueError("no")] * 4) for _ in range(2))
    bodies: set[int] = set()

    def script(ctx: Any) -> Script:
        bodies.add(ctx.attempt)
        one = yield ctx.step.run("first", first)
        two = yield ctx.step.run("second", second)
        bodies.add(ctx.attempt)
        return [one, two]

    run = colour.play(script)
    assert run.output == ["done", "done"]
    assert (run.steps["first"].attempts, run.steps["second"].attempts) == (5, 5)
    assert bodies == {0}


def test_ctx_attempt_in_a_step_is_the_steps(colour: Colour) -> None:
    """0-based, of the step or body now executing."""
    seen: list[tuple[str, int]] = []

    def script(ctx: Any) -> Script:
        def flaky() -> None:
            seen.append(("step", ctx.attempt))
            if ctx.attempt < 2:
                raise ValueError("no")

        yield ctx.step.run("flaky", flaky)
        seen.append(("body", ctx.attempt))
        if ctx.attempt < 1:
            raise ValueError("body")

    assert colour.play(script).status == "COMPLETED"
    assert seen == [("step", 0), ("step", 1), ("step", 2), ("body", 0), ("body", 1)]


def test_an_error_outside_steps_retries_the_body_with_steps_standing(colour: Colour) -> None:
    """From the top, at the table's delays; recorded steps are not run again."""
    step_calls: list[str] = []
    bodies: list[tuple[int, datetime]] = []

    def script(ctx: Any) -> Script:
        yield ctx.step.run("a", step_calls.append, "a")
        bodies.append((ctx.attempt, ctx.now))
        raise KeyError("missing")

    run = colour.play(script, retries=3)
    assert run.status == "FAILED"
    assert step_calls == ["a"]
    assert [attempt for attempt, _ in bodies] == [0, 1, 2, 3]
    delays = [(after - before).total_seconds() for (_, before), (_, after) in pairwise(bodies)]
    assert all(base <= delay <= base + 30 for base, delay in zip(TABLE, delays, strict=False)), delays
    assert error_of(run)["name"] == "KeyError"
    assert "missing" in error_of(run)["message"]
    assert run.attempt == 3


def test_a_body_that_recovers_completes(colour: Colour) -> None:
    """SLEEPING in between, with the error shown; none is left once an attempt has got on, nor at the end."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("a", int)
        if ctx.attempt < 2:
            raise ValueError(f"attempt {ctx.attempt}")
        yield ctx.step.sleep("nap", "2h")
        return "recovered"

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        waiting = sim.run("f")
        sim.advance("5m")
        napping = sim.run("f")
        sim.run_until_idle()
        run = sim.run("f")
    assert (napping.status, napping.attempt, napping.error) == ("SLEEPING", 2, None)
    assert (waiting.status, error_of(waiting)["message"]) == ("SLEEPING", "attempt 0")
    assert (run.status, run.output, run.error) == ("COMPLETED", "recovered", None)


def test_a_non_retriable_error_outside_steps_fails_the_run(colour: Colour) -> None:
    """No further attempt of the body."""
    bodies: list[int] = []

    def script(ctx: Any) -> Script:
        bodies.append(ctx.attempt)
        raise NonRetriableError("never")
        yield

    run = colour.play(script)
    assert bodies == [0]
    assert (run.status, error_of(run)["name"], error_of(run)["message"]) == ("FAILED", "NonRetriableError", "never")


def test_with_no_retries_the_first_error_is_the_last(colour: Colour) -> None:
    """`retries=0`: one attempt of the body, one of each step."""
    broken = Broken(ValueError("no"))

    def script(ctx: Any) -> Script:
        try:
            yield ctx.step.run("fail", broken)
        except StepError:
            raise OSError("body") from None

    with Simulation(colour.app(script, retries=0)) as sim:
        sim.send("go")
        run = sim.run("f")
        assert sim.now == START
    assert broken.calls == 1
    assert (run.status, error_of(run)["name"]) == ("FAILED", "OSError")


def test_max_attempts_is_one_more_than_the_retries(colour: Colour) -> None:
    """Of the function, 5 where it says nothing."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("a", int)
        return ctx.max_attempts

    assert colour.play(script).output == 5
    assert colour.play(script, retries=0).output == 1
    assert colour.play(script, retries=20).output == 21
