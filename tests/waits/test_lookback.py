"""Look-back: an event that came before its wait was armed counts too."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from stepbridge import App, ConfigError, Context, EventMatch, event
from tests.waits.bench import START, Bench

PAID = "payment/completed"
DECLARED = [EventMatch(PAID, match="data.k", lookback="2h")]


def app_that_looks_back(*, waits: list[EventMatch] | None = None, nap: str = "10m", **pattern: Any) -> App:
    """A run that naps, then waits, looking back."""
    app = App("shop")

    @app.function("f", trigger=event("go"), waits=DECLARED if waits is None else waits)
    async def handler(ctx: Context) -> Any:
        await ctx.step.sleep("nap", nap)
        options = {"match": "data.k", "lookback": True, **pattern}
        found = await ctx.step.wait_for_event("w", event=PAID, timeout="1h", **options)
        return found and found.data["n"]

    return app


def past_the_nap(bench: Bench, seconds: float = 600) -> None:
    bench.later(seconds)
    bench.settle()


class TestWhatCounts:
    """Since the run's start, within the span, once, and never the trigger."""

    def test_an_event_before_the_wait_counts(self, bench_of: Callable[[App], Bench]) -> None:
        """It arrived during the nap."""
        bench = bench_of(app_that_looks_back())
        bench.put("go", {"k": 1})
        bench.step()
        bench.put(PAID, {"k": 1, "n": 7})
        bench.settle()
        past_the_nap(bench)
        assert bench.run().output == 7
        bench.drain()
        assert bench.leftovers() == []

    def test_an_event_after_the_wait_counts_as_ever(self, bench_of: Callable[[App], Bench]) -> None:
        """Nothing came before; the wait stands."""
        bench = bench_of(app_that_looks_back())
        bench.put("go", {"k": 1})
        bench.step()
        past_the_nap(bench)
        bench.put(PAID, {"k": 1, "n": 8})
        bench.settle()
        assert bench.run().output == 8

    def test_an_event_before_the_run_does_not_count(self, bench_of: Callable[[App], Bench]) -> None:
        """Since the run's start, and no longer."""
        bench = bench_of(app_that_looks_back())
        bench.put(PAID, {"k": 1, "n": 7})
        bench.settle()
        bench.later(1)
        bench.put("go", {"k": 1})
        bench.settle()
        past_the_nap(bench)
        assert bench.run().status == "SLEEPING"

    def test_an_event_that_is_late_counts_by_its_arrival(self, bench_of: Callable[[App], Bench]) -> None:
        """It arrived since the run's start, though it was sent before the trigger."""
        bench = bench_of(app_that_looks_back())
        bench.later(60)
        bench.put("go", {"k": 1})
        bench.step()
        bench.later(60)
        bench.put(PAID, {"k": 1, "n": 7}, ts=START)
        bench.settle()
        past_the_nap(bench)
        assert bench.run().output == 7

    @pytest.mark.parametrize(("ms", "output"), [(-1, None), (0, 7), (1, 7)])
    def test_an_event_that_overtook_the_trigger_counts(
        self, ms: int, output: int | None, bench_of: Callable[[App], Bench]
    ) -> None:
        """It was not sent before the trigger, and is handled a moment before it; one sent before does not count."""
        bench = bench_of(app_that_looks_back())
        bench.later(60)
        bench.put("go", {"k": 1})
        start = bench.receive()
        bench.put(PAID, {"k": 1, "n": 7}, ts=bench.clock.now() + timedelta(milliseconds=ms))
        bench.settle()
        bench.later(0.5)
        bench.handle(start)
        bench.drain()
        assert bench.run().output == output

    @pytest.mark.parametrize(
        ("lookback", "age", "output"),
        [(True, "1h59m", 7), (True, "2h1m", None), ("30m", "29m", 7), ("30m", "31m", None), ("5h", "2h1m", None)],
    )
    def test_the_narrower_of_declared_and_given_span_holds(
        self, lookback: Any, age: str, output: int | None, bench_of: Callable[[App], Bench]
    ) -> None:
        """Declared are two hours; the event is of this age when the wait is armed."""
        seconds = {"29m": 1740, "31m": 1860, "1h59m": 7140, "2h1m": 7260}[age]
        bench = bench_of(app_that_looks_back(nap="3h", lookback=lookback))
        bench.put("go", {"k": 1})
        bench.step()
        bench.later(3 * 3600 - seconds)
        bench.put(PAID, {"k": 1, "n": 7})
        bench.settle()
        bench.drain()
        assert bench.run().output == output

    def test_another_value_does_not_count(self, bench_of: Callable[[App], Bench]) -> None:
        """The kept events are found by the same key as waits."""
        bench = bench_of(app_that_looks_back())
        bench.put("go", {"k": 1})
        bench.step()
        bench.put(PAID, {"k": "1", "n": 7})
        bench.settle()
        past_the_nap(bench)
        assert bench.run().status == "SLEEPING"

    def test_the_earliest_that_matches_is_found(self, bench_of: Callable[[App], Bench]) -> None:
        """In order of arrival."""
        bench = bench_of(app_that_looks_back())
        bench.put("go", {"k": 1})
        bench.step()
        for n in (1, 2, 3):
            bench.put(PAID, {"k": 1, "n": n})
            bench.settle()
            bench.later(1)
        past_the_nap(bench)
        assert bench.run().output == 1

    def test_two_waits_in_a_row_need_two_events(self, bench_of: Callable[[App], Bench]) -> None:
        """Each event at most once a run, whether it was found before or after."""
        app = App("shop")

        @app.function("f", trigger=event("go"), waits=DECLARED)
        async def handler(ctx: Context) -> Any:
            await ctx.step.sleep("nap", "10m")
            found = []
            for index in range(3):
                one = await ctx.step.wait_for_event(
                    f"w{index}", event=PAID, match="data.k", timeout="1h", lookback=True
                )
                found.append(one and one.data["n"])
            return found

        bench = bench_of(app)
        bench.put("go", {"k": 1})
        bench.step()
        bench.put(PAID, {"k": 1, "n": 1}, id="first")
        bench.put(PAID, {"k": 1, "n": 1}, id="first")  # delivered twice
        bench.put(PAID, {"k": 1, "n": 2}, id="second")
        bench.settle()
        past_the_nap(bench)
        bench.put(PAID, {"k": 1, "n": 1}, id="first")  # and once more, when the third wait stands
        bench.settle()
        assert bench.run().status == "SLEEPING"
        bench.put(PAID, {"k": 1, "n": 3})
        bench.drain()
        assert bench.run().output == [1, 2, 3]
        assert bench.leftovers() == []

    def test_an_event_that_was_found_is_not_found_again_after_a_sleep(self, bench_of: Callable[[App], Bench]) -> None:
        """The next wait is armed by another invocation; nor does the same event resolve it that comes once more."""
        app = App("shop")

        @app.function("f", trigger=event("go"), waits=DECLARED)
        async def handler(ctx: Context) -> Any:
            found = []
            for index in range(2):
                await ctx.step.sleep(f"nap{index}", "10m")
                one = await ctx.step.wait_for_event(
                    f"w{index}", event=PAID, match="data.k", timeout="1h", lookback=True
                )
                found.append(one and one.data["n"])
            return found

        bench = bench_of(app)
        bench.put("go", {"k": 1})
        bench.step()
        bench.put(PAID, {"k": 1, "n": 1}, id="first")
        bench.settle()
        past_the_nap(bench)
        past_the_nap(bench)
        bench.put(PAID, {"k": 1, "n": 1}, id="first")
        bench.drain()
        assert bench.run().output == [1, None]
        assert bench.leftovers() == []

    def test_two_branches_look_back_at_two_events(self, bench_of: Callable[[App], Bench]) -> None:
        """Side by side, too, no event is found twice by looking back; which branch finds which is left to chance."""
        import asyncio

        app = App("shop")

        @app.function("f", trigger=event("go"), waits=DECLARED)
        async def handler(ctx: Context) -> Any:
            await ctx.step.sleep("nap", "10m")
            waits = (
                ctx.step.wait_for_event(f"w{n}", event=PAID, match="data.k", timeout="1h", lookback=True)
                for n in range(2)
            )
            return [found and found.data["n"] for found in await asyncio.gather(*waits)]

        bench = bench_of(app)
        bench.put("go", {"k": 1})
        bench.step()
        bench.put(PAID, {"k": 1, "n": 1})
        bench.put(PAID, {"k": 1, "n": 2})
        bench.settle()
        past_the_nap(bench)
        assert sorted(bench.run().output) == [1, 2]

    def test_the_trigger_never_counts(self, bench_of: Callable[[App], Bench]) -> None:
        """Though it is an event of the name, with its value, and kept."""
        app = App("shop")

        @app.function("f", trigger=event(PAID), waits=DECLARED)
        async def handler(ctx: Context) -> Any:
            found = await ctx.step.wait_for_event("w", event=PAID, match="data.k", timeout="1h", lookback=True)
            return found and found.data["n"]

        bench = bench_of(app)
        bench.put(PAID, {"k": 1, "n": 1})
        bench.step()
        assert bench.run().status == "SLEEPING"
        bench.drain()
        assert bench.run().output is None

    @pytest.mark.parametrize(
        "pattern", [{"match": None, "if_exp": "async.data.n > event.data.k"}, {"match": None}, {"match": {"data.n": 7}}]
    )
    def test_every_way_of_matching_can_look_back(
        self, pattern: dict[str, Any], bench_of: Callable[[App], Bench]
    ) -> None:
        """By an expression, by the name alone, by values."""
        waits = [EventMatch(PAID, **pattern, lookback="2h")]
        bench = bench_of(app_that_looks_back(waits=waits, **pattern))
        bench.put("go", {"k": 1})
        bench.step()
        bench.put(PAID, {"n": 7})
        bench.settle()
        past_the_nap(bench)
        assert bench.run().output == 7

    def test_any_of_several_can_look_back(self, bench_of: Callable[[App], Bench]) -> None:
        """The index tells which pattern was found."""
        app = App("shop")

        @app.function("f", trigger=event("go"), waits=[EventMatch("b", match="data.k", lookback="2h")])
        async def handler(ctx: Context) -> Any:
            await ctx.step.sleep("nap", "10m")
            waits = [EventMatch("a", match="data.k"), EventMatch("b", match="data.k", lookback=True)]
            found = await ctx.step.wait_for_any("w", waits, timeout="1h")
            return found and [found[0], found[1].data["n"]]

        bench = bench_of(app)
        bench.put("go", {"k": 1})
        bench.step()
        bench.put("b", {"k": 1, "n": 5})
        bench.settle()
        past_the_nap(bench)
        assert bench.run().output == [1, 5]
        bench.drain()
        assert bench.leftovers() == []


