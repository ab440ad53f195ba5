"""Time: sleeps to the second, timeouts, scheduled runs, idempotency."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepbridge import App, Cancel, Context, Timeouts, cron, event, invoke_only
from stepbridge.core.cron import parse_cron
from stepbridge.core.messages import Tick
from stepbridge.core.records import Status
from stepbridge.ports import Entry
from stepbridge.testing import Simulation
from tests.faults.order import noted, place
from tests.waits.bench import START, Bench

SEEDS = [None, *range(8)]
"""None: everything in time; else Scheduler is up to a minute late, and all is delivered twice, in any order."""


def sleeping(duration: Any, woken: list[datetime]) -> App:
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> None:
        await ctx.step.sleep("z", duration)
        woken.append(ctx.now)

    return app


class TestSleeps:
    """Never early, and within two seconds."""

    @pytest.mark.parametrize("seed", SEEDS)
    @pytest.mark.parametrize(
        ("duration", "start"),
        [
            (timedelta(hours=2), START),
            (timedelta(days=7), START),
            (timedelta(hours=2), START + timedelta(seconds=59.999)),
            (timedelta(days=7), START + timedelta(seconds=30.5)),
            (timedelta(minutes=15, seconds=1), START + timedelta(seconds=1)),
            (timedelta(minutes=16), START + timedelta(seconds=59)),
            (timedelta(minutes=15), START),
            (timedelta(minutes=3), START + timedelta(seconds=45)),
        ],
        ids=str,
    )
    def test_a_sleep_ends_on_the_second(self, duration: timedelta, start: datetime, seed: int | None) -> None:
        """Whatever Scheduler's grain, the queue's order and the second of the minute."""
        woken: list[datetime] = []
        with Simulation(sleeping(duration, woken), start=start, seed=seed) as sim:
            sim.send("go")
            sim.run_until_idle()
            assert sim.run("f").status == "COMPLETED"
        assert all(timedelta(0) <= at - (start + duration) for at in woken)
        assert woken[0] - (start + duration) <= timedelta(seconds=2)

    @pytest.mark.parametrize("backend", ["memory", "moto"])
    @pytest.mark.parametrize("late", [0, 59])
    @pytest.mark.parametrize("second", [0, 1.5, 59.999])
    @pytest.mark.parametrize("duration", [timedelta(hours=2), timedelta(days=7)], ids=str)
    def test_schedulers_grain_at_either_end_is_not_felt(
        self, duration: timedelta, second: float, late: int, backend: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Every schedule fires at its second, or 59 s after it; on both backends, from any second of a minute."""
        monkeypatch.setattr("stepbridge.memory.dice.Dice.late_seconds", lambda dice: late)
        woken: list[datetime] = []
        start = START + timedelta(seconds=second)
        with Simulation(sleeping(duration, woken), backend=backend, start=start, seed=0) as sim:
            sim.send("go")
            sim.run_until_idle()
            assert sim.run("f").status == "COMPLETED"
        assert all(timedelta(0) <= at - (start + duration) for at in woken)
        assert woken[0] - (start + duration) <= timedelta(seconds=2)

    @pytest.mark.parametrize("seed", SEEDS[:4])
    @pytest.mark.parametrize("days", [365, 366])
    def test_a_sleep_of_a_year_ends_on_the_second(self, days: int, seed: int | None) -> None:
        """Armed once; nothing that the run has recorded expires meanwhile."""
        woken: list[datetime] = []
        with Simulation(sleeping(timedelta(days=days), woken), backend="memory", seed=seed) as sim:
            sim.send("go")
            requests = sim.requests
            sim.run_until_idle()
            assert sim.run("f").status == "COMPLETED"
            assert requests["CreateSchedule"] == 1
        assert timedelta(0) <= woken[0] - (START + timedelta(days=days)) <= timedelta(seconds=2)

    @pytest.mark.parametrize("seed", SEEDS[:5])
    @pytest.mark.parametrize("timeout", ["90s", "2h", "7 days", "366 days"])
    def test_a_timeout_ends_a_wait_on_the_second(self, timeout: str, seed: int | None) -> None:
        """As exact as a sleep."""
        woken: list[datetime] = []
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None:
            await ctx.step.wait_for_event("w", event="never", timeout=timeout)
            woken.append(ctx.now)

        spans = {"90s": 90, "2h": 7200, "7 days": 7 * 86_400, "366 days": 366 * 86_400}
        with Simulation(app, seed=seed) as sim:
            sim.send("go")
            sim.run_until_idle()
        assert 0 <= (woken[0] - START).total_seconds() - spans[timeout] <= 2

    @pytest.mark.parametrize("names", ["ab", "ba"])
    def test_what_comes_due_while_nobody_looks_comes_in_the_order_of_its_time(
        self, names: str, bench_of: Callable[[App], Bench]
    ) -> None:
        """Two timeouts, both over when the late wake comes at last."""
        import asyncio

        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> list[str]:
            order: list[str] = []

            async def wait(name: str, span: str) -> None:
                await ctx.step.wait_for_event(name, event="never", timeout=span)
                order.append(span)

            await asyncio.gather(wait(names[0], "2h"), wait(names[1], "1h"))
            return order

        bench = bench_of(app)
        bench.put("go")
        bench.settle()
        bench.later(3 * 3600)
        bench.drain()
        assert bench.run().output == ["1h", "2h"]

    def test_a_timeout_that_was_not_needed_leaves_nothing(self, bench_of: Callable[[App], Bench]) -> None:
        """One of minutes has a schedule: a delayed message cannot be taken back, and would wake for nothing."""
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None:
            await ctx.step.wait_for_event("w", event="e", timeout="3m")
            await ctx.step.invoke("child", function="child")

        @app.function("child", trigger=invoke_only())
        async def child(ctx: Context) -> None:
            await ctx.step.wait_for_event("w", event="done", timeout="3m")

        bench = bench_of(app)
        bench.put("go")
        bench.settle()
        for name in ("e", "done"):
            bench.put(name)
            bench.settle()
        assert (bench.run().status, bench.leftovers()) == ("COMPLETED", [])

    def test_a_time_whose_schedule_was_deleted_is_armed_anew(self, bench_of: Callable[[App], Bench]) -> None:
        """A wait's timeout that was not needed, and a sleep until the same instant, with nothing due in between."""
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None:
            await ctx.step.wait_for_event("w", event="e", timeout="1h")
            await ctx.step.invoke("child", function="child")
            await ctx.step.sleep_until("z", START + timedelta(hours=1))

        @app.function("child", trigger=invoke_only())
        async def child(ctx: Context) -> None:
            await ctx.step.sleep("nap", "1m")

        bench = bench_of(app)
        bench.put("go")
        bench.settle()
        bench.put("e")
        bench.drain()
        run = bench.run()
        assert (run.status, run.ended_at) == ("COMPLETED", START + timedelta(hours=1))
        assert bench.leftovers() == []

    @pytest.mark.parametrize("kind", ["event", "signal"])
    def test_a_wait_that_a_crash_armed_twice_ends_on_its_first_second(
        self, kind: str, bench_of: Callable[[App], Bench]
    ) -> None:
        """The invocation after the crash finds the item of the one before, and takes its deadline over."""
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None:
            if kind == "signal":
                await ctx.step.wait_for_signal("w", "bell", timeout="1h")
            else:
                await ctx.step.wait_for_event("w", event="e", timeout="1h")

        def die() -> None:
            raise RuntimeError("the answer is lost")

        bench = bench_of(app)
        bench.put("go")
        bench.on("after", "table.put", "W#", die)
        assert not bench.step()
        bench.later(90)
        bench.drain()
        run = bench.run()
        assert (run.status, run.ended_at) == ("COMPLETED", START + timedelta(hours=1))
        assert bench.leftovers() == []

    def test_what_is_armed_is_not_armed_again(self, bench_of: Callable[[App], Bench]) -> None:
        """Each resume costs what it resumes, whatever else the run waits for: a timer, and events that cancel it."""
        import asyncio

        app = App("shop")

        @app.function("f", trigger=event("go"), cancel=[Cancel("stop")])
        async def handler(ctx: Context) -> None:
            waits = (ctx.step.wait_for_event(f"w{n}", event=f"e{n}", timeout="9 days") for n in range(3))
            await asyncio.gather(ctx.step.sleep("z", "1 day"), *waits)

        bench = bench_of(app)
        bench.put("go")
        bench.settle()
        before = bench.requests.snapshot()
        for n in range(3):
            bench.put(f"e{n}")
            bench.settle()
        since = bench.requests.since(before)
        assert (since["CreateSchedule"], since["PutItem"]) == (0, 3)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_sleeps_side_by_side_each_end_on_their_second(self, seed: int | None) -> None:
        """Only the earliest has a timer; each of the others gets its own in turn."""
        import asyncio

        woken: dict[int, datetime] = {}
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None:
            async def nap(minutes: int) -> None:
                await ctx.step.sleep(f"z{minutes}", timedelta(minutes=minutes))
                woken.setdefault(minutes, ctx.now)

            await asyncio.gather(*(nap(minutes) for minutes in (300, 1, 20, 17, 18, 19)))

        with Simulation(app, seed=seed) as sim:
            sim.send("go")
            sim.run_until_idle()
            assert sim.run("f").status == "COMPLETED"
        late = [woken[minutes] - (START + timedelta(minutes=minutes)) for minutes in woken]
        assert len(late) == 6
        assert all(timedelta(0) <= one <= timedelta(seconds=2) for one in late)

    @pytest.mark.parametrize("hours", [0, 24 * 100], ids=["at once", "queued for 100 days"])
    @pytest.mark.parametrize("size", [1, 2_000], ids=["small", "beside the head"])
    def test_what_an_open_run_recorded_does_not_expire_before_its_end(
        self, size: int, hours: int, bench_of: Callable[[App], Bench]
    ) -> None:
        """Whatever it may still wait for: registers, trigger, waits of all kinds, pages of them, items of a map."""
        import asyncio

        app = App("shop")

        @app.function("f", trigger=event("go"), cancel=[Cancel("stop"), Cancel("halt", timeout="1h")])
        async def handler(ctx: Context) -> None:
            await ctx.step.run("big", lambda: "x" * size)
            await asyncio.gather(
                ctx.step.sleep("z", "366 days"),
                ctx.step.map("m", str, range(3)),
                *(
                    ctx.step.wait_for_event(f"w{n}", event="never", match="data.k", timeout="366 days")
                    for n in range(9)
                ),
            )

        bench = bench_of(app)
        began = START + timedelta(hours=hours)
        bench.put("go", {"k": ["%032x" % (n * 7919**9) for n in range(size)]}, ts=began)
        while bench.run().status == "QUEUED" if bench.stack.queue.depth() == (0, 0) else True:
            bench.clock.move_to(max(bench.world.next_at() or START, bench.clock.now()))
            bench.settle()
        far = (began + timedelta(days=366)).timestamp()
        kept = [item for item in bench.stack.table.items() if "ttl" in item]
        assert len(kept) >= 13 + 5
        for_ever = {
            "head" if item["sk"] == "#" else item["pk"] for item in bench.stack.table.items() if item not in kept
        }
        assert for_ever == {"head", "REG"}  # the head's time begins with its run's end
        assert {item.get("en") for item in kept if int(item["ttl"]) < far} == {"halt"}  # it counts for an hour

    def test_a_run_ends_when_its_time_is_over_though_it_waits_for_longer(
        self, bench_of: Callable[[App], Bench]
    ) -> None:
        """It fails at 366 days, on the second, while all its records are there; not when it would have woken."""
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None:
            await ctx.step.sleep("a", "200 days")
            await ctx.step.sleep("b", "300 days")

        bench = bench_of(app)
        bench.put("go")
        bench.drain()
        run = bench.run()
        assert (run.status, run.error and run.error["name"]) == ("FAILED", "RunTimeoutError")
        assert run.ended_at is not None
        assert timedelta(0) <= run.ended_at - (START + timedelta(days=366)) <= timedelta(seconds=2)
        assert bench.leftovers() == []

    def test_an_event_of_no_possible_time_starts_its_run_at_once(self, bench_of: Callable[[App], Bench]) -> None:
        """Anybody may write anything there; it is then EventBridge's own time that counts."""
        bench = bench_of(sleeping("1s", []))
        for ts in (10**20, -1, 10**15):
            detail = json.dumps({"_stepbridge": {"id": f"e{ts}", "ts": ts}})
            bench.world.bus.put([Entry(name="go", source="test", detail=detail)])
        bench.drain()
        assert [run.status for run in bench.runs()] == ["COMPLETED"] * 3
        assert bench.stack.queue.dead == []


