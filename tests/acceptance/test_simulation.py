"""The testing kit itself: sending, time, snapshots, counters."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepbridge import App, ConfigError, Context, Event, StepError, event
from stepbridge.testing import RunView, Simulation, StepView
from tests.acceptance.helpers import START, Colour, Script, ms


def napping(ctx: Any) -> Script:
    """A handler that naps for an hour and returns its data."""
    yield ctx.step.run("a", lambda: 1)
    yield ctx.step.sleep("nap", "1h")
    return ctx.event.data


def test_it_starts_at_the_turn_of_2025(colour: Colour) -> None:
    """Where nothing else is said; the clock moves by `advance` alone."""
    with Simulation(colour.app(napping)) as sim:
        assert sim.now == datetime(2025, 1, 1, tzinfo=UTC)
        sim.send("go")
        assert sim.now == START
        sim.advance("90m")
        assert sim.now == START + timedelta(minutes=90)
        assert sim.now.utcoffset() == timedelta(0)


def test_it_starts_when_it_is_told_to(colour: Colour) -> None:
    """`start=`."""
    start = datetime(2030, 6, 1, 12, tzinfo=UTC)
    with Simulation(colour.app(napping), start=start) as sim:
        sim.send("go")
        sim.run_until_idle()
        assert sim.run("f").ended_at == start + timedelta(hours=1)


def test_send_takes_a_name_and_data_an_event_or_a_dict(colour: Colour) -> None:
    """And returns the event's id."""
    with Simulation(colour.app(napping)) as sim:
        ids = [
            sim.send("go", {"n": 1}),
            sim.send(Event(name="go", data={"n": 2})),
            sim.send({"name": "go", "data": {"n": 3}}),
            sim.send("go"),
        ]
        assert [run.event.data for run in sim.runs("f")] == [{"n": 1}, {"n": 2}, {"n": 3}, {}]
        assert [run.event.id for run in sim.runs("f")] == ids
        assert len(set(ids)) == 4


def test_send_takes_id_and_ts(colour: Colour) -> None:
    """As keywords; ts in milliseconds or as an aware datetime."""
    with Simulation(colour.app(napping)) as sim:
        assert sim.send("go", {}, id="e-1", ts=ms(START) - 1000) == "e-1"
        assert sim.send("go", id="e-2", ts=START - timedelta(seconds=2)) == "e-2"
        assert [one.ts for one in sim.events] == [ms(START) - 1000, ms(START) - 2000]


def test_send_runs_all_that_can_run_now(colour: Colour) -> None:
    """Nothing more has to be called."""
    with Simulation(colour.app(napping)) as sim:
        sim.send("go")
        assert sim.run("f").steps["a"].status == "COMPLETED"
        assert sim.run("f").steps["nap"].status == "SLEEPING"


@pytest.mark.parametrize("duration", ["1h", 3_600_000, timedelta(hours=1)], ids=repr)
def test_advance_takes_every_form_of_a_duration(colour: Colour, duration: Any) -> None:
    """As in `sleep`."""
    with Simulation(colour.app(napping)) as sim:
        sim.send("go")
        sim.advance(duration)
        assert sim.run("f").status == "COMPLETED"


def test_every_timer_fires_at_its_time_and_in_order(colour: Colour) -> None:
    """However far one advances at once."""
    seen: list[tuple[str, datetime]] = []

    def script(ctx: Any) -> Script:
        name = ctx.event.data["name"]
        yield ctx.step.sleep("nap", ctx.event.data["nap"])
        yield ctx.step.run("note", lambda: seen.append((name, ctx.now)))

    with Simulation(colour.app(script)) as sim:
        for name, nap in (("c", "3h"), ("a", "1h"), ("b", "2h")):
            sim.send("go", {"name": name, "nap": nap})
        sim.advance("30 days")
        assert sim.now == START + timedelta(days=30)
    hours = [START + timedelta(hours=number) for number in (1, 2, 3)]
    assert seen == list(zip("abc", hours, strict=True))


def test_advance_to_goes_to_an_instant(colour: Colour) -> None:
    """Of any zone."""
    with Simulation(colour.app(napping)) as sim:
        sim.send("go")
        sim.advance_to(datetime.fromisoformat("2025-01-01T02:00:00+01:00"))
        assert sim.now == START + timedelta(hours=1)
        assert sim.run("f").status == "COMPLETED"


def test_run_until_idle_jumps_from_timer_to_timer(colour: Colour) -> None:
    """Until nothing is pending; the clock stands at the last one."""

    def script(ctx: Any) -> Script:
        yield ctx.step.sleep("a", "100 days")
        yield ctx.step.wait_for_event("b", event="reply", timeout="200 days")

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        sim.run_until_idle()
        assert sim.run("f").status == "COMPLETED"
        assert sim.run("f").ended_at == START + timedelta(days=300)


