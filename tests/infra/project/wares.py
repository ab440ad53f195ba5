"""An app that declares all that a stack is made of."""

from __future__ import annotations

from stepbridge import App, Cancel, Context, EventMatch, cron, event, invoke_only

app = App("wares")


@app.function(
    "keep 📦",
    trigger=[event("ware/*"), event("ware/sold", source="till"), event("stepbridge/function.finished")],
    waits=[EventMatch("payment/completed", match="data.orderId", lookback="2h")],
    cancel=[Cancel("ware/recalled", match="data.sku")],
)
async def keep(ctx: Context) -> None:
    pass


@app.function(
    "count",
    trigger=[
        cron("0 9 * * MON-FRI", timezone="Europe/Berlin"),
        cron("*/5 * * * *"),
        cron("*/5 * * * *"),
        event("Object Created", source="aws.s3"),
        event("Object Deleted", source="aws.s3"),
        event("EC2 Spot Interruption", source="aws.ec2"),
        event("charge.failed", source="aws.partner/stripe.com/1"),
    ],
)
async def count(ctx: Context) -> None:
    pass


@app.function("helper", trigger=invoke_only())
async def helper(ctx: Context) -> None:
    pass
