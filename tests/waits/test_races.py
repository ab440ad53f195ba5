"""Races, each forced in each order: decided once, by one conditional write, and told to the run once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from stepbridge import App, Cancel, Context, ContextSync, event
from stepbridge.core.ids import step_key
from stepbridge.core.messages import Cancel as CancelMessage
from stepbridge.core.messages import Go
from stepbridge.ports import Message
from tests.waits.bench import Bench


@pytest.fixture(params=["memory", "moto"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each order is forced on both."""
    return str(request.param)


def waiting_app(*, timeout: str = "1m", middle: Callable[[], Any] | None = None) -> App:
    """A step, a wait, a step; `middle` happens inside the first step."""
    app = App("shop")

    @app.function("f", trigger=event("go"), cancel=[Cancel("stop", match="data.k")])
    async def handler(ctx: Context) -> Any:
        await ctx.step.run("before", middle or (lambda: None))
        found = await ctx.step.wait_for_event("w", event="paid", match="data.k", timeout=timeout)
        await ctx.step.run("after", lambda: None)
        return found and found.data["n"]

    return app


def armed(bench: Bench) -> None:
    """The run waits."""
    bench.put("go", {"k": 1})
    bench.step()
    assert len(bench.run().steps) == 2


def two(bench: Bench, first: Callable[[], None], second: Callable[[], None]) -> tuple[Message, Message]:
    """Two messages, in this order."""
    first()
    one = bench.receive()
    second()
    return one, bench.receive()


def event_message(bench: Bench, n: int = 1, id: str = "") -> Message:
    bench.put("paid", {"k": 1, "n": n}, id=id)
    return bench.receive()


def died_armed(bench: Bench, data: dict[str, Any] | None = None) -> None:
    """A run whose invocation failed once its wait's item stood, before any list named it."""
    bench.put("go", data)
    bench.on("after", "table.put", "W#", refuse)
    assert not bench.step()
    assert len(bench.waits()) == 1
    bench.later(1)


def refuse() -> None:
    """The answer to a request is lost."""
    raise RuntimeError("the answer is lost")


POINTS = [
    pytest.param("before", "table.get", "REG", id="before the signatures are read"),
    pytest.param("before", "table.query", "W#", id="before the waits are read"),
    pytest.param("after", "table.query", "W#", id="after the waits are read"),
    pytest.param("before", "table.put", "R#", id="before the register is put"),
    pytest.param("after", "table.put", "R#", id="after the register is put"),
    pytest.param("before", "table.update", "R#", id="before the run is claimed"),
    pytest.param("after", "table.update", "R#", id="after the run is claimed"),
    pytest.param("after", "table.query", "R#", id="after the history is read"),
    pytest.param("before", "table.delete", "W#", id="before the wait is deleted"),
    pytest.param("after", "table.delete", "W#", id="after the wait is deleted"),
]
"""Moments of an event that resolves a wait."""


