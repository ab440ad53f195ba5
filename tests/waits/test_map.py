"""`step.map`: each item in an invocation of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from stepbridge import (
    App,
    ConfigError,
    Context,
    NonRetriableError,
    RetryAfterError,
    StepError,
    current_step,
    event,
    invoke_only,
)
from stepbridge.memory.requests import Requests
from stepbridge.testing import Simulation
from tests.waits.bench import Bench

BODIES: list[int] = []
"""An entry for each invocation that has begun the parent's handler."""
SEEN: list[Any] = []
"""What items noted."""
READS = ("GetItem", "Query", "GetObject")


@pytest.fixture(autouse=True)
def fresh() -> None:
    BODIES.clear()
    SEEN.clear()


def square(item: int) -> int:
    """One item's work."""
    return item * item


def picky(item: int) -> int:
    """Two items are hopeless."""
    if item in {3, 5}:
        raise NonRetriableError(f"no {item}s")
    return item


def flaky(item: int) -> list[int]:
    """Fails at its first two attempts."""
    attempt = current_step().attempt
    if attempt < 2:
        raise RetryAfterError("again", "1s")
    return [item, attempt]


def clumsy(item: int) -> int:
    """Fails at its first attempt."""
    if not current_step().attempt:
        raise ValueError("oh")
    return current_step().attempt


def hopeless(item: int) -> StepError:
    """Fails however often it is tried."""
    raise RetryAfterError(f"no {item}s", "1s")


def patient(item: int) -> int:
    """Fails at its first attempt, and wants an hour."""
    SEEN.append(current_step().attempt)
    if not current_step().attempt:
        raise RetryAfterError("later", "1h")
    return current_step().attempt


async def slow(item: int) -> int:
    """An async function serves as well."""
    await asyncio.sleep(0)
    return item + 1


def keys(item: int) -> str:
    """The stable id of the item's effect."""
    return current_step().effect_key


def no_json(item: int) -> object:
    """Nothing that can be recorded."""
    return object()


