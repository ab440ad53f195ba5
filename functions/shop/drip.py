"""Mails to a new user after 1, 3 and 7 days, for as long as they are welcome."""

from datetime import timedelta

from functions.shop import services
from functions.shop.app import app
from stepbridge import Context, event

CAMPAIGN = {1: "First steps", 3: "Three tips", 7: "A voucher for you"}


def is_subscribed(email: str) -> bool:
    """Whether the user still wants mails."""
    return email not in services.world.unsubscribed


@app.function("drip-campaign", trigger=event("user/signed.up"))
async def drip_campaign(ctx: Context) -> dict[str, int]:
    """The last day on which a mail was sent."""
    email = ctx.event.data["email"]
    await ctx.step.run("welcome", services.send_mail, email, "Welcome")
    last = 0
    for day, subject in CAMPAIGN.items():
        await ctx.step.sleep(f"until-day-{day}", timedelta(days=day - last))
        if not await ctx.step.run(f"check-day-{day}", is_subscribed, email):
            break
        await ctx.step.run(f"mail-day-{day}", services.send_mail, email, subject)
        last = day
    return {"last_day": last}