class TestCron:
    """One run for each scheduled time, however often it is told."""

    @pytest.fixture
    def app(self) -> App:
        """A function at half past two."""
        app = App("shop")

        @app.function("f", trigger=cron("30 2 * * *", timezone="Europe/Paris"))
        async def handler(ctx: Context) -> Any:
            return ctx.event.data

        return app

    def test_a_scheduled_time_told_often_starts_one_run(self, app: App, bench_of: Callable[[App], Bench]) -> None:
        """Together, one after the other, and after the run's end."""
        bench = bench_of(app)
        for _ in range(3):
            bench.tell(Tick(function_id="f", at=START))
        bench.settle()
        bench.tell(Tick(function_id="f", at=START))
        bench.settle()
        (run,) = bench.runs()
        assert run.output == {"scheduled_at": START.isoformat()}

    def test_each_scheduled_time_starts_a_run_of_its_own(self, app: App, bench_of: Callable[[App], Bench]) -> None:
        """Two days, two runs."""
        bench = bench_of(app)
        for day in range(2):
            bench.tell(Tick(function_id="f", at=START + timedelta(days=day)))
        bench.settle()
        assert len(bench.runs()) == 2

    def test_a_time_told_for_a_function_that_is_gone_is_let_go(
        self, app: App, bench_of: Callable[[App], Bench]
    ) -> None:
        """The schedule outlived the code."""
        bench = bench_of(app)
        bench.tell(Tick(function_id="gone", at=START))
        assert bench.step() is True
        assert bench.runs("gone") == []

    @pytest.mark.parametrize(
        ("expression", "day", "times"),
        [
            pytest.param("30 2 * * *", datetime(2025, 3, 30, tzinfo=UTC), 0, id="a time that the spring skips"),
            pytest.param("30 2 * * *", datetime(2025, 10, 26, tzinfo=UTC), 1, id="a time that the autumn repeats"),
            pytest.param("0 * * * *", datetime(2025, 3, 30, tzinfo=UTC), 24, id="every hour of a day in UTC, spring"),
        ],
    )
    def test_a_day_of_daylight_saving_has_the_runs_that_scheduler_makes(
        self, expression: str, day: datetime, times: int, bench_of: Callable[[App], Bench]
    ) -> None:
        """A skipped time has none, a repeated one has one; each told twice."""
        parsed = parse_cron(expression, "Europe/Paris")
        at = day - timedelta(microseconds=1)
        scheduled = list(itertools.takewhile(lambda at: at < day + timedelta(days=1), _instants(parsed.next_after, at)))
        app = App("shop")

        @app.function("f", trigger=cron(expression, timezone="Europe/Paris"))
        async def handler(ctx: Context) -> None: ...

        bench = bench_of(app)
        for instant in [*scheduled, *scheduled]:
            bench.tell(Tick(function_id="f", at=instant))
        bench.settle()
        assert len(bench.runs()) == times


