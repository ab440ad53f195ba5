"""A confirmation found by one equal field, and an approval found by an expression."""

from functions.shop import services
from functions.shop.app import app
from stepbridge import Context, event


@app.function("confirm-account", trigger=event("account/registered"))
async def confirm_account(ctx: Context) -> dict[str, bool]:
    """Whether the user followed the link within two days."""
    email = ctx.event.data["email"]
    await ctx.step.run("send-link", services.send_mail, email, "Please confirm")
    confirmed = await ctx.step.wait_for_event(
        "confirmation", event="account/confirmed", match="data.userId", timeout="2 days"
    )
    await ctx.step.run("tell", services.send_mail, email, "Confirmed" if confirmed else "Your link has expired")
    return {"confirmed": confirmed is not None}


@app.function("approve-refund", trigger=event("refund/requested"))
async def approve_refund(ctx: Context) -> dict[str, str | None]:
    """Who approved; only someone whose limit covers the amount counts."""
    approval = await ctx.step.wait_for_event(
        "approval",
        event="refund/approved",
        if_exp="async.data.refundId == event.data.refundId && async.data.limit >= event.data.cents",
        timeout="1 day",
    )
    if approval is None:
        return {"approved_by": None}
    await ctx.step.run("refund", services.refund, ctx.event.data["payment"])
    return {"approved_by": approval.data["by"]}