class TestDeclaring:
    """Look-back needs the wait in `waits=`."""

    @pytest.mark.parametrize(
        "waits", [[], [EventMatch(PAID, match="data.k")], [EventMatch(PAID, match="data.other", lookback="2h")]]
    )
    def test_an_undeclared_look_back_is_a_config_error_that_names_the_mend(
        self, waits: list[EventMatch], bench_of: Callable[[App], Bench]
    ) -> None:
        """None, none with a span, or another one's."""
        app = App("shop")

        @app.function("f", trigger=event("go"), waits=waits)
        async def handler(ctx: Context) -> Any:
            try:
                await ctx.step.wait_for_event("w", event=PAID, match="data.k", timeout="1h", lookback=True)
            except ConfigError as error:
                return str(error)
            return "armed"

        bench = bench_of(app)
        bench.put("go", {"k": 1})
        bench.settle()
        assert "Mend: @app.function(..., waits=[EventMatch('payment/completed'" in bench.run().output
        bench.drain()
        assert bench.leftovers() == []

    def test_events_are_kept_only_where_look_back_is_declared(self, bench_of: Callable[[App], Bench]) -> None:
        """Another name costs no write."""
        bench = bench_of(app_that_looks_back())
        before = bench.requests.snapshot()
        bench.put("other", {"k": 1})
        bench.step()
        assert bench.requests.since(before)["PutItem"] == 0
        bench.put(PAID, {"k": 1})
        bench.step()
        assert bench.requests.since(before)["PutItem"] == 1

    def test_a_kept_event_expires_after_the_longest_declared_span(self, bench_of: Callable[[App], Bench]) -> None:
        """And not before."""
        app = App("shop")
        for name, span in (("f", "2h"), ("g", "3 days"), ("h", "1h")):
            app.function(name, trigger=event("go"), waits=[EventMatch(PAID, match="data.k", lookback=span)])(
                lambda ctx: None
            )
        bench = bench_of(app)
        bench.put(PAID, {"k": 1})
        bench.step()
        (kept,) = [item for item in bench.stack.table.items() if str(item["pk"]).startswith("B#")]
        soonest = (START + timedelta(days=3)).timestamp()
        assert soonest <= int(kept["ttl"]) <= soonest + 86_400


