"""Ending early: cancellation by event and by hand, timeouts, children, and what is left behind: nothing."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from stepbridge import App, Cancel, Context, ContextSync, EventMatch, StepError, Timeouts, event, invoke_only
from stepbridge.core.ids import child_run_id, step_key
from stepbridge.core.limits import CANCEL_CHECK_SECONDS
from stepbridge.core.messages import Cancel as CancelMessage
from stepbridge.engine.operations import Operations
from stepbridge.engine.workers import Workers
from stepbridge.ports import Entry
from tests.waits.bench import START, Bench


def sleeper(**options: Any) -> App:
    """A step, a wait and a sleep of two days side by side, a step."""
    import asyncio

    app = App("shop")

    @app.function("f", trigger=event("go"), **options)
    async def handler(ctx: Context) -> str:
        await ctx.step.run("before", lambda: None)
        await asyncio.gather(
            ctx.step.wait_for_event("w", event="paid", match="data.k", timeout="9 days"), ctx.step.sleep("z", "2 days")
        )
        await ctx.step.run("after", lambda: None)
        return "done"

    return app


def begun(bench: Bench, data: dict[str, Any] | None = None) -> Bench:
    bench.put("go", data or {"k": 1})
    bench.settle()
    return bench


def sent(bench: Bench, name: str) -> list[dict[str, Any]]:
    """The data of the events of this name that were put on the bus."""
    return [json.loads(entry.detail) for _, entry in bench.world.bus.log if entry.name == name]


def by_hand(bench: Bench, run_id: str = "") -> None:
    """What `Client.cancel` sends."""
    bench.tell(CancelMessage(run_id=run_id or bench.run().run_id, reason="by hand"))


class TestByEvent:
    """`cancel=[Cancel(...)]`."""

    @pytest.mark.parametrize(
        ("canceller", "data", "status"),
        [
            (Cancel("stop"), {}, "CANCELLED"),
            (Cancel("stop", match="data.k"), {"k": 1}, "CANCELLED"),
            (Cancel("stop", match="data.k"), {"k": 2}, "SLEEPING"),
            (Cancel("stop", match={"data.all": True}), {"all": True}, "CANCELLED"),
            (
                Cancel("stop", if_exp="async.data.k == event.data.k && async.data.sure"),
                {"k": 1, "sure": True},
                "CANCELLED",
            ),
            (
                Cancel("stop", if_exp="async.data.k == event.data.k && async.data.sure"),
                {"k": 1, "sure": False},
                "SLEEPING",
            ),
            (Cancel("stop", if_exp="async.data.level > event.data.k"), {"level": 2}, "CANCELLED"),
            (Cancel("stop", if_exp="async.data.level > event.data.k"), {"level": 1}, "SLEEPING"),
        ],
    )
    def test_an_event_that_matches_ends_the_run(
        self, canceller: Cancel, data: dict[str, Any], status: str, bench_of: Callable[[App], Bench]
    ) -> None:
        """And no other event does."""
        bench = begun(bench_of(sleeper(cancel=[canceller])))
        bench.put("stop", data)
        bench.settle()
        assert bench.run().status == status

    def test_any_of_several_ends_the_run(self, bench_of: Callable[[App], Bench]) -> None:
        """The second one."""
        cancel = [Cancel("a", match="data.k"), Cancel("b", match="data.k"), Cancel("b", match="data.other")]
        bench = begun(bench_of(sleeper(cancel=cancel)), {"k": 1, "other": 2})
        bench.put("b", {"k": 1})
        bench.settle()
        assert bench.run().status == "CANCELLED"
        assert bench.leftovers() == []

    def test_it_ends_every_run_that_it_matches(self, bench_of: Callable[[App], Bench]) -> None:
        """And leaves the others alone."""
        bench = bench_of(sleeper(cancel=[Cancel("stop", match="data.k")]))
        for k in (1, 1, 2):
            begun(bench, {"k": k})
        bench.put("stop", {"k": 1})
        bench.settle()
        assert [run.status for run in bench.runs()] == ["CANCELLED", "CANCELLED", "SLEEPING"]

    def test_an_event_older_than_the_run_does_nothing(self, bench_of: Callable[[App], Bench]) -> None:
        """It was sent before the trigger, and is delivered late."""
        bench = bench_of(sleeper(cancel=[Cancel("stop", match="data.k")]))
        bench.later(10)
        begun(bench)
        bench.later(10)
        bench.put("stop", {"k": 1}, ts=START + timedelta(seconds=9.999))
        bench.settle()
        assert bench.run().status == "SLEEPING"
        bench.put("stop", {"k": 1}, ts=START + timedelta(seconds=10))
        bench.settle()
        assert bench.run().status == "CANCELLED"

    @pytest.mark.parametrize(("began_at", "status"), [(10.5, "CANCELLED"), (11.0, "SLEEPING")])
    def test_an_event_whose_time_is_the_bus_s_counts_by_the_second(
        self, began_at: float, status: str, bench_of: Callable[[App], Bench]
    ) -> None:
        """EventBridge's own times are whole seconds: one of the run's second may well be the younger of the two."""
        bench = bench_of(sleeper(cancel=[Cancel("stop", match="data.k")]))
        bench.later(10.9)
        bench.world.bus.put([Entry(name="stop", source="test", detail='{"k": 1}')])
        stop = bench.receive()
        bench.put("go", {"k": 1}, ts=START + timedelta(seconds=began_at))
        bench.later(0.1)
        bench.step()
        bench.handle(stop)
        assert bench.run().status == status

    def test_after_its_timeout_it_does_nothing(self, bench_of: Callable[[App], Bench]) -> None:
        """Counted from the run's start."""
        app = sleeper(cancel=[Cancel("stop", match="data.k", timeout="1h")])
        for seconds, status in ((3599, "CANCELLED"), (3600, "SLEEPING")):
            bench = begun(bench_of(app))
            bench.later(seconds)
            bench.put("stop", {"k": 1})
            bench.settle()
            assert bench.run().status == status

    def test_an_event_sent_in_time_and_delivered_late_still_ends_the_run(
        self, bench_of: Callable[[App], Bench]
    ) -> None:
        """What counts is the event's own time."""
        bench = begun(bench_of(sleeper(cancel=[Cancel("stop", match="data.k", timeout="1h")])))
        bench.later(3700)
        bench.put("stop", {"k": 1}, ts=START + timedelta(minutes=59))
        bench.settle()
        assert bench.run().status == "CANCELLED"

    def test_an_event_of_the_future_ends_the_run_now(self, bench_of: Callable[[App], Bench]) -> None:
        """As waits match it at once: what counts is that it came in time."""
        bench = begun(bench_of(sleeper(cancel=[Cancel("stop", match="data.k", timeout="1h")])))
        bench.later(3540)
        bench.put("stop", {"k": 1}, ts=START + timedelta(hours=2))
        bench.settle()
        assert bench.run().status == "CANCELLED"

    def test_an_event_younger_than_the_trigger_ends_a_run_that_began_after_both(
        self, bench_of: Callable[[App], Bench]
    ) -> None:
        """The trigger lay in the queue, and the event is delivered late: they are told apart by their times."""
        bench = bench_of(sleeper(cancel=[Cancel("stop", match="data.k")]))
        bench.later(60)
        bench.put("go", {"k": 1}, ts=START + timedelta(seconds=10))
        bench.settle()
        bench.put("stop", {"k": 1}, ts=START + timedelta(seconds=11))
        bench.settle()
        assert bench.run().status == "CANCELLED"

    def test_a_run_is_not_cancelled_by_its_own_trigger(self, bench_of: Callable[[App], Bench]) -> None:
        """However often that is delivered; by the next event of the name it is: the latest alone goes on."""
        bench = bench_of(sleeper(cancel=[Cancel("go", match="data.k")]))
        for _ in range(2):
            bench.put("go", {"k": 1}, id="one")
            bench.settle()
        assert [run.status for run in bench.runs()] == ["SLEEPING"]
        bench.later(1)
        bench.put("go", {"k": 1}, id="two")
        bench.settle()
        assert [run.status for run in bench.runs()] == ["CANCELLED", "SLEEPING"]

    def test_a_rerun_is_not_cancelled_by_an_event_older_than_it(self, bench_of: Callable[[App], Bench]) -> None:
        """Though it is younger than the event that both runs began with; it is delivered once more."""
        bench = begun(bench_of(sleeper(cancel=[Cancel("stop", match="data.k")])))
        first = bench.run().run_id
        bench.later(60)
        bench.put("stop", {"k": 1}, id="once")
        bench.settle()
        bench.later(60)
        Operations("shop", bench.readable, ["f"]).rerun(first, "again")
        bench.settle()
        bench.put("stop", {"k": 1}, id="once", ts=START + timedelta(seconds=60))
        bench.settle()
        assert {run.run_id: run.status for run in bench.runs()} == {first: "CANCELLED", "again": "SLEEPING"}
        bench.later(1)
        bench.put("stop", {"k": 1})
        bench.settle()
        assert {run.status for run in bench.runs()} == {"CANCELLED"}

    def test_a_run_that_completes_leaves_no_canceller(self, bench_of: Callable[[App], Bench]) -> None:
        """Nor wait, timer or message."""
        bench = begun(bench_of(sleeper(cancel=[Cancel("stop", match="data.k")])))
        bench.drain()
        assert (bench.run().status, bench.run().output) == ("COMPLETED", "done")
        assert bench.leftovers() == []

    def test_a_run_that_is_queued_for_later_can_be_cancelled(self, bench_of: Callable[[App], Bench]) -> None:
        """Its trigger's time lies in the future; the cancelling event comes before that."""
        bench = bench_of(sleeper(cancel=[Cancel("stop", match="data.k")]))
        bench.put("go", {"k": 1}, ts=START + timedelta(hours=1))
        bench.settle()
        bench.later(60)
        bench.put("stop", {"k": 1}, ts=START + timedelta(hours=2))
        bench.settle()
        assert bench.run().status == "CANCELLED"

    @pytest.mark.parametrize("hours", [0.1, 1])
    def test_a_queued_run_that_is_cancelled_leaves_nothing(
        self, hours: float, bench_of: Callable[[App], Bench]
    ) -> None:
        """Neither timer nor waits, of a delayed message or a schedule; by an event of its own time, too."""
        bench = bench_of(sleeper(cancel=[Cancel("stop", match="data.k"), Cancel("halt")]))
        bench.put("go", {"k": 1}, ts=START + timedelta(hours=hours))
        bench.settle()
        assert len(bench.waits()) == 2
        bench.later(60)
        bench.put("stop", {"k": 1})
        bench.settle()
        assert (bench.run().status, bench.waits(), bench.stack.timers.names()) == ("CANCELLED", [], [])
        bench.drain()
        assert (bench.run().status, bench.leftovers()) == ("CANCELLED", [])

    def test_a_queued_run_arms_its_cancellers_once(self, bench_of: Callable[[App], Bench]) -> None:
        """They stand when it begins; however often its trigger is delivered."""
        bench = bench_of(sleeper(cancel=[Cancel("stop", match="data.k", timeout="30m")]))
        for _ in range(2):
            bench.put("go", {"k": 1}, id="one", ts=START + timedelta(hours=1))
            bench.settle()
        before = bench.waits()
        bench.later(3600)
        bench.settle()
        assert bench.run().status == "SLEEPING"
        assert bench.waits()[:1] == before
        bench.later(29 * 60)  # from the start, not from the trigger
        bench.put("stop", {"k": 1})
        bench.settle()
        assert bench.run().status == "CANCELLED"
        assert bench.leftovers() == []

    def test_an_event_of_the_future_that_comes_twice_arms_for_the_first(self, bench_of: Callable[[App], Bench]) -> None:
        """The same id with other data changes nothing of the run that is queued, and leaves nothing."""
        bench = bench_of(sleeper(cancel=[Cancel("stop", match="data.k"), Cancel("halt")]))
        bench.put("go", {"k": 1}, id="one", ts=START + timedelta(hours=1))
        bench.settle()
        before = bench.waits()
        bench.put("go", {"k": 2}, id="one", ts=START + timedelta(hours=1))
        bench.settle()
        assert bench.waits() == before
        bench.put("stop", {"k": 2})
        bench.settle()
        assert bench.run().status == "QUEUED"
        bench.put("stop", {"k": 1})
        bench.settle()
        assert (bench.run().status, bench.leftovers()) == ("CANCELLED", [])

    def test_what_a_repeated_event_armed_goes_though_it_died_before_it_could_say_so(
        self, bench_of: Callable[[App], Bench]
    ) -> None:
        """It comes back when the run is due, and is what starts it: with the first one's data, and cancellers."""

        def refuse() -> None:
            raise RuntimeError("the table refuses")

        bench = bench_of(sleeper(cancel=[Cancel("stop", match="data.k")]))
        at = START + timedelta(minutes=1)
        bench.put("go", {"k": 1}, id="one", ts=at)
        bench.settle()
        bench.put("go", {"k": 2}, id="one", ts=at)
        again = bench.receive()
        bench.on("after", "table.put", "W#", refuse)
        assert not bench.handle(again)
        assert len(bench.waits()) == 2
        bench.later(60)
        bench.handle(again)
        assert bench.run().event.data == {"k": 1}
        bench.put("stop", {"k": 2})
        bench.settle()
        assert bench.run().status == "SLEEPING"
        bench.put("stop", {"k": 1})
        bench.drain()
        assert (bench.run().status, bench.leftovers()) == ("CANCELLED", [])

    def test_a_run_cancelled_while_it_is_being_queued_leaves_nothing(self, bench_of: Callable[[App], Bench]) -> None:
        """The event comes between its waits and its head; who cancels knows of nothing else."""
        bench = bench_of(sleeper(cancel=[Cancel("stop", match="data.k"), Cancel("halt")]))
        bench.on("before", "table.put", "R#", lambda: bench.meanwhile("stop", {"k": 1}))
        bench.put("go", {"k": 1}, ts=START + timedelta(hours=1))
        bench.settle()
        assert bench.stack.timers.names() == []
        bench.drain()
        assert (bench.waits(), bench.leftovers(), bench.runs()) == ([], [], [])

    def test_a_trigger_that_lacks_the_cancellers_path_fails_the_run(self, bench_of: Callable[[App], Bench]) -> None:
        """At once and clearly; queued for later, when it begins."""
        for ts in (None, START + timedelta(hours=1)):
            bench = bench_of(sleeper(cancel=[Cancel("stop", match="data.other")]))
            bench.put("go", {"k": 1}, ts=ts)
            bench.drain()
            run = bench.run()
            assert (run.status, run.error and run.error["name"]) == ("FAILED", "MatchError")
            assert bench.leftovers() == []

    def test_cancellers_are_no_steps(self, bench_of: Callable[[App], Bench]) -> None:
        """A run's view does not show them."""
        bench = begun(bench_of(sleeper(cancel=[Cancel("stop", match="data.k")])))
        assert [step.step_id for step in bench.run().steps.values()] == ["before", "z", "w"]


