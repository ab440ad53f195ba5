"""`sleep` and `sleep_until`: section 3 of the contract."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from stepbridge import App, Context, ContextSync, event
from stepbridge.testing import Simulation
from tests.acceptance.helpers import START, Colour, Script, error_of

DURATIONS: list[tuple[str | float | timedelta, timedelta]] = [
    ("30s", timedelta(seconds=30)),
    ("5m", timedelta(minutes=5)),
    ("2h", timedelta(hours=2)),
    ("7 days", timedelta(days=7)),
    ("1 day", timedelta(days=1)),
    ("1h30m", timedelta(minutes=90)),
    (timedelta(minutes=3), timedelta(minutes=3)),
    (90_000, timedelta(seconds=90)),
    (1_500.0, timedelta(milliseconds=1_500)),
    ("366 days", timedelta(days=366)),
]


@pytest.mark.parametrize(("written", "length"), DURATIONS, ids=str)
def test_a_sleep_lasts_exactly_as_long_as_it_says(
    colour: Colour, written: str | float | timedelta, length: timedelta
) -> None:
    """Every form of a duration: not a millisecond early, and due at the time itself."""

    def script(ctx: Any) -> Script:
        value = yield ctx.step.sleep("nap", written)
        return {"value": value, "slept": (ctx.now - START).total_seconds()}

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        sim.advance(length - timedelta(milliseconds=1))
        assert sim.run("f").status == "SLEEPING"
        sim.advance(1)
        run = sim.run("f")
    assert run.status == "COMPLETED"
    assert run.output == {"value": None, "slept": length.total_seconds()}


def test_a_plain_async_handler_sleeps() -> None:
    """As in the contract's own example: no helper between the user and the engine."""
    app = App("shop")

    @app.function("nap", trigger=event("go"))
    async def nap(ctx: Context) -> str:
        await ctx.step.sleep("wait", "1h")
        return "rested"

    with Simulation(app) as sim:
        sim.send("go")
        assert sim.run("nap").status == "SLEEPING"
        sim.advance("1h")
        assert sim.run("nap").output == "rested"


def test_a_plain_sync_handler_sleeps() -> None:
    """The same members, blocking."""
    app = App("shop")

    @app.function("nap", trigger=event("go"))
    def nap(ctx: ContextSync) -> str:
        ctx.step.sleep("wait", "1h")
        return "rested"

    with Simulation(app) as sim:
        sim.send("go")
        assert sim.run("nap").status == "SLEEPING"
        sim.advance("1h")
        assert sim.run("nap").output == "rested"


def test_sleeps_follow_one_another(colour: Colour) -> None:
    """The second begins when the first has ended."""

    def script(ctx: Any) -> Script:
        yield ctx.step.sleep("first", "1h")
        yield ctx.step.sleep("second", "2h")

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        sim.advance("2h59m59s")
        assert sim.run("f").status == "SLEEPING"
        sim.advance("1s")
        run = sim.run("f")
    assert run.status == "COMPLETED"
    assert run.steps["first"].ended_at == START + timedelta(hours=1)
    assert run.steps["second"].ended_at == START + timedelta(hours=3)


def test_a_sleep_of_nothing_goes_on_at_once(colour: Colour) -> None:
    """Zero is a duration: no time has to pass."""

    def script(ctx: Any) -> Script:
        yield ctx.step.sleep("nap", 0)
        return "awake"

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        assert sim.run("f").output == "awake"


@pytest.mark.parametrize("wrong", ["soon", "", "5 fortnights", -1, timedelta(seconds=-1), "367 days"], ids=repr)
def test_a_bad_duration_is_a_clear_error(colour: Colour, wrong: Any) -> None:
    """A `ConfigError` that names the step, the value and the mend."""

    def script(ctx: Any) -> Script:
        yield ctx.step.sleep("my-nap", wrong)

    run = colour.play(script, retries=0)
    assert run.status == "FAILED"
    assert error_of(run)["name"] == "ConfigError"
    assert "my-nap" in error_of(run)["message"]
    assert repr(wrong) in error_of(run)["message"]


