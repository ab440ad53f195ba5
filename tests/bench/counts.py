"""Rows that are counted, not measured: what runs ask of AWS, as `tests/counting.py` says and the tests prove."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from stepbridge import App
from stepbridge.testing import Simulation
from tests.bench import prices
from tests.bench.rows import Row
from tests.counting import DEALS, owed, spent

SECTION = "AWS requests, counted"


def rows() -> Iterator[Row]:
    """Each deal of the price list, played, with its target; and its dollars."""
    for deal in DEALS:
        app = App("shop")
        deal.build(app)
        with Simulation(app) as sim:
            asked = deal.play(sim, lambda sim=sim: Counter(sim.requests))  # type: ignore[misc]
        assert spent(asked) == owed(deal.price), deal.name
        yield Row(
            section=SECTION,
            what=f"{deal.name}: writes",
            value=spent(asked)["writes"],
            unit="requests",
            target=deal.price.writes,
        )
        yield Row(
            section=SECTION,
            what=f"{deal.name}: reads",
            value=spent(asked)["reads"],
            unit="requests",
            target=deal.price.reads,
        )
        dollars = prices.of_price(deal.price) * 1e6
        yield Row(
            section=SECTION,
            what=f"{deal.name}: a million of them",
            value=dollars,
            unit="$ with one event, without compute",
        )
