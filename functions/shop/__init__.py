"""The example shop: one module a story, one plain function an effect (`services`)."""

from functions.shop import (  # noqa: F401 - importing a story declares its functions
    checkout,
    confirmations,
    discounts,
    drip,
    gifts,
    goods,
    hours,
    loyalty,
    offers,
    orders,
    products,
    rates,
    restock,
    reviews,
    sale,
    shipments,
)
from functions.shop.app import app

__all__ = ["app"]
