"""What the load is made of: an order with two steps and a short sleep between them."""

from __future__ import annotations

from stepbridge import App, Context, event

app = App("load")


async def note(order_id: str) -> str:
    """A step that is over at once."""
    return order_id


@app.function("order", trigger=event("load/made"))
async def order(ctx: Context) -> str:
    """Falls asleep once, so that each run takes two invocations."""
    order_id = await ctx.step.run("take", note, ctx.event.data["order_id"])
    await ctx.step.sleep("nap", "1s")
    return await ctx.step.run("ship", note, order_id)