def test_run_is_the_latest_of_the_function_or_the_one_of_the_id(colour: Colour) -> None:
    """By function, by run id, or the latest of all."""
    app = colour.app(napping)
    colour.function(app, "g", napping, trigger=event("gone"))
    with Simulation(app) as sim:
        sim.send("go", {"n": 1})
        sim.advance("1m")
        sim.send("go", {"n": 2})
        sim.advance("1m")
        sim.send("gone", {"n": 3})
        first, second = sim.runs("f")
        assert sim.run("f").run_id == second.run_id
        assert sim.run(run_id=first.run_id).event.data == {"n": 1}
        assert sim.run("f", first.run_id).event.data == {"n": 1}
        assert sim.run().function_id == "g"
        assert [run.event.data["n"] for run in sim.runs()] == [1, 2, 3]


def test_run_raises_lookup_error_where_there_is_none(colour: Colour) -> None:
    """By any criterion; it says what there is."""
    with Simulation(colour.app(napping)) as sim:
        with pytest.raises(LookupError):
            sim.run()
        with pytest.raises(LookupError, match="f"):
            sim.run("f")
        sim.send("go")
        run_id = sim.run("f").run_id
        with pytest.raises(LookupError, match="nosuch"):
            sim.run("nosuch")
        with pytest.raises(LookupError, match="nosuch"):
            sim.run(run_id="nosuch")
        with pytest.raises(LookupError):
            sim.run("nosuch", run_id)
        assert sim.runs("nosuch") == []


def test_events_are_all_that_was_put_on_the_bus_in_order(colour: Colour) -> None:
    """Sent by the test, by steps, and by the engine."""

    def script(ctx: Any) -> Script:
        yield ctx.step.send_event("send", [{"name": "one"}, {"name": "two"}])
        raise ValueError("no")

    with Simulation(colour.app(script, retries=0)) as sim:
        sim.send("go", {"n": 1}, id="e-1")
        sim.send("other")
        events = sim.events
    assert [one.name for one in events] == ["go", "one", "two", "stepbridge/function.failed", "other"]
    assert all(isinstance(one, Event) for one in events)
    assert (events[0].id, events[0].data, events[0].ts) == ("e-1", {"n": 1}, ms(START))


def test_requests_count_what_the_engine_asked_of_its_backend(colour: Colour) -> None:
    """By operation, with units; more work, more requests."""
    with Simulation(colour.app(napping)) as sim:
        idle = dict(sim.requests)
        sim.send("go")
        once, units = dict(sim.requests), (sim.requests.write_units, sim.requests.read_units)
        sim.send("go")
        twice = dict(sim.requests)
    assert sum(idle.values()) < sum(once.values()) < sum(twice.values())
    assert units[0] > 0
    assert once["Invoke"] >= 1


def test_looking_at_runs_is_not_counted(colour: Colour) -> None:
    """The test's own reads are not the engine's."""
    with Simulation(colour.app(napping)) as sim:
        sim.send("go")
        before = dict(sim.requests)
        assert len(sim.run("f").steps) == 2
        assert sim.events
        assert dict(sim.requests) == before


def test_views_are_snapshots_good_after_exit(colour: Colour) -> None:
    """What was read does not change with the run, nor end with the simulation."""
    with Simulation(colour.app(napping)) as sim:
        sim.send("go", {"n": 1})
        before = sim.run("f")
        sim.advance("1h")
        after = sim.run("f")
    assert isinstance(before, RunView)
    assert (before.status, before.output, before.ended_at) == ("SLEEPING", None, None)
    assert (after.status, after.output, after.ended_at) == ("COMPLETED", {"n": 1}, START + timedelta(hours=1))
    assert before.steps["nap"].status == "SLEEPING"
    assert after.steps["nap"].status == "COMPLETED"
    assert isinstance(after.steps["a"], StepView)
    assert before.run_id == after.run_id
    assert (after.function_id, after.attempt, after.error) == ("f", 0, None)
    assert (after.event.name, after.event.data) == ("go", {"n": 1})


def test_steps_are_a_mapping(colour: Colour) -> None:
    """By id, or by id and occurrence; `in`, `len`, iteration, KeyError."""
    with Simulation(colour.app(napping)) as sim:
        sim.send("go")
        steps = sim.run("f").steps
    assert list(steps) == ["a", "nap"]
    assert len(steps) == 2
    assert "a" in steps
    assert ("a", 0) in steps
    assert "b" not in steps
    with pytest.raises(KeyError):
        steps["b"]
    with pytest.raises(KeyError):
        steps["a", 1]


async def story(app: App) -> tuple[Any, Any]:
    """Uses a simulation inside a running event loop."""
    with Simulation(app) as sim:
        sim.send("go", {"n": 1})
        first = sim.run("f").status
        await asyncio.sleep(0)
        sim.advance("1h")
        return first, sim.run("f").output


