"""The order of requests that the laws ask for, where a crash between them would be mended by a redelivery.

Then no crash shows a wrong order; two invocations side by side do, which no test can time.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from stepbridge import App, Context, event, invoke_only
from stepbridge.memory.table import MemoryTable
from stepbridge.testing import Simulation
from tests.faults.order import NotedSimulation, place

WAIT = "7 days"


def test_a_parent_is_told_before_it_is_woken() -> None:
    """Woken first, it could look, find nothing, and sleep on for ever."""
    app = App("family")

    @app.function("child", trigger=invoke_only())
    async def child(ctx: Context) -> int:
        return 7

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> int:
        return await ctx.step.invoke("ask", function=child)

    with NotedSimulation(app) as sim:
        sim.send("go")
        told = place(sim.asked, "put ", "'k': 'invoke'")
        flagged = place(sim.asked, "update ", "{'wk':")
        woken = place(sim.asked, "send ", '"why":"child"')
        assert told < flagged < woken


def test_of_two_children_that_end_one_wakes_the_parent() -> None:
    """The other finds the wake flag set: one message fewer."""
    app = App("twins")

    @app.function("child", trigger=invoke_only())
    async def child(ctx: Context) -> int:
        return 7

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> list[int]:
        return await asyncio.gather(*(ctx.step.invoke(f"ask {n}", function=child) for n in range(2)))

    with NotedSimulation(app) as sim:
        sim.send("go")
        assert sim.run("f").output == [7, 7]
        assert sum('"why":"child"' in text for text in sim.asked) == 1


def test_other_runs_are_woken_before_their_waits_are_taken_away() -> None:
    """Until then only the waits let the event, when it comes back, find these runs."""
    app = App("crowd")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> None:
        await ctx.step.wait_for_event("w", event="paid", timeout=WAIT)

    with NotedSimulation(app) as sim:
        for _ in range(3):
            sim.send("go")
        sim.asked.clear()
        sim.send("paid")
        assert {run.status for run in sim.runs()} == {"COMPLETED"}
        assert place(sim.asked, "send ", '"match"') < place(sim.asked, "delete ", "'W#")


def test_a_signal_wakes_the_run_before_it_takes_the_wait_away() -> None:
    """Until then only the wait lets a step that is repeated find the run."""
    app = App("signals")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> None:
        await ctx.step.wait_for_signal("w", "bell", timeout=WAIT)

    @app.function("ring", trigger=event("ring"))
    async def ring(ctx: Context) -> None:
        await ctx.step.send_signal("s", "bell")

    with NotedSimulation(app) as sim:
        sim.send("go")
        sim.asked.clear()
        sim.send("ring")
        assert sim.run("f").status == "COMPLETED"
        assert place(sim.asked, "send ", '"signal"') < place(sim.asked, "delete ", "'W#")


def test_the_schedule_of_a_resolved_wait_goes_while_its_run_lives_on() -> None:
    """By the name that it was made under, which is the same in whichever process: a run has one schedule at most."""
    app = App("patient")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> None:
        await ctx.step.wait_for_event("w", event="paid", timeout=WAIT)
        await ctx.step.sleep("z", "3 days")

    with NotedSimulation(app) as sim:
        sim.send("go")
        made = place(sim.asked, "create ")
        name = sim.asked[made].split("'")[1]
        sim.send("paid")
        assert place(sim.asked, "delete ", f"('{name}',)") > place(sim.asked, "update ", "SLEEPING")
        assert sum(len(site.stack.timers.names()) for site in sim._sites) == 1


def test_results_are_given_out_in_the_order_in_which_their_records_were_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second record is there while the first is still being written: its branch waits, for a replay will too."""
    app = App("race")
    heard: list[list[str]] = []
    second_is_recorded, second_went_on = threading.Event(), threading.Event()
    put = MemoryTable.put

    def slow_put(table: MemoryTable, item: Any, *when: Any) -> Any:
        if item.get("n") == "first":
            second_is_recorded.wait(5)
            second_went_on.wait(0.1)
        answer = put(table, item, *when)
        if item.get("n") == "second":
            second_is_recorded.set()
        return answer

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> list[str]:
        order: list[str] = []
        heard.append(order)

        async def branch(name: str) -> None:
            await ctx.step.run(name, lambda: None)
            order.append(name)
            if name == "second":
                second_went_on.set()

        await asyncio.gather(branch("first"), branch("second"))
        told = list(order)
        await ctx.step.sleep("z", "1m")
        return told

    monkeypatch.setattr(MemoryTable, "put", slow_put)
    with Simulation(app) as sim:
        sim.send("go")
        sim.run_until_idle()
        assert heard == [["first", "second"]] * 2
