"""A gift that cannot be sent is paid back, and support hears of every run that fails."""

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


@app.function("alert-support", trigger=event("stepbridge/function.failed"))
async def alert_support(ctx: Context) -> None:
    """Of any function of the shop."""
    failed = ctx.event.data
    subject = f"{failed['function_id']}: {failed['error']['message']}"
    await ctx.step.run("mail", services.send_mail, "support@example.com", subject)
