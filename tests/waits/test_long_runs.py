"""Many steps: side by side in one invocation, over hand-overs, and over many suspensions."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from stepbridge import App, ConfigError, Context, ContextSync, event
from stepbridge.core.limits import HAND_OVER_MARGIN
from stepbridge.core.messages import Cancel, Resume
from stepbridge.memory.requests import Requests
from stepbridge.testing import Simulation
from tests.waits.bench import Bench


def square(number: int) -> int:
    return number * number


async def square_async(number: int) -> int:
    """On the loop: no thread for each of thousands of steps."""
    return number * number


def noting(effects: Counter[int]) -> Callable[[int], int]:
    def note(number: int) -> int:
        effects[number] += 1
        return number

    return note


def parallel_app(effects: Counter[int]) -> App:
    """As many steps as the event says, all at once."""
    app = App("shop")
    note = noting(effects)

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> int:
        steps = (ctx.step.run(f"s{n}", note, n) for n in range(ctx.event.data["n"]))
        return sum(await asyncio.gather(*steps))

    return app


class TestParallel:
    """A thousand steps by `gather`."""

    def test_a_thousand_steps_run_in_one_invocation(self) -> None:
        """Each once, for one write each."""
        effects: Counter[int] = Counter()
        with Simulation(parallel_app(effects), backend="memory") as sim:
            sim.send("go", {"n": 1_000})
            assert sim.run("f").output == sum(range(1_000))
            requests = sim.requests
        assert set(effects.values()) == {1}
        assert len(effects) == 1_000
        assert (requests["Invoke"], requests["PutItem"], requests["UpdateItem"]) == (1, 1_000, 2)

    def test_a_thousand_sync_branches_run_in_one_invocation(self) -> None:
        """By `ctx.group.parallel`, in a bounded number of threads."""
        effects: Counter[int] = Counter()
        app = App("shop")
        note = noting(effects)

        @app.function("f", trigger=event("go"))
        def handler(ctx: ContextSync) -> int:
            def branch(n: int) -> Callable[[], int]:
                return lambda: ctx.step.run(f"s{n}", note, n)

            return sum(ctx.group.parallel([branch(n) for n in range(1_000)]))

        with Simulation(app, backend="memory") as sim:
            sim.send("go")
            assert sim.run("f").output == sum(range(1_000))
            assert sim.requests["Invoke"] == 1
        assert set(effects.values()) == {1}

    def test_a_thousand_waits_cost_a_handful_of_resumes(self, bench_of: Callable[[App], Bench]) -> None:
        """All of them matched by one event: a thousand registers, and the run goes on."""
        bodies: list[int] = []
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> int:
            bodies.append(1)
            waits = (ctx.step.wait_for_event(f"w{n}", event="paid", timeout="7 days") for n in range(1_000))
            return sum(found is not None for found in await asyncio.gather(*waits))

        bench = bench_of(app)
        bench.put("go")
        bench.settle()
        bench.put("paid")
        bench.drain()
        assert bench.run().output == 1_000
        assert len(bodies) == 2
        assert bench.leftovers() == []

    def test_a_thousand_sleeps_resume_the_run_once_for_each_due_time(self, bench_of: Callable[[App], Bench]) -> None:
        """Two due times, two resumes."""
        bodies: list[int] = []
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> int:
            bodies.append(1)
            sleeps = (ctx.step.sleep(f"z{n}", f"{1 + n % 2}m") for n in range(1_000))
            return len(await asyncio.gather(*sleeps))

        bench = bench_of(app)
        bench.put("go")
        bench.drain()
        assert bench.run().output == 1_000
        assert len(bodies) == 3
        assert bench.leftovers() == []


class TestHandOver:
    """The invocation's remaining time is respected; the next one carries on, each step once."""

    @pytest.mark.memory_only("moto takes milliseconds a request; tests/waits/test_moto.py has its sizes")
    def test_a_thousand_parallel_steps_over_several_invocations(self, bench_of: Callable[[App], Bench]) -> None:
        """Ten at a time, a minute in all and a second each: each runs once, and its record is found again."""
        effects: Counter[int] = Counter()
        app = App("shop")

        async def note(number: int) -> int:
            effects[number] += 1
            bench.loop.ahead += 1
            return number

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> int:
            limit = asyncio.Semaphore(10)

            async def branch(n: int) -> int:
                async with limit:
                    return await ctx.step.run(f"s{n}", note, n)

            return sum(await asyncio.gather(*(branch(n) for n in range(1_000))))

        bench = bench_of(app)
        bench.put("go")
        invocations = 0
        while bench.stack.queue.depth() != (0, 0):
            assert bench.step(seconds=HAND_OVER_MARGIN.total_seconds() + 60) is True
            invocations += 1
        assert bench.run().output == sum(range(1_000))
        assert set(effects.values()) == {1}
        assert invocations >= 1_000 / (60 + 10)

    @pytest.mark.parametrize("number", [1, 40])
    def test_a_run_that_always_lacks_time_still_gets_on(self, number: int, bench_of: Callable[[App], Bench]) -> None:
        """Without a limit of hops: each invocation records something, or says why not in the end."""
        app = App("shop")

        @app.function("f", trigger=event("go"))
        def handler(ctx: ContextSync) -> int:
            for n in range(number):
                ctx.step.run(f"s{n}", square, n)
                ctx.step.sleep(f"z{n}", "1s")
            return number

        bench = bench_of(app)
        bench.put("go")
        bench.drain()
        assert bench.run().output == number

    def test_a_run_above_its_cap_of_invocations_is_parked_with_a_clear_error(
        self, bench_of: Callable[[App], Bench]
    ) -> None:
        """The app's own counter; the history is kept."""
        app = App("shop", max_invocations=5)

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None:
            for n in range(20):
                await ctx.step.sleep(f"z{n}", "1s")

        bench = bench_of(app)
        bench.put("go")
        bench.drain()
        run = bench.run()
        assert (run.status, run.error and run.error["name"]) == ("PARKED", "TooManyInvocationsError")
        assert run.error is not None
        assert "raise max_invocations" in run.error["message"]


