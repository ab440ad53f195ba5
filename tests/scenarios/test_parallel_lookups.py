"""Story 9: three lookups at the same time feed a fourth step."""

from __future__ import annotations

import asyncio
from threading import Barrier

from functions.shop.services import World
from stepbridge import App, Context, event
from stepbridge.testing import Simulation


def test_three_lookups_feed_the_page(sim: Simulation, world: World) -> None:
    """In whichever order they end, the page gets them in the order of the call."""
    sim.send("product/viewed", {"sku": "mug"})
    run = sim.run("show-product")
    assert run.output == {"page": "9.00, 1000 left, 4.5 of 5"}
    assert set(run.steps) == {"price", "stock", "rating", "build-page"}
    assert list(run.steps)[-1] == "build-page"


# Fails until the register of a first failed attempt holds "at" (core/items.py): no later attempt is recorded.
def test_a_lookup_that_fails_for_good_is_named(sim: Simulation, world: World) -> None:
    """After its own retries; the two others are recorded, and the page is not built."""
    del world.ratings["mug"]
    sim.send("product/viewed", {"sku": "mug"})
    assert sim.run("show-product").status == "SLEEPING"
    sim.run_until_idle()
    run = sim.run("show-product")
    assert (run.status, run.output) == ("COMPLETED", {"failed": "rating"})
    assert {step.step_id: (step.status, step.attempts) for step in run.steps.values()} == {
        "price": ("COMPLETED", 1),
        "stock": ("COMPLETED", 1),
        "rating": ("FAILED", 2),
    }


# Fails until the register of a first failed attempt holds "at" (core/items.py): no later attempt is recorded.
def test_a_lookup_that_recovers_is_the_only_one_repeated(sim: Simulation, world: World) -> None:
    """What the others found stands, though it is no longer so."""
    rating = world.ratings.pop("mug")
    sim.send("product/viewed", {"sku": "mug"})
    world.ratings["mug"] = rating
    world.prices["mug"] = 1
    sim.run_until_idle()
    assert sim.run("show-product").output == {"page": "9.00, 1000 left, 4.5 of 5"}


def test_the_first_of_two_that_fail_is_named(sim: Simulation, world: World) -> None:
    """One fails at once, the other would only after its retry."""
    del world.ratings["mug"]
    del world.prices["mug"]
    sim.send("product/viewed", {"sku": "mug"})
    assert sim.run("show-product").output == {"failed": "price"}


def test_gathered_steps_run_at_the_same_time() -> None:
    """Three plain functions meet at a barrier that none of them could pass alone."""
    app = App("meet")
    barrier = Barrier(3, timeout=10)

    @app.function("meet", trigger=event("meet"), retries=0)
    async def meet(ctx: Context) -> list[int]:
        places = await asyncio.gather(*(ctx.step.run(f"walker-{number}", barrier.wait) for number in range(3)))
        return sorted(places)

    with Simulation(app) as sim:
        sim.send("meet")
        assert sim.run("meet").output == [0, 1, 2]
