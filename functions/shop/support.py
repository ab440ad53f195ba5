"""Somebody hears of every run that fails, of whichever function."""

from functions.shop import services
from functions.shop.app import app
from stepbridge import Context, event


@app.function("alert-support", trigger=event("stepbridge/function.failed"))
async def alert_support(ctx: Context) -> None:
    """Mails what failed, and why."""
    failed = ctx.event.data
    subject = f"{failed['function_id']}: {failed['error']['message']}"
    await ctx.step.run("mail", services.send_mail, "support@example.com", subject)
