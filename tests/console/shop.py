"""A small app for the tests of the console."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from stepbridge import App, Context, NonRetriableError, event, invoke_only

HOSTILE = "</script><img src=x onerror=alert(1)><b>'\"&\u202egpj"
effects: Counter[str] = Counter()
"""How often the step of an order was carried out."""
passes: Counter[str] = Counter()
app = App("shop")


async def reserve(order_id: str) -> dict[str, str]:
    """A step that takes a while."""
    effects[order_id] += 1
    await asyncio.sleep(0.05)
    return {"reserved": order_id}


def ship(order_id: str) -> str:
    """Fails for some."""
    if order_id.startswith("bad"):
        raise NonRetriableError("no truck goes there")
    return f"parcel of {order_id}"


def explode(data: Any) -> None:
    """Its error says what it was given."""
    raise NonRetriableError(data["text"])


@app.function("fulfil-order", trigger=event("order/created"))
async def fulfil(ctx: Context) -> dict[str, Any]:
    """A step, a wait, a child, a step that may fail."""
    order_id = ctx.event.data["orderId"]
    await ctx.step.run("reserve", reserve, order_id)
    ctx.logger.warning("order %s waits", order_id)
    paid = await ctx.step.wait_for_event("payment", event="payment/completed", match="data.orderId", timeout="24h")
    await ctx.step.invoke("book", function=book, data={"orderId": order_id})
    return {"parcel": await ctx.step.run("ship", ship, order_id), "paid": paid is not None}


@app.function("book", trigger=invoke_only())
async def book(ctx: Context) -> str:
    """A child."""
    return "booked " + str(ctx.event.data["orderId"])


@app.function("nap", trigger=event("nap"))
async def nap(ctx: Context) -> str:
    """Sleeps between two steps."""
    await ctx.step.run("before", str, 1)
    await ctx.step.sleep("sleep", ctx.event.data.get("length", "1h"))
    await ctx.step.run("after", str, 2)
    return "rested"


@app.function("echo", trigger=event("echo"))
async def echo(ctx: Context) -> Any:
    """A step of any name, that fails with any words."""
    await ctx.step.run(ctx.event.data["text"], explode, ctx.event.data)


@app.function("deploy", trigger=event("deploy"))
async def deploy(ctx: Context) -> str:
    """Its code changes between the first pass and the second, and back again: the run is parked."""
    passes[ctx.run_id] += 1
    if passes[ctx.run_id] == 2:
        await ctx.step.run("first", str, 1)
    await ctx.step.sleep("first", "20ms")
    return "mended"
