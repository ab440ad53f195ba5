"""Large values that are gone from their bucket, or altered there: the run is parked with the reason, and goes on."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from stepbridge import App, Context, ContextSync, EventMatch, event
from stepbridge.core.codec import squeeze
from stepbridge.core.messages import Resume
from stepbridge.errors import LostValueError
from tests.waits.bench import Bench

NOISE = "".join(sha256(str(index).encode()).hexdigest() for index in range(600))
"""Above what the table keeps, however it is packed."""


def large(_: object = None) -> str:
    """A value that becomes a blob."""
    return NOISE


def shop() -> App:
    """Keeps large values wherever there may be one, and asks for them later."""
    app = App("shop")

    @app.function("step", trigger=event("step"))
    async def step(ctx: Context) -> int:
        text = await ctx.step.run("large", large)
        await ctx.step.sleep("nap", "10m")
        return len(text)

    @app.function("sync", trigger=event("sync"))
    def sync(ctx: ContextSync) -> int:
        ctx.step.sleep("nap", "10m")
        return len(ctx.event.data["text"])

    @app.function("map", trigger=event("map"))
    async def mapped(ctx: Context) -> int:
        return sum(map(len, await ctx.step.map("items", large, [1, 2])))

    @app.function("looks back", trigger=event("look"), waits=[EventMatch("seen", match="data.id", lookback="1h")])
    async def looks_back(ctx: Context) -> int:
        await ctx.step.sleep("nap", "10m")
        found = await ctx.step.wait_for_event("seen", event="seen", match="data.id", timeout="1h", lookback=True)
        return 0 if found is None else len(found.data["text"])

    @app.function("waits", trigger=event("wait"))
    async def waits(ctx: Context) -> bool:
        wanted = "async.data.id == event.data.id && async.data.text == event.data.text"
        return await ctx.step.wait_for_event("late", event="late", if_exp=wanted, timeout="1 day") is not None

    return app


def harm(bench: Bench, how: str) -> dict[str, bytes]:
    """All blobs as they were."""
    values = bench.stack.blobs._values
    before = dict(values)
    for key in before:
        match how:
            case "gone":
                del values[key]
            case "cut":
                values[key] = before[key][:-20]
            case "no text":
                values[key] = b"\xff\xfe"
            case "another":
                values[key] = squeeze('"' + "x" * 9_000 + '"')
    return before


BEGUN: dict[str, tuple[str, list[tuple[str, dict[str, Any]]]]] = {
    "a step's": ("step", [("step", {})]),
    "the trigger's": ("sync", [("sync", {"text": NOISE})]),
    "an earlier event's": ("looks back", [("look", {"id": 1}), ("seen", {"id": 1, "text": NOISE})]),
}


@pytest.mark.parametrize("how", ["gone", "cut", "no text", "another"])
@pytest.mark.parametrize("whose", BEGUN)
def test_a_lost_value_parks_the_run_until_it_is_back(whose: str, how: str, bench_of: Callable[[App], Bench]) -> None:
    """Its message does not come back for ever; who looks at the run reads which value it is."""
    bench = bench_of(shop())
    function_id, events = BEGUN[whose]
    for name, data in events:
        bench.put(name, data)
    bench.settle()
    before = harm(bench, how)
    bench.drain()
    run = bench.run(function_id)
    assert run.error is not None
    assert (run.status, run.error["name"]) == ("PARKED", "LostValueError")
    assert next(iter(before)) in run.error["message"]
    assert "resume the run" in run.error["message"]
    bench.stack.blobs._values.update(before)
    bench.tell(Resume(run_id=run.run_id))
    bench.drain()
    assert (bench.run(function_id).status, bench.run(function_id).output) == ("COMPLETED", len(NOISE))
    assert bench.leftovers() == []


def test_an_items_lost_value_parks_the_maps_run(bench_of: Callable[[App], Bench]) -> None:
    """It is collected where the map is joined."""
    bench = bench_of(shop())
    bench.put("map")
    for _ in range(3):  # the event, and both items
        bench.step()
    before = harm(bench, "gone")
    bench.drain()
    run = bench.run("map")
    assert (run.status, run.error and run.error["name"]) == ("PARKED", "LostValueError")
    bench.stack.blobs._values.update(before)
    bench.tell(Resume(run_id=run.run_id))
    bench.drain()
    assert (bench.run("map").status, bench.run("map").output) == ("COMPLETED", 2 * len(NOISE))


def test_an_event_that_cannot_be_held_against_a_wait_now_comes_back(bench_of: Callable[[App], Bench]) -> None:
    """The bucket is out of reach for a moment: the event is not taken for one that does not match."""
    bench = bench_of(shop())
    bench.put("wait", {"id": 1, "text": NOISE})
    bench.settle()

    def fails() -> None:
        message = "the bucket is out of reach"
        raise ConnectionError(message)

    bench.put("late", {"id": 1, "text": NOISE})
    bench.on("before", "blobs.get", "", fails)
    assert not bench.step()
    bench.later(60)
    bench.settle()
    assert (bench.run("waits").status, bench.run("waits").output) == ("COMPLETED", True)


def test_a_wait_whose_trigger_is_lost_holds_up_no_other(
    bench_of: Callable[[App], Bench], caplog: pytest.LogCaptureFixture
) -> None:
    """The event resolves the others' waits, and the log names the run that it could not be held against."""
    bench = bench_of(shop())
    bench.put("wait", {"id": 1, "text": NOISE})
    bench.settle()
    harm(bench, "gone")
    bench.put("wait", {"id": 1, "text": NOISE, "n": 2})
    bench.settle()
    first, second = bench.runs("waits")
    bench.put("late", {"id": 1, "text": NOISE})
    bench.settle()
    assert [run.status for run in bench.runs("waits")] == ["SLEEPING", "COMPLETED"]
    assert first.run_id in caplog.text
    assert second.run_id not in caplog.text


def test_a_lost_value_is_told_to_who_looks_at_the_run(bench_of: Callable[[App], Bench]) -> None:
    """The run is shown, with a text in the value's place; an output that is lost is an error of its own."""
    bench = bench_of(shop())
    bench.put("step")
    bench.put("sync", {"text": NOISE})
    bench.settle()
    harm(bench, "gone")
    assert "is not in the bucket" in bench.run("step").steps["large"].output
    assert "is not in the bucket" in bench.run("sync").event.data["lost"]


def test_a_lost_output_is_no_output(bench_of: Callable[[App], Bench]) -> None:
    """A program that asks for it is not given a text in its place."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> str:
        return large(ctx)

    bench = bench_of(app)
    bench.put("go")
    bench.settle()
    harm(bench, "gone")
    with pytest.raises(LostValueError, match="is not in the bucket"):
        bench.run()
