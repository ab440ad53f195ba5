"""A sale is announced to every customer, each in a run of their own."""

from functions.shop import services
from functions.shop.app import app
from stepbridge import Context, Event, event


def all_customers() -> list[str]:
    """Everybody's address."""
    return list(services.world.customers)


@app.function("announce-sale", trigger=event("sale/planned"))
async def announce_sale(ctx: Context) -> int:
    """How many are told."""
    emails = await ctx.step.run("all-customers", all_customers)
    events = [Event(name="sale/announced", data={"email": email}) for email in emails]
    return len(await ctx.step.send_event("fan-out", events))


@app.function("mail-sale", trigger=event("sale/announced"))
async def mail_sale(ctx: Context) -> None:
    """Tells one of them."""
    await ctx.step.run("mail", services.send_mail, ctx.event.data["email"], "Sale!")
