"""Story 12: a step that is repeated after its effect writes the same row again, in a real database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from functions.shop import app
from functions.shop.services import World
from stepbridge.testing import Simulation
from tests.scenarios.http_api import Answer, HttpApi

MUGS = {"sku": "mug", "pieces": 5}
DOWN = Answer(503, "down")


@pytest.fixture
def sim(world: World, api: HttpApi) -> Iterator[Simulation]:
    """The shop, with a carrier to be told of the goods."""
    world.api = api.address
    with Simulation(app) as sim:
        yield sim


def _rows(world: World) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(world.database)) as database:
        return database.execute("SELECT sku, pieces FROM receipts ORDER BY rowid").fetchall()


def test_goods_are_booked(sim: Simulation, world: World) -> None:
    """Each delivery a row, and the run's output is their sum."""
    sim.send("goods/received", MUGS)
    sim.send("goods/received", {"sku": "mug", "pieces": 2})
    assert [run.output for run in sim.runs("book-goods")] == [5, 7]
    assert _rows(world) == [("mug", 5), ("mug", 2)]


# Fails until the register of a first failed attempt holds "at" (core/items.py): no later attempt is recorded.
def test_a_step_that_is_repeated_after_its_effect_books_once(sim: Simulation, world: World, api: HttpApi) -> None:
    """The row is committed, then the carrier is down, twice: three executions, one row."""
    api.answers.extend([DOWN, DOWN])
    sim.send("goods/received", MUGS)
    assert _rows(world) == [("mug", 5)]
    sim.run_until_idle()
    run = sim.run("book-goods")
    assert (run.output, run.steps["book"].attempts, len(api.requests)) == (5, 3, 3)
    assert _rows(world) == [("mug", 5)]


# Fails until the register of a first failed attempt holds "at" (core/items.py): no later attempt is recorded.
def test_a_carrier_that_stays_down_fails_the_run_and_leaves_the_row(
    sim: Simulation, world: World, api: HttpApi
) -> None:
    """An effect is not undone by itself: that the run failed is what somebody hears."""
    api.usual = DOWN
    sim.send("goods/received", MUGS)
    sim.run_until_idle()
    assert sim.run("book-goods").status == "FAILED"
    assert _rows(world) == [("mug", 5)]
    assert world.outbox[-1].subject == 'book-goods: /receipts: 503 "down"'


# Fails until the register of a first failed attempt holds "at" (core/items.py): no later attempt is recorded.
def test_a_database_that_cannot_be_opened_is_tried_again(sim: Simulation, world: World, api: HttpApi) -> None:
    """A folder stands where the file should be, for a while."""
    world.database.mkdir()
    sim.send("goods/received", MUGS)
    assert (sim.run("book-goods").steps["book"].error or {})["name"] == "OperationalError"
    world.database.rmdir()
    sim.run_until_idle()
    assert (_rows(world), sim.run("book-goods").output) == ([("mug", 5)], 5)