class TestRace:
    """Both sides write first, then read: whichever comes first, one of them sees the other."""

    @pytest.mark.parametrize(
        ("when", "request_", "where"),
        [
            pytest.param("before", "table.update", "REG", id="before the signature"),
            pytest.param("before", "table.put", "W#", id="before the wait is put"),
            pytest.param("after", "table.put", "W#", id="after the wait is put"),
            pytest.param("before", "table.query", "B#", id="before looking back"),
            pytest.param("after", "table.query", "B#", id="after looking back"),
            pytest.param("before", "timers.create", "", id="before the timeout is armed"),
            pytest.param("after", "timers.create", "", id="after the timeout is armed"),
        ],
    )
    def test_an_event_that_comes_while_the_wait_is_armed_is_never_lost(
        self, when: str, request_: str, where: str, bench_of: Callable[[App], Bench]
    ) -> None:
        """Another process takes it in at this very request."""
        bench = bench_of(app_that_looks_back())
        bench.put("go", {"k": 1})
        bench.step()
        bench.later(600)
        bench.on(when, request_, where, lambda: bench.meanwhile(PAID, {"k": 1, "n": 7}))
        bench.step()
        assert all(hook.done for hook in bench.hooks)
        bench.drain()
        assert bench.run().output == 7
        assert bench.leftovers() == []

    @pytest.mark.parametrize(
        ("when", "request_", "where"),
        [
            pytest.param("before", "table.put", "B#", id="before the event is kept"),
            pytest.param("after", "table.put", "B#", id="after the event is kept"),
            pytest.param("before", "table.get", "REG", id="before the signatures are read"),
            pytest.param("after", "table.get", "REG", id="after the signatures are read"),
        ],
    )
    def test_a_wait_that_is_armed_while_the_event_comes_in_is_never_missed(
        self, when: str, request_: str, where: str, bench_of: Callable[[App], Bench]
    ) -> None:
        """The other way round: another process arms the wait at this very request of the event's."""
        bench = bench_of(app_that_looks_back())
        bench.put("go", {"k": 1})
        bench.step()
        bench.later(600)
        wake = bench.receive()
        bench.put(PAID, {"k": 1, "n": 7})
        bench.on(when, request_, where, lambda: bench.elsewhere(wake))
        bench.step()
        assert all(hook.done for hook in bench.hooks)
        bench.drain()
        assert bench.run().output == 7
        assert bench.leftovers() == []