def mapping(fn: Any, **options: Any) -> App:
    """An app that maps `fn` over as many items as its event says."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        BODIES.append(1)
        done = await ctx.step.map("m", fn, range(ctx.event.data["n"]), **options)
        return [one if not isinstance(one, StepError) else [one.name, one.message] for one in done]

    return app


def spent(app: App, number: int) -> Requests:
    """What a map of so many items asks for."""
    with Simulation(app, backend="memory") as sim:
        sim.send("go", {"n": number})
        sim.run_until_idle()
        assert sim.run("f").status == "COMPLETED"
        return sim.requests


class TestResults:
    """In the order of the items, whatever the order of their ends."""

    @pytest.mark.parametrize("number", [0, 1, 2, 99, 100, 101, 250])
    def test_results_are_in_the_order_of_the_items(self, number: int) -> None:
        """Around the borders of the shards."""
        with Simulation(mapping(square)) as sim:
            sim.send("go", {"n": number})
            sim.run_until_idle()
            assert sim.run("f").output == [n * n for n in range(number)]

    @pytest.mark.parametrize("seed", range(4))
    def test_results_are_in_order_with_a_backend_at_its_worst(self, seed: int) -> None:
        """Duplicates, other orders."""
        with Simulation(mapping(square), seed=seed) as sim:
            sim.send("go", {"n": 120})
            sim.run_until_idle()
            assert sim.run("f").output == [n * n for n in range(120)]

    @pytest.mark.parametrize("lanes", [None, 1])
    @pytest.mark.parametrize("fn", [slow, flaky])
    def test_items_may_be_async_and_are_tried_again(self, fn: Any, lanes: int | None) -> None:
        """Each by itself, as a step; the followers of a lane as often as the first."""
        with Simulation(mapping(fn, max_concurrency=lanes)) as sim:
            sim.send("go", {"n": 3})
            sim.run_until_idle()
            assert sim.run("f").output == {slow: [1, 2, 3], flaky: [[0, 2], [1, 2], [2, 2]]}[fn]

    @pytest.mark.memory_only("looks into the backend itself")
    def test_items_that_fail_together_are_tried_again_one_by_one(self, bench_of: Callable[[App], Bench]) -> None:
        """The jitter of the delay is each item's own: what was too much at once is not asked for at once again."""
        bench = bench_of(mapping(clumsy))
        bench.put("go", {"n": 5})
        bench.settle()
        again = [message["visible_at"] for message in bench.stack.queue.dump()["messages"]]
        assert len(set(again)) == len(again) == 5
        bench.drain()
        assert bench.run().output == [1] * 5

    def test_an_item_waits_for_its_next_attempt_for_longer_than_a_queue_can(self) -> None:
        """An hour, to the second; a message of the queue waits for 15 minutes."""
        with Simulation(mapping(patient)) as sim:
            sim.send("go", {"n": 1})
            sim.advance(3_599_999)
            assert SEEN == [0]
            sim.advance(1)
            assert (SEEN, sim.run("f").output) == ([0, 1], [1])

    def test_each_item_has_an_effect_key_of_its_own(self) -> None:
        """Stable and distinct."""
        with Simulation(mapping(keys)) as sim:
            sim.send("go", {"n": 50})
            sim.run_until_idle()
            assert len(set(sim.run("f").output)) == 50

    def test_two_maps_side_by_side_do_not_mix(self) -> None:
        """Nor two of one id, one after the other."""
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> Any:
            both = await asyncio.gather(
                ctx.step.map("a", square, range(5)), ctx.step.map("b", slow, range(120), max_concurrency=7)
            )
            return [*both, await ctx.step.map("a", slow, range(2))]

        with Simulation(app) as sim:
            sim.send("go")
            sim.run_until_idle()
            assert sim.run("f").output == [[0, 1, 4, 9, 16], list(range(1, 121)), [1, 2]]

    def test_a_lambda_is_refused_with_the_mend(self) -> None:
        """It cannot be found in another invocation."""
        with Simulation(mapping(lambda item: item)) as sim:
            sim.send("go", {"n": 1})
            sim.run_until_idle()
            error = sim.run("f").error
        assert error is not None
        assert error["name"] == ConfigError.__name__
        assert "top level of a module" in error["message"]


class TestFailures:
    """A failing item is a failing step."""

    def test_one_failing_item_fails_the_map(self) -> None:
        """With the first failed item's own error, once all have ended."""
        with Simulation(mapping(picky)) as sim:
            sim.send("go", {"n": 8})
            sim.run_until_idle()
            run = sim.run("f")
        assert (run.status, run.error and run.error["name"]) == ("FAILED", "NonRetriableError")
        assert run.steps["m"].status == "FAILED"
        assert run.error is not None
        assert run.error["message"] == "no 3s"

    def test_errors_may_be_wanted_as_results(self) -> None:
        """In their items' places."""
        with Simulation(mapping(picky, return_exceptions=True)) as sim:
            sim.send("go", {"n": 8})
            sim.run_until_idle()
            wrong = {n: ["NonRetriableError", f"no {n}s"] for n in (3, 5)}
            assert sim.run("f").output == [wrong.get(n, n) for n in range(8)]

    def test_a_failed_map_can_be_caught(self) -> None:
        """As any step; the run goes on."""
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> str:
            try:
                await ctx.step.map("m", picky, range(8))
            except StepError as error:
                return f"{error.step_id}: {error.message}"
            return "fine"

        with Simulation(app) as sim:
            sim.send("go")
            sim.run_until_idle()
            assert sim.run("f").output == "m: no 3s"

    @pytest.mark.parametrize("wanted", [False, True])
    def test_a_failed_item_s_attempts_are_told(self, *, wanted: bool) -> None:
        """As those of any step."""
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> list[int]:
            steps = ctx.step.with_options(retries=2)
            try:
                done = await steps.map("m", hopeless, range(2), return_exceptions=wanted)
            except StepError as error:
                return [error.attempts]
            return [one.attempts for one in done]

        with Simulation(app) as sim:
            sim.send("go")
            sim.run_until_idle()
            assert sim.run("f").output == ([3, 3] if wanted else [3])

    def test_a_value_that_is_not_serialisable_fails_its_item(self) -> None:
        """And says which."""
        with Simulation(mapping(no_json, return_exceptions=True)) as sim:
            sim.send("go", {"n": 2})
            sim.run_until_idle()
            names = [name for name, _ in sim.run("f").output]
            messages = [message for _, message in sim.run("f").output]
        assert names == ["UnserializableOutputError"] * 2
        assert "item 1 of 'm'" in messages[1]


