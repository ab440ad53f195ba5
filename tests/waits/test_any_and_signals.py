"""`wait_for_any`, and signals: one waiter by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stepbridge import App, Context, ContextSync, EventMatch, StepError, event
from tests.waits.bench import Bench


def any_app(*, then: bool = False) -> App:
    """Waits for the first of three; `then` once more for the loser's event."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        waits = [
            EventMatch("paid", match="data.k"),
            EventMatch("voided", if_exp="async.data.k == event.data.k || async.data.all"),
            EventMatch("paid", if_exp="async.data.n > 100"),
        ]
        found = await ctx.step.wait_for_any("w", waits, timeout="2h")
        later = await ctx.step.wait_for_event("later", event="voided", timeout="1h") if then else None
        return [found and [found[0], found[1].name, found[1].data], later and later.data]

    return app


class TestAny:
    """The first of several: told which, the losers removed."""

    @pytest.mark.parametrize(
        ("name", "data", "index"),
        [("paid", {"k": 1}, 0), ("voided", {"k": 1}, 1), ("voided", {"all": True}, 1), ("paid", {"n": 101}, 2)],
    )
    def test_the_index_tells_which_pattern_matched(
        self, name: str, data: dict[str, Any], index: int, bench_of: Callable[[App], Bench]
    ) -> None:
        """And the event is the one that did; nothing is left of the others."""
        bench = bench_of(any_app())
        bench.put("go", {"k": 1})
        bench.settle()
        bench.put(name, data)
        bench.settle()
        assert bench.run().output == [[index, name, data], None]
        assert bench.waits() == []
        bench.drain()
        assert bench.leftovers() == []

    @pytest.mark.parametrize("step", [1, -1])
    def test_an_event_that_two_patterns_want_tells_the_first(self, step: int, bench_of: Callable[[App], Bench]) -> None:
        """In the order in which they were given, whatever the index's order."""
        app = App("shop")
        patterns = [EventMatch("paid", match="data.k"), EventMatch("paid", if_exp="async.data.n > 100")]

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> Any:
            found = await ctx.step.wait_for_any("w", patterns[::step], timeout="2h")
            return found and found[0]

        bench = bench_of(app)
        bench.put("go", {"k": 1})
        bench.settle()
        bench.put("paid", {"k": 1, "n": 500})
        bench.settle()
        assert bench.run().output == 0

    @pytest.mark.parametrize(("n", "index"), [(1, 1), (9, 0), (5, 2)])
    def test_patterns_that_compare_the_same_value_are_told_apart(
        self, n: int, index: int, bench_of: Callable[[App], Bench]
    ) -> None:
        """They share their place in the index; each has an item of its own there, and all of them go."""
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> Any:
            patterns = [
                EventMatch("counted", if_exp="async.data.k == event.data.k && async.data.n > 8"),
                EventMatch("counted", if_exp="async.data.k == event.data.k && async.data.n < 2"),
                EventMatch("counted", match="data.k"),
            ]
            found = await ctx.step.wait_for_any("w", patterns, timeout="2h")
            return found and found[0]

        bench = bench_of(app)
        bench.put("go", {"k": 1})
        bench.settle()
        bench.put("counted", {"k": 1, "n": n})
        bench.drain()
        assert bench.run().output == index
        assert bench.leftovers() == []

    def test_nothing_until_the_timeout_is_none(self, bench_of: Callable[[App], Bench]) -> None:
        """And no wait is left."""
        bench = bench_of(any_app())
        bench.put("go", {"k": 1})
        bench.settle()
        bench.put("paid", {"k": 2, "n": 1})
        bench.drain()
        assert bench.run().output == [None, None]
        assert bench.leftovers() == []

    def test_the_first_event_wins_and_the_second_stays_for_a_later_wait(self, bench_of: Callable[[App], Bench]) -> None:
        """Both had matched before the run was told: the loser's event has not been used up."""
        bench = bench_of(any_app(then=True))
        bench.put("go", {"k": 1})
        bench.settle()
        bench.put("paid", {"k": 1}, id="first")
        bench.put("voided", {"k": 1}, id="second")
        first, second = bench.receive(), bench.receive()
        bench.on("after", "table.put", "R#", lambda: bench.elsewhere(second))
        bench.handle(first)
        bench.settle()
        assert bench.run().status == "SLEEPING"  # the second wait has been armed after that event
        bench.put("voided", {"k": 1}, id="second")  # told again, it counts: no wait has consumed it
        bench.drain()
        assert bench.run().output == [[0, "paid", {"k": 1}], {"k": 1}]
        assert bench.leftovers() == []

    def test_the_winner_is_the_same_on_every_replay(self, bench_of: Callable[[App], Bench]) -> None:
        """Though both events stand in the run's past."""
        app = App("shop")
        seen: list[Any] = []

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> Any:
            found = await ctx.step.wait_for_any("w", [EventMatch("a"), EventMatch("b")], timeout="1h")
            seen.append(found and found[0])
            await ctx.step.sleep("z", "1m")
            await ctx.step.sleep("y", "1m")
            return found and found[0]

        bench = bench_of(app)
        bench.put("go")
        bench.settle()
        bench.put("b")
        bench.put("a")
        bench.drain()
        assert set(seen) == {1}
        assert len(seen) == 3


