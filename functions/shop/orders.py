"""An order waits a day for its payment, else it is cancelled."""

from dataclasses import dataclass
from typing import Any

from functions.shop import services
from functions.shop.app import app
from stepbridge import Context, event


@dataclass(frozen=True)
class Order:
    """One piece, for one customer."""

    id: str
    sku: str
    email: str
    address: str


def create_order(data: dict[str, Any]) -> Order:
    """The order that an event asks for."""
    return Order(
        id=data["orderId"],
        sku=data.get("sku", "mug"),
        email=data.get("email", "guest@example.com"),
        address=data.get("address", "1 Main Street"),
    )


@app.function("fulfil-order", trigger=event("order/created"))
async def fulfil_order(ctx: Context) -> dict[str, str]:
    """Reserves, asks for payment, ships once it is there."""
    order = await ctx.step.run("create-order", create_order, ctx.event.data)
    await ctx.step.run("reserve-stock", services.reserve, order.id, order.sku)
    await ctx.step.run("ask-for-payment", services.send_mail, order.email, f"Please pay for order {order.id}")
    payment = await ctx.step.wait_for_event(
        "wait-payment", event="payment/completed", match="data.orderId", timeout="24h"
    )
    if payment is None:
        await ctx.step.run("cancel-order", services.release, order.id)
        await ctx.step.run("mail-cancellation", services.send_mail, order.email, f"Order {order.id} is cancelled")
        return {"status": "cancelled"}
    await ctx.step.run("fulfil", services.ship, order.id, order.address)
    return {"status": "fulfilled"}
