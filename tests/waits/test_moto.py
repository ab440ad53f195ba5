"""The same counts and the same fan-out by way of the AWS adapters, on moto."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from stepbridge import App, Context, event
from stepbridge.core.matching import want_event
from stepbridge.core.records import Wait
from stepbridge.engine.store import Store
from stepbridge.testing import Simulation
from tests.waits.bench import START

PAID = "payment/completed"
BODIES: list[int] = []


def square(item: int) -> int:
    """One item's work."""
    return item * item


def crowd(sim: Simulation, number: int) -> None:
    """So many further runs that wait for the event name, each for a value of its own."""
    (site,) = sim._sites
    store = Store(site.stack.readable.table)
    for index in range(number):
        trigger = {"name": "go", "data": {"k": f"other-{index}"}, "id": "t", "ts": 0, "source": "test"}
        want = want_event(PAID, match="data.k", if_exp=None, trigger=trigger, run_id=f"run-{index}", step_id="w")
        wait = Wait(
            place=want.places[0],
            run_id=f"run-{index}",
            step_key="step",
            step_id="w",
            occurrence=0,
            event_name=PAID,
            armed_at=START,
            deadline=START,
        )
        store.put_wait(wait)


def cost(number: int) -> Counter[str]:
    """What an event asks for that matches one of so many waits."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        found = await ctx.step.wait_for_event("w", event=PAID, match="data.k", timeout="7 days")
        return found and found.data

    with Simulation(app, backend="moto") as sim:
        sim.send("go", {"k": "mine"})
        crowd(sim, number - 1)
        before = Counter(sim.requests)
        sim.send(PAID, {"k": "mine"})
        asked = Counter(sim.requests) - before
        assert sim.run("f").output == {"k": "mine"}
        return asked


@pytest.mark.slow
def test_an_event_costs_the_same_with_ten_waits_and_with_two_thousand() -> None:
    """The same requests through boto3."""
    assert cost(10) == cost(2_000)


@pytest.mark.slow
def test_a_map_of_two_hundred_items() -> None:
    """Results in order; the parent has begun twice."""
    BODIES.clear()
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        BODIES.append(1)
        return await ctx.step.map("m", square, range(200))

    with Simulation(app, backend="moto") as sim:
        sim.send("go")
        sim.run_until_idle()
        assert sim.run("f").output == [n * n for n in range(200)]
    assert len(BODIES) == 2