class TestByHand:
    """What `Client.cancel` asks for."""

    def test_it_ends_a_sleeping_run(self, bench_of: Callable[[App], Bench]) -> None:
        """With the reason; nothing is left of it."""
        bench = begun(bench_of(sleeper()))
        by_hand(bench)
        bench.settle()
        run = bench.run()
        assert (run.status, run.error and run.error["message"]) == ("CANCELLED", "by hand")
        assert [(step.step_id, step.status) for step in run.steps.values()] == [
            ("before", "COMPLETED"),
            ("z", "SLEEPING"),
        ]
        assert bench.leftovers() == []

    def test_it_removes_waits_that_fill_pages(self, bench_of: Callable[[App], Bench]) -> None:
        """Eighteen, armed in three invocations: more than a head lists, three times."""
        import asyncio

        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None:
            async def six(name: str, nap: str) -> None:
                await ctx.step.sleep(name, nap)
                await asyncio.gather(
                    *(ctx.step.wait_for_event(f"{name}{n}", event="paid", timeout="9 days") for n in range(6))
                )

            await asyncio.gather(six("a", "1m"), six("b", "2m"), six("c", "3m"))

        bench = begun(bench_of(app))
        for _ in range(3):
            bench.later(60)
            bench.settle()
        assert len(bench.waits()) == 18
        by_hand(bench)
        bench.settle()
        assert (bench.run().status, bench.leftovers()) == ("CANCELLED", [])

    def test_a_terminal_run_stays_as_it_is(self, bench_of: Callable[[App], Bench]) -> None:
        """Whatever comes for it."""
        bench = begun(bench_of(sleeper()))
        bench.drain()
        before = bench.run()
        by_hand(bench)
        bench.settle()
        assert bench.run() == before
        assert sent(bench, "stepbridge/function.cancelled") == []

    def test_a_second_cancellation_changes_nothing(self, bench_of: Callable[[App], Bench]) -> None:
        """The world is told once."""
        bench = begun(bench_of(sleeper()))
        by_hand(bench)
        by_hand(bench)
        bench.settle()
        assert len(sent(bench, "stepbridge/function.cancelled")) == 1

    def test_a_parked_run_can_be_cancelled(self, bench_of: Callable[[App], Bench]) -> None:
        """A person has decided."""
        bench = begun(bench_of(sleeper()))
        bench.app = App("shop")
        bench.drain()
        assert bench.run().status == "PARKED"
        by_hand(bench)
        bench.settle()
        assert bench.run().status == "CANCELLED"
        assert bench.leftovers() == []


