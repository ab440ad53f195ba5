"""A small app for the tests of the local server and of the command line."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import Counter
from typing import Any

from stepbridge import App, Context, ContextSync, NonRetriableError, event, invoke_only

app = App("orders")
entered: list[float] = []
"""By the system-wide monotonic clock, when each `ping` has entered its step."""


async def enter() -> None:
    """Notes that a step has begun."""
    entered.append(time.monotonic())


def create(data: dict[str, Any]) -> dict[str, Any]:
    """An order."""
    logging.getLogger("orders").warning("made")
    return {"id": data.get("orderId", "none")}


def refuse() -> None:
    """The bank says no."""
    raise NonRetriableError("the bank says \x1b[31mno")


@app.function("fulfil-order", trigger=event("order/created"))
async def fulfil_order(ctx: Context) -> dict[str, Any]:
    """Three kinds of steps, done within a moment."""
    order = await ctx.step.run("create-order", create, ctx.event.data)
    await ctx.step.sleep("breathe", "50ms")
    cents = await ctx.step.invoke("price", function=price, data={"pieces": 2})
    return {"order": order, "cents": cents}


@app.function("price", trigger=invoke_only())
def price(ctx: ContextSync) -> int:
    """Of so many pieces."""
    return int(ctx.event.data["pieces"]) * 21


@app.function("await-payment", trigger=event("order/unpaid"))
async def await_payment(ctx: Context) -> Any:
    """Waits for a day."""
    paid = await ctx.step.wait_for_event("payment", event="payment/completed", match="data.orderId", timeout="24h")
    return None if paid is None else paid.data


@app.function("charge", trigger=event("order/charged"))
async def charge(ctx: Context) -> None:
    """Fails for good."""
    await ctx.step.run("call-bank", refuse)


@app.function("ping", trigger=event("ping"))
async def ping(ctx: Context) -> None:
    """One step."""
    await ctx.step.run("enter", enter)


@app.function("nap", trigger=event("nap"))
async def nap(ctx: Context) -> None:
    """A sleep and a step."""
    await ctx.step.sleep("sleep", ctx.event.data["ms"])
    await ctx.step.run("enter", enter)


async def leave_behind() -> None:
    """A task that ends the process, as nobody should."""

    async def leave() -> None:
        sys.exit(7)

    left.append(asyncio.create_task(leave()))


left: list[asyncio.Task[None]] = []


@app.function("quit", trigger=event("quit"))
async def leave(ctx: Context) -> None:
    """Leaves such a task behind."""
    await ctx.step.run("leave", leave_behind)
    await ctx.step.sleep("after", "20ms")


@app.function("block", trigger=event("block"))
async def block(ctx: Context) -> None:
    """Holds the engine's loop up, as nobody should."""
    time.sleep(ctx.event.data["seconds"])  # noqa: ASYNC251 - that is the point


passes: Counter[str] = Counter()
"""How often each run of `deploy` has been replayed."""


@app.function("deploy", trigger=event("deploy"))
async def deploy(ctx: Context) -> str:
    """Its code changes between the first pass and the second, and back again after it: the run is parked."""
    passes[ctx.run_id] += 1
    if passes[ctx.run_id] == 2:
        await ctx.step.run("first", create, {})
    await ctx.step.sleep("first", "20ms")
    return "mended"
