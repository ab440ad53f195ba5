"""Story 15: a plain `def` handler whose branches run at the same time."""

from __future__ import annotations

from functools import partial
from threading import Barrier

from functions.shop.services import Mail, World
from stepbridge import App, ContextSync, event
from stepbridge.testing import Simulation


def test_the_cheapest_supplier_is_asked_and_confirms(sim: Simulation, world: World) -> None:
    """Three branches of one step each, then a step, then a wait, all blocking to read."""
    sim.send("stock/low", {"sku": "mug"})
    run = sim.run("restock")
    assert {step.step_id: step.output for step in list(run.steps.values())[:3]} == {
        "ask-acme": 540,
        "ask-bulk": 450,
        "ask-corner": 720,
    }
    assert world.outbox == [Mail("bulk@example.com", "Please send mug")]
    sim.send("supply/confirmed", {"sku": "mug"})
    assert sim.run("restock").output == {"supplier": "bulk", "status": "confirmed"}
    assert len(world.outbox) == 1


def test_a_supplier_that_says_nothing_is_noted_after_two_days(sim: Simulation, world: World) -> None:
    """The timeout of a wait in a sync handler."""
    sim.send("stock/low", {"sku": "mug"})
    sim.advance("2 days")
    assert sim.run("restock").output == {"supplier": "bulk", "status": "silent"}


# Fails until the register of a first failed attempt holds "at" (core/items.py): no later attempt is recorded.
def test_a_supplier_that_there_is_not_drops_out(sim: Simulation, world: World) -> None:
    """A branch fails after its retries and is caught inside; the others stand."""
    sim.send("stock/low", {"sku": "mug", "suppliers": ["acme", "gone"]})
    assert sim.run("restock").status == "SLEEPING"
    sim.run_until_idle()
    run = sim.run("restock")
    assert run.output == {"supplier": "acme", "status": "silent"}
    assert (run.steps["ask-gone"].status, run.steps["ask-gone"].attempts) == ("FAILED", 2)
    assert run.steps["ask-acme"].attempts == 1


def test_when_nobody_sells_it_nothing_is_ordered(sim: Simulation, world: World) -> None:
    """All branches fail."""
    sim.send("stock/low", {"sku": "unicorn"})
    assert sim.run("restock").output == {"supplier": None, "status": "nobody sells it"}
    assert world.outbox == []


def test_branches_of_a_sync_handler_run_at_the_same_time() -> None:
    """Three plain functions meet at a barrier that none of them could pass alone."""
    app = App("meet")
    barrier = Barrier(3, timeout=10)

    @app.function("meet", trigger=event("meet"), retries=0)
    def meet(ctx: ContextSync) -> list[int]:
        walkers = [partial(ctx.step.run, f"walker-{number}", barrier.wait) for number in range(3)]
        return sorted(ctx.group.parallel(walkers))

    with Simulation(app) as sim:
        sim.send("meet")
        assert sim.run("meet").output == [0, 1, 2]