def children(**options: Any) -> App:
    """An app that maps one of its functions."""
    app = App("shop")

    @app.function("child", trigger=invoke_only(), retries=0)
    async def child(ctx: Context) -> int:
        SEEN.append(("begin", ctx.event.data["item"]))
        await ctx.step.sleep("z", "5m" if ctx.event.data["item"] % 2 else "0s")
        if ctx.event.data["item"] == 3:
            raise ValueError("three")
        return await ctx.step.run("s", square, ctx.event.data["item"])

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        BODIES.append(1)
        done = await ctx.step.map("m", child, range(ctx.event.data["n"]), return_exceptions=True, **options)
        return [getattr(one, "message", one) for one in done]

    return app


class TestChildren:
    """A `Function` as the mapped: a run for each item."""

    @pytest.mark.parametrize("lanes", [None, 1, 3, 100])
    def test_children_that_suspend_are_joined_in_order(self, lanes: int | None) -> None:
        """Some at once, some after five minutes, one failed."""
        with Simulation(children(max_concurrency=lanes)) as sim:
            sim.send("go", {"n": 6})
            sim.run_until_idle()
            assert sim.run("f").output == [0, 1, 4, "three", 16, 25]
            assert len(sim.runs("child")) == 6

    def test_an_item_that_is_a_dict_is_the_childs_data(self) -> None:
        """Any other is its `item`."""
        app = App("shop")

        @app.function("child", trigger=invoke_only())
        async def child(ctx: Context) -> Any:
            return ctx.event.data

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> Any:
            return await ctx.step.map("m", child, [{"a": 1}, 7, None, [2]])

        with Simulation(app) as sim:
            sim.send("go")
            sim.run_until_idle()
            assert sim.run("f").output == [{"a": 1}, {"item": 7}, {"item": None}, {"item": [2]}]


class TestConcurrency:
    """`max_concurrency`: never more in flight."""

    @pytest.mark.parametrize("lanes", [1, 3, 10])
    def test_no_more_items_are_in_flight_than_allowed(self, lanes: int, bench_of: Callable[[App], Bench]) -> None:
        """Messages on their way or being handled, at every moment; and the lanes are used."""
        bench = bench_of(mapping(square, max_concurrency=lanes))
        bench.put("go", {"n": 40})
        bench.step()
        most = 0
        while (depth := sum(bench.stack.queue.depth())) and bench.run().status != "COMPLETED":
            most = max(most, depth)
            bench.step()
        assert most == lanes
        assert bench.run().output == [n * n for n in range(40)]

    @pytest.mark.parametrize("lanes", [1, 3])
    def test_no_more_children_are_open_than_allowed(self, lanes: int, bench_of: Callable[[App], Bench]) -> None:
        """Suspended ones count."""
        bench = bench_of(children(max_concurrency=lanes))
        bench.put("go", {"n": 12})
        most = 0
        while (at := bench.world.next_at()) is not None:
            bench.clock.move_to(max(at, bench.clock.now()))
            bench.world.fire_due()
            for message in bench.stack.queue.receive(1):
                bench.handle(message)
            most = max(most, sum(run.status in {"RUNNING", "SLEEPING"} for run in bench.runs("child")))
        assert most == lanes
        assert bench.run().status == "COMPLETED"
        assert len(bench.runs("child")) == 12

    def test_a_repeated_end_of_an_item_starts_its_follower_once(self, bench_of: Callable[[App], Bench]) -> None:
        """A duplicate of every message."""
        bench = bench_of(children(max_concurrency=2))
        bench.put("go", {"n": 6})
        while (at := bench.world.next_at()) is not None:
            bench.clock.move_to(max(at, bench.clock.now()))
            bench.world.fire_due()
            for message in bench.stack.queue.receive(1):
                bench.handle(message)
                bench.handle(message)
        assert bench.run().output == [0, 1, 4, "three", 16, 25]
        assert len(bench.runs("child")) == 6


