"""What the engine asks of the world and does not get: the message stays, the error is named, no attempt is spent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from stepbridge import App, Context, ContextSync, event, invoke_only
from stepbridge.core.instants import to_ms
from stepbridge.core.keys import HEAD_SK, head_key
from tests.waits.bench import START, Bench

NOISE = "".join(sha256(str(index).encode()).hexdigest() for index in range(1_000))
"""Above what the table keeps, however it is packed."""


def large() -> str:
    """A step whose value becomes a blob."""
    return NOISE


def same(item: int) -> int:
    """One item's work."""
    return item


ASKS: dict[str, tuple[Callable[[Context], Awaitable[object]], str, str]] = {
    "an event that is sent": (lambda ctx: ctx.step.send_event("s", {"name": "told"}), "bus.put", ""),
    "a signal": (lambda ctx: ctx.step.send_signal("s", "x"), "table.query", "W#"),
    "a long sleep": (lambda ctx: ctx.step.sleep("s", "2 days"), "timers.create", ""),
    "a short sleep": (lambda ctx: ctx.step.sleep("s", "1m"), "queue.send", ""),
    "a wait's item": (lambda ctx: ctx.step.wait_for_event("s", event="e", timeout="2 days"), "table.put", "W#"),
    "a wait's timeout": (lambda ctx: ctx.step.wait_for_event("s", event="e", timeout="2 days"), "timers.create", ""),
    "a child": (lambda ctx: ctx.step.invoke("s", function="child"), "queue.send", ""),
    "a map": (lambda ctx: ctx.step.map("s", same, [1, 2]), "queue.send", ""),
    "a large value": (lambda ctx: ctx.step.run("s", large), "blobs.put", ""),
}
"""What a step asks for, and the request that fails once."""


class RefusedError(Exception):
    """As AWS refuses."""


def refuse() -> None:
    """Instead of the request."""
    raise RefusedError("the world refuses")


def ends_well(bench: Bench, request: str, where: str) -> None:
    """The failed request is nobody's attempt, nobody waits for its lease, and the run ends as it would have."""
    bench.put("go")
    bench.on("before", request, where, refuse)
    assert not bench.step()
    assert [hook.done for hook in bench.hooks] == [True]
    assert bench.run().status == "RUNNING"
    assert [item["lx"] for item in bench.stack.table.items() if item["sk"] == HEAD_SK and item["fn"] == "f"] == [0]
    bench.drain()
    run = bench.run()
    assert (run.status, run.attempt) == ("COMPLETED", 0)
    assert [(step.step_id, step.status, step.attempts) for step in run.steps.values()] == [("s", "COMPLETED", 1)]


