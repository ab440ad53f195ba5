"""An offer made of models, dataclasses, dates, decimals, tuples and enums, the same after every sleep."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum

from pydantic import BaseModel

from functions.shop import services
from functions.shop.app import app
from stepbridge import Context, event


class Packing(Enum):
    """How a line is sent."""

    BOX = "box"
    TUBE = "tube"


@dataclass(frozen=True)
class Line:
    """One kind of thing."""

    sku: str
    price: Decimal
    size: tuple[int, int, int]  # mm
    packing: Packing


class Offer(BaseModel):
    """What the customer may accept until it lapses."""

    lines: list[Line]
    by_packing: dict[Packing, set[str]]
    total: Decimal
    lapses_at: datetime
    note: str | None = None


def make_offer(skus: list[str], now: datetime) -> Offer:
    """An offer that is good for three days."""
    lines = [Line(sku, Decimal(services.price_of(sku)) / 100, (100, 80, 80), Packing.BOX) for sku in skus]
    return Offer(
        lines=lines,
        by_packing={Packing.BOX: set(skus)},
        total=sum((line.price for line in lines), Decimal()),
        lapses_at=now + timedelta(days=3),
    )


@app.function("offer", trigger=event("offer/requested"), retries=0)
async def offer(ctx: Context) -> Offer:
    """The offer; the customer is reminded a day before it lapses."""
    made = await ctx.step.run("make-offer", make_offer, ctx.event.data["skus"], ctx.now)
    await ctx.step.sleep_until("day-before", made.lapses_at - timedelta(days=1))
    subject = f"{made.total} until {made.lapses_at:%d %B}"
    await ctx.step.run("remind", services.send_mail, ctx.event.data["email"], subject)
    return made