def signal_app() -> App:
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        try:
            return await ctx.step.wait_for_signal("w", ctx.event.data["bell"], timeout="1h")
        except StepError as error:
            return [error.name, error.message]

    @app.function("g", trigger=event("ring"))
    def ring(ctx: ContextSync) -> str:
        ctx.step.send_signal("ring", ctx.event.data["bell"], ctx.event.data.get("data"))
        return "rung"

    return app


class TestSignals:
    """One exact waiter by name."""

    @pytest.mark.parametrize("data", [{"n": 1}, "text", 7, None, [1, 2]], ids=repr)
    def test_the_waiter_gets_the_data(self, data: Any, bench_of: Callable[[App], Bench]) -> None:
        """At once; and its wait is gone."""
        bench = bench_of(signal_app())
        bench.put("go", {"bell": "b"})
        bench.settle()
        bench.put("ring", {"bell": "b", "data": data})
        bench.settle()
        assert (bench.run().status, bench.run().output) == ("COMPLETED", data)
        bench.drain()
        assert bench.leftovers() == []

    def test_only_the_waiter_of_that_name_is_told(self, bench_of: Callable[[App], Bench]) -> None:
        """Names are exact: neither a beginning nor another case."""
        bench = bench_of(signal_app())
        for bell in ("b", "B", "b/1", "bb"):
            bench.put("go", {"bell": bell})
        bench.settle()
        bench.put("ring", {"bell": "b", "data": 1})
        bench.settle()
        assert {run.event.data["bell"]: run.status for run in bench.runs()} == {
            "b": "COMPLETED",
            "B": "SLEEPING",
            "b/1": "SLEEPING",
            "bb": "SLEEPING",
        }

    def test_a_second_waiter_is_refused(self, bench_of: Callable[[App], Bench]) -> None:
        """With an error that names the first; the first goes on waiting, and is told."""
        bench = bench_of(signal_app())
        bench.put("go", {"bell": "b"})
        bench.settle()
        bench.put("go", {"bell": "b"})
        bench.settle()
        first, second = bench.runs()
        name, message = second.output
        assert name == "SignalConflictError"
        assert first.run_id in message
        bench.put("ring", {"bell": "b", "data": 5})
        bench.settle()
        assert bench.runs()[0].output == 5
        bench.drain()
        assert bench.leftovers() == []

    def test_a_second_waiter_of_the_same_run_is_refused_as_well(self, bench_of: Callable[[App], Bench]) -> None:
        """A name has one waiter, whoever it is."""
        import asyncio

        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> Any:
            waits = (ctx.step.wait_for_signal(f"w{n}", "bell", timeout="1h") for n in range(2))
            done = await asyncio.gather(*waits, return_exceptions=True)
            return [one.name if isinstance(one, StepError) else one for one in done]

        bench = bench_of(app)
        bench.put("go")
        bench.drain()
        assert bench.run().output == [None, "SignalConflictError"]
        assert bench.leftovers() == []

    def test_a_name_is_free_again_once_its_waiter_is_done(self, bench_of: Callable[[App], Bench]) -> None:
        """Told, or out of time."""
        bench = bench_of(signal_app())
        for _ in range(2):
            bench.put("go", {"bell": "b"})
            bench.settle()
            bench.put("ring", {"bell": "b", "data": 1})
            bench.settle()
        bench.put("go", {"bell": "b"})
        bench.drain()
        bench.put("go", {"bell": "b"})
        bench.settle()
        bench.put("ring", {"bell": "b", "data": 2})
        bench.settle()
        assert [run.output for run in bench.runs()] == [1, 1, None, 2]

    def test_no_signal_until_the_timeout_is_none(self, bench_of: Callable[[App], Bench]) -> None:
        """As a wait for an event."""
        bench = bench_of(signal_app())
        bench.put("go", {"bell": "b"})
        bench.settle()
        bench.later(3599)
        bench.settle()
        assert bench.run().status == "SLEEPING"
        bench.drain()
        assert (bench.run().status, bench.run().output) == ("COMPLETED", None)
        assert bench.leftovers() == []

    def test_a_signal_without_a_waiter_is_lost(self, bench_of: Callable[[App], Bench]) -> None:
        """Sending succeeds; a waiter that comes later is not told."""
        bench = bench_of(signal_app())
        bench.put("ring", {"bell": "b", "data": 1})
        bench.settle()
        assert bench.run("g").output == "rung"
        bench.put("go", {"bell": "b"})
        bench.settle()
        assert bench.run().status == "SLEEPING"

    def test_two_signals_resolve_the_wait_once(self, bench_of: Callable[[App], Bench]) -> None:
        """The first of them."""
        bench = bench_of(signal_app())
        bench.put("go", {"bell": "b"})
        bench.settle()
        bench.put("ring", {"bell": "b", "data": 1})
        bench.put("ring", {"bell": "b", "data": 2})
        first, second = bench.receive(), bench.receive()
        bench.on("after", "table.put", "R#", lambda: bench.elsewhere(second))
        bench.handle(first)
        bench.drain()
        assert bench.run().output in {1, 2}
        assert bench.leftovers() == []

    def test_a_signal_and_the_timeout_at_once_agree(self, bench_of: Callable[[App], Bench]) -> None:
        """The signal comes while the timeout's wake is about to write its register."""
        bench = bench_of(signal_app())
        bench.put("go", {"bell": "b"})
        bench.settle()
        wake = _wake_of(bench, 3600)
        bench.on("before", "table.put", "R#", lambda: bench.meanwhile("ring", {"bell": "b", "data": 9}))
        bench.handle(wake)
        bench.drain()
        assert bench.run().output == 9
        assert bench.leftovers() == []

    def test_two_waiters_that_arm_at_once_are_not_both_armed(self, bench_of: Callable[[App], Bench]) -> None:
        """Each puts its wait, then looks: one of them sees the other."""
        bench = bench_of(signal_app())
        bench.put("go", {"bell": "b"})
        bench.put("go", {"bell": "b"})
        first, second = bench.receive(), bench.receive()
        bench.on("after", "table.put", "W#", lambda: bench.elsewhere(second))
        bench.handle(first)
        refused = [run for run in bench.runs() if run.status == "COMPLETED"]
        assert len(refused) >= 1
        assert len(bench.waits()) <= 1
        bench.drain()
        assert bench.leftovers() == []


def _wake_of(bench: Bench, seconds: float) -> Any:
    """The timer's message, at its time."""
    bench.later(seconds - 120)
    while bench.world.fire_due():
        pass
    bench.settle()
    bench.later(120)
    bench.world.fire_due()
    return bench.receive()