@pytest.mark.parametrize(
    "until",
    [
        datetime(2025, 1, 2, 12, tzinfo=UTC),
        datetime(2025, 1, 2, 14, tzinfo=timezone(timedelta(hours=2))),
        "2025-01-02T12:00:00Z",
        "2025-01-02T12:00:00+00:00",
        "2025-01-02T14:00:00+02:00",
        "2025-01-02T12:00:00.000Z",
    ],
    ids=str,
)
def test_sleep_until_goes_on_at_the_instant(colour: Colour, until: datetime | str) -> None:
    """An aware datetime of any zone, or ISO 8601 with an offset or Z."""

    def script(ctx: Any) -> Script:
        value = yield ctx.step.sleep_until("nap", until)
        return [value, ctx.now.isoformat()]

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        sim.advance_to(datetime(2025, 1, 2, 11, 59, 59, 999_000, tzinfo=UTC))
        assert sim.run("f").status == "SLEEPING"
        sim.advance_to(datetime(2025, 1, 2, 12, tzinfo=UTC))
        run = sim.run("f")
    assert run.output == [None, "2025-01-02T12:00:00+00:00"]


@pytest.mark.parametrize("until", [datetime(2024, 12, 31, tzinfo=UTC), "1999-01-01T00:00:00Z", START], ids=str)
def test_sleep_until_a_past_instant_goes_on_at_once(colour: Colour, until: datetime | str) -> None:
    """A past one resumes at once; now is not later than now."""

    def script(ctx: Any) -> Script:
        yield ctx.step.sleep_until("nap", until)
        return "awake"

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        assert sim.run("f").output == "awake"
        assert sim.now == START


@pytest.mark.parametrize(
    "naive",
    [datetime(2025, 1, 2), "2025-01-02T12:00:00", "2025-01-02"],  # noqa: DTZ001 - naive is the subject
    ids=str,
)
def test_sleep_until_a_naive_instant_is_a_clear_error(colour: Colour, naive: Any) -> None:
    """Local time is never guessed: the error names the step, the cause and the mend."""

    def script(ctx: Any) -> Script:
        yield ctx.step.sleep_until("my-nap", naive)

    run = colour.play(script, retries=0)
    assert run.status == "FAILED"
    assert error_of(run)["name"] == "ConfigError"
    assert "my-nap" in error_of(run)["message"]
    assert "offset" in error_of(run)["message"]


@pytest.mark.parametrize("wrong", ["tomorrow", "", 1_735_689_600_000, None], ids=repr)
def test_sleep_until_something_else_is_a_clear_error(colour: Colour, wrong: Any) -> None:
    """No instant, no sleep."""

    def script(ctx: Any) -> Script:
        yield ctx.step.sleep_until("my-nap", wrong)

    run = colour.play(script, retries=0)
    assert error_of(run)["name"] == "ConfigError"
    assert "my-nap" in error_of(run)["message"]


def test_a_sleep_keeps_its_end_over_replays(colour: Colour) -> None:
    """Re-execution in between does not begin the sleep anew."""
    pings = 0

    def script(ctx: Any) -> Script:
        nonlocal pings
        pings += 1
        yield ctx.step.sleep("first", "10m")
        yield ctx.step.sleep("second", "10m")
        return ctx.now.isoformat()

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        sim.advance("15m")
        sim.advance("5m")
        assert sim.run("f").output == "2025-01-01T00:20:00+00:00"
    assert pings == 3


def test_a_sleeping_step_is_shown_as_such(colour: Colour) -> None:
    """Kind, status and times of a sleep, before and after."""

    def script(ctx: Any) -> Script:
        yield ctx.step.sleep("nap", "1h")

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        pending = sim.run("f").steps["nap"]
        sim.advance("1h")
        ended = sim.run("f").steps["nap"]
    assert (pending.kind, pending.status, pending.started_at, pending.ended_at) == ("sleep", "SLEEPING", START, None)
    assert (ended.kind, ended.status, ended.output, ended.error) == ("sleep", "COMPLETED", None, None)
    assert ended.ended_at == START + timedelta(hours=1)
