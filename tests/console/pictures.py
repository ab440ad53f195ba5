"""Makes the pictures of the guide: `make pictures`. A shop's morning on a real server, in Chromium."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from stepbridge import App, Cancel, Context, Event, NonRetriableError, RetryAfterError, Timeouts, event, invoke_only
from stepbridge.console.web import console_routes
from stepbridge.local.server import LocalServer
from stepbridge.local.service import Service
from tests.console.browsers import MISSING, chromium
from tests.integration.waiting import eventually

IMAGES = Path(__file__).parents[2] / "docs" / "images"
BYTES_MAX = 150_000
app = App("shop")
tried: set[str] = set()


class CardDeclinedError(NonRetriableError):
    """The bank says no."""


async def create(data: dict[str, Any]) -> dict[str, Any]:
    """An order."""
    await asyncio.sleep(0.03)
    return {"id": data["orderId"], "cents": 4200}


async def reserve(sku: str) -> str:
    """Stock."""
    await asyncio.sleep(0.14)
    return sku


async def mail(subject: str) -> str:
    """A mail."""
    await asyncio.sleep(0.08)
    return subject


async def charge(card: str) -> str:
    """A payment."""
    await asyncio.sleep(0.12)
    if card == "declined":
        raise CardDeclinedError("card declined by the issuer: insufficient funds")
    return "pay_82hs"


async def ship(order_id: str) -> str:
    """A parcel; the carrier is busy at first."""
    await asyncio.sleep(0.06)
    if order_id not in tried:
        tried.add(order_id)
        raise RetryAfterError("carrier: 503", "1s")
    return f"parcel-{order_id}"


@app.function(
    "fulfil-order",
    trigger=event("order/created"),
    cancel=[Cancel("order/cancelled", match="data.orderId")],
    timeouts=Timeouts(finish="7 days"),
)
async def fulfil(ctx: Context) -> dict[str, str]:
    """Every kind of step that a shop needs."""
    order = await ctx.step.run("create-order", create, ctx.event.data)
    await asyncio.gather(
        ctx.step.run("reserve-stock", reserve, "mug"), ctx.step.run("mail-confirmation", mail, "Thank you")
    )
    ctx.logger.warning("order %s waits to be paid", order["id"])
    paid = await ctx.step.wait_for_event("payment", event="payment/completed", match="data.orderId", timeout="24h")
    if paid is None:
        return {"status": "cancelled"}
    payment = await ctx.step.invoke("charge", function=take_payment, data={"card": "visa"})
    await ctx.step.sleep("cool-off", "500ms")
    parcel = await ctx.step.run("ship", ship, order["id"])
    await ctx.step.send_event("announce", Event(name="order/shipped", data={"orderId": order["id"]}))
    return {"status": "fulfilled", "parcel": parcel, "payment": payment}


@app.function("take-payment", trigger=invoke_only())
async def take_payment(ctx: Context) -> str:
    """A child."""
    return await ctx.step.run("charge", charge, ctx.event.data["card"])


@app.function("welcome-customer", trigger=event("customer/signed.up"))
async def welcome(ctx: Context) -> None:
    """Fails for some."""
    await ctx.step.run("charge", charge, ctx.event.data["card"])
    await ctx.step.sleep("three-days", "3 days")


@app.function("tell-customer", trigger=event("order/shipped"))
async def tell(ctx: Context) -> None:
    """Short."""
    await ctx.step.run("mail", mail, "On its way")


def morning(service: Service) -> str:
    """What happens; the id of the run that is shown."""

    def waits(run_id: str) -> bool:
        return any(step["waits_for"] for step in service.run(run_id)["steps"])

    run_ids = []
    for number in range(1, 5):
        event_id = service.send({"name": "order/created", "data": {"orderId": f"o-{number}", "customer": "Ada"}})[
            "ids"
        ][0]
        run_ids.append(eventually(partial(service.started_by, event_id))[0]["run_id"])
    for card in ("declined", "visa"):
        service.send({"name": "customer/signed.up", "data": {"card": card}})
    for run_id in run_ids:
        eventually(partial(waits, run_id))
    service.send([{"name": "payment/completed", "data": {"orderId": f"o-{number}"}} for number in (1, 2, 3)])
    eventually(lambda: service.functions()["functions"][-1]["runs"] == {"COMPLETED": 3})
    return str(run_ids[0])


def main() -> None:
    """Both pictures."""
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright, LocalServer(app, port=0, routes=console_routes) as server:
        program = chromium(playwright.chromium.executable_path)
        if program is None:
            sys.exit(MISSING)
        run_id = morning(server.service)
        browser = playwright.chromium.launch(executable_path=program)
        for name, path, scheme in (("runs", "/runs", "light"), ("run", f"/runs/{run_id}", "dark")):
            page = browser.new_page(viewport={"width": 1200, "height": 760}, base_url=server.url)
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            page.goto(path)
            file = IMAGES / f"{name}.png"
            page.screenshot(path=file)
            size = file.stat().st_size
            sys.stdout.write(f"{file} {size:,} bytes\n")
            if size > BYTES_MAX:
                sys.exit(f"{file} is above {BYTES_MAX:,} bytes")
        browser.close()


if __name__ == "__main__":
    main()