class TestTelling:
    """`function.cancelled` is sent; `on_failure` runs for timeouts, not for cancellations."""

    def test_a_cancellation_is_told_and_is_no_failure(self, bench_of: Callable[[App], Bench]) -> None:
        """The event says which run, of which function, and what had started it."""
        failures: list[str] = []

        async def mend(ctx: Context) -> None:
            failures.append("mend")

        bench = begun(bench_of(sleeper(cancel=[Cancel("stop")], on_failure=mend)))
        bench.put("stop")
        bench.drain()
        (data,) = sent(bench, "stepbridge/function.cancelled")
        assert (data["app_id"], data["function_id"], data["run_id"]) == ("shop", "f", bench.run().run_id)
        assert data["event"]["data"] == {"k": 1}
        assert (sent(bench, "stepbridge/function.failed"), failures, bench.runs("f-failure")) == ([], [], [])

    def test_a_timeout_is_a_failure(self, bench_of: Callable[[App], Bench]) -> None:
        """`on_failure` runs, with `RunTimeoutError`."""
        failures: list[str] = []

        async def mend(ctx: Context) -> None:
            failures.append(ctx.event.data["error"]["name"])

        bench = begun(bench_of(sleeper(timeouts=Timeouts(finish="1h"), on_failure=mend)))
        bench.drain()
        run = bench.run()
        assert (run.status, run.error and run.error["name"]) == ("FAILED", "RunTimeoutError")
        assert failures == ["RunTimeoutError"]
        assert sent(bench, "stepbridge/function.cancelled") == []
        assert bench.leftovers() == []


