"""A discount that a manager decides on within 72 hours, else their boss hears of it."""

from functions.shop import services
from functions.shop.app import app
from stepbridge import Context, event

MANAGER, BOSS = "manager@example.com", "boss@example.com"


@app.function("approve-discount", trigger=event("discount/requested"))
async def approve_discount(ctx: Context) -> dict[str, str]:
    """How the request ended: approved, rejected or escalated."""
    request = ctx.event.data
    await ctx.step.run("ask", services.send_mail, MANAGER, f"Please decide on {request['requestId']}")
    decision = await ctx.step.wait_for_event(
        "decision", event="discount/decided", match="data.requestId", timeout="72h"
    )
    if decision is None:
        await ctx.step.run("escalate", services.send_mail, BOSS, f"Undecided: {request['requestId']}")
        return {"status": "escalated"}
    status = "approved" if decision.data["approved"] else "rejected"
    await ctx.step.run("tell", services.send_mail, request["email"], f"Your discount is {status}")
    return {"status": status}