@pytest.mark.memory_only("moto takes milliseconds a request; tests/waits/test_moto.py has its sizes")
class TestScale:
    """Thousands of items: linear, and the parent is resumed a handful of times."""

    def test_reads_and_writes_grow_with_the_items_not_with_their_square(self) -> None:
        """Ten times the items, ten times the requests and units, within a tenth."""
        small, large = spent(mapping(square), 500), spent(mapping(square), 5_000)
        assert large.total() <= 11 * small.total()
        assert sum(large[name] for name in READS) <= 11 * sum(small[name] for name in READS)
        assert large.read_units <= 11 * small.read_units
        assert large.write_units <= 11 * small.write_units

    @pytest.mark.parametrize("lanes", [7, 100])
    def test_lanes_stay_linear(self, lanes: int) -> None:
        """Though every follower reads the items' common source."""
        small = spent(mapping(square, max_concurrency=lanes), 200)
        large = spent(mapping(square, max_concurrency=lanes), 1_000)
        assert large.total() <= 5.5 * small.total()

    def test_the_parent_is_resumed_once(self) -> None:
        """Its handler has begun twice: to send the items, and to take the results."""
        with Simulation(mapping(square), backend="memory") as sim:
            sim.send("go", {"n": 1_000})
            sim.run_until_idle()
            assert len(sim.run("f").output) == 1_000
        assert len(BODIES) == 2

    @pytest.mark.parametrize("seed", range(3))
    def test_the_parent_is_resumed_a_handful_of_times_at_worst(self, seed: int) -> None:
        """Duplicates and other orders."""
        with Simulation(mapping(square), backend="memory", seed=seed) as sim:
            sim.send("go", {"n": 1_000})
            sim.run_until_idle()
            assert len(sim.run("f").output) == 1_000
        assert len(BODIES) <= 6

    def test_a_thousand_children_resume_the_parent_once(self) -> None:
        """Runs of their own, half of which suspend."""
        with Simulation(children(), backend="memory") as sim:
            sim.send("go", {"n": 1_000})
            sim.run_until_idle()
            assert sim.run("f").output[:5] == [0, 1, 4, "three", 16]
            assert len(sim.run("f").output) == 1_000
        assert len(BODIES) == 2

    def test_ten_thousand_items(self) -> None:
        """Results in order, the parent begun twice, two writes an item and one for each shard of a hundred."""
        with Simulation(mapping(square), backend="memory") as sim:
            sim.send("go", {"n": 10_000})
            sim.run_until_idle()
            assert sim.run("f").output == [n * n for n in range(10_000)]
            requests = sim.requests
        assert len(BODIES) == 2
        assert requests["PutItem"] + requests["UpdateItem"] <= 2 * 10_000 + 10_000 // 100 + 10
        assert requests["GetItem"] + requests["Query"] <= 10_000 + 10_000 // 100 + 10


def test_nothing_survives_between_items_but_what_was_recorded() -> None:
    """Every item is an invocation of its own, with an engine of its own."""
    with Simulation(mapping(square), backend="memory") as sim:
        sim.send("go", {"n": 25})
        sim.run_until_idle()
        assert sim.requests["Invoke"] == 25 + 2
