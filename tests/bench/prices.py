"""Dated prices, and what runs cost by them. `python -m tests.bench.prices` is `make cost`.

Counts come from `tests/counting.py`, which the request-count tests hold against memory and wire. List prices of
us-east-1 without free tiers; compute is estimated from seconds per invocation, which only an account can tell.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.counting import DEALS, Price

MILLION: Final = 1e6
EVENTS: Final = 1.00 / MILLION
"""EventBridge, a custom event of up to 64 KB. Source: AWS price list, 2026-05-29."""
FIRES: Final = 1.00 / MILLION
"""EventBridge Scheduler, an invocation. Source: AWS price list, read 2026-08-16."""
QUEUE: Final = 0.40 / MILLION
"""SQS standard, a request. Source: AWS price list, 2025-08-28."""
INVOCATIONS: Final = 0.20 / MILLION
"""Lambda, a request. Source: AWS price list, 2026-09-19."""
GB_SECONDS: Final = 13.3334 / MILLION
"""Lambda on arm64, a GB-second. Source: AWS price list, 2026-09-19."""
WRITES: Final = 0.625 / MILLION
"""DynamoDB on demand, a write unit of 1 KB. Source: AWS price list, 2026-08-15."""
READS: Final = 0.125 / MILLION
"""DynamoDB on demand, a strong read unit of 4 KB. Source: AWS price list, 2026-08-15."""
PUTS: Final = 5.00 / MILLION
"""S3, a put. Source: AWS price list, 2026-08-07."""
GETS: Final = 0.40 / MILLION
"""S3, a get. Source: AWS price list, 2026-08-07."""
S3_FROM_KB: Final = 8
"""Values above it go to S3."""
READ_KB: Final = 4
"""Of a strong read unit."""

TRANSITIONS: Final = 25.00 / MILLION
"""Step Functions Standard, a state transition. Source: AWS price list, 2025-08-28."""
DURABLE_OPERATIONS: Final = 8.00 / MILLION
"""Lambda durable functions, an operation. Source: AWS price list, 2026-09-19."""
DURABLE_GB: Final = 0.25
"""The same, a GB written. Source: AWS price list, 2026-09-19."""
INNGEST: Final = (99.0, 1e6, 50.0 / MILLION)
"""Inngest Cloud Pro: a month, executions in it, a further one. Source: third parties on its pages, 2026-08."""
TEMPORAL: Final = (100.0, 1e6, 50.0 / MILLION)
"""Temporal Cloud: a month at least, actions in it, a further one. Source: third parties on its pages, 2026-10."""
DBOS: Final = (99.0, 1e6, 50.0 / MILLION)
"""DBOS Conductor Pro: a month, checkpoints in it, a further one; Postgres apart. Source: third party, 2026-08."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A month's work."""

    runs: float = 1e6
    steps: int = 3
    """Of a run."""
    sleeps: int = 0
    """Of a run, each longer than 15 minutes."""
    waits: int = 0
    """Of a run, each matched by an event."""
    kb: float = 1.0
    """Of a step's recorded item."""
    memory_mb: int = 256
    seconds: float = 0.25
    """Of an invocation, the steps' own work included."""


def of_price(price: Price) -> float:
    """Dollars of one deal of the price list with the event that begins it; further events and compute left out."""
    fires = price.others.get("CreateSchedule", 0) - price.others.get("DeleteSchedule", 0)
    return (
        EVENTS
        + FIRES * fires
        + QUEUE * price.queue
        + INVOCATIONS * price.invocations
        + WRITES * price.write_units
        + READS * price.reads
    )


