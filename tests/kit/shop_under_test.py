"""A small app, as a user has it."""

from __future__ import annotations

from stepbridge import App, Context, event

app = App("kit")
charged: list[str] = []


def charge(order_id: str) -> str:
    """The world."""
    charged.append(order_id)
    return "p-1"


async def thank(order_id: str) -> str:
    """The same, async."""
    return f"thanks for {order_id}"


def same(turn: int) -> int:
    """What it is given."""
    return turn


@app.function("buy", trigger=event("buy"), retries=2)
async def buy(ctx: Context) -> dict[str, object]:
    """A charge, a word of thanks, a review, and three turns."""
    order_id = ctx.event.data["orderId"]
    payment = await ctx.step.run("charge", charge, order_id)
    await ctx.step.run("thank", thank, order_id)
    review = await ctx.step.wait_for_event("review", event="reviewed", match="data.orderId", timeout="7 days")
    for turn in range(3):
        await ctx.step.run("turn", same, turn)
    return {"payment": payment, "stars": None if review is None else review.data["stars"]}
