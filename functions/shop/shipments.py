"""One shipment, three events, three functions that know nothing of each other."""

from functions.shop import services
from functions.shop.app import app
from stepbridge import Context, Event, event


@app.function("announce-shipment", trigger=event("order/shipped"))
async def announce_shipment(ctx: Context) -> list[str]:
    """The ids of the events; `loyalty` takes the third."""
    data = ctx.event.data
    names = ("invoice/requested", "parcel/sent", "points/earned")
    return await ctx.step.send_event("announce", [Event(name=name, data=data) for name in names])


@app.function("write-invoice", trigger=event("invoice/requested"))
async def write_invoice(ctx: Context) -> None:
    """Mails the invoice."""
    await ctx.step.run("mail", services.send_mail, ctx.event.data["email"], f"Invoice: {ctx.event.data['cents']}")


@app.function("track-parcel", trigger=event("parcel/sent"))
async def track_parcel(ctx: Context) -> None:
    """Mails the parcel's number."""
    await ctx.step.run("mail", services.send_mail, ctx.event.data["email"], f"Parcel {ctx.event.data['orderId']}")