class Watch:
    """A monotonic clock for the time that an invocation has left: each step takes as long as it says."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """As `time.monotonic`."""
        return self.now

    def work(self, number: int) -> int:
        """A step that takes a second."""
        self.now += 1
        return number


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """What sync handlers measure their invocation by."""
    watch = Watch()
    monkeypatch.setattr("stepbridge.engine.advance.time", watch)
    monkeypatch.setattr("stepbridge.engine.sync_replay.time", watch)
    return watch


def handing_over(watch: Watch, number: int, **options: Any) -> App:
    """So many steps; an invocation with a moment left does one of them."""
    app = App("shop", **options)

    @app.function("f", trigger=event("go"))
    def handler(ctx: ContextSync) -> int:
        return sum(ctx.step.run(f"s{n}", watch.work, n) for n in range(number))

    return app


def hand_over_until_it_rests(bench: Bench) -> int:
    """How many invocations it takes; each has a moment more than the margin."""
    invocations = 0
    while bench.stack.queue.depth() != (0, 0):
        assert bench.step(seconds=HAND_OVER_MARGIN.total_seconds() + 0.5) is True
        invocations += 1
    return invocations


class TestHops:
    """Hand-overs have no limit but the app's own."""

    @pytest.mark.memory_only("moto takes milliseconds a request; tests/waits/test_moto.py has its sizes")
    def test_hundreds_of_hand_overs_in_a_row(self, watch: Watch, bench_of: Callable[[App], Bench]) -> None:
        """A step an invocation, each once: far beyond the sixteen hops at which Lambda's loop detection ends."""
        bench = bench_of(handing_over(watch, 300))
        bench.put("go")
        assert hand_over_until_it_rests(bench) == 300
        assert bench.run().output == sum(range(300))
        assert watch.now == 300
        assert bench.leftovers() == []

    def test_hand_overs_above_the_cap_park_the_run_until_it_is_raised(
        self, watch: Watch, bench_of: Callable[[App], Bench]
    ) -> None:
        """All that was recorded stands: with a larger cap a resume goes on where it was."""
        bench = bench_of(handing_over(watch, 20, max_invocations=8))
        bench.put("go")
        assert hand_over_until_it_rests(bench) == 9
        run = bench.run()
        assert (run.status, run.error and run.error["name"]) == ("PARKED", "TooManyInvocationsError")
        assert len(run.steps) == watch.now == 8
        bench.app = handing_over(watch, 20, max_invocations=100)
        bench.tell(Resume(run_id=run.run_id))
        hand_over_until_it_rests(bench)
        assert bench.run().output == sum(range(20))
        assert watch.now == 20

    @pytest.mark.parametrize("number", [0, -1, 1.5, True, None])
    def test_a_cap_that_is_no_number_is_refused(self, number: Any) -> None:
        """At import, with the mend."""
        with pytest.raises(ConfigError, match=r"max_invocations=.*Mend"):
            App("shop", max_invocations=number)