class TestEventAgainstTimeout:
    """Whichever register is put first is what the wait comes to."""

    def test_the_event_comes_first(self, bench_of: Callable[[App], Bench]) -> None:
        """The timeout's wake, right behind, changes nothing."""
        bench = bench_of(waiting_app())
        armed(bench)
        bench.later(60)
        timeout = bench.receive()
        bench.handle(event_message(bench))
        assert bench.handle(timeout) is True
        bench.drain()
        assert (bench.run().status, bench.run().output) == ("COMPLETED", 1)
        assert bench.leftovers() == []

    def test_the_timeout_comes_first(self, bench_of: Callable[[App], Bench]) -> None:
        """The event, right behind, finds no wait."""
        bench = bench_of(waiting_app())
        armed(bench)
        bench.later(60)
        timeout = bench.receive()
        late = event_message(bench)
        bench.handle(timeout)
        assert bench.handle(late) is True
        bench.drain()
        assert (bench.run().status, bench.run().output) == ("COMPLETED", None)
        assert bench.leftovers() == []

    @pytest.mark.parametrize(("when", "request_", "where"), POINTS)
    def test_the_timeout_strikes_in_the_middle_of_the_event(
        self, when: str, request_: str, where: str, bench_of: Callable[[App], Bench]
    ) -> None:
        """At this request of the event's, another process handles the timeout's wake."""
        bench = bench_of(waiting_app())
        armed(bench)
        bench.later(60)
        timeout = bench.receive()
        message = event_message(bench)
        bench.on(when, request_, where, lambda: bench.elsewhere(timeout))
        bench.handle(message)
        assert all(hook.done for hook in bench.hooks)
        bench.drain()
        run = bench.run()
        assert (run.status, run.output) in {("COMPLETED", 1), ("COMPLETED", None)}
        assert run.output == (run.steps["w"].output and run.steps["w"].output["data"]["n"])
        assert run.steps["after"].attempts == 1
        assert bench.leftovers() == []

    @pytest.mark.parametrize(
        ("when", "request_", "where", "output"),
        [
            pytest.param("before", "table.update", "R#", 1, id="before the run is claimed"),
            pytest.param("after", "table.update", "R#", 1, id="after the run is claimed"),
            pytest.param("after", "table.query", "R#", 1, id="after the history is read"),
            pytest.param("before", "table.put", "R#", 1, id="before the register is put"),
            pytest.param("after", "table.put", "R#", None, id="after the register is put"),
            pytest.param("before", "table.delete", "W#", None, id="before the wait is deleted"),
        ],
    )
    def test_the_event_comes_in_the_middle_of_the_timeout(
        self, when: str, request_: str, where: str, output: int | None, bench_of: Callable[[App], Bench]
    ) -> None:
        """The register decides; the event's message is kept until its run has been told."""
        bench = bench_of(waiting_app())
        armed(bench)
        bench.later(60)
        timeout = bench.receive()
        message = event_message(bench)
        bench.on(when, request_, where, lambda: bench.elsewhere(message))
        bench.handle(timeout)
        assert all(hook.done for hook in bench.hooks)
        bench.drain()
        assert (bench.run().status, bench.run().output) == ("COMPLETED", output)
        assert bench.leftovers() == []

    def test_an_event_that_beat_the_timeout_is_consumed(self, bench_of: Callable[[App], Bench]) -> None:
        """The invocation that was to time the wait out takes its result over, and the next wait is another's."""
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> Any:
            one = await ctx.step.wait_for_event("w1", event="paid", match="data.k", timeout="1m")
            two = await ctx.step.wait_for_event("w2", event="paid", match="data.k", timeout="1m")
            return [one and one.data["n"], two and two.data["n"]]

        bench = bench_of(app)
        bench.put("go", {"k": 1})
        bench.step()
        bench.later(60)
        bench.on("before", "table.put", "R#", lambda: bench.meanwhile("paid", {"k": 1, "n": 1}, id="p"))
        bench.step()
        bench.put("paid", {"k": 1, "n": 1}, id="p")
        bench.drain()
        assert bench.run().output == [1, None]
        assert bench.leftovers() == []