def _instants(next_after: Callable[[datetime], datetime | None], at: datetime) -> Any:
    while (following := next_after(at)) is not None:
        yield following
        at = following


class TestIdempotency:
    """`idempotency="event.data.x"`: equal values start one run."""

    def app(self, path: str = "event.data.order.id") -> App:
        """A function whose runs are told apart by this value."""
        app = App("shop")

        @app.function("f", trigger=event("go"), idempotency=path)
        async def handler(ctx: Context) -> Any:
            return ctx.event.data.get("n")

        return app

    def test_two_events_of_one_value_start_one_run(self, bench_of: Callable[[App], Bench]) -> None:
        """The first one's; even after the run's end."""
        bench = bench_of(self.app())
        for n in range(3):
            bench.put("go", {"order": {"id": "o-1"}, "n": n})
            bench.settle()
            bench.later(86_400)
        assert [run.output for run in bench.runs()] == [0]

    def test_other_values_start_other_runs(self, bench_of: Callable[[App], Bench]) -> None:
        """Types told apart; numbers by value."""
        bench = bench_of(self.app())
        for n, value in enumerate(("o-1", "o-2", 1, "1", True, None, 1.0, {"a": 1}, {"a": 2})):
            bench.put("go", {"order": {"id": value}, "n": n})
            bench.settle()
        assert sorted(run.output for run in bench.runs()) == [0, 1, 2, 3, 4, 5, 7, 8]  # 1.0 is 1

    def test_events_of_two_names_that_are_equal_there_start_one_run(self, bench_of: Callable[[App], Bench]) -> None:
        """The value stands for the event, whichever trigger took it."""
        app = App("shop")

        @app.function("f", trigger=[event("go"), event("come")], idempotency="event.data.id")
        async def handler(ctx: Context) -> str:
            return ctx.event.name

        bench = bench_of(app)
        for name in ("go", "come"):
            bench.put(name, {"id": 1})
            bench.settle()
        assert [run.output for run in bench.runs()] == ["go"]

    def test_an_event_without_the_value_starts_a_run_of_its_own(self, bench_of: Callable[[App], Bench]) -> None:
        """By its own id, as ever."""
        bench = bench_of(self.app())
        bench.put("go", {"n": 1}, id="a")
        bench.put("go", {"n": 1}, id="b")
        bench.put("go", {"n": 1}, id="b")
        bench.settle()
        assert len(bench.runs()) == 2

    def test_two_functions_keep_their_own_keys(self, bench_of: Callable[[App], Bench]) -> None:
        """One value starts each of them once."""
        app = self.app()

        @app.function("g", trigger=event("go"), idempotency="event.data.order.id")
        async def other(ctx: Context) -> None: ...

        bench = bench_of(app)
        for _ in range(2):
            bench.put("go", {"order": {"id": 1}})
        bench.settle()
        assert [len(bench.runs(name)) for name in ("f", "g")] == [1, 1]

    def test_two_at_once_start_one_run(self, bench_of: Callable[[App], Bench]) -> None:
        """Another process handles the second in the middle of the first."""
        bench = bench_of(self.app())
        bench.on("before", "table.update", "R#", lambda: bench.meanwhile("go", {"order": {"id": 1}, "n": 2}))
        bench.put("go", {"order": {"id": 1}, "n": 1})
        bench.step()
        bench.drain()
        assert [run.output for run in bench.runs()] == [2]


