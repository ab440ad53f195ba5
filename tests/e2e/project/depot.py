"""The app `depot`: it hears of the same orders, and picks what the desk asks for."""

from typing import Any

from stepbridge import App, Context, event, invoke_only

app = App("depot")


def shelf_of(order_id: str) -> str:
    return f"shelf of {order_id}"


@app.function("reserve", trigger=event("order/created"))
async def reserve(ctx: Context) -> str:
    return await ctx.step.run("find-shelf", shelf_of, ctx.event.data["orderId"])


@app.function("pick", trigger=invoke_only())
async def pick(ctx: Context) -> dict[str, Any]:
    return {"from": await ctx.step.run("find-shelf", shelf_of, ctx.event.data["id"])}