class TestTwoEvents:
    """The first register stands; the run sees one event, always the same."""

    @pytest.mark.parametrize(("when", "request_", "where"), POINTS)
    def test_a_second_event_comes_in_the_middle_of_the_first(
        self, when: str, request_: str, where: str, bench_of: Callable[[App], Bench]
    ) -> None:
        """At this request, another process handles it whole."""
        bench = bench_of(waiting_app())
        armed(bench)
        first, second = two(
            bench, lambda: bench.put("paid", {"k": 1, "n": 1}), lambda: bench.put("paid", {"k": 1, "n": 2})
        )
        bench.on(when, request_, where, lambda: bench.elsewhere(second))
        bench.handle(first)
        assert all(hook.done for hook in bench.hooks)
        bench.drain()
        run = bench.run()
        assert run.output in {1, 2}
        assert run.output == run.steps["w"].output["data"]["n"]
        assert (run.status, run.steps["after"].attempts) == ("COMPLETED", 1)
        assert bench.leftovers() == []

    @pytest.mark.parametrize(("when", "request_", "where"), POINTS)
    def test_the_same_event_comes_twice_at_once(
        self, when: str, request_: str, where: str, bench_of: Callable[[App], Bench]
    ) -> None:
        """A duplicate in the middle of itself is the same event."""
        bench = bench_of(waiting_app())
        armed(bench)
        first, second = event_message(bench, 1, "same"), event_message(bench, 1, "same")
        bench.on(when, request_, where, lambda: bench.elsewhere(second))
        bench.handle(first)
        bench.drain()
        assert (bench.run().status, bench.run().output) == ("COMPLETED", 1)
        assert bench.leftovers() == []

    def test_a_redelivered_event_changes_nothing(self, bench_of: Callable[[App], Bench]) -> None:
        """Long after it was handled, and after the run's end."""
        bench = bench_of(waiting_app())
        armed(bench)
        message = event_message(bench)
        bench.handle(message)
        before = bench.run()
        assert bench.handle(message) is True
        bench.drain()
        assert bench.run() == before

    def test_a_redelivered_event_does_not_resolve_the_runs_next_wait(self, bench_of: Callable[[App], Bench]) -> None:
        """It has been consumed."""
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> Any:
            one = await ctx.step.wait_for_event("w1", event="paid", match="data.k", timeout="1m")
            two = await ctx.step.wait_for_event("w2", event="paid", match="data.k", timeout="1m")
            return [one and one.data["n"], two and two.data["n"]]

        bench = bench_of(app)
        bench.put("go", {"k": 1})
        bench.step()
        message = event_message(bench, 1)
        bench.handle(message)
        assert bench.handle(message) is True
        bench.drain()
        assert bench.run().output == [1, None]
        assert bench.leftovers() == []

    def test_an_event_in_the_middle_of_a_second_arming_is_consumed(self, bench_of: Callable[[App], Bench]) -> None:
        """A crash had left the wait: the event takes it away just before it is put again, and resolves no other."""
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> Any:
            one = await ctx.step.wait_for_event("w1", event="paid", match="data.k", timeout="1m")
            two = await ctx.step.wait_for_event("w2", event="paid", match="data.k", timeout="1m")
            return [one and one.data["n"], two and two.data["n"]]

        bench = bench_of(app)
        died_armed(bench, {"k": 1})
        bench.on("before", "table.put", "W#", lambda: bench.meanwhile("paid", {"k": 1, "n": 1}, id="p"))
        bench.step()
        bench.put("paid", {"k": 1, "n": 1}, id="p")
        bench.drain()
        assert bench.run().output == [1, None]
        assert bench.leftovers() == []

    def test_a_signal_in_the_middle_of_a_second_arming_takes_its_wait_away(
        self, bench_of: Callable[[App], Bench]
    ) -> None:
        """Left behind, it would keep the signal's name from every later waiter."""
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> Any:
            return await ctx.step.wait_for_signal("w", "bell", timeout="1m")

        @app.function("bell", trigger=event("ring"))
        async def bell(ctx: Context) -> None:
            await ctx.step.send_signal("s", "bell", 7)

        bench = bench_of(app)
        died_armed(bench)
        bench.on("before", "table.put", "W#", lambda: bench.meanwhile("ring"))
        bench.step()
        assert (bench.run().output, bench.waits()) == (7, [])
        bench.drain()
        assert bench.leftovers() == []


LONG = "\U0001f4a9" * 250


class TestLongIds:
    """Ids are strangers' texts: what a wait keeps of the events that its run has used is short."""

    def test_events_of_any_ids_resolve_one_wait_each(self, bench_of: Callable[[App], Bench]) -> None:
        """They fit into the wait's item however many there are, and one that comes again is known by its hash."""
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> Any:
            for number in range(6):
                await ctx.step.wait_for_event(f"w{number}", event="paid", match={"data.k": 1}, timeout="1h")
            return "paid"

        bench = bench_of(app)
        bench.put("go")
        bench.step()
        for number in range(5):
            message = event_message(bench, 1, id=f"{LONG}{number}")
            bench.handle(message)
            assert bench.handle(message) is True
        (wait,) = bench.waits()
        assert wait["sk"].endswith(step_key("w5", 0))
        assert len(wait["no"]) < 300
        wait["no"] = json.dumps(["e1", f"{LONG}last"])  # as earlier versions wrote it
        bench.ports.table.put(wait)
        bench.handle(event_message(bench, 1, id=f"{LONG}last"))
        assert bench.run().status == "SLEEPING"
        bench.handle(event_message(bench, 1, id=LONG))
        assert bench.run().output == "paid"


