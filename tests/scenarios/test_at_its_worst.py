"""Every story when the backend delivers at its worst: duplicates, other orders, late timers.

The runs end as they do undisturbed, and the world is the same; an effect may have happened more often.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from functions.shop import app, services
from functions.shop.services import Customer, Mail, World
from stepbridge.testing import Simulation
from tests.scenarios.http_api import Answer, HttpApi

Sends = list[tuple[str, dict[str, Any]]]
ADA = "ada@example.com"
ORDER = {"orderId": "o-1", "sku": "mug", "email": ADA, "address": "1 Mill Lane"}

STORIES: dict[str, Sends] = {
    "order, paid": [("order/created", ORDER), ("payment/completed", {"orderId": "o-1"})],
    "order, not paid": [("order/created", ORDER)],
    "drip campaign": [("user/signed.up", {"email": ADA})],
    "tier delay": [("order/delivered", {"email": ADA})],
    "business hours": [("question/asked", {"email": ADA})],
    "manager approval": [
        ("discount/requested", {"requestId": "d-1", "email": ADA}),
        ("discount/decided", {"requestId": "d-1", "approved": True}),
    ],
    "confirmation": [
        ("account/registered", {"userId": 7, "email": ADA}),
        ("account/confirmed", {"userId": 7}),
    ],
    "approval by expression": [
        ("refund/requested", {"refundId": "r-1", "cents": 5000, "payment": "p-1"}),
        ("refund/approved", {"refundId": "r-1", "limit": 5000, "by": "senior"}),
    ],
    "checkout": [("cart/checked.out", {**ORDER, "card": "visa"})],
    "three events": [("order/shipped", {**ORDER, "cents": 900})],
    "parallel lookups": [("product/viewed", {"sku": "mug"})],
    "fan-out": [("sale/planned", {})],
    "http api": [("shipping/requested", {"grams": 300})],
    "idempotent upsert": [("goods/received", {"sku": "mug", "pieces": 5})],
    "complex values": [("offer/requested", {"skus": ["mug"], "email": ADA})],
    "values between steps": [("points/earned", {"email": ADA, "cents": 6000})],
    "sync handler": [("stock/low", {"sku": "mug"}), ("supply/confirmed", {"sku": "mug"})],
    "failure handlers": [("gift/paid", {**ORDER, "payment": "p-1", "address": ""})],
}


@dataclass(frozen=True)
class State:
    """What is left when nothing is pending any more."""

    runs: list[tuple[str, str, str]]
    mails: set[Mail]
    world: dict[str, Any]


@pytest.fixture(autouse=True)
def _restored(world: World) -> None:
    """`_play` puts worlds in place of this one; its fixture puts the real one back."""


def _play(sends: Sends, world: World, seed: int | None) -> State:
    services.world = world
    with Simulation(app, seed=seed) as sim:
        for name, data in sends:
            sim.send(name, data)
        sim.run_until_idle()
        return state_of(sim, world)


def state_of(sim: Simulation, world: World) -> State:
    """What there is now."""
    runs = sorted((run.function_id, run.status, repr(run.output)) for run in sim.runs())
    changed = ("reserved", "parcels", "payments", "refunded", "points")
    return State(runs, set(world.outbox), {name: getattr(world, name) for name in changed})


def new_world(database: Path, api: HttpApi) -> World:
    """A world with customers, whose API fails once."""
    api.answers.append(Answer(503, "down"))  # so that the stories that call it repeat a step
    many = {f"user-{number}@example.com": Customer(str(number)) for number in range(20)}
    ada = Customer("Ada", tier="gold", zone="Europe/London")
    return World(database=database, api=api.address, customers={ADA: ada, **many})


@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("story", STORIES)
def test_a_story_ends_the_same_whatever_the_backend_does(story: str, seed: int, tmp_path: Path, api: HttpApi) -> None:
    """The same runs with the same outputs, the same payments and points; each mail at least once."""
    calm = _play(STORIES[story], new_world(tmp_path / "calm", api), None)
    worst = _play(STORIES[story], new_world(tmp_path / "worst", api), seed)
    assert worst == calm
    assert not {status for _, status, _ in worst.runs} - {"COMPLETED", "FAILED"}