class TestTimeouts:
    """`Timeouts(start, finish)`."""

    def test_a_run_that_lasts_too_long_fails_on_the_second(self, bench_of: Callable[[App], Bench]) -> None:
        """Not before; and what it waited for is gone."""
        bench = begun(bench_of(sleeper(timeouts=Timeouts(finish="3h"))))
        while bench.run().status == "SLEEPING":
            bench.clock.move_to(bench.world.next_at() or START)
            bench.settle()
        ended = bench.run().ended_at
        assert ended is not None
        assert timedelta(0) <= ended - (START + timedelta(hours=3)) <= timedelta(seconds=2)
        assert bench.leftovers() == []

    def test_no_step_begins_after_the_time_is_up(self, bench_of: Callable[[App], Bench]) -> None:
        """Between two steps of one invocation, too."""
        clocks: list[Bench] = []
        app = App("shop")

        @app.function("f", trigger=event("go"), timeouts=Timeouts(finish="1m"))
        def handler(ctx: ContextSync) -> None:
            ctx.step.run("long", lambda: clocks[0].later(60))
            ctx.step.run("late", lambda: clocks.append(clocks[0]))

        bench = bench_of(app)
        clocks.append(bench)
        begun(bench)
        run = bench.run()
        assert (run.status, run.error and run.error["name"], len(clocks)) == ("FAILED", "RunTimeoutError", 1)

    @pytest.mark.parametrize(
        ("seconds", "status"),
        [
            (60, "SLEEPING"),
            (60.001, "FAILED"),
        ],
    )
    def test_a_run_that_starts_too_late_fails_at_once(
        self, seconds: float, status: str, bench_of: Callable[[App], Bench]
    ) -> None:
        """It was sent in time, and lay in the queue; no step has run."""
        bench = bench_of(sleeper(timeouts=Timeouts(start="1m")))
        bench.put("go", {"k": 1})
        bench.later(seconds)
        bench.settle()
        assert bench.run().status == status
        assert len(bench.run().steps) == {"SLEEPING": 3, "FAILED": 0}[status]

    def test_a_body_that_waits_for_its_next_attempt_fails_on_the_second(self, bench_of: Callable[[App], Bench]) -> None:
        """The time is over before the next attempt would be."""
        app = App("shop")

        @app.function("f", trigger=event("go"), timeouts=Timeouts(finish="10s"))
        async def handler(ctx: Context) -> None:
            raise ConnectionError

        bench = begun(bench_of(app))
        bench.drain()
        run = bench.run()
        assert (run.status, run.error and run.error["name"]) == ("FAILED", "RunTimeoutError")
        assert (run.ended_at, bench.leftovers()) == (START + timedelta(seconds=10), [])

    def test_a_run_that_ends_in_time_is_not_troubled(self, bench_of: Callable[[App], Bench]) -> None:
        """Its timer goes with it."""
        bench = begun(bench_of(sleeper(timeouts=Timeouts(start="1m", finish="10 days"))))
        bench.drain()
        assert bench.run().status == "COMPLETED"
        assert bench.leftovers() == []


