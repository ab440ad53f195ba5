"""A gift that cannot be sent: the money goes back, whatever went wrong."""

from functions.shop import services
from functions.shop.app import app
from stepbridge import Context, event


async def give_back(ctx: Context) -> None:
    """Its own run, once `send-gift` has failed."""
    order = ctx.event.data["event"]["data"]
    reason = ctx.event.data["error"]["message"]
    await ctx.step.run("refund", services.refund, order["payment"])
    await ctx.step.run("mail", services.send_mail, order["email"], f"Refunded: {reason}")


@app.function("send-gift", trigger=event("gift/paid"), on_failure=give_back)
async def send_gift(ctx: Context) -> str:
    """The parcel's number."""
    order = ctx.event.data
    await ctx.step.run("reserve", services.reserve, order["orderId"], order["sku"])
    return await ctx.step.run("ship", services.ship, order["orderId"], order["address"])