def test_each_step_says_when_it_began_and_ended(colour: Colour) -> None:
    """In minutes from the start: a wait from its arming on, a child's from its own."""

    def child(ctx: Any) -> Script:
        yield ctx.step.sleep("z", "3m")

    def late(ctx: Any) -> Script:
        yield ctx.step.sleep("z", "1 day")

    def ring(ctx: Any) -> Script:
        yield ctx.step.send_signal("ring", "bell")

    def script(ctx: Any) -> Script:
        yield ctx.step.sleep("nap", "1m")
        yield ctx.step.wait_for_event("matched", event="paid", timeout="1h")
        yield ctx.step.wait_for_event("missed", event="never", timeout="5m")
        yield ctx.step.invoke("child", function="child")
        yield ctx.step.wait_for_signal("signal", "bell", timeout="1h")
        try:
            yield ctx.step.invoke("late", function="late", timeout="2m")
        except StepError:
            return

    app = colour.app(script)
    for function_id, body in (("child", child), ("late", late), ("ring", ring)):
        colour.function(app, function_id, body, trigger=event(function_id))
    with Simulation(app) as sim:
        sim.send("go")
        for minutes, name in ((3, "paid"), (14, "ring")):
            sim.advance_to(START + timedelta(minutes=minutes))
            sim.send(name)
        sim.advance("1h")
        steps = sim.run("f").steps.values()
    spans = {
        step.step_id: [(at - START) / timedelta(minutes=1) for at in (step.started_at, step.ended_at) if at is not None]
        for step in steps
    }
    assert spans == {
        "nap": [0, 1],
        "matched": [1, 3],
        "missed": [3, 8],
        "child": [8, 11],
        "signal": [11, 14],
        "late": [14, 16],
    }


def test_it_works_inside_a_running_event_loop(colour: Colour) -> None:
    """For async test suites."""
    assert asyncio.run(story(colour.app(napping))) == ("SLEEPING", {"n": 1})


def test_two_simulations_of_one_app_know_nothing_of_each_other(colour: Colour) -> None:
    """Nothing is kept in the app."""
    app = colour.app(napping)
    with Simulation(app) as one, Simulation(app) as other:
        one.send("go", id="e-1")
        assert other.runs() == []
        other.send("go", id="e-1")
        one.advance("1h")
        assert (one.run("f").status, other.run("f").status) == ("COMPLETED", "SLEEPING")


def test_an_error_in_the_test_leaves_the_simulation_clean(colour: Colour) -> None:
    """It comes out of the `with` as it is."""

    def fail() -> None:
        with Simulation(colour.app(napping)) as sim:
            sim.send("go")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def test_user_code_runs_for_real() -> None:
    """Steps' functions, their own clocks and `asyncio.sleep` stay real."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> float:
        async def measured() -> float:
            loop = asyncio.get_running_loop()
            before = loop.time()
            await asyncio.sleep(0.02)
            return loop.time() - before

        return await ctx.step.run("measured", measured)

    with Simulation(app) as sim:
        sim.send("go")
        assert 0.015 <= sim.run("f").output < 5
        assert sim.now == START


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_same_seed_gives_the_same_story(colour: Colour, seed: int) -> None:
    """`seed` delivers at its worst, reproducibly."""

    def story() -> list[tuple[str, datetime | None]]:
        with Simulation(colour.app(napping), seed=seed) as sim:
            for number in range(4):
                sim.send("go", {"n": number}, id=f"e-{number}")
            sim.run_until_idle()
            return [(run.run_id, run.ended_at) for run in sim.runs("f")]

    assert story() == story()


def test_a_simulation_needs_an_app() -> None:
    """A clear error."""
    with pytest.raises(ConfigError, match="app"):
        Simulation()


def test_an_unknown_backend_is_a_clear_error(colour: Colour) -> None:
    """It names those that there are."""
    with pytest.raises(ConfigError, match="memory"):
        Simulation(colour.app(napping), backend="redis")


@pytest.mark.parametrize(
    "wrong",
    [{"name": ""}, {"name": "x" * 129}, {"data": {}}, {"name": "go", "data": [1]}, {"name": "go", "data": {"x": {1}}}],
    ids=lambda value: repr(value)[:30],
)
def test_sending_what_is_no_event_is_a_clear_error(colour: Colour, wrong: Any) -> None:
    """As in a step; nothing is put on the bus."""
    with Simulation(colour.app(napping)) as sim:
        with pytest.raises(ConfigError):
            sim.send(wrong)
        assert sim.events == []


def test_an_event_has_its_defaults() -> None:
    """`Event` is a pydantic model: a name is all that it needs."""
    made = Event(name="go")
    assert (made.name, made.data) == ("go", {})
    assert Event.model_validate(made.model_dump()) == made
    assert Event(name="go", data={"n": 1}, id="e", ts=1, source="s").model_dump() == {
        "name": "go",
        "data": {"n": 1},
        "id": "e",
        "ts": 1,
        "source": "s",
    }
