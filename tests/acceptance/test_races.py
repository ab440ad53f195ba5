"""Races and orders of async handlers: what ended first stays first, on every replay."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from stepbridge import App, Context, event
from stepbridge.testing import RunView, Simulation
from tests.acceptance.helpers import START

Handler = Callable[[Context], Awaitable[object]]


def app_of(handler: Handler, **options: Any) -> App:
    """An app whose one function, "f", is this handler, triggered by "go"."""
    app = App("shop")
    app.function("f", trigger=event("go"), **options)(handler)
    return app


def played(handler: Handler, **options: Any) -> RunView:
    """The run of the handler, with nothing more to happen."""
    with Simulation(app_of(handler, **options)) as sim:
        sim.send("go")
        sim.run_until_idle()
        return sim.run("f")


def test_wait_for_the_first_completed() -> None:
    """The winner is the one that ends first; the handler goes on without the loser."""

    async def handler(ctx: Context) -> list[Any]:
        tasks = {
            asyncio.create_task(ctx.step.sleep("slow", "5h"), name="slow"),
            asyncio.create_task(ctx.step.sleep("fast", "1h"), name="fast"),
        }
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await ctx.step.run("after", int)
        return [[task.get_name() for task in done], [task.get_name() for task in pending], ctx.now.isoformat()]

    assert played(handler).output == [["fast"], ["slow"], "2025-01-01T01:00:00+00:00"]


def test_a_cancelled_loser_does_not_hold_the_run() -> None:
    """`task.cancel()` on the loser is the usual idiom."""

    async def handler(ctx: Context) -> str:
        slow = asyncio.create_task(ctx.step.sleep("slow", "5h"))
        fast = asyncio.create_task(ctx.step.run("fast", lambda: "fast"))
        done, pending = await asyncio.wait({slow, fast}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await ctx.step.sleep("nap", "1h")
        return str(done.pop().result())

    run = played(handler)
    assert (run.status, run.output) == ("COMPLETED", "fast")
    assert run.ended_at == START + timedelta(hours=1)


def test_a_race_between_an_event_and_a_sleep_keeps_its_winner() -> None:
    """Replays after both have ended still see the one that was first."""
    winners: list[str] = []

    async def handler(ctx: Context) -> str:
        tasks = [
            asyncio.create_task(ctx.step.sleep("timer", "1h"), name="timer"),
            asyncio.create_task(ctx.step.wait_for_event("reply", event="reply", timeout="2h"), name="reply"),
        ]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        winners.append(done.pop().get_name())
        for number in range(4):
            await ctx.step.sleep(f"later-{number}", "30m")
        return winners[-1]

    with Simulation(app_of(handler)) as sim:
        sim.send("go", {"n": 1})
        sim.advance("10m")
        sim.send("reply")
        sim.run_until_idle()
        assert sim.run("f").output == "reply"
    assert set(winners) == {"reply"}


def test_as_completed_yields_in_the_order_of_completion_for_ever() -> None:
    """Branches interleave on replay as they did."""
    orders: list[list[int]] = []

    async def handler(ctx: Context) -> list[int]:
        async def nap(hours: int) -> int:
            await ctx.step.sleep(f"nap-{hours}", f"{hours}h")
            return hours

        order = [await one for one in asyncio.as_completed([nap(3), nap(1), nap(2)])]
        orders.append(order)
        await ctx.step.sleep("after", "1h")
        await ctx.step.sleep("more", "1h")
        return order

    assert played(handler).output == [1, 2, 3]
    assert orders == [[1, 2, 3]] * 3


def test_as_completed_of_runs_keeps_its_order() -> None:
    """The first execution's order, by chance of threads as it was, is every replay's."""
    orders: list[list[int]] = []

    async def handler(ctx: Context) -> list[int]:
        async def work(number: int) -> int:
            return await ctx.step.run(f"work-{number}", lambda: number)

        order = [await one for one in asyncio.as_completed([work(number) for number in range(8)])]
        orders.append(order)
        await ctx.step.sleep("a", "1h")
        await ctx.step.sleep("b", "1h")
        return order

    run = played(handler)
    assert sorted(run.output) == list(range(8))
    assert orders == [run.output] * 3


def test_branches_interleave_on_replay_as_they_did() -> None:
    """A handler's own shared state comes out the same each time."""
    logs: list[list[str]] = []

    async def handler(ctx: Context) -> None:
        log: list[str] = []

        async def branch(name: str, hours: list[int]) -> None:
            for number, length in enumerate(hours):
                await ctx.step.sleep(f"{name}-{number}", f"{length}h")
                log.append(f"{name}-{number}")

        await asyncio.gather(branch("a", [1, 4]), branch("b", [2, 1]), branch("c", [4, 3]))
        logs.append(log)
        await ctx.step.sleep("after-1", "1h")
        await ctx.step.sleep("after-2", "1h")

    assert played(handler).status == "COMPLETED"
    assert logs == [["a-0", "b-0", "b-1", "c-0", "a-1", "c-1"]] * 3


def test_the_handlers_own_timeout_around_a_pending_step_does_not_keep_the_run_awake() -> None:
    """A timer is no task: the run suspends once all its tasks wait on steps; were it held, the timeout would strike."""

    async def handler(ctx: Context) -> str:
        async with asyncio.timeout(30):
            await ctx.step.sleep("nap", "1h")
        return "done"

    with Simulation(app_of(handler)) as sim:
        sim.send("go")
        run = sim.run("f")
        assert (run.status, run.attempt, run.error) == ("SLEEPING", 0, None)
        sim.advance("1h")
        assert (sim.run("f").output, sim.run("f").attempt) == ("done", 0)


@pytest.mark.parametrize("seed", range(6))
def test_a_race_has_one_winner_whatever_the_backend_does(seed: int) -> None:
    """Late and double timers, other orders: the winner may differ by seed, not by replay."""
    winners: list[str] = []

    async def handler(ctx: Context) -> str:
        tasks = [asyncio.create_task(ctx.step.sleep(name, "1h"), name=name) for name in "abc"]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        winners.append(min(task.get_name() for task in done))
        for number in range(3):
            await ctx.step.sleep(f"later-{number}", "30m")
        return winners[-1]

    with Simulation(app_of(handler), seed=seed) as sim:
        sim.send("go")
        sim.run_until_idle()
        run = sim.run("f")
    assert run.status == "COMPLETED"
    assert set(winners) == {run.output}