class TestEventAgainstCancellation:
    """A run that has ended is told of nothing more; a run that was told before may go on until its next write."""

    @pytest.mark.parametrize(("when", "request_", "where"), POINTS)
    @pytest.mark.parametrize("how", ["event", "client"])
    def test_a_cancellation_strikes_in_the_middle_of_the_event(
        self, when: str, request_: str, where: str, how: str, bench_of: Callable[[App], Bench]
    ) -> None:
        """At this request of the event's, another process cancels the run: terminal once, nothing left."""
        bench = bench_of(waiting_app())
        armed(bench)
        message = event_message(bench)
        run_id = bench.run().run_id
        strikes: dict[str, Callable[[], None]] = {
            "event": lambda: bench.put("stop", {"k": 1}),
            "client": lambda: bench.tell(CancelMessage(run_id=run_id, reason="by hand")),
        }
        strikes[how]()
        cancellation = bench.receive()
        bench.on(when, request_, where, lambda: bench.elsewhere(cancellation))
        bench.handle(message)
        assert all(hook.done for hook in bench.hooks)
        bench.drain()
        assert bench.run().status in {"CANCELLED", "COMPLETED"}
        assert bench.leftovers() == []

    def test_the_event_comes_after_the_cancellation(self, bench_of: Callable[[App], Bench]) -> None:
        """It finds no wait."""
        bench = bench_of(waiting_app())
        armed(bench)
        cancellation, message = two(
            bench, lambda: bench.put("stop", {"k": 1}), lambda: bench.put("paid", {"k": 1, "n": 1})
        )
        bench.handle(cancellation)
        bench.handle(message)
        bench.drain()
        assert bench.run().status == "CANCELLED"
        assert len(bench.run().steps) == 1
        assert bench.leftovers() == []

    @pytest.mark.parametrize(
        ("when", "request_", "where"),
        [
            pytest.param("before", "table.update", "R#", id="before the head is cancelled"),
            pytest.param("after", "table.update", "R#", id="after the head is cancelled"),
            pytest.param("before", "bus.put", "", id="before the world is told"),
            pytest.param("before", "table.delete", "W#", id="before the waits are deleted"),
        ],
    )
    def test_the_event_comes_in_the_middle_of_the_cancellation(
        self, when: str, request_: str, where: str, bench_of: Callable[[App], Bench]
    ) -> None:
        """The head decides which was first."""
        bench = bench_of(waiting_app())
        armed(bench)
        cancellation, message = two(
            bench, lambda: bench.put("stop", {"k": 1}), lambda: bench.put("paid", {"k": 1, "n": 1})
        )
        bench.on(when, request_, where, lambda: bench.elsewhere(message))
        bench.handle(cancellation)
        assert all(hook.done for hook in bench.hooks)
        bench.drain()
        assert bench.run().status in {"CANCELLED", "COMPLETED"}
        told = [entry.detail for _, entry in bench.world.bus.log if entry.name == "stepbridge/function.cancelled"]
        ids = {json.loads(detail)["_stepbridge"]["id"] for detail in told}  # twice by a duplicate, under one id
        assert len(ids) == [bench.run().status].count("CANCELLED")
        assert bench.leftovers() == []