def services(plan: Plan) -> dict[str, float]:
    """Dollars a month by service."""
    deals = {deal.name: deal.price for deal in DEALS}
    empty, step = deals["no step"], deals["one step"]
    sleep, wait = deals["a sleep of two days"], deals["a wait that is matched"]

    def total(name: str) -> float:
        base: float = getattr(empty, name)
        each = ((plan.steps, step), (plan.sleeps, sleep), (plan.waits, wait))
        return base + sum(number * (float(getattr(price, name)) - base) for number, price in each)

    large = plan.kb > S3_FROM_KB
    units = 1 if large else math.ceil(plan.kb)
    resumes = plan.sleeps + plan.waits
    replayed = math.ceil((1 if large else plan.kb) * plan.steps / READ_KB) - 1
    invocations = total("invocations")
    return {
        "EventBridge": plan.runs * EVENTS * (1 + plan.waits),
        "SQS": plan.runs * QUEUE * total("queue"),
        "Scheduler": plan.runs * FIRES * plan.sleeps,
        "DynamoDB": plan.runs
        * (
            WRITES * (total("write_units") + plan.steps * (units - 1))
            + READS * (total("reads") + resumes * max(replayed, 0))
        ),
        "S3": plan.runs * plan.steps * (PUTS + GETS * resumes) if large else 0.0,
        "Lambda": plan.runs * invocations * (INVOCATIONS + GB_SECONDS * plan.seconds * plan.memory_mb / 1024),
    }


def others(plan: Plan) -> Iterator[tuple[str, float, str]]:
    """Others' dollars a month for the same: who, how much, and what is counted."""
    operations = plan.steps + plan.sleeps + plan.waits
    written = plan.runs * plan.steps * plan.kb / 1e6 * DURABLE_GB
    invocations = plan.runs * (1 + plan.sleeps + plan.waits)
    compute = invocations * (INVOCATIONS + GB_SECONDS * plan.seconds * plan.memory_mb / 1024)
    yield (
        "Lambda durable functions",
        plan.runs * (plan.steps + plan.sleeps + 3 * plan.waits) * DURABLE_OPERATIONS + written + compute,
        "operations (a wait for a callback is 3), GB written, compute; no event matching",
    )
    task = (
        plan.runs * plan.steps * (INVOCATIONS + GB_SECONDS * plan.seconds / max(plan.steps, 1) * plan.memory_mb / 1024)
    )
    yield "Step Functions Standard", plan.runs * (operations + 1) * TRANSITIONS + task, "transitions, a Lambda a step"
    yield "Inngest Cloud Pro", _hosted(INNGEST, plan.runs * (1 + operations)), "executions; your compute apart"
    yield "Temporal Cloud", _hosted(TEMPORAL, plan.runs * (1 + operations)), "actions; your workers apart"
    yield "DBOS Conductor Pro", _hosted(DBOS, plan.runs * (1 + operations)), "checkpoints; Postgres and compute apart"


def _hosted(price: tuple[float, float, float], units: float) -> float:
    month, included, further = price
    return month + max(units - included, 0) * further


def main() -> None:
    """Prints the what-if."""
    parser = argparse.ArgumentParser(prog="make cost", description="Give these as ARGS, of a month:")
    parser.add_argument("--runs", type=float, default=1e6)
    for name in ("steps", "sleeps", "waits"):
        parser.add_argument(f"--{name}", type=int, default={"steps": 3}.get(name, 0), help="of a run")
    parser.add_argument("--kb", type=float, default=1.0, help="of a step's record")
    parser.add_argument("--memory-mb", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=0.25, help="of an invocation")
    plan = Plan(**vars(parser.parse_args()))
    table = Table(title=f"{plan}", caption="us-east-1 list prices without free tiers, dated 2025-08 to 2026-10")
    table.add_column("who")
    table.add_column("$ a month", justify="right")
    table.add_column("of that, or what is counted")
    mine = services(plan)
    parts = ", ".join(f"{name} {dollars:,.2f}" for name, dollars in mine.items() if dollars)
    table.add_row("stepbridge", f"{sum(mine.values()):,.2f}", parts)
    for who, dollars, what in others(plan):
        table.add_row(who, f"{dollars:,.2f}", what)
    table.add_row("Restate Cloud", "-", "price of units beyond the plans not found (plans from $75, 2026-08)")
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
