"""Validate, charge, ship: three functions in turn, and what is undone when one of them fails."""

from functions.shop import services
from functions.shop.app import app
from stepbridge import Context, StepError, event, invoke_only


@app.function("validate-cart", trigger=invoke_only())
async def validate_cart(ctx: Context) -> int:
    """Reserves what is in the cart; what it costs."""
    cents = await ctx.step.run("price", services.price_of, ctx.event.data["sku"])
    await ctx.step.run("reserve", services.reserve, ctx.event.data["orderId"], ctx.event.data["sku"])
    return cents


@app.function("charge-card", trigger=invoke_only())
async def charge_card(ctx: Context) -> str:
    """The payment's id."""
    return await ctx.step.run("charge", services.charge, ctx.event.data["card"], ctx.event.data["cents"])


@app.function("ship-cart", trigger=invoke_only())
async def ship_cart(ctx: Context) -> str:
    """The parcel's number."""
    return await ctx.step.run("ship", services.ship, ctx.event.data["orderId"], ctx.event.data["address"])


@app.function("checkout", trigger=event("cart/checked.out"))
async def checkout(ctx: Context) -> dict[str, str]:
    """Undoes what was done before the step that failed."""
    cart = ctx.event.data
    cents = await ctx.step.invoke("validate", function=validate_cart, data=cart)
    try:
        payment = await ctx.step.invoke("charge", function=charge_card, data={"card": cart["card"], "cents": cents})
    except StepError as error:
        await ctx.step.run("release", services.release, cart["orderId"])
        return {"status": "unpaid", "reason": error.message}
    try:
        parcel = await ctx.step.invoke("ship", function=ship_cart, data=cart)
    except StepError as error:
        await ctx.step.run("refund", services.refund, payment)
        await ctx.step.run("take-back", services.release, cart["orderId"])
        return {"status": "refunded", "reason": error.message}
    return {"status": "shipped", "parcel": parcel}
