"""`make cost` adds up: by hand for one run, and in proportion for more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.prices import (
    EVENTS,
    GB_SECONDS,
    INVOCATIONS,
    QUEUE,
    READS,
    WRITES,
    Plan,
    of_price,
    others,
    services,
)
from tests.counting import DEALS


def test_a_million_runs_of_three_steps() -> None:
    """N + 4 write units, one read, three queue requests, one event and one invocation each."""
    assert services(Plan(runs=1e6, steps=3, seconds=0)) == pytest.approx(
        {
            "EventBridge": 1.00,
            "SQS": 3 * 0.40,
            "Scheduler": 0.0,
            "DynamoDB": 7 * 0.625 + 0.125,
            "S3": 0.0,
            "Lambda": 0.20,
        }
    )


def test_a_step_costs_one_write() -> None:
    """$0.625 a million, whatever else is in the run."""
    one, two = (services(Plan(runs=1e6, steps=steps, sleeps=1, waits=2)) for steps in (2, 3))
    assert two["DynamoDB"] - one["DynamoDB"] == pytest.approx(0.625)
    assert {name: two[name] for name in two if name != "DynamoDB"} == {
        name: one[name] for name in one if name != "DynamoDB"
    }


def test_what_is_added_by_a_sleep_and_a_wait() -> None:
    """By the tested table: 3 writes, 1 read, 6 requests and 2 invocations; 5, 3, 3 and 1."""
    plain = services(Plan(seconds=0))
    slept, waited = (services(Plan(seconds=0, **{name: 1})) for name in ("sleeps", "waits"))
    assert slept["DynamoDB"] - plain["DynamoDB"] == pytest.approx(3 * 0.625 + 0.125)
    assert (slept["SQS"] - plain["SQS"], slept["Scheduler"]) == pytest.approx((6 * 0.40, 1.00))
    assert slept["Lambda"] - plain["Lambda"] == pytest.approx(2 * 0.20)
    assert waited["DynamoDB"] - plain["DynamoDB"] == pytest.approx(5 * 0.625 + 3 * 0.125)
    assert waited["EventBridge"] - plain["EventBridge"] == pytest.approx(1.00)


def test_sizes_and_memory() -> None:
    """Write units by the kilobyte, S3 above 8 KB; GB-seconds by memory and time."""
    plan = Plan(runs=1e6, steps=1)
    assert services(replace(plan, kb=3.5))["DynamoDB"] - services(plan)["DynamoDB"] == pytest.approx(3 * 0.625)
    assert services(replace(plan, kb=20))["S3"] == pytest.approx(5.00)
    assert services(replace(plan, memory_mb=1024, seconds=1))["Lambda"] == pytest.approx(0.20 + 13.3334)


def test_one_deal() -> None:
    """A sleep of two days: an event, 7 write and 2 read units, 9 queue requests, 3 invocations, a fire."""
    deal = next(deal for deal in DEALS if deal.name == "a sleep of two days")
    assert of_price(deal.price) * 1e6 == pytest.approx(1 + 7 * 0.625 + 2 * 0.125 + 9 * 0.4 + 3 * 0.2 + 1)


def test_the_guides_table_is_what_make_cost_says() -> None:
    """Each row's count and price, and what a sleep and a wait add; `tests/docs` has the products."""
    page = (Path(__file__).parents[2] / "docs" / "operating.md").read_text(encoding="utf-8").partition("## Costs")[2]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in page.splitlines() if row.startswith("| ")]
    deals = {deal.name: deal.price for deal in DEALS}
    none, one = deals["no step"], deals["one step"]
    units = none.write_units + 3 * (one.write_units - none.write_units)
    counted = (1, one.queue, one.invocations, 0.1 * 256 / 1024, units, one.reads)
    prices = (EVENTS, QUEUE, INVOCATIONS, GB_SECONDS, WRITES, READS)
    assert [float(row[1].partition(" ")[0]) for row in rows[1:7]] == list(counted)
    given = [float(row[2].partition("/M")[0].strip("$")) for row in rows[1:7]]
    assert given == pytest.approx([price * 1e6 for price in prices], abs=0.005)
    added = [
        f"{more.write_units - none.write_units} write units, {more.reads - none.reads} read unit"
        for more in (deals["a sleep of two days"], deals["a wait that is matched"])
    ]
    assert [text for text in added if text not in page] == []


def test_others() -> None:
    """A million runs of ten steps, compute left out: as the vendors count."""
    dollars = {who: amount for who, amount, _ in others(Plan(runs=1e6, steps=10, kb=1, seconds=0))}
    assert dollars["Lambda durable functions"] == pytest.approx(10 * 8.00 + 10 * 0.25 + 0.20)
    assert dollars["Step Functions Standard"] == pytest.approx(11 * 25.00 + 10 * 0.20)
    assert dollars["Inngest Cloud Pro"] == pytest.approx(99 + 10 * 50)
    assert dollars["Temporal Cloud"] == pytest.approx(100 + 10 * 50)