@pytest.mark.parametrize("what", ASKS)
def test_a_failing_port_is_not_the_steps_failure(
    what: str, bench_of: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    """Bus, queue, timers, table and blobs; the step goes on once they answer."""
    ask, request, where = ASKS[what]
    app = App("shop")

    @app.function("f", trigger=event("go"), retries=0)
    async def handler(ctx: Context) -> None:
        await ask(ctx)

    @app.function("child", trigger=invoke_only())
    async def child(ctx: Context) -> None:
        """Its end is all that is asked of it."""

    ends_well(bench_of(app), request, where)
    assert "the world refuses" in caplog.text


@pytest.mark.parametrize(
    ("ask", "request_", "where"),
    [
        (lambda ctx: ctx.step.send_event("s", {"name": "told"}), "bus.put", ""),
        (lambda ctx: ctx.step.send_signal("s", "x"), "table.query", "W#"),
    ],
    ids=["event", "signal"],
)
def test_so_in_a_sync_handler(
    ask: Callable[[ContextSync], Any], request_: str, where: str, bench_of: Callable[..., Bench]
) -> None:
    """The engine's own steps run in the handler's thread there, and user code does not see the error."""
    app = App("shop")
    seen: list[BaseException] = []

    @app.function("f", trigger=event("go"), retries=0)
    def handler(ctx: ContextSync) -> None:
        try:
            ask(ctx)
        except Exception as error:
            seen.append(error)
            raise

    ends_well(bench_of(app), request_, where)
    assert seen == []


def test_what_the_bus_can_never_take_is_the_steps_failure(bench_of: Callable[..., Bench]) -> None:
    """It is the event that is wrong, and a further delivery would not help."""
    app = App("shop")

    @app.function("f", trigger=event("go"), retries=0)
    async def handler(ctx: Context) -> None:
        await ctx.step.send_event("s", {"name": "told"})

    def never() -> None:
        raise ValueError("the bus can never take this")

    bench = bench_of(app)
    bench.put("go")
    bench.on("before", "bus.put", "", never)
    assert bench.step()
    assert (bench.run().status, bench.run().steps["s"].attempts) == ("FAILED", 1)
    assert bench.run().error == bench.run().steps["s"].error


def test_a_second_attempt_sends_the_same_events(bench_of: Callable[..., Bench]) -> None:
    """The first failed once some of them were on the bus; whoever they reach twice knows them by their ids."""
    app = App("shop")

    @app.function("f", trigger=event("go"), retries=1)
    async def handler(ctx: Context) -> list[str]:
        return await ctx.step.send_event("s", [{"name": "told"}, {"name": "told"}])

    def never() -> None:
        raise ValueError("the bus can never take one of them")

    bench = bench_of(app)
    bench.put("go")
    bench.on("after", "bus.put", "", never)
    bench.drain()
    told = [json.loads(entry.detail)["_stepbridge"]["id"] for _, entry in bench.world.bus.log if entry.name == "told"]
    assert (bench.run().steps["s"].attempts, bench.run().output) == (2, told[:2])
    assert told == [*told[:2], *told[:2]]
    assert len(set(told)) == 2


@pytest.mark.parametrize("nap", [True, False], ids=["suspended once", "at once"])
@pytest.mark.parametrize("number", [3, 20], ids=["in the head", "beside it"])
def test_what_an_ended_run_had_armed_is_removed_by_the_redelivery(
    number: int, bench_of: Callable[..., Bench], *, nap: bool
) -> None:
    """The invocation that ended it died right after; the head lists what it had armed, or a page beside it."""
    app = App("shop")
    benches: list[Bench] = []

    def strike() -> None:
        benches[0].on("after", "table.update", "R#", refuse)  # the head's end

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> None:
        waits = [asyncio.create_task(ctx.step.wait_for_event(f"w{n}", event="e", timeout="1h")) for n in range(number)]
        if nap:
            await ctx.step.sleep("nap", "1m")
        await ctx.step.run("strike", strike)
        for wait in waits:
            wait.cancel()

    bench = bench_of(app)
    benches.append(bench)
    bench.put("go")
    if nap:
        bench.settle()
        bench.later(60)
    assert not bench.step()
    assert (bench.run().status, len(bench.waits())) == ("COMPLETED", number)
    bench.drain()
    assert bench.leftovers() == []


def waiting_app() -> App:
    """A wait of thirty days, and a step that asks the bus."""
    app = App("shop")

    @app.function("f", trigger=event("go"), retries=0)
    async def handler(ctx: Context) -> None:
        await ctx.step.wait_for_event("w", event="paid", timeout="30 days")
        await ctx.step.send_event("s", {"name": "told"})

    return app


def test_an_event_whose_run_could_not_move_still_finds_it(bench_of: Callable[..., Bench]) -> None:
    """Its message comes back, and only by the wait it knows whom to wake: nobody else would for thirty days."""
    bench = bench_of(waiting_app())
    bench.put("go")
    bench.settle()
    bench.put("paid")
    bench.on("before", "bus.put", "", refuse)
    assert not bench.step()
    assert len(bench.waits()) == 1
    bench.later(1)
    bench.settle()
    assert bench.run().status == "COMPLETED"
    assert bench.leftovers() == []


@pytest.mark.memory_only("looks into the backend itself")
def test_an_event_whose_run_is_held_keeps_its_wait_until_its_message_is_sent(bench_of: Callable[..., Bench]) -> None:
    """Were the message refused after the wait had gone, the redelivered event would find nothing."""
    bench = bench_of(waiting_app())
    bench.put("go")
    bench.settle()
    head = bench.stack.table.get(head_key(bench.run().run_id))
    bench.stack.table.put({**head, "st": "RUNNING", "lx": to_ms(START + timedelta(seconds=10))})
    bench.put("paid")
    bench.on("before", "queue.send", "", refuse)
    assert not bench.step()
    assert len(bench.waits()) == 1
    bench.later(20)
    bench.settle()
    assert bench.run().status == "COMPLETED"
    assert bench.leftovers() == []
