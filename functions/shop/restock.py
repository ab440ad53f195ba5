"""A plain `def` handler: suppliers are asked at the same time, the cheapest has two days to confirm."""

from functools import partial

from functions.shop import services
from functions.shop.app import app
from stepbridge import ContextSync, StepError, event

SUPPLIERS = {"acme": 60, "bulk": 50, "corner": 80}  # percent of our price


def offer_of(supplier: str, sku: str) -> int:
    """What one piece costs there, in cents."""
    return services.price_of(sku) * SUPPLIERS[supplier] // 100


@app.function("restock", trigger=event("stock/low"), retries=1)
def restock(ctx: ContextSync) -> dict[str, str | None]:
    """Where was ordered, and whether they confirmed."""
    sku = ctx.event.data["sku"]

    def ask(supplier: str) -> tuple[int, str] | None:
        try:
            return ctx.step.run(f"ask-{supplier}", offer_of, supplier, sku), supplier
        except StepError:
            return None

    answers = ctx.group.parallel([partial(ask, name) for name in ctx.event.data.get("suppliers", SUPPLIERS)])
    offers = [answer for answer in answers if answer is not None]
    if not offers:
        return {"supplier": None, "status": "nobody sells it"}
    _, supplier = min(offers)
    ctx.step.run("order", services.send_mail, f"{supplier}@example.com", f"Please send {sku}")
    confirmed = ctx.step.wait_for_event("confirmed", event="supply/confirmed", match="data.sku", timeout="2 days")
    return {"supplier": supplier, "status": "confirmed" if confirmed else "silent"}