def child_of(app: App, waiting: str = "2 days") -> Any:
    @app.function("child", trigger=invoke_only())
    async def child(ctx: Context) -> str:
        await ctx.step.sleep("z", waiting)
        return "child"

    return child


class TestChildren:
    """A run's end ends the children that it waits for."""

    @pytest.mark.parametrize("how", ["cancel", "timeout"])
    def test_a_child_is_cancelled_with_its_parent(self, how: str, bench_of: Callable[[App], Bench]) -> None:
        """And its own child, too."""
        app = App("shop")
        child = child_of(app)

        @app.function("middle", trigger=invoke_only())
        async def middle(ctx: Context) -> Any:
            return await ctx.step.invoke("c", function=child)

        @app.function("f", trigger=event("go"), cancel=[Cancel("stop")], timeouts=Timeouts(finish="1h"))
        async def handler(ctx: Context) -> Any:
            return await ctx.step.invoke("m", function=middle)

        bench = begun(bench_of(app))
        {"cancel": lambda: bench.put("stop"), "timeout": lambda: None}[how]()
        bench.drain()
        assert bench.run().status == {"cancel": "CANCELLED", "timeout": "FAILED"}[how]
        assert [bench.run(name).status for name in ("middle", "child")] == ["CANCELLED", "CANCELLED"]
        assert bench.leftovers() == []

    def test_a_child_that_has_ended_stays_as_it_is(self, bench_of: Callable[[App], Bench]) -> None:
        """The parent waits for another step when it is cancelled."""
        app = App("shop")
        child = child_of(app, "1m")

        @app.function("f", trigger=event("go"), cancel=[Cancel("stop")])
        async def handler(ctx: Context) -> None:
            await ctx.step.invoke("c", function=child)
            await ctx.step.sleep("z", "1 day")

        bench = begun(bench_of(app))
        bench.later(60)
        bench.settle()
        bench.put("stop")
        bench.settle()
        assert (bench.run().status, bench.run("child").status) == ("CANCELLED", "COMPLETED")
        bench.drain()
        assert bench.leftovers() == []

    @pytest.mark.parametrize("ends", ["cancel", "timeout"])
    @pytest.mark.parametrize("kind", ["invoke", "map", "lanes"])
    @pytest.mark.parametrize("colour", ["async", "sync"])
    def test_children_end_though_the_invocation_that_began_them_died(
        self, colour: str, kind: str, ends: str, bench_of: Callable[[App], Bench]
    ) -> None:
        """The end comes after the crash and before the parent's message is back; what was recorded is not repeated."""
        app = App("shop")
        child = child_of(app)
        effects: list[str] = []
        begun: dict[str, Callable[[Any], Any]] = {
            "invoke": lambda step: step.invoke("c", function=child),
            "map": lambda step: step.map("c", child, range(3)),
            "lanes": lambda step: step.map("c", child, range(3), max_concurrency=2),
        }

        async def handle(ctx: Context) -> None:
            await ctx.step.run("before", effects.append, "before")
            await begun[kind](ctx.step)
            await ctx.step.run("after", effects.append, "after")

        def handle_sync(ctx: ContextSync) -> None:
            ctx.step.run("before", effects.append, "before")
            begun[kind](ctx.step)
            ctx.step.run("after", effects.append, "after")

        handlers: dict[str, Any] = {"async": handle, "sync": handle_sync}
        options = {"cancel": {"cancel": [Cancel("stop")]}, "timeout": {"timeouts": Timeouts(finish="1s")}}[ends]
        app.function("f", trigger=event("go"), **options)(handlers[colour])  # type: ignore[arg-type]
        bench = bench_of(app)
        bench.put("go")
        start = bench.receive()
        bench.on("after", "queue.send", "", lambda: bench.on("before", "table.update", "R#", die))
        assert bench.handle(start) is False
        bench.later(1)
        bench.put("stop")
        bench.drain()
        assert bench.run().status == {"cancel": "CANCELLED", "timeout": "FAILED"}[ends]
        assert {run.status for run in bench.runs("child")} == {"CANCELLED"}
        assert len(bench.runs("child")) == {"invoke": 1, "map": 3, "lanes": 2}[kind]
        assert effects == ["before"]
        assert bench.leftovers() == []

    def test_waits_go_though_the_invocation_that_put_them_died(self, bench_of: Callable[[App], Bench]) -> None:
        """Those of events, of signals, and of further cancellers; a branch of its own each."""
        import asyncio

        app = App("shop")

        @app.function("f", trigger=event("go"), cancel=[Cancel("stop"), Cancel("halt")])
        async def handler(ctx: Context) -> None:
            await asyncio.gather(
                ctx.step.sleep("z", "1m"),
                ctx.step.wait_for_event("w", event="paid", match="data.k", timeout="9 days"),
                ctx.step.wait_for_any("a", [EventMatch("x"), EventMatch("y")], timeout="9 days"),
                ctx.step.wait_for_signal("s", "signal", timeout="9 days"),
            )

        bench = bench_of(app)
        bench.put("go", {"k": 1})
        start = bench.receive()
        bench.on("after", "table.update", "R#", lambda: bench.on("before", "table.update", "R#", die))
        assert bench.handle(start) is False
        assert len(bench.waits()) == 6
        bench.put("stop")
        bench.drain()
        assert bench.run().status == "CANCELLED"
        assert bench.leftovers() == []

    def test_a_cancelled_child_fails_the_parents_step(self, bench_of: Callable[[App], Bench]) -> None:
        """The parent goes on, with a `StepError` that it may catch."""
        app = App("shop")
        child = child_of(app)

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> str:
            try:
                await ctx.step.invoke("c", function=child)
            except StepError as error:
                return f"{error.name}: {error.message}"
            return "none"

        bench = begun(bench_of(app))
        by_hand(bench, bench.run("child").run_id)
        bench.drain()
        assert bench.run().output == "CancelledError: the run was cancelled"

    def test_a_child_whose_start_is_still_on_its_way_never_runs(self, bench_of: Callable[[App], Bench]) -> None:
        """Its cancellation may come before its start."""
        app = App("shop")
        child = child_of(app)

        @app.function("f", trigger=event("go"), cancel=[Cancel("stop")])
        async def handler(ctx: Context) -> Any:
            return await ctx.step.invoke("c", function=child)

        bench = bench_of(app)
        bench.put("go")
        bench.step()
        start_of_child = bench.receive()
        bench.put("stop")
        bench.settle()
        assert bench.handle(start_of_child) is True
        bench.drain()
        assert bench.runs("child") == []
        assert bench.leftovers() == []

    @pytest.mark.parametrize("lanes", [None, 2])
    @pytest.mark.parametrize("how", ["cancel", "timeout"])
    def test_the_children_of_a_map_are_cancelled_with_their_parent(
        self, how: str, lanes: int | None, bench_of: Callable[[App], Bench]
    ) -> None:
        """Those that run, and those that have not begun; one that has ended stays as it is."""
        app = App("shop")
        begins: list[int] = []

        @app.function("child", trigger=invoke_only())
        async def child(ctx: Context) -> int:
            begins.append(ctx.event.data["item"])
            if ctx.event.data["item"] > 0:
                await ctx.step.sleep("z", "2 days")
            return 1

        @app.function("f", trigger=event("go"), cancel=[Cancel("stop")], timeouts=Timeouts(finish="1h"))
        async def handler(ctx: Context) -> Any:
            return await ctx.step.map("m", child, range(8), max_concurrency=lanes)

        bench = begun(bench_of(app))
        begun_by_then = set(begins)
        {"cancel": lambda: bench.put("stop"), "timeout": lambda: None}[how]()
        bench.drain()
        assert bench.run().status == {"cancel": "CANCELLED", "timeout": "FAILED"}[how]
        assert sorted(run.status for run in bench.runs("child")) == ["CANCELLED"] * (len(begun_by_then) - 1) + [
            "COMPLETED"
        ]
        assert set(begins) == begun_by_then
        assert bench.leftovers() == []

    def test_the_items_of_a_map_are_let_go_with_their_run(self, bench_of: Callable[[App], Bench]) -> None:
        """Those that have not begun never do."""
        ITEMS.clear()
        app = App("shop")

        @app.function("f", trigger=event("go"), cancel=[Cancel("stop")])
        async def handler(ctx: Context) -> Any:
            return await ctx.step.map("m", note, range(8))

        bench = bench_of(app)
        bench.put("go")
        bench.step()
        bench.step()
        bench.put("stop")
        messages = bench.stack.queue.receive(10)
        bench.handle(messages[-1])
        assert bench.run().status == "CANCELLED"
        for message in messages[:-1]:
            assert bench.handle(message) is True
        bench.drain()
        assert ITEMS == [0]
        assert bench.leftovers() == []