class TestWhileTheRunExecutes:
    """The run holds the lease; what comes for it meanwhile is never lost and never handled twice."""

    def test_an_event_for_a_wait_that_a_branch_has_armed_comes_while_another_branch_runs(
        self, bench_of: Callable[[App], Bench]
    ) -> None:
        """From inside a step: its register is put at once, its message comes back until the run has heard."""
        benches: list[Bench] = []
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> Any:
            async def busy() -> str:
                await ctx.step.sleep("first", "1s")
                return await ctx.step.run("busy", strike)

            waits = ctx.step.wait_for_event("w", event="paid", match="data.k", timeout="1h")
            found, done = await asyncio.gather(waits, busy())
            return [found and found.data["n"], done]

        def strike() -> str:
            benches[0].meanwhile("paid", {"k": 1, "n": 3})
            return "busy"

        bench = bench_of(app)
        benches.append(bench)
        bench.put("go", {"k": 1})
        bench.drain()
        assert (bench.run().status, bench.run().output) == ("COMPLETED", [3, "busy"])
        assert bench.leftovers() == []

    def test_an_event_before_its_wait_is_armed_does_not_count_without_look_back(
        self, bench_of: Callable[[App], Bench]
    ) -> None:
        """It came while an earlier step ran."""
        benches: list[Bench] = []
        bench = bench_of(waiting_app(middle=lambda: benches[0].meanwhile("paid", {"k": 1, "n": 3})))
        benches.append(bench)
        armed(bench)
        bench.drain()
        assert bench.run().output is None
        assert bench.leftovers() == []

    @pytest.mark.parametrize(
        ("when", "request_", "where"),
        [
            pytest.param("after", "table.put", "W#", id="after the wait is put"),
            pytest.param("before", "queue.send", "", id="before the timeout is armed"),
            pytest.param("after", "queue.send", "", id="after the timeout is armed"),
        ],
    )
    def test_an_event_between_arming_and_suspending_is_never_lost(
        self, when: str, request_: str, where: str, bench_of: Callable[[App], Bench]
    ) -> None:
        """Its register is put, its wake bounces off the lease, and comes back."""
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> Any:
            found = await ctx.step.wait_for_event("w", event="paid", match="data.k", timeout="1m")
            return found and found.data["n"]

        bench = bench_of(app)
        bench.put("go", {"k": 1})
        start = bench.receive()
        bench.on(when, request_, where, lambda: bench.meanwhile("paid", {"k": 1, "n": 4}))
        bench.handle(start)
        assert bench.hooks[0].done
        bench.drain()
        assert (bench.run().status, bench.run().output) == ("COMPLETED", 4)
        assert bench.leftovers() == []

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_an_event_around_the_write_of_the_suspension_is_never_lost(
        self, when: str, bench_of: Callable[[App], Bench]
    ) -> None:
        """Before it the lease is held; after it the run is free."""
        bench = bench_of(waiting_app())
        bench.put("go", {"k": 1})
        start = bench.receive()
        bench.on("after", "queue.send", "", lambda: None)
        send = bench.hooks[0]

        def arm() -> None:
            bench.on(when, "table.update", "R#", lambda: bench.meanwhile("paid", {"k": 1, "n": 5}))

        send.action = arm
        bench.handle(start)
        assert [hook.done for hook in bench.hooks] == [True, True]
        bench.drain()
        assert (bench.run().status, bench.run().output) == ("COMPLETED", 5)
        assert bench.leftovers() == []

    def test_a_wake_during_the_lease_comes_back(self, bench_of: Callable[[App], Bench]) -> None:
        """Never acknowledged, so the run is advanced once more after it."""
        benches: list[Bench] = []
        back: list[int] = []

        def strike() -> None:
            bench = benches[0]
            bench.tell(Go(run_id=bench.run().run_id, why="test"))
            message = bench.receive()
            bench.elsewhere(message)
            back.append(bench.stack.queue.depth()[1])

        bench = bench_of(waiting_app(middle=strike))
        benches.append(bench)
        armed(bench)
        assert back == [2]  # the run's own message and the wake: both are still in the queue
        bench.drain()
        assert bench.run().status == "COMPLETED"
        assert bench.leftovers() == []

    def test_two_wakes_at_once_are_one_after_the_other(self, bench_of: Callable[[App], Bench]) -> None:
        """The second bounces off the first's lease; each step runs once."""
        benches: list[Bench] = []
        effects: list[str] = []
        app = App("shop")

        @app.function("f", trigger=event("go"))
        def handler(ctx: ContextSync) -> None:
            ctx.step.sleep("z", "1s")
            ctx.step.run("after", after)

        def after() -> None:
            effects.append("after")
            second = Go(run_id=benches[0].run().run_id, why="second")
            benches[0].tell(second)
            benches[0].elsewhere()

        bench = bench_of(app)
        benches.append(bench)
        bench.put("go")
        bench.drain()
        assert (bench.run().status, effects) == ("COMPLETED", ["after"])
        assert bench.leftovers() == []


class TestOneEventForMany:
    """One event resolves every wait that it matches, and starts every function that it triggers."""

    def test_it_wakes_all_runs_and_starts_two_functions(self, bench_of: Callable[[App], Bench], backend: str) -> None:
        """All but one by messages, ten a call; the waits go once their runs have been told."""
        app = waiting_app(timeout="7 days")
        for name in ("g", "h"):
            app.function(name, trigger=event("paid"))(_nothing)
        bench = bench_of(app)
        runs = 100 if backend == "memory" else 20
        for _ in range(runs):
            bench.put("go", {"k": 1})
        bench.settle()
        message = event_message(bench, 6)
        before = bench.requests.snapshot()
        bench.handle(message)
        asked = bench.requests.since(before)
        assert (asked["SendMessageBatch"], asked["SendMessage"]) == (runs // 10, 1)
        bench.settle()
        assert [run.output for run in bench.runs()] == [6] * runs
        assert [run.status for name in ("g", "h") for run in bench.runs(name)] == ["COMPLETED"] * 2
        assert bench.waits() == []

    @pytest.mark.parametrize("cut", ["queue.send", "table.delete"])
    def test_a_matcher_that_dies_in_the_middle_tells_everybody_in_the_end(
        self, cut: str, bench_of: Callable[[App], Bench]
    ) -> None:
        """Its message comes back, and finds those that have not been told by their waits."""
        bench = bench_of(waiting_app(timeout="7 days"))
        for _ in range(25):
            bench.put("go", {"k": 1})
        bench.settle()
        message = event_message(bench, 8)
        bench.on("before", cut, "", _die)
        assert bench.handle(message) is False
        bench.drain()
        assert [run.output for run in bench.runs()] == [8] * 25
        assert bench.leftovers() == []


async def _nothing(ctx: Context) -> None:
    """Ends at once."""


def _die() -> None:
    message = "the backend is away"
    raise OSError(message)