class TestFuture:
    """An event whose time lies in the future starts its runs then."""

    @pytest.mark.parametrize("seed", SEEDS[:4])
    @pytest.mark.parametrize("seconds", [1, 899, 901, 86_400])
    def test_its_run_is_queued_and_starts_on_the_second(self, seconds: int, seed: int | None) -> None:
        """And not before."""
        began: list[datetime] = []
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None:
            began.append(ctx.now)

        due = START + timedelta(seconds=seconds)
        with Simulation(app, seed=seed) as sim:
            sim.send("go", ts=due)
            assert sim.run("f").status == Status.QUEUED
            sim.run_until_idle()
            assert sim.run("f").status == Status.COMPLETED
        assert timedelta(0) <= began[0] - due <= timedelta(seconds=2)

    def test_its_message_is_sent_after_its_head(self, bench_of: Callable[[App], Bench]) -> None:
        """Before it, a wake that is near would find no run, and be forgotten."""
        asked: list[str] = []
        bench = bench_of(sleeping("1m", []))
        bench.ports = noted(bench.ports, asked)
        bench.put("go", ts=START + timedelta(seconds=1))
        bench.step()
        assert place(asked, "put ", "R#") < place(asked, "send ", '"start"')

    def test_its_limits_count_from_its_own_time(self, bench_of: Callable[[App], Bench]) -> None:
        """Neither `Timeouts(start=...)` nor the 366 days of a run have begun before it."""
        app = App("shop")

        @app.function("f", trigger=event("go"), timeouts=Timeouts(start="1m"))
        async def handler(ctx: Context) -> str:
            await ctx.step.sleep("z", "300 days")
            return "done"

        bench = bench_of(app)
        bench.put("go", ts=START + timedelta(days=300))
        bench.drain()
        assert (bench.run().status, bench.run().output) == ("COMPLETED", "done")

    def test_its_large_data_lives_as_long_as_its_run(self, bench_of: Callable[[App], Bench]) -> None:
        """A blob's age begins anew when the run does: what expires by age counts from its writing."""
        bench = bench_of(sleeping("1m", []))
        renewed: list[str] = []
        bench.on("before", "blobs.renew", "", lambda: renewed.append("data"))
        bench.put("go", {"bulk": [n * n * 7919 % 1_000_003 for n in range(9000)]}, ts=START + timedelta(days=100))
        bench.settle()
        assert renewed == []
        bench.drain()
        assert (bench.run().status, renewed) == ("COMPLETED", ["data"])