def die() -> None:
    message = "the sandbox is gone"
    raise OSError(message)


ITEMS: list[int] = []


def note(item: int) -> int:
    ITEMS.append(item)
    return item


class TestWhileTheRunExecutes:
    """A running invocation stops before its next step."""

    @pytest.mark.parametrize("colour", ["async", "sync"])
    def test_in_the_same_process_the_next_step_does_not_begin(
        self, colour: str, bench_of: Callable[[App], Bench]
    ) -> None:
        """The cancellation is handled while a step runs; nothing that it would have armed is left."""
        benches: list[Bench] = []
        effects: list[str] = []

        def strike() -> None:
            effects.append("first")
            _cancel_in(benches[0], benches[0].workers)

        app = _three_steps(colour, strike, effects)
        bench = bench_of(app)
        benches.append(bench)
        begun(bench)
        bench.drain()
        assert (bench.run().status, effects) == ("CANCELLED", ["first"])
        assert bench.leftovers() == []

    @pytest.mark.parametrize("colour", ["async", "sync"])
    def test_in_another_process_it_is_noticed_within_a_second(
        self, colour: str, bench_of: Callable[[App], Bench], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The head is read after a step, once a second at most: the cancellation is seen before the next step."""
        monkeypatch.setattr("stepbridge.engine.recording.CANCEL_CHECK_SECONDS", 0.0)
        benches: list[Bench] = []
        effects: list[str] = []

        def strike() -> None:
            effects.append("first")
            by_hand(benches[0])
            benches[0].elsewhere()

        app = _three_steps(colour, strike, effects)
        bench = bench_of(app)
        benches.append(bench)
        begun(bench)
        bench.drain()
        assert (bench.run().status, effects) == ("CANCELLED", ["first"])
        assert bench.leftovers() == []

    @pytest.mark.parametrize(("pace", "reads"), [(0.0, 0), (CANCEL_CHECK_SECONDS / 8, 12)], ids=["quick", "slow"])
    def test_the_head_is_not_read_for_every_step(
        self, bench_of: Callable[[App], Bench], monkeypatch: pytest.MonkeyPatch, pace: float, reads: int
    ) -> None:
        """A hundred steps that take no time cost no read of it, slower ones a read a second; beside the signatures'."""
        ticks = itertools.count()  # the watch is looked at once a step, and once more when the head is read
        watch = SimpleNamespace(monotonic=lambda: next(ticks) * pace)
        monkeypatch.setattr("stepbridge.engine.recording.time", watch)
        app = App("shop")

        @app.function("f", trigger=event("go"))
        def handler(ctx: ContextSync) -> None:
            for index in range(100):
                ctx.step.run(f"s{index}", lambda: None)

        bench = bench_of(app)
        bench.put("go")
        before = bench.requests.snapshot()
        bench.step()
        assert bench.requests.since(before)["GetItem"] == 1 + reads

    def test_the_world_is_told_once_by_who_cancelled_it(self, bench_of: Callable[[App], Bench]) -> None:
        """The invocation that meets the cancelled head between its write and its telling says nothing."""
        benches: list[Bench] = []
        app = _three_steps("sync", lambda: _cancel_in(benches[0], Workers(blocking=False)), [])
        bench = bench_of(app)
        benches.append(bench)
        bench.put("go")
        start = bench.receive()
        bench.on("before", "bus.put", "", lambda: bench.elsewhere(start))
        bench.handle(start)
        bench.drain()
        assert bench.run().status == "CANCELLED"
        assert len(sent(bench, "stepbridge/function.cancelled")) == 1

    @pytest.mark.parametrize("ends", [False, True], ids=["suspends", "ends"])
    def test_what_it_had_armed_is_removed(self, bench_of: Callable[[App], Bench], *, ends: bool) -> None:
        """A wait, a child and a map's children, armed in the very invocation that is cancelled in its middle."""
        import asyncio

        benches: list[Bench] = []
        app = App("shop")
        child = child_of(app)

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None:
            tasks = [
                asyncio.create_task(ctx.step.wait_for_event("w", event="paid", timeout="9 days")),
                asyncio.create_task(ctx.step.invoke("c", function=child)),
                asyncio.create_task(ctx.step.map("m", child, range(3))),
            ]
            await ctx.step.run("strike", strike)
            if ends:
                for task in tasks:
                    task.cancel()
            else:
                await asyncio.gather(*tasks)

        def strike() -> None:
            by_hand(benches[0])
            messages = benches[0].stack.queue.receive(10)
            benches[0].elsewhere(messages[-1])

        bench = bench_of(app)
        benches.append(bench)
        begun(bench)
        bench.drain()
        assert bench.run().status == "CANCELLED"
        assert {run.status for run in bench.runs("child")} <= {"CANCELLED"}
        assert bench.leftovers() == []

    def test_a_run_cancelled_before_its_start_never_begins(self, bench_of: Callable[[App], Bench]) -> None:
        """Its id is known before it is: a child's, say."""
        app = App("shop")
        child = child_of(app)

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> Any:
            try:
                return await ctx.step.invoke("c", function=child)
            except StepError as error:
                return error.name

        bench = bench_of(app)
        bench.put("go")
        bench.step()
        start = bench.receive()
        by_hand(bench, child_run_id(bench.run().run_id, step_key("c", 0)))
        bench.settle()
        bench.handle(start)
        bench.drain()
        assert bench.run().output == "CancelledError"
        assert bench.runs("child") == []
        assert sent(bench, "stepbridge/function.cancelled") == []  # there was no run


def _three_steps(colour: str, strike: Callable[[], None], effects: list[str]) -> App:
    app = App("shop")

    async def handle(ctx: Context) -> None:
        await ctx.step.run("first", strike)
        await ctx.step.run("second", effects.append, "second")
        await ctx.step.sleep("z", "1 day")

    def handle_sync(ctx: ContextSync) -> None:
        ctx.step.run("first", strike)
        ctx.step.run("second", effects.append, "second")
        ctx.step.sleep("z", "1 day")

    handlers: dict[str, Any] = {"async": handle, "sync": handle_sync}
    app.function("f", trigger=event("go"), cancel=[Cancel("stop")])(handlers[colour])
    return app


def _cancel_in(bench: Bench, workers: Workers) -> None:
    """Another message of the same process: it knows which runs it executes."""
    by_hand(bench)
    bench.elsewhere(bench.receive(), workers)
