"""An answer that goes out in the customer's business hours."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from functions.shop import services
from functions.shop.app import app
from stepbridge import Context, event

OPENS, CLOSES, SATURDAY = time(9), time(17), 5


def next_opening(now: datetime, zone: str) -> datetime:
    """`now` in business hours, else when they begin next."""
    local = now.astimezone(ZoneInfo(zone))
    if local.weekday() < SATURDAY and OPENS <= local.time() < CLOSES:
        return now
    day = local.date() + timedelta(days=local.time() >= OPENS)
    while day.weekday() >= SATURDAY:
        day += timedelta(days=1)
    return datetime.combine(day, OPENS, ZoneInfo(zone)).astimezone(UTC)


@app.function("answer-question", trigger=event("question/asked"))
async def answer_question(ctx: Context) -> None:
    """Waits for business hours, then mails."""
    email = ctx.event.data["email"]
    customer = await ctx.step.run("look-up", services.customer, email)
    opening = await ctx.step.with_options(retries=0).run("choose-time", next_opening, ctx.now, customer.zone)
    await ctx.step.sleep_until("opening", opening)
    await ctx.step.run("answer", services.send_mail, email, f"Dear {customer.name}")
