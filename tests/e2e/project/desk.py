"""The app `desk`: orders, and a function for each other story."""

from typing import Any

from stepbridge import App, Context, ContextSync, cron, event, invoke_only

app = App("desk")
RELEASE = 1


def create_order(data: dict[str, Any]) -> dict[str, Any]:
    return {"id": data["orderId"]}


def cancel_order(order_id: str) -> str:
    return f"{order_id} is cancelled"


@app.function("fulfil-order", trigger=event("order/created"))
async def fulfil_order(ctx: Context) -> dict[str, Any]:
    """Payment in time, or none."""
    order = await ctx.step.run("create-order", create_order, ctx.event.data)
    payment = await ctx.step.wait_for_event(
        "wait-payment", event="payment/completed", match="data.orderId", timeout=ctx.event.data.get("patience", "24h")
    )
    if payment is None:
        return {"status": await ctx.step.run("cancel-order", cancel_order, order["id"])}
    parcel = await ctx.step.invoke("pick", app="depot", function="pick", data=order, timeout="1h")
    return {"status": "fulfilled", "cents": payment.data["cents"], "parcel": parcel}


@app.function("quote", trigger=event("quote/asked"))
def quote(ctx: ContextSync) -> int:
    """A plain `def`, and a run of another function."""
    return ctx.step.invoke("price", function=price, data={"pieces": ctx.event.data["pieces"]}) * 2


@app.function("price", trigger=invoke_only())
async def price(ctx: Context) -> int:
    return int(ctx.event.data["pieces"]) * 21


def square(number: int) -> int:
    return number * number


@app.function("squares", trigger=event("squares/asked"))
async def squares(ctx: Context) -> list[int]:
    """Fan-out: each item in an invocation of its own."""
    return await ctx.step.map("square", square, range(ctx.event.data["count"]))


@app.function("heartbeat", trigger=cron("* * * * *"))
async def heartbeat(ctx: Context) -> str:
    return str(ctx.event.data["scheduled_at"])


def release() -> int:
    return RELEASE


@app.function("nap", trigger=event("nap/wanted"))
async def nap(ctx: Context) -> dict[str, int]:
    """Sleeps by Scheduler; what is recorded before stands, what follows is of the release that wakes it."""
    before = await ctx.step.run("before", release)
    await ctx.step.sleep("sleep", ctx.event.data["for"])
    return {"before": before, "after": await ctx.step.run("after", release)}


def memo(size: int) -> str:
    return "".join(chr(97 + number * number % 26) + str(number) for number in range(size))


@app.function("large", trigger=event("large/asked"))
async def large(ctx: Context) -> int:
    """A value that goes to the bucket, and is read from it in the next invocation."""
    text = await ctx.step.run("memo", memo, 30_000)
    await ctx.step.sleep("breathe", "1s")
    return len(text)
