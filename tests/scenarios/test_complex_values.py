"""Story 13: models, dataclasses, datetimes, Decimals, tuples, enums, nested, on the first run and on replay."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from functions.shop.offers import Line, Offer, Packing, make_offer
from functions.shop.services import World
from stepbridge import App, Context, event
from stepbridge.testing import Simulation

START = datetime(2025, 1, 1, tzinfo=UTC)
REQUEST = {"skus": ["mug", "poster"], "email": "ada@example.com"}


def test_an_offer_survives_its_sleep(sim: Simulation, world: World) -> None:
    """The replayed offer still has a Decimal total and a date to reckon with."""
    sim.send("offer/requested", REQUEST)
    sim.advance("2 days")
    assert [mail.subject for mail in world.outbox] == ["24 until 04 January"]
    output = sim.run("offer").output
    assert Offer.model_validate(output) == make_offer(["mug", "poster"], START)
    assert output["lines"][0] == {"sku": "mug", "price": "9", "size": [100, 80, 80], "packing": "box"}


def test_an_offer_of_what_is_not_for_sale_fails(sim: Simulation, world: World) -> None:
    """Before anything else is done."""
    sim.send("offer/requested", {**REQUEST, "skus": ["unicorn"]})
    assert (sim.run("offer").error or {})["message"] == "unicorn is not for sale"


def test_the_first_run_and_the_replay_see_equal_values_of_the_same_types(world: World) -> None:
    """What the handler got before a sleep, what it got after, and what the function had returned."""
    app = App("values")
    seen: list[Offer] = []

    @app.function("see", trigger=event("see"))
    async def see(ctx: Context) -> None:
        seen.append(await ctx.step.run("make", make_offer, ["mug"], START))
        await ctx.step.sleep("night", "12h")

    with Simulation(app) as sim:
        sim.send("see")
        sim.advance("12h")
        assert sim.run("see").status == "COMPLETED"
    assert seen == [make_offer(["mug"], START)] * 2
    for offer in seen:
        (line,) = offer.lines
        assert type(line) is Line
        assert (type(offer.total), type(offer.lapses_at)) == (Decimal, datetime)
        assert (offer.lapses_at.tzinfo is not None, type(line.size)) == (True, tuple)
        assert (line.packing, offer.by_packing) == (Packing.BOX, {Packing.BOX: {"mug"}})


def test_the_value_is_not_the_functions_own_object_even_on_the_first_run(world: World) -> None:
    """Whoever changes what a step returned changes a copy, so that replay can tell no difference."""
    app = App("values")
    kept: list[dict[str, list[int]]] = []
    seen: list[list[int]] = []

    def listed() -> dict[str, list[int]]:
        kept.append({"n": [1]})
        return kept[-1]

    @app.function("see", trigger=event("see"))
    async def see(ctx: Context) -> None:
        found = await ctx.step.run("list", listed)
        found["n"].append(2)
        seen.append(found["n"])
        await ctx.step.sleep("night", "12h")

    with Simulation(app) as sim:
        sim.send("see")
        sim.advance("12h")
    assert (kept, seen) == ([{"n": [1]}], [[1, 2], [1, 2]])


def test_a_value_without_an_annotation_fails_the_run_with_the_mend(world: World) -> None:
    """A lambda's Decimal: the error names step, path and what to do."""
    app = App("values")

    @app.function("price", trigger=event("price"))
    async def price(ctx: Context) -> None:
        await ctx.step.run("bare", lambda: {"total": Decimal("1.5")})

    with Simulation(app) as sim:
        sim.send("price")
        run = sim.run("price")
    error = run.error or {}
    assert (run.status, error["name"]) == ("FAILED", "UnserializableOutputError")
    assert [word in error["message"] for word in ("'bare'", "$.total", "annotate", "output_type")] == [True] * 4


def test_output_type_stands_in_for_an_annotation(world: World) -> None:
    """The same lambda, told what it returns."""
    app = App("values")
    seen: list[Any] = []

    @app.function("price", trigger=event("price"))
    async def price(ctx: Context) -> None:
        typed = ctx.step.with_options(output_type=dict[str, Decimal])
        seen.append(await typed.run("bare", lambda: {"total": Decimal("1.50")}))
        await ctx.step.sleep("night", "12h")

    with Simulation(app) as sim:
        sim.send("price")
        sim.advance("12h")
    assert seen == [{"total": Decimal("1.50")}] * 2
