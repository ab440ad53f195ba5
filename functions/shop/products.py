"""A product page of three lookups that run at the same time."""

import asyncio

from functions.shop import services
from functions.shop.app import app
from stepbridge import Context, StepError, event


def stock_of(sku: str) -> int:
    """Pieces."""
    return services.world.stock[sku]


def rating_of(sku: str) -> float:
    """0 to 5."""
    return services.world.ratings[sku]


def build_page(price: int, stock: int, rating: float) -> str:
    """The page's text."""
    return f"{price / 100:.2f}, {stock} left, {rating} of 5"


@app.function("show-product", trigger=event("product/viewed"), retries=1)
async def show_product(ctx: Context) -> dict[str, str]:
    """The page, or which lookup failed."""
    sku = ctx.event.data["sku"]
    try:
        found = await asyncio.gather(
            ctx.step.run("price", services.price_of, sku),
            ctx.step.run("stock", stock_of, sku),
            ctx.step.run("rating", rating_of, sku),
        )
    except StepError as error:
        return {"failed": error.step_id}
    return {"page": await ctx.step.run("build-page", build_page, *found)}