def suspending(number: int, between: int) -> App:
    """So many steps, with a suspension after each `between` of them."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> int:
        total = 0
        for n in range(number):
            total += await ctx.step.run(f"s{n}", square_async, n)
            if n % between == between - 1:
                await ctx.step.sleep(f"z{n}", "1m")
        return total

    return app


def cost(bench_of: Callable[[App], Bench], number: int, between: int) -> tuple[Bench, list[Requests]]:
    """What each invocation asked for."""
    bench = bench_of(suspending(number, between))
    bench.put("go")
    resumes: list[Requests] = []
    while (at := bench.world.next_at()) is not None:
        bench.clock.move_to(max(at, bench.clock.now()))
        before = bench.requests.snapshot()
        bench.step()
        resumes.append(bench.requests.since(before))
    return bench, resumes


class TestLongHistories:
    """A resume costs one claim, one query of the history, what is new, and one suspension."""

    def test_the_requests_of_a_resume_do_not_grow_with_the_history(self, bench_of: Callable[[App], Bench]) -> None:
        """The first and the last of twenty: what differs is the units that the query reads."""
        bench, resumes = cost(bench_of, 1_000, 50)
        assert bench.run().output == sum(n * n for n in range(1_000))
        _, second, *_, last, _ = resumes
        assert dict(second) == dict(last)
        assert second["Query"] == last["Query"] == 1
        assert second["UpdateItem"] == 2  # claim, suspend
        assert second["PutItem"] == 51  # the new steps and the sleep

    def test_the_units_of_a_resume_are_the_size_of_its_history(self, bench_of: Callable[[App], Bench]) -> None:
        """About 90 bytes a step: 40 to 50 steps of history for one read unit, an eighth of a dollar a million."""
        _, resumes = cost(bench_of, 1_000, 50)
        last = resumes[-1]
        assert 1_000 / 50 <= last.read_units <= 1_000 / 30

    @pytest.mark.memory_only("moto takes milliseconds a request; tests/waits/test_moto.py has its sizes")
    @pytest.mark.slow
    def test_ten_thousand_steps_over_twenty_five_suspensions(self, bench_of: Callable[[App], Bench]) -> None:
        """Requests grow with the steps; each resume reads its history by pages of a megabyte, once.

        About 40 steps a read unit, as docs/limits.md says.
        """
        bench, resumes = cost(bench_of, 10_000, 400)
        assert bench.run().output == sum(n * n for n in range(10_000))
        assert len(resumes) == 26
        total = sum(sum(resume[name] for name in ("PutItem", "UpdateItem")) for resume in resumes)
        assert total == 10_000 + 25 + 2 * 26  # steps, sleeps, and a claim and an end of each invocation
        assert [resume["Query"] for resume in resumes] == [0, *[1] * 24, 2]  # a page is a megabyte
        for index, resume in enumerate(resumes[1:], 1):
            steps = 400 * index
            assert steps / 45 <= resume.read_units <= steps / 35 + 1, f"resume {index}: linear in its history"

    @pytest.mark.memory_only("moto takes milliseconds a request; tests/waits/test_moto.py has its sizes")
    def test_outside_results_of_any_number_are_listed(self, bench_of: Callable[[App], Bench]) -> None:
        """A hundred waits matched one by one: the head stays small, and replay keeps their order."""
        orders: list[list[int]] = []
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> list[int]:
            order: list[int] = []

            async def one(n: int) -> None:
                await ctx.step.wait_for_event(f"w{n}", event="paid", match={"data.n": n}, timeout="7 days")
                order.append(n)

            orders.append(order)
            await asyncio.gather(*(one(n) for n in range(100)))
            return order

        bench = bench_of(app)
        bench.put("go")
        bench.settle()
        told = [n * 37 % 100 for n in range(100)]
        for n in told:
            bench.put("paid", {"n": n})
            bench.settle()
            bench.later(1)
        bench.drain()
        assert bench.run().output == told
        assert all(order == told[: len(order)] for order in orders)
        assert bench.leftovers() == []


def test_more_is_armed_than_one_item_holds(bench_of: Callable[[App], Bench]) -> None:
    """Half a megabyte of steps' ids: it is listed on pages, and cancelled from them."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> int:
        names = [f"{number:03}" + "\U0001f4a9" * 1_020 for number in range(120)]
        waits = (ctx.step.wait_for_event(name, event="e", match={"data.n": name}, timeout="1h") for name in names)
        return len(await asyncio.gather(*waits))

    bench = bench_of(app)
    bench.put("go")
    assert bench.step()
    run = bench.run()
    assert (run.status, len(run.steps), len(bench.waits())) == ("SLEEPING", 120, 120)
    bench.tell(Cancel(run_id=run.run_id, reason="enough"))
    bench.drain()
    assert bench.run().status == "CANCELLED"
    assert bench.leftovers() == []


def test_a_value_from_outside_is_the_same_on_every_replay(bench_of: Callable[[App], Bench]) -> None:
    """Whatever the handler makes of it in later invocations."""
    seen: list[Any] = []
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> None:
        found = await ctx.step.wait_for_event("w", event="paid", timeout="1h")
        seen.append(found and found.model_dump())
        for n in range(3):
            await ctx.step.sleep(f"z{n}", "1m")

    bench = bench_of(app)
    bench.put("go")
    bench.settle()
    bench.put("paid", {"n": 1})
    bench.drain()
    assert len(seen) == 4
    assert all(one == seen[0] for one in seen)
